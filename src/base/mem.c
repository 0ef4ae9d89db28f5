/* mem.c - allocation that ends the process rather than lie. */
#include <slowproxy/base/mem.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must_have(void *got, size_t bytes)
{
	if (got == NULL && bytes != 0) {
		fprintf(stderr, "slowproxy: out of memory: the system refused %zu bytes\n", bytes);
		abort();
	}
	return got;
}

void *xmalloc(size_t bytes)
{
	return must_have(malloc(bytes), bytes);
}

void *xcalloc(size_t count, size_t bytes)
{
	return must_have(calloc(count, bytes), count * bytes);
}

void *xrealloc(void *old, size_t bytes)
{
	return must_have(realloc(old, bytes), bytes);
}

char *xstrdup(const char *text)
{
	return xstrndup(text, strlen(text));
}

char *xstrndup(const char *text, size_t len)
{
	char *copy = xmalloc(len + 1);
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

void *array_grow(void *items, size_t *capacity, size_t count, size_t item_bytes)
{
	if (count < *capacity)
		return items;
	*capacity = *capacity ? *capacity * 2 : 8;
	return xrealloc(items, *capacity * item_bytes);
}
