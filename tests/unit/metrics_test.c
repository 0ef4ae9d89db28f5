/* metrics_test.c - what Prometheus is told: right sums, bounded labels, a text that is valid whatever names hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/mem.h>
#include <slowproxy/metrics.h>

/* One request, counted. */
static void request(
	struct metrics *m, uint32_t loop, const char *method, const char *route, uint16_t status, uint64_t ns)
{
	struct record r = { .status = status, .began_wall_ns = UINT64_C(1795404350123000000) };
	r.timeline.at[MARK_BEGIN] = NS_PER_S;
	r.timeline.at[MARK_END] = NS_PER_S + ns;
	snprintf(r.method, sizeof r.method, "%s", method);
	snprintf(r.route, sizeof r.route, "%s", route);
	snprintf(r.trace_id, sizeof r.trace_id, "0af7651916cd43dd8448eb211c80319c");
	snprintf(r.span_id, sizeof r.span_id, "b7ad6b7169203331");
	metrics_request(m, loop, &r);
}

static char *text_of(struct metrics *m, bool openmetrics)
{
	struct buf out = { 0 };
	struct exposition e;
	exposition_begin(&e, &out, openmetrics);
	metrics_write(m, &e);
	exposition_end(&e);
	return buf_take(&out);
}

static void assert_says(const char *text, const char *line)
{
	if (strstr(text, line) == NULL)
		fail_msg("%s\nis not in:\n%s", line, text);
}

static size_t count_of(const char *text, const char *part)
{
	size_t count = 0;
	for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
		count++;
	return count;
}

#define LABELS "{http_request_method=\"GET\",http_response_status_code=\"200\",http_route=\"/items/{id}\""

/* Requests of two loops are one histogram; a bound belongs to its bucket; count, sum and +Inf agree. */
static void loops_are_merged(void **state)
{
	(void)state;
	struct metrics *m = metrics_new(2, 10);
	request(m, 0, "GET", "/items/{id}", 200, 5 * NS_PER_MS);
	request(m, 1, "GET", "/items/{id}", 200, 5 * NS_PER_MS + 1);
	request(m, 1, "GET", "/items/{id}", 200, 20 * NS_PER_S);
	char *text = text_of(m, false);
	assert_says(text, "# TYPE http_server_request_duration_seconds histogram\n");
	assert_says(text, "_bucket" LABELS ",le=\"0.005\"} 1\n");
	assert_says(text, "_bucket" LABELS ",le=\"0.01\"} 2\n");
	assert_says(text, "_bucket" LABELS ",le=\"10.0\"} 2\n");
	assert_says(text, "_bucket" LABELS ",le=\"+Inf\"} 3\n");
	assert_says(text, "_count" LABELS "} 3\n");
	assert_says(text, "_sum" LABELS "} 20.010000001\n");
	assert_null(strstr(text, " # {"));
	assert_null(strstr(text, "# EOF"));
	free(text);
	metrics_free(m);
}

/* OpenMetrics has exemplars with the trace's id, names counters without _total in their type, and ends. */
static void openmetrics_has_exemplars(void **state)
{
	(void)state;
	struct metrics *m = metrics_new(1, 10);
	request(m, 0, "GET", "/items/{id}", 200, 2 * NS_PER_S);
	char *text = text_of(m, true);
	assert_says(text,
		"_bucket" LABELS
		",le=\"2.5\"} 1 # {trace_id=\"0af7651916cd43dd8448eb211c80319c\",span_id=\"b7ad6b7169203331\"} "
		"2.000000000 1795404352.123\n");
	assert_says(text, "# TYPE slowproxy_slow_requests counter\n");
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
	free(text);
	metrics_free(m);
}

