/* gecko.c - a profile for profiler.firefox.com: its processed format, version 47, a thread for each lane.
 *
 *   string table <- function table <- frame table <- stack table (a tree: each stack is a frame on top of another one) <- samples
 *
 * Tables are columns; each thread has its own. Fields: the Firefox profiler's own description of the format.
 */
#include <slowproxy/profile.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/json.h>
#include <slowproxy/base/map.h>

#include "by_lane.h"

enum { GECKO_VERSION = 26, PROCESSED_VERSION = 47, NONE = -1 };
enum { CATEGORY_OTHER, CATEGORY_APP, CATEGORY_LIBRARY };

/* The tables of one thread; a frame of ours is one of theirs and one function, both with the same number. */
struct tables {
	struct map frame_index, stack_index;
	uint32_t *frames; /* ours */
	size_t frame_count, frame_capacity;
	struct node {
		int64_t prefix;
		uint32_t frame;
	} * nodes;
	size_t node_count, node_capacity;
	int64_t *samples; /* a node each, or NONE */
};

static uint32_t frame_number(struct tables *t, uint32_t frame)
{
	uint64_t at;
	if (map_get(&t->frame_index, frame, &at))
		return (uint32_t)at;
	t->frames = array_grow(t->frames, &t->frame_capacity, t->frame_count, sizeof *t->frames);
	t->frames[t->frame_count] = frame;
	map_put(&t->frame_index, frame, t->frame_count);
	return (uint32_t)t->frame_count++;
}

static int64_t node_number(struct tables *t, int64_t prefix, uint32_t frame)
{
	uint64_t key = (uint64_t)(prefix + 1) << 32 | frame, at;
	if (map_get(&t->stack_index, key, &at))
		return (int64_t)at;
	t->nodes = array_grow(t->nodes, &t->node_capacity, t->node_count, sizeof *t->nodes);
	t->nodes[t->node_count] = (struct node){ prefix, frame };
	map_put(&t->stack_index, key, t->node_count);
	return (int64_t)t->node_count++;
}

static void tables_build(struct tables *t, const struct profile *p, const size_t *samples, size_t count)
{
	*t = (struct tables){ .samples = xcalloc(count + 1, sizeof *t->samples) };
	for (size_t i = 0; i < count; i++) {
		const struct profile_stack *stack = &p->stacks[p->samples[samples[i]].stack];
		int64_t node = NONE;
		for (uint32_t d = 0; d < stack->depth; d++)
			node = node_number(t, node, frame_number(t, stack->frames[d]));
		t->samples[i] = node;
	}
}

static void tables_clear(struct tables *t)
{
	map_clear(&t->frame_index);
	map_clear(&t->stack_index);
	free(t->frames);
	free(t->nodes);
	free(t->samples);
}

/* --- columns --- */

static void begin(struct json *j, const char *key, char opener)
{
	json_key(j, key);
	json_begin(j, opener);
}

static void add_text(struct json *j, const char *key, const char *text)
{
	json_key(j, key);
	json_str(j, text);
}

static void add_number(struct json *j, const char *key, int64_t number)
{
	json_key(j, key);
	json_i64(j, number);
}

/* A column of one value. */
static void add_same(struct json *j, const char *key, size_t count, const char *value)
{
	begin(j, key, '[');
	for (size_t i = 0; i < count; i++)
		json_raw(j, value, strlen(value));
	json_end(j);
}

static void add_row_numbers(struct json *j, const char *key, size_t count, size_t from)
{
	begin(j, key, '[');
	for (size_t i = 0; i < count; i++)
		json_u64(j, from + i);
	json_end(j);
}

static int category_of(const struct profile_frame *f)
{
	return f->file[0] == '\0'         ? CATEGORY_OTHER
	       : profile_frame_is_user(f) ? CATEGORY_APP
					  : CATEGORY_LIBRARY;
}

static void add_lines(
	struct json *j, const char *key, const struct profile *p, const struct tables *t, bool none)
{
	begin(j, key, '[');
	for (size_t i = 0; i < t->frame_count; i++) {
		uint32_t line = p->frames[t->frames[i]].line;
		if (line == 0 || none)
			json_null(j);
		else
			json_u64(j, line);
	}
	json_end(j);
}

