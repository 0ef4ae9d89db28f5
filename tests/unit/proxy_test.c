/* proxy_test.c - proves what proxy.h promises, with real sockets: the test is the client and the backend (proxy_rig.h). */
#include "proxy_rig.h"

/* --- one exchange --- */

/* A request and its answer pass; what the proxy adds is there; the record says what happened. */
static void test_get(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	send_text(client,
		"GET /a/b?q=1 HTTP/1.1\r\nHost: example.org\r\nX-ODD-Case: Yes\r\nX_Under: no\r\n\r\n");
	int backend = backend_accept(rig);
	const char *head = read_head(backend);
	expect_contains(head, "GET /a/b?q=1 HTTP/1.1\r\nHost: example.org\r\nX-ODD-Case: Yes\r\n");
	expect_contains(head, "X-Forwarded-For: 127.0.0.1\r\n");
	expect_contains(head, "X-Forwarded-Proto: http\r\n");
	expect_contains(head, "X-Forwarded-Host: example.org\r\n");
	expect_contains(head, "X-Request-ID: ");
	expect_contains(head, "traceparent: 00-");
	expect_lacks(head, "X_Under");
	send_text(backend, "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-Response-Time: 99\r\n\r\nhello");
	head = read_head(client);
	expect_contains(head, "HTTP/1.1 200 Fine\r\n");
	expect_contains(head, "X-Response-Time: ");
	expect_lacks(head, "99\r\n");
	expect_contains(head, "X-Request-ID: ");
	expect_bytes(client, "hello");

	struct record *r = rig_record(rig);
	assert_int_equal(r->outcome, OUTCOME_OK);
	assert_int_equal(r->status, 200);
	assert_string_equal(r->method, "GET");
	assert_string_equal(r->path, "/a/b");
	assert_string_equal(r->client_address, "127.0.0.1");
	assert_int_equal(r->response_bytes, 5);
	assert_int_equal(r->upstream_fd, -1);
	assert_int_equal(strlen(r->trace_id), 32);
	assert_int_equal(r->threshold_ns, rig->config->slow.threshold_ns);
	uint64_t sum = 0, ns;
	for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
		if (timeline_phase_ns(&r->timeline, phase, &ns))
			sum += ns;
	assert_int_equal(sum, record_duration_ns(r));
	for (enum mark mark = 0; mark < MARK_COUNT; mark++)
		assert_true(r->timeline.at[mark] != 0);
	record_free(r);
	close(client);
	close(backend);
	rig_wait_at_rest(rig, 0);
	rig_free(rig);
}

/* The client's own ids go on: X-Forwarded-For is appended to, X-Request-ID kept and echoed, the trace continued. */
static void test_ids_go_on(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	send_text(client,
		"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n"
		"X-Forwarded-Proto: https\r\nX-Request-ID: mine-1\r\ntracestate: v=1\r\n"
		"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n\r\n");
	int backend = backend_accept(rig);
	const char *head = read_head(backend);
	expect_contains(head, "X-Forwarded-For: 10.0.0.1, 10.0.0.2, 127.0.0.1\r\n");
	expect_contains(head, "X-Forwarded-Proto: https\r\n");
	expect_contains(head, "X-Request-ID: mine-1\r\n");
	expect_contains(head, "traceparent: 00-0af7651916cd43dd8448eb211c80319c-");
	expect_contains(head, "tracestate: v=1\r\n");
	expect_lacks(head, "b7ad6b7169203331");
	send_text(backend, OK_EMPTY);
	expect_contains(read_head(client), "X-Request-ID: mine-1\r\n");
	struct record *r = rig_record(rig);
	assert_string_equal(r->trace_id, "0af7651916cd43dd8448eb211c80319c");
	record_free(r);
	close(client);
	close(backend);
	rig_free(rig);
}

