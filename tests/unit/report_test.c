/* report_test.c - what the report room promises: true digests, lines that are always valid, and a queue that never waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/str.h>
#include <slowproxy/report.h>

#include "files.h"
#include "lines.h"

#define MS NS_PER_MS

/* --- makers ------------------------------------------------------------------------------------------------------ */

static const char *const templates[] = { "/items/{id}", "/items/special", "/items/{id:int}/parts/{part}",
	"/files/{rest:path}", "/files/{name}.json", "/" };

static struct config config_make(void)
{
	return (struct config){
		.service = "web",
		.routes.templates = { (const char **)templates, ARRAY_LEN(templates) },
		.logs = { .slow = "off", .access = "off", .queue_lines = 64 },
		.capture = { .directory = "", .max_bytes = 1 << 20 },
	};
}

/* 1532.114 ms, of them 2 connecting and 1520 in the app. */
static struct record *record_make(void)
{
	static const uint64_t at_us[MARK_COUNT] = {
		[MARK_BEGIN] = 0,
		[MARK_REQUEST_HEAD] = 100,
		[MARK_CONNECT_BEGIN] = 200,
		[MARK_UPSTREAM] = 2200,
		[MARK_REQUEST_SENT] = 2300,
		[MARK_RESPONSE_BEGIN] = 1522300,
		[MARK_RESPONSE_HEAD] = 1522400,
		[MARK_RESPONSE_END] = 1522500,
		[MARK_END] = 1532114,
	};
	struct record *r = record_new();
	for (enum mark m = 0; m < MARK_COUNT; m++)
		r->timeline.at[m] = 1000 * NS_PER_S + at_us[m] * NS_PER_US;
	r->began_wall_ns = UINT64_C(1795332234123456789);
	r->threshold_ns = 500 * MS;
	strcpy(r->method, "GET");
	strcpy(r->path, "/items/42");
	strcpy(r->request_id, "r-1");
	strcpy(r->trace_id, "0af7651916cd43dd8448eb211c80319c");
	strcpy(r->span_id, "b7ad6b7169203331");
	strcpy(r->client_address, "10.0.0.7:51234");
	strcpy(r->upstream_address, "127.0.0.1:8000");
	r->http_minor = 1;
	r->status = 200;
	r->response_bytes = 512;
	r->capture.status = CAPTURE_OK;
	r->capture.worker_pid = 8149;
	strcpy(r->capture.worker_python, "3.11.2");
	strcpy(r->capture.worker_server, "uvicorn");
	return r;
}

enum stack_name {
	EPOLL,
	RENDER,
	RENDER_89,
	FETCH,
	SYNC,
	POOL_IDLE,
	BACKGROUND,
	RUN_ONCE,
	EMPTY,
	STACK_NAMES
};

#define LIB "/usr/lib/python3.11/"
#define PKG "/usr/lib/python3/dist-packages/"
static const struct profile_frame frames_of[STACK_NAMES][4] = {
	[EPOLL] = { { "run", LIB "asyncio/base_events.py", 607 }, { "select", LIB "selectors.py", 468 } },
	[RENDER] = { { "run", LIB "asyncio/base_events.py", 607 }, { "app", PKG "fastapi/routing.py", 237 },
		{ "render", "/app/app.py", 88 }, { "dumps", LIB "json/__init__.py", 231 } },
	[RENDER_89] = { { "run", LIB "asyncio/base_events.py", 607 },
		{ "app", PKG "fastapi/routing.py", 237 }, { "render", "/app/app.py", 89 } },
	[FETCH] = { { "app", PKG "starlette/routing.py", 66 }, { "fetch", "/app/db.py", 12 },
		{ "sleep", LIB "asyncio/tasks.py", 639 } },
	[SYNC] = { { "run", PKG "anyio/_backends/_asyncio.py", 867 }, { "report", "/app/app.py", 40 } },
	[POOL_IDLE] = { { "run", PKG "anyio/_backends/_asyncio.py", 860 }, { "get", LIB "queue.py", 171 } },
	[BACKGROUND] = { { "run", LIB "threading.py", 975 }, { "push_metrics", "/app/metrics.py", 5 } },
	[RUN_ONCE] = { { "run", LIB "asyncio/base_events.py", 607 },
		{ "_run_once", LIB "asyncio/base_events.py", 1919 } },
};

static uint32_t add_stack(struct profile *p, enum stack_name name)
{
	uint32_t frames[4], depth = 0;
	for (; depth < 4 && frames_of[name][depth].function != NULL; depth++) {
		const struct profile_frame *f = &frames_of[name][depth];
		frames[depth] = profile_add_frame(p, f->function, f->file, f->line);
	}
	return profile_add_stack(p, frames, depth);
}

