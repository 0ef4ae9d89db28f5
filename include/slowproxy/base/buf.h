/* base/buf.h - bytes that grow: for building text and messages, never for traffic (traffic uses fixed buffers). */
#ifndef SLOWPROXY_BASE_BUF_H
#define SLOWPROXY_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include <slowproxy/base/mem.h>

/* data is always followed by a NUL that len does not count; data is NULL until the first byte. Zero-initialise to begin. */
struct buf {
	char *data;
	size_t len;
	size_t capacity;
};

void buf_clear(struct buf *b);                /* frees the bytes; b can be used again */
void buf_reset(struct buf *b);                /* forgets the bytes, keeps the room */
void buf_truncate(struct buf *b, size_t len); /* keeps the first bytes */
/* Moves the bytes (NUL-terminated, never NULL) to the caller, who frees them. */
char *buf_take(struct buf *b);
void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_add_str(struct buf *b, const char *text);
void buf_add_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list args);

#endif
