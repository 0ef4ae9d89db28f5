/* pattern.h - one template against one path. All pure. */
#ifndef SLOWPROXY_ROUTES_PATTERN_H
#define SLOWPROXY_ROUTES_PATTERN_H

#include <stdbool.h>

/* Whether text can be a template at all: begins with /, its braces are closed within their segment, parameters have names. */
bool pattern_valid(const char *template);
bool pattern_matches(const char *template, const char *path);
/* Both match the same path: where they first differ, literal text is nearer to it than a parameter. */
bool pattern_is_nearer(const char *a, const char *b);

#endif