/* With two traceparents a new trace begins, and the tracestate of the old ones ends. */
static void test_two_traceparents_are_none(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	send_text(client, "GET / HTTP/1.1\r\nHost: a\r\ntracestate: v=1\r\n"
			  "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
			  "traceparent: 00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n");
	int backend = backend_accept(rig);
	const char *head = read_head(backend);
	expect_contains(head, "traceparent: 00-");
	expect_lacks(head, "af7651916cd43dd8448eb211c80319c");
	expect_lacks(head, "tracestate");
	send_text(backend, OK_EMPTY);
	read_head(client);
	record_free(rig_record(rig));
	close(client);
	close(backend);
	rig_free(rig);
}

/* One request through a proxy that trusts `trusted`: what it says of the client, what the backend gets, whom the record names. */
static void expect_client(const char *trusted, bool unix_front, const char *sent, const char *forwarded_for,
	const char *other, bool other_passes, const char *client_address)
{
	const char *flags[] = { "trusted_proxies", trusted, NULL };
	struct rig *rig = rig_new_with(unix_front, false, flags);
	int client = client_connect(rig);
	send_text(client, "GET / HTTP/1.1\r\nHost: a\r\n");
	send_text(client, sent);
	send_text(client, "\r\n");
	int backend = backend_accept(rig);
	const char *head = read_head(backend);
	if (forwarded_for != NULL)
		expect_contains(head, forwarded_for);
	else
		expect_lacks(head, "X-Forwarded-For");
	expect_contains(head, "X-Forwarded-Proto: ");
	(other_passes ? expect_contains : expect_lacks)(head, other);
	send_text(backend, OK_EMPTY);
	read_head(client);
	struct record *r = rig_record(rig);
	assert_string_equal(r->client_address, client_address);
	record_free(r);
	close(client);
	close(backend);
	rig_free(rig);
}

/* What a trusted proxy says of the client is passed on and names the client; what anybody else says of itself is not. */
static void test_trusted_proxies(void **state)
{
	const char *chain = "X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.2\r\nForwarded: for=6.6.6.6\r\n"
			    "X-Forwarded-Proto: https\r\nx-forwarded-ssl: on\r\n";
	(void)state;
	expect_client("127.0.0.0/8,10.0.0.0/8", false, chain,
		"\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.2, 127.0.0.1\r\n",
		"x-forwarded-ssl: on\r\n", true, "203.0.113.7");
	expect_client("127.0.0.1", false, chain,
		"\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.2, 127.0.0.1\r\n",
		"Forwarded: for=6.6.6.6\r\n", true, "10.0.0.2");
	expect_client("0.0.0.0/0", false, chain, ", 10.0.0.2, 127.0.0.1\r\n", "X-Forwarded-Proto: https\r\n",
		true, "6.6.6.6");
	expect_client("10.0.0.0/8", false, chain, "\r\nX-Forwarded-For: 127.0.0.1\r\n", "6.6.6.6", false,
		"127.0.0.1");
	expect_client("10.0.0.0/8", false, chain, "\r\nX-Forwarded-Proto: http\r\n", "x-forwarded-ssl", false,
		"127.0.0.1");
	expect_client("127.0.0.1", false, "X-Forwarded-For: 8.8.8.8, unknown\r\n",
		"\r\nX-Forwarded-For: 8.8.8.8, unknown, 127.0.0.1\r\n", "https", false, "127.0.0.1");
	expect_client("127.0.0.1", false, "X-Forwarded-For: [2001:db8::1]:99\r\n",
		"\r\nX-Forwarded-For: [2001:db8::1]:99, 127.0.0.1\r\n", "https", false, "2001:db8::1");
	expect_client("unix:", true, chain, "\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.2\r\n",
		"x-forwarded-ssl: on\r\n", true, "10.0.0.2");
	expect_client("127.0.0.1", true, chain, NULL, "6.6.6.6", false, "");
}

