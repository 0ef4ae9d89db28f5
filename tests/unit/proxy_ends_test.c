/* proxy_ends_test.c - proves how exchanges end that do not end well: aborts, broken backends, clocks, limits, draining. */
#include "proxy_rig.h"

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
		while (rig_counters(rig).clients_accepted != cut + 1)
			; /* the accept may come after the close */
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
			send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
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

/* --- ends while blocked --- */

/* Sends until nobody takes more for a moment. */
static void send_until_blocked(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	while (poll(&p, 1, 100) == 1)
		if (send(fd, message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
			fail_msg("send: %s", strerror(errno));
}

/* A client that leaves while one side does not read is noticed at once, though the proxy reads nothing from it. */
static void test_client_abort_while_blocked(void **state)
{
	(void)state;
	for (int with_reset = 0; with_reset < 2; with_reset++)
		for (int upload = 0; upload < 2; upload++) {
			if (upload && !with_reset)
				continue; /* TCP keeps the FIN behind the bytes that nobody takes: it cannot be seen */
			struct rig *rig = rig_new(NULL);
			int client = client_connect(rig);
			send_text(client,
				upload ? "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n"
				       : GET_SLASH);
			int backend = backend_accept(rig);
			read_head(backend);
			if (!upload) {
				send_text(backend, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
				read_head(client);
			}
			send_until_blocked(upload ? client : backend);
			assert_true(rig_blocks_in_use(rig) <= 2);
			if (with_reset)
				close_with_reset(client);
			else
				close(client);
			rig_expect_outcome(rig, OUTCOME_CLIENT_ABORT);
			rig_wait_at_rest(rig, 0);
			close(backend);
			rig_free(rig);
		}
}

/* A client that resets after any byte of the answer leaves nothing behind. */
static void test_abort_at_each_answer_byte(void **state)
{
	static const char body[] = "5\r\nhello\r\n";
	struct rig *rig = rig_new(NULL);
	(void)state;
	for (size_t cut = 0; cut < sizeof body; cut++) {
		int client = client_connect(rig);
		send_text(client, GET_SLASH);
		int backend = backend_accept(rig);
		read_head(backend);
		send_text(backend, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
		send_bytes(backend, body, cut);
		read_head(client);
		close_with_reset(client);
		expect_closed(backend);
		close(backend);
		rig_expect_outcome(rig, OUTCOME_CLIENT_ABORT);
		rig_wait_at_rest(rig, 0);
	}
	rig_free(rig);
}

/* A backend that answers in mid-upload and then resets, as servers do that do not read on, loses nothing of its answer. */
static void test_early_answer_then_reset(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
	int backend = backend_accept(rig);
	read_head(backend);
	send_until_blocked(client);
	send_text(backend, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nno!");
	close(backend); /* with unread bytes: a reset */
	expect_contains(read_head(client), "HTTP/1.1 401 Unauthorized\r\n");
	expect_bytes(client, "no!");
	close(client);
	rig_wait_at_rest(rig, 0);
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

static void copy_learned(struct rig *rig, void *context)
{
	*(uint64_t *)context = rig->proxy->upstreams[0].closes_after_ns;
}

/* When the backend closes idle connections at one age again and again, the proxy learns it and closes them first. */
static void test_learns_when_the_backend_closes(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	uint64_t learned_ns = 0, closed_at_least_ns = 60 * NS_PER_MS;
	(void)state;
	for (int round = 0; learned_ns == 0; round++) {
		assert_true(round < 50);
		send_text(client, GET_SLASH);
		int backend = backend_accept(rig);
		read_head(backend);
		send_text(backend, OK_EMPTY);
		read_head(client);
		rig_wait_at_rest(rig, 1);
		poll(NULL, 0, 60); /* the backend's keep-alive timeout */
		close(backend);
		while (rig_counters(rig).upstream_idle != 0)
			;
		on_loop(rig, copy_learned, &learned_ns);
	}
	assert_in_range(learned_ns, closed_at_least_ns, NS_PER_S);

	send_text(client, GET_SLASH);
	int backend = backend_accept(rig);
	read_head(backend);
	send_text(backend, OK_EMPTY);
	expect_closed(backend); /* by us, unasked */
	close(client);
	close(backend);
	rig_free(rig);
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
	proxy_drain(rig->proxy, PROXY_DRAIN_CLOSING_DOORS, rig->config->timeouts.drain_ns, note_drained, rig);
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

/* --- whoever was connected before the door closed --- */
enum { WAITING = 40 }; /* more than one turn accepts */

struct late_clients {
	int waiting[WAITING], half_sent;
};

/* On the loop's thread, so that none of them can have been accepted. */
static void connect_and_drain(struct rig *rig, void *context)
{
	struct late_clients *late = context;
	for (int i = 0; i < WAITING; i++)
		late->waiting[i] = client_connect(rig);
	begin_drain(rig, NULL);
}

/* Connections that wait in the backlog when the drain begins, and those that were accepted but had asked nothing, are served
 * once more, with Connection: close; those that come later are refused. */
static void test_drain_resets_nobody(void **state)
{
	(void)state;
	for (int unix_front = 0; unix_front < 2; unix_front++) {
		struct rig *rig = rig_new_with(
			unix_front, false, (const char *const[]){ "timeouts.drain", "20s", NULL });
		struct late_clients late;
		int fresh = client_connect(rig);
		late.half_sent = client_connect(rig);
		send_text(late.half_sent, "GET / HT");
		rig_wait_at_rest(rig, 2);
		on_loop(rig, connect_and_drain, &late);
		send_text(fresh, GET_SLASH);
		send_text(late.half_sent, "TP/1.1\r\nHost: a\r\n\r\n");
		for (int i = 0; i < WAITING; i++)
			send_text(late.waiting[i], GET_SLASH);
		for (int i = 0; i < WAITING + 2; i++) {
			int backend = backend_accept(rig);
			read_head(backend);
			send_text(backend,
				"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
			close(backend);
		}
		for (int i = 0; i < WAITING; i++) {
			expect_contains(read_until(late.waiting[i], NULL), "Connection: close\r\n");
			close(late.waiting[i]);
		}
		expect_contains(read_until(fresh, NULL), "Connection: close\r\n");
		expect_contains(read_until(late.half_sent, NULL), "Connection: close\r\n");
		close(fresh);
		close(late.half_sent);
		wait_drained(rig);
		int refused = socket(rig->at.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_not_equal(connect(refused, (struct sockaddr *)&rig->at.storage, rig->at.len), 0);
		assert_int_equal(errno, ECONNREFUSED);
		close(refused);
		rig_free(rig);
	}
}

/* While the end is announced all is served as before, with Connection: close. */
static void announce_end(struct rig *rig, void *context)
{
	(void)context;
	proxy_announce_end(rig->proxy);
}

static void test_announced_end(void **state)
{
	(void)state;
	struct rig *rig = rig_new(NULL);
	on_loop(rig, announce_end, NULL);
	int client = client_connect(rig);
	send_text(client, GET_SLASH);
	int backend = backend_accept(rig);
	read_head(backend);
	send_text(backend, OK_HELLO);
	expect_contains(read_until(client, NULL), "Connection: close\r\n");
	close(client);
	close(backend);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_abort_at_each_request_byte),
		cmocka_unit_test(test_backend_closes_at_each_answer_byte),
		cmocka_unit_test(test_truncated_until_close_resets),
		cmocka_unit_test(test_client_abort_reaches_backend),
		cmocka_unit_test(test_client_abort_while_blocked),
		cmocka_unit_test(test_abort_at_each_answer_byte),
		cmocka_unit_test(test_early_answer_then_reset),
		cmocka_unit_test(test_invalid_both_sides),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_stale_connection_replayed),
		cmocka_unit_test(test_learns_when_the_backend_closes),
		cmocka_unit_test(test_no_replay_of_what_may_have_been_read),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_upstream_idle),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_drain_resets_nobody),
		cmocka_unit_test(test_announced_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