static void add_frame_table(
	struct json *j, const struct profile *p, const struct profile_view *view, const struct tables *t)
{
	size_t count = t->frame_count;
	begin(j, "frameTable", '{');
	add_number(j, "length", (int64_t)count);
	add_same(j, "address", count, "-1");
	add_same(j, "inlineDepth", count, "0");
	begin(j, "category", '[');
	for (size_t i = 0; i < count; i++)
		json_i64(j, category_of(&p->frames[t->frames[i]]));
	json_end(j);
	add_same(j, "subcategory", count, "0");
	add_row_numbers(j, "func", count, 0);
	add_same(j, "nativeSymbol", count, "null");
	add_same(j, "innerWindowID", count, "null");
	add_same(j, "implementation", count, "null");
	add_lines(j, "line", p, t, view->no_lines);
	add_same(j, "column", count, "null");
	json_end(j);
}

/* The string table holds the names of all functions, then those of all files. */
static void add_func_table(struct json *j, const struct profile *p, const struct tables *t)
{
	size_t count = t->frame_count;
	begin(j, "funcTable", '{');
	add_number(j, "length", (int64_t)count);
	add_row_numbers(j, "name", count, 0);
	add_same(j, "isJS", count, "false");
	add_same(j, "relevantForJS", count, "false");
	add_same(j, "resource", count, "-1");
	add_row_numbers(j, "fileName", count, count);
	add_lines(j, "lineNumber", p, t, true);
	add_same(j, "columnNumber", count, "null");
	json_end(j);
	begin(j, "stringArray", '[');
	for (size_t i = 0; i < count; i++)
		json_str(j, p->frames[t->frames[i]].function);
	for (size_t i = 0; i < count; i++)
		json_str(j, p->frames[t->frames[i]].file);
	json_end(j);
}

static void add_stack_table(struct json *j, const struct profile *p, const struct tables *t)
{
	size_t count = t->node_count;
	begin(j, "stackTable", '{');
	add_number(j, "length", (int64_t)count);
	begin(j, "prefix", '[');
	for (size_t i = 0; i < count; i++) {
		if (t->nodes[i].prefix == NONE)
			json_null(j);
		else
			json_i64(j, t->nodes[i].prefix);
	}
	json_end(j);
	begin(j, "frame", '[');
	for (size_t i = 0; i < count; i++)
		json_u64(j, t->nodes[i].frame);
	json_end(j);
	begin(j, "category", '[');
	for (size_t i = 0; i < count; i++)
		json_i64(j, category_of(&p->frames[t->frames[t->nodes[i].frame]]));
	json_end(j);
	add_same(j, "subcategory", count, "0");
	json_end(j);
}

static uint64_t since(uint64_t at_ns, uint64_t origin_ns)
{
	return at_ns > origin_ns ? at_ns - origin_ns : 0;
}

static void add_samples(struct json *j, const struct profile *p, const struct tables *t,
	const size_t *samples, size_t count, uint64_t origin_ns)
{
	begin(j, "samples", '{');
	add_number(j, "length", (int64_t)count);
	add_text(j, "weightType", "samples");
	begin(j, "stack", '[');
	for (size_t i = 0; i < count; i++) {
		if (t->samples[i] == NONE)
			json_null(j);
		else
			json_i64(j, t->samples[i]);
	}
	json_end(j);
	begin(j, "time", '[');
	for (size_t i = 0; i < count; i++)
		json_ms(j, since(p->samples[samples[i]].at_ns, origin_ns));
	json_end(j);
	add_same(j, "weight", count, "1");
	json_end(j);
}

/* Tables that every thread has, and ours are empty. */
static void add_empty_tables(struct json *j)
{
	static const struct {
		const char *name, *columns[8];
	} tables[] = {
		{ "markers", { "category", "data", "endTime", "name", "phase", "startTime" } },
		{ "resourceTable", { "lib", "name", "host", "type" } },
		{ "nativeSymbols", { "address", "functionSize", "libIndex", "name" } },
	};
	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		begin(j, tables[i].name, '{');
		add_number(j, "length", 0);
		for (size_t c = 0; tables[i].columns[c] != NULL; c++)
			add_same(j, tables[i].columns[c], 0, "");
		json_end(j);
	}
}

