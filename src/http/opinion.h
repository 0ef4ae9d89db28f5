/* opinion.h - llhttp, asked for a second opinion on what our own check let pass. The only place that knows llhttp.
 *
 * It sees heads and chunk framing, never a Content-Length body. Where a version of llhttp is known to misread something
 * well-formed, it is shown the same message in its plainest spelling, so that all versions say the same.
 */
#ifndef SLOWPROXY_HTTP_OPINION_H
#define SLOWPROXY_HTTP_OPINION_H

#include <llhttp.h>

#include <slowproxy/http.h>

struct opinion {
	llhttp_t parser;
	size_t header_count;
	uint64_t body_bytes;
	bool head_done, message_done;
};

void opinion_init(struct opinion *o, enum http_kind kind);

/* Whether llhttp reads the head at bytes as `head` says; unusual: show it the plain spelling. */
bool opinion_agrees_on_head(struct opinion *o, const char *bytes, const struct http_head *head, bool unusual);

/* The next bytes of a chunked body; false: llhttp refuses them. */
bool opinion_feed(struct opinion *o, const char *bytes, size_t len);

#endif
