/* record_test.c - phases that add up, tables without holes, records that start clean. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/record.h>

/* The sum of the phases that happened. */
static uint64_t phases_sum(const struct timeline *t)
{
	uint64_t sum = 0;
	for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
		uint64_t ns = UINT64_MAX;
		if (timeline_phase_ns(t, phase, &ns))
			sum += ns;
	}
	return sum;
}

static void assert_adds_up(const struct timeline *t)
{
	if (phases_sum(t) == t->at[MARK_END] - t->at[MARK_BEGIN])
		return;
	for (int mark = 0; mark < MARK_COUNT; mark++)
		print_error("mark %d at %llu\n", mark, (unsigned long long)t->at[mark]);
	fail_msg("the phases add up to %llu", (unsigned long long)phases_sum(t));
}

/* Whichever of the marks between begin and end happened, in their natural order, the phases add up to the duration. */
static void phases_add_up_for_every_set_of_marks(void **state)
{
	(void)state;
	enum { MIDDLE = MARK_END - MARK_REQUEST_HEAD };
	for (unsigned set = 0; set < 1u << MIDDLE; set++) {
		struct timeline t = { 0 };
		t.at[MARK_BEGIN] = 1000;
		for (int mark = MARK_REQUEST_HEAD; mark < MARK_END; mark++)
			if (set & 1u << (mark - MARK_REQUEST_HEAD))
				t.at[mark] = 1000 + (1u << mark);
		t.at[MARK_END] = 5000;
		assert_adds_up(&t);
	}
}

/* Calls check for every order of the given marks (Heap's algorithm). */
static void for_every_order(enum mark *marks, unsigned count, void (*check)(const enum mark *marks))
{
	unsigned counters[MARK_COUNT] = { 0 };
	check(marks);
	for (unsigned i = 1; i < count;) {
		if (counters[i] >= i) {
			counters[i++] = 0;
			continue;
		}
		unsigned other = i % 2 == 0 ? 0 : counters[i];
		enum mark kept = marks[other];
		marks[other] = marks[i];
		marks[i] = kept;
		check(marks);
		counters[i]++;
		i = 1;
	}
}

static void check_order(const enum mark *marks)
{
	struct timeline t = { 0 };
	t.at[MARK_BEGIN] = 1000;
	for (unsigned i = 0; i < MARK_END - MARK_REQUEST_HEAD; i++)
		t.at[marks[i]] = 1000 + 10 * (i + 1) * (i + 1);
	t.at[MARK_END] = 9000;
	assert_adds_up(&t);
}

/* So do they for marks in any order: a backend may answer before it has read the request. */
static void phases_add_up_in_every_order(void **state)
{
	(void)state;
	enum mark marks[MARK_END - MARK_REQUEST_HEAD];
	for (unsigned i = 0; i < MARK_END - MARK_REQUEST_HEAD; i++)
		marks[i] = MARK_REQUEST_HEAD + i;
	for_every_order(marks, MARK_END - MARK_REQUEST_HEAD, check_order);
}

/* Marks at one instant, or end at begin, add up too. */
static void phases_add_up_at_one_instant(void **state)
{
	(void)state;
	struct timeline t;
	for (int mark = 0; mark < MARK_COUNT; mark++)
		t.at[mark] = 77;
	assert_adds_up(&t);
	assert_int_equal(phases_sum(&t), 0);
}

/* One exchange, its marks in us after begin (-1: never), and its phases (-1: never happened). */
struct exchange_case {
	const char *what;
	int marks[MARK_COUNT];
	int phases[PHASE_COUNT]; /* upload, queue, connect, app, download */
};
static const struct exchange_case exchanges[] = {
	{ "a new connection to the backend", { 0, 1, 3, 7, 12, 100, 101, 150, 160 },
		{ 1 + 5, 2, 4, 89, 59 } },
	{ "a pooled connection: no connect", { 0, 1, -1, 3, 5, 100, 101, 150, 160 },
		{ 1 + 2, 2, -1, 96, 59 } },
	{ "a refused connect", { 0, 1, 3, -1, -1, -1, 9, 9, 10 }, { 1, 2, -1, 6, 1 } },
	{ "a bad head, answered by us", { 0, -1, -1, -1, -1, -1, 5, 5, 6 }, { -1, -1, -1, 5, 1 } },
	{ "a client that left during the upload", { 0, 1, -1, 3, -1, -1, -1, -1, 50 },
		{ 1 + 47, 2, -1, -1, -1 } },
	{ "a client that left while the backend worked", { 0, 1, -1, 3, 5, -1, -1, -1, 50 },
		{ 3, 2, -1, 45, -1 } },
	{ "a client that left in its head", { 0, -1, -1, -1, -1, -1, -1, -1, 50 }, { 50, -1, -1, -1, -1 } },
	{ "an answer before the request was sent whole", { 0, 1, -1, 3, 120, 100, 101, 150, 160 },
		{ 118, 2, -1, -1, 40 } },
};

