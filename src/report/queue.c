/* queue.c - the bounded queue between the threads that know and the one thread that writes. */
#include "queue.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <slowproxy/base/clock.h>

struct entry *entry_new(enum entry_kind kind)
{
	struct entry *e = xcalloc(1, sizeof *e);
	e->kind = kind;
	return e;
}

void entry_free(struct entry *e)
{
	if (e->record != NULL)
		record_free(e->record);
	if (e->copy != NULL)
		buf_clear(&e->copy->json);
	free(e->copy);
	buf_clear(&e->text);
	free(e);
}

void queue_init(struct queue *q, size_t max_count, size_t max_bytes)
{
	*q = (struct queue){ .max_count = max_count, .max_bytes = max_bytes };
	list_init(&q->entries);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&q->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_mutex_init(&q->mutex, NULL);
}

void queue_clear(struct queue *q)
{
	list_for_each_safe (node, &q->entries)
		entry_free(LIST_ENTRY(node, struct entry, node));
	pthread_cond_destroy(&q->changed);
	pthread_mutex_destroy(&q->mutex);
}

enum queue_result queue_put(struct queue *q, struct entry *e)
{
	enum queue_result result = QUEUE_OK;
	pthread_mutex_lock(&q->mutex);
	size_t room = e->kind == ENTRY_ACCESS || e->kind == ENTRY_NORMAL ? q->max_count - q->max_count / 4
									 : q->max_count;
	if (q->count >= room) {
		result = QUEUE_FULL;
	} else if (e->bytes != 0 && q->bytes + e->bytes > q->max_bytes) {
		result = QUEUE_TOO_HEAVY;
	} else {
		list_push_back(&q->entries, &e->node);
		q->count++;
		q->bytes += e->bytes;
	}
	bool wake = result == QUEUE_OK && q->taker_waits;
	q->taker_waits = q->taker_waits && !wake;
	pthread_mutex_unlock(&q->mutex);
	if (wake)
		pthread_cond_signal(&q->changed);
	return result;
}

static bool is_late(const struct queue *q)
{
	return q->stopping && clock_now_ns() >= q->deadline_ns;
}

/* With the mutex held; false at the end of the time. */
static bool wait_until(struct queue *q, uint64_t until_ns)
{
	struct timespec t = { (time_t)(until_ns / NS_PER_S), (long)(until_ns % NS_PER_S) };
	return pthread_cond_timedwait(&q->changed, &q->mutex, &t) != ETIMEDOUT;
}

struct entry *queue_take(struct queue *q, uint64_t wait_ns)
{
	uint64_t until_ns = clock_now_ns() + wait_ns;
	struct entry *e = NULL;

	pthread_mutex_lock(&q->mutex);
	while (list_empty(&q->entries) && !q->stopping) {
		q->taker_waits = true;
		if (!wait_until(q, until_ns))
			break;
	}
	q->taker_waits = false;
	if (!list_empty(&q->entries) && !is_late(q)) {
		e = LIST_ENTRY(list_first(&q->entries), struct entry, node);
		list_remove(&e->node);
		q->count--;
		q->bytes -= e->bytes;
	}
	pthread_mutex_unlock(&q->mutex);
	return e;
}

bool queue_ends(struct queue *q)
{
	pthread_mutex_lock(&q->mutex);
	bool ends = q->stopping && (list_empty(&q->entries) || is_late(q));
	pthread_mutex_unlock(&q->mutex);
	return ends;
}

bool queue_is_late(struct queue *q)
{
	pthread_mutex_lock(&q->mutex);
	bool late = is_late(q);
	pthread_mutex_unlock(&q->mutex);
	return late;
}

void queue_stop(struct queue *q, uint64_t deadline_ns)
{
	pthread_mutex_lock(&q->mutex);
	q->stopping = true;
	q->deadline_ns = deadline_ns;
	pthread_mutex_unlock(&q->mutex);
	pthread_cond_broadcast(&q->changed);
}

void queue_set_ended(struct queue *q)
{
	pthread_mutex_lock(&q->mutex);
	q->ended = true;
	pthread_cond_broadcast(&q->changed); /* with the mutex held: the waiter frees the queue */
	pthread_mutex_unlock(&q->mutex);
}

bool queue_wait_ended(struct queue *q, uint64_t until_ns)
{
	pthread_mutex_lock(&q->mutex);
	while (!q->ended && wait_until(q, until_ns))
		;
	bool ended = q->ended;
	pthread_mutex_unlock(&q->mutex);
	return ended;
}

size_t queue_count(struct queue *q)
{
	pthread_mutex_lock(&q->mutex);
	size_t count = q->count;
	pthread_mutex_unlock(&q->mutex);
	return count;
}
