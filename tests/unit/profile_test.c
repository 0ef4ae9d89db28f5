/* profile_test.c - what the profile room promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <slowproxy/profile.h>

/* "Equal frames, stacks and lanes have one index; unequal ones never share one." */
static void equal_things_have_one_index(void **state)
{
	(void)state;
	struct profile *p = profile_new();
	uint32_t a = profile_add_frame(p, "render", "/app/app.py", 88);
	assert_int_equal(profile_add_frame(p, "render", "/app/app.py", 88), a);
	assert_int_not_equal(profile_add_frame(p, "render", "/app/app.py", 89), a);
	assert_int_not_equal(profile_add_frame(p, "render", "/app/b.py", 88), a);
	assert_int_not_equal(profile_add_frame(p, "rende", "r/app/app.py", 88), a);
	assert_int_equal(p->frame_count, 4);

	uint32_t up[] = { 0, 1, 2 }, down[] = { 2, 1, 0 };
	uint32_t s = profile_add_stack(p, up, 3);
	assert_int_equal(profile_add_stack(p, up, 3), s);
	assert_int_not_equal(profile_add_stack(p, down, 3), s);
	assert_int_not_equal(profile_add_stack(p, up, 2), s);
	uint32_t empty = profile_add_stack(p, NULL, 0);
	assert_int_equal(profile_add_stack(p, NULL, 0), empty);
	up[0] = 3; /* the profile has a copy */
	assert_int_equal(p->stacks[s].frames[0], 0);

	uint32_t lane = profile_add_lane(p, PROFILE_LANE_THREAD, 7, "MainThread");
	assert_int_equal(profile_add_lane(p, PROFILE_LANE_THREAD, 7, "renamed"), lane);
	assert_string_equal(p->lanes[lane].name, "MainThread");
	assert_int_not_equal(profile_add_lane(p, PROFILE_LANE_TASK, 7, "MainThread"), lane);
	profile_free(p);
	profile_free(NULL);
}

/* "Twenty thousand frames stay apart and are found again." */
static void many_frames_stay_apart(void **state)
{
	(void)state;
	struct profile *p = profile_new();
	char name[32];
	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 20000; i++) {
			snprintf(name, sizeof name, "f%u", i / 4);
			assert_int_equal(profile_add_frame(p, name, "/app/x.py", i % 4), i);
		}
	profile_free(p);
}

