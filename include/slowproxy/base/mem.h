/* base/mem.h - memory that does not run out quietly, and the few macros everybody needs.
 *
 * Whatever a peer can size is bounded by configuration, so a failed allocation is a bug or a dead machine:
 * the x-functions end the process with one sentence instead of returning NULL.
 */
#ifndef SLOWPROXY_BASE_MEM_H
#define SLOWPROXY_BASE_MEM_H

#include <stddef.h>

#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)         ((a) < (b) ? (a) : (b))
#define MAX(a, b)         ((a) > (b) ? (a) : (b))

/* All return owned memory, to be given back with free(). xcalloc zeroes. */
void *xmalloc(size_t bytes);
void *xcalloc(size_t count, size_t bytes);
void *xrealloc(void *old, size_t bytes);
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t len);

/* Makes room for one more element in an array that doubles: items = array_grow(items, &cap, count, sizeof *items). */
void *array_grow(void *items, size_t *capacity, size_t count, size_t item_bytes);

#endif