/* Each kind of exchange shows its time in the phases where it was spent. */
static void phases_tell_where_time_went(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(exchanges); i++) {
		const struct exchange_case *c = &exchanges[i];
		struct timeline t = { 0 };
		for (int mark = 0; mark < MARK_COUNT; mark++)
			t.at[mark] = c->marks[mark] < 0 ? 0 : 1000000 + (uint64_t)c->marks[mark] * 1000;
		for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
			uint64_t ns;
			bool happened = timeline_phase_ns(&t, phase, &ns);
			int us = happened ? (int)(ns / 1000) : -1;
			if (us != c->phases[phase])
				fail_msg("%s: %s is %d instead of %d", c->what, phase_names[phase], us,
					c->phases[phase]);
		}
		assert_adds_up(&t);
	}
}

/* Absent is not zero: a span between marks that did not both happen, in order, is none. */
static void spans_need_both_marks(void **state)
{
	(void)state;
	struct timeline t = { .at = { [MARK_BEGIN] = 5, [MARK_END] = 9, [MARK_UPSTREAM] = 9 } };
	uint64_t ns;
	assert_true(timeline_between_ns(&t, MARK_BEGIN, MARK_END, &ns));
	assert_int_equal(ns, 4);
	assert_true(timeline_between_ns(&t, MARK_UPSTREAM, MARK_END, &ns));
	assert_int_equal(ns, 0);
	assert_false(timeline_between_ns(&t, MARK_BEGIN, MARK_RESPONSE_HEAD, &ns));
	assert_false(timeline_between_ns(&t, MARK_END, MARK_BEGIN, &ns));
}

static bool is_word(const char *text)
{
	return text != NULL && *text != '\0' && strspn(text, "abcdefghijklmnopqrstuvwxyz_") == strlen(text);
}

/* Every outcome, phase and capture status has a word of its own; outcomes have a sentence and a status that fits. */
static void tables_have_no_holes(void **state)
{
	(void)state;
	for (int i = 0; i < OUTCOME_COUNT; i++) {
		assert_true(is_word(outcomes[i].name));
		assert_true(outcomes[i].sentence != NULL && strlen(outcomes[i].sentence) > 10);
		assert_true(
			outcomes[i].status == 0 || (outcomes[i].status >= 400 && outcomes[i].status <= 504));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(outcomes[i].name, outcomes[j].name);
	}
	for (int i = 0; i < CAPTURE_STATUS_COUNT; i++) {
		assert_true(is_word(capture_statuses[i].name));
		assert_non_null(capture_statuses[i].advice);
		assert_true(i == CAPTURE_OK || capture_statuses[i].advice[0] != '\0');
		for (int j = 0; j < i; j++)
			assert_string_not_equal(capture_statuses[i].name, capture_statuses[j].name);
	}
	for (int i = 0; i < PHASE_COUNT; i++)
		assert_true(is_word(phase_names[i]));
}

/* Whether the record is as new: nothing of an exchange before is left anywhere a reader looks. */
static void assert_clean(const struct record *r)
{
	struct record blank;
	memset(&blank, 0, sizeof blank);
	assert_int_not_equal(r->id, 0);
	assert_int_equal(r->upstream_fd, -1);
	assert_true(r->timeline.at[MARK_BEGIN] != 0 && r->began_wall_ns != 0);
	for (int mark = MARK_BEGIN + 1; mark < MARK_COUNT; mark++)
		assert_int_equal(r->timeline.at[mark], 0);
	assert_int_equal(r->threshold_ns, 0);
	assert_string_equal(r->request_id, "");
	assert_string_equal(r->trace_id, "");
	assert_string_equal(r->span_id, "");
	assert_string_equal(r->method, "");
	assert_string_equal(r->path, "");
	assert_false(r->path_cut);
	assert_int_equal(r->status, 0);
	assert_string_equal(r->client_address, "");
	assert_string_equal(r->upstream_address, "");
	assert_false(r->upstream_reused);
	assert_int_equal(r->request_bytes, 0);
	assert_int_equal(r->response_bytes, 0);
	assert_int_equal(r->outcome, OUTCOME_OK);
	assert_string_equal(r->reason, "");
	assert_false(r->still_running);
	assert_memory_equal(&r->capture, &blank.capture, offsetof(struct capture_result, reason));
	assert_string_equal(r->capture.reason, "");
	assert_null(r->armed);
	assert_false(list_linked(&r->node));
}

