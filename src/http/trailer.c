/* trailer.c - the fields after the last chunk. */
#include "trailer.h"

#include <string.h>

#include "head.h"
#include "names.h"

/* Whether the gathered bytes, which end with an LF, end with a line that is empty but for a CR. */
static bool ends_empty(const struct buf *lines)
{
	const char *end = lines->data + lines->len;
	size_t line_bytes = lines->len >= 2 && end[-2] == '\r' ? 2 : 1;
	return lines->len == line_bytes || end[-(ptrdiff_t)line_bytes - 1] == '\n';
}

enum http_error trailers_gather(struct buf *lines, const struct http_limits *limits, const char *bytes,
	size_t len, size_t *used, bool *complete)
{
	*used = 0;
	*complete = false;
	while (*used < len && !*complete) {
		const char *lf = memchr(bytes + *used, '\n', len - *used);
		size_t n = lf ? (size_t)(lf + 1 - bytes) - *used : len - *used;
		if (lines->len + n > limits->head_bytes)
			return HTTP_ERR_TRAILER;
		buf_add(lines, bytes + *used, n);
		*used += n;
		*complete = lf != NULL && ends_empty(lines);
	}
	return HTTP_OK;
}

enum http_error trailers_check(struct buf *lines, const struct http_limits *limits)
{
	const char *p = lines->data, *end = p + lines->len;
	size_t kept = 0, count = 0;
	while (*p != '\r' || p[1] != '\n') {
		const char *line = p;
		struct http_header field;
		enum http_error error = header_line_parse(&p, end, false, &field);
		if (error != HTTP_OK)
			return error;
		if (++count > limits->headers)
			return HTTP_ERR_TOO_MANY_HEADERS;
		enum trailer_rule rule = name_trailer_rule(field.name);
		if (rule == TRAILER_REFUSE)
			return HTTP_ERR_TRAILER;
		if (rule == TRAILER_DROP)
			continue;
		memmove(lines->data + kept, line, (size_t)(p - line));
		kept += (size_t)(p - line);
	}
	lines->len = kept;
	lines->data[kept] = '\0';
	return HTTP_OK;
}