/* One lane seen in so many ticks of 10 ms, from a tick on. */
struct seen {
	enum profile_lane_kind kind;
	uint64_t id;
	enum stack_name stack;
	enum profile_state state;
	unsigned from, ticks;
};

static struct profile *profile_make(const struct seen *rows, size_t count)
{
	struct profile *p = profile_new();
	for (unsigned tick = 0; tick < 200; tick++)
		for (size_t i = 0; i < count && rows[i].ticks != 0; i++) {
			if (tick < rows[i].from || tick >= rows[i].from + rows[i].ticks)
				continue;
			struct profile_sample s = {
				.at_ns = 1000 * NS_PER_S + tick * 10 * MS +
					 i * 1000, /* lanes are read one after the other */
				.weight_ns = 10 * MS,
				.lane = profile_add_lane(p, rows[i].kind, rows[i].id, "lane"),
				.stack = add_stack(p, rows[i].stack),
				.state = rows[i].state,
				.syscall = rows[i].state == PROFILE_BLOCKED ? 230 : -1,
			};
			profile_add_sample(p, &s);
		}
	return p;
}

static void record_sample(struct record *r, const struct seen *rows, size_t count)
{
	r->capture.profile = profile_make(rows, count);
	r->capture.samples = r->capture.samples_expected = 150;
}

static struct record *record_with_render(void)
{
	static const struct seen rows[] = { { PROFILE_LANE_LOOP, 1, RENDER, PROFILE_BLOCKED, 0, 149 } };
	struct record *r = record_make();
	record_sample(r, rows, ARRAY_LEN(rows));
	return r;
}

/* --- digest ------------------------------------------------------------------------------------------------------ */

#define L PROFILE_LANE_LOOP
#define H PROFILE_LANE_THREAD
#define T PROFILE_LANE_TASK

static const struct digest_row {
	const char *sentence;
	struct seen seen[5];
	const char *cause, *function;
	uint32_t line;
	unsigned frame_ms, cpu_ms, blocking_ms, await_ms, gil_ms;
} digest_rows[] = {
	{ "a loop that computes is cpu, told at the user's line below the library's leaf",
		{ { L, 1, RENDER, PROFILE_RUNNING, 0, 100 } }, "cpu", "render", 88, 1000, 1000, 0, 0, 0 },
	{ "a loop in a system call is a blocking call, whatever threads do meanwhile",
		{ { L, 1, RENDER, PROFILE_BLOCKED, 0, 100 }, { H, 2, SYNC, PROFILE_RUNNING, 0, 100 } },
		"blocking_call", "render", 88, 1000, 0, 1000, 0, 0 },
	{ "the function counts with all its lines, the commonest line is named",
		{ { L, 1, RENDER, PROFILE_RUNNING, 0, 30 }, { L, 1, RENDER_89, PROFILE_RUNNING, 30, 31 },
			{ L, 1, RUN_ONCE, PROFILE_RUNNING, 61, 40 } },
		"cpu", "render", 89, 610, 1010, 0, 0, 0 },
	{ "a loop without user code is told at its leaf", { { L, 1, RUN_ONCE, PROFILE_RUNNING, 0, 10 } },
		"cpu", "_run_once", 1919, 100, 100, 0, 0, 0 },
	{ "with an idle loop the thread that runs a sync endpoint tells",
		{ { L, 1, EPOLL, PROFILE_IDLE, 0, 100 }, { H, 2, SYNC, PROFILE_RUNNING, 0, 100 },
			{ H, 3, POOL_IDLE, PROFILE_IDLE, 0, 100 } },
		"cpu", "report", 40, 1000, 1000, 0, 0, 0 },
	{ "a loop that only waits for the GIL of such a thread does not hide it",
		{ { L, 1, RUN_ONCE, PROFILE_GIL_WAIT, 0, 100 }, { H, 2, SYNC, PROFILE_RUNNING, 0, 100 } },
		"cpu", "report", 40, 1000, 1000, 0, 0, 0 },
	{ "a loop at work tells more than a thread, even without user code",
		{ { L, 1, RUN_ONCE, PROFILE_RUNNING, 0, 100 }, { H, 2, SYNC, PROFILE_BLOCKED, 0, 100 } },
		"cpu", "_run_once", 1919, 1000, 1000, 0, 0, 0 },
	{ "with an idle loop and idle threads the suspended task tells",
		{ { L, 1, EPOLL, PROFILE_IDLE, 0, 100 }, { H, 3, POOL_IDLE, PROFILE_IDLE, 0, 100 },
			{ T, 9, FETCH, PROFILE_AWAITING, 0, 100 } },
		"await", "fetch", 12, 1000, 0, 0, 1000, 0 },
	{ "a background thread of the user does not outshout the task that a server runs",
		{ { L, 1, EPOLL, PROFILE_IDLE, 0, 100 }, { H, 3, BACKGROUND, PROFILE_BLOCKED, 0, 100 },
			{ T, 9, FETCH, PROFILE_AWAITING, 0, 100 } },
		"await", "fetch", 12, 1000, 0, 0, 1000, 0 },
	{ "a wait for the GIL is no computing", { { L, 1, RENDER, PROFILE_GIL_WAIT, 0, 100 } }, "gil_wait",
		"render", 88, 1000, 0, 0, 0, 1000 },
	{ "the largest share of the time is the cause, the line is where most time was",
		{ { L, 1, RENDER, PROFILE_RUNNING, 0, 30 }, { L, 1, EPOLL, PROFILE_IDLE, 30, 70 },
			{ T, 9, FETCH, PROFILE_AWAITING, 30, 70 } },
		"await", "fetch", 12, 700, 300, 0, 700, 0 },
	{ "an idle worker explains nothing", { { L, 1, EPOLL, PROFILE_IDLE, 0, 100 } }, "unknown", NULL, 0, 0,
		0, 0, 0, 0 },
	{ "an unread stack explains nothing", { { L, 1, EMPTY, PROFILE_UNKNOWN, 0, 100 } }, "unknown", NULL,
		0, 0, 0, 0, 0, 0 },
	{ "no samples explain nothing", { { 0 } }, "unknown", NULL, 0, 0, 0, 0, 0, 0 },
};

