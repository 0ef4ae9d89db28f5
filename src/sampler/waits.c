/* waits.c - when a sleep is due.
 *
 *   asyncio.sleep(delay): its timer says when        exact, with asyncio's loop and uvloop's
 *                         else when first seen + delay
 */
#include "waits.h"

#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/mem.h>

#include "names.h"

enum {
	KEPT_LOOKS = 100,
	SWEEP_LOOKS = 256,
	SEARCHES_MAX = 3,
	MISSED_LOOKS = 4, /* so many may not have found it, and it still is the same wait */
	ASK_AGAIN_LOOKS = 4
};
static const double delay_max = 1e6;

struct wait {
	uint64_t waits_for, since_ns, met;
	uint64_t asked;    /* number of a look */
	unsigned searched; /* times in vain */
	struct due due;
};

/* Where a timer of the loop keeps its instant, by what made it. */
static const struct py_step timers[][2] = {
	{ { PY_STEP_SLOT, "_when" }, { 0 } },                   /* asyncio */
	{ { PY_STEP_FLOAT, "uvloop.loop.TimerHandle" }, { 0 } } /* uvloop */
};

static bool timer_when(struct py_process *p, uint64_t timer, double *seconds)
{
	uint64_t object;
	for (size_t i = 0; i < ARRAY_LEN(timers); i++)
		if (py_follow(p, timer, timers[i], &object) && py_number(p, object, seconds))
			return *seconds > 0 && *seconds < delay_max * 1000;
	return false;
}

/* The variables of asyncio.sleep, packed: 1 + place of the delay, 1 + place of the timer. */
static uint64_t sleep_find(struct py_process *p, const struct py_code *code)
{
	if (!code_is(code, "/asyncio/tasks.py", "sleep"))
		return 0;
	return (uint64_t)(1 + py_code_local(p, code, "delay")) << 32 |
	       (uint32_t)(1 + py_code_local(p, code, "h"));
}

static struct due due_search(
	struct waits *ws, struct py_process *p, const struct py_frame *f, uint64_t since_ns)
{
	uint64_t packed, slot, object;
	double seconds;
	if (f->code == NULL)
		return (struct due){ 0 };
	if (!map_get(&ws->sleeps, f->code->id, &packed)) {
		packed = sleep_find(p, f->code);
		map_put(&ws->sleeps, f->code->id, packed);
	}
	if (packed == 0)
		return (struct due){ 0 };
	if (py_local(p, f, (int)(uint32_t)packed - 1, &slot, &object) && timer_when(p, object, &seconds))
		return (struct due){ (uint64_t)(seconds * (double)NS_PER_S), false };
	if (py_local(p, f, (int)(packed >> 32) - 1, &slot, &object) && py_number(p, object, &seconds) &&
		seconds >= 0 && seconds < delay_max)
		return (struct due){ since_ns + (uint64_t)(seconds * (double)NS_PER_S), true };
	return (struct due){ 0 };
}

static void sweep(struct waits *ws)
{
	size_t at = 0;
	uint64_t key, value;
	struct map kept = { 0 };
	while (map_next(&ws->by_task, &at, &key, &value)) {
		struct wait *w = (struct wait *)(uintptr_t)value;
		if (ws->looks - w->met > KEPT_LOOKS)
			free(w);
		else
			map_put(&kept, key, value);
	}
	map_clear(&ws->by_task);
	ws->by_task = kept;
}

void waits_look_begin(struct waits *ws, size_t task_count)
{
	if (ws->due_capacity < task_count) {
		ws->due_capacity = task_count * 2;
		ws->dues = xrealloc(ws->dues, ws->due_capacity * sizeof *ws->dues);
	}
	if (task_count != 0)
		memset(ws->dues, 0, task_count * sizeof *ws->dues);
	if (++ws->looks % SWEEP_LOOKS == 0)
		sweep(ws);
}

/* Not known yet; or over, and it still sleeps: perhaps it is another sleep, whose future stands where the last one stood. */
static bool search_due(const struct waits *ws, const struct wait *w, const struct py_task *t, uint64_t now_ns)
{
	if (t->waits_for == 0 || t->frame_count == 0)
		return false;
	return w->due.at_ns == 0 ? w->searched < SEARCHES_MAX
				 : w->due.at_ns < now_ns && ws->looks - w->asked >= ASK_AGAIN_LOOKS;
}

struct due wait_due(struct waits *ws, struct py_process *p, const struct py_task *t, uint64_t now_ns)
{
	uint64_t found;
	struct wait *w;
	if (map_get(&ws->by_task, t->address, &found)) {
		w = (struct wait *)(uintptr_t)found;
	} else {
		w = xcalloc(1, sizeof *w);
		map_put(&ws->by_task, t->address, (uint64_t)(uintptr_t)w);
	}
	bool same = w->waits_for == t->waits_for && w->met + MISSED_LOOKS >= ws->looks;
	if (!same) /* short waits are of no interest: what it is due at is looked for when it is met again */
		*w = (struct wait){ .waits_for = t->waits_for, .since_ns = now_ns };
	w->met = ws->looks;
	if (same && search_due(ws, w, t, now_ns)) {
		w->searched += w->due.at_ns == 0;
		w->asked = ws->looks;
		w->due = due_search(ws, p, &t->frames[0], w->since_ns);
	}
	return w->due;
}

void waits_clear(struct waits *ws)
{
	size_t at = 0;
	uint64_t key, value;
	while (map_next(&ws->by_task, &at, &key, &value))
		free((struct wait *)(uintptr_t)value);
	map_clear(&ws->by_task);
	map_clear(&ws->sleeps);
	free(ws->dues);
	*ws = (struct waits){ 0 };
}
