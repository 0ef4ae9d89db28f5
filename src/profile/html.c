/* html.c - a profile as one page that needs nothing else: flamegraph.html with the data put in as JSON.
 *
 * The page is a real file of this folder, taken into the program by the assembler (.incbin), so nothing is looked for at run
 * time. The data stands in a <script type="application/json">, where only "</script" and "<!--" would end or bend it: each '<'
 * is written as \u003c. Columns instead of objects keep a page of 10,000 samples small.
 */
#include <slowproxy/profile.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/json.h>

extern const char flamegraph_page[], flamegraph_page_end[];
__asm__(".section .rodata\n"
	".global flamegraph_page\n"
	".global flamegraph_page_end\n"
	"flamegraph_page:\n"
	".incbin \"" FLAMEGRAPH_PAGE "\"\n"
	"flamegraph_page_end:\n"
	".byte 0\n"
	".previous\n");

#define DATA_PLACE "/*DATA*/"

static void add_text(struct json *j, const char *key, const char *text)
{
	json_key(j, key);
	json_str(j, text != NULL ? text : "");
}

static void add_head(struct json *j, const struct profile_view *view)
{
	add_text(j, "version", SLOWPROXY_VERSION);
	add_text(j, "title", view->title != NULL ? view->title : "Profile");
	add_text(j, "summary", view->summary);
	json_key(j, "idle");
	json_bool(j, view->idle);
	json_key(j, "facts");
	json_begin(j, '[');
	for (size_t i = 0; i < view->fact_count; i++) {
		json_begin(j, '[');
		json_str(j, view->facts[i].name);
		json_str(j, view->facts[i].value);
		json_end(j);
	}
	json_end(j);
	json_key(j, "parts");
	json_begin(j, '[');
	for (size_t i = 0; i < view->part_count; i++) {
		json_begin(j, '[');
		json_str(j, view->parts[i].name);
		json_ms(j, view->parts[i].ns);
		json_end(j);
	}
	json_end(j);
	json_key(j, "states");
	json_begin(j, '[');
	for (int i = 0; i < PROFILE_STATE_COUNT; i++)
		json_str(j, profile_state_names[i]);
	json_end(j);
}

/* [function, file number, line, is user code]; files apart, for many frames share one. */
static void add_frames(struct json *j, const struct profile *p)
{
	uint64_t *file_of = xcalloc(p->frame_count + 1, sizeof *file_of);
	struct map files = { 0 };
	uint64_t count = 0;

	json_key(j, "files");
	json_begin(j, '[');
	for (size_t i = 0; i < p->frame_count; i++) {
		const char *file = p->frames[i].file;
		uint64_t key = hash_bytes(file, strlen(file)), frame;
		while (map_get(&files, key, &frame) && strcmp(p->frames[frame].file, file) != 0)
			key++;
		if (map_get(&files, key, &frame)) {
			file_of[i] = file_of[frame];
			continue;
		}
		map_put(&files, key, i);
		file_of[i] = count++;
		json_str(j, file);
	}
	json_end(j);

	json_key(j, "frames");
	json_begin(j, '[');
	for (size_t i = 0; i < p->frame_count; i++) {
		json_begin(j, '[');
		json_str(j, p->frames[i].function);
		json_u64(j, file_of[i]);
		json_u64(j, p->frames[i].line);
		json_u64(j, profile_frame_is_user(&p->frames[i]));
		json_end(j);
	}
	json_end(j);
	map_clear(&files);
	free(file_of);
}

static void add_stacks_and_lanes(struct json *j, const struct profile *p)
{
	json_key(j, "stacks");
	json_begin(j, '[');
	for (size_t i = 0; i < p->stack_count; i++) {
		json_begin(j, '[');
		for (uint32_t d = 0; d < p->stacks[i].depth; d++)
			json_u64(j, p->stacks[i].frames[d]);
		json_end(j);
	}
	json_end(j);

	json_key(j, "lanes");
	json_begin(j, '[');
	for (size_t i = 0; i < p->lane_count; i++) {
		json_begin(j, '[');
		json_str(j, profile_lane_kind_names[p->lanes[i].kind]);
		json_str(j, p->lanes[i].name);
		json_u64(j, p->lanes[i].culprit);
		json_end(j);
	}
	json_end(j);
}

/* Times are whole microseconds since `zero`; a sample of before may be negative. */
static int64_t us_since(uint64_t at_ns, uint64_t zero_ns)
{
	return ((int64_t)at_ns - (int64_t)zero_ns) / (int64_t)NS_PER_US;
}

