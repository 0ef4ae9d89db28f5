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

/* --- ends that are not clean --- */

/* A client that goes away at any byte of its request leaves nothing behind, and its backend connection is closed. */
static void test_abort_at_each_request_byte(void **state)
{
	static const char request[] =
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
	struct rig *rig = rig_new(NULL);
	(void)state;
	for (size_t cut = 0; cut < sizeof request; cut++) {
		int client = client_connect(rig);
		send_bytes(client, request, cut);
		if (cut % 2)
			close_with_reset(client);
		else
			close(client);
		rig_wait_at_rest(rig, 0);
		while (backend_has_connection(rig)) {
			int backend = backend_accept(rig);
			read_until(backend, NULL); /* what came, and the end */
			close(backend);
		}
	}
	assert_int_equal(rig->began, rig->ended);
	assert_int_equal(rig_counters(rig).upstream_idle, 0);
	rig_free(rig);
}

/* A backend that closes at any byte of its answer gives a 502 before the head and a broken end after it, never a clean
 * one, and the connection is not used again. */
static void test_backend_closes_at_each_answer_byte(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	};
	struct rig *rig = rig_new(NULL);
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		size_t head_len = (size_t)(strstr(answers[i], "\r\n\r\n") - answers[i]) + 4;
		for (size_t cut = 0; cut < strlen(answers[i]); cut++) {
			int client = client_connect(rig);
			send_text(client, GET_SLASH);
			int backend = backend_accept(rig);
			read_head(backend);
			send_bytes(backend, answers[i], cut);
			close(backend);
			if (cut < head_len) {
				expect_contains(read_head(client), "HTTP/1.1 502 Bad Gateway\r\n");
				rig_expect_outcome(rig, OUTCOME_UPSTREAM_RESET);
			} else {
				expect_lacks(read_until(client, NULL), "\r\n0\r\n\r\n");
				rig_expect_outcome(rig, OUTCOME_UPSTREAM_TRUNCATED);
			}
			close(client);
			rig_wait_at_rest(rig, 0);
		}
	}
	rig_free(rig);
}