/* Each row of the table opens with its sentence. */
static void digest_tells_the_line_and_the_cause(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(digest_rows); i++) {
		const struct digest_row *row = &digest_rows[i];
		struct record *r = record_make();
		if (row->seen[0].ticks != 0)
			record_sample(r, row->seen, ARRAY_LEN(row->seen));
		struct digest d;
		digest_of(r, &d);
		bool good = strcmp(d.cause, row->cause) == 0 &&
			    (d.frame == NULL) == (row->function == NULL) &&
			    d.frame_ns == row->frame_ms * MS && d.cpu_ns == row->cpu_ms * MS &&
			    d.blocking_ns == row->blocking_ms * MS && d.await_ns == row->await_ms * MS &&
			    d.gil_wait_ns == row->gil_ms * MS;
		if (good && d.frame != NULL)
			good = strcmp(d.frame->function, row->function) == 0 && d.frame->line == row->line;
		if (!good)
			fail_msg("%s: got %s %s:%u frame %u cpu %u blocking %u await %u gil %u ms",
				row->sentence, d.cause, d.frame ? d.frame->function : "-",
				d.frame ? d.frame->line : 0, (unsigned)(d.frame_ns / MS),
				(unsigned)(d.cpu_ns / MS), (unsigned)(d.blocking_ns / MS),
				(unsigned)(d.await_ns / MS), (unsigned)(d.gil_wait_ns / MS));
		record_free(r);
	}
}