static void add_sample(struct json *j, const struct profile_sample *s, uint64_t zero_ns)
{
	json_i64(j, us_since(s->at_ns, zero_ns));
	json_u64(j, s->weight_ns / NS_PER_US);
	json_u64(j, s->lane);
	json_u64(j, s->stack);
	json_u64(j, s->state);
	json_u64(j, s->holds_gil);
	json_i64(j, s->syscall);
}

/* One flat array, seven numbers a sample; then the names of the system calls that occur. */
static void add_samples(struct json *j, const struct profile *p, const struct profile_view *view)
{
	uint64_t zero_ns = view->begin_ns, end_ns = view->end_ns;
	struct map calls = { 0 };
	if (zero_ns == 0 && p->sample_count != 0)
		zero_ns = p->samples[0].at_ns;
	json_key(j, "end");
	json_i64(j, end_ns > zero_ns ? us_since(end_ns, zero_ns) : 0);
	json_key(j, "samples");
	json_begin(j, '[');
	for (size_t i = 0; i < p->sample_count; i++) {
		add_sample(j, &p->samples[i], zero_ns);
		if (p->samples[i].syscall >= 0)
			map_put(&calls, (uint64_t)p->samples[i].syscall, 1);
	}
	json_end(j);

	json_key(j, "syscalls");
	json_begin(j, '{');
	uint64_t number, unused;
	for (size_t at = 0; map_next(&calls, &at, &number, &unused);) {
		const char *name = profile_syscall_name((int16_t)number);
		char key[24];
		snprintf(key, sizeof key, "%" PRIu64, number);
		if (name != NULL)
			add_text(j, key, name);
	}
	json_end(j);
	map_clear(&calls);
}

static void add_stretches(struct json *j, const struct profile_view *view)
{
	json_key(j, "stretches");
	json_begin(j, '[');
	for (size_t i = 0; i < view->stretch_count; i++) {
		const struct profile_stretch *s = &view->stretches[i];
		json_begin(j, '[');
		json_str(j, s->band);
		json_str(j, s->name);
		json_i64(j, us_since(s->from_ns, view->begin_ns));
		json_i64(j, us_since(s->to_ns, view->begin_ns));
		json_end(j);
	}
	json_end(j);
}

static void add_line(struct json *j, const struct profile *p, const struct profile_view *view)
{
	json_key(j, "line");
	for (size_t i = 0; view->line != NULL && i < p->frame_count; i++) {
		const struct profile_frame *f = &p->frames[i];
		if (f->line != view->line->line || strcmp(f->function, view->line->function) != 0 ||
			strcmp(f->file, view->line->file) != 0)
			continue;
		json_u64(j, i);
		return;
	}
	json_null(j);
}

/* '<' stands only inside strings; U+2028 and U+2029 end a line in old JavaScript. */
static void add_escaped_for_script(struct buf *out, const char *json, size_t len)
{
	size_t plain = 0;
	for (size_t i = 0; i < len; i++) {
		const char *as = NULL;
		size_t bytes = 1;
		if (json[i] == '<')
			as = "\\u003c";
		else if (len - i >= 3 && memcmp(json + i, "\xe2\x80\xa8", 3) == 0)
			as = "\\u2028", bytes = 3;
		else if (len - i >= 3 && memcmp(json + i, "\xe2\x80\xa9", 3) == 0)
			as = "\\u2029", bytes = 3;
		if (as == NULL)
			continue;
		buf_add(out, json + plain, i - plain);
		buf_add_str(out, as);
		i += bytes - 1;
		plain = i + 1;
	}
	buf_add(out, json + plain, len - plain);
}

void profile_write_html(const struct profile *p, const struct profile_view *view, struct buf *out)
{
	struct buf data = { 0 };
	struct json j;
	json_init(&j, &data);
	json_begin(&j, '{');
	add_head(&j, view);
	add_frames(&j, p);
	add_stacks_and_lanes(&j, p);
	add_samples(&j, p, view);
	add_stretches(&j, view);
	add_line(&j, p, view);
	json_end(&j);

	const char *place = strstr(flamegraph_page, DATA_PLACE);
	const char *rest = place + sizeof DATA_PLACE - 1;
	buf_reserve(out, data.len + (size_t)(flamegraph_page_end - flamegraph_page));
	buf_add(out, flamegraph_page, (size_t)(place - flamegraph_page));
	add_escaped_for_script(out, data.data, data.len);
	buf_add(out, rest, (size_t)(flamegraph_page_end - rest));
	buf_clear(&data);
}
