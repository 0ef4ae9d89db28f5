/* chrometrace.c - a profile for chrome://tracing and Perfetto: a slice for each call that was seen, in its thread.
 *
 *   sample 1   main; handle; render        B main  B handle  B render
 *   sample 2   main; handle; query                           E render  B query
 *   (a gap)    the thread was not seen     E query  E handle  E main
 *
 * A function that goes from line to line stays one slice: the line told is the one it was first seen at.
 */
#include <slowproxy/profile.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/json.h>

#include "by_lane.h"

enum { TASK_TIDS_FROM = 1 << 24 }; /* above any id of a thread (PID_MAX_LIMIT is 1 << 22) */

struct track {
	struct json *j;
	const struct profile *profile;
	const struct profile_view *view;
	uint64_t origin_ns;
	uint32_t process, tid;
	const uint32_t *open; /* frames of the open slices, root first */
	uint32_t depth;
	uint64_t seen_ns; /* the open slices were seen until then */
};

static void add_text(struct json *j, const char *key, const char *text)
{
	json_key(j, key);
	json_str(j, text);
}

static void add_number(struct json *j, const char *key, uint64_t number)
{
	json_key(j, key);
	json_u64(j, number);
}

static void begin_event(const struct track *t, const char *phase, const char *name)
{
	json_begin(t->j, '{');
	add_text(t->j, "ph", phase);
	add_text(t->j, "name", name);
	add_number(t->j, "pid", t->process);
	add_number(t->j, "tid", t->tid);
}

/* Microseconds from the begin of the recording on. */
static void add_instant(const struct track *t, uint64_t at_ns)
{
	char text[40];
	uint64_t since = at_ns > t->origin_ns ? at_ns - t->origin_ns : 0;
	int n = snprintf(text, sizeof text, "%llu.%03u", (unsigned long long)(since / NS_PER_US),
		(unsigned)(since % NS_PER_US));
	json_key(t->j, "ts");
	json_raw(t->j, text, (size_t)n);
}

static void slice_begin(const struct track *t, uint32_t frame, uint64_t at_ns)
{
	const struct profile_frame *f = &t->profile->frames[frame];
	begin_event(t, "B", f->function);
	add_text(t->j, "cat", profile_frame_is_user(f) ? "app" : "library");
	add_instant(t, at_ns);
	json_key(t->j, "args");
	json_begin(t->j, '{');
	add_text(t->j, "filename", f->file);
	if (f->line != 0 && !t->view->no_lines)
		add_number(t->j, "line", f->line);
	json_end(t->j);
	json_end(t->j);
}

static void slices_end(struct track *t, uint32_t depth, uint64_t at_ns)
{
	for (; t->depth > depth; t->depth--) {
		begin_event(t, "E", t->profile->frames[t->open[t->depth - 1]].function);
		add_instant(t, at_ns);
		json_end(t->j);
	}
}

static bool same_function(const struct profile *p, uint32_t a, uint32_t b)
{
	const struct profile_frame *x = &p->frames[a], *y = &p->frames[b];
	return a == b || (strcmp(x->function, y->function) == 0 && strcmp(x->file, y->file) == 0);
}

static void take_sample(struct track *t, const struct profile_sample *s)
{
	const struct profile_stack *stack = &t->profile->stacks[s->stack];
	uint32_t common = 0;
	if (s->at_ns > t->seen_ns + s->weight_ns) /* more than a look was without it */
		slices_end(t, 0, t->seen_ns);
	while (common < t->depth && common < stack->depth &&
		same_function(t->profile, t->open[common], stack->frames[common]))
		common++;
	slices_end(t, common, s->at_ns);
	for (uint32_t d = common; d < stack->depth; d++)
		slice_begin(t, stack->frames[d], s->at_ns);
	t->open = stack->frames;
	t->depth = stack->depth;
	t->seen_ns = s->at_ns + s->weight_ns;
}

static void add_name(const struct track *t, const char *what, const char *name)
{
	begin_event(t, "M", what);
	json_key(t->j, "args");
	json_begin(t->j, '{');
	add_text(t->j, "name", name);
	json_end(t->j);
	json_end(t->j);
}

static void add_lane(struct json *j, const struct profile *p, const struct profile_view *view, size_t lane,
	const struct by_lane *sorted)
{
	const struct profile_lane *l = &p->lanes[lane];
	size_t begin = by_lane_begin(sorted, lane), end = sorted->ends[lane];
	if (begin == end)
		return;
	struct track t = { .j = j,
		.profile = p,
		.view = view,
		.origin_ns = view->begin_ns != 0 ? view->begin_ns : p->samples[0].at_ns,
		.process = l->process,
		.tid = l->kind == PROFILE_LANE_TASK ? TASK_TIDS_FROM + (uint32_t)lane : (uint32_t)l->id };
	char process[32];
	snprintf(process, sizeof process, "Python %u", l->process);
	add_name(&t, "process_name", process);
	add_name(&t, "thread_name", l->name);
	for (size_t i = begin; i < end; i++)
		take_sample(&t, &p->samples[sorted->sorted[i]]);
	slices_end(&t, 0, t.seen_ns);
}

void profile_write_chrometrace(const struct profile *p, const struct profile_view *view, struct buf *out)
{
	struct json j;
	struct by_lane sorted;
	by_lane_init(&sorted, p, view);
	json_init(&j, out);
	json_begin(&j, '{');
	json_key(&j, "traceEvents");
	json_begin(&j, '[');
	for (size_t lane = 0; lane < p->lane_count; lane++)
		add_lane(&j, p, view, lane, &sorted);
	json_end(&j);
	add_text(&j, "displayTimeUnit", "ms");
	json_end(&j);
	buf_add_char(out, '\n');
	by_lane_clear(&sorted);
}