/* "When connecting, queueing or the client took most of the time, the code of the backend is not blamed." */
static void digest_blames_the_network_where_it_is_due(void **state)
{
	(void)state;
	static const struct {
		enum mark from; /* this mark and all after it come 10 s later */
		const char *cause;
	} rows[] = {
		{ MARK_REQUEST_HEAD, "client_slow" },
		{ MARK_CONNECT_BEGIN, "queued" },
		{ MARK_UPSTREAM, "connect" },
		{ MARK_RESPONSE_BEGIN, "await" },
		{ MARK_END, "client_slow" },
	};
	static const struct seen seen[] = { { T, 9, FETCH, PROFILE_AWAITING, 0, 100 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct record *r = record_make();
		record_sample(r, seen, ARRAY_LEN(seen));
		for (enum mark m = rows[i].from; m < MARK_COUNT; m++)
			r->timeline.at[m] += 10 * NS_PER_S;
		struct digest d;
		digest_of(r, &d);
		assert_string_equal(d.cause, rows[i].cause);
		record_free(r);
	}
}

/* --- lines ------------------------------------------------------------------------------------------------------- */

/* "The slow line has exactly the keys people script against, in this order." */
static void slow_line_has_its_keys(void **state)
{
	(void)state;
	struct config c = config_make();
	struct record *r = record_with_render();
	struct digest d;
	struct buf line = { 0 };
	digest_of(r, &d);
	slow_line_write(&c, r, &d, "/var/lib/slowproxy/x.html", "0123", &line);
	assert_string_equal(line.data,
		"{\"ts\":\"2026-11-22T07:23:55.655570789Z\",\"level\":\"warn\","
		"\"msg\":\"GET /items/42 took 1532 ms: 1490 ms in app.py:88 (render), blocking the event loop in a system call "
		"(clock_nanosleep)\",\"event\":\"slow_request\",\"service_name\":\"web\",\"request_id\":\"r-1\","
		"\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\",\"span_id\":\"b7ad6b7169203331\","
		"\"http_request_method\":\"GET\",\"url_path\":\"/items/42\",\"http_route\":\"/items/{id}\","
		"\"http_response_status_code\":200,\"network_protocol_version\":\"1.1\","
		"\"duration_ms\":1532.114,\"ttfb_ms\":1522.400,\"threshold_ms\":500.000,\"upload_ms\":0.200,\"queue_ms\":0.100,"
		"\"connect_ms\":2.000,\"app_ms\":1520.100,\"download_ms\":9.714,"
		"\"client_address\":\"10.0.0.7:51234\",\"upstream_address\":\"127.0.0.1:8000\",\"upstream_reused\":false,"
		"\"request_bytes\":0,\"response_bytes\":512,\"outcome\":\"ok\","
		"\"worker_pid\":8149,\"worker_python\":\"3.11.2\",\"worker_server\":\"uvicorn\","
		"\"attribution\":\"process\",\"attribution_reason\":\"the samples are of the whole worker process; the exact task is "
		"not looked up yet\",\"cause\":\"blocking_call\",\"blocking_ms\":1490.000,"
		"\"code_function_name\":\"render\",\"code_file_path\":\"/app/app.py\",\"code_line_number\":88,"
		"\"top_stack\":\"run (base_events.py:607);app (routing.py:237);render (app.py:88);dumps (__init__.py:231)\","
		"\"samples\":150,\"samples_expected\":150,\"samples_failed\":0,\"capture_status\":\"ok\","
		"\"profile_id\":\"0123\",\"profile_file\":\"/var/lib/slowproxy/x.html\"}");
	buf_clear(&line);
	record_free(r);
}

/* "With a capture problem the sentence says so, and what to do." */
static void a_capture_problem_is_said(void **state)
{
	(void)state;
	struct config c = config_make();
	struct record *r = record_make();
	r->capture.status = CAPTURE_DENIED;
	struct digest d;
	struct buf line = { 0 };
	digest_of(r, &d);
	slow_line_write(&c, r, &d, NULL, NULL, &line);
	assert_non_null(strstr(line.data,
		"GET /items/42 took 1532 ms: 1520 ms in the backend; no stacks (denied): run slowproxy as"));
	assert_non_null(
		strstr(line.data, "\"capture_status\":\"denied\",\"capture_reason\":\"run slowproxy as"));
	assert_non_null(strstr(line.data, "\"attribution\":\"none\""));
	assert_null(strstr(line.data, "profile_"));
	assert_null(strstr(line.data, "code_"));
	buf_clear(&line);
	record_free(r);
}

/* "Exact text wins over parameters; a path of no template has no route; a hostile path ends soon." */
static void routes_are_found(void **state)
{
	(void)state;
	static const struct {
		const char *path, *route;
	} rows[] = {
		{ "/", "/" },
		{ "/items/42", "/items/{id}" },
		{ "/items/special", "/items/special" },
		{ "/items/", NULL },
		{ "/items/4/2", NULL },
		{ "/items/4/parts/x", "/items/{id:int}/parts/{part}" },
		{ "/items/four/parts/x", NULL },
		{ "/files/a/b/c", "/files/{rest:path}" },
		{ "/files/", "/files/{rest:path}" },
		{ "/files/a.json", "/files/{name}.json" },
		{ "/files/a/b.json", "/files/{rest:path}" },
		{ "/other", NULL },
	};
	struct config c = config_make();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *route = route_of(&c, rows[i].path);
		if ((route == NULL) != (rows[i].route == NULL) ||
			(route != NULL && strcmp(route, rows[i].route) != 0))
			fail_msg("%s: got %s", rows[i].path, route ? route : "(none)");
	}
	static const char *const hostile[] = { "/{a:path}-{b:path}-{c:path}-{d:path}-{e:path}!" };
	c.routes.templates = (struct config_strings){ (const char **)hostile, 1 };
	char path[2048] = "/";
	memset(path + 1, '-', sizeof path - 2);
	path[sizeof path - 1] = '\0';
	uint64_t before = clock_now_ns();
	assert_null(route_of(&c, path));
	assert_true(clock_now_ns() - before < 500 * MS);
}

