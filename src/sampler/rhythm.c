/* rhythm.c - regular instants with a little jitter, and a purse.
 *
 *   beat     |         |         |         |        absolute: a late tick does not make the next one late
 *   tick      x       x           x       x         +-10 %, so that work with the same period does not hide
 *
 * The purse: the process may spend 5 % of one core. Looking at a thousand tasks costs most, so that is done less often
 * first: every 2nd, 4th .. 16th tick. Only then the whole rate is halved.
 */
#include "rhythm.h"

#include <time.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/mem.h>

enum {
	THRIFT_TASKS = 4, /* steps that only concern tasks */
	THRIFT_MAX = 8,
	SPEND_PER_THOUSAND = 50,
	SAVE_PER_THOUSAND = 20 /* below this a step is taken back */
};

static uint64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void rhythm_init(struct rhythm *r, uint32_t rate_hz)
{
	*r = (struct rhythm){ .period_ns = NS_PER_S / MAX(rate_hz, 1u), .random = 2463534242u };
}

/* xorshift: against aliasing, not against people. */
static uint32_t random_next(struct rhythm *r)
{
	r->random ^= r->random << 13;
	r->random ^= r->random >> 17;
	r->random ^= r->random << 5;
	return r->random;
}

static uint64_t period_now(const struct rhythm *r)
{
	return r->thrift > THRIFT_TASKS ? r->period_ns << (r->thrift - THRIFT_TASKS) : r->period_ns;
}

void rhythm_begin(struct rhythm *r, uint64_t now_ns)
{
	r->beat_ns = r->next_ns = now_ns;
	r->since_ns = now_ns;
	r->cpu_since_ns = cpu_ns();
}

bool rhythm_tasks_now(const struct rhythm *r)
{
	unsigned step = MIN(r->thrift, (unsigned)THRIFT_TASKS);
	return (r->tick_count & ((1u << step) - 1)) == 0;
}

/* Once a second: was it too much, or little enough to give more? */
static bool purse_check(struct rhythm *r, uint64_t now_ns)
{
	uint64_t elapsed = now_ns - r->since_ns;
	if (elapsed < NS_PER_S)
		return false;
	uint64_t cpu = cpu_ns(), per_thousand = (cpu - r->cpu_since_ns) * 1000 / elapsed;
	unsigned before = r->thrift;
	r->since_ns = now_ns;
	r->cpu_since_ns = cpu;
	if (per_thousand > SPEND_PER_THOUSAND && r->thrift < THRIFT_MAX)
		r->thrift++;
	else if (per_thousand < SAVE_PER_THOUSAND && r->thrift > 0)
		r->thrift--;
	return r->thrift != before;
}

bool rhythm_done(struct rhythm *r, uint64_t now_ns)
{
	bool changed = purse_check(r, now_ns);
	uint64_t period = period_now(r);
	r->tick_count++;
	r->beat_ns += period;
	if (r->beat_ns <= now_ns) /* late by more than a period: the missed ones stay missed */
		r->beat_ns += ((now_ns - r->beat_ns) / period + 1) * period;
	uint64_t jitter = period / 5;
	r->next_ns = r->beat_ns - jitter / 2 + (jitter != 0 ? random_next(r) % jitter : 0);
	return changed;
}

const char *rhythm_sentence(const struct rhythm *r)
{
	if (r->thrift == 0)
		return "sampling at full rate again";
	if (r->thrift <= THRIFT_TASKS)
		return "looking at asyncio tasks costs over 5 % of a core: fewer ticks look at them";
	return "sampling costs over 5 % of a core: its rate is halved";
}
