/* history.c - keeps looks, and cuts the stretch of one request out of them. */
#include "history.h"

#include <stdlib.h>
#include <string.h>

enum {
	HOLE_PERIODS = 5,
	GUESS_MAX = 63,
	PROFILE_SAMPLES_MAX =
		10000 /* about 320 KiB; 30 s of a worker with many tasks would be many megabytes */
};

struct tick {
	struct list_node node;
	struct dictionary *dictionary;
	uint64_t at_ns;
	uint32_t flags;
	bool suspect;
	uint64_t thread_weight_ns, task_weight_ns; /* of the cut at work; 0: not used in it */
	uint32_t sample_count;
	struct ipc_sample samples[];
};

static const enum profile_state states[IPC_STATE_END] = {
	[IPC_STATE_UNKNOWN] = PROFILE_UNKNOWN,
	[IPC_STATE_RUNNING] = PROFILE_RUNNING,
	[IPC_STATE_BLOCKED] = PROFILE_BLOCKED,
	[IPC_STATE_GIL_WAIT] = PROFILE_GIL_WAIT,
	[IPC_STATE_IDLE] = PROFILE_IDLE,
	[IPC_STATE_AWAITING] = PROFILE_AWAITING,
};

struct history *history_new(uint32_t worker)
{
	struct history *h = xcalloc(1, sizeof *h);
	h->worker = worker;
	list_init(&h->ticks);
	return h;
}

static size_t tick_bytes(const struct tick *t)
{
	return sizeof *t + t->sample_count * sizeof *t->samples;
}

static void tick_free(struct history *h, struct tick *t)
{
	list_remove(&t->node);
	h->bytes -= tick_bytes(t);
	dictionary_unref(t->dictionary);
	free(t);
}

bool history_drop_oldest(struct history *h)
{
	if (list_empty(&h->ticks))
		return false;
	tick_free(h, LIST_ENTRY(list_first(&h->ticks), struct tick, node));
	return true;
}

void history_free(struct history *h)
{
	list_for_each_safe (node, &h->ticks)
		tick_free(h, LIST_ENTRY(node, struct tick, node));
	free(h);
}

static struct tick *tick_last(const struct history *h)
{
	return LIST_ENTRY(h->ticks.head.prev, struct tick, node);
}

size_t history_add(struct history *h, struct dictionary *d, const struct ipc_tick *m)
{
	if (!list_empty(&h->ticks) && m->at_ns <= tick_last(h)->at_ns)
		return 0; /* time does not run backwards: not ours */
	struct tick *t = xmalloc(sizeof *t + m->sample_count * sizeof *t->samples);
	*t = (struct tick){ .at_ns = m->at_ns, .flags = m->flags, .dictionary = dictionary_ref(d) };
	const char *from = (const char *)(m + 1);
	for (uint32_t i = 0; i < m->sample_count; i++) {
		memcpy(&t->samples[t->sample_count], from + i * sizeof *t->samples, sizeof *t->samples);
		if (dictionary_knows(d, &t->samples[t->sample_count]))
			t->sample_count++;
	}
	list_push_back(&h->ticks, &t->node);
	h->bytes += tick_bytes(t);
	return t->sample_count;
}

void history_suspect(struct history *h, uint64_t from_ns, uint64_t to_ns)
{
	list_for_each (node, &h->ticks) {
		struct tick *t = LIST_ENTRY(node, struct tick, node);
		if (t->at_ns > from_ns && t->at_ns <= to_ns)
			t->suspect = true;
	}
}

void history_trim(struct history *h, uint64_t before_ns)
{
	list_for_each_safe (node, &h->ticks) {
		struct tick *t = LIST_ENTRY(node, struct tick, node);
		if (t->at_ns >= before_ns)
			return;
		tick_free(h, t);
	}
}

/* --- cutting --- */
static bool in_window(const struct window *w, const struct tick *t)
{
	return t->at_ns >= w->from_ns && t->at_ns <= w->to_ns;
}

/* Says what it saw. */
static bool usable(const struct tick *t)
{
	return (t->flags & IPC_TICK_FAILED) == 0 && !t->suspect;
}