static void fill_random(char *text, size_t bytes, unsigned kind)
{
	random_bytes(text, bytes);
	for (size_t i = 0; i < bytes; i++)
		if (kind == 0)
			text[i] = 1; /* six bytes each as JSON */
		else if (kind == 1)
			text[i] = "\xf0\x9f\x94\xa5"[i % 4]; /* four-byte characters, cut anywhere */
		else if (text[i] == '\0')
			text[i] = '"';
	text[bytes - 1] = '\0';
}

static struct record *record_make_hostile(unsigned kind)
{
	static const struct seen rows[] = { { L, 1, RENDER, PROFILE_BLOCKED, 0, 3 } };
	struct record *r = record_make();
	char name[5000], file[5000];
	fill_random(r->path, sizeof r->path, kind);
	fill_random(r->method, sizeof r->method, kind);
	fill_random(r->request_id, sizeof r->request_id, kind);
	fill_random(r->trace_id, sizeof r->trace_id, kind);
	fill_random(r->span_id, sizeof r->span_id, kind);
	fill_random(r->client_address, sizeof r->client_address, kind);
	fill_random(r->upstream_address, sizeof r->upstream_address, kind);
	fill_random(r->reason, sizeof r->reason, kind);
	fill_random(r->capture.reason, sizeof r->capture.reason, kind);
	fill_random(r->capture.worker_python, sizeof r->capture.worker_python, kind);
	fill_random(r->capture.worker_server, sizeof r->capture.worker_server, kind);
	record_sample(r, rows, ARRAY_LEN(rows));
	r->outcome = OUTCOME_CLIENT_ABORT;
	r->capture.status = CAPTURE_NO_WORKER;

	uint32_t deep[300];
	for (uint32_t i = 0; i < ARRAY_LEN(deep); i++) {
		fill_random(name, sizeof name, kind);
		fill_random(file, sizeof file, kind);
		deep[i] = profile_add_frame(r->capture.profile, name, file, UINT32_MAX - i);
	}
	struct profile_sample s = {
		.at_ns = 2000 * NS_PER_S, .weight_ns = 900 * MS, .state = PROFILE_BLOCKED, .syscall = 230
	};
	s.stack = profile_add_stack(r->capture.profile, deep, ARRAY_LEN(deep));
	profile_add_sample(r->capture.profile, &s);
	return r;
}

static const char python_check[] =
	"/usr/bin/python3 -c 'import json,sys\n"
	"n=0\n"
	"for line in open(sys.argv[1],\"rb\"):\n"
	"    assert len(line)<=12*1024, len(line)\n"
	"    o=json.loads(line.decode(\"utf-8\")); n+=1\n"
	"    assert all(not isinstance(v,(dict,list)) for v in o.values()) and o[\"event\"] in (\"slow_request\",\"request\")\n"
	"assert n==int(sys.argv[2]), n' %s %u";

/* "Whatever bytes come in, a line is one valid, flat JSON object below 12 KiB - by the judgement of Python's json." */
static void lines_are_valid_whatever_comes(void **state)
{
	(void)state;
	struct config c = config_make();
	char service[2000], directory[3000], path[] = "/tmp/slowproxy-lines-XXXXXX", command[1024];
	struct buf lines = { 0 };
	unsigned count = 0;
	size_t longest = 0;
	for (unsigned i = 0; i < 60; i++) {
		fill_random(service, sizeof service, i % 3);
		fill_random(directory, sizeof directory, i % 3);
		c.service = service;
		struct record *r = record_make_hostile(i % 3);
		struct digest d;
		size_t from = lines.len;
		digest_of(r, &d);
		slow_line_write(&c, r, &d, directory, "0123456789abcdef0123456789abcdef", &lines);
		longest = MAX(longest, lines.len - from);
		assert_true(lines.len - from < 12 * 1024);
		buf_add_char(&lines, '\n');
		access_line_write(&c, r, &lines);
		buf_add_char(&lines, '\n');
		count += 2;
		record_free(r);
	}
	print_message("the longest line has %zu bytes\n", longest);
	int fd = mkstemp(path);
	assert_int_equal(write(fd, lines.data, lines.len), lines.len);
	close(fd);
	snprintf(command, sizeof command, python_check, path, count);
	if (access("/usr/bin/python3", X_OK) != 0)
		print_message("SKIPPED: /usr/bin/python3 is not here to judge the JSON\n");
	else
		assert_int_equal(system(command), 0);
	unlink(path);
	buf_clear(&lines);
}

/* --- queue and outputs ------------------------------------------------------------------------------------------- */

struct place {
	char directory[64];
	char fifo[96];
	int reader; /* the other end of the fifo; nobody reads it until the test does */
};

