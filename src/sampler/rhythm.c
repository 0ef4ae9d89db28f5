/* rhythm.c - a beat (base/beat.h), and a purse. */
#include "rhythm.h"

#include <time.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/mem.h>

enum {
	PURSE_SECONDS = 10,
	TASKS_STEP_MAX = 4, /* looking at tasks costs most: with a low purse only every so many ticks do it */
	PERIODS_MAX = 100   /* never slower than so many configured periods */
};

static uint64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static int64_t purse_max_ns(const struct rhythm *r)
{
	return (int64_t)(PURSE_SECONDS * NS_PER_S * r->percent / 100);
}

void rhythm_init(struct rhythm *r, uint32_t rate_hz, uint32_t max_cpu_percent)
{
	*r = (struct rhythm){
		.period_ns = NS_PER_S / MAX(rate_hz, 1u), .percent = MAX(max_cpu_percent, 1u), .tasks_step = 1
	};
	r->purse_ns = purse_max_ns(r);
	r->paid_ns = clock_now_ns();
	r->cpu_paid_ns = cpu_ns();
	beat_init(&r->beat, r->period_ns);
}

/* Puts in what the passed time allows, takes out what was used. Returns what was used. */
static uint64_t purse_settle(struct rhythm *r, uint64_t now_ns)
{
	uint64_t cpu = cpu_ns(), used = cpu - r->cpu_paid_ns;
	uint64_t passed = MIN(now_ns > r->paid_ns ? now_ns - r->paid_ns : 0, PURSE_SECONDS * NS_PER_S);
	r->purse_ns += (int64_t)(passed * r->percent / 100) - (int64_t)MIN(used, PURSE_SECONDS * NS_PER_S);
	r->purse_ns = MIN(r->purse_ns, purse_max_ns(r));
	r->purse_ns = MAX(r->purse_ns, -purse_max_ns(r));
	r->paid_ns = now_ns;
	r->cpu_paid_ns = cpu;
	return used;
}

void rhythm_begin(struct rhythm *r, uint64_t now_ns)
{
	beat_begin(&r->beat, now_ns);
	(void)purse_settle(r, now_ns);
}

bool rhythm_tasks_now(const struct rhythm *r)
{
	return r->tick_count % r->tasks_step == 0;
}

/* How low the purse is, in thousandths: 0 half full or better, 1000 empty. */
static uint64_t need_of(const struct rhythm *r)
{
	int64_t half = purse_max_ns(r) / 2;
	if (r->purse_ns >= half)
		return 0;
	return r->purse_ns <= 0 ? 1000 : (uint64_t)((half - r->purse_ns) * 1000 / half);
}

/* Between the configured period and the one that the percentage asks for. */
static uint64_t period_for(const struct rhythm *r, uint64_t need)
{
	uint64_t allowed = r->tick_cost * 100 / r->percent;
	if (r->purse_ns < 0)
		allowed += allowed / 4; /* to pay the debt */
	if (allowed <= r->period_ns)
		return r->period_ns;
	return MIN(r->period_ns + (allowed - r->period_ns) * need / 1000, r->period_ns * PERIODS_MAX);
}

bool rhythm_done(struct rhythm *r, uint64_t now_ns)
{
	uint64_t used = purse_settle(r, now_ns), need = need_of(r);
	bool was_thrifty = r->thrifty;
	r->tick_cost = r->tick_count == 0 ? used : r->tick_cost - r->tick_cost / 16 + used / 16;
	r->tasks_step = need == 0 ? 1 : need < 500 ? 2 : TASKS_STEP_MAX;
	uint64_t period = period_for(r, need);
	/* Not on and off with every tick: it was thrifty until the purse is well filled again. */
	r->thrifty = need != 0 && (was_thrifty || period > r->period_ns + r->period_ns / 4);
	r->tick_count++;
	beat_next(&r->beat, period, now_ns);
	return r->thrifty != was_thrifty;
}

const char *rhythm_sentence(const struct rhythm *r)
{
	return r->thrifty ? "sampling would cost more than capture.max_cpu: looks come less often"
			  : "sampling at full rate again";
}