/* forward.*: Forwarded and Via are written when asked for, behind those of a trusted proxy. */
static void test_forwarded_and_via(void **state)
{
	const char *flags[] = { "forward.forwarded", "true", "forward.via", "true", NULL };
	struct rig *rig = rig_new(flags);
	int client = client_connect(rig);
	(void)state;
	send_text(client, "GET / HTTP/1.1\r\nHost: a:81\r\nVia: 1.0 x\r\nForwarded: for=9.9.9.9\r\n\r\n");
	int backend = backend_accept(rig);
	const char *head = read_head(backend);
	expect_contains(head, "Via: 1.0 x\r\nForwarded: for=9.9.9.9\r\n");
	expect_contains(head, "Forwarded: for=127.0.0.1;host=\"a:81\";proto=http\r\nVia: 1.1 slowproxy\r\n");
	send_text(backend, OK_EMPTY);
	read_head(client);
	close(client);
	close(backend);
	rig_free(rig);
}

/* response_time.*: another name, milliseconds, kept when the backend has one, Server-Timing, or nothing at all. */
static void test_response_time_settings(void **state)
{
	static const struct {
		const char *flags[9];
		const char *contains, *lacks;
	} rows[] = {
		{ { "response_time.header", "X-Took", "response_time.unit", "ms", "response_time.digits",
			  "1" },
			"X-Took: ", "X-Response-Time: 0." },
		{ { "response_time.existing", "keep" }, "X-Response-Time: 7\r\n", "X-Response-Time: 0." },
		{ { "response_time.existing", "append" }, "X-Response-Time: 0.", "never" },
		{ { "response_time.server_timing", "true" },
			"Server-Timing: upload;dur=", "X-Response-Time: 7" },
		{ { "response_time.header", "" }, "X-Response-Time: 7\r\n", "X-Response-Time: 0." },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct rig *rig = rig_new(rows[i].flags);
		int client = client_connect(rig);
		send_text(client, GET_SLASH);
		int backend = backend_accept(rig);
		read_head(backend);
		send_text(backend, "HTTP/1.1 200 OK\r\nX-Response-Time: 7\r\nContent-Length: 0\r\n\r\n");
		const char *head = read_head(client);
		expect_contains(head, rows[i].contains);
		expect_lacks(head, rows[i].lacks);
		close(client);
		close(backend);
		rig_free(rig);
	}
}

/* --- time --- */

/* X-Response-Time and the record lie between what the backend took and what the client saw. */
static void test_response_time_is_true(void **state)
{
	struct rig *rig = rig_new((const char *const[]){ "response_time.digits", "6", NULL });
	int client = client_connect(rig);
	(void)state;
	uint64_t client_began_ns = clock_now_ns();
	send_text(client, GET_SLASH);
	int backend = backend_accept(rig);
	read_head(backend);
	uint64_t backend_began_ns = clock_now_ns();
	poll(NULL, 0, 40); /* the time that is measured */
	uint64_t backend_took_ns = clock_now_ns() - backend_began_ns;
	send_text(backend, OK_EMPTY);
	const char *head = read_head(client);
	uint64_t client_saw_ns = clock_now_ns() - client_began_ns;

	uint64_t said_ns = (uint64_t)(strtod(strstr(head, "X-Response-Time: ") + 17, NULL) * 1e9);
	assert_in_range(said_ns, backend_took_ns - 1000, client_saw_ns + 1000);
	struct record *r = rig_record(rig);
	assert_in_range(record_duration_ns(r), backend_took_ns, UINT64_MAX);
	uint64_t app_ns;
	assert_true(timeline_phase_ns(&r->timeline, PHASE_APP, &app_ns));
	assert_in_range(app_ns, backend_took_ns, client_saw_ns);
	record_free(r);
	close(client);
	close(backend);
	rig_free(rig);
}

/* --- connections --- */

