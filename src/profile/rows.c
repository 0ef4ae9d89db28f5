/* rows.c - a flame graph as a table: what Grafana's flame graph panel reads (level, value, self, label; depth-first). */
#include <slowproxy/profile.h>

#include <stdlib.h>

#include <slowproxy/base/json.h>

#include "tree.h"

static void add_label(struct json *j, const struct profile *p, uint32_t id, bool no_lines)
{
	struct buf label = { 0 };
	if (id == UINT32_MAX) {
		buf_add_str(&label, "total");
	} else if (id >= p->frame_count) {
		buf_add_str(&label, p->lanes[id - p->frame_count].name);
	} else {
		profile_frame_label(&p->frames[id], no_lines, &label);
	}
	json_key(j, "label");
	json_str(j, label.data);
	buf_clear(&label);
}

/* What one sample stands for in the mean: a tree counts samples. */
static uint64_t sample_ns(const struct profile *p)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < p->sample_count; i++)
		sum += p->samples[i].weight_ns;
	return p->sample_count != 0 ? sum / p->sample_count : 0;
}

void profile_write_rows(const struct profile *p, const struct profile_view *view, struct buf *out)
{
	struct tree t;
	struct json j;
	tree_build(&t, p, view);
	uint64_t each_ns = sample_ns(p), *self = xcalloc(t.count + 1, sizeof *self);
	for (size_t i = 0; i < t.count; i++) {
		self[i] += t.nodes[i].count;
		if (i != 0)
			self[t.nodes[i].parent] -= t.nodes[i].count;
	}
	json_init(&j, out);
	json_begin(&j, '[');
	for (size_t i = 0; i < t.count; i++) {
		json_begin(&j, '{');
		json_key(&j, "level");
		json_u64(&j, t.nodes[i].depth);
		json_key(&j, "value");
		json_u64(&j, t.nodes[i].count * each_ns);
		json_key(&j, "self");
		json_u64(&j, self[i] * each_ns);
		add_label(&j, p, t.nodes[i].id, view->no_lines);
		json_end(&j);
	}
	json_end(&j);
	free(self);
	tree_clear(&t);
}