/* "User code is what the user wrote: not the standard library, not installed packages, not frozen modules, not launchers." */
static void user_code_is_recognised(void **state)
{
	(void)state;
	static const struct {
		const char *file;
		bool user;
	} rows[] = {
		{ "/app/services.py", true },
		{ "app.py", true },
		{ "/home/me/python3.11/app.py", true },
		{ "/srv/lib/app.py", true },
		{ "/app/bin/run.py", true },
		{ "/usr/lib/python3.11/asyncio/base_events.py", false },
		{ "/usr/lib64/python3.9/ssl.py", false },
		{ "/root/.pyenv/versions/3.13.0t/lib/python3.13t/threading.py", false },
		{ "/usr/lib/python3/dist-packages/uvicorn/main.py", false },
		{ "/venv/lib/python3.12/site-packages/fastapi/routing.py", false },
		{ "/usr/bin/uvicorn", false },
		{ "/venv/bin/gunicorn", false },
		{ "<frozen importlib._bootstrap>", false },
		{ "<string>", false },
		{ "", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct profile_frame f = { "f", rows[i].file, 1 };
		if (profile_frame_is_user(&f) != rows[i].user)
			fail_msg("%s", rows[i].file);
	}
}

/* --- writers ----------------------------------------------------------------------------------------------------- */

#define MS  UINT64_C(1000000)
#define LIB "/usr/lib/python3.11/"
#define PKG "/usr/lib/python3/dist-packages/"

/* How a request comes to the user's code under uvicorn and FastAPI, roughly; root first. */
static const struct profile_frame road[] = {
	{ "<module>", "/usr/bin/uvicorn", 8 },
	{ "main", PKG "click/core.py", 1055 },
	{ "run", PKG "uvicorn/main.py", 568 },
	{ "run", PKG "uvicorn/server.py", 60 },
	{ "run", LIB "asyncio/runners.py", 190 },
	{ "run_until_complete", LIB "asyncio/base_events.py", 640 },
	{ "_run_once", LIB "asyncio/base_events.py", 1922 },
	{ "_run", LIB "asyncio/events.py", 80 },
	{ "run_asgi", PKG "uvicorn/protocols/http/httptools_impl.py", 419 },
	{ "__call__", PKG "fastapi/applications.py", 270 },
	{ "__call__", PKG "starlette/middleware/errors.py", 162 },
	{ "app", PKG "starlette/routing.py", 66 },
	{ "app", PKG "fastapi/routing.py", 237 },
	{ "run_endpoint_function", PKG "fastapi/routing.py", 163 },
};

static uint32_t add_path(struct profile *p, bool with_road, const struct profile_frame *own, size_t count)
{
	uint32_t frames[64], depth = 0;
	for (size_t i = 0; with_road && i < ARRAY_LEN(road); i++)
		frames[depth++] = profile_add_frame(p, road[i].function, road[i].file, road[i].line);
	for (size_t i = 0; i < count && own[i].function != NULL; i++)
		frames[depth++] = profile_add_frame(p, own[i].function, own[i].file, own[i].line);
	return profile_add_stack(p, frames, depth);
}

/* One request of 1.5 s: queries one after the other, a blocking sleep, templates on the CPU; a pool, a metrics thread, tasks. */
static struct profile *profile_of_a_request(void)
{
	static const struct profile_frame sql[] = { { "report", "/app/app.py", 61 },
		{ "load_rows", "/app/services/rows.py", 24 },
		{ "execute", PKG "sqlalchemy/engine/base.py", 1414 },
		{ "do_execute", PKG "sqlalchemy/engine/default.py", 736 } };
	static const struct profile_frame sleep_[] = { { "report", "/app/app.py", 64 },
		{ "render", "/app/services/pdf.py", 88 }, { "wait_for_lock", "/app/services/pdf.py", 31 } };
	static const struct profile_frame cpu[] = { { "report", "/app/app.py", 64 },
		{ "render", "/app/services/pdf.py", 93 }, { "<listcomp>", "/app/services/pdf.py", 93 },
		{ "escape", "/app/services/text.py", 12 }, { "sub", LIB "re/__init__.py", 185 } };
	static const struct profile_frame json[] = { { "serialize_response", PKG "fastapi/routing.py", 145 },
		{ "jsonable_encoder", PKG "fastapi/encoders.py", 101 },
		{ "dict", PKG "pydantic/main.py", 449 } };
	static const struct profile_frame waits[] = { { "select", LIB "selectors.py", 468 } };
	static const struct profile_frame pool[] = { { "run", PKG "anyio/_backends/_asyncio.py", 860 },
		{ "get", LIB "queue.py", 171 } };
	static const struct profile_frame metrics[] = { { "_bootstrap", LIB "threading.py", 995 },
		{ "push", "/app/metrics.py", 17 }, { "post", PKG "requests/api.py", 115 } };
	static const struct profile_frame task[] = { { "app", PKG "starlette/routing.py", 66 },
		{ "stream", "/app/feed.py", 40 }, { "sleep", LIB "asyncio/tasks.py", 639 } };
	struct profile *p = profile_new();
	uint32_t loop = profile_add_lane(p, PROFILE_LANE_LOOP, 1, "MainThread");
	uint32_t worker = profile_add_lane(p, PROFILE_LANE_THREAD, 2, "AnyIO worker thread");
	uint32_t pusher = profile_add_lane(p, PROFILE_LANE_THREAD, 3, "metrics-pusher");
	uint32_t stream = profile_add_lane(p, PROFILE_LANE_TASK, 4, "Task-17 stream");
	for (unsigned tick = 10; tick < 150; tick++) {
		struct profile_sample s = { .at_ns = 5000 * MS + tick * 10 * MS + (tick * 7919 % 3000) * 1000,
			.weight_ns = 10 * MS,
			.lane = loop,
			.state = PROFILE_RUNNING,
			.holds_gil = true,
			.syscall = -1 };
		if (tick < 22) {
			s.stack = add_path(p, false, road, 6);
			s.stack = add_path(p, false, waits, 1);
			s.state = PROFILE_IDLE;
		} else if (tick < 50) {
			s.stack = add_path(p, true, sql, ARRAY_LEN(sql));
			s.state = tick % 9 == 0 ? PROFILE_GIL_WAIT : PROFILE_BLOCKED;
			s.syscall = 45; /* recvfrom */
		} else if (tick < 118) {
			s.stack = add_path(p, true, sleep_, ARRAY_LEN(sleep_));
			s.state = PROFILE_BLOCKED;
			s.syscall = 230; /* clock_nanosleep */
		} else {
			s.stack = tick < 140 ? add_path(p, true, cpu, tick % 3 + 3)
					     : add_path(p, true, json, tick % 2 + 2);
		}
		profile_add_sample(p, &s);
		s = (struct profile_sample){ .at_ns = s.at_ns,
			.weight_ns = 10 * MS,
			.lane = worker,
			.syscall = 202,
			.stack = add_path(p, false, pool, 2),
			.state = PROFILE_IDLE };
		profile_add_sample(p, &s);
		s.lane = pusher;
		s.stack = add_path(p, false, metrics, tick % 40 < 12 ? 3 : 2);
		s.state = tick % 40 < 12 ? PROFILE_BLOCKED : PROFILE_IDLE;
		profile_add_sample(p, &s);
		s.lane = stream;
		s.syscall = -1;
		s.stack = add_path(p, false, task, 3);
		s.state = PROFILE_AWAITING;
		if (tick > 30)
			profile_add_sample(p, &s);
	}
	return p;
}

/* A request that another one holds up for half a second. */
static struct profile *profile_of_a_victim(void)
{
	static const struct profile_frame own[] = { { "item", "/app/app.py", 70 },
		{ "sleep", LIB "asyncio/tasks.py", 639 } };
	static const struct profile_frame theirs[] = { { "report", "/app/app.py", 64 },
		{ "render", "/app/services/pdf.py", 88 }, { "wait_for_lock", "/app/services/pdf.py", 31 } };
	struct profile *p = profile_new();
	uint32_t task = profile_add_lane(p, PROFILE_LANE_TASK, 4, "this request: Task-17");
	uint32_t culprit = profile_add_lane(
		p, PROFILE_LANE_LOOP, 5, "HELD THE LOOP: GET /reports/7 (route /reports/{id}, request 7fa1)");
	p->lanes[culprit].culprit = true;
	for (unsigned tick = 10; tick < 150; tick++) {
		struct profile_sample s = {
			.at_ns = 5000 * MS + tick * 10 * MS, .weight_ns = 10 * MS, .syscall = -1
		};
		s.lane = task;
		s.stack = add_path(p, false, own, ARRAY_LEN(own));
		s.state = PROFILE_AWAITING;
		profile_add_sample(p, &s);
		if (tick < 60 || tick >= 110)
			continue;
		s.lane = culprit;
		s.stack = add_path(p, true, theirs, ARRAY_LEN(theirs));
		s.state = PROFILE_BLOCKED;
		s.syscall = 230;
		profile_add_sample(p, &s);
	}
	return p;
}

static const char hostile_function[] =
	"evil\"'</script><script>document.title='owned'</script><!--\xe2\x80\xa8\xe2\x80\xae;\n\\u0041";
static const char hostile_file[] =
	"/app/\xd8\xa7\xd9\x84\xd8\xb9\xd8\xb1\xd8\xa8\xd9\x8a\xd8\xa9/\xf0\x9f\x94\xa5 & <b>'\".py";

/* The same, and 60 samples of code whose names are meant to break pages. */
static struct profile *profile_hostile(void)
{
	struct profile *p = profile_of_a_request();
	char name[301];
	memset(name, 'n', 300);
	name[300] = '\0';
	uint32_t frames[3] = { profile_add_frame(p, hostile_function, hostile_file, 7),
		profile_add_frame(p, name, hostile_file, 8),
		profile_add_frame(p, "bad\xff\xfe utf8", "/app/\x80.py", UINT32_MAX) };
	struct profile_sample s = { .weight_ns = 10 * MS, .state = PROFILE_RUNNING, .syscall = -1 };
	s.stack = profile_add_stack(p, frames, 3);
	for (unsigned i = 0; i < 60; i++) {
		s.at_ns = 6500 * MS + i * 10 * MS;
		profile_add_sample(p, &s);
	}
	return p;
}

/* Many different stacks, as of 30 s of a busy worker. */
static struct profile *profile_large(void)
{
	struct profile *p = profile_new();
	uint32_t seed = 1, frames[40];
	char name[32];
	for (unsigned lane = 0; lane < 40; lane++)
		profile_add_lane(p, lane ? PROFILE_LANE_THREAD : PROFILE_LANE_LOOP, lane,
			lane ? "worker" : "MainThread");
	for (unsigned tick = 0; tick < 3000; tick++)
		for (unsigned lane = 0; lane < (tick % 10 ? 2 : 40); lane++) {
			uint32_t depth = 8 + tick % 30;
			for (uint32_t d = 0; d < depth; d++) {
				seed = seed * 1664525 + 1013904223;
				snprintf(name, sizeof name, "f%u_%u", d, d < 4 ? 0 : seed >> 30);
				frames[d] = profile_add_frame(p, name, d % 3 ? "/app/x.py" : LIB "y.py", d);
			}
			struct profile_sample s = { .at_ns = 5000 * MS + tick * 10 * MS,
				.weight_ns = 10 * MS,
				.lane = lane,
				.syscall = -1,
				.stack = profile_add_stack(p, frames, depth),
				.state = PROFILE_RUNNING };
			profile_add_sample(p, &s);
		}
	return p;
}

static void write_page(struct profile *p, const char *title, struct buf *out)
{
	static const struct profile_fact facts[] = {
		{ "Duration", "1532.1 ms" },
		{ "Threshold", "500 ms" },
		{ "Cause", "blocking_call" },
		{ "Line", "/app/services/pdf.py:31" },
		{ "Function", "wait_for_lock" },
		{ "Route", "/reports/{id}" },
		{ "Status", "200" },
		{ "Outcome", "ok" },
		{ "Began", "2026-11-22T07:00:00.123456789Z" },
		{ "Worker", "pid 8149, uvicorn, Python 3.11.2" },
		{ "Service", "web" },
		{ "Client", "10.0.0.7:51234" },
		{ "Backend", "127.0.0.1:8000 (reused connection)" },
		{ "Samples", "140 of 143" },
		{ "Attribution",
			"process: the samples are of the whole worker process; the exact task is not looked up yet" },
		{ "Request", "5c3f1b9e0d7a4c2f8e6b1a2d3c4f5e6a" },
		{ "Hostile", hostile_function },
	};
	static const struct profile_part parts[] = { { "upload", MS / 5 }, { "queue", MS / 10 },
		{ "connect", 2 * MS }, { "app", 1520 * MS }, { "download", 10 * MS } };
	static const char proxy[] = "proxy", request[] = "request";
	static const struct profile_stretch stretches[] = { { proxy, "upload", 5000 * MS, 5001 * MS },
		{ proxy, "connect", 5001 * MS, 5003 * MS }, { proxy, "app", 5003 * MS, 6522 * MS },
		{ proxy, "download", 6522 * MS, 6532 * MS }, { request, "queued", 5003 * MS, 5100 * MS },
		{ request, "awaiting", 5100 * MS, 5600 * MS }, { request, "held up", 5600 * MS, 6100 * MS },
		{ request, "computing", 6100 * MS, 6500 * MS } };
	struct profile_frame line = { "wait_for_lock", "/app/services/pdf.py", 31 };
	struct profile_view view = {
		.title = title,
		.summary =
			"GET /reports/42 took 1532 ms: 680 ms in pdf.py:31 (wait_for_lock), blocking the event loop in a system call (clock_nanosleep)",
		.facts = facts,
		.fact_count = ARRAY_LEN(facts) - (strchr(title, '<') == NULL),
		.parts = parts,
		.part_count = ARRAY_LEN(parts),
		.stretches = stretches,
		.stretch_count = ARRAY_LEN(stretches),
		.line = &line,
		.begin_ns = 5000 * MS,
		.end_ns = 6532 * MS,
	};
	profile_write_html(p, &view, out);
	profile_free(p);
}

/* "Folded stacks: root first, counted, idle left out unless wanted; no name can break a line or a frame." */
static void collapsed_stacks_are_folded(void **state)
{
	(void)state;
	struct profile *p = profile_new();
	uint32_t frames[] = { profile_add_frame(p, "root", "/a.py", 1),
		profile_add_frame(p, "le;af\nx", "", 0) };
	uint32_t both = profile_add_stack(p, frames, 2), one = profile_add_stack(p, frames, 1);
	uint32_t loop = profile_add_lane(p, PROFILE_LANE_LOOP, 1, "Main;Thread"),
		 other = profile_add_lane(p, PROFILE_LANE_THREAD, 2, "t");
	const struct profile_sample samples[] = {
		{ .lane = loop, .stack = both, .state = PROFILE_RUNNING },
		{ .lane = loop, .stack = both, .state = PROFILE_BLOCKED },
		{ .lane = loop, .stack = one, .state = PROFILE_IDLE },
		{ .lane = other, .stack = both, .state = PROFILE_RUNNING },
	};
	for (size_t i = 0; i < ARRAY_LEN(samples); i++)
		profile_add_sample(p, &samples[i]);
	struct buf out = { 0 };
	profile_write_collapsed(p, &(struct profile_view){ 0 }, &out);
	assert_string_equal(out.data, "root (/a.py:1);le:af x 3\n");
	buf_reset(&out);
	profile_write_collapsed(
		p, &(struct profile_view){ .lanes = true, .idle = true, .no_lines = true }, &out);
	assert_string_equal(out.data,
		"Main:Thread;root (/a.py);le:af x 2\nMain:Thread;root (/a.py) 1\nt;root (/a.py);le:af x 1\n");
	buf_clear(&out);
	profile_free(p);
}

/* "No name can end the script that holds the data: the page has just the script tags of its own file." */
static void a_page_cannot_be_broken_by_names(void **state)
{
	(void)state;
	struct buf plain = { 0 }, hostile = { 0 };
	write_page(profile_of_a_request(), "GET /reports/42", &plain);
	write_page(profile_hostile(), "GET /</title><script>", &hostile);
	unsigned counts[2] = { 0, 0 };
	const char *pages[] = { plain.data, hostile.data };
	for (int i = 0; i < 2; i++)
		for (const char *at = pages[i]; (at = strstr(at, "<script")) != NULL; at++)
			counts[i]++;
	assert_int_equal(counts[0], 2);
	assert_int_equal(counts[1], 2);
	const char *data = strstr(hostile.data, "type=\"application/json\">");
	assert_non_null(data);
	data = strchr(data, '>') + 1;
	assert_memory_equal(strchr(data, '<'), "</script>\n", 10); /* the first '<' of the data ends it */
	assert_null(strstr(hostile.data, "\xe2\x80\xa8"));
	assert_null(strstr(hostile.data, " src=")); /* nothing to load */
	assert_null(strstr(hostile.data, "url("));
	buf_clear(&plain);
	buf_clear(&hostile);
}

/* "A profile without samples is a page all the same." */
static void an_empty_profile_is_a_page(void **state)
{
	(void)state;
	struct buf out = { 0 };
	struct profile *p = profile_new();
	profile_write_html(p, &(struct profile_view){ 0 }, &out);
	assert_non_null(strstr(out.data, "\"samples\":[]"));
	buf_reset(&out);
	profile_write_collapsed(p, &(struct profile_view){ 0 }, &out);
	assert_int_equal(out.len, 0);
	buf_clear(&out);
	profile_free(p);
}

/* profile_test --page request|victim|hostile|large|empty FILE: a page for tests/functional/test_flamegraph.py and for the eye. */
static int page_to_file(const char *kind, const char *path)
{
	struct buf out = { 0 };
	if (strcmp(kind, "hostile") == 0)
		write_page(profile_hostile(), "GET /</title><script>alert(1)</script>", &out);
	else if (strcmp(kind, "large") == 0)
		write_page(profile_large(), "GET /large", &out);
	else if (strcmp(kind, "empty") == 0)
		write_page(profile_new(), "GET /empty", &out);
	else if (strcmp(kind, "victim") == 0)
		write_page(profile_of_a_victim(), "GET /items/3", &out);
	else
		write_page(profile_of_a_request(), "GET /reports/42", &out);
	FILE *f = fopen(path, "w");
	bool good = f != NULL && fwrite(out.data, 1, out.len, f) == out.len;
	good = f != NULL && fclose(f) == 0 && good;
	buf_clear(&out);
	return good ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "--page") == 0)
		return page_to_file(argv[2], argv[3]);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_things_have_one_index),
		cmocka_unit_test(many_frames_stay_apart),
		cmocka_unit_test(user_code_is_recognised),
		cmocka_unit_test(collapsed_stacks_are_folded),
		cmocka_unit_test(a_page_cannot_be_broken_by_names),
		cmocka_unit_test(an_empty_profile_is_a_page),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