/* Ten requests of one client travel over one connection to the backend, and over unix sockets just as well. */
static void test_keep_alive_reuse(void **state)
{
	(void)state;
	for (int is_unix = 0; is_unix < 2; is_unix++) {
		struct rig *rig = rig_new_with(is_unix, is_unix, NULL);
		int client = client_connect(rig), backend = -1;
		for (int i = 0; i < 10; i++) {
			send_text(client, GET_SLASH);
			if (backend < 0)
				backend = backend_accept(rig);
			read_head(backend);
			send_text(backend, OK_HELLO);
			expect_contains(read_head(client), "200 OK");
			expect_bytes(client, "hello");
			struct record *r = rig_record(rig);
			assert_int_equal(r->upstream_reused, i > 0);
			record_free(r);
		}
		rig_wait_at_rest(rig, 1);
		assert_int_equal(rig_blocks_in_use(rig), 0); /* an idle connection holds no buffer */
		struct proxy_counters c = rig_counters(rig);
		assert_int_equal(c.upstream_connects, 1);
		assert_int_equal(c.upstream_reuses, 9);
		assert_int_equal(c.upstream_idle, 1);
		close(client);
		close(backend);
		rig_free(rig);
	}
}

/* Pipelined requests are answered one by one, in order, and reach the backend one at a time. */
static void test_pipelining(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	send_text(client,
		"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
		"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
	int backend = backend_accept(rig);
	expect_contains(read_head(backend), "GET /1 ");
	assert_int_equal(recv(backend, message, 1, MSG_DONTWAIT), -1);
	send_text(backend, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
	expect_contains(read_head(backend), "POST /2 ");
	expect_bytes(backend, "abc");
	send_text(backend, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
	expect_contains(read_head(backend), "GET /3 ");
	send_text(backend, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3");
	static const char *const bodies[] = { "1", "2", "3" };
	for (int i = 0; i < 3; i++) {
		read_head(client);
		expect_bytes(client, bodies[i]);
	}
	close(client);
	close(backend);
	rig_wait_at_rest(rig, 0);
	rig_free(rig);
}

/* A client that wants the connection closed, or speaks HTTP/1.0, gets just that; the backend's connection is kept. */
static void test_client_closes(void **state)
{
	static const char *const requests[] = {
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
	};
	struct rig *rig = rig_new(NULL);
	int backend = -1;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		int client = client_connect(rig);
		send_text(client, requests[i]);
		if (backend < 0)
			backend = backend_accept(rig);
		expect_contains(read_head(backend), "HTTP/1.1\r\n");
		send_text(backend, OK_HELLO);
		const char *all = read_until(client, NULL);
		expect_contains(all, "Connection: close\r\n");
		expect_contains(all, "\r\n\r\nhello");
		close(client);
	}
	assert_int_equal(rig_counters(rig).upstream_connects, 1);
	close(backend);
	rig_free(rig);
}

/* What the backend does with its connection is its business: close, or bytes too many, keep it out of the pool. */
static void test_backend_connection_not_pooled(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloEXTRA",
	};
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		send_text(client, GET_SLASH);
		int backend = backend_accept(rig);
		read_head(backend);
		send_text(backend, answers[i]);
		read_head(client);
		expect_bytes(client, "hello");
		expect_closed(backend);
		close(backend);
	}
	close(client);
	rig_free(rig);
}

/* --- bodies --- */

/* Answers without a body (to HEAD, 204, 304) leave the connection good for the next request. */
static void test_no_body(void **state)
{
	static const struct {
		const char *request, *answer;
	} rows[] = {
		{ "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" },
		{ GET_SLASH, "HTTP/1.1 204 No Content\r\n\r\n" },
		{ GET_SLASH, "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n" },
		{ "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" },
	};
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig), backend = -1;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		send_text(client, rows[i].request);
		if (backend < 0)
			backend = backend_accept(rig);
		read_head(backend);
		send_text(backend, rows[i].answer);
		expect_contains(read_head(client), "HTTP/1.1 ");
	}
	send_text(client, GET_SLASH);
	read_head(backend);
	send_text(backend, OK_HELLO);
	read_head(client);
	expect_bytes(client, "hello");
	assert_int_equal(rig_counters(rig).upstream_connects, 1);
	close(client);
	close(backend);
	rig_free(rig);
}

