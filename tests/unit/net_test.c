/* net_test.c - proves what net.h promises: turns, timers, streams, connecting and accepting. Loopback only. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/net.h>

/* --- every test runs its loop under this deadline --- */
static struct loop *loop;
static struct timer limit;

static void too_late(void *context)
{
	(void)context;
	fail_msg("the loop waited for something that did not come in 20 s");
}

static int begin(void **state)
{
	(void)state;
	loop = loop_new();
	timer_init(&limit, loop, too_late, NULL);
	timer_start(&limit, 20 * NS_PER_S);
	return 0;
}

static int end(void **state)
{
	(void)state;
	timer_clear(&limit);
	loop_free(loop);
	return 0;
}

/* --- posts --- */
static int posted;

static void count_post(void *context)
{
	(void)context;
	if (++posted == 2000)
		loop_stop(loop);
}

static void *post_many(void *context)
{
	for (int i = 0; i < 1000; i++)
		loop_post(context, count_post, NULL);
	return NULL;
}

/* Calls posted by two other threads all run, on the loop's thread. */
static void test_posts_all_arrive(void **state)
{
	pthread_t a, b;
	(void)state;
	posted = 0;
	pthread_create(&a, NULL, post_many, loop);
	pthread_create(&b, NULL, post_many, loop);
	loop_run(loop);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	assert_int_equal(posted, 2000);
}

/* --- lookups --- */
struct looked_up {
	unsigned calls;
	size_t count;
	bool reason;
};

static void note_lookup(void *context, const struct net_address *addresses, size_t count, const char *why)
{
	struct looked_up *found = context;
	found->calls++;
	found->count = count;
	found->reason = why[0] != '\0';
	for (size_t i = 0; i < count; i++)
		assert_true(addresses[i].len != 0);
	loop_stop(loop);
}

/* A name is looked up beside the running loop: its addresses come, or none and the reason; a cancelled one is silent. */
static void test_lookup(void **state)
{
	struct looked_up found = { 0 }, failed = { 0 }, cancelled = { 0 };
	char label[80];
	(void)state;
	lookup_free(lookup_new(loop, "localhost", 80, note_lookup, &cancelled));
	assert_non_null(lookup_new(loop, "localhost", 80, note_lookup, &found));
	loop_run(loop);
	assert_int_equal(found.calls, 1);
	assert_in_range(found.count, 1, LOOKUP_ADDRESSES);

	memset(label, 'a', sizeof label - 1); /* longer than a label may be: no server is asked */
	label[sizeof label - 1] = '\0';
	assert_non_null(lookup_new(loop, label, 80, note_lookup, &failed));
	loop_run(loop);
	assert_int_equal(failed.calls, 1);
	assert_int_equal(failed.count, 0);
	assert_true(failed.reason);
	assert_int_equal(cancelled.calls, 0);
}

/* --- deferred frees --- */
static bool freed;
static bool freed_during_callback;

static void note_freed(void *memory)
{
	(void)memory;
	freed = true;
}

static void defer_and_look(void *context)
{
	loop_defer_free(loop, context, note_freed);
	freed_during_callback = freed;
	loop_stop(loop);
}

/* What is given to loop_defer_free outlives the callback and is gone after the turn. */
static void test_deferred_free_waits_for_the_turn(void **state)
{
	(void)state;
	freed = false;
	loop_post(loop, defer_and_look, &freed);
	loop_run(loop);
	assert_false(freed_during_callback);
	assert_true(freed);
}

/* --- timers --- */
enum { TIMERS = 60 };
static struct timer timers[TIMERS];
static uint64_t due_ns[TIMERS];
static int order[TIMERS], fired;

static void note_fired(void *context)
{
	int i = (int)((struct timer *)context - timers);
	assert_true(clock_now_ns() >= due_ns[i]);
	order[fired++] = i;
	if (fired == TIMERS)
		loop_stop(loop);
}

