/* rhythm.h - when the next tick is due, and how much a tick may cost. */
#ifndef SLOWPROXY_SAMPLER_RHYTHM_H
#define SLOWPROXY_SAMPLER_RHYTHM_H

#include <stdbool.h>
#include <stdint.h>

#include <slowproxy/base/beat.h>

struct rhythm {
	uint64_t period_ns; /* as configured */
	struct beat beat;   /* when the next tick is due */
	unsigned thrift;    /* 0: full rate; each step halves: first the looks at tasks, then all looks */
	uint64_t tick_count;
	/* The running second of book-keeping. */
	uint64_t since_ns, cpu_since_ns;
};

void rhythm_init(struct rhythm *r, uint32_t rate_hz);
/* Something is wanted after nothing was: the first tick is at once. */
void rhythm_begin(struct rhythm *r, uint64_t now_ns);
/* Whether this tick looks at asyncio tasks too. */
bool rhythm_tasks_now(const struct rhythm *r);
/* A tick is over: plans the next, never in a burst. true: the thrift has changed, see the sentence. */
bool rhythm_done(struct rhythm *r, uint64_t now_ns);
const char *rhythm_sentence(const struct rhythm *r);

#endif
