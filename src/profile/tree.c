/* tree.c - stacks with common beginnings laid over each other. */
#include "tree.h"

#include <stdlib.h>
#include <string.h>

struct sorting {
	const struct profile *profile;
	bool lanes;
};

static int frames_compare(const struct profile_frame *a, const struct profile_frame *b)
{
	int by = strcmp(a->function, b->function);
	if (by == 0)
		by = strcmp(a->file, b->file);
	return by != 0 ? by : (a->line > b->line) - (a->line < b->line);
}

/* By name, frame after frame from the root on: stacks with a common beginning become neighbours. */
static int folded_compare(const void *left, const void *right, void *arg)
{
	const struct folded *a = left, *b = right;
	const struct sorting *sorting = arg;
	const struct profile *p = sorting->profile;
	const struct profile_stack *x = &p->stacks[a->stack], *y = &p->stacks[b->stack];
	if (sorting->lanes && a->lane != b->lane)
		return a->lane < b->lane ? -1 : 1;
	for (uint32_t d = 0; d < x->depth && d < y->depth; d++)
		if (x->frames[d] != y->frames[d])
			return frames_compare(&p->frames[x->frames[d]], &p->frames[y->frames[d]]);
	return (x->depth > y->depth) - (x->depth < y->depth);
}

static uint32_t node_add(struct tree *t, uint32_t parent, uint32_t id, uint32_t depth, uint64_t begin)
{
	t->nodes = array_grow(t->nodes, &t->capacity, t->count, sizeof *t->nodes);
	t->nodes[t->count] = (struct tree_node){ .parent = parent, .id = id, .depth = depth, .begin = begin };
	t->depth = MAX(t->depth, depth);
	return (uint32_t)t->count++;
}

/* path: the nodes of the stack before, root first; its common beginning is gone on with. */
static void stack_lay(struct tree *t, const struct profile *p, const struct folded *f, bool lanes,
	uint32_t *path, uint32_t *path_length, uint64_t begin)
{
	const struct profile_stack *stack = &p->stacks[f->stack];
	uint32_t length = 1, depth = stack->depth + (lanes ? 1 : 0);
	bool common = true;
	t->nodes[0].count += f->count;
	for (uint32_t d = 0; d < depth; d++) {
		uint32_t id = lanes && d == 0 ? (uint32_t)p->frame_count + f->lane
					      : stack->frames[d - (lanes ? 1 : 0)];
		common = common && length < *path_length && t->nodes[path[length]].id == id;
		if (!common)
			path[length] = node_add(t, path[length - 1], id, d + 1, begin);
		t->nodes[path[length++]].count += f->count;
	}
	*path_length = length;
}

void tree_build(struct tree *t, const struct profile *p, const struct profile_view *view)
{
	size_t count;
	struct folded *all = profile_fold(p, view, &count);
	struct sorting sorting = { p, view->lanes };
	uint32_t deepest = 0, path_length = 1;
	uint64_t begin = 0;
	*t = (struct tree){ 0 };
	for (size_t i = 0; i < count; i++)
		deepest = MAX(deepest, p->stacks[all[i].stack].depth);
	if (count != 0)
		qsort_r(all, count, sizeof *all, folded_compare, &sorting);

	uint32_t *path = xcalloc(deepest + 2, sizeof *path);
	node_add(t, 0, UINT32_MAX, 0, 0);
	for (size_t i = 0; i < count; i++) {
		stack_lay(t, p, &all[i], view->lanes, path, &path_length, begin);
		begin += all[i].count;
	}
	free(path);
	free(all);
}

void tree_clear(struct tree *t)
{
	free(t->nodes);
	*t = (struct tree){ 0 };
}
