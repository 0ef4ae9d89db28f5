/* names.c - a bounded set of texts. Once it is full it never changes again, and is read without the lock. */
#include "series.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/map.h>

struct names {
	pthread_mutex_t lock; /* guards texts until full */
	char **slots;         /* owned texts, by hash */
	size_t mask, count, max;
	atomic_bool full;
	_Atomic uint64_t overflows;
};

struct names *names_new(uint32_t max)
{
	struct names *n = xcalloc(1, sizeof *n);
	size_t capacity = 16;
	while (capacity < (size_t)max * 2)
		capacity *= 2;
	pthread_mutex_init(&n->lock, NULL);
	n->slots = xcalloc(capacity, sizeof *n->slots);
	n->mask = capacity - 1;
	n->max = max;
	return n;
}

void names_free(struct names *n)
{
	for (size_t i = 0; i <= n->mask; i++)
		free(n->slots[i]);
	free(n->slots);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

/* Its slot, or the free one where it would be. */
static size_t slot_of(const struct names *n, const char *text)
{
	size_t i = (size_t)hash_bytes(text, strlen(text)) & n->mask;
	while (n->slots[i] != NULL && strcmp(n->slots[i], text) != 0)
		i = (i + 1) & n->mask;
	return i;
}

static const char *add(struct names *n, const char *text)
{
	pthread_mutex_lock(&n->lock);
	size_t i = slot_of(n, text);
	if (n->slots[i] == NULL && n->count < n->max) {
		n->slots[i] = xstrdup(text);
		n->count++;
	}
	const char *kept = n->slots[i];
	if (n->count == n->max)
		atomic_store_explicit(&n->full, true, memory_order_release);
	pthread_mutex_unlock(&n->lock);
	return kept;
}

const char *names_intern(struct names *n, const char *text)
{
	if (text[0] == '\0')
		return "";
	const char *kept = atomic_load_explicit(&n->full, memory_order_acquire) ? n->slots[slot_of(n, text)]
										: add(n, text);
	if (kept == NULL)
		atomic_fetch_add_explicit(&n->overflows, 1, memory_order_relaxed);
	return kept != NULL ? kept : "other";
}

size_t names_count(struct names *n)
{
	pthread_mutex_lock(&n->lock);
	size_t count = n->count;
	pthread_mutex_unlock(&n->lock);
	return count;
}

uint64_t names_overflows(struct names *n)
{
	return atomic_load_explicit(&n->overflows, memory_order_relaxed);
}