/* Counts, and names the event loops first: they are the lanes a reader looks at first. Returns how many samples there are. */
static size_t window_survey(struct history *h, struct window *w, struct profile *p)
{
	const struct dictionary *last = NULL;
	size_t samples = 0, tasks_of_others = 0;
	bool found = false;
	w->ticks = w->failed = w->suspect = w->thrifty = 0;
	list_for_each (node, &h->ticks) {
		struct tick *t = LIST_ENTRY(node, struct tick, node);
		if (!in_window(w, t))
			continue;
		if (last == NULL || t->dictionary != last)
			dictionary_cut_begin(t->dictionary);
		last = t->dictionary;
		bool counts = t->at_ns >= w->expected_from_ns;
		w->failed += counts && (t->flags & IPC_TICK_FAILED) != 0;
		w->suspect += t->suspect;
		w->thrifty += counts && (t->flags & IPC_TICK_THRIFTY) != 0;
		if (!usable(t))
			continue;
		w->ticks += counts;
		samples += t->sample_count;
		for (uint32_t i = 0; i < t->sample_count; i++) {
			uint32_t lane = t->samples[i].lane;
			bool own = w->span != 0 && t->samples[i].span == w->span;
			enum ipc_lane_kind kind = t->dictionary->lanes[lane - 1].kind;
			found |= own;
			tasks_of_others += kind == IPC_LANE_TASK && !own;
			if (kind == IPC_LANE_LOOP)
				(void)dictionary_lane_to(t->dictionary, lane, p);
		}
	}
	w->found = found;
	return found ? samples - tasks_of_others : samples;
}

/* Looks at threads and looks at tasks are two series: the second may be sparser. When there are more samples than a profile
 * may have, only every stride-th look of each is used, and stands for more time. */
static bool series_has(const struct window *w, const struct tick *t, bool tasks)
{
	return in_window(w, t) && usable(t) && (!tasks || (t->flags & IPC_TICK_TASKS) != 0);
}

/* The distances between looks, as far as needed for a fair guess of the usual one. */
struct distances {
	uint64_t ns[GUESS_MAX]; /* sorted */
	size_t count;
};

static void distances_add(struct distances *d, uint64_t ns)
{
	if (d->count == GUESS_MAX)
		return; /* the first ones have said it */
	size_t at = d->count++;
	for (; at > 0 && d->ns[at - 1] > ns; at--)
		d->ns[at] = d->ns[at - 1];
	d->ns[at] = ns;
}

/* The longest time one look may stand for. */
static uint64_t series_hole_ns(const struct window *w, const struct distances *d)
{
	return HOLE_PERIODS * MAX(w->period_ns, d->count != 0 ? d->ns[(d->count - 1) / 2] : 0);
}

static uint64_t *series_weight(struct tick *t, bool tasks)
{
	return tasks ? &t->task_weight_ns : &t->thread_weight_ns;
}

/* Gives every look of the series its time; 0: it is not used. */
static void series_weigh(struct history *h, const struct window *w, bool tasks, size_t stride)
{
	struct tick *before = NULL;
	struct distances distances = { .count = 0 };
	uint64_t last_ns = 0;
	size_t seen = 0;
	list_for_each (node, &h->ticks) {
		struct tick *t = LIST_ENTRY(node, struct tick, node);
		*series_weight(t, tasks) = 0;
		if (!series_has(w, t, tasks) || seen++ % stride != 0)
			continue;
		if (last_ns != 0)
			distances_add(&distances, t->at_ns - last_ns);
		last_ns = t->at_ns;
		*series_weight(t, tasks) = 1; /* used; its time follows */
	}
	uint64_t hole = series_hole_ns(w, &distances);
	list_for_each (node, &h->ticks) {
		struct tick *t = LIST_ENTRY(node, struct tick, node);
		if (*series_weight(t, tasks) == 0)
			continue;
		if (before != NULL)
			*series_weight(before, tasks) += MIN(t->at_ns - before->at_ns, hole) - 1;
		else
			*series_weight(t, tasks) += MIN(t->at_ns - w->from_ns, hole);
		before = t;
	}
	if (before != NULL) /* never 0, or it would count as not used */
		*series_weight(before, tasks) += MAX(MIN(w->to_ns - before->at_ns, hole), UINT64_C(1)) - 1;
}

/* Whether the sample has to do with this request: once its own are known, the tasks of others have not. */
static bool sample_concerns(const struct tick *t, const struct ipc_sample *s, uint64_t only_span)
{
	return only_span == 0 || s->span == only_span ||
	       t->dictionary->lanes[s->lane - 1].kind != IPC_LANE_TASK;
}

