/* rhythm.c - a beat (base/beat.h), and a purse.
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
	*r = (struct rhythm){ .period_ns = NS_PER_S / MAX(rate_hz, 1u) };
	beat_init(&r->beat, r->period_ns);
}

static uint64_t period_now(const struct rhythm *r)
{
	return r->thrift > THRIFT_TASKS ? r->period_ns << (r->thrift - THRIFT_TASKS) : r->period_ns;
}

void rhythm_begin(struct rhythm *r, uint64_t now_ns)
{
	beat_begin(&r->beat, now_ns);
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
	r->tick_count++;
	beat_next(&r->beat, period_now(r), now_ns);
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