static void start_all(int (*delay_ms)(int))
{
	fired = 0;
	for (int i = 0; i < TIMERS; i++) {
		uint64_t delay_ns = (uint64_t)delay_ms(i) * NS_PER_MS;
		timer_init(&timers[i], loop, note_fired, &timers[i]);
		timer_start(&timers[i], delay_ns);
		due_ns[i] = timers[i].deadline_ns;
	}
	loop_run(loop);
	for (int i = 1; i < TIMERS; i++)
		assert_true(due_ns[order[i - 1]] <= due_ns[order[i]]);
}

static int same_delay(int i)
{
	(void)i;
	return 10;
}

static int shrinking_delays(int i)
{
	return 2 * (TIMERS - i);
}

/* Timers fire in the order of their deadlines, never early: with one delay, and with more delays than classes. */
static void test_timers_fire_in_order(void **state)
{
	(void)state;
	start_all(same_delay);
	start_all(shrinking_delays);
}

static void must_not_fire(void *context)
{
	(void)context;
	fail_msg("a stopped timer fired");
}

static void stop_loop(void *context)
{
	(void)context;
	loop_stop(loop);
}

/* A stopped timer does not fire; a restarted one fires at its new deadline only. */
static void test_timer_stop_and_restart(void **state)
{
	struct timer stopped, restarted, last;
	(void)state;
	timer_init(&stopped, loop, must_not_fire, NULL);
	timer_init(&restarted, loop, must_not_fire, NULL);
	timer_init(&last, loop, stop_loop, NULL);
	timer_start(&stopped, 5 * NS_PER_MS);
	timer_start(&restarted, 5 * NS_PER_MS);
	assert_true(timer_running(&stopped));
	timer_stop(&stopped);
	assert_false(timer_running(&stopped));
	timer_start(&restarted, 10 * NS_PER_S);
	timer_start(&last, 30 * NS_PER_MS);
	loop_run(loop);
	timer_clear(&restarted);
	assert_false(timer_running(&last));
}

/* --- watch --- */
static void watch_reads(void *context)
{
	char c;
	assert_int_equal(read(*(int *)context, &c, 1), 1);
	if (c == 'z')
		loop_stop(loop);
}

/* A watch calls while there is something to read (level-triggered), and leaves the descriptor open. */
static void test_watch(void **state)
{
	int ends[2];
	(void)state;
	assert_int_equal(pipe(ends), 0);
	struct watch *w = watch_new(loop, ends[0], watch_reads, &ends[0]);
	assert_int_equal(write(ends[1], "abz", 3), 3);
	loop_run(loop);
	watch_free(w);
	assert_int_equal(close(ends[0]), 0);
	close(ends[1]);
}

/* --- streams --- */
struct side {
	struct stream *stream;
	int readable, writable, hangup;
	size_t sent, got;
	bool ended;
};

static void side_readable(void *context)
{
	struct side *s = context;
	char bytes[65536];
	size_t got;
	s->readable++;
	enum io_result r = stream_read(s->stream, bytes, sizeof bytes, &got);
	s->got += got;
	if (r == IO_END || r == IO_ERROR) {
		s->ended = true;
		loop_stop(loop);
	}
}

static char megabyte[1 << 20];

static void side_write(struct side *s)
{
	while (s->sent < sizeof megabyte) {
		struct iovec part = { megabyte + s->sent, sizeof megabyte - s->sent };
		size_t written;
		enum io_result r = stream_write(s->stream, &part, 1, &written);
		s->sent += written;
		if (r == IO_AGAIN) {
			stream_want_writable(s->stream, true);
			return;
		}
		assert_int_equal(r, IO_OK);
	}
	stream_want_writable(s->stream, false);
	stream_shutdown_write(s->stream);
}

static void side_writable(void *context)
{
	struct side *s = context;
	s->writable++;
	side_write(s);
}

static void side_hangup(void *context)
{
	struct side *s = context;
	s->hangup++;
	loop_stop(loop);
}

static const struct stream_events side_events = { side_readable, side_writable, side_hangup };

static void pair(struct side *a, struct side *b)
{
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	*a = *b = (struct side){ 0 };
	a->stream = stream_new(loop, ends[0], &side_events, a);
	b->stream = stream_new(loop, ends[1], &side_events, b);
}

