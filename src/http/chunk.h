/* chunk.h - the line before a chunk: "1f4;name=value CRLF", read byte by byte wherever the reads happen to cut it. */
#ifndef SLOWPROXY_HTTP_CHUNK_H
#define SLOWPROXY_HTTP_CHUNK_H

#include <slowproxy/http.h>

struct chunk_line {
	uint8_t state; /* 0 at the beginning of a line */
	uint8_t digits;
	uint64_t size;
	uint32_t extension_bytes; /* of the whole body */
};

void chunk_line_begin(struct chunk_line *line);

/* Reads from bytes[0..len) until the line ends; *used says how far, *digits which of these bytes were the size's digits. */
enum http_error chunk_line_read(struct chunk_line *line, const char *bytes, size_t len, size_t *used,
	struct slice *digits, bool *complete);

#endif
