/* table.h - what the readers of descriptions need besides the face. */
#ifndef SLOWPROXY_ROUTES_TABLE_H
#define SLOWPROXY_ROUTES_TABLE_H

#include <slowproxy/routes.h>

/* As route_table_add. last_may_be_wide: its last parameter is perhaps one that takes slashes. */
bool table_add(struct route_table *t, const char *template, bool last_may_be_wide);

#endif
