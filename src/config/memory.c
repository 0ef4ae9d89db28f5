/* memory.c - things that live and die together. */
#include "memory.h"

#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/buf.h>

static void *memory_keep(struct memory *m, void *item)
{
	m->items = array_grow(m->items, &m->capacity, m->count, sizeof *m->items);
	m->items[m->count++] = item;
	return item;
}

void *memory_alloc(struct memory *m, size_t bytes)
{
	return memory_keep(m, xcalloc(1, MAX(bytes, 1)));
}

char *memory_strndup(struct memory *m, const char *text, size_t len)
{
	return memory_keep(m, xstrndup(text, len));
}

char *memory_strdup(struct memory *m, const char *text)
{
	return memory_strndup(m, text, strlen(text));
}

char *memory_printf(struct memory *m, const char *fmt, ...)
{
	struct buf b = { 0 };
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&b, fmt, args);
	va_end(args);
	return memory_keep(m, buf_take(&b));
}

void memory_clear(struct memory *m)
{
	for (size_t i = 0; i < m->count; i++)
		free(m->items[i]);
	free(m->items);
	*m = (struct memory){ 0 };
}
