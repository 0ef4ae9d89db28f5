/* queue.h - the bounded queue between the threads that know and the one thread that writes.
 *
 * Putting never waits for the writer: the mutex is held for a few instructions. What does not fit is refused.
 */
#ifndef SLOWPROXY_REPORT_QUEUE_H
#define SLOWPROXY_REPORT_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/list.h>
#include <slowproxy/record.h>

enum entry_kind { ENTRY_SLOW, ENTRY_NORMAL, ENTRY_ACCESS, ENTRY_LOG };

/* An access line for the outlet. */
struct access_copy {
	uint64_t wall_ns;
	char trace_id[33], span_id[17];
	struct buf json;
};

/* Owned by whoever holds it, with all that is in it. */
struct entry {
	struct list_node node;
	enum entry_kind kind;
	struct record *record;    /* ENTRY_SLOW, ENTRY_NORMAL */
	struct buf text;          /* the others: a whole line with its newline; empty: it goes nowhere */
	struct access_copy *copy; /* ENTRY_ACCESS, when the outlet wants it; owned */
	size_t bytes;             /* of the record's profile */
};

struct entry *entry_new(enum entry_kind kind);
void entry_free(struct entry *e);

struct queue {
	pthread_mutex_t mutex;
	pthread_cond_t changed; /* an entry came, or stopping, or ended */
	struct list entries;
	size_t count, bytes;
	size_t max_count, max_bytes;
	bool taker_waits;
	bool stopping;
	uint64_t deadline_ns; /* when stopping: nothing is taken after this */
	bool ended;           /* the taker is gone */
};

void queue_init(struct queue *q, size_t max_count, size_t max_bytes);
void queue_clear(struct queue *q); /* frees the entries still there */

enum queue_result { QUEUE_OK, QUEUE_FULL, QUEUE_TOO_HEAVY };
/* On QUEUE_OK the entry has moved. Access lines and normal requests leave the last quarter of the room to the others. */
MUST_CHECK enum queue_result queue_put(struct queue *q, struct entry *e);
/* Waits for an entry, at most wait_ns. NULL: none came, or it is time to end (see queue_ends). */
struct entry *queue_take(struct queue *q, uint64_t wait_ns);
/* Whether the taker should end: everything is taken, or the deadline has passed. */
bool queue_ends(struct queue *q);
/* Whether the deadline has passed. */
bool queue_is_late(struct queue *q);

/* Asks the taker to end by then. */
void queue_stop(struct queue *q, uint64_t deadline_ns);
/* The taker says that it is gone. */
void queue_set_ended(struct queue *q);
/* Waits for that, until then at most. */
bool queue_wait_ended(struct queue *q, uint64_t until_ns);
size_t queue_count(struct queue *q);

#endif