/* 100,000 different routes, methods and statuses make no more labels and series than the bound allows, and all are counted. */
static void labels_are_bounded(void **state)
{
	(void)state;
	enum { ROUTES = 50, REQUESTS = 100000 };
	struct metrics *m = metrics_new(1, ROUTES);
	for (int i = 0; i < REQUESTS; i++) {
		char route[64], method[32];
		snprintf(route, sizeof route, "/random/%d", i);
		snprintf(method, sizeof method, "M%d", i);
		request(m, 0, i % 2 ? method : "GET", route, (uint16_t)(200 + i % 400), NS_PER_MS);
	}
	char *text = text_of(m, false);
	size_t series = count_of(text, "http_server_request_duration_seconds_count{");
	assert_true(series <= ROUTES * 16 + 64);
	uint64_t sum = 0;
	bool other = false;
	char name[80];
	for (const char *at = text; (at = strstr(at, "_count{")) != NULL; at++) {
		sum += strtoull(strchr(at, '}') + 2, NULL, 10);
		other |= strncmp(strchr(at, '}') - 6, "other\"", 6) == 0;
	}
	assert_int_equal(sum, REQUESTS);
	assert_true(other);
	snprintf(name, sizeof name, "slowproxy_route_labels %d\n", ROUTES);
	assert_says(text, name);
	free(text);
	metrics_free(m);
}

/* Bytes of a route that would end a label, a line or be no UTF-8 do not break the text. */
static void names_are_escaped(void **state)
{
	(void)state;
	struct metrics *m = metrics_new(1, 10);
	request(m, 0, "GET",
		"/a\"b\\c\nd\xff"
		"e",
		200, NS_PER_MS);
	char *text = text_of(m, false);
	assert_says(text, "http_route=\"/a\\\"b\\\\c\\nd\xef\xbf\xbd"
			  "e\"");
	free(text);
	metrics_free(m);
}

/* Slow lines are counted by route and cause, captures by status, held loops by worker. */
static void slow_ones_are_counted(void **state)
{
	(void)state;
	struct metrics *m = metrics_new(1, 10);
	struct record r = { .capture.status = CAPTURE_OK };
	snprintf(r.route, sizeof r.route, "/report");
	metrics_slow(m, &r, "cpu");
	metrics_slow(m, &r, "cpu");
	metrics_slow(m, &r, "await");
	metrics_loop_blocked(m, 4711, 1500 * NS_PER_MS);
	metrics_loop_blocked(m, 4711, 500 * NS_PER_MS);
	for (int32_t pid = 1; pid < 1000; pid++)
		metrics_loop_blocked(m, pid, 1);
	char *text = text_of(m, false);
	assert_says(text, "slowproxy_slow_requests_total{http_route=\"/report\",cause=\"cpu\"} 2\n");
	assert_says(text, "slowproxy_slow_requests_total{http_route=\"/report\",cause=\"await\"} 1\n");
	assert_says(text, "slowproxy_captures_total{status=\"ok\"} 3\n");
	assert_says(text, "slowproxy_event_loop_blocked_seconds_total{worker=\"4711\"} 2.000000000\n");
	assert_true(count_of(text, "slowproxy_event_loop_blocked_seconds_total{") <= 64);
	free(text);
	metrics_free(m);
}

struct counting {
	struct metrics *m;
	uint32_t loop;
};

enum { EACH = 20000 };

static void *count_many(void *context)
{
	const struct counting *c = context;
	for (int i = 0; i < EACH; i++) {
		char route[32];
		snprintf(route, sizeof route, "/r/%d", i % 40);
		request(c->m, c->loop, "GET", route, 200, NS_PER_MS * (uint64_t)(i % 50));
	}
	return NULL;
}

/* Loops count while others scrape; nothing is lost. (With ThreadSanitizer: and nothing is a race.) */
static void loops_count_while_others_read(void **state)
{
	(void)state;
	struct metrics *m = metrics_new(2, 20);
	pthread_t threads[2];
	struct counting c[2] = { { m, 0 }, { m, 1 } };
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_many, &c[i]), 0);
	for (int i = 0; i < 20; i++)
		free(text_of(m, true));
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	char *text = text_of(m, false);
	uint64_t sum = 0;
	for (const char *at = text; (at = strstr(at, "_seconds_count{")) != NULL; at++)
		sum += strtoull(strstr(at, "\"} ") + 3, NULL, 10);
	assert_int_equal(sum, 2 * EACH);
	free(text);
	metrics_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loops_are_merged),
		cmocka_unit_test(openmetrics_has_exemplars),
		cmocka_unit_test(labels_are_bounded),
		cmocka_unit_test(names_are_escaped),
		cmocka_unit_test(slow_ones_are_counted),
		cmocka_unit_test(loops_count_while_others_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
