/* push_test.c - what the push room promises of its queue; what arrives is proven in tests/functional/test_push.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/push.h>

#include "body.h"

static struct config config_make(const char *url)
{
	struct config_push off = { .url = "",
		.tenant = "",
		.user = "",
		.password = "",
		.password_file = "",
		.ca_file = "",
		.queue_bytes = 64 << 10 };
	struct config c = { .service = "web", .logs.loki = off, .capture.pyroscope = off };
	c.logs.loki.url = url;
	return c;
}

/* An address where nobody listens: bound, so that nobody else can. */
static int address_of_nobody(char url[64])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(url, 64, "http://127.0.0.1:%d", ntohs(a.sin_port));
	return fd;
}

enum { PRODUCERS = 2, LINES_EACH = 3000 };

static void *produce(void *push)
{
	static const char line[] = "{\"event\":\"request\",\"url_path\":\"/items/42\",\"duration_ms\":1.234}";
	const struct push_pair pairs[] = { { "trace_id", "0af7" }, { "span_id", NULL } };
	for (uint64_t i = 0; i < LINES_EACH; i++)
		push_put(push, PUSH_LOKI,
			&(struct push_item){ i, pairs, ARRAY_LEN(pairs), line, sizeof line - 1 });
	return NULL;
}

static void forget(void *context, const char *line, size_t len)
{
	(void)context, (void)line, (void)len;
}

/* "Nobody is there: producers never wait, the queue keeps its bound, every line is counted, and the end comes in time." */
static void nobody_waits_for_a_place_that_is_gone(void **state)
{
	(void)state;
	char url[64];
	int fd = address_of_nobody(url);
	struct config c = config_make(url);
	struct push *p = push_new(&c);
	if (p == NULL) {
		print_message("SKIPPED: libcurl is not here\n");
		close(fd);
		skip();
	}
	assert_true(push_wants(p, PUSH_LOKI));
	assert_false(push_wants(p, PUSH_PYROSCOPE));
	push_start(p);
	pthread_t threads[PRODUCERS];
	for (size_t i = 0; i < PRODUCERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, produce, p), 0);
	for (size_t i = 0; i < PRODUCERS; i++)
		pthread_join(threads[i], NULL);

	struct push_counts n;
	uint64_t until = clock_now_ns() + 20 * NS_PER_S;
	do {
		usleep(1000);
		push_count(p, PUSH_LOKI, &n);
		assert_true(n.waiting_bytes <= c.logs.loki.queue_bytes);
	} while (n.failures == 0 && clock_now_ns() < until);
	assert_true(n.failures > 0);
	assert_int_equal(n.sent + n.rejected, 0);
	assert_true(n.dropped > 0);
	assert_int_equal(n.dropped + n.waiting, PRODUCERS * LINES_EACH);

	push_put(p, PUSH_PYROSCOPE,
		&(struct push_item){ .bytes = "x", .len = 1 }); /* not wanted: nothing happens */
	uint64_t before = clock_now_ns();
	push_free(p, 200 * NS_PER_MS);
	assert_true(clock_now_ns() - before < 5 * NS_PER_S);
	close(fd);
}

/* "Without a URL there is no push, no thread and no library." */
static void nothing_is_made_without_a_url(void **state)
{
	(void)state;
	struct config c = config_make("");
	assert_null(push_new(&c));
	assert_false(push_wants(NULL, PUSH_LOKI));
	push_put(NULL, PUSH_LOKI, &(struct push_item){ 0 });
	push_free(NULL, 0);
}

/* "The bodies are what Loki and Pyroscope read." */
static void bodies_have_their_form(void **state)
{
	(void)state;
	static const char *labels[] = { "env=prod\"" };
	struct config c = config_make("");
	const struct push_pair pairs[] = { { "trace_id", "0af7" }, { "span_id", "" },
		{ "http_route", NULL } };
	struct buf loki = { 0 }, pyroscope = { 0 };
	c.logs.loki.labels = c.capture.pyroscope.labels = (struct config_strings){ labels, 1 };

	struct push_item item = { 1795332234123456789, pairs, ARRAY_LEN(pairs), "{\"a\":\"b\"}", 9 };
	body_begin_loki(&loki, &c);
	body_add_loki(&loki, &c, &item);
	buf_add_str(&loki, body_end_loki);
	assert_string_equal(loki.data,
		"{\"streams\":[{\"stream\":{\"service_name\":\"web\",\"env\":\"prod\\\"\"},\"values\":["
		"[\"1795332234123456789\",\"{\\\"a\\\":\\\"b\\\"}\",{\"trace_id\":\"0af7\"}]]}]}");

	for (size_t len = 1; len <= 4; len++) { /* base64 of each rest */
		static const char *const coded[] = { "", "/w==", "//4=", "//79", "//79/A==" };
		buf_reset(&pyroscope);
		item = (struct push_item){ .bytes = "\xff\xfe\xfd\xfc", .len = len };
		body_begin_pyroscope(&pyroscope, &c);
		body_add_pyroscope(&pyroscope, &c, &item);
		buf_add_str(&pyroscope, body_end_pyroscope);
		char expected[400];
		snprintf(expected, sizeof expected,
			"{\"series\":[{\"labels\":[{\"name\":\"__name__\",\"value\":\"wall\"},{\"name\":\"service_name\","
			"\"value\":\"web\"},{\"name\":\"env\",\"value\":\"prod\\\"\"}],\"samples\":[{\"rawProfile\":\"%s\"}]}]}",
			coded[len]);
		assert_string_equal(pyroscope.data, expected);
	}
	buf_clear(&loki);
	buf_clear(&pyroscope);
}

int main(void)
{
	log_setup(&(struct log_settings){ .level = LOG_ERROR, .role = "test", .sink = forget });
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_waits_for_a_place_that_is_gone),
		cmocka_unit_test(nothing_is_made_without_a_url),
		cmocka_unit_test(bodies_have_their_form),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