static void add_thread(struct json *j, const struct profile *p, const struct profile_view *view, size_t lane,
	const size_t *samples, size_t count)
{
	const struct profile_lane *l = &p->lanes[lane];
	uint64_t origin_ns = view->begin_ns != 0 ? view->begin_ns : p->samples[0].at_ns;
	char process[32];
	struct tables t;
	tables_build(&t, p, samples, count);
	snprintf(process, sizeof process, "%u", l->process);
	json_begin(j, '{');
	add_text(j, "name", l->name);
	json_key(j, "isMainThread");
	json_bool(j, l->kind != PROFILE_LANE_TASK && l->id == l->process);
	add_text(j, "processType", "default");
	add_text(j, "processName", "Python");
	add_text(j, "pid", process);
	add_number(j, "tid", l->kind == PROFILE_LANE_TASK ? (int64_t)lane : (int64_t)l->id);
	add_number(j, "processStartupTime", 0);
	json_key(j, "processShutdownTime");
	json_null(j);
	add_number(j, "registerTime", 0);
	json_key(j, "unregisterTime");
	json_null(j);
	add_same(j, "pausedRanges", 0, "");
	add_samples(j, p, &t, samples, count, origin_ns);
	add_stack_table(j, p, &t);
	add_frame_table(j, p, view, &t);
	add_func_table(j, p, &t);
	add_empty_tables(j);
	json_end(j);
	tables_clear(&t);
}

static void add_categories(struct json *j)
{
	static const char *const categories[][2] = {
		[CATEGORY_OTHER] = { "Other", "grey" },
		[CATEGORY_APP] = { "Your code", "blue" },
		[CATEGORY_LIBRARY] = { "Libraries", "purple" },
	};
	begin(j, "categories", '[');
	for (size_t i = 0; i < ARRAY_LEN(categories); i++) {
		json_begin(j, '{');
		add_text(j, "name", categories[i][0]);
		add_text(j, "color", categories[i][1]);
		begin(j, "subcategories", '[');
		json_str(j, "Other");
		json_end(j);
		json_end(j);
	}
	json_end(j);
}

static void add_meta(struct json *j, const struct profile_view *view)
{
	uint64_t ago = since(clock_now_ns(), view->begin_ns);
	begin(j, "meta", '{');
	add_number(j, "version", GECKO_VERSION);
	add_number(j, "preprocessedProfileVersion", PROCESSED_VERSION);
	json_key(j, "interval");
	json_ms(j, view->period_ns);
	json_key(j, "startTime");
	json_ms(j, since(clock_wall_ns(), view->begin_ns != 0 ? ago : 0));
	add_number(j, "processType", 0);
	add_number(j, "stackwalk", 1);
	add_text(j, "product", view->title != NULL ? view->title : "Python");
	add_text(j, "importedFrom", "slowproxy " SLOWPROXY_VERSION);
	json_key(j, "symbolicated");
	json_bool(j, true);
	json_key(j, "debug");
	json_bool(j, false);
	add_categories(j);
	add_same(j, "markerSchema", 0, "");
	json_end(j);
}

void profile_write_gecko(const struct profile *p, const struct profile_view *view, struct buf *out)
{
	struct json j;
	struct by_lane sorted;
	by_lane_init(&sorted, p, view);
	json_init(&j, out);
	json_begin(&j, '{');
	add_meta(&j, view);
	add_same(&j, "libs", 0, "");
	add_same(&j, "pages", 0, "");
	begin(&j, "threads", '[');
	for (size_t lane = 0; lane < p->lane_count; lane++) {
		size_t first = by_lane_begin(&sorted, lane), count = sorted.ends[lane] - first;
		if (count != 0)
			add_thread(&j, p, view, lane, sorted.sorted + first, count);
	}
	json_end(&j);
	json_end(&j);
	buf_add_char(out, '\n');
	by_lane_clear(&sorted);
}
