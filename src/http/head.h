/* head.h - our own strict reading of a head, in one pass; nothing here repairs or guesses. */
#ifndef SLOWPROXY_HTTP_HEAD_H
#define SLOWPROXY_HTTP_HEAD_H

#include <slowproxy/http.h>

/* What the pass noticed, for the one that gives it a meaning (framing.h). */
struct head_notes {
	uint32_t seen, repeated;        /* one bit per http_name */
	uint8_t first[HTTP_NAME_COUNT]; /* index of the first header of that name; valid where seen */
	bool unusual;                   /* something that some version of llhttp does not know or misreads */
};

/* The first line alone, bytes[0..len) with an LF in it: to refuse early what can never become a head. */
enum http_error head_check_first_line(
	enum http_kind kind, const char *bytes, size_t len, struct http_head *head);

/* A whole head: bytes[0..len) ends with the empty line. Checks syntax only. */
enum http_error head_parse(enum http_kind kind, const char *bytes, size_t len, size_t max_headers,
	struct http_head *head, struct head_notes *notes);

/* One "name: value\r\n" line at *line, moved behind it. An LF must lie at or before end - 1. keep_controls: control bytes that
 * nobody takes for the end of a line may stand in values of which we know nothing (header->controls). */
enum http_error header_line_parse(
	const char **line, const char *end, bool keep_controls, struct http_header *header);

#endif
