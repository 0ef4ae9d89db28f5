/* speedscope.c - a profile for speedscope.app: each thread and each task is a profile of its own, in time order. */
#include <slowproxy/profile.h>

#include <stdio.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/json.h>

#include "by_lane.h"

static void add_text(struct json *j, const char *key, const char *text)
{
	json_key(j, key);
	json_str(j, text);
}

static void add_frames(struct json *j, const struct profile *p, bool no_lines)
{
	json_key(j, "shared");
	json_begin(j, '{');
	json_key(j, "frames");
	json_begin(j, '[');
	for (size_t i = 0; i < p->frame_count; i++) {
		const struct profile_frame *f = &p->frames[i];
		json_begin(j, '{');
		add_text(j, "name", f->function);
		if (f->file[0] != '\0')
			add_text(j, "file", f->file);
		if (f->line != 0 && !no_lines) {
			json_key(j, "line");
			json_u64(j, f->line);
		}
		json_end(j);
	}
	json_end(j);
	json_end(j);
}

static void add_stack(struct json *j, const struct profile_stack *s)
{
	json_begin(j, '[');
	for (uint32_t d = 0; d < s->depth; d++)
		json_u64(j, s->frames[d]);
	json_end(j);
}

/* samples: indexes into those of the profile, in time order. */
static void add_lane(
	struct json *j, const struct profile *p, const char *name, const size_t *samples, size_t count)
{
	uint64_t total = 0;
	json_begin(j, '{');
	add_text(j, "type", "sampled");
	add_text(j, "name", name);
	add_text(j, "unit", "milliseconds");
	json_key(j, "startValue");
	json_u64(j, 0);
	json_key(j, "samples");
	json_begin(j, '[');
	for (size_t i = 0; i < count; i++)
		add_stack(j, &p->stacks[p->samples[samples[i]].stack]);
	json_end(j);
	json_key(j, "weights");
	json_begin(j, '[');
	for (size_t i = 0; i < count; i++) {
		json_ms(j, p->samples[samples[i]].weight_ns);
		total += p->samples[samples[i]].weight_ns;
	}
	json_end(j);
	json_key(j, "endValue");
	json_ms(j, total);
	json_end(j);
}

static void add_lanes(struct json *j, const struct profile *p, const struct profile_view *view)
{
	struct by_lane sorted;
	by_lane_init(&sorted, p, view);
	for (size_t lane = 0; lane < p->lane_count; lane++) {
		size_t first = by_lane_begin(&sorted, lane), count = sorted.ends[lane] - first;
		if (count != 0)
			add_lane(j, p, p->lanes[lane].name, sorted.sorted + first, count);
	}
	by_lane_clear(&sorted);
}

void profile_write_speedscope(const struct profile *p, const struct profile_view *view, struct buf *out)
{
	struct json j;
	json_init(&j, out);
	json_begin(&j, '{');
	add_text(&j, "$schema", "https://www.speedscope.app/file-format-schema.json");
	add_text(&j, "exporter", "slowproxy@" SLOWPROXY_VERSION);
	add_text(&j, "name", view->title != NULL ? view->title : "Profile");
	json_key(&j, "activeProfileIndex");
	json_u64(&j, 0);
	add_frames(&j, p, view->no_lines);
	json_key(&j, "profiles");
	json_begin(&j, '[');
	add_lanes(&j, p, view);
	json_end(&j);
	json_end(&j);
	buf_add_char(out, '\n');
}
