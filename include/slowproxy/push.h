/* push.h - lines to Loki and profiles to Pyroscope, through libcurl, on a thread of its own.
 *
 *   writer thread --push_put--> a bounded queue for each place --> push thread: batch, gzip, POST, back off, try again
 *
 * Putting never waits for the network. While a place is slow or gone its items wait; when the queue is full the oldest are
 * dropped and counted. A place that comes back gets what is left without anybody's help.
 */
#ifndef SLOWPROXY_PUSH_H
#define SLOWPROXY_PUSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/config.h>

enum push_place { PUSH_LOKI, PUSH_PYROSCOPE, PUSH_PLACES };
extern const char *const push_place_names[PUSH_PLACES]; /* "loki", "pyroscope" */

struct push_pair {
	const char *name, *value; /* a value of NULL or "" is left out */
};

/* One line, or one profile. Lent for the call. */
struct push_item {
	uint64_t wall_ns;
	const struct push_pair *pairs; /* a line's structured metadata, a profile's labels */
	size_t pair_count;
	const char *bytes; /* a line without its newline, valid UTF-8; or a gzipped pprof */
	size_t len;
};

struct push_counts {
	uint64_t sent;     /* items that the place has taken */
	uint64_t dropped;  /* the queue was full, or the end came */
	uint64_t rejected; /* the place refused them for good: 4xx */
	uint64_t failures; /* requests that will be tried again: no connection, 429, 5xx */
	uint64_t waiting;  /* items, now */
	uint64_t waiting_bytes;
};

struct push;

/* NULL: nothing is to be pushed. Reads the password files, so it comes before privileges are given up; config outlives it. */
struct push *push_new(const struct config *config);
/* Starts the thread: after privileges were given up, since each thread gives up its own. */
void push_start(struct push *p);
bool push_wants(const struct push *p, enum push_place place); /* p may be NULL */
/* Any thread; for a place that is not wanted nothing happens. */
void push_put(struct push *p, enum push_place place, const struct push_item *item);
/* Any thread. All zero for a place that is not wanted. */
void push_count(struct push *p, enum push_place place, struct push_counts *out);
/* Tries once more to send what waits, for at most wait_ns, ends the thread and frees. */
void push_free(struct push *p, uint64_t wait_ns);

#endif
