/* pattern.h - one template against one path. All pure. */
#ifndef SLOWPROXY_ROUTES_PATTERN_H
#define SLOWPROXY_ROUTES_PATTERN_H

#include <stdbool.h>

/* The templates are such that config_template_problem has nothing to say of them. */
bool pattern_matches(const char *template, const char *path);
/* Both match the same path: where they first differ, literal text is nearer to it than a parameter. */
bool pattern_is_nearer(const char *a, const char *b);

#endif