/* A megabyte goes through a small kernel buffer by short writes, and the end of it is seen as IO_END. */
static void test_stream_short_writes(void **state)
{
	struct side a, b;
	(void)state;
	pair(&a, &b);
	side_write(&a);
	loop_run(loop);
	assert_true(a.writable > 0);
	assert_int_equal(b.got, sizeof megabyte);
	assert_true(b.ended);
	stream_free(a.stream);
	stream_free(b.stream);
}

/* The same with the writer's reading paused: the quiet state hears of room for writing too. */
static void test_stream_short_writes_while_paused(void **state)
{
	struct side a, b;
	(void)state;
	pair(&a, &b);
	stream_pause_read(a.stream, true);
	side_write(&a);
	loop_run(loop);
	assert_int_equal(b.got, sizeof megabyte);
	assert_true(b.ended);
	stream_free(a.stream);
	stream_free(b.stream);
}

static int tcp_pair(int *client, int *server)
{
	struct buf why = { 0 };
	struct sockaddr_storage at;
	socklen_t len = sizeof at;
	int listening = net_listen(false, "127.0.0.1", 0, false, &why);
	assert_true(listening >= 0);
	getsockname(listening, (struct sockaddr *)&at, &len);
	*client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(*client, (struct sockaddr *)&at, len), 0);
	struct pollfd p = { .fd = listening, .events = POLLIN };
	assert_int_equal(poll(&p, 1, 5000), 1);
	*server = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(*server >= 0);
	return listening;
}

/* While reading is paused, data wakes nobody; a FIN behind it and a reset are both told, once, without spinning. */
static void test_hangup_while_paused(void **state)
{
	(void)state;
	for (int with_reset = 0; with_reset < 2; with_reset++) {
		int client, server, listening = tcp_pair(&client, &server);
		struct side s = { 0 };
		s.stream = stream_new(loop, server, &side_events, &s);
		stream_pause_read(s.stream, true);
		assert_int_equal(write(client, "unread", 6), 6);
		if (with_reset)
			setsockopt(client, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 },
				sizeof(struct linger));
		close(client);
		loop_run(loop);
		assert_int_equal(s.readable, 0);
		assert_int_equal(s.hangup, 1);

		struct rusage before, after; /* a loop that spins would burn this */
		struct timer wait;
		timer_init(&wait, loop, stop_loop, NULL);
		timer_start(&wait, 200 * NS_PER_MS);
		getrusage(RUSAGE_SELF, &before);
		loop_run(loop);
		getrusage(RUSAGE_SELF, &after);
		assert_int_equal(s.hangup, 1);
		assert_true(after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw < 1000);
		uint64_t burnt_us = (uint64_t)(after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
				    (uint64_t)(after.ru_utime.tv_usec - before.ru_utime.tv_usec);
		assert_true(burnt_us < 100000);

		s.ended = false; /* reading again finds the data (or the reset) at once */
		stream_pause_read(s.stream, false);
		while (!s.ended)
			loop_run(loop);
		if (!with_reset)
			assert_int_equal(s.got, 6);
		stream_free(s.stream);
		close(listening);
	}
}

/* stream_reset lets the peer know by ECONNRESET. */
static void test_stream_reset(void **state)
{
	int client, server, listening = tcp_pair(&client, &server);
	char c;
	(void)state;
	struct side s = { 0 };
	s.stream = stream_new(loop, server, &side_events, &s);
	stream_reset(s.stream);
	assert_int_equal(read(client, &c, 1), -1);
	assert_int_equal(errno, ECONNRESET);
	close(client);
	close(listening);
}

/* --- accepting and connecting --- */
static int accepted_fds[64], accepted_count, wanted_count;
static char accepted_from[128];

static void note_accepted(void *context, int fd, const struct net_address *peer)
{
	(void)context;
	net_address_host_text(peer, accepted_from, sizeof accepted_from);
	accepted_fds[accepted_count++] = fd;
	if (accepted_count == wanted_count)
		loop_stop(loop);
}

static int connected_fd, connect_error;
static bool connect_done;

static void note_connected(void *context, int fd, int error)
{
	(void)context;
	connected_fd = fd;
	connect_error = error;
	connect_done = true;
	if (wanted_count == 0)
		loop_stop(loop);
}

