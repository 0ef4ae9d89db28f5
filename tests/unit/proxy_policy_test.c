/* proxy_policy_test.c - what the user may decide: who is believed, what is passed, how long and how much. */
#include "proxy_rig.h"

/* --- PROXY protocol --- */

/* The head that the backend gets of one request, after these first bytes of the connection. */
static const char *head_behind(struct rig *rig, const void *preamble, size_t len, const char *client_address)
{
	int client = client_connect(rig);
	send_bytes(client, preamble, len);
	send_text(client, GET_SLASH);
	int backend = backend_accept(rig);
	static char copy[4096];
	str_copy(copy, sizeof copy, message, strlen(read_head(backend)));
	send_text(backend, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	read_head(client);
	close(backend);
	close(client);
	struct record *r = rig_record(rig);
	assert_string_equal(r->client_address, client_address);
	record_free(r);
	return copy;
}

/* A trusted balancer's PROXY header names the client, in the log and to the application; LOCAL and UNKNOWN leave its own address. */
static void test_proxy_header_names_the_client(void **state)
{
	static const char local[] = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
	static const char v2[] =
		"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x09\x7f\0\0\x01\0\x50\0\x51\x04\0\0";
	struct rig *rig = rig_new((const char *const[]){ "proxy_protocol", "true", NULL });
	const char *v1 = "PROXY TCP4 203.0.113.9 127.0.0.1 4000 80\r\n";
	(void)state;
	expect_contains(
		head_behind(rig, v1, strlen(v1), "203.0.113.9"), "\r\nX-Forwarded-For: 203.0.113.9\r\n");
	expect_contains(
		head_behind(rig, v2, sizeof v2 - 1, "192.0.2.9"), "\r\nX-Forwarded-For: 192.0.2.9\r\n");
	expect_contains(
		head_behind(rig, local, sizeof local - 1, "127.0.0.1"), "\r\nX-Forwarded-For: 127.0.0.1\r\n");
	expect_contains(
		head_behind(rig, "PROXY UNKNOWN\r\n", 15, "127.0.0.1"), "\r\nX-Forwarded-For: 127.0.0.1\r\n");
	/* The client behind the balancer is nobody to believe. */
	const char *liar =
		"PROXY TCP4 203.0.113.9 127.0.0.1 4000 80\r\nGET /x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 8.8.8.8\r\n\r\n";
	int client = client_connect(rig);
	for (const char *p = liar; *p != '\0'; p++)
		send_bytes(client, p, 1);
	int backend = backend_accept(rig);
	expect_lacks(read_head(backend), "8.8.8.8");
	close(client);
	close(backend);
	rig_expect_outcome(rig, OUTCOME_CLIENT_ABORT);
	rig_wait_at_rest(rig, 0);
	rig_free(rig);
}

/* Without its header a balancer's connection is closed, and nobody else may send one. */
static void test_proxy_header_is_asked_of_the_trusted_alone(void **state)
{
	struct rig *rig = rig_new((const char *const[]){ "proxy_protocol", "true", NULL });
	int client = client_connect(rig);
	(void)state;
	send_text(client, GET_SLASH);
	expect_closed(client);
	close(client);
	client = client_connect(rig);
	send_text(client, "PROXY TCP4 1.2.3.4 1.2.3.4 99999 1\r\n" GET_SLASH);
	expect_closed(client);
	close(client);
	assert_int_equal(rig_counters(rig).outcomes[OUTCOME_BAD_REQUEST], 2);
	rig_free(rig);

	rig = rig_new(
		(const char *const[]){ "proxy_protocol", "true", "trusted_proxies", "10.0.0.0/8", NULL });
	client = client_connect(rig);
	send_text(client, "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n" GET_SLASH);
	expect_contains(read_until(client, NULL), "HTTP/1.1 400 ");
	close(client);
	assert_string_not_equal(head_behind(rig, "", 0, "127.0.0.1"), "");
	assert_false(backend_has_connection(rig));
	rig_free(rig);
}

/* --- headers --- */

static void expect_request_head(
	const char *const *flags, const char *headers, const char *expected, const char *lacked)
{
	struct rig *rig = rig_new(flags);
	int client = client_connect(rig);
	send_text(client, "GET / HTTP/1.1\r\n");
	send_text(client, headers);
	send_text(client, "\r\n");
	int backend = backend_accept(rig);
	const char *head = read_head(backend);
	expect_contains(head, expected);
	if (lacked != NULL)
		expect_lacks(head, lacked);
	close(client);
	close(backend);
	rig_expect_outcome(rig, OUTCOME_CLIENT_ABORT);
	rig_free(rig);
}

/* X-Forwarded-Port is the one that the client means; a trusted proxy's word stands. */
static void test_forwarded_port(void **state)
{
	const char *const nobody[] = { "trusted_proxies", "10.0.0.0/8", NULL };
	const char *const off[] = { "forward.port", "false", NULL };
	(void)state;
	expect_request_head(NULL, "Host: a\r\n", "\r\nX-Forwarded-Port: 80\r\n", NULL);
	expect_request_head(NULL, "Host: a:8080\r\n", "\r\nX-Forwarded-Port: 8080\r\n", NULL);
	expect_request_head(NULL, "Host: [::1]\r\n", "\r\nX-Forwarded-Port: 80\r\n", NULL);
	expect_request_head(NULL, "Host: [::1]:81\r\n", "\r\nX-Forwarded-Port: 81\r\n", NULL);
	expect_request_head(
		NULL, "Host: a\r\nX-Forwarded-Proto: https\r\n", "\r\nX-Forwarded-Port: 443\r\n", NULL);
	expect_request_head(
		NULL, "Host: a\r\nX-Forwarded-Host: b:82\r\n", "\r\nX-Forwarded-Port: 82\r\n", NULL);
	expect_request_head(
		NULL, "Host: a\r\nX-Forwarded-Port: 83\r\n", "\r\nX-Forwarded-Port: 83\r\n", "Port: 80");
	expect_request_head(
		nobody, "Host: a\r\nX-Forwarded-Port: 83\r\n", "\r\nX-Forwarded-Port: 80\r\n", "Port: 83");
	expect_request_head(off, "Host: a\r\n", "Host: a\r\n", "X-Forwarded-Port");
}

/* underscore_headers: left out, passed, or refused. */
static void test_underscores(void **state)
{
	const char *headers = "Host: a\r\nX_Real_IP: 1.2.3.4\r\nX-Other: b_c\r\n";
	const char *const pass[] = { "underscore_headers", "pass", NULL };
	const char *const refuse[] = { "underscore_headers", "refuse", NULL };
	(void)state;
	expect_request_head(NULL, headers, "X-Other: b_c\r\n", "X_Real_IP");
	expect_request_head(pass, headers, "X_Real_IP: 1.2.3.4\r\n", NULL);
	expect_request_head(refuse, "Host: a\r\nX-Other: b_c\r\n", "X-Other: b_c\r\n", NULL);
	struct rig *rig = rig_new(refuse);
	int client = client_connect(rig);
	send_text(client, "GET / HTTP/1.1\r\nHost: a\r\nX_Real_IP: 1.2.3.4\r\n\r\n");
	expect_contains(read_until(client, NULL), "HTTP/1.1 400 ");
	assert_false(backend_has_connection(rig));
	close(client);
	rig_free(rig);
}

/* --- clients that leave --- */

/* client_abort: keep: what was sent whole is finished, and the backend's connection is used again. */
static void test_kept_after_the_client_has_gone(void **state)
{
	struct rig *rig = rig_new((const char *const[]){ "client_abort", "keep", NULL });
	(void)state;
	for (int reset = 0; reset < 2; reset++) {
		int client = client_connect(rig);
		send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
		int backend = backend_accept(rig);
		read_until(backend, "abc");
		if (reset)
			close_with_reset(client);
		else
			close(client);
		/* More than one write: the first may be taken by a kernel that does not know yet. */
		send_text(backend, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
		for (int i = 0; i < 64; i++) {
			static char chunk[16384 + 8] = "4000\r\n";
			memset(chunk + 6, 'x', 16384);
			memcpy(chunk + 6 + 16384, "\r\n", 2);
			send_bytes(backend, chunk, sizeof chunk);
		}
		send_text(backend, "0\r\n\r\n");
		rig_expect_outcome(rig, OUTCOME_CLIENT_ABORT);
		rig_wait_at_rest(rig, 0);
		client = client_connect(rig);
		send_text(client, GET_SLASH);
		read_head(backend); /* the same connection */
		assert_false(backend_has_connection(rig));
		send_text(backend, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
		read_head(client);
		rig_expect_outcome(rig, OUTCOME_OK);
		close(client);
		close(backend);
	}
	rig_free(rig);
}

/* And a client that has only said all it wants to say gets its answer. */
static void test_half_closed_client_is_answered(void **state)
{
	struct rig *rig = rig_new((const char *const[]){ "client_abort", "keep", NULL });
	int client = client_connect(rig);
	(void)state;
	send_text(client, GET_SLASH);
	shutdown(client, SHUT_WR);
	int backend = backend_accept(rig);
	read_head(backend);
	send_text(backend, OK_HELLO);
	expect_contains(read_until(client, NULL), "hello");
	rig_expect_outcome(rig, OUTCOME_OK);
	close(client);
	/* Half a request is not kept: nobody could finish it. */
	client = client_connect(rig);
	send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
	read_until(backend, "\r\n\r\na");
	close(client);
	expect_closed(backend);
	rig_expect_outcome(rig, OUTCOME_CLIENT_ABORT);
	close(backend);
	rig_free(rig);
}

/* --- times --- */

/* timeouts.body: an upload that stands still is answered with 408, while one that the backend does not take is not the client's. */
static void test_body_timeout(void **state)
{
	struct rig *rig = rig_new(
		(const char *const[]){ "timeouts.body", "100ms", "timeouts.response", "400ms", NULL });
	int client = client_connect(rig);
	(void)state;
	send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
	int backend = backend_accept(rig);
	expect_contains(read_until(client, NULL), "HTTP/1.1 408 ");
	rig_expect_outcome(rig, OUTCOME_CLIENT_TIMEOUT);
	close(client);
	close(backend);
	client = client_connect(rig);
	send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
	backend = backend_accept(rig);
	expect_contains(read_head(client), "HTTP/1.1 504 ");
	rig_expect_outcome(rig, OUTCOME_TIMEOUT_RESPONSE);
	close(client);
	close(backend);
	rig_free(rig);
}

/* timeouts.tunnel: a tunnel that is silent both ways is closed; timeouts.stream_idle is not for tunnels. */
static void test_tunnel_timeout(void **state)
{
	struct rig *rig = rig_new(
		(const char *const[]){ "timeouts.tunnel", "300ms", "timeouts.stream_idle", "50ms", NULL });
	int client = client_connect(rig);
	(void)state;
	send_text(client, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	int backend = backend_accept(rig);
	read_head(backend);
	send_text(backend,
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	read_head(client);
	uint64_t began_ns = clock_now_ns();
	expect_closed(client);
	assert_true(clock_now_ns() - began_ns > 200 * NS_PER_MS);
	struct record *r = rig_record(rig);
	assert_int_equal(r->outcome, OUTCOME_TIMEOUT_STREAM);
	expect_contains(r->reason, "timeouts.tunnel");
	record_free(r);
	close(client);
	close(backend);
	rig_free(rig);
}

/* --- limits --- */

/* limits.request_line_bytes: to the byte, whole and before its end has come. */
static void test_request_line(void **state)
{
	char line[700];
	(void)state;
	for (size_t over = 0; over < 2; over++) {
		struct rig *rig = rig_new((const char *const[]){ "limits.request_line_bytes", "512B", NULL });
		int client = client_connect(rig);
		size_t path = 512 + over - strlen("GET / HTTP/1.1");
		snprintf(line, sizeof line, "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", (int)path, 0);
		send_text(client, line);
		if (over == 0) {
			int backend = backend_accept(rig);
			read_head(backend);
			close(backend);
		} else {
			expect_contains(read_until(client, NULL), "HTTP/1.1 414 ");
		}
		close(client);
		if (over == 1) {
			client = client_connect(rig);
			snprintf(line, sizeof line, "GET /%0*d", 600, 0);
			send_text(client, line);
			expect_contains(read_until(client, NULL), "HTTP/1.1 414 ");
			close(client);
		}
		rig_free(rig);
	}
}

/* Slow heads hold no slot against others: the newcomer gets that of the one who has made the least of his. */
static void test_slots_are_fair(void **state)
{
	struct rig *rig =
		rig_new((const char *const[]){ "limits.connections", "3", "timeouts.header", "60s", NULL });
	int busy = client_connect(rig), slow = client_connect(rig), silent = client_connect(rig);
	(void)state;
	send_text(slow, "GET / HT");
	send_text(busy, GET_SLASH);
	int backend = backend_accept(rig);
	read_head(backend);
	int newcomers[2];
	struct timespec second = { .tv_sec = 1, .tv_nsec = 50000000 };
	nanosleep(&second, NULL); /* the time that everybody has */
	for (int i = 0; i < 2; i++) {
		int newcomer = client_connect(rig);
		send_text(newcomer, GET_SLASH);
		int other = backend_accept(rig);
		read_head(other);
		send_text(other, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
		close(other);
		expect_contains(read_head(newcomer), "200 OK");
		rig_expect_outcome(rig, OUTCOME_OK);
		newcomers[i] = newcomer;
	}
	expect_closed(slow);
	expect_closed(silent);
	send_text(backend, OK_EMPTY);
	expect_contains(read_head(busy), "200 OK");
	close(busy);
	close(slow);
	close(silent);
	close(newcomers[0]);
	close(newcomers[1]);
	close(backend);
	rig_free(rig);
}

/* A request refused on its head is told of: status, outcome, why, the time it took, and method and path if its first line says them. */
static void test_refusals_are_told(void **state)
{
	static const struct {
		const char *sent, *method, *path, *reason;
		enum outcome outcome;
		uint16_t status;
	} rows[] = {
		{ "\r\nGET /a?b HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET", "/a", "the Host header",
			OUTCOME_BAD_REQUEST, 400 },
		{ "POST /u HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", "POST", "/u",
			"limits.body_bytes", OUTCOME_TOO_LARGE, 413 },
		{ "GET /h HTTP/1.1\r\nHost: a\r\nb_c: d\r\n\r\n", "GET", "/h", "underscore",
			OUTCOME_BAD_REQUEST, 400 },
		{ "GET / HTTP/2.0\r\n\r\n", "", "", "only HTTP/1.0 and", OUTCOME_BAD_REQUEST, 505 },
		{ "\x16\x03\x01", "", "", "control byte", OUTCOME_BAD_REQUEST, 400 },
		{ "PUT /slow HTTP/1.0\r\nHo", "PUT", "/slow", "did not arrive in time",
			OUTCOME_CLIENT_TIMEOUT, 408 },
		{ "GET /cut", "", "", "did not arrive in time", OUTCOME_CLIENT_TIMEOUT, 408 },
	};
	struct rig *rig = rig_new((const char *const[]){ "limits.body_bytes", "10B", "timeouts.header",
		"50ms", "underscore_headers", "refuse", NULL });
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int client = client_connect(rig);
		uint64_t ns;
		send_text(client, rows[i].sent);
		read_until(client, NULL);
		struct record *r = rig_record_of(rig, &rig->refusals);
		expect_contains(message, r->request_id);
		expect_contains(r->reason, rows[i].reason);
		assert_string_equal(r->method, rows[i].method);
		assert_string_equal(r->path, rows[i].path);
		assert_string_equal(r->client_address, "127.0.0.1");
		assert_int_equal(r->outcome, rows[i].outcome);
		assert_int_equal(r->status, rows[i].status);
		assert_true(
			timeline_phase_ns(&r->timeline, PHASE_UPLOAD, &ns) && ns == record_duration_ns(r));
		assert_true(r->status != 408 || ns >= 50 * NS_PER_MS);
		assert_true(rig_counters(rig).outcomes[r->outcome] > 0);
		record_free(r);
		close(client);
	}
	assert_int_equal(rig->began, 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_proxy_header_names_the_client),
		cmocka_unit_test(test_proxy_header_is_asked_of_the_trusted_alone),
		cmocka_unit_test(test_forwarded_port),
		cmocka_unit_test(test_underscores),
		cmocka_unit_test(test_kept_after_the_client_has_gone),
		cmocka_unit_test(test_half_closed_client_is_answered),
		cmocka_unit_test(test_body_timeout),
		cmocka_unit_test(test_tunnel_timeout),
		cmocka_unit_test(test_request_line),
		cmocka_unit_test(test_refusals_are_told),
		cmocka_unit_test(test_slots_are_fair),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
