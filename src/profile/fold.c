/* fold.c - equal stacks counted together. */
#include "fold.h"

#include <inttypes.h>
#include <string.h>

#include <slowproxy/base/str.h>

struct folded *profile_fold(const struct profile *p, const struct profile_view *view, size_t *count)
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
		if (all == NULL || !map_get(&index, key, &at)) {
			all = array_grow(all, &capacity, *count, sizeof *all);
			all[*count] = (struct folded){ .lane = lane, .stack = s->stack };
			at = (*count)++;
			map_put(&index, key, at);
		}
		all[at].count++;
		all[at].weight_ns += s->weight_ns;
	}
	map_clear(&index);
	return all;
}

void profile_frame_label(const struct profile_frame *f, bool no_lines, struct buf *out)
{
	buf_add_str(out, f->function);
	if (f->file[0] == '\0')
		return;
	buf_printf(out, " (%s", f->file);
	if (!no_lines && f->line != 0)
		buf_printf(out, ":%" PRIu32, f->line);
	buf_add_char(out, ')');
}

void profile_add_utf8(const char *text, struct buf *out)
{
	for (size_t left = strlen(text), n; left > 0; text += n, left -= n) {
		n = utf8_sequence((const unsigned char *)text, left);
		buf_add(out, n != 0 ? text : "?", MAX(n, (size_t)1));
		n = MAX(n, (size_t)1);
	}
}
