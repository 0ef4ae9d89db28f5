/* history.c - keeps looks, and cuts the stretch of one request out of them. */
#include "history.h"

#include <stdlib.h>
#include <string.h>

enum { HOLE_PERIODS = 5 };

struct tick {
	struct list_node node;
	struct dictionary *dictionary;
	uint64_t at_ns;
	uint32_t flags;
	bool suspect;
	uint64_t thread_weight_ns, task_weight_ns; /* for the cut at work */
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

bool history_drop_oldest(struct history *h)
{
	if (list_empty(&h->ticks))
		return false;
	struct tick *t = LIST_ENTRY(list_first(&h->ticks), struct tick, node);
	list_remove(&t->node);
	h->bytes -= tick_bytes(t);
	dictionary_unref(t->dictionary);
	free(t);
	return true;
}

void history_free(struct history *h)
{
	while (history_drop_oldest(h))
		;
	free(h);
}

static struct tick *tick_last(const struct history *h)
{
	return list_empty(&h->ticks) ? NULL : LIST_ENTRY(h->ticks.head.prev, struct tick, node);
}

size_t history_add(struct history *h, struct dictionary *d, const struct ipc_tick *m)
{
	const struct tick *last = tick_last(h);
	if (last != NULL && m->at_ns <= last->at_ns)
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
	while (!list_empty(&h->ticks) &&
		LIST_ENTRY(list_first(&h->ticks), struct tick, node)->at_ns < before_ns)
		(void)history_drop_oldest(h);
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

/* Counts, and names the event loops first: they are the lanes a reader looks at first. */
static void window_survey(struct history *h, struct window *w, struct profile *p)
{
	const struct dictionary *last = NULL;
	w->ticks = w->failed = w->suspect = 0;
	list_for_each (node, &h->ticks) {
		struct tick *t = LIST_ENTRY(node, struct tick, node);
		if (!in_window(w, t))
			continue;
		if (t->dictionary != last)
			dictionary_cut_begin(t->dictionary);
		last = t->dictionary;
		w->failed += (t->flags & IPC_TICK_FAILED) != 0;
		w->suspect += t->suspect;
		w->ticks += usable(t);
		for (uint32_t i = 0; usable(t) && i < t->sample_count; i++) {
			uint32_t lane = t->samples[i].lane;
			if (t->dictionary->lanes[lane - 1].kind == IPC_LANE_LOOP)
				(void)dictionary_lane_to(t->dictionary, lane, p);
		}
	}
}

/* A series of looks, walked backwards: what the look before the one at hand has to know. */
struct series {
	uint64_t next_ns;   /* the look after it, or the end of the window */
	uint64_t *earliest; /* where the weight of the earliest look so far lies */
	uint64_t earliest_ns;
};

static void series_weigh(struct series *s, const struct window *w, uint64_t at_ns, uint64_t *weight)
{
	*weight = MIN(s->next_ns - at_ns, HOLE_PERIODS * w->period_ns);
	s->next_ns = at_ns;
	s->earliest = weight;
	s->earliest_ns = at_ns;
}

/* The first look also stands for the time since the window began. */
static void series_begin(struct series *s, const struct window *w)
{
	if (s->earliest != NULL)
		*s->earliest += MIN(s->earliest_ns - w->from_ns, HOLE_PERIODS * w->period_ns);
}

/* Looks at threads and looks at tasks are two series: the second may be sparser. */
static void window_weigh(struct history *h, const struct window *w)
{
	struct series threads = { .next_ns = w->to_ns }, tasks = { .next_ns = w->to_ns };
	for (struct list_node *node = h->ticks.head.prev; node != &h->ticks.head; node = node->prev) {
		struct tick *t = LIST_ENTRY(node, struct tick, node);
		if (!in_window(w, t) || !usable(t))
			continue;
		series_weigh(&threads, w, t->at_ns, &t->thread_weight_ns);
		if ((t->flags & IPC_TICK_TASKS) != 0)
			series_weigh(&tasks, w, t->at_ns, &t->task_weight_ns);
	}
	series_begin(&threads, w);
	series_begin(&tasks, w);
}

static void tick_cut(const struct tick *t, struct profile *p)
{
	for (uint32_t i = 0; i < t->sample_count; i++) {
		const struct ipc_sample *s = &t->samples[i];
		bool is_task = t->dictionary->lanes[s->lane - 1].kind == IPC_LANE_TASK;
		profile_add_sample(p, &(struct profile_sample){ .at_ns = t->at_ns,
					      .weight_ns = is_task ? t->task_weight_ns : t->thread_weight_ns,
					      .lane = dictionary_lane_to(t->dictionary, s->lane, p),
					      .stack = dictionary_stack_to(t->dictionary, s->stack, p),
					      .state = (uint8_t)states[s->state],
					      .holds_gil = s->holds_gil != 0,
					      .syscall = s->syscall });
	}
}

struct profile *history_cut(struct history *h, struct window *w)
{
	struct profile *p = profile_new();
	window_survey(h, w, p);
	window_weigh(h, w);
	list_for_each (node, &h->ticks) {
		struct tick *t = LIST_ENTRY(node, struct tick, node);
		if (in_window(w, t) && usable(t))
			tick_cut(t, p);
	}
	if (p->sample_count != 0)
		return p;
	profile_free(p);
	return NULL;
}
