/* buf.c - bytes that grow. */
#include <slowproxy/base/buf.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_clear(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ 0 };
}

void buf_truncate(struct buf *b, size_t len)
{
	assert(len <= b->len);
	b->len = len;
	if (b->data != NULL)
		b->data[len] = '\0';
}

void buf_reset(struct buf *b)
{
	buf_truncate(b, 0);
}

char *buf_take(struct buf *b)
{
	buf_reserve(b, 0);
	char *data = b->data;
	*b = (struct buf){ 0 };
	return data;
}

static void grow(struct buf *b, size_t need)
{
	size_t capacity = MAX(b->capacity * 2, 64);
	while (capacity < need)
		capacity *= 2;
	b->data = xrealloc(b->data, capacity);
	b->capacity = capacity;
	b->data[b->len] = '\0';
}

void buf_reserve(struct buf *b, size_t more)
{
	size_t need = b->len + more + 1;
	if (need > b->capacity)
		grow(b, need);
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
	buf_reserve(b, len);
	if (len != 0)
		memcpy(b->data + b->len, bytes, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_add_str(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_add_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	buf_vprintf(b, fmt, args);
	va_end(args);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list args)
{
	va_list again;
	va_copy(again, args);
	buf_reserve(b, 64);
	int len = vsnprintf(b->data + b->len, b->capacity - b->len, fmt, args);
	if (len >= 0 && (size_t)len >= b->capacity - b->len) {
		buf_reserve(b, (size_t)len);
		vsnprintf(b->data + b->len, b->capacity - b->len, fmt, again);
	}
	va_end(again);
	if (len > 0)
		b->len += (size_t)len;
}