/* Chunked bodies pass both ways: extensions taken off, small chunks joined, trailers kept for a client that takes them. */
static void test_chunked_both_ways(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	send_text(client,
		"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n"
		"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n");
	int backend = backend_accept(rig);
	read_head(backend);
	expect_bytes(backend, "5\r\nabcde\r\n0\r\nX-Sum: 1\r\n\r\n");
	send_text(backend,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;ext\r\nwiki\r\n5\r\npedia\r\n");
	read_head(client);
	const char *begin = read_until(client, "wikipedia\r\n"); /* flushed before the end came */
	assert_string_equal(begin, "9\r\nwikipedia\r\n");
	send_text(backend, "0\r\n\r\n");
	expect_bytes(client, "0\r\n\r\n");

	struct record *r = rig_record(rig);
	assert_int_equal(r->request_bytes, 5);
	assert_int_equal(r->response_bytes, 9);
	record_free(r);
	close(client);
	close(backend);
	rig_free(rig);
}

/* A body that ends with the backend's close is chunked for HTTP/1.1 and ends with our close for HTTP/1.0. */
static void test_until_close(void **state)
{
	struct rig *rig = rig_new(NULL);
	(void)state;
	for (int minor = 0; minor < 2; minor++) {
		int client = client_connect(rig);
		send_text(client, minor ? "GET / HTTP/1.1\r\nHost: a\r\n\r\n" : "GET / HTTP/1.0\r\n\r\n");
		int backend = backend_accept(rig);
		read_head(backend);
		send_text(backend, "HTTP/1.1 200 OK\r\n\r\nall there is");
		close(backend);
		read_head(client);
		if (minor)
			expect_bytes(client, "c\r\nall there is\r\n0\r\n\r\n");
		else
			assert_string_equal(read_until(client, NULL), "all there is");
		rig_expect_outcome(rig, OUTCOME_OK);
		close(client);
	}
	rig_free(rig);
}

/* --- big bodies --- */
enum { BIG_BYTES = 24 << 20 };

struct pump {
	int from, to;
	size_t bytes;
	uint64_t sum;
};

static void *send_big(void *context)
{
	struct pump *p = context;
	static char bytes[65536];
	for (size_t sent = 0; sent < BIG_BYTES; sent += sizeof bytes) {
		memset(bytes, (int)(sent >> 16), sizeof bytes);
		send_bytes(p->to, bytes, sizeof bytes);
	}
	return NULL;
}

static void receive_big(int fd)
{
	char bytes[65536];
	size_t got = 0;
	while (got < BIG_BYTES) {
		ssize_t n = recv(fd, bytes, MIN(sizeof bytes, BIG_BYTES - got), 0);
		if (n <= 0)
			fail_msg("ended after %zu bytes", got);
		for (ssize_t i = 0; i < n; i += 997)
			assert_int_equal((uint8_t)bytes[i], (uint8_t)((got + (size_t)i) >> 16));
		got += (size_t)n;
	}
}

/* 24 MiB up and 24 MiB down arrive whole; while the reader does not read, the proxy holds one block and waits. */
static void test_big_bodies_in_bounded_memory(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	pthread_t sender;
	char text[128];
	(void)state;
	snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", BIG_BYTES);
	send_text(client, text);
	struct pump up = { .to = client };
	pthread_create(&sender, NULL, send_big, &up);
	int backend = backend_accept(rig);
	read_head(backend);
	assert_true(rig_blocks_in_use(rig) <= 2); /* nobody reads yet */
	receive_big(backend);
	pthread_join(sender, NULL);

	snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BIG_BYTES);
	send_text(backend, text);
	struct pump down = { .to = backend };
	pthread_create(&sender, NULL, send_big, &down);
	read_head(client);
	assert_true(rig_blocks_in_use(rig) <= 2);
	receive_big(client);
	pthread_join(sender, NULL);

	struct record *r = rig_record(rig);
	assert_int_equal(r->outcome, OUTCOME_OK);
	assert_int_equal(r->request_bytes, BIG_BYTES);
	assert_int_equal(r->response_bytes, BIG_BYTES);
	record_free(r);
	close(client);
	close(backend);
	rig_wait_at_rest(rig, 0);
	rig_free(rig);
}