static void tick_cut(const struct tick *t, uint64_t only_span, struct profile *p)
{
	if (t->thread_weight_ns != 0)
		profile_add_look(p, &(struct profile_look){ .at_ns = t->at_ns,
					    .tasks = t->task_weight_ns != 0,
					    .whole = (t->flags & IPC_TICK_WHOLE) != 0,
					    .gc = (t->flags & IPC_TICK_GC) != 0 });
	for (uint32_t i = 0; i < t->sample_count; i++) {
		const struct ipc_sample *s = &t->samples[i];
		bool is_task = t->dictionary->lanes[s->lane - 1].kind == IPC_LANE_TASK;
		uint64_t weight_ns = is_task ? t->task_weight_ns : t->thread_weight_ns;
		if (weight_ns == 0 || !sample_concerns(t, s, only_span))
			continue;
		profile_add_sample(
			p, &(struct profile_sample){ .at_ns = t->at_ns,
				   .weight_ns = weight_ns,
				   .lane = dictionary_lane_to(t->dictionary, s->lane, p),
				   .stack = dictionary_stack_to(t->dictionary, s->stack, t->at_ns, p),
				   .state = (uint8_t)states[s->state],
				   .holds_gil = s->holds_gil != 0,
				   .syscall = s->syscall,
				   .serves = s->serves,
				   .awaits = s->awaits,
				   .span = s->span,
				   .due_ns = is_task ? s->due_ns : 0,
				   .turn_ns = is_task ? 0 : s->due_ns,
				   .due_at_latest = s->due_at_latest,
				   .ready = s->ready });
	}
}

struct profile *history_cut(struct history *h, struct window *w)
{
	struct profile *p = profile_new();
	size_t stride = window_survey(h, w, p) / PROFILE_SAMPLES_MAX + 1;
	series_weigh(h, w, false, stride);
	series_weigh(h, w, true, stride);
	list_for_each (node, &h->ticks) {
		struct tick *t = LIST_ENTRY(node, struct tick, node);
		if (in_window(w, t) && usable(t))
			tick_cut(t, w->found ? w->span : 0, p);
	}
	if (p->sample_count != 0)
		return p;
	profile_free(p);
	return NULL;
}

/* --- who waited --- */
static bool is_loop(const struct tick *t, const struct ipc_sample *s)
{
	return t->dictionary->lanes[s->lane - 1].kind == IPC_LANE_LOOP;
}

static bool held_by(const struct tick *t, uint64_t span)
{
	for (uint32_t i = 0; i < t->sample_count; i++)
		if (is_loop(t, &t->samples[i]) && t->samples[i].span == span &&
			t->samples[i].serves == IPC_SERVES_REQUEST && t->samples[i].state != IPC_STATE_IDLE)
			return true;
	return false;
}

/* What this look knows of who could go on. One that is nowhere has not begun, or is over but for its answer. */
static void waiters_look(
	const struct tick *t, const struct map *by_span, struct waiter *waiters, size_t count)
{
	uint64_t at;
	for (size_t i = 0; i < count; i++)
		waiters[i].waits = (t->flags & IPC_TICK_WHOLE) != 0;
	for (uint32_t i = 0; i < t->sample_count; i++) {
		const struct ipc_sample *s = &t->samples[i];
		if (s->span != 0 && s->state != IPC_STATE_IDLE && map_get(by_span, s->span, &at))
			waiters[at].waits = s->ready;
	}
}

uint64_t history_hold_measure(struct history *h, const struct window *w, struct waiter *waiters, size_t count)
{
	uint64_t held = 0;
	struct map by_span = { 0 };
	for (size_t i = 0; i < count; i++)
		map_put(&by_span, waiters[i].span, i);
	list_for_each (node, &h->ticks) {
		struct tick *t = LIST_ENTRY(node, struct tick, node);
		if (!in_window(w, t) || !usable(t) || !held_by(t, w->span))
			continue;
		held += t->thread_weight_ns;
		if ((t->flags & IPC_TICK_TASKS) != 0)
			waiters_look(t, &by_span, waiters, count);
		for (size_t i = 0; i < count; i++)
			if (waiters[i].waits && waiters[i].from_ns <= t->at_ns &&
				waiters[i].to_ns >= t->at_ns)
				waiters[i].lost_ns += t->thread_weight_ns;
	}
	map_clear(&by_span);
	return held;
}
