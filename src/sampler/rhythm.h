/* rhythm.h - when the next tick is due, and how much the ticks may cost.
 *
 *   purse   fills with max_cpu percent of the time that passes, up to half a minute's worth; what the process used is taken out
 *           full to half: full rate       half to empty: slower and slower       empty: as slow as the percentage asks for
 *
 * Slow requests come in storms: a short one is looked at in full, a lasting one costs no more than it may.
 */
#ifndef SLOWPROXY_SAMPLER_RHYTHM_H
#define SLOWPROXY_SAMPLER_RHYTHM_H

#include <stdbool.h>
#include <stdint.h>

#include <slowproxy/base/beat.h>

struct rhythm {
	uint64_t period_ns; /* as configured */
	uint32_t percent;   /* of one core */
	struct beat beat;   /* when the next tick is due */
	uint64_t tick_count;
	int64_t purse_ns; /* CPU time that may be used; below 0: was used too early */
	uint64_t cost_ns
		[2]; /* of CPU, on average of the last ticks: of those without a look at tasks, of those with one */
	uint64_t tasks_step; /* every so many ticks look at tasks */
	bool thrifty;        /* the rate is lower than configured */
	uint64_t paid_ns, cpu_paid_ns;
};

void rhythm_init(struct rhythm *r, uint32_t rate_hz, uint32_t max_cpu_percent);
/* Something is wanted after nothing was: the first tick is at once. */
void rhythm_begin(struct rhythm *r, uint64_t now_ns);
/* Whether this tick looks at asyncio tasks too. */
bool rhythm_tasks_now(const struct rhythm *r);
/* A tick is over: plans the next, never in a burst. true: thrifty has changed, see the sentence. */
bool rhythm_done(struct rhythm *r, uint64_t now_ns);
const char *rhythm_sentence(const struct rhythm *r);

#endif