/* --- 1xx, early answers, tunnels --- */

/* Expect: 100-continue is the backend's to answer, and 103 passes too; HTTP/1.0 clients never see a 1xx. */
static void test_interim_answers(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
	int backend = backend_accept(rig);
	expect_contains(read_head(backend), "Expect: 100-continue\r\n");
	send_text(backend, "HTTP/1.1 100 Continue\r\n\r\n");
	expect_bytes(client, "HTTP/1.1 100 Continue\r\n\r\n");
	send_text(client, "body");
	expect_bytes(backend, "body");
	send_text(backend, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" OK_HELLO);
	expect_bytes(client, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
	expect_contains(read_head(client), "HTTP/1.1 200 OK");
	expect_bytes(client, "hello");
	close(client);
	rig_expect_outcome(rig, OUTCOME_OK);

	client = client_connect(rig);
	send_text(client, "GET / HTTP/1.0\r\n\r\n");
	read_head(backend);
	send_text(backend, "HTTP/1.1 103 Early Hints\r\n\r\n" OK_HELLO);
	expect_contains(read_head(client), "HTTP/1.1 200 OK");
	close(client);
	close(backend);
	rig_free(rig);
}

/* An answer that comes before the upload is over reaches a client that goes on uploading; both connections then end. */
static void test_early_answer(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nbeginning");
	int backend = backend_accept(rig);
	read_head(backend);
	expect_bytes(backend, "beginning");
	send_text(backend, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!");
	rig_expect_outcome(rig, OUTCOME_OK);
	expect_closed(backend);
	for (int i = 0; i < 20; i++) /* must not meet a reset before the answer is read */
		send_bytes(client, message, 65536);
	const char *head = read_head(client);
	expect_contains(head, "HTTP/1.1 413 Too Large\r\n");
	expect_contains(head, "Connection: close\r\n");
	expect_bytes(client, "no!");
	close(client);
	close(backend);
	rig_wait_at_rest(rig, 0);
	rig_free(rig);
}

/* After 101 bytes pass both ways, also those that came with the heads, and each side's FIN is passed on by itself. */
static void test_upgrade_tunnel(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	send_text(client,
		"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly");
	int backend = backend_accept(rig);
	const char *head = read_head(backend);
	expect_contains(head, "Upgrade: websocket\r\n");
	expect_contains(head, "Connection: Upgrade");
	send_text(backend,
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nwelcome");
	expect_contains(read_head(client), "101 Switching Protocols");
	expect_bytes(client, "welcome");
	expect_bytes(backend, "early");
	send_text(client, "ping");
	expect_bytes(backend, "ping");
	send_text(backend, "pong");
	expect_bytes(client, "pong");
	shutdown(client, SHUT_WR);
	expect_closed(backend);
	send_text(backend, "last words"); /* half-closed: this way is still open */
	expect_bytes(client, "last words");
	close(backend);
	expect_closed(client);
	struct record *r = rig_record(rig);
	assert_int_equal(r->outcome, OUTCOME_TUNNEL);
	assert_int_equal(r->status, 101);
	record_free(r);
	close(client);
	rig_wait_at_rest(rig, 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_ids_go_on),
		cmocka_unit_test(test_two_traceparents_are_none),
		cmocka_unit_test(test_trusted_proxies),
		cmocka_unit_test(test_forwarded_and_via),
		cmocka_unit_test(test_response_time_settings),
		cmocka_unit_test(test_response_time_is_true),
		cmocka_unit_test(test_keep_alive_reuse),
		cmocka_unit_test(test_pipelining),
		cmocka_unit_test(test_client_closes),
		cmocka_unit_test(test_backend_connection_not_pooled),
		cmocka_unit_test(test_no_body),
		cmocka_unit_test(test_chunked_both_ways),
		cmocka_unit_test(test_until_close),
		cmocka_unit_test(test_big_bodies_in_bounded_memory),
		cmocka_unit_test(test_interim_answers),
		cmocka_unit_test(test_early_answer),
		cmocka_unit_test(test_upgrade_tunnel),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