static void place_make(struct place *p)
{
	strcpy(p->directory, "/tmp/slowproxy-report-XXXXXX");
	assert_non_null(mkdtemp(p->directory));
	snprintf(p->fifo, sizeof p->fifo, "%s/fifo", p->directory);
	assert_int_equal(mkfifo(p->fifo, 0600), 0);
	p->reader = open(p->fifo, O_RDONLY | O_NONBLOCK);
	assert_true(p->reader >= 0);
}

static void place_clear(struct place *p)
{
	char command[128];
	close(p->reader);
	snprintf(command, sizeof command, "rm -rf '%s'", p->directory);
	assert_int_equal(system(command), 0);
}

/* Reads until there are so many lines in the buffer, 10 s at most. */
static size_t read_lines(int fd, struct buf *into, size_t wanted)
{
	uint64_t until = clock_now_ns() + 10 * NS_PER_S;
	size_t lines = 0;
	for (size_t i = 0; i < into->len; i++)
		lines += into->data[i] == '\n';
	while (lines < wanted && clock_now_ns() < until) {
		char bytes[4096];
		struct pollfd p = { fd, POLLIN, 0 };
		poll(&p, 1, 100);
		ssize_t n = read(fd, bytes, sizeof bytes);
		for (ssize_t i = 0; i < n; i++)
			lines += bytes[i] == '\n';
		if (n > 0)
			buf_add(into, bytes, (size_t)n);
	}
	return lines;
}

static void send_slow(struct report *rep, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		report_record(rep, record_make());
}

/* "Nobody reads the pipe: producers never wait, each lost line is counted, and what was not lost comes out whole later." */
static void a_full_queue_never_waits(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	struct config c = config_make();
	c.logs.slow = place.fifo;
	struct report *rep = report_new(&c);

	enum { SENT = 2000 };
	uint64_t slowest = 0;
	for (unsigned i = 0; i < SENT; i++) {
		struct record *r = record_make();
		uint64_t before = clock_now_ns();
		report_record(rep, r);
		slowest = MAX(slowest, clock_now_ns() - before);
	}
	uint64_t dropped = report_lines_dropped(rep);
	print_message("slowest report_record: %u us, %u of %u lines dropped\n",
		(unsigned)(slowest / NS_PER_US), (unsigned)dropped, SENT);
	assert_true(slowest < 500 * MS); /* a waiting producer would wait for ever */
	assert_true(dropped > SENT / 2);

	struct buf got = { 0 };
	assert_int_equal(read_lines(place.reader, &got, SENT - dropped), SENT - dropped);
	assert_int_equal(report_lines_dropped(rep), dropped);
	for (char *line = strtok(got.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		assert_memory_equal(line, "{\"ts\":", 6);
		assert_int_equal(line[strlen(line) - 1], '}');
	}
	assert_int_equal(report_free(rep, 5 * NS_PER_S), dropped);
	buf_clear(&got);
	place_clear(&place);
}

/* "Dropped lines are said in a log line as soon as there is room." */
static void dropped_lines_are_said(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	char log_path[96];
	snprintf(log_path, sizeof log_path, "%s/log", place.directory);
	int saved = dup(STDERR_FILENO), end = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	int log = open(log_path, O_RDONLY);
	dup2(end, STDERR_FILENO);
	close(end);

	struct config c = config_make();
	c.logs.slow = place.fifo;
	struct report *rep = report_new(&c);
	log_setup(&(struct log_settings){
		.level = LOG_INFO, .role = "test", .sink = report_log_sink, .context = rep });
	send_slow(rep, 1000);
	uint64_t dropped = report_lines_dropped(rep);
	struct buf got = { 0 }, said = { 0 };
	read_lines(place.reader, &got, 1000 - dropped);
	assert_int_equal(read_lines(log, &said, 1), 1);
	unsigned told = 0;
	assert_non_null(strstr(said.data, " lines were dropped because the reader is slow\n"));
	assert_int_equal(sscanf(said.data, "slowproxy[test] warn: %u", &told), 1);
	assert_true(told > 0 && told <= dropped);
	log_setup(&(struct log_settings){ .level = LOG_INFO, .role = "test" });
	report_free(rep, NS_PER_S);

	dup2(saved, STDERR_FILENO);
	close(saved);
	close(log);
	buf_clear(&got);
	buf_clear(&said);
	place_clear(&place);
}

/* "A stuck reader cannot hold report_free longer than it is allowed to wait; the lines lost so are counted." */
static void a_stuck_reader_does_not_hold_the_end(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	struct config c = config_make();
	c.logs.slow = place.fifo;
	c.logs.queue_lines = 1000;
	struct report *rep = report_new(&c);
	send_slow(rep, 200);
	uint64_t before = clock_now_ns();
	uint64_t lost = report_free(rep, 200 * MS);
	uint64_t took = clock_now_ns() - before;
	struct buf got = { 0 };
	char bytes[4096];
	for (ssize_t n; (n = read(place.reader, bytes, sizeof bytes)) > 0;)
		buf_add(&got, bytes, (size_t)n);
	size_t whole = 0;
	for (size_t i = 0; i < got.len; i++)
		whole += got.data[i] == '\n';
	print_message("report_free(200 ms) took %u ms, %u lines lost, %zu written\n", (unsigned)(took / MS),
		(unsigned)lost, whole);
	assert_true(took < 2 * NS_PER_S);
	assert_true(lost > 0);
	assert_int_equal(whole + lost, 200);
	buf_clear(&got);
	place_clear(&place);
}

/* "What is queued is written before the end, to a file as to a pipe; fast requests give access lines only." */
static void the_end_writes_what_is_queued(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	struct config c = config_make();
	char slow[96], acc[96];
	snprintf(slow, sizeof slow, "%s/slow.log", place.directory);
	snprintf(acc, sizeof acc, "%s/access.log", place.directory);
	c.logs.slow = slow;
	c.logs.access = acc;
	c.logs.queue_lines = 1000;
	struct report *rep = report_new(&c);
	for (unsigned i = 0; i < 100; i++) {
		struct record *r = record_make();
		if (i % 2)
			r->threshold_ns = 0;
		report_record(rep, r);
	}
	assert_int_equal(report_free(rep, 10 * NS_PER_S), 0);
	struct buf got = { 0 };
	int fd = open(slow, O_RDONLY);
	assert_int_equal(read_lines(fd, &got, 50), 50);
	close(fd);
	buf_reset(&got);
	fd = open(acc, O_RDONLY);
	assert_int_equal(read_lines(fd, &got, 100), 100);
	assert_non_null(strstr(got.data, "\"event\":\"request\""));
	close(fd);
	buf_clear(&got);
	place_clear(&place);
}

/* --- profile files ----------------------------------------------------------------------------------------------- */

static unsigned count_files(const char *directory, const char *ending, uint64_t *bytes)
{
	unsigned count = 0;
	*bytes = 0;
	DIR *dir = opendir(directory);
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		size_t len = strlen(e->d_name), tail = strlen(ending);
		struct stat st;
		if (len < tail || strcmp(e->d_name + len - tail, ending) != 0)
			continue;
		if (fstatat(dirfd(dir), e->d_name, &st, 0) == 0)
			*bytes += (uint64_t)st.st_size;
		count++;
	}
	closedir(dir);
	return count;
}

