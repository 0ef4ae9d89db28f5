/* names.h - what we know of the header names we know. */
#ifndef SLOWPROXY_HTTP_NAMES_H
#define SLOWPROXY_HTTP_NAMES_H

#include <slowproxy/http.h>

enum trailer_rule { TRAILER_PASS, TRAILER_DROP, TRAILER_REFUSE };

/* What `name`, a valid token, is: HTTP_OTHER when we do not know it. */
enum http_name name_find(struct slice name);
bool name_is_hop_by_hop(enum http_name id);   /* by itself, whatever Connection says */
bool name_may_be_stripped(enum http_name id); /* Connection may name it: never Host nor framing */
enum trailer_rule name_trailer_rule(struct slice name);

#endif
