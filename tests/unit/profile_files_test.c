/* profile_files_test.c - the files a profile can become, each from one small profile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/profile.h>

#define HOSTILE "<a href=\"x\">&]]>\x01\xff\xef\xbf\xbf"

/* main -> work -> add (3 samples), main -> work -> HOSTILE (1), and a second thread: main -> main (2). 10 ms each. */
static struct profile *profile_small(void)
{
	struct profile *p = profile_new();
	uint32_t root = profile_add_frame(p, "main", "app.py", 1),
		 work = profile_add_frame(p, "work", "app.py", 5);
	uint32_t add = profile_add_frame(p, "add", "lib.py", 7),
		 bad = profile_add_frame(p, HOSTILE, HOSTILE, 9);
	uint32_t stacks[] = {
		profile_add_stack(p, (uint32_t[]){ root, work, add }, 3),
		profile_add_stack(p, (uint32_t[]){ root, work, bad }, 3),
		profile_add_stack(p, (uint32_t[]){ root, root }, 2),
	};
	uint32_t one = profile_add_lane(p, PROFILE_LANE_THREAD, 1, "one"),
		 two = profile_add_lane(p, PROFILE_LANE_THREAD, 2, HOSTILE);
	static const int order[] = { 0, 2, 0, 1, 2, 0 };
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		struct profile_sample s = { .at_ns = i * 10 * NS_PER_MS,
			.weight_ns = 10 * NS_PER_MS,
			.lane = order[i] == 2 ? two : one,
			.stack = stacks[order[i]],
			.state = PROFILE_RUNNING,
			.syscall = -1 };
		profile_add_sample(p, &s);
	}
	return p;
}

static void assert_has(const struct buf *text, const char *part)
{
	if (strstr(text->data, part) == NULL)
		fail_msg("no \"%s\" in:\n%s", part, text->data);
}

/* "In the drawing a caller is as wide as its callees and itself, they go by name, and no name leaves its place." */
static void svg_is_drawn(void **state)
{
	(void)state;
	struct profile *p = profile_small();
	struct buf out = { 0 };
	profile_write_svg(p, &(struct profile_view){ .title = HOSTILE }, &out);
	assert_has(&out, "<g data-b=\"0\" data-n=\"6\"><title>all (6 samples, 100.00%)</title>");
	assert_has(&out, "<g data-b=\"0\" data-n=\"6\"><title>main (app.py:1) (6 samples, 100.00%)</title>");
	assert_has(&out, "<g data-b=\"0\" data-n=\"2\"><title>main (app.py:1) (2 samples, 33.33%)</title>");
	assert_has(&out, "<g data-b=\"2\" data-n=\"4\"><title>work (app.py:5) (4 samples, 66.67%)</title>");
	assert_has(&out, "<g data-b=\"3\" data-n=\"3\"><title>add (lib.py:7) (3 samples, 50.00%)</title>");
	assert_has(&out, "&lt;a href=&quot;x&quot;&gt;&amp;]]&gt;???");
	assert_null(strstr(out.data, "<a href"));
	assert_null(memchr(out.data, 1, out.len));
	buf_reset(&out);
	profile_write_svg(p, &(struct profile_view){ .lanes = true }, &out);
	assert_has(&out, "<g data-b=\"0\" data-n=\"4\"><title>one (4 samples, 66.67%)</title>");
	profile_free(p);

	p = profile_new();
	buf_reset(&out);
	profile_write_svg(p, &(struct profile_view){ 0 }, &out);
	assert_has(&out, "There are no samples.");
	buf_clear(&out);
	profile_free(p);
}

