/* What a request was doing is told by its own threads and tasks, look by look, and in hindsight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "report_makers.h"
#include "story.h"

enum { OWN = 0x1111, OTHER = 0x2222 };
static const uint64_t began = 1000 * NS_PER_S, step = 10 * MS;

/* What one look saw: a letter for the event loop's thread, one for the request.
 *
 *   loop     . idle   r runs the request   h held by the other request   t by a task of nobody   g waits for the GIL
 *   request  - none   a awaits   b awaits another thing   s sleeps until look 10   p in a thread of the pool   x a stranger's thread
 */
static void add(struct record *r, unsigned look, enum profile_lane_kind kind, enum stack_name stack,
	enum profile_state state, enum profile_serves serves, uint64_t span, uint32_t awaits)
{
	struct profile *p = r->capture.profile;
	struct profile_sample s = {
		.at_ns = began + look * step,
		.weight_ns = step,
		.lane = profile_add_lane(p, kind, 10 + kind, "lane"),
		.stack = add_stack(p, stack),
		.state = state,
		.syscall = -1,
		.serves = serves,
		.span = span,
		.awaits = awaits,
		.due_ns = awaits == 's' ? began + 10 * step : 0,
	};
	profile_add_sample(p, &s);
}

static void add_loop(struct record *r, unsigned look, char what)
{
	if (what == '.')
		add(r, look, PROFILE_LANE_LOOP, EPOLL, PROFILE_IDLE, PROFILE_SERVES_NOBODY, 0, 0);
	if (what == 'r')
		add(r, look, PROFILE_LANE_LOOP, RENDER, PROFILE_RUNNING, PROFILE_SERVES_REQUEST, OWN, 0);
	if (what == 'h')
		add(r, look, PROFILE_LANE_LOOP, RENDER_89, PROFILE_BLOCKED, PROFILE_SERVES_REQUEST, OTHER, 0);
	if (what == 't')
		add(r, look, PROFILE_LANE_LOOP, RENDER_89, PROFILE_BLOCKED, PROFILE_SERVES_TASK, 0, 0);
	if (what == 'g')
		add(r, look, PROFILE_LANE_LOOP, RUN_ONCE, PROFILE_GIL_WAIT, PROFILE_SERVES_UNKNOWN, 0, 0);
}

static void add_request(struct record *r, unsigned look, char what)
{
	if (what == 'a' || what == 'b' || what == 's')
		add(r, look, PROFILE_LANE_TASK, FETCH, PROFILE_AWAITING, PROFILE_SERVES_REQUEST, OWN,
			(uint32_t)what);
	if (what == 'p')
		add(r, look, PROFILE_LANE_THREAD, SYNC, PROFILE_BLOCKED, PROFILE_SERVES_REQUEST, OWN, 0);
	if (what == 'x')
		add(r, look, PROFILE_LANE_THREAD, BACKGROUND, PROFILE_BLOCKED, PROFILE_SERVES_UNKNOWN, 0, 0);
}

static struct record *record_of(const char *loop, const char *request)
{
	struct record *r = record_make();
	size_t looks = strlen(loop);
	assert_int_equal(looks, strlen(request));
	strcpy(r->span_id, "0000000000001111");
	r->capture.profile = profile_new();
	r->capture.samples = r->capture.samples_expected = (uint32_t)looks;
	r->capture.from_ns = began;
	r->capture.until_ns = began + (looks - 1) * step;
	r->capture.others = xcalloc(1, sizeof *r->capture.others);
	r->capture.other_count = 1;
	r->capture.others[0] = (struct capture_other){
		.span = OTHER, .request_id = "r-2", .method = "GET", .path = "/report"
	};
	for (unsigned i = 0; i < looks; i++) {
		profile_add_look(r->capture.profile,
			&(struct profile_look){ .at_ns = began + i * step, .tasks = true, .whole = true });
		add_loop(r, i, loop[i]);
		add_request(r, i, request[i]);
	}
	return r;
}

static const struct {
	const char *why, *loop, *request;
	enum doing mostly;
	unsigned steps; /* so long; the first and last look stand for half a step less */
	const char *cause, *attribution, *culprit;
} rows[] = {
	{ "at work on the loop", "rrrrrrrr", "--------", DOING_CPU, 7, "cpu", "task", NULL },
	{ "awaiting, the loop is free", "........", "aaaaaaaa", DOING_AWAIT, 7, "await", "task", NULL },
	{ "in a thread of the pool", "........", "pppppppp", DOING_BLOCKING, 7, "blocking_call", "thread",
		NULL },
	{ "ready, and another holds the loop to the end", ".hhhhhhh", "aaaaaaaa", DOING_BLOCKED_BY, 6,
		"blocked_by", "task", "r-2" },
	{ "goes on as soon as the loop is free", "..hhhhhhr", "aaaaaaaa-", DOING_BLOCKED_BY, 5, "blocked_by",
		"task", "r-2" },
	{ "goes on to another wait", "hhhhhh...", "aaaaaabbb", DOING_BLOCKED_BY, 6, "blocked_by", "task",
		"r-2" },
	{ "still awaits the same when the loop is free again", ".hhhhhh.", "aaaaaaaa", DOING_AWAIT, 7,
		"await", "task", NULL },
	{ "sleeps, and is due at look 10", "..hhhhhhhhhhhhhhhhhhhhhhhhhh", "ssssssssssssssssssssssssssss",
		DOING_BLOCKED_BY, 17, "blocked_by", "task", "r-2" },
	{ "no task yet: behind another", "hhhhhhhh", "--------", DOING_BLOCKED_BY, 7, "blocked_by", "process",
		"r-2" },
	{ "no task yet: behind a task of nobody", "tttttttt", "--------", DOING_BLOCKED_BY, 7, "blocked_by",
		"process", NULL },
	{ "no task yet, the loop is free", "........", "--------", DOING_QUEUED, 7, "queued", "process",
		NULL },
	{ "a thread works for nobody knows whom: perhaps for it", "........", "xxxxxxxx", DOING_UNKNOWN, 7,
		"blocking_call", "process", NULL },
	{ "the loop waits for the GIL", "gggggggg", "aaaaaaaa", DOING_GIL_WAIT, 7, "gil_wait", "task", NULL },
};

/* Each row of the table. */
static void stories_are_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct record *r = record_of(rows[i].loop, rows[i].request);
		struct story s;
		struct digest d;
		story_of(r, &s);
		digest_of(r, &d);
		uint64_t sum = s.unseen_ns, ns = s.ns[rows[i].mostly], due = rows[i].steps * step;
		for (enum doing doing = 0; doing < DOING_COUNT; doing++)
			sum += s.ns[doing];
		if (ns + step < due || ns > due + step || strcmp(d.cause, rows[i].cause) != 0 ||
			strcmp(d.attribution, rows[i].attribution) != 0)
			print_message("%s: %s, %s, %llu ms\n", rows[i].why, d.cause, d.attribution,
				(unsigned long long)(ns / MS));
		assert_string_equal(d.cause, rows[i].cause);
		assert_string_equal(d.attribution, rows[i].attribution);
		assert_in_range(ns, due - step, due + step);
		assert_int_equal(sum, r->capture.until_ns - r->capture.from_ns); /* all of the time is told */
		if (rows[i].culprit != NULL)
			assert_string_equal(d.culprit->request_id, rows[i].culprit);
		else
			assert_null(d.culprit);
		story_clear(&s);
		record_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(stories_are_told) };
	return cmocka_run_group_tests(tests, NULL, forget_records);
}