static struct net_address address_of(int fd)
{
	struct net_address a = { .len = sizeof a.storage };
	getsockname(fd, (struct sockaddr *)&a.storage, &a.len);
	return a;
}

static void connect_and_accept(bool is_unix, const char *host, const char *expect_from)
{
	struct buf why = { 0 };
	int listening = net_listen(is_unix, host, 0, false, &why);
	if (listening < 0 && strcmp(host, "::1") == 0) {
		print_message("skipped: no IPv6 loopback here (%s)\n", why.data);
		buf_clear(&why);
		return;
	}
	assert_true(listening >= 0);
	struct net_address to = address_of(listening);
	accepted_count = 0;
	wanted_count = 1;
	connect_done = false;
	struct listener *li = listener_new(loop, listening, note_accepted, NULL);
	connector_new(loop, &to, NS_PER_S, note_connected, NULL);
	loop_run(loop);
	assert_int_equal(accepted_count, 1);
	assert_string_equal(accepted_from, expect_from);
	wanted_count = 0;
	if (!connect_done)
		loop_run(loop);
	assert_int_equal(connect_error, 0);
	close(connected_fd);
	close(accepted_fds[0]);
	listener_free(li);
}

/* TCP over IPv4, IPv6, a v4 client of a v6 socket, and unix sockets connect and are accepted. */
static void test_connect_and_accept(void **state)
{
	char path[64];
	(void)state;
	snprintf(path, sizeof path, "/tmp/slowproxy-net-%d.sock", (int)getpid());
	connect_and_accept(false, "127.0.0.1", "127.0.0.1");
	connect_and_accept(false, "::1", "::1");
	connect_and_accept(true, path, "");
	connect_and_accept(true, path, ""); /* the stale file of the first is replaced */
	unlink(path);
}

/* A port nobody listens on is refused, and a full unix backlog ends in ETIMEDOUT rather than in a spin or a wait for ever. */
static void test_connect_fails(void **state)
{
	struct buf why = { 0 };
	char path[64];
	(void)state;
	int listening = net_listen(false, "127.0.0.1", 0, false, &why);
	struct net_address to = address_of(listening);
	close(listening);
	wanted_count = 0;
	connect_done = false;
	connector_new(loop, &to, NS_PER_S, note_connected, NULL);
	if (!connect_done)
		loop_run(loop);
	assert_int_equal(connect_error, ECONNREFUSED);

	snprintf(path, sizeof path, "/tmp/slowproxy-net-%d.sock", (int)getpid());
	listening = net_listen(true, path, 0, false, &why);
	listen(listening, 0);
	to = address_of(listening);
	int filler[8], filled = 0;
	for (; filled < 8; filled++) {
		filler[filled] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(filler[filled], (struct sockaddr *)&to.storage, to.len) != 0)
			break;
	}
	assert_true(filled < 8);
	connect_done = false;
	assert_non_null(connector_new(loop, &to, 60 * NS_PER_MS, note_connected, NULL));
	loop_run(loop);
	assert_int_equal(connect_error, ETIMEDOUT);
	for (int i = 0; i <= filled; i++)
		close(filler[i]);
	close(listening);
	unlink(path);
}

/* Without descriptors the waiting client is told by a close, and accepting goes on when there are descriptors again. */
static void test_accept_survives_emfile(void **state)
{
	struct buf why = { 0 };
	struct rlimit old, low;
	char c;
	(void)state;
	log_setup(&(struct log_settings){ .level = LOG_ERROR, .role = "test" }); /* the warning is expected */
	int listening = net_listen(false, "127.0.0.1", 0, false, &why);
	struct net_address to = address_of(listening);
	struct listener *li = listener_new(loop, listening, note_accepted, NULL);
	int first = socket(AF_INET, SOCK_STREAM, 0), second = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(first, (struct sockaddr *)&to.storage, to.len), 0);

	getrlimit(RLIMIT_NOFILE, &old);
	low = (struct rlimit){ .rlim_cur = (rlim_t)second + 1, .rlim_max = old.rlim_max };
	setrlimit(RLIMIT_NOFILE, &low);
	struct timer wait;
	timer_init(&wait, loop, stop_loop, NULL);
	timer_start(&wait, 20 * NS_PER_MS);
	accepted_count = 0;
	wanted_count = 1;
	loop_run(loop);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_int_equal(accepted_count, 0);
	assert_int_equal(read(first, &c, 1), 0); /* closed */

	assert_int_equal(connect(second, (struct sockaddr *)&to.storage, to.len), 0);
	loop_run(loop);
	assert_int_equal(accepted_count, 1);
	close(accepted_fds[0]);
	close(first);
	close(second);
	listener_free(li);
}

