/* memory.h - things that live and die together: a configuration's strings, or the nodes of one parse. */
#ifndef CONFIG_MEMORY_H
#define CONFIG_MEMORY_H

#include <stddef.h>

#include <slowproxy/base/mem.h>

/* Zero-initialise to begin. */
struct memory {
	void **items;
	size_t count, capacity;
};

void *memory_alloc(struct memory *m, size_t bytes); /* zeroed; belongs to m */
char *memory_strndup(struct memory *m, const char *text, size_t len);
char *memory_strdup(struct memory *m, const char *text);
char *memory_printf(struct memory *m, const char *fmt, ...) PRINTF(2, 3);
void memory_clear(struct memory *m);

#endif