/* "A slow request with samples leaves a page and folded stacks, and its line names the page." */
static void a_profile_is_filed(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	struct config c = config_make();
	char slow[96], kept[96];
	snprintf(slow, sizeof slow, "%s/slow.log", place.directory);
	snprintf(kept, sizeof kept, "%s/kept", place.directory);
	c.logs.slow = slow;
	c.capture.directory = kept;
	c.capture.max_bytes = 10 << 20;
	struct report *rep = report_new(&c);
	report_record(rep, record_with_render());
	report_record(rep, record_make()); /* no samples, no file */
	assert_int_equal(report_free(rep, 10 * NS_PER_S), 0);

	uint64_t bytes;
	assert_int_equal(count_files(kept, ".html", &bytes), 1);
	assert_true(bytes > 1000);
	assert_int_equal(count_files(kept, ".collapsed.txt", &bytes), 1);
	assert_int_equal(count_files(kept, ".tmp", &bytes), 0);
	struct buf got = { 0 };
	int fd = open(slow, O_RDONLY);
	assert_int_equal(read_lines(fd, &got, 2), 2);
	close(fd);
	char *named = strstr(got.data, "\"profile_file\":\"");
	assert_non_null(named);
	named += strlen("\"profile_file\":\"");
	*strchr(named, '"') = '\0';
	assert_int_equal(access(named, R_OK), 0);
	buf_clear(&got);
	place_clear(&place);
}

