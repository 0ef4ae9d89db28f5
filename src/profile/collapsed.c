/* collapsed.c - a profile as folded stacks, a line for each stack, root first, with the number of its samples. */
#include <slowproxy/profile.h>

#include <inttypes.h>
#include <stdlib.h>

/* ';' parts frames and a newline ends the stack; neither may come from a name. */
static void add_name(struct buf *out, const char *name)
{
	for (const char *p = name; *p != '\0'; p++)
		buf_add_char(out, *p == ';' ? ':' : (unsigned char)*p < 0x20 ? ' ' : *p);
}

static void add_frame(struct buf *out, const struct profile_frame *f, bool no_lines)
{
	add_name(out, f->function);
	if (f->file[0] == '\0')
		return;
	buf_add_str(out, " (");
	add_name(out, f->file);
	if (!no_lines && f->line != 0)
		buf_printf(out, ":%" PRIu32, f->line);
	buf_add_char(out, ')');
}

struct folded {
	uint32_t lane, stack;
	uint64_t count;
};

/* In the order of first appearance. A stack is counted per lane where lanes are shown, else under lane 0. */
static struct folded *fold(const struct profile *p, const struct profile_view *view, size_t *count)
{
	struct folded *all = NULL;
	struct map index = { 0 };
	size_t capacity = 0;
	*count = 0;

	for (size_t i = 0; i < p->sample_count; i++) {
		const struct profile_sample *s = &p->samples[i];
		if (s->state == PROFILE_IDLE && !view->idle)
			continue;
		uint32_t lane = view->lanes ? s->lane : 0;
		uint64_t key = (uint64_t)lane << 32 | s->stack, at;
		if (all != NULL && map_get(&index, key, &at)) {
			all[at].count++;
			continue;
		}
		all = array_grow(all, &capacity, *count, sizeof *all);
		all[*count] = (struct folded){ .lane = lane, .stack = s->stack, .count = 1 };
		map_put(&index, key, (*count)++);
	}
	map_clear(&index);
	return all;
}

void profile_write_collapsed(const struct profile *p, const struct profile_view *view, struct buf *out)
{
	size_t count;
	struct folded *all = fold(p, view, &count);

	for (size_t i = 0; i < count; i++) {
		const struct profile_stack *stack = &p->stacks[all[i].stack];
		const char *separator = "";
		if (view->lanes) {
			add_name(out, p->lanes[all[i].lane].name);
			separator = ";";
		}
		for (uint32_t d = 0; d < stack->depth; d++) {
			buf_add_str(out, separator);
			add_frame(out, &p->frames[stack->frames[d]], view->no_lines);
			separator = ";";
		}
		if (stack->depth == 0) {
			buf_add_str(out, separator);
			buf_add_str(out, "(no Python frames)");
		}
		buf_printf(out, " %" PRIu64 "\n", all[i].count);
	}
	free(all);
}
