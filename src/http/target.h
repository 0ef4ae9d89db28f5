/* target.h - the request target in its forms, and the authority it or Host names. */
#ifndef SLOWPROXY_HTTP_TARGET_H
#define SLOWPROXY_HTTP_TARGET_H

#include <slowproxy/http.h>

/* The end of the target that begins at p: the first byte that may not stand in one. The head's last LF bounds it. */
const char *target_scan(const char *p);

/* Tells the forms apart (origin, absolute, asterisk) and fills path, resource and, for absolute-form, host. */
enum http_error target_parse(struct http_head *head);

/* host [":" port], no userinfo, not empty. */
bool authority_is_valid(struct slice authority);

#endif
