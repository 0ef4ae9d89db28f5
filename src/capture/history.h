/* history.h - the recent looks at one worker, each kept once however many requests wait on it.
 *
 *   history ── tick, tick, tick ...        oldest first; bounded in time and bytes
 *                 \ samples + a reference to the dictionary they speak
 *
 *   history_cut [from .. to] -> a profile of its own for one record
 */
#ifndef SLOWPROXY_CAPTURE_HISTORY_H
#define SLOWPROXY_CAPTURE_HISTORY_H

#include <slowproxy/base/list.h>

#include "dictionary.h"

/* Who holds the event loop of a worker, and since when (holds.c). */
struct hold {
	uint64_t since_ns; /* 0: nobody */
	uint64_t last_ns, told_ns;
	uint64_t span;
	uint32_t stack;
	uint8_t serves;
};

struct history {
	uint32_t worker; /* key; 0: of a sampler that is gone */
	int32_t pid;     /* 0: not known */
	struct hold hold;
	unsigned users; /* subjects that will want a cut */
	struct list ticks;
	size_t bytes;
};

/* What a stretch of time holds. */
struct window {
	uint64_t from_ns, to_ns;
	uint64_t expected_from_ns; /* earlier looks are a gift: they were made for other requests */
	uint64_t period_ns;
	uint64_t span; /* of the request: where it is found, tasks of others are left out; 0: none */
	uint32_t ticks, failed, suspect; /* out */
	uint32_t thrifty;                /* out: looks that came later than asked for, for their cost */
	bool found;                      /* out: samples of the request's own are among them */
};

struct history *history_new(uint32_t worker);
void history_free(struct history *h);
/* Files a tick; returns how many of its samples made sense. */
size_t history_add(struct history *h, struct dictionary *d, const struct ipc_tick *m);
/* Samples of these instants shall not be shown. */
void history_suspect(struct history *h, uint64_t from_ns, uint64_t to_ns);
void history_trim(struct history *h, uint64_t before_ns);
/* Drops the oldest tick; false: there is none. */
bool history_drop_oldest(struct history *h);

/* Another request, and what it lost while the one of the window held the event loop. */
struct waiter {
	uint64_t span, from_ns, to_ns; /* in flight so long */
	uint64_t lost_ns;              /* out */
	bool waits;                    /* could go on, or begin, as far as is known */
};
/* After history_cut with the same window: adds up what each of them lost. Returns for how long the loop was held. */
uint64_t history_hold_measure(
	struct history *h, const struct window *w, struct waiter *waiters, size_t count);

/* One look more. true: a block goes on by now, and was not told before from *from_ns on. */
bool hold_look(struct hold *h, const struct dictionary *d, const struct ipc_sample *samples, size_t count,
	uint64_t at_ns, uint64_t *from_ns);

/* Owned; NULL when there is no sample in the window. Each sample stands for the time until the next look, the first one also
 * for the time since the window began; but for no more than five times the usual distance: what happened in a longer hole
 * nobody saw. A window with more than some ten thousand samples is thinned out evenly. */
struct profile *history_cut(struct history *h, struct window *w);

#endif
