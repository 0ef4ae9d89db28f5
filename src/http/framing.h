/* framing.h - what the headers of a head mean: where the body ends, what the connection does next. */
#ifndef SLOWPROXY_HTTP_FRAMING_H
#define SLOWPROXY_HTTP_FRAMING_H

#include "head.h"

/* Fills framing, content_length, keep_alive, host and the flags of a head that head_parse took, and marks what
 * Connection names. answers_head: the response is to a HEAD. */
enum http_error head_interpret(
	enum http_kind kind, bool answers_head, struct http_head *head, const struct head_notes *notes);

#endif
