/* proxy_upstreams_test.c - proves which backend a request goes to, and what happens when one is not there. */
#include "proxy_rig.h"

/* A second backend beside the rig's own. */
struct second {
	int fd;
	struct net_address at;
	char path[64], text[80];
};

static void second_open(struct second *b)
{
	b->fd = listen_somewhere(false, b->path, &b->at);
	b->text[0] = ',';
	net_address_text(&b->at, b->text + 1, sizeof b->text - 1);
}

/* Its port refuses from now on. */
static void second_close(struct second *b)
{
	close(b->fd);
	b->fd = -1;
}

static void second_open_again(struct second *b)
{
	int on = 1;
	b->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(b->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	assert_int_equal(bind(b->fd, (struct sockaddr *)&b->at.storage, b->at.len), 0);
	assert_int_equal(listen(b->fd, 16), 0);
}

static void answer(int client, int backend)
{
	read_head(backend);
	send_text(backend, OK_EMPTY);
	expect_contains(read_head(client), "200 OK");
}

/* --- looks at the backends, on the loop --- */
struct look {
	unsigned in_flight[2], failures[2];
	bool shunned[2];
};

static void look_upstreams(struct rig *rig, void *context)
{
	struct look *look = context;
	for (size_t i = 0; i < rig->proxy->upstream_count; i++) {
		struct upstream *u = &rig->proxy->upstreams[i];
		look->in_flight[i] = u->in_flight;
		look->failures[i] = u->failures;
		look->shunned[i] = u->shunned_until_ns > clock_now_ns();
	}
}

static struct look rig_look(struct rig *rig)
{
	struct look look = { 0 };
	on_loop(rig, look_upstreams, &look);
	return look;
}

static void shun_over(struct rig *rig, void *context)
{
	(void)context;
	for (size_t i = 0; i < rig->proxy->upstream_count; i++)
		rig->proxy->upstreams[i].shunned_until_ns = 0;
}

/* Requests go to the backend with the fewest in flight: evenly while none ends, then to the one that answered. */
static void test_least_in_flight(void **state)
{
	struct second b;
	int clients[6], at_a[2], at_b[4];
	(void)state;
	second_open(&b);
	struct rig *rig = rig_new_beside(b.text, false, false, NULL);
	for (int i = 0; i < 4; i++) {
		clients[i] = client_connect(rig);
		send_text(clients[i], "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
		read_head((i % 2 == 0 ? at_a : at_b)[i / 2] = accept_at(i % 2 == 0 ? rig->backend_fd : b.fd));
	}
	struct look look = rig_look(rig);
	assert_int_equal(look.in_flight[0], 2);
	assert_int_equal(look.in_flight[1], 2);
	for (int i = 0; i < 2; i++) {
		send_text(at_b[i], OK_EMPTY);
		read_head(clients[1 + 2 * i]);
		rig_expect_outcome(rig, OUTCOME_OK);
	}
	/* Both new ones go where nothing runs: over the two kept connections. */
	for (int i = 4; i < 6; i++) {
		clients[i] = client_connect(rig);
		send_text(clients[i], GET_SLASH);
	}
	for (int i = 0; i < 2; i++) {
		read_head(at_b[i]);
		send_text(at_b[i], OK_EMPTY);
	}
	for (int i = 4; i < 6; i++)
		expect_contains(read_head(clients[i]), "200 OK");
	assert_false(backend_has_connection(rig));
	for (int i = 0; i < 6; i++)
		close(clients[i]);
	for (int i = 0; i < 2; i++) {
		close(at_a[i]);
		close(at_b[i]);
	}
	second_close(&b);
	rig_free(rig);
}

/* A backend that refuses: every request, POST too, is served by the other, without a failure and without asking the refusing
 * one each time; when its time is over and it accepts again, it serves again. */
static void test_refusing_backend_is_passed_over(void **state)
{
	struct second b;
	(void)state;
	second_open(&b);
	struct rig *rig = rig_new_beside(b.text, false, false, NULL);
	second_close(&b);
	int client = client_connect(rig), backend = -1;
	for (int i = 0; i < 6; i++) {
		send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
		if (backend < 0)
			backend = backend_accept(rig);
		read_head(backend);
		expect_bytes(backend, "hi");
		send_text(backend, OK_EMPTY);
		expect_contains(read_head(client), "200 OK");
		rig_expect_outcome(rig, OUTCOME_OK);
	}
	struct look look = rig_look(rig);
	assert_int_equal(look.failures[1], 1);
	assert_true(look.shunned[1]);
	assert_int_equal(look.in_flight[1], 0);

	second_open_again(&b);
	on_loop(rig, shun_over, NULL);
	int clients[2] = { client_connect(rig), client_connect(rig) };
	send_text(clients[0], GET_SLASH);
	send_text(clients[1], GET_SLASH);
	int other = accept_at(b.fd); /* one of the two */
	read_head(other);
	send_text(other, OK_EMPTY);
	read_head(backend);
	send_text(backend, OK_EMPTY);
	for (int i = 0; i < 2; i++)
		expect_contains(read_head(clients[i]), "200 OK");
	assert_int_equal(rig_look(rig).failures[1], 0);
	close(clients[0]);
	close(clients[1]);
	close(client);
	close(backend);
	close(other);
	second_close(&b);
	rig_free(rig);
}

/* Backends that all refuse: each was tried, and the client is told so with 502. */
static void test_all_refuse(void **state)
{
	struct second b;
	(void)state;
	second_open(&b);
	struct rig *rig = rig_new_beside(b.text, false, false, NULL);
	second_close(&b);
	close(rig->backend_fd);
	rig->backend_fd = -1;
	int client = client_connect(rig);
	for (unsigned i = 1; i <= 2; i++) { /* shunned ones are asked again where there is no other */
		send_text(client, GET_SLASH);
		expect_contains(read_head(client), "HTTP/1.1 502 ");
		read_until(client, "}\n");
		rig_expect_outcome(rig, OUTCOME_UPSTREAM_REFUSED);
		struct look look = rig_look(rig);
		assert_int_equal(look.failures[0], i);
		assert_int_equal(look.failures[1], i);
	}
	close(client);
	rig_free(rig);
}

static void take_and_close(int listener)
{
	int fd = accept_at(listener);
	read_head(fd);
	close(fd);
}

/* A new connection that is closed without an answer: a GET is sent once more, to the other backend; a POST that may have been read is not. */
static void test_new_connection_closed(void **state)
{
	struct second b;
	(void)state;
	second_open(&b);
	struct rig *rig = rig_new_beside(b.text, false, false, NULL);
	int client = client_connect(rig);

	send_text(client, GET_SLASH);
	take_and_close(rig->backend_fd);
	int other = accept_at(b.fd);
	answer(client, other);
	close(other);
	rig_expect_outcome(rig, OUTCOME_OK);
	assert_int_equal(rig_counters(rig).upstream_replays, 1);
	rig_wait_at_rest(rig, 1);

	send_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
	struct pollfd which[2] = { { .fd = rig->backend_fd, .events = POLLIN },
		{ .fd = b.fd, .events = POLLIN } };
	assert_int_equal(poll(which, 2, WAIT_S * 1000), 1);
	take_and_close(which[0].revents != 0 ? rig->backend_fd : b.fd);
	expect_contains(read_head(client), "502 Bad Gateway");
	rig_expect_outcome(rig, OUTCOME_UPSTREAM_RESET);
	assert_int_equal(rig_counters(rig).upstream_replays, 1);
	close(client);
	second_close(&b);
	rig_free(rig);
}

/* Where there is one backend it is asked once more, and no third time. */
static void test_new_connection_closed_twice(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	send_text(client, GET_SLASH);
	take_and_close(rig->backend_fd);
	take_and_close(rig->backend_fd);
	expect_contains(read_head(client), "502 Bad Gateway");
	rig_expect_outcome(rig, OUTCOME_UPSTREAM_RESET);
	assert_false(backend_has_connection(rig));
	close(client);

	client = client_connect(rig); /* and no second time when it had begun to work on it */
	send_text(client, GET_SLASH);
	int backend = backend_accept(rig);
	read_head(backend);
	poll(NULL, 0, 300);
	close(backend);
	expect_contains(read_head(client), "502 Bad Gateway");
	assert_false(backend_has_connection(rig));
	close(client);
	rig_free(rig);
}

/* --- names --- */
static void move_away(struct rig *rig, void *context)
{
	struct upstream *u = &rig->proxy->upstreams[1];
	struct sockaddr_in *in = (void *)&u->addresses[0].storage;
	(void)context;
	assert_true(u->named);
	assert_false(rig->proxy->upstreams[0].named);
	*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	in->sin_port = ((struct sockaddr_in *)&rig->backend_at.storage)->sin_port; /* where nobody listens */
	u->addresses[0].len = sizeof *in;
	u->address_count = 1;
	u->address_next = 0;
}

/* A name that has moved: the failed connect has it looked up again in the background, and the next requests arrive. */
static void test_name_is_looked_up_again(void **state)
{
	struct second b;
	char text[32];
	bool arrived = false;
	(void)state;
	second_open(&b);
	snprintf(text, sizeof text, ",localhost:%u", ntohs(((struct sockaddr_in *)&b.at.storage)->sin_port));
	struct rig *rig = rig_new_beside(text, false, false, NULL);
	close(rig->backend_fd); /* only the name is left */
	rig->backend_fd = -1;
	on_loop(rig, move_away, NULL);
	uint64_t until_ns = clock_now_ns() + WAIT_S * NS_PER_S;
	while (!arrived) {
		int client = client_connect(rig);
		struct pollfd either[2] = { { .fd = client, .events = POLLIN },
			{ .fd = b.fd, .events = POLLIN } };
		send_text(client, GET_SLASH);
		assert_true(poll(either, 2, WAIT_S * 1000) > 0);
		arrived = either[1].revents != 0;
		if (arrived) {
			int backend = accept_at(b.fd);
			answer(client, backend);
			close(backend);
		} else {
			expect_contains(read_head(client), "HTTP/1.1 502 ");
		}
		close(client);
		assert_true(clock_now_ns() < until_ns);
	}
	second_close(&b);
	rig_free(rig);
}

static void move_on(struct rig *rig, void *context)
{
	(void)context;
	rig->proxy->upstreams[0].generation++;
}

/* A connection to where a name was is not used for another request. */
static void test_connections_end_when_the_name_moves(void **state)
{
	struct rig *rig = rig_new(NULL);
	int client = client_connect(rig);
	(void)state;
	send_text(client, GET_SLASH);
	int backend = backend_accept(rig);
	read_head(backend);
	on_loop(rig, move_on, NULL);
	send_text(backend, OK_EMPTY);
	expect_contains(read_head(client), "200 OK");
	expect_closed(backend);
	close(backend);
	close(client);
	rig_wait_at_rest(rig, 0);
	rig_free(rig);
}

/* --- the queue --- */
static unsigned rig_queued(struct rig *rig)
{
	return rig_counters(rig).queued;
}

static void wait_queued(struct rig *rig, unsigned count)
{
	uint64_t until_ns = clock_now_ns() + WAIT_S * NS_PER_S;
	while (rig_queued(rig) != count)
		if (clock_now_ns() > until_ns)
			fail_msg("%u requests wait, not %u", rig_queued(rig), count);
}

static int ask(struct rig *rig)
{
	int client = client_connect(rig);
	send_text(client, GET_SLASH);
	return client;
}

static void expect_overload(struct rig *rig, int client)
{
	const char *head = read_head(client);
	expect_contains(head, "HTTP/1.1 503 ");
	expect_contains(head, "\r\nRetry-After: 1\r\n");
	rig_expect_outcome(rig, OUTCOME_OVERLOAD);
	close(client);
}

/* A backend with room for one: the second request waits and is served over the same connection, its waiting told as queue
 * time; the third, for whom the queue has no place, gets 503 with Retry-After at once; who leaves the queue leaves no trace. */
static void test_queue(void **state)
{
	const char *flags[] = { "limits.upstream_connections", "1", "limits.queue", "1", NULL };
	struct rig *rig = rig_new(flags);
	uint64_t queue_ns;
	(void)state;
	int first = ask(rig), backend = backend_accept(rig);
	read_head(backend);
	int second = ask(rig);
	wait_queued(rig, 1);
	expect_overload(rig, ask(rig));
	close(second);
	wait_queued(rig, 0);
	rig_expect_outcome(rig, OUTCOME_CLIENT_ABORT);
	second = ask(rig);
	wait_queued(rig, 1);

	uint64_t told_ns = clock_now_ns();
	send_text(backend, OK_EMPTY);
	expect_contains(read_head(first), "200 OK");
	rig_expect_outcome(rig, OUTCOME_OK);
	answer(second, backend);
	struct record *r = rig_record(rig);
	assert_int_equal(r->outcome, OUTCOME_OK);
	assert_true(r->upstream_reused);
	assert_true(timeline_phase_ns(&r->timeline, PHASE_QUEUE, &queue_ns));
	assert_true(r->timeline.at[MARK_REQUEST_HEAD] < told_ns && r->timeline.at[MARK_UPSTREAM] > told_ns);
	assert_int_equal(queue_ns, r->timeline.at[MARK_UPSTREAM] - r->timeline.at[MARK_REQUEST_HEAD]);
	record_free(r);
	assert_false(backend_has_connection(rig));
	close(first);
	close(second);
	close(backend);
	rig_wait_at_rest(rig, 0);
	rig_free(rig);
}

/* Who waited for timeouts.queue gets 503; what still waits when the proxy is freed is cut. */
static void test_queue_timeout(void **state)
{
	const char *flags[] = { "limits.upstream_connections", "1", "timeouts.queue", "50ms", NULL };
	struct rig *rig = rig_new(flags);
	(void)state;
	int first = ask(rig), backend = backend_accept(rig);
	read_head(backend);
	expect_overload(rig, ask(rig));
	assert_int_equal(rig_queued(rig), 0);
	int left = ask(rig);
	rig_free(rig);
	close(first);
	close(left);
	close(backend);
}

/* Of two backends one refuses and the other is full: the request waits for the one that works, and is not failed. */
static void test_queue_behind_the_one_that_works(void **state)
{
	const char *flags[] = { "limits.upstream_connections", "1", NULL };
	struct second b;
	(void)state;
	second_open(&b);
	struct rig *rig = rig_new_beside(b.text, false, false, flags);
	second_close(&b);
	int clients[3] = { ask(rig) }, backend = backend_accept(rig);
	read_head(backend);
	clients[1] = ask(rig);
	wait_queued(rig, 1);
	clients[2] = ask(rig);
	wait_queued(rig, 2);
	for (int i = 0; i < 3; i++) {
		if (i > 0)
			read_head(backend);
		send_text(backend, OK_EMPTY);
		expect_contains(read_head(clients[i]), "200 OK");
		rig_expect_outcome(rig, OUTCOME_OK);
		close(clients[i]);
	}
	close(backend);
	rig_wait_at_rest(rig, 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_least_in_flight),
		cmocka_unit_test(test_refusing_backend_is_passed_over),
		cmocka_unit_test(test_all_refuse),
		cmocka_unit_test(test_new_connection_closed),
		cmocka_unit_test(test_new_connection_closed_twice),
		cmocka_unit_test(test_name_is_looked_up_again),
		cmocka_unit_test(test_connections_end_when_the_name_moves),
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_queue_timeout),
		cmocka_unit_test(test_queue_behind_the_one_that_works),
	};
	struct log_settings quiet = { .level = LOG_ERROR, .role = "test" };
	log_setup(&quiet);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
