/* top_table.c - how often each function and line was seen: just now, and since the beginning. */
#include "top_table.h"

#include <stdlib.h>
#include <string.h>

/* The frame that stands for the function of this one: the first that was seen of it. */
static uint32_t function_find(struct top_table *t, const struct profile *p, uint32_t frame)
{
	const struct profile_frame *f = &p->frames[frame];
	uint64_t key = hash_bytes(f->function, strlen(f->function)) ^ hash_bytes(f->file, strlen(f->file))
									      << 1,
		 first;
	for (; map_get(&t->names, key, &first); key++) {
		const struct profile_frame *other = &p->frames[first];
		if (strcmp(other->function, f->function) == 0 && strcmp(other->file, f->file) == 0)
			return (uint32_t)first;
	}
	map_put(&t->names, key, frame);
	return frame;
}

static void frames_grow(struct top_table *t, const struct profile *p)
{
	if (p->frame_count > t->capacity) {
		t->capacity = p->frame_count * 2;
		t->lines = xrealloc(t->lines, t->capacity * sizeof *t->lines);
		t->functions = xrealloc(t->functions, t->capacity * sizeof *t->functions);
		t->function_of = xrealloc(t->function_of, t->capacity * sizeof *t->function_of);
	}
	for (; t->frames < p->frame_count; t->frames++) {
		uint32_t frame = (uint32_t)t->frames;
		t->lines[frame] = t->functions[frame] = (struct top_row){ .frame = frame };
		t->function_of[frame] = function_find(t, p, frame);
	}
}

static void count_all(struct top_row *row, uint64_t sample)
{
	if (row->counted == sample)
		return;
	row->counted = sample;
	row->all++;
	row->all_sum++;
}

static void count_own(struct top_row *row)
{
	row->own++;
	row->own_sum++;
}

static void count_sample(struct top_table *t, const struct profile_stack *stack)
{
	t->samples++; /* from 1 on: 0 is what no sample counted in */
	for (uint32_t d = 0; d < stack->depth; d++) {
		count_all(&t->lines[stack->frames[d]], t->samples);
		count_all(&t->functions[t->function_of[stack->frames[d]]], t->samples);
	}
	if (stack->depth == 0)
		return;
	uint32_t leaf = stack->frames[stack->depth - 1];
	count_own(&t->lines[leaf]);
	count_own(&t->functions[t->function_of[leaf]]);
}

void top_table_take(struct top_table *t, const struct profile *p, uint64_t looks)
{
	frames_grow(t, p);
	for (size_t i = 0; i < t->frames; i++)
		t->lines[i].own = t->lines[i].all = t->functions[i].own = t->functions[i].all = 0;
	for (size_t i = 0; i < p->sample_count; i++)
		count_sample(t, &p->stacks[p->samples[i].stack]);
	t->looks = looks;
	t->looks_sum += looks;
}

/* What a key is sorted by, most important first; a tie is broken by what was seen over all time. */
static int compare(const void *left, const void *right, void *by)
{
	const struct top_row *a = left, *b = right;
	const uint64_t x[][3] = {
		[TOP_BY_OWN] = { a->own, a->own_sum, a->all_sum },
		[TOP_BY_ALL] = { a->all, a->all_sum, a->own_sum },
		[TOP_BY_OWN_TIME] = { a->own_sum, a->all_sum, 0 },
		[TOP_BY_ALL_TIME] = { a->all_sum, a->own_sum, 0 },
	};
	const uint64_t y[][3] = {
		[TOP_BY_OWN] = { b->own, b->own_sum, b->all_sum },
		[TOP_BY_ALL] = { b->all, b->all_sum, b->own_sum },
		[TOP_BY_OWN_TIME] = { b->own_sum, b->all_sum, 0 },
		[TOP_BY_ALL_TIME] = { b->all_sum, b->own_sum, 0 },
	};
	enum top_sort sort = *(const enum top_sort *)by;
	for (size_t i = 0; i < ARRAY_LEN(x[0]); i++)
		if (x[sort][i] != y[sort][i])
			return x[sort][i] > y[sort][i] ? -1 : 1;
	return (a->frame > b->frame) - (a->frame < b->frame);
}

struct top_row *top_table_sorted(const struct top_table *t, bool lines, enum top_sort by, size_t *count)
{
	const struct top_row *all = lines ? t->lines : t->functions;
	struct top_row *rows = xcalloc(t->frames + 1, sizeof *rows);
	*count = 0;
	for (size_t i = 0; i < t->frames; i++)
		if (all[i].all_sum != 0)
			rows[(*count)++] = all[i];
	qsort_r(rows, *count, sizeof *rows, compare, &by);
	return rows;
}

void top_table_reset(struct top_table *t)
{
	for (size_t i = 0; i < t->frames; i++) {
		t->lines[i] = (struct top_row){ .frame = t->lines[i].frame };
		t->functions[i] = (struct top_row){ .frame = t->functions[i].frame };
	}
	t->looks = t->looks_sum = t->samples = 0;
}

void top_table_clear(struct top_table *t)
{
	free(t->lines);
	free(t->functions);
	free(t->function_of);
	map_clear(&t->names);
	*t = (struct top_table){ 0 };
}
