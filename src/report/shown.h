/* shown.h - the profile that a person is shown: of the request, and of whoever held it up. */
#ifndef SLOWPROXY_REPORT_SHOWN_H
#define SLOWPROXY_REPORT_SHOWN_H

#include <slowproxy/record.h>

/* Owned by the caller. NULL: the request's own threads and tasks are not known; then the whole worker is shown. */
struct profile *shown_profile(const struct record *r);
/* The same for adding up: one sample for each look, of whoever tells most. */
struct profile *told_profile(const struct record *r);

#endif
