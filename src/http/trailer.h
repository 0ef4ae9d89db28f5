/* trailer.h - the fields after the last chunk: gathered, bounded, checked, and only then believed. */
#ifndef SLOWPROXY_HTTP_TRAILER_H
#define SLOWPROXY_HTTP_TRAILER_H

#include <slowproxy/http.h>

/* Gathers from bytes[0..len) into lines until the empty line (kept, too); bounded by limits. */
enum http_error trailers_gather(struct buf *lines, const struct http_limits *limits, const char *bytes,
	size_t len, size_t *used, bool *complete);

/* Checks the gathered lines and takes out, in place, the empty line and those that must not be forwarded. */
enum http_error trailers_check(struct buf *lines, const struct http_limits *limits);

#endif
