/* rhythm.c - a beat (base/beat.h), and a purse. */
#include "rhythm.h"

#include <time.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/mem.h>

enum {
	PURSE_SECONDS = 30,
	TASKS_STEP_MAX = 16,
	TASKS_STEP_FULL_MAX = 4, /* with a full purse */
	PERIODS_MAX = 100        /* never slower than so many configured periods */
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

static uint64_t average_cost(const struct rhythm *r, uint64_t step)
{
	uint64_t threads = r->cost_ns[0], tasks = r->cost_ns[1];
	return tasks <= threads ? threads : threads + (tasks - threads) / step;
}

/* What a second may cost now, in ns of CPU: with a low purse no more than comes in, with a fuller one up to five times that. */
static uint64_t second_may_cost(const struct rhythm *r, uint64_t need)
{
	uint64_t income = NS_PER_S * r->percent / 100;
	if (r->purse_ns < 0)
		return income - income / 4; /* to pay the debt */
	return income + income * 4 * (1000 - need) / 1000;
}

/* First fewer looks go over tasks, which cost most and change least; then all looks come less often. */
static uint64_t period_plan(struct rhythm *r, uint64_t need)
{
	uint64_t may = second_may_cost(r, need);
	r->tasks_step = 1;
	while (r->tasks_step < (need == 0 ? TASKS_STEP_FULL_MAX : TASKS_STEP_MAX) &&
		average_cost(r, r->tasks_step) * (NS_PER_S / r->period_ns) > may)
		r->tasks_step *= 2;
	if (need == 0)
		return r->period_ns;
	uint64_t period = average_cost(r, r->tasks_step) * NS_PER_S / may;
	return MIN(MAX(period, r->period_ns), r->period_ns * PERIODS_MAX);
}

static void cost_note(struct rhythm *r, uint64_t used)
{
	uint64_t *cost = &r->cost_ns[rhythm_tasks_now(r)];
	*cost = *cost == 0 ? used : *cost - *cost / 8 + used / 8;
}

bool rhythm_done(struct rhythm *r, uint64_t now_ns)
{
	bool was_thrifty = r->thrifty;
	cost_note(r, purse_settle(r, now_ns));
	uint64_t period = period_plan(r, need_of(r));
	/* Not on and off with every tick: it was thrifty until the purse is well filled again. */
	r->thrifty = period > r->period_ns || (was_thrifty && need_of(r) != 0);
	r->tick_count++;
	beat_next(&r->beat, period, now_ns);
	return r->thrifty != was_thrifty;
}

const char *rhythm_sentence(const struct rhythm *r)
{
	return r->thrifty ? "sampling would cost more than capture.max_cpu: looks come less often"
			  : "sampling at full rate again";
}