/* A socket that was handed over is known by the address it listens on. */
static void test_listens_on(void **state)
{
	struct buf why = { 0 };
	(void)state;
	int fd = net_listen(false, "127.0.0.1", 0, false, &why);
	struct net_address at = address_of(fd);
	uint16_t port = ntohs(((struct sockaddr_in *)&at.storage)->sin_port);
	assert_true(net_listens_on(fd, false, "127.0.0.1", port));
	assert_true(net_listens_on(fd, false, "127.0.0.1", 0));
	assert_false(net_listens_on(fd, false, "127.0.0.1", (uint16_t)(port ^ 1)));
	assert_false(net_listens_on(fd, false, "127.0.0.2", port));
	assert_false(net_listens_on(fd, false, "", port));
	assert_false(net_listens_on(fd, true, "/127.0.0.1", 0));
	close(fd);
	fd = net_listen(false, "", 0, false, &why);
	assert_true(net_listens_on(fd, false, "", 0));
	assert_false(net_listens_on(fd, false, "127.0.0.1", 0));
	close(fd);
	fd = net_listen(true, "/tmp/slowproxy-net-test.sock", 0, false, &why);
	assert_true(net_listens_on(fd, true, "/tmp/slowproxy-net-test.sock", 0));
	assert_false(net_listens_on(fd, true, "/tmp/slowproxy-net-test", 0));
	close(fd);
	unlink("/tmp/slowproxy-net-test.sock");
}

/* --- addresses --- */
static void test_address_text(void **state)
{
	static const struct {
		const char *host, *text, *host_text;
		uint16_t port;
		bool is_unix;
	} rows[] = {
		{ "127.0.0.1", "127.0.0.1:8000", "127.0.0.1", 8000, false },
		{ "::1", "[::1]:8000", "::1", 8000, false },
		{ "::ffff:10.1.2.3", "10.1.2.3:80", "10.1.2.3", 80, false },
		{ "/run/app.sock", "unix:/run/app.sock", "", 0, true },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct net_address a;
		struct buf why = { 0 };
		char text[128];
		assert_int_equal(net_resolve(rows[i].is_unix, rows[i].host, rows[i].port, &a, 1, &why), 1);
		net_address_text(&a, text, sizeof text);
		assert_string_equal(text, rows[i].text);
		net_address_host_text(&a, text, sizeof text);
		assert_string_equal(text, rows[i].host_text);
	}
}

/* What cannot be resolved or listened on says why. */
static void test_address_errors(void **state)
{
	struct net_address a;
	struct buf why = { 0 };
	char long_path[200];
	(void)state;
	memset(long_path, 'x', sizeof long_path - 1);
	long_path[sizeof long_path - 1] = '\0';
	assert_int_equal(net_resolve(true, long_path, 0, &a, 1, &why), 0);
	assert_true(why.len > 0);
	buf_clear(&why);
	assert_int_equal(net_listen(true, "/nonexistent/folder/sock", 0, false, &why), -1);
	assert_non_null(strstr(why.data, "No such file"));
	buf_clear(&why);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_posts_all_arrive),
		TEST(test_lookup),
		TEST(test_deferred_free_waits_for_the_turn),
		TEST(test_timers_fire_in_order),
		TEST(test_timer_stop_and_restart),
		TEST(test_watch),
		TEST(test_stream_short_writes),
		TEST(test_stream_short_writes_while_paused),
		TEST(test_hangup_while_paused),
		TEST(test_stream_reset),
		TEST(test_connect_and_accept),
		TEST(test_connect_fails),
		TEST(test_accept_survives_emfile),
		TEST(test_listens_on),
		TEST(test_address_text),
		TEST(test_address_errors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
