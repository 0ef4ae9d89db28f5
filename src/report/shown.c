/* shown.c - from the profile of a worker to that of one request.
 *
 *   "this request: Task-4"                          its own task, or a thread that works for it
 *   "HELD THE LOOP: GET /report (request 7f...)"    another's stacks, while this one could not go on because of them
 *   "HAD THE GIL: worker-3, GET /report (...)"      the same, of the thread that had the GIL meanwhile
 */
#include "shown.h"

#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/map.h>

#include "story.h"

/* Lanes of holders need numbers of their own: a thread may serve many. */
static const uint64_t holder_lane = UINT64_C(1) << 63;

struct shown {
	const struct record *record;
	const struct profile *from;
	struct profile *to;
};

static uint32_t stack_copy(struct shown *s, uint32_t index)
{
	const struct profile_stack *stack = &s->from->stacks[index];
	uint32_t *frames = xcalloc(stack->depth + 1, sizeof *frames);
	for (uint32_t i = 0; i < stack->depth; i++) {
		const struct profile_frame *f = &s->from->frames[stack->frames[i]];
		frames[i] = profile_add_frame(s->to, f->function, f->file, f->line);
	}
	uint32_t copy = profile_add_stack(s->to, frames, stack->depth);
	free(frames);
	return copy;
}

static const struct capture_other *other_find(const struct record *r, uint64_t span)
{
	for (size_t i = 0; i < r->capture.other_count; i++)
		if (r->capture.others[i].span == span && r->capture.others[i].request_id[0] != '\0')
			return &r->capture.others[i];
	return NULL;
}

/* "GET /items/42 (route /items/{id}, request 7f...)" */
static void add_other(struct buf *out, const struct capture_other *other)
{
	buf_printf(out, "%s %s (", other->method, other->path);
	if (other->route[0] != '\0' && strcmp(other->route, other->path) != 0)
		buf_printf(out, "route %s, ", other->route);
	buf_printf(out, "request %.64s)", other->request_id);
}

static uint32_t holder_lane_add(struct shown *s, const struct profile_sample *h)
{
	const struct capture_other *other = h->span != 0 ? other_find(s->record, h->span) : NULL;
	struct buf name = { 0 };
	buf_add_str(&name, "HELD THE LOOP: ");
	if (other != NULL)
		add_other(&name, other);
	else
		buf_add_str(&name, h->span != 0                       ? "another request"
				   : h->serves == PROFILE_SERVES_TASK ? "a task of no request"
								      : "other work");
	uint32_t lane = profile_add_lane(
		s->to, PROFILE_LANE_LOOP, holder_lane ^ (h->span != 0 ? h->span : h->serves), name.data);
	s->to->lanes[lane].culprit = true;
	buf_clear(&name);
	return lane;
}

static uint32_t gil_lane_add(struct shown *s, const struct profile_sample *h)
{
	const struct profile_lane *lane = &s->from->lanes[h->lane];
	const struct capture_other *other = h->span != 0 ? other_find(s->record, h->span) : NULL;
	struct buf name = { 0 };
	buf_printf(&name, "HAD THE GIL: %s", lane->name);
	if (other != NULL) {
		buf_add_str(&name, ", ");
		add_other(&name, other);
	}
	uint32_t copy = profile_add_lane(s->to, lane->kind, holder_lane ^ h->span ^ lane->id, name.data);
	s->to->lanes[copy].culprit = true;
	buf_clear(&name);
	return copy;
}

static uint32_t own_lane_add(struct shown *s, const struct profile_sample *own)
{
	const struct profile_lane *lane = &s->from->lanes[own->lane];
	struct buf name = { 0 };
	buf_printf(&name, "this request: %s", lane->name);
	uint32_t copy = profile_add_lane(s->to, lane->kind, lane->id, name.data);
	buf_clear(&name);
	return copy;
}

static void sample_copy(struct shown *s, const struct profile_sample *from, uint32_t lane, uint64_t weight_ns)
{
	struct profile_sample copy = *from;
	copy.lane = lane;
	copy.stack = stack_copy(s, from->stack);
	copy.weight_ns = weight_ns;
	profile_add_sample(s->to, &copy);
}

struct profile *shown_profile(const struct record *r)
{
	struct shown s = { .record = r, .from = r->capture.profile };
	struct story story;
	uint64_t span = strtoull(r->span_id, NULL, 16);
	story_of(r, &story);
	if (story.own_looks == 0 && story.ns[DOING_BLOCKED_BY] == 0) {
		story_clear(&story);
		return NULL;
	}
	s.to = profile_new();
	size_t at = 0;
	for (size_t i = 0; i < story.count; i++) {
		const struct story_look *look = &story.looks[i];
		uint64_t now = s.from->looks[i].at_ns;
		for (; at < s.from->sample_count && s.from->samples[at].at_ns <= now; at++) {
			const struct profile_sample *own = &s.from->samples[at];
			if (own->serves == PROFILE_SERVES_REQUEST && own->span == span)
				sample_copy(&s, own, own_lane_add(&s, own), look->weight_ns);
		}
		if (look->holder != NULL && look->doing == DOING_BLOCKED_BY)
			sample_copy(&s, look->holder, holder_lane_add(&s, look->holder), look->weight_ns);
		if (look->gil != NULL && look->doing == DOING_GIL_WAIT)
			sample_copy(&s, look->gil, gil_lane_add(&s, look->gil), look->weight_ns);
	}
	story_clear(&story);
	return s.to;
}

/* A stack below a frame that says whose it is not. */
static uint32_t stack_below(struct shown *s, const char *says, uint32_t index)
{
	uint32_t copy = stack_copy(s, index);
	const struct profile_stack *stack = &s->to->stacks[copy];
	uint32_t *frames = xcalloc(stack->depth + 1, sizeof *frames);
	frames[0] = profile_add_frame(s->to, says, "", 0);
	for (uint32_t i = 0; i < stack->depth; i++)
		frames[i + 1] = stack->frames[i];
	uint32_t below = profile_add_stack(s->to, frames, stack->depth + 1);
	free(frames);
	return below;
}

static void told_add(struct shown *s, const struct story_look *look, uint64_t at_ns)
{
	bool held = look->doing == DOING_BLOCKED_BY && look->holder != NULL;
	const struct profile_sample *telling = held ? look->holder : look->own;
	if (telling == NULL)
		return;
	struct profile_sample copy = *telling;
	copy.lane = profile_add_lane(s->to, PROFILE_LANE_TASK, 1, "requests of this route");
	copy.stack =
		held ? stack_below(s, "<held up by another>", telling->stack) : stack_copy(s, telling->stack);
	copy.weight_ns = look->weight_ns;
	copy.at_ns = at_ns;
	profile_add_sample(s->to, &copy);
}

struct profile *told_profile(const struct record *r)
{
	struct shown s = { .record = r, .from = r->capture.profile };
	struct story story;
	story_of(r, &story);
	s.to = story.own_looks != 0 ? profile_new() : NULL;
	for (size_t i = 0; s.to != NULL && i < story.count; i++)
		told_add(&s, &story.looks[i], s.from->looks[i].at_ns);
	story_clear(&story);
	return s.to;
}
