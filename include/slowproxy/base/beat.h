/* base/beat.h - regular instants with a little jitter.
 *
 *   beat     |         |         |         |        absolute: a late tick does not make the next one late
 *   due       x       x           x       x         +-10 %, so that work with the same period does not hide
 */
#ifndef SLOWPROXY_BASE_BEAT_H
#define SLOWPROXY_BASE_BEAT_H

#include <stdint.h>

struct beat {
	uint64_t period_ns;
	uint64_t at_ns;  /* the regular instant the next tick belongs to, CLOCK_MONOTONIC */
	uint64_t due_ns; /* the same with its jitter */
	uint64_t missed; /* beats that passed while a tick was late: they are not made up for */
	uint32_t random;
};

void beat_init(struct beat *b, uint64_t period_ns);
/* Something is wanted after nothing was: the first tick is at once. */
void beat_begin(struct beat *b, uint64_t now_ns);
/* A tick is over: plans the next, never in a burst. period_ns is the one to keep from now on. */
void beat_next(struct beat *b, uint64_t period_ns, uint64_t now_ns);

#endif