/* "A page read back is the profile it was made of, in the same order of time, whoever is to blame included." */
static void a_page_is_read_back(void **state)
{
	(void)state;
	const struct profile_view view = { .lanes = true, .idle = true };
	struct buf page = { 0 }, before = { 0 }, after = { 0 };
	struct profile *p = profile_small();
	p->lanes[1].culprit = true;
	profile_write_html(p, &view, &page);
	struct profile *back = profile_read_html(page.data);
	assert_non_null(back);
	assert_true(back->lanes[1].culprit && !back->lanes[0].culprit);
	assert_int_equal(back->sample_count, p->sample_count);
	for (size_t i = 0; i < p->sample_count; i++) {
		assert_int_equal(back->samples[i].at_ns, p->samples[i].at_ns);
		assert_int_equal(back->samples[i].stack, p->samples[i].stack);
		assert_int_equal(back->samples[i].state, p->samples[i].state);
		assert_int_equal(back->samples[i].syscall, p->samples[i].syscall);
	}
	assert_string_equal(back->frames[2].function, p->frames[2].function);
	buf_reset(&page);
	profile_write_html(back, &view, &page);
	struct profile *again = profile_read_html(page.data); /* letters that are none are replaced once */
	profile_write_speedscope(back, &view, &before);
	profile_write_speedscope(again, &view, &after);
	assert_string_equal(before.data, after.data);
	profile_free(again);
	profile_free(back);
	profile_free(p);

	/* "Cut off anywhere, or with other numbers, it is none, and nothing breaks." */
	size_t data = (size_t)(strstr(page.data, "application/json\">") - page.data);
	uint32_t seed = 1;
	for (unsigned i = 0; i < 2000; i++) {
		char *broken = xstrndup(page.data + data - 32, 3000);
		size_t len = strlen(broken);
		seed = seed * 1664525 + 1013904223;
		if (i % 2 == 0)
			broken[seed % len] = '\0';
		else
			broken[seed % len] = "0987,[]{}"[seed >> 24 & 7];
		profile_free(profile_read_html(broken));
		free(broken);
	}
	buf_clear(&page);
	buf_clear(&before);
	buf_clear(&after);
}

/* "For speedscope each thread is a profile of its own, in time order, root first." */
static void speedscope_has_a_profile_for_each_thread(void **state)
{
	(void)state;
	struct profile *p = profile_small();
	struct buf out = { 0 };
	profile_write_speedscope(p, &(struct profile_view){ .title = "t" }, &out);
	assert_has(&out, "{\"name\":\"add\",\"file\":\"lib.py\",\"line\":7}");
	assert_has(&out,
		"\"name\":\"one\",\"unit\":\"milliseconds\",\"startValue\":0,"
		"\"samples\":[[0,1,2],[0,1,2],[0,1,3],[0,1,2]],\"weights\":[10.000,10.000,10.000,10.000],\"endValue\":40.000}");
	assert_has(&out, "\"samples\":[[0,0],[0,0]]");
	buf_clear(&out);
	profile_free(p);
}

/* "Recursion counts once in the table for pstats; a text that is not UTF-8 reaches neither it nor the one for pprof." */
static void binary_files_are_whole(void **state)
{
	(void)state;
	struct profile *p = profile_small(), *empty = profile_new();
	struct buf out = { 0 };
	profile_write_pstats(p, &(struct profile_view){ 0 }, &out);
	static const char main_row[] =
		"{(\3\0\0\0u\6\0\0\0app.pyi\1\0\0\0u\4\0\0\0main(\5\0\0\0i\6\0\0\0i\6\0\0\0g";
	assert_memory_equal(out.data, main_row, sizeof main_row - 1);
	assert_null(memchr(out.data, 0xff, out.len));
	buf_reset(&out);
	profile_write_pprof(p, &(struct profile_view){ .lanes = true }, &out);
	assert_memory_equal(out.data, "\x1f\x8b\x08", 3);
	buf_reset(&out);
	profile_write_pstats(empty, &(struct profile_view){ 0 }, &out);
	assert_string_equal(out.data, "{0");
	buf_reset(&out);
	profile_write_pprof(empty, &(struct profile_view){ 0 }, &out);
	assert_true(out.len > 18);
	buf_clear(&out);
	profile_free(p);
	profile_free(empty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(svg_is_drawn),
		cmocka_unit_test(binary_files_are_whole),
		cmocka_unit_test(speedscope_has_a_profile_for_each_thread),
		cmocka_unit_test(a_page_is_read_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