/* "The directory stays below its bound, the oldest go first, and nothing that is not ours is touched." */
static void the_directory_is_bounded(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	static const char *const there[] = {
		"20200101T000000.000Z-00000000000000000000000000000000.html",
		"20200101T000000.000Z-00000000000000000000000000000000.collapsed.txt.tmp", /* left by a killed writer */
		"precious.html",
		"20200101T000000.000Z-notours.html",
	};
	char path[256];
	for (size_t i = 0; i < ARRAY_LEN(there); i++) {
		snprintf(path, sizeof path, "%s/%s", place.directory, there[i]);
		FILE *f = fopen(path, "w");
		fprintf(f, "%0400d", 0);
		fclose(f);
	}
	struct files files;
	files_init(&files, place.directory, 1000);
	assert_int_equal(files.count, 1);
	assert_int_equal(files.bytes, 400);

	struct buf content = { 0 };
	buf_printf(&content, "%0400d", 0);
	char name[FILES_NAME_BYTES], id[FILES_ID_BYTES], newest[FILES_NAME_BYTES] = "";
	for (uint64_t i = 0; i < 10; i++) {
		files_name_new(name, id, UINT64_C(1795332234123456789) + i * NS_PER_S);
		assert_true(files_write(&files, name, ".html", &content));
		assert_true(files.bytes <= 1000);
		strcpy(newest, name);
	}
	uint64_t bytes;
	assert_int_equal(
		count_files(place.directory, ".html", &bytes), 2 + 2); /* two new ones, two of others */
	assert_int_equal(count_files(place.directory, ".tmp", &bytes), 0);
	snprintf(path, sizeof path, "%s/%s.html", place.directory, newest);
	assert_int_equal(access(path, R_OK), 0);
	snprintf(path, sizeof path, "%s/precious.html", place.directory);
	assert_int_equal(access(path, R_OK), 0);

	struct buf large = { 0 };
	buf_printf(&large, "%02000d", 0);
	assert_false(files_write(&files, name, ".collapsed.txt", &large));
	assert_int_equal(errno, EFBIG);
	assert_int_equal(count_files(place.directory, ".html", &bytes), 4); /* nothing was removed for it */
	buf_clear(&large);
	buf_clear(&content);
	files_clear(&files);
	place_clear(&place);
}

/* "Where no file can be written, the slow line comes all the same, without profile_file." */
static void an_unwritable_directory_costs_no_line(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	struct config c = config_make();
	char slow[96];
	snprintf(slow, sizeof slow, "%s/slow.log", place.directory);
	c.logs.slow = slow;
	c.capture.directory = "/proc/no-such-place";
	log_setup(&(struct log_settings){ .level = LOG_ERROR, .role = "test" });
	struct report *rep = report_new(&c);
	report_record(rep, record_with_render());
	assert_int_equal(report_free(rep, 10 * NS_PER_S), 0);
	log_setup(&(struct log_settings){ .level = LOG_INFO, .role = "test" });
	struct buf got = { 0 };
	int fd = open(slow, O_RDONLY);
	assert_int_equal(read_lines(fd, &got, 1), 1);
	close(fd);
	assert_non_null(strstr(got.data, "\"code_function_name\":\"render\""));
	assert_null(strstr(got.data, "profile_"));
	buf_clear(&got);
	place_clear(&place);
}

/* "For a terminal: the sentence, the last frames, the page's path; and no byte of a request steers the terminal." */
static void the_console_form_is_for_people(void **state)
{
	(void)state;
	struct config c = config_make();
	struct record *r = record_with_render();
	strcpy(r->path, "/items/\033[2J\n42");
	struct digest d;
	struct buf out = { 0 };
	digest_of(r, &d);
	slow_console_write(&c, r, &d, "/tmp/x.html", false, &out);
	assert_non_null(strstr(out.data, "SLOW"));
	assert_non_null(strstr(out.data, "/items/?[2J?42"));
	assert_non_null(
		strstr(out.data, "1490 ms in app.py:88 (render), blocking the event loop in a system call"));
	assert_non_null(strstr(out.data, "flame graph /tmp/x.html\n"));
	assert_null(strchr(out.data, '\033'));
	buf_clear(&out);
	record_free(r);
}

static int forget_records(void **state)
{
	(void)state;
	record_thread_end();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digest_tells_the_line_and_the_cause),
		cmocka_unit_test(digest_blames_the_network_where_it_is_due),
		cmocka_unit_test(slow_line_has_its_keys),
		cmocka_unit_test(a_capture_problem_is_said),
		cmocka_unit_test(routes_are_found),
		cmocka_unit_test(lines_are_valid_whatever_comes),
		cmocka_unit_test(a_full_queue_never_waits),
		cmocka_unit_test(dropped_lines_are_said),
		cmocka_unit_test(a_stuck_reader_does_not_hold_the_end),
		cmocka_unit_test(the_end_writes_what_is_queued),
		cmocka_unit_test(a_profile_is_filed),
		cmocka_unit_test(the_directory_is_bounded),
		cmocka_unit_test(an_unwritable_directory_costs_no_line),
		cmocka_unit_test(the_console_form_is_for_people),
	};
	return cmocka_run_group_tests(tests, NULL, forget_records);
}
