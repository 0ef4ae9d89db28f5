/* pstats.c - a profile as Python's pstats loads it: the view of cProfile, sampled instead of counted.
 *
 *   {(file, line, function): (primitive calls, calls, own time, cumulative time, {caller: the same four})}
 *
 * as Python's marshal writes it. "Calls" are the samples the function was seen in, once for each, however often it stands
 * there; a caller's row holds those in which it called the function.
 */
#include "fold.h"

#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>

struct totals {
	uint64_t calls, own_ns, all_ns;
	uint64_t seen; /* the last stack it was counted for, from 1 on */
};

struct edge {
	uint32_t callee, caller;
	struct totals totals;
};

struct table {
	struct totals *functions; /* by frame */
	struct edge *edges;
	size_t edge_count, edge_capacity;
	struct map edge_index; /* callee and caller */
};

/* Recursion counts once: in one stack, a function is there or not. */
static void totals_add(struct totals *t, const struct folded *f, uint64_t stack, bool is_leaf)
{
	if (is_leaf)
		t->own_ns += f->weight_ns;
	if (t->seen == stack)
		return;
	t->seen = stack;
	t->calls += f->count;
	t->all_ns += f->weight_ns;
}

static struct totals *edge_of(struct table *t, uint32_t callee, uint32_t caller)
{
	uint64_t key = (uint64_t)callee << 32 | caller, at;
	if (t->edges == NULL || !map_get(&t->edge_index, key, &at)) {
		t->edges = array_grow(t->edges, &t->edge_capacity, t->edge_count, sizeof *t->edges);
		t->edges[t->edge_count] = (struct edge){ .callee = callee, .caller = caller };
		at = t->edge_count++;
		map_put(&t->edge_index, key, at);
	}
	return &t->edges[at].totals;
}

static void stack_add(struct table *t, const struct profile *p, const struct folded *f, uint64_t number)
{
	const struct profile_stack *s = &p->stacks[f->stack];
	for (uint32_t d = 0; d < s->depth; d++) {
		bool is_leaf = d + 1 == s->depth;
		totals_add(&t->functions[s->frames[d]], f, number, is_leaf);
		if (d > 0)
			totals_add(edge_of(t, s->frames[d], s->frames[d - 1]), f, number, is_leaf);
	}
}

/* --- marshal: a letter for the type, then the value, little-endian --- */

static void put_u32(struct buf *out, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		buf_add_char(out, (char)(value >> 8 * i));
}

static void put_int(struct buf *out, uint64_t value)
{
	buf_add_char(out, 'i');
	put_u32(out, (uint32_t)MIN(value, (uint64_t)INT32_MAX));
}

static void put_seconds(struct buf *out, uint64_t ns)
{
	double seconds = (double)ns / (double)NS_PER_S;
	uint64_t bits;
	memcpy(&bits, &seconds, sizeof bits);
	buf_add_char(out, 'g');
	put_u32(out, (uint32_t)bits);
	put_u32(out, (uint32_t)(bits >> 32));
}

/* Python refuses a text that is not UTF-8. */
static void put_text(struct buf *out, const char *text)
{
	struct buf good = { 0 };
	profile_add_utf8(text, &good);
	buf_add_char(out, 'u');
	put_u32(out, (uint32_t)good.len);
	buf_add(out, good.data != NULL ? good.data : "", good.len);
	buf_clear(&good);
}

static void put_tuple(struct buf *out, uint32_t length)
{
	buf_add_char(out, '(');
	put_u32(out, length);
}

static void put_function(struct buf *out, const struct profile_frame *f)
{
	put_tuple(out, 3);
	put_text(out, f->file[0] != '\0' ? f->file : "~"); /* as cProfile calls what has no file */
	put_int(out, f->line);
	put_text(out, f->function);
}

static void put_totals(struct buf *out, const struct totals *t)
{
	put_int(out, t->calls);
	put_int(out, t->calls);
	put_seconds(out, t->own_ns);
	put_seconds(out, t->all_ns);
}

static int edge_compare(const void *left, const void *right)
{
	const struct edge *a = left, *b = right;
	return (a->callee > b->callee) - (a->callee < b->callee);
}

static void put_table(struct buf *out, const struct profile *p, const struct table *t)
{
	const struct edge *e = t->edges, *end = t->edges + t->edge_count;
	buf_add_char(out, '{');
	for (uint32_t i = 0; i < p->frame_count; i++) {
		if (t->functions[i].calls == 0)
			continue;
		put_function(out, &p->frames[i]);
		put_tuple(out, 5);
		put_totals(out, &t->functions[i]);
		buf_add_char(out, '{');
		for (; e < end && e->callee == i; e++) {
			put_function(out, &p->frames[e->caller]);
			put_tuple(out, 4);
			put_totals(out, &e->totals);
		}
		buf_add_char(out, '0');
	}
	buf_add_char(out, '0');
}

void profile_write_pstats(const struct profile *p, const struct profile_view *view, struct buf *out)
{
	struct table t = { .functions = xcalloc(p->frame_count + 1, sizeof *t.functions) };
	struct profile_view merged = *view;
	size_t count;
	merged.lanes = false;
	struct folded *all = profile_fold(p, &merged, &count);
	for (size_t i = 0; i < count; i++)
		stack_add(&t, p, &all[i], i + 1);
	if (t.edge_count != 0)
		qsort(t.edges, t.edge_count, sizeof *t.edges, edge_compare);
	put_table(out, p, &t);
	free(all);
	free(t.functions);
	free(t.edges);
	map_clear(&t.edge_index);
}