/* Fills everything behind the record with bytes of another exchange. */
static void make_dirty(struct record *r)
{
	memset(r, 0xa5, sizeof *r);
	r->capture.profile = NULL;
	r->capture.others = NULL;
}

/* A record that served before starts as clean as a new one, and ids never come twice. */
static void records_are_reused_clean(void **state)
{
	(void)state;
	enum { MANY = 200 };
	struct record *records[MANY];
	uint64_t last_id = 0;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < MANY; i++) {
			records[i] = record_new(clock_now_ns());
			assert_clean(records[i]);
			assert_int_not_equal(records[i]->id, last_id);
			last_id = records[i]->id;
			for (int j = 0; j < i; j++)
				assert_ptr_not_equal(records[i], records[j]);
		}
		for (int i = 0; i < MANY; i++) {
			make_dirty(records[i]);
			record_free(records[i]);
		}
	}
}

/* The steady state of a loop allocates nothing: the record just freed is the next one. */
static void a_freed_record_is_the_next_one(void **state)
{
	(void)state;
	struct record *first = record_new(clock_now_ns());
	record_free(first);
	struct record *second = record_new(clock_now_ns());
	assert_ptr_equal(first, second);
	record_free(second);
}

static void *free_and_make(void *record)
{
	record_free(record);
	struct record *r = record_new(clock_now_ns());
	uint64_t *id = malloc(sizeof *id);
	*id = r->id;
	record_free(r);
	return id;
}

/* Another thread than its maker may free a record, and its ids are not ours. */
static void records_cross_threads(void **state)
{
	(void)state;
	pthread_t thread;
	void *id;
	struct record *r = record_new(clock_now_ns());
	uint64_t own = r->id;
	assert_int_equal(pthread_create(&thread, NULL, free_and_make, r), 0);
	assert_int_equal(pthread_join(thread, &id), 0);
	assert_int_not_equal(*(uint64_t *)id, own);
	free(id);
}

/* A report of a running request has its own copy: same id and words, no socket, no profile, no list. */
static void a_running_copy_stands_alone(void **state)
{
	(void)state;
	struct record *r = record_new(clock_now_ns());
	struct list l;
	list_init(&l);
	list_push_back(&l, &r->node);
	strcpy(r->path, "/reports/1");
	r->upstream_fd = 7;
	r->threshold_ns = 1;
	r->armed = r;
	struct record *copy = record_copy_running(r);
	assert_int_equal(copy->id, r->id);
	assert_string_equal(copy->path, "/reports/1");
	assert_true(copy->still_running);
	assert_false(r->still_running);
	assert_int_equal(copy->upstream_fd, -1);
	assert_null(copy->armed);
	assert_null(copy->capture.profile);
	assert_false(list_linked(&copy->node));
	list_remove(&r->node);
	record_free(r);
	record_free(copy);
}

/* Slow is at least the threshold, and never without one. */
static void slow_is_at_least_the_threshold(void **state)
{
	(void)state;
	struct record *r = record_new(clock_now_ns());
	r->timeline.at[MARK_END] = r->timeline.at[MARK_BEGIN] + 500;
	static const struct {
		uint64_t threshold;
		bool slow;
	} cases[] = { { 0, false }, { 499, true }, { 500, true }, { 501, false } };
	assert_int_equal(record_duration_ns(r), 500);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		r->threshold_ns = cases[i].threshold;
		assert_int_equal(record_is_slow(r), cases[i].slow);
	}
	r->timeline.at[MARK_END] = 0;
	uint64_t first = record_duration_ns(r);
	assert_true(record_duration_ns(r) >= first);
	record_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(phases_add_up_for_every_set_of_marks),
		cmocka_unit_test(phases_add_up_in_every_order),
		cmocka_unit_test(phases_add_up_at_one_instant),
		cmocka_unit_test(phases_tell_where_time_went),
		cmocka_unit_test(spans_need_both_marks),
		cmocka_unit_test(tables_have_no_holes),
		cmocka_unit_test(records_are_reused_clean),
		cmocka_unit_test(a_freed_record_is_the_next_one),
		cmocka_unit_test(records_cross_threads),
		cmocka_unit_test(a_running_copy_stands_alone),
		cmocka_unit_test(slow_is_at_least_the_threshold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