/* A truncated answer to a client that knows the end only by the close is ended with a reset. */
static void test_truncated_until_close_resets(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	send_text(client, "GET / HTTP/1.0\r\n\r\n");
	int backend = backend_accept(rig);
	read_head(backend);
	send_text(backend, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
	read_until(client, "hel");
	close(backend);
	char c;
	assert_int_equal(recv(client, &c, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	rig_expect_outcome(rig, OUTCOME_UPSTREAM_TRUNCATED);
	close(client);
	rig_free(rig);
}

/* A client that leaves while the backend works, or in mid-answer, ends the backend's connection at once. */
static void test_client_abort_reaches_backend(void **state)
{
	struct rig *rig = rig_new(NULL);
	(void)state;
	for (int in_answer = 0; in_answer < 2; in_answer++) {
		int client = client_connect(rig);
		send_text(client, GET_SLASH);
		int backend = backend_accept(rig);
		read_head(backend);
		if (in_answer) {
			send_text(backend, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin");
			read_until(client, "begin");
		}
		close(client);
		expect_closed(backend);
		rig_expect_outcome(rig, OUTCOME_CLIENT_ABORT);
		close(backend);
		rig_wait_at_rest(rig, 0);
	}
	rig_free(rig);
}

/* What is not HTTP from a backend is a 502, and from a client a 400 that the backend never hears of. */
static void test_invalid_both_sides(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	send_text(client, GET_SLASH);
	int backend = backend_accept(rig);
	read_head(backend);
	send_text(backend, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
	const char *head = read_head(client);
	expect_contains(head, "HTTP/1.1 502 Bad Gateway\r\n");
	expect_contains(head, "X-Response-Time: 0.");
	expect_contains(head, "X-Request-ID: ");
	rig_expect_outcome(rig, OUTCOME_UPSTREAM_INVALID);
	expect_closed(backend);
	close(backend);
	close(client);

	client = client_connect(rig);
	send_text(client, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
	const char *all = read_until(client, NULL);
	expect_contains(all, "HTTP/1.1 400 ");
	expect_contains(all, "X-Response-Time: 0.");
	expect_contains(all, "\"bad_request\"");
	close(client);
	assert_int_equal(rig_counters(rig).outcomes[OUTCOME_BAD_REQUEST], 1);
	assert_false(backend_has_connection(rig));
	rig_wait_at_rest(rig, 0);
	rig_free(rig);
}

/* Nobody listens: 502 with a word for why; the client's connection serves on. */
static void test_refused(void **state)
{
	struct rig *rig = rig_new((const char *const[]){ "error_format", "plain", NULL });
	int client = client_connect(rig);
	(void)state;
	close(rig->backend_fd);
	rig->backend_fd = -1;
	for (int i = 0; i < 2; i++) {
		send_text(client, GET_SLASH);
		expect_contains(read_head(client), "HTTP/1.1 502 Bad Gateway\r\n");
		struct record *r = rig_record(rig);
		assert_int_equal(r->outcome, OUTCOME_UPSTREAM_REFUSED);
		assert_string_equal(r->reason, "connect: Connection refused");
		assert_int_equal(r->status, 502);
		record_free(r);
		rig_wait_at_rest(rig, 1);
		while (recv(client, message, sizeof message, MSG_DONTWAIT) > 0)
			;
	}
	close(client);
	rig_free(rig);
}

/* --- the stale keep-alive race --- */

static void freeze_loop(struct rig *rig, void *context)
{
	int *fds = context;
	(void)rig;
	/* The request arrives and the backend closes before the loop can see either. */
	send_text(fds[0], fds[2] ? "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" : GET_SLASH);
	close(fds[1]);
}

/* A kept connection that the backend closes just before the request comes costs no 502: sent again on a new one, a POST
 * too, since the kernel proves that the first was never delivered. */
static void test_stale_connection_replayed(void **state)
{
	(void)state;
	for (int is_unix = 0; is_unix < 2; is_unix++)
		for (int is_post = 0; is_post < 2; is_post++) {
			struct rig *rig = rig_new_with(false, is_unix, NULL);
			int client = client_connect(rig);
			send_text(client, GET_SLASH);
			int backend = backend_accept(rig);
			read_head(backend);
			send_text(backend, OK_EMPTY);
			read_head(client);
			rig_expect_outcome(rig, OUTCOME_OK);
			rig_wait_at_rest(rig, 1);
			on_loop(rig, freeze_loop, (int[]){ client, backend, is_post });
			backend = backend_accept(rig);
			expect_contains(read_head(backend), is_post ? "POST / " : "GET / ");
			if (is_post)
				expect_bytes(backend, "abc");
			send_text(backend, OK_HELLO);
			expect_contains(read_head(client), "200 OK");
			expect_bytes(client, "hello");
			rig_expect_outcome(rig, OUTCOME_OK);
			close(client);
			close(backend);
			rig_free(rig);
		}
}

/* Once the backend may have read it, a POST is never sent twice: 502. A GET is. */
static void test_no_replay_of_what_may_have_been_read(void **state)
{
	(void)state;
	for (int is_post = 0; is_post < 2; is_post++) {
		struct rig *rig = rig_new(NULL);
		int client = client_connect(rig);
		send_text(client, GET_SLASH);
		int backend = backend_accept(rig);
		read_head(backend);
		send_text(backend, OK_EMPTY);
		read_head(client);
		send_text(client,
			is_post ? "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" : GET_SLASH);
		read_head(backend);
		close(backend);
		if (is_post) {
			expect_contains(read_head(client), "502 Bad Gateway");
			assert_false(backend_has_connection(rig));
		} else {
			backend = backend_accept(rig);
			expect_contains(read_head(backend), "GET / ");
			send_text(backend, OK_EMPTY);
			expect_contains(read_head(client), "200 OK");
			close(backend);
		}
		close(client);
		rig_free(rig);
	}
}

/* --- timeouts and limits --- */

/* Each clock ends what it watches with its own status and outcome. */
static void test_timeouts(void **state)
{
	(void)state;
	struct rig *rig = rig_new((const char *const[]){ "timeouts.header", "100ms", NULL });
	int client = client_connect(rig);
	send_text(client, "GET / HTTP/1.1\r\n");
	expect_contains(read_until(client, NULL), "HTTP/1.1 408 Request Timeout\r\n");
	assert_int_equal(rig_counters(rig).outcomes[OUTCOME_CLIENT_TIMEOUT], 1);
	close(client);
	client = client_connect(rig); /* not a byte: closed without a word */
	expect_closed(client);
	close(client);
	rig_free(rig);

	rig = rig_new((const char *const[]){ "timeouts.response", "100ms", "timeouts.idle", "200ms", NULL });
	client = client_connect(rig);
	send_text(client, GET_SLASH);
	int backend = backend_accept(rig);
	expect_contains(read_head(client), "HTTP/1.1 504 Gateway Timeout\r\n");
	rig_expect_outcome(rig, OUTCOME_TIMEOUT_RESPONSE);
	read_until(backend, NULL);
	close(backend);
	read_until(client, NULL); /* the body, and then the idle clock */
	close(client);
	rig_free(rig);

	rig = rig_new((const char *const[]){ "timeouts.stream_idle", "100ms", NULL });
	client = client_connect(rig);
	send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
	backend = backend_accept(rig);
	expect_contains(read_head(client), "HTTP/1.1 408 ");
	rig_expect_outcome(rig, OUTCOME_CLIENT_TIMEOUT);
	close(client);
	close(backend);
	client = client_connect(rig);
	send_text(client, GET_SLASH);
	backend = backend_accept(rig);
	read_head(backend);
	send_text(backend, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
	read_until(client, "abc");
	expect_closed(client);
	rig_expect_outcome(rig, OUTCOME_TIMEOUT_STREAM);
	close(client);
	close(backend);
	rig_free(rig);
}

/* An idle backend connection is closed by us after timeouts.upstream_idle, and by the backend whenever it likes. */
static void test_upstream_idle(void **state)
{
	struct rig *rig = rig_new((const char *const[]){ "timeouts.upstream_idle", "100ms", NULL });
	int client = client_connect(rig);
	(void)state;
	send_text(client, GET_SLASH);
	int backend = backend_accept(rig);
	read_head(backend);
	send_text(backend, OK_EMPTY);
	read_head(client);
	expect_closed(backend);
	close(backend);
	rig_wait_at_rest(rig, 1);
	assert_int_equal(rig_counters(rig).upstream_idle, 0);
	close(client);
	rig_free(rig);
}

/* limits.body_bytes by Content-Length and by counting, limits.connections: each with its status, none reaching further. */
static void test_limits(void **state)
{
	struct rig *rig =
		rig_new((const char *const[]){ "limits.body_bytes", "10B", "limits.connections", "1", NULL });
	int client = client_connect(rig);
	(void)state;
	send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
	expect_contains(read_until(client, NULL), "HTTP/1.1 413 ");
	close(client);
	rig_wait_at_rest(rig, 0);

	client = client_connect(rig);
	send_text(client,
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n");
	expect_contains(read_until(client, NULL), "HTTP/1.1 413 ");
	rig_expect_outcome(rig, OUTCOME_TOO_LARGE);
	assert_false(backend_has_connection(rig));

	close(client);
	rig_wait_at_rest(rig, 0);
	client = client_connect(rig);
	send_text(client, GET_SLASH);
	int backend = backend_accept(rig);
	int second = client_connect(rig);
	expect_contains(read_until(second, NULL), "HTTP/1.1 503 Service Unavailable\r\n");
	close(second);
	read_head(backend);
	send_text(backend, OK_EMPTY);
	expect_contains(read_head(client), "200 OK");
	close(client);
	close(backend);
	rig_wait_at_rest(rig, 0);
	rig_free(rig);
}

/* --- draining --- */

static void note_drained(void *context)
{
	struct rig *rig = context;
	pthread_mutex_lock(&rig->lock);
	rig->drained = true;
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->lock);
}

static void begin_drain(struct rig *rig, void *context)
{
	(void)context;
	proxy_drain(rig->proxy, rig->config->timeouts.drain_ns, note_drained, rig);
}

static void wait_drained(struct rig *rig)
{
	pthread_mutex_lock(&rig->lock);
	while (!rig->drained)
		pthread_cond_wait(&rig->changed, &rig->lock);
	pthread_mutex_unlock(&rig->lock);
}

/* Draining closes idle clients, lets the busy one finish with Connection: close, and then says so; or cuts it in the end. */
static void test_drain(void **state)
{
	(void)state;
	for (int cut = 0; cut < 2; cut++) {
		struct rig *rig =
			rig_new((const char *const[]){ "timeouts.drain", cut ? "100ms" : "20s", NULL });
		int busy = client_connect(rig), idle = client_connect(rig);
		send_text(busy, GET_SLASH);
		int backend = backend_accept(rig);
		read_head(backend);
		on_loop(rig, begin_drain, NULL);
		expect_closed(idle);
		if (cut) {
			expect_closed(busy);
			rig_expect_outcome(rig, OUTCOME_SHUTDOWN);
		} else {
			send_text(backend, OK_HELLO);
			expect_contains(read_until(busy, NULL), "Connection: close\r\n");
			rig_expect_outcome(rig, OUTCOME_OK);
		}
		wait_drained(rig);
		close(busy);
		close(idle);
		close(backend);
		rig_free(rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_ids_go_on),
		cmocka_unit_test(test_response_time_settings),
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
		cmocka_unit_test(test_abort_at_each_request_byte),
		cmocka_unit_test(test_backend_closes_at_each_answer_byte),
		cmocka_unit_test(test_truncated_until_close_resets),
		cmocka_unit_test(test_client_abort_reaches_backend),
		cmocka_unit_test(test_invalid_both_sides),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_stale_connection_replayed),
		cmocka_unit_test(test_no_replay_of_what_may_have_been_read),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_upstream_idle),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_drain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
