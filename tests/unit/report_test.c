/* report_test.c - what the report room says: true digests, and lines that are valid whatever comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include <slowproxy/base/str.h>

#include "lines.h"
#include "report_makers.h"

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
	slow_line_write(&c, r, &d,
		&(struct profile_place){ "0123", "/var/lib/slowproxy/x.html", "http://h/profiles/0123" },
		&line);
	assert_string_equal(line.data,
		"{\"ts\":\"2026-11-22T07:23:55.655570789Z\",\"level\":\"warn\","
		"\"msg\":\"GET /items/42 took 1532 ms: 1490 ms in render (app.py:88), blocking the event loop in a system call "
		"(clock_nanosleep)\",\"event\":\"slow_request\",\"service_name\":\"web\",\"request_id\":\"r-1\","
		"\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\",\"span_id\":\"b7ad6b7169203331\","
		"\"http_request_method\":\"GET\",\"url_path\":\"/items/42\",\"http_route\":\"/items/{id}\","
		"\"http_response_status_code\":200,\"network_protocol_version\":\"1.1\","
		"\"duration_ms\":1532.114,\"ttfb_ms\":1522.400,\"threshold_ms\":500.000,\"upload_ms\":0.200,\"queue_ms\":0.100,"
		"\"connect_ms\":2.000,\"app_ms\":1520.100,\"download_ms\":9.714,"
		"\"client_address\":\"10.0.0.7:51234\",\"upstream_address\":\"127.0.0.1:8000\",\"upstream_reused\":false,"
		"\"request_bytes\":0,\"response_bytes\":512,\"outcome\":\"ok\","
		"\"worker_pid\":8149,\"worker_python\":\"3.11.2\",\"worker_server\":\"uvicorn\","
		"\"attribution\":\"process\",\"attribution_reason\":\"the task or thread of this request was not found: the samples are of "
		"the whole worker\",\"cause\":\"blocking_call\",\"blocking_ms\":1490.000,"
		"\"code_function_name\":\"render\",\"code_file_path\":\"/app/app.py\",\"code_line_number\":88,"
		"\"top_stack\":\"run (base_events.py:607);app (routing.py:237);render (app.py:88);dumps (__init__.py:231)\","
		"\"samples\":150,\"samples_expected\":150,\"samples_failed\":0,\"capture_status\":\"ok\","
		"\"profile_id\":\"0123\",\"profile_url\":\"http://h/profiles/0123\",\"profile_file\":\"/var/lib/slowproxy/x.html\"}");
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
	slow_line_write(&c, r, &d, &(struct profile_place){ 0 }, &line);
	assert_non_null(strstr(line.data,
		"GET /items/42 took 1532 ms: 1520 ms in the backend; no stacks (denied): run slowproxy as"));
	assert_non_null(
		strstr(line.data, "\"capture_status\":\"denied\",\"capture_reason\":\"run slowproxy as"));
	assert_non_null(strstr(line.data, "\"attribution\":\"none\""));
	assert_null(strstr(line.data, "profile_"));
	assert_null(strstr(line.data, "code_"));
	/* a connection that no worker accepted was queued, and samples with a flaw say the flaw */
	buf_reset(&line);
	r->capture.status = CAPTURE_NOT_ACCEPTED;
	digest_of(r, &d);
	slow_line_write(&c, r, &d, &(struct profile_place){ 0 }, &line);
	assert_non_null(
		strstr(line.data, "took 1532 ms: 1520 ms in which no worker accepted the connection\""));
	assert_non_null(strstr(line.data, "\"cause\":\"queued\""));
	record_free(r);

	buf_reset(&line);
	r = record_with_render();
	r->capture.status = CAPTURE_PARTIAL;
	strcpy(r->capture.reason, "12 of 150 looks succeeded, 138 failed");
	digest_of(r, &d);
	slow_line_write(&c, r, &d, &(struct profile_place){ 0 }, &line);
	assert_non_null(strstr(line.data, "(clock_nanosleep); 12 of 150 looks succeeded, 138 failed\""));
	buf_clear(&line);
	record_free(r);
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

static const struct capture_other *hostile_other(unsigned kind)
{
	static struct capture_other other;
	fill_random(other.request_id, sizeof other.request_id, kind);
	fill_random(other.method, sizeof other.method, kind);
	fill_random(other.path, sizeof other.path, kind);
	fill_random(other.route, sizeof other.route, kind);
	return &other;
}

/* As long a story as there can be: it waited for the loop and for the GIL. */
static void held_up_by(struct digest *d, const struct capture_other *other)
{
	static const struct profile_lane thread = { .name = "a thread" };
	d->culprit_ns = d->blocked_by_ns = d->gil_wait_ns = d->gil_holder_ns = NS_PER_S;
	d->culprit_span = UINT64_MAX;
	d->culprit_kind = "request";
	d->culprit = d->gil_holder = other;
	d->culprit_frame = d->gil_holder_frame = d->frame;
	d->culprit_stack = d->gil_holder_stack = d->stack;
	d->gil_holder_thread = &thread;
}

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
		held_up_by(&d, hostile_other(i % 3));
		slow_line_write(&c, r, &d,
			&(struct profile_place){ "0123456789abcdef0123456789abcdef", directory, directory },
			&lines);
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
/* "For a terminal: the sentence, the last frames, the page's path; and no byte of a request steers the terminal." */
static void the_console_form_is_for_people(void **state)
{
	(void)state;
	struct record *r = record_with_render();
	strcpy(r->path, "/items/\033[2J\n42");
	struct digest d;
	struct buf out = { 0 };
	digest_of(r, &d);
	slow_console_write(r, &d, "/tmp/x.html", false, &out);
	assert_non_null(strstr(out.data, "SLOW"));
	assert_non_null(strstr(out.data, "/items/?[2J?42"));
	assert_non_null(
		strstr(out.data, "1490 ms in render (app.py:88), blocking the event loop in a system call"));
	assert_non_null(strstr(out.data, "flame graph /tmp/x.html\n"));
	assert_null(strchr(out.data, '\033'));
	buf_clear(&out);
	record_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digest_tells_the_line_and_the_cause),
		cmocka_unit_test(digest_blames_the_network_where_it_is_due),
		cmocka_unit_test(slow_line_has_its_keys),
		cmocka_unit_test(a_capture_problem_is_said),
		cmocka_unit_test(lines_are_valid_whatever_comes),
		cmocka_unit_test(the_console_form_is_for_people),
	};
	return cmocka_run_group_tests(tests, NULL, forget_records);
}
