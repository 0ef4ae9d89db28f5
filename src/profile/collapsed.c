/* collapsed.c - a profile as folded stacks, a line for each stack, root first, with the number of its samples. */
#include "fold.h"

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
	struct buf label = { 0 };
	profile_frame_label(f, no_lines, &label);
	if (label.len != 0)
		add_name(out, label.data);
	buf_clear(&label);
}

void profile_write_collapsed(const struct profile *p, const struct profile_view *view, struct buf *out)
{
	size_t count;
	struct folded *all = profile_fold(p, view, &count);

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
