/* html_read.c - a page that html.c has written, back into its profile: for files that have outlived what was in memory.
 *
 *   <script id="data" type="application/json"> { files, frames, stacks, lanes, samples } </script>
 *
 * Nothing is lost but what is shorter than a microsecond. The folder of profiles may be anybody's: what is no page of ours, or
 * one whose numbers point nowhere, is none.
 */
#include <slowproxy/profile.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>

enum { SAMPLE_COLUMNS = 7, DEPTH_MAX = 4096 };

/* The numbers of a flat array; false: it holds something else, or a number that is too small or too large. */
static bool number_at(const json_t *array, size_t index, json_int_t least, json_int_t most, json_int_t *out)
{
	const json_t *item = json_array_get(array, index);
	*out = json_integer_value(item);
	return json_is_integer(item) && *out >= least && *out <= most;
}

/* The indexes of the page, and those of the profile: two names that a page cannot tell apart become one. */
struct reading {
	struct profile *p;
	uint32_t *frames, *stacks; /* owned */
	size_t frame_count, stack_count;
};

static bool frames_read(struct reading *r, const json_t *files, const json_t *frames)
{
	json_int_t file, line;
	r->frame_count = json_array_size(frames);
	r->frames = xcalloc(r->frame_count + 1, sizeof *r->frames);
	for (size_t i = 0; i < r->frame_count; i++) {
		const json_t *frame = json_array_get(frames, i);
		const char *function = json_string_value(json_array_get(frame, 0)), *path;
		if (function == NULL ||
			!number_at(frame, 1, 0, (json_int_t)json_array_size(files) - 1, &file) ||
			!number_at(frame, 2, 0, UINT32_MAX, &line) ||
			(path = json_string_value(json_array_get(files, (size_t)file))) == NULL)
			return false;
		r->frames[i] = profile_add_frame(r->p, function, path, (uint32_t)line);
	}
	return true;
}

static bool stacks_read(struct reading *r, const json_t *stacks)
{
	uint32_t frames[DEPTH_MAX];
	r->stack_count = json_array_size(stacks);
	r->stacks = xcalloc(r->stack_count + 1, sizeof *r->stacks);
	for (size_t i = 0; i < r->stack_count; i++) {
		const json_t *stack = json_array_get(stacks, i);
		size_t depth = json_array_size(stack);
		json_int_t frame;
		if (depth > DEPTH_MAX)
			return false;
		for (size_t k = 0; k < depth; k++) {
			if (!number_at(stack, k, 0, (json_int_t)r->frame_count - 1, &frame))
				return false;
			frames[k] = r->frames[frame];
		}
		r->stacks[i] = profile_add_stack(r->p, frames, (uint32_t)depth);
	}
	return true;
}

static bool lanes_read(struct profile *p, const json_t *lanes)
{
	json_int_t culprit;
	for (size_t i = 0; i < json_array_size(lanes); i++) {
		const json_t *lane = json_array_get(lanes, i);
		const char *kind = json_string_value(json_array_get(lane, 0)),
			   *name = json_string_value(json_array_get(lane, 1));
		if (kind == NULL || name == NULL || !number_at(lane, 2, 0, 1, &culprit))
			return false;
		enum profile_lane_kind k = PROFILE_LANE_LOOP;
		while (k < PROFILE_LANE_TASK && strcmp(kind, profile_lane_kind_names[k]) != 0)
			k++;
		uint32_t added = profile_add_lane(p, k, i, name);
		p->lanes[added].culprit = culprit != 0;
	}
	return true;
}

static bool samples_read(struct reading *r, const json_t *samples)
{
	json_int_t first = json_integer_value(json_array_get(samples, 0)), last = first, v[SAMPLE_COLUMNS];
	const json_int_t lane_most = (json_int_t)r->p->lane_count - 1,
			 stack_most = (json_int_t)r->stack_count - 1;
	for (size_t i = 0; i + SAMPLE_COLUMNS <= json_array_size(samples); i += SAMPLE_COLUMNS) {
		if (!number_at(samples, i, last, first + INT64_MAX / 2 / (json_int_t)NS_PER_US, &v[0]) ||
			!number_at(samples, i + 1, 0, UINT32_MAX, &v[1]) ||
			!number_at(samples, i + 2, 0, lane_most, &v[2]) ||
			!number_at(samples, i + 3, 0, stack_most, &v[3]) ||
			!number_at(samples, i + 4, 0, PROFILE_STATE_COUNT - 1, &v[4]) ||
			!number_at(samples, i + 5, 0, 1, &v[5]) ||
			!number_at(samples, i + 6, -1, INT16_MAX, &v[6]))
			return false;
		last = v[0];
		profile_add_sample(r->p, &(struct profile_sample){
						 .at_ns = (uint64_t)(v[0] - first) * NS_PER_US,
						 .weight_ns = (uint64_t)v[1] * NS_PER_US,
						 .lane = (uint32_t)v[2],
						 .stack = r->stacks[v[3]],
						 .state = (uint8_t)v[4],
						 .holds_gil = v[5] != 0,
						 .syscall = (int16_t)v[6],
					 });
	}
	return true;
}

struct profile *profile_read_html(const char *page)
{
	static const char begin[] = "type=\"application/json\">";
	const char *data = strstr(page, begin), *end = data != NULL ? strchr(data, '<') : NULL;
	if (end == NULL)
		return NULL;
	data += sizeof begin - 1;
	json_t *all = json_loadb(data, (size_t)(end - data), JSON_ALLOW_NUL, NULL);
	struct reading r = { .p = profile_new() };
	bool good = all != NULL &&
		    frames_read(&r, json_object_get(all, "files"), json_object_get(all, "frames")) &&
		    stacks_read(&r, json_object_get(all, "stacks")) &&
		    lanes_read(r.p, json_object_get(all, "lanes")) &&
		    samples_read(&r, json_object_get(all, "samples"));
	json_decref(all);
	free(r.frames);
	free(r.stacks);
	if (good)
		return r.p;
	profile_free(r.p);
	return NULL;
}
