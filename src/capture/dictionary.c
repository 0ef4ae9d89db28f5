/* dictionary.c - what the sampler said once, kept for as long as a sample may refer to it. */
#include "dictionary.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct dictionary *dictionary_new(void)
{
	struct dictionary *d = xcalloc(1, sizeof *d);
	d->refs = 1;
	return d;
}

struct dictionary *dictionary_ref(struct dictionary *d)
{
	d->refs++;
	return d;
}

void dictionary_unref(struct dictionary *d)
{
	if (d == NULL || --d->refs != 0)
		return;
	for (size_t i = 0; i < d->frame_count; i++)
		free(d->frames[i].function);
	free(d->frames);
	free(d->stacks);
	free(d->lanes);
	free(d);
}

/* --- learning: ids are dense, so the next one is the only one that can be right --- */
bool dictionary_add_frame(struct dictionary *d, const struct ipc_frame *m)
{
	if (m->id != d->frame_count + 1 || m->id > IPC_FRAMES_MAX)
		return false;
	const char *texts = (const char *)(m + 1);
	char *copy = xmalloc((size_t)m->function_bytes + m->file_bytes + 2);
	memcpy(copy, texts, m->function_bytes);
	copy[m->function_bytes] = '\0';
	char *file = copy + m->function_bytes + 1;
	memcpy(file, texts + m->function_bytes, m->file_bytes);
	file[m->file_bytes] = '\0';
	d->frames = array_grow(d->frames, &d->frame_capacity, d->frame_count, sizeof *d->frames);
	d->frames[d->frame_count++] = (struct word_frame){ .function = copy, .file = file, .line = m->line };
	return true;
}

bool dictionary_add_stack(struct dictionary *d, const struct ipc_stack *m)
{
	if (m->id != d->stack_count + 1 || m->id > IPC_STACKS_MAX)
		return false;
	if (m->parent >= m->id || m->frame == 0 || m->frame > d->frame_count)
		return false;
	uint32_t depth = m->parent != 0 ? d->stacks[m->parent - 1].depth + 1 : 1;
	if (depth > IPC_DEPTH_MAX)
		return false;
	d->stacks = array_grow(d->stacks, &d->stack_capacity, d->stack_count, sizeof *d->stacks);
	d->stacks[d->stack_count++] = (struct word_stack){ .parent = m->parent,
		.frame = m->frame,
		.depth = depth,
		.suspect = d->frames[m->frame - 1].suspect_to_ns != 0 ||
			   (m->parent != 0 && d->stacks[m->parent - 1].suspect) };
	return true;
}

bool dictionary_add_lane(struct dictionary *d, const struct ipc_lane *m)
{
	if (m->id != d->lane_count + 1 || m->id > IPC_LANES_MAX || m->kind >= IPC_LANE_KIND_END)
		return false;
	d->lanes = array_grow(d->lanes, &d->lane_capacity, d->lane_count, sizeof *d->lanes);
	struct word_lane *l = &d->lanes[d->lane_count++];
	*l = (struct word_lane){ .kind = (enum ipc_lane_kind)m->kind, .native = m->native };
	memcpy(l->name, m->name, sizeof l->name);
	return true;
}

bool dictionary_knows(const struct dictionary *d, const struct ipc_sample *s)
{
	return s->lane != 0 && s->lane <= d->lane_count && s->stack != 0 && s->stack <= d->stack_count &&
	       s->state < IPC_STATE_END && s->serves < IPC_SERVES_END;
}

/* --- cutting: from our ids to the profile's indexes, each looked up once per cut --- */
static const enum profile_lane_kind lane_kinds[IPC_LANE_KIND_END] = {
	[IPC_LANE_LOOP] = PROFILE_LANE_LOOP,
	[IPC_LANE_THREAD] = PROFILE_LANE_THREAD,
	[IPC_LANE_TASK] = PROFILE_LANE_TASK,
};

void dictionary_cut_begin(struct dictionary *d)
{
	d->stamp++; /* 2^32 cuts of one dictionary: a wrong hit would need a word not touched meanwhile */
}

uint32_t dictionary_lane_to(struct dictionary *d, uint32_t id, struct profile *p)
{
	struct word_lane *l = &d->lanes[id - 1];
	if (l->stamp != d->stamp) {
		l->stamp = d->stamp;
		l->to = profile_add_lane(p, lane_kinds[l->kind], l->native, l->name);
	}
	return l->to;
}

static uint32_t frame_to(struct dictionary *d, uint32_t id, struct profile *p)
{
	struct word_frame *f = &d->frames[id - 1];
	if (f->stamp != d->stamp) {
		f->stamp = d->stamp;
		f->to = profile_add_frame(p, f->function, f->file, f->line);
	}
	return f->to;
}

bool dictionary_suspect(struct dictionary *d, uint32_t frame, uint64_t from_ns, uint64_t to_ns)
{
	if (frame == 0 || frame > d->frame_count)
		return false;
	d->frames[frame - 1].suspect_from_ns = from_ns;
	d->frames[frame - 1].suspect_to_ns = to_ns;
	/* Callers come before what they call: one pass marks every stack the frame is in. */
	for (size_t i = 0; i < d->stack_count; i++) {
		struct word_stack *s = &d->stacks[i];
		s->suspect |= s->frame == frame || (s->parent != 0 && d->stacks[s->parent - 1].suspect);
	}
	return true;
}

static uint32_t frames_collect(
	struct dictionary *d, uint32_t id, struct profile *p, uint32_t frames[IPC_DEPTH_MAX])
{
	uint32_t depth = d->stacks[id - 1].depth, at = depth;
	for (uint32_t walk = id; walk != 0; walk = d->stacks[walk - 1].parent) {
		assert(at != 0);
		frames[--at] = frame_to(d, d->stacks[walk - 1].frame, p);
	}
	return depth;
}

/* The stack below its outermost suspect frame, and a marker in that one's place. */
static uint32_t suspect_stack_to(struct dictionary *d, uint32_t id, uint64_t at_ns, struct profile *p)
{
	uint32_t frames[IPC_DEPTH_MAX], outermost = 0, depth = 0;
	for (uint32_t walk = id; walk != 0; walk = d->stacks[walk - 1].parent) {
		const struct word_frame *f = &d->frames[d->stacks[walk - 1].frame - 1];
		if (at_ns > f->suspect_from_ns && at_ns <= f->suspect_to_ns)
			outermost = walk;
	}
	if (outermost == 0)
		return profile_add_stack(p, frames, frames_collect(d, id, p, frames));
	uint32_t caller = d->stacks[outermost - 1].parent;
	if (caller != 0)
		depth = frames_collect(d, caller, p, frames);
	frames[depth++] = profile_add_frame(p, "<replaced>", "", 0);
	return profile_add_stack(p, frames, depth);
}

uint32_t dictionary_stack_to(struct dictionary *d, uint32_t id, uint64_t at_ns, struct profile *p)
{
	struct word_stack *s = &d->stacks[id - 1];
	if (s->suspect)
		return suspect_stack_to(d, id, at_ns, p);
	if (s->stamp == d->stamp)
		return s->to;
	uint32_t frames[IPC_DEPTH_MAX];
	uint32_t depth = frames_collect(d, id, p, frames);
	s->stamp = d->stamp;
	s->to = profile_add_stack(p, frames, depth);
	return s->to;
}
