/* What capture decides, against a sampler played by the test: honest, silent, dying, mad or flooding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>

#include "subject.h"

static const uint64_t patience_ns = 20 * NS_PER_S;

/* --- the stage: one loop, one capture, a fake sampler at the other end, a drawer for finished records --- */
struct stage {
	struct loop *loop;
	struct config config;
	struct capture *capture;
	struct capture_board *board;
	int sampler; /* the other end; -1: it hung up */
	struct list finished;
	size_t finished_count;
	int upstream[2]; /* a connected pair of sockets: [0] is the proxy's */
	/* What the sampler heard. */
	struct ipc_capture_start start; /* the last one */
	struct ipc_capture_stop stop;
	size_t starts, stops;
	bool reads, answers;   /* the manners of the sampler */
	uint64_t unsaid[4096]; /* last words the channel had no room for */
	size_t unsaid_count;
	uint32_t worker;
	struct timer pulse;
	bool (*done)(struct stage *s);
	uint64_t give_up_ns, last_pulse_ns, longest_stall_ns;
};

static void on_finished(void *context, struct record *r)
{
	struct stage *s = context;
	assert_null(r->armed);
	list_push_back(&s->finished, &r->node);
	s->finished_count++;
}

static void say(struct stage *s, const void *message)
{
	const struct ipc_head *h = message;
	assert_int_equal(ipc_send(s->sampler, message, h->bytes), IPC_OK);
}

static void say_target(
	struct stage *s, uint64_t id, uint32_t worker, enum ipc_status status, const char *reason)
{
	struct ipc_target m = { .head = { IPC_TARGET, sizeof m, worker },
		.id = id,
		.status = status,
		.pid = 4242,
		.python = "3.11.2",
		.server = "uvicorn" };
	snprintf(m.reason, sizeof m.reason, "%s", reason);
	say(s, &m);
}

static bool end_fits(struct stage *s, uint64_t id, enum ipc_status status)
{
	struct ipc_capture_end m = { .head = { IPC_CAPTURE_END, sizeof m, 0 }, .id = id, .status = status };
	return ipc_send(s->sampler, &m, sizeof m) == IPC_OK;
}

static void say_end(struct stage *s, uint64_t id, enum ipc_status status)
{
	assert_true(end_fits(s, id, status));
}

static size_t frame_make(void *out, uint32_t id, const char *function, const char *file, uint32_t line)
{
	struct ipc_frame f = { .head = { .type = IPC_FRAME }, .id = id, .line = line };
	f.function_bytes = (uint16_t)strlen(function);
	f.file_bytes = (uint16_t)strlen(file);
	f.head.bytes = (uint16_t)ipc_padded(sizeof f + f.function_bytes + f.file_bytes);
	memset(out, 0, f.head.bytes);
	memcpy(out, &f, sizeof f);
	memcpy((char *)out + sizeof f, function, f.function_bytes);
	memcpy((char *)out + sizeof f + f.function_bytes, file, f.file_bytes);
	return f.head.bytes;
}

static void say_frame(struct stage *s, uint32_t id, const char *function, const char *file, uint32_t line)
{
	uint64_t bytes[64];
	(void)frame_make(bytes, id, function, file, line);
	say(s, bytes);
}

static void say_stack(struct stage *s, uint32_t id, uint32_t parent, uint32_t frame)
{
	struct ipc_stack m = {
		.head = { IPC_STACK, sizeof m, 0 }, .id = id, .parent = parent, .frame = frame
	};
	say(s, &m);
}

static void say_lane(struct stage *s, uint32_t id, enum ipc_lane_kind kind, uint64_t native, const char *name)
{
	struct ipc_lane m = { .head = { IPC_LANE, sizeof m, 0 }, .id = id, .kind = kind, .native = native };
	snprintf(m.name, sizeof m.name, "%s", name);
	say(s, &m);
}

struct tick_message {
	struct ipc_tick tick;
	struct ipc_sample samples[IPC_TICK_SAMPLES_MAX + 1];
};

static void tick_make(struct tick_message *m, uint32_t worker, uint64_t at_ns, uint32_t flags, uint32_t count,
	const struct ipc_sample *samples)
{
	memset(m, 0, sizeof *m);
	m->tick = (struct ipc_tick){
		.head = { IPC_TICK, 0, worker }, .at_ns = at_ns, .flags = flags, .sample_count = count
	};
	if (count != 0)
		memcpy(m->samples, samples, count * sizeof *samples);
	m->tick.head.bytes = (uint16_t)ipc_padded(sizeof m->tick + count * sizeof *samples);
}

static void say_tick(
	struct stage *s, uint32_t worker, uint64_t at_ns, const struct ipc_sample *samples, uint32_t count)
{
	struct tick_message m;
	tick_make(&m, worker, at_ns, IPC_TICK_TASKS, count, samples);
	say(s, &m);
}

/* main -> view, on the loop's lane; and a pool thread: three frames, three stacks, two lanes */
static void say_dictionary(struct stage *s)
{
	say_frame(s, 1, "main", "/app/main.py", 3);
	say_frame(s, 2, "view", "/app/main.py", 17);
	say_frame(s, 3, "wait", "/usr/lib/python3.11/threading.py", 320);
	say_stack(s, 1, 0, 1);
	say_stack(s, 2, 1, 2);
	say_stack(s, 3, 0, 3);
	say_lane(s, 1, IPC_LANE_THREAD, 501, "pool-0");
	say_lane(s, 2, IPC_LANE_LOOP, 500, "MainThread");
}

static const struct ipc_sample both_lanes[] = {
	{ .lane = 1, .stack = 3, .syscall = 202, .state = IPC_STATE_IDLE },
	{ .lane = 2, .stack = 2, .syscall = -1, .state = IPC_STATE_RUNNING, .holds_gil = 1 },
};

static void sampler_hears_all(struct stage *s)
{
	union {
		uint64_t align;
		char bytes[IPC_DATAGRAM_MAX];
	} d;
	for (;;) {
		size_t len = sizeof d, at = 0;
		bool garbage;
		if (s->sampler < 0 || ipc_receive(s->sampler, d.bytes, &len, NULL) != IPC_OK)
			return;
		for (const struct ipc_head *h; (h = ipc_message_next(d.bytes, len, &at, &garbage)) != NULL;) {
			if (h->type == IPC_CAPTURE_START) {
				memcpy(&s->start, h, sizeof s->start);
				s->starts++;
				if (s->answers)
					say_target(s, s->start.id, s->worker, IPC_STATUS_OK, "");
			} else {
				assert_int_equal(h->type, IPC_CAPTURE_STOP);
				memcpy(&s->stop, h, sizeof s->stop);
				s->stops++;
				if (s->answers && s->stop.wants_end)
					s->unsaid[s->unsaid_count++ % ARRAY_LEN(s->unsaid)] = s->stop.id;
			}
		}
		assert_false(garbage);
	}
}

static void sampler_hears(struct stage *s)
{
	sampler_hears_all(s);
	while (s->sampler >= 0 && s->unsaid_count != 0 &&
		end_fits(s, s->unsaid[s->unsaid_count - 1], IPC_STATUS_OK))
		s->unsaid_count--;
}

static void pulse(void *context)
{
	struct stage *s = context;
	uint64_t now = clock_now_ns();
	if (s->last_pulse_ns != 0)
		s->longest_stall_ns = MAX(s->longest_stall_ns, now - s->last_pulse_ns);
	s->last_pulse_ns = now;
	if (s->reads)
		sampler_hears(s);
	if (s->done(s) || now > s->give_up_ns)
		loop_stop(s->loop);
	else
		timer_start(&s->pulse, NS_PER_MS);
}

static bool run_until(struct stage *s, bool (*done)(struct stage *s), uint64_t for_ns)
{
	s->done = done;
	s->give_up_ns = clock_now_ns() + for_ns;
	s->last_pulse_ns = 0;
	timer_start(&s->pulse, NS_PER_MS);
	loop_run(s->loop);
	return done(s);
}

static void connected_pair(int ends[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof a;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (void *)&a, sizeof a), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (void *)&a, &len), 0);
	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(ends[0], (void *)&a, sizeof a), 0);
	ends[1] = accept(listener, NULL, NULL);
	close(listener);
}

static void stage_begin(struct stage *s)
{
	int ends[2];
	memset(s, 0, sizeof *s);
	list_init(&s->finished);
	s->loop = loop_new();
	s->config.capture.enabled = true;
	s->config.capture.arm_after_ns = 20 * NS_PER_MS;
	s->config.capture.rate_hz = 100;
	s->config.capture.max_duration_ns = 30 * NS_PER_S;
	s->reads = s->answers = true;
	s->worker = 1;
	assert_true(ipc_pair(ends, 1 << 20));
	s->sampler = ends[1];
	struct capture_sink sink = { .finished = on_finished, .context = s };
	s->board = capture_board_new();
	s->capture = capture_new(s->loop, &s->config, ends[0], &sink, s->board);
	timer_init(&s->pulse, s->loop, pulse, s);
	connected_pair(s->upstream);
}

static void finished_drop(struct stage *s)
{
	list_for_each_safe (node, &s->finished) {
		list_remove(node);
		record_free(LIST_ENTRY(node, struct record, node));
	}
	s->finished_count = 0;
}

static void stage_end(struct stage *s)
{
	capture_free(s->capture);
	capture_board_free(s->board);
	finished_drop(s);
	timer_clear(&s->pulse);
	loop_free(s->loop);
	if (s->sampler >= 0)
		close(s->sampler);
	close(s->upstream[0]);
	close(s->upstream[1]);
	record_thread_end();
}

/* A request that is at the backend since now. */
static struct record *request(struct stage *s, uint64_t threshold_ns)
{
	struct record *r = record_new(clock_now_ns());
	uint64_t now = clock_now_ns();
	r->threshold_ns = threshold_ns;
	r->upstream_fd = s->upstream[0];
	r->timeline.at[MARK_BEGIN] = r->timeline.at[MARK_REQUEST_HEAD] = r->timeline.at[MARK_UPSTREAM] = now;
	capture_began(s->capture, r);
	return r;
}

static void answered(struct stage *s, struct record *r)
{
	uint64_t now = clock_now_ns();
	r->timeline.at[MARK_RESPONSE_BEGIN] = r->timeline.at[MARK_RESPONSE_END] = r->timeline.at[MARK_END] =
		now;
	r->upstream_fd = -1;
	capture_ended(s->capture, r);
}

static struct record *first_finished(struct stage *s)
{
	assert_false(list_empty(&s->finished));
	return LIST_ENTRY(list_first(&s->finished), struct record, node);
}

static bool one_started(struct stage *s)
{
	return s->starts >= 1;
}

static bool one_finished(struct stage *s)
{
	return s->finished_count >= 1;
}

static bool never(struct stage *s)
{
	(void)s;
	return false;
}

static bool all_armed(struct stage *s)
{
	return list_empty(&s->capture->young);
}

static bool is_heard(struct stage *s)
{
	struct list_node *n = list_first(&s->capture->subjects[SUBJECT_STARTED]);
	return n != NULL && LIST_ENTRY(n, struct subject, node)->heard;
}

static bool has_samples(struct stage *s)
{
	return capture_counters(s->capture)->samples != 0;
}

/* --- who is armed --- */

/* "a request that ends before capture.arm_after is finished at once and the sampler never hears of it" */
static void fast_is_not_armed(void **state)
{
	(void)state;
	struct stage s;
	stage_begin(&s);
	for (int i = 0; i < 100; i++)
		answered(&s, request(&s, NS_PER_S));
	assert_int_equal(s.finished_count, 100);
	assert_int_equal(first_finished(&s)->capture.status, CAPTURE_NONE);
	(void)run_until(&s, never, 50 * NS_PER_MS);
	assert_int_equal(s.starts + s.stops, 0);
	assert_int_equal(capture_counters(s.capture)->armed, 0);
	stage_end(&s);
}

/* "with capture off the record says off; a request that cannot be slow is never armed" */
static void off_and_threshold_zero(void **state)
{
	(void)state;
	struct stage s;
	stage_begin(&s);
	struct record *r = request(&s, 0);
	(void)run_until(&s, never, 60 * NS_PER_MS);
	assert_int_equal(s.starts, 0);
	answered(&s, r);
	assert_int_equal(first_finished(&s)->capture.status, CAPTURE_NONE);
	finished_drop(&s);
	s.config.capture.enabled = false;
	r = request(&s, 1);
	(void)run_until(&s, never, 60 * NS_PER_MS);
	answered(&s, r);
	assert_int_equal(first_finished(&s)->capture.status, CAPTURE_OFF);
	assert_int_equal(s.starts, 0);
	stage_end(&s);
}

/* "START names both ends of the connection; armed but not slow is stopped without waiting" */
static void armed_but_fast(void **state)
{
	(void)state;
	struct stage s;
	struct sockaddr_in ours, peer;
	socklen_t len = sizeof ours;
	stage_begin(&s);
	struct record *r = request(&s, 60 * NS_PER_S);
	assert_true(run_until(&s, one_started, patience_ns));
	getsockname(s.upstream[0], (void *)&ours, &len);
	getpeername(s.upstream[0], (void *)&peer, &len);
	assert_int_equal(s.start.connection.family, AF_INET);
	assert_int_equal(s.start.connection.our_port, ours.sin_port);
	assert_int_equal(s.start.connection.peer_port, peer.sin_port);
	assert_memory_equal(s.start.connection.our_address, &ours.sin_addr, 4);
	assert_memory_equal(s.start.connection.peer_address, &peer.sin_addr, 4);
	answered(&s, r);
	assert_int_equal(s.finished_count, 1); /* at once, before the loop turns */
	assert_int_equal(first_finished(&s)->capture.status, CAPTURE_NONE);
	sampler_hears(&s);
	assert_int_equal(s.stops, 1);
	assert_int_equal(s.stop.id, s.start.id);
	assert_int_equal(s.stop.wants_end, 0);
	stage_end(&s);
}

/* "over a unix socket START names our own inode" */
static void unix_socket_is_named(void **state)
{
	(void)state;
	struct stage s;
	int ends[2];
	struct stat st;
	stage_begin(&s);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	struct record *r = request(&s, 60 * NS_PER_S);
	r->upstream_fd = ends[0];
	assert_true(run_until(&s, one_started, patience_ns));
	fstat(ends[0], &st);
	assert_int_equal(s.start.connection.family, AF_UNIX);
	assert_int_equal(s.start.connection.our_inode, st.st_ino);
	answered(&s, r);
	close(ends[0]);
	close(ends[1]);
	stage_end(&s);
}

/* "an exchange that has no upstream connection yet is started when it gets one; one that never gets one says so" */
static void connection_comes_late(void **state)
{
	(void)state;
	struct stage s;
	stage_begin(&s);
	struct record *late = request(&s, NS_PER_MS), *none = request(&s, NS_PER_MS);
	late->upstream_fd = none->upstream_fd = -1;
	none->timeline.at[MARK_UPSTREAM] = 0;
	(void)run_until(&s, never, 60 * NS_PER_MS);
	assert_int_equal(s.starts, 0);
	assert_int_equal(capture_counters(s.capture)->armed, 2);
	late->upstream_fd = s.upstream[0];
	assert_true(run_until(&s, one_started, patience_ns));
	answered(&s, none);
	assert_int_equal(first_finished(&s)->capture.status, CAPTURE_NO_WORKER);
	assert_string_not_equal(first_finished(&s)->capture.reason, "");
	answered(&s, late);
	stage_end(&s);
}

/* --- slow, and all goes well --- */

/* "a slow request gets the samples taken while it was armed, in a profile of its own, and the worker's name" */
static void slow_gets_its_profile(void **state)
{
	(void)state;
	struct stage s;
	stage_begin(&s);
	struct record *r = request(&s, 30 * NS_PER_MS);
	assert_true(run_until(&s, is_heard, patience_ns));
	const struct subject *subject = r->armed;
	uint64_t armed = subject->armed_ns;
	say_dictionary(&s);
	say_tick(&s, 1, subject_from_ns(subject) - 5 * NS_PER_MS, both_lanes, 2); /* before its time */
	for (uint64_t i = 1; i <= 5; i++)
		say_tick(&s, 1, armed + i * 10 * NS_PER_MS, both_lanes, 2);
	say_tick(&s, 1, armed + 500 * NS_PER_MS, both_lanes, 2); /* after its time */
	assert_true(run_until(&s, has_samples, patience_ns));
	uint64_t end = armed + 55 * NS_PER_MS;
	while (clock_now_ns() < end)
		;
	r->timeline.at[MARK_RESPONSE_END] = end;
	r->timeline.at[MARK_END] = end + NS_PER_MS;
	capture_ended(s.capture, r);
	assert_int_equal(s.finished_count, 0); /* waits for the last word */
	assert_true(run_until(&s, one_finished, patience_ns));
	assert_int_equal(s.stop.wants_end, 1);

	const struct capture_result *c = &first_finished(&s)->capture;
	assert_int_equal(c->status, CAPTURE_OK);
	assert_string_equal(c->reason, "");
	assert_int_equal(c->worker_pid, 4242);
	assert_string_equal(c->worker_python, "3.11.2");
	assert_string_equal(c->worker_server, "uvicorn");
	assert_int_equal(c->samples, 5);
	assert_int_equal(c->samples_expected, 5);
	assert_non_null(c->profile);
	assert_int_equal(c->profile->lane_count, 2);
	assert_int_equal(c->profile->lanes[0].kind, PROFILE_LANE_LOOP);
	assert_string_equal(c->profile->lanes[0].name, "MainThread");
	assert_int_equal(c->profile->sample_count, 10);
	uint64_t sum = 0;
	for (size_t i = 0; i < 10; i++) {
		const struct profile_sample *p = &c->profile->samples[i];
		assert_true(i == 0 || p->at_ns >= c->profile->samples[i - 1].at_ns);
		if (p->lane != 0)
			continue;
		sum += p->weight_ns;
		assert_int_equal(p->state, PROFILE_RUNNING);
		assert_true(p->holds_gil);
		const struct profile_stack *stack = &c->profile->stacks[p->stack];
		assert_int_equal(stack->depth, 2);
		assert_string_equal(c->profile->frames[stack->frames[0]].function, "main");
		assert_string_equal(c->profile->frames[stack->frames[1]].function, "view");
		assert_string_equal(c->profile->frames[stack->frames[1]].file, "/app/main.py");
		assert_int_equal(c->profile->frames[stack->frames[1]].line, 17);
	}
	assert_int_equal(sum, c->until_ns - c->from_ns); /* the weights of a lane are the window */
	stage_end(&s);
}

/* "what the sampler could not do arrives as status, reason and the pid it is about" */
static void failures_are_passed_on(void **state)
{
	(void)state;
	struct stage s;
	stage_begin(&s);
	s.answers = false;
	struct record *r = request(&s, NS_PER_MS);
	assert_true(run_until(&s, one_started, patience_ns));
	say_target(&s, s.start.id, 3, IPC_STATUS_DENIED, "run it as root");
	assert_true(run_until(&s, is_heard, patience_ns));
	s.answers = true;
	answered(&s, r);
	sampler_hears(&s);
	finished_drop(&s);
	r = request(&s, NS_PER_MS);
	s.answers = false;
	assert_true(run_until(&s, never, 50 * NS_PER_MS) || s.starts == 2);
	say_target(&s, s.start.id, 3, IPC_STATUS_DENIED, "run it as root");
	assert_true(run_until(&s, is_heard, patience_ns));
	finished_drop(&s);
	answered(&s, r);
	say_end(&s, s.start.id, IPC_STATUS_DENIED);
	assert_true(run_until(&s, one_finished, patience_ns));
	assert_int_equal(first_finished(&s)->capture.status, CAPTURE_DENIED);
	assert_string_equal(first_finished(&s)->capture.reason, "run it as root");
	assert_int_equal(first_finished(&s)->capture.worker_pid, 4242);
	stage_end(&s);
}

/* "a request still running at capture.max_duration is reported once while it runs, and sampled no longer" */
static void running_is_reported(void **state)
{
	(void)state;
	struct stage s;
	stage_begin(&s);
	s.config.capture.max_duration_ns = 150 * NS_PER_MS;
	struct record *r = request(&s, 30 * NS_PER_MS);
	assert_true(run_until(&s, is_heard, patience_ns));
	say_dictionary(&s);
	say_tick(&s, 1, ((struct subject *)r->armed)->armed_ns + NS_PER_MS, both_lanes, 2);
	assert_true(run_until(&s, one_finished, patience_ns));
	struct record *copy = first_finished(&s);
	assert_ptr_not_equal(copy, r);
	assert_int_equal(copy->id, r->id);
	assert_true(copy->still_running);
	assert_non_null(copy->capture.profile);
	assert_int_equal(copy->capture.worker_pid, 4242);
	sampler_hears(&s);
	assert_int_equal(s.stops, 1);
	(void)run_until(&s, never, 200 * NS_PER_MS);
	assert_int_equal(s.finished_count, 1);
	assert_int_equal(s.capture->histories.used, 0); /* nothing is kept for it */
	finished_drop(&s);
	answered(&s, r);
	assert_int_equal(s.finished_count, 1);
	assert_int_equal(first_finished(&s)->capture.status, CAPTURE_PARTIAL);
	assert_int_equal(first_finished(&s)->capture.worker_pid, 4242);
	assert_false(first_finished(&s)->still_running);
	stage_end(&s);
}

/* --- the sampler misbehaves --- */

/* "a sampler that says nothing delays the first slow line by a quarter of a second, the next not at all, and is heard when it
 * speaks again" */
static void silent_sampler(void **state)
{
	(void)state;
	struct stage s;
	stage_begin(&s);
	s.reads = false;
	struct record *r = request(&s, 30 * NS_PER_MS);
	(void)run_until(&s, never, 60 * NS_PER_MS);
	uint64_t ended = clock_now_ns();
	answered(&s, r);
	assert_true(run_until(&s, one_finished, patience_ns));
	uint64_t waited = clock_now_ns() - ended;
	assert_true(waited >= 240 * NS_PER_MS);
	assert_true(waited < 2 * NS_PER_S);
	assert_int_equal(first_finished(&s)->capture.status, CAPTURE_NO_SAMPLER);
	assert_int_equal(capture_counters(s.capture)->sampler_losses, 1);
	finished_drop(&s);

	r = request(&s, 30 * NS_PER_MS);
	(void)run_until(&s, never, 60 * NS_PER_MS);
	ended = clock_now_ns();
	answered(&s, r);
	assert_true(run_until(&s, one_finished, patience_ns));
	assert_true(clock_now_ns() - ended < 200 * NS_PER_MS);
	assert_int_equal(capture_counters(s.capture)->sampler_losses, 1);
	finished_drop(&s);

	s.reads = true; /* SIGCONT */
	r = request(&s, 30 * NS_PER_MS);
	assert_true(run_until(&s, is_heard, patience_ns));
	assert_false(s.capture->silent);
	say_dictionary(&s);
	say_tick(&s, 1, clock_now_ns(), both_lanes, 2);
	(void)run_until(&s, never, 20 * NS_PER_MS);
	answered(&s, r);
	assert_true(run_until(&s, one_finished, patience_ns));
	assert_non_null(first_finished(&s)->capture.profile);
	stage_end(&s);
}

/* "a sampler that dies loses nothing but samples; its successor is asked anew" */
static void dying_sampler(void **state)
{
	(void)state;
	struct stage s;
	int ends[2];
	stage_begin(&s);
	struct record *ending = request(&s, 30 * NS_PER_MS), *waiting = request(&s, 30 * NS_PER_MS),
		      *running = request(&s, 30 * NS_PER_MS);
	assert_true(run_until(&s, is_heard, patience_ns));
	say_dictionary(&s);
	say_tick(&s, 1, clock_now_ns(), both_lanes, 2);
	(void)run_until(&s, never, 30 * NS_PER_MS);
	s.answers = false;
	answered(&s, ending);
	close(s.sampler);
	s.sampler = -1;
	assert_true(run_until(&s, one_finished, patience_ns));
	assert_int_equal(first_finished(&s)->capture.status, CAPTURE_PARTIAL); /* what was there is kept */
	assert_non_null(first_finished(&s)->capture.profile);
	finished_drop(&s);
	answered(&s, waiting);
	assert_int_equal(s.finished_count, 1); /* at once */
	assert_int_equal(first_finished(&s)->capture.status, CAPTURE_NO_SAMPLER);
	finished_drop(&s);

	assert_true(ipc_pair(ends, 1 << 20));
	s.starts = 0;
	s.sampler = ends[1];
	s.answers = true;
	capture_channel_replace(s.capture, ends[0]);
	assert_true(run_until(&s, is_heard, patience_ns));
	assert_int_equal(s.starts, 1);
	say_dictionary(&s); /* ids begin anew */
	say_tick(&s, 1, clock_now_ns(), both_lanes, 2);
	(void)run_until(&s, never, 20 * NS_PER_MS);
	answered(&s, running);
	assert_true(run_until(&s, one_finished, patience_ns));
	assert_non_null(first_finished(&s)->capture.profile);
	assert_int_equal(s.capture->histories.used, 0);
	capture_channel_replace(s.capture, -1);
	struct record *r = request(&s, NS_PER_MS);
	assert_false(run_until(&s, never, 50 * NS_PER_MS));
	finished_drop(&s);
	answered(&s, r);
	assert_int_equal(first_finished(&s)->capture.status, CAPTURE_NO_SAMPLER);
	stage_end(&s);
}

/* "noise, ids from nowhere, ticks of strangers and time that runs backwards are left out" */
static void mad_sampler(void **state)
{
	(void)state;
	struct stage s;
	uint64_t bytes[128];
	stage_begin(&s);
	struct record *r = request(&s, 30 * NS_PER_MS);
	assert_true(run_until(&s, is_heard, patience_ns));
	say_dictionary(&s);
	uint64_t now = clock_now_ns();
	struct ipc_sample strange[] = { { .lane = 99, .stack = 1 }, { .lane = 1, .stack = 99 },
		{ .lane = 0, .stack = 0 }, { .lane = 1, .stack = 1, .state = IPC_STATE_END }, both_lanes[0] };
	say_tick(&s, 1, now, strange, 5);
	say_tick(&s, 1, now - 1, both_lanes, 2);
	say_tick(&s, 77, now, both_lanes, 2);
	say_stack(&s, 4, 4, 1);    /* its own parent */
	say_stack(&s, 9, 0, 1);    /* not the next one */
	say_stack(&s, 4, 0, 1000); /* a frame nobody named */
	say_frame(&s, 17, "x", "y", 1);
	say_lane(&s, 5, IPC_LANE_TASK, 1, "x");
	say_lane(&s, 3, (enum ipc_lane_kind)77, 1, "x");
	say_target(&s, 555, 9, IPC_STATUS_OK, "");
	say_target(&s, s.start.id, 1, (enum ipc_status)1000, "");
	say_end(&s, s.start.id, IPC_STATUS_OK); /* not asked for */
	srandom(5);
	for (int i = 0; i < 20000; i++) {
		char *noise = (char *)bytes;
		size_t len = 8 + (size_t)random() % (sizeof bytes - 8);
		for (size_t k = 0; k < len; k++)
			noise[k] = (char)random();
		struct ipc_head h = { (uint16_t)(1 + random() % IPC_TYPE_END), (uint16_t)(len & ~7u),
			(uint32_t)random() % 3 };
		if (i % 2) {
			memcpy(noise, &h, sizeof h);
			len = h.bytes;
			memset(noise + 16, random() % 2 ? 0 : 1, len > 16 ? MIN(len - 16, (size_t)16) : 0);
		}
		if (ipc_send(s.sampler, noise, len) == IPC_FULL)
			(void)run_until(&s, never, 2 * NS_PER_MS);
	}
	(void)run_until(&s, never, 50 * NS_PER_MS);
	assert_true(s.capture->garbage > 1000);
	answered(&s, r);
	assert_true(run_until(&s, one_finished, patience_ns));
	const struct profile *p = first_finished(&s)->capture.profile;
	for (size_t i = 0; p != NULL && i < p->sample_count; i++) {
		assert_true(p->samples[i].lane < p->lane_count);
		assert_true(p->samples[i].stack < p->stack_count);
	}
	stage_end(&s);
}

/* "a sampler that floods takes neither the loop's time nor its memory" */
static void flooding_sampler(void **state)
{
	(void)state;
	struct stage s;
	static struct tick_message m;
	static struct ipc_sample many[IPC_TICK_SAMPLES_MAX];
	stage_begin(&s);
	struct record *r = request(&s, 30 * NS_PER_MS);
	assert_true(run_until(&s, is_heard, patience_ns));
	say_dictionary(&s);
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = both_lanes[1];
	uint64_t at = clock_now_ns(), end = at + NS_PER_S;
	while (clock_now_ns() < end) {
		do
			tick_make(&m, 1, ++at, 0, IPC_TICK_SAMPLES_MAX, many);
		while (ipc_send(s.sampler, &m, m.tick.head.bytes) == IPC_OK);
		(void)run_until(&s, never, NS_PER_MS);
	}
	const struct subject *subject = r->armed;
	assert_non_null(subject->history);
	assert_true(subject->history->bytes <= 33u << 20);
	print_message("%llu samples, %zu MiB kept, longest stall %.1f ms\n",
		(unsigned long long)capture_counters(s.capture)->samples, subject->history->bytes >> 20,
		(double)s.longest_stall_ns / 1e6);
	answered(&s, r);
	assert_true(run_until(&s, one_finished, patience_ns));
	stage_end(&s);
}

enum { VICTIMS = 3000 };

static bool victims_heard(struct stage *s)
{
	return s->starts >= VICTIMS;
}

static bool victims_finished(struct stage *s)
{
	return s->finished_count >= VICTIMS;
}

/* "thousands of victims of one worker are armed though the channel is small, and all get their profile without stopping the
 * loop" */
static void many_victims(void **state)
{
	(void)state;
	struct stage s;
	static struct record *victims[VICTIMS];
	stage_begin(&s);
	s.reads = false;
	for (size_t i = 0; i < VICTIMS; i++)
		victims[i] = request(&s, 30 * NS_PER_MS);
	assert_true(run_until(&s, all_armed, patience_ns));
	assert_true(capture_counters(s.capture)->messages_dropped > 0); /* the channel took what it could */
	s.reads = true;
	s.answers = false;
	assert_true(run_until(&s, victims_heard, patience_ns));
	for (uint64_t id = 1; id <= VICTIMS; id++) {
		struct ipc_target m = { .head = { IPC_TARGET, sizeof m, 1 }, .id = id };
		while (ipc_send(s.sampler, &m, sizeof m) == IPC_FULL)
			(void)run_until(&s, never, 2 * NS_PER_MS);
	}
	(void)run_until(&s, never, 50 * NS_PER_MS);
	say_dictionary(&s);
	for (int i = 0; i < 50; i++)
		say_tick(&s, 1, clock_now_ns(), both_lanes, 2);
	(void)run_until(&s, never, 50 * NS_PER_MS);
	assert_int_equal(s.capture->histories.used, 1); /* kept once */
	s.answers = true;
	s.longest_stall_ns = 0;
	for (size_t i = 0; i < VICTIMS; i++)
		answered(&s, victims[i]);
	assert_true(run_until(&s, victims_finished, patience_ns));
	size_t with_profile = 0, without = 0, unanswered = 0;
	list_for_each (node, &s.finished) {
		const struct record *r = LIST_ENTRY(node, struct record, node);
		with_profile += r->capture.profile != NULL;
		without += r->capture.profile == NULL;
		unanswered += strstr(r->capture.reason, "did not answer") != NULL;
	}
	print_message("%zu with a profile, %zu without, %zu unanswered, longest stall %.1f ms\n",
		with_profile, without, unanswered, (double)s.longest_stall_ns / 1e6);
	assert_int_equal(without, 0);
	assert_int_equal(s.capture->histories.used, 0);
	stage_end(&s);
}

/* "whoever still waits when the loop ends is finished, not lost" */
static void free_finishes_all(void **state)
{
	(void)state;
	struct stage s;
	stage_begin(&s);
	s.reads = false;
	struct record *r = request(&s, 30 * NS_PER_MS);
	(void)run_until(&s, never, 60 * NS_PER_MS);
	answered(&s, r);
	assert_int_equal(s.finished_count, 0);
	capture_free(s.capture);
	assert_int_equal(s.finished_count, 1);
	int ends[2];
	assert_true(ipc_pair(ends, 4096));
	close(ends[1]);
	s.capture = capture_new(s.loop, &s.config, ends[0],
		&(struct capture_sink){ .finished = on_finished, .context = &s }, s.board);
	stage_end(&s);
}

/* --- cutting, to the nanosecond --- */
static void history_tick(
	struct history *h, struct dictionary *d, uint64_t at_ns, uint32_t flags, uint32_t lane)
{
	struct tick_message m;
	struct ipc_sample one = { .lane = lane, .stack = 1, .syscall = -1, .state = IPC_STATE_BLOCKED };
	tick_make(&m, 1, at_ns, flags, flags & IPC_TICK_FAILED ? 0 : 1, &one);
	assert_int_equal(history_add(h, d, &m.tick), flags & IPC_TICK_FAILED ? 0 : 1);
}

static struct dictionary *small_dictionary(const char *function)
{
	struct dictionary *d = dictionary_new();
	uint64_t bytes[64];
	(void)frame_make(bytes, 1, function, "a.py", 1);
	assert_true(dictionary_add_frame(d, (void *)bytes));
	struct ipc_stack stack = { .head = { IPC_STACK, sizeof stack, 0 }, .id = 1, .parent = 0, .frame = 1 };
	assert_true(dictionary_add_stack(d, &stack));
	struct ipc_lane lane = {
		.head = { IPC_LANE, sizeof lane, 0 }, .id = 1, .kind = IPC_LANE_THREAD, .native = 1
	};
	assert_true(dictionary_add_lane(d, &lane));
	lane.id = 2;
	lane.kind = IPC_LANE_TASK;
	assert_true(dictionary_add_lane(d, &lane));
	return d;
}

/* "each look stands for the time to the next good one; failed and suspect ones are left out; a long hole is nobody's" */
static void weights_are_exact(void **state)
{
	(void)state;
	struct dictionary *d = small_dictionary("f");
	struct history *h = history_new(1);
	history_tick(h, d, 90, 0, 1);
	history_tick(h, d, 105, 0, 1);
	history_tick(h, d, 110, IPC_TICK_FAILED, 1);
	history_tick(h, d, 120, 0, 1);
	history_tick(h, d, 130, 0, 1); /* will be suspect */
	history_tick(h, d, 140, 0, 1);
	history_tick(h, d, 440, 0, 1);
	history_tick(h, d, 460, 0, 1);
	history_suspect(h, 121, 131);
	struct window w = { .from_ns = 100, .to_ns = 450, .period_ns = 10 };
	struct profile *p = history_cut(h, &w);
	assert_non_null(p);
	assert_int_equal(w.ticks, 4);
	assert_int_equal(w.failed, 1);
	assert_int_equal(w.suspect, 1);
	assert_int_equal(p->sample_count, 4);
	assert_int_equal(p->samples[0].weight_ns, 5 + 15); /* since the window began, and to 120 */
	assert_int_equal(p->samples[1].weight_ns, 20);     /* to 140 */
	assert_int_equal(p->samples[2].weight_ns, 100);    /* of 300: five usual distances are the most */
	assert_int_equal(p->samples[3].weight_ns, 10);     /* to the end */
	profile_free(p);
	w = (struct window){ .from_ns = 141, .to_ns = 439, .period_ns = 10 };
	assert_null(history_cut(h, &w));
	history_free(h);
	dictionary_unref(d);
}

/* "tasks that are looked at less often weigh up to their own next look" */
static void tasks_have_their_own_series(void **state)
{
	(void)state;
	struct dictionary *d = small_dictionary("f");
	struct history *h = history_new(1);
	history_tick(h, d, 110, IPC_TICK_TASKS, 2);
	history_tick(h, d, 120, 0, 1);
	history_tick(h, d, 130, IPC_TICK_TASKS, 2);
	struct window w = { .from_ns = 100, .to_ns = 140, .period_ns = 10 };
	struct profile *p = history_cut(h, &w);
	assert_int_equal(p->samples[0].weight_ns, 10 + 20);
	assert_int_equal(p->samples[1].weight_ns, 10);
	assert_int_equal(p->samples[2].weight_ns, 10);
	profile_free(p);
	history_free(h);
	dictionary_unref(d);
}

/* "a window with very many samples is thinned out evenly and still weighs as much" */
static void large_windows_are_thinned(void **state)
{
	(void)state;
	enum { TICKS = 3000, LANES = 50 };
	struct dictionary *d = small_dictionary("f");
	struct history *h = history_new(1);
	static struct tick_message m;
	static struct ipc_sample many[LANES];
	for (int i = 0; i < LANES; i++)
		many[i] = (struct ipc_sample){ .lane = i == 0 ? 1 : 2, .stack = 1, .syscall = -1 };
	for (uint64_t i = 0; i < TICKS; i++) { /* every 16th looks at tasks */
		tick_make(
			&m, 1, i * 10 + 10, i % 16 == 0 ? IPC_TICK_TASKS : 0, i % 16 == 0 ? LANES : 1, many);
		assert_int_equal(history_add(h, d, &m.tick), i % 16 == 0 ? LANES : 1);
	}
	struct window w = { .from_ns = 0, .to_ns = TICKS * 10 + 10, .period_ns = 10 };
	struct profile *p = history_cut(h, &w);
	assert_int_equal(w.ticks, TICKS);
	assert_in_range(p->sample_count, 5000, 10000 + LANES);
	uint64_t threads = 0, tasks = 0;
	for (size_t i = 0; i < p->sample_count; i++)
		*(p->lanes[p->samples[i].lane].kind == PROFILE_LANE_TASK ? &tasks : &threads) +=
			p->samples[i].weight_ns;
	assert_int_equal(threads, w.to_ns);
	assert_int_equal(tasks, (LANES - 1) * w.to_ns);
	profile_free(p);
	history_free(h);
	dictionary_unref(d);
}

/* "a frame whose code was replaced is not named in the looks since the last check; its callers are, and so is all before" */
static void replaced_code_is_not_named(void **state)
{
	(void)state;
	struct dictionary *d = small_dictionary("caller");
	struct history *h = history_new(1);
	uint64_t bytes[64];
	(void)frame_make(bytes, 2, "module", "m.py", 7);
	assert_true(dictionary_add_frame(d, (void *)bytes));
	struct ipc_stack stack = { .head = { IPC_STACK, sizeof stack, 0 }, .id = 2, .parent = 1, .frame = 2 };
	assert_true(dictionary_add_stack(d, &stack));
	struct tick_message m;
	struct ipc_sample deep = { .lane = 1, .stack = 2, .syscall = -1 };
	for (uint64_t at = 110; at <= 130; at += 10) {
		tick_make(&m, 1, at, 0, 1, &deep);
		assert_int_equal(history_add(h, d, &m.tick), 1);
	}
	assert_false(dictionary_suspect(d, 99, 0, 1));
	assert_true(dictionary_suspect(d, 2, 110, 120));
	struct window w = { .from_ns = 100, .to_ns = 140, .period_ns = 10 };
	struct profile *p = history_cut(h, &w);
	static const char *const leaves[] = { "module", "<replaced>", "module" };
	assert_int_equal(p->sample_count, 3);
	for (size_t i = 0; i < 3; i++) {
		const struct profile_stack *s = &p->stacks[p->samples[i].stack];
		assert_int_equal(s->depth, 2);
		assert_string_equal(p->frames[s->frames[0]].function, "caller");
		assert_string_equal(p->frames[s->frames[1]].function, leaves[i]);
	}
	profile_free(p);
	history_free(h);
	dictionary_unref(d);
}

/* "samples before and after a RESET lie in one profile, each with its own meaning" */
static void reset_in_mid_window(void **state)
{
	(void)state;
	struct dictionary *before = small_dictionary("old"), *after = small_dictionary("new");
	struct history *h = history_new(1);
	history_tick(h, before, 110, 0, 1);
	dictionary_unref(before); /* the sampler has reset: only the tick holds it now */
	history_tick(h, after, 120, 0, 1);
	dictionary_unref(after);
	struct window w = { .from_ns = 100, .to_ns = 130, .period_ns = 10 };
	struct profile *p = history_cut(h, &w);
	assert_int_equal(p->sample_count, 2);
	assert_int_equal(p->lane_count, 1);
	assert_string_equal(p->frames[p->stacks[p->samples[0].stack].frames[0]].function, "old");
	assert_string_equal(p->frames[p->stacks[p->samples[1].stack].frames[0]].function, "new");
	profile_free(p);
	history_free(h);
}

/* "a stretch for which a loop was held is counted once, whoever hears of it; a request's only once it has ended fast" */
static void held_time_counts_once(void **state)
{
	(void)state;
	struct capture_board *b = capture_board_new();
	struct notice n = { .other = { .span = 7 }, .from_ns = 1, .to_ns = UINT64_MAX }, found;
	int32_t pid = 0;
	assert_int_equal(board_held(b, 100, 0, 1000, 1500), 500);
	assert_int_equal(board_held(b, 100, 0, 1000, 1500), 0); /* by another loop */
	assert_int_equal(board_held(b, 100, 0, 1400, 1600), 100);
	assert_int_equal(board_held(b, 101, 0, 1000, 1500), 500); /* another worker */

	assert_false(board_listens(b));
	board_post(b, &n);
	assert_int_equal(board_held(b, 100, 7, 2000, 2300), 0);
	assert_true(board_listens(b)); /* its end matters */
	n.to_ns = 2400;
	board_post(b, &n);
	assert_int_equal(board_held_by_fast(b, 7, &pid), 300);
	assert_int_equal(pid, 100);
	assert_int_equal(board_held_by_fast(b, 7, &pid), 0);
	assert_false(board_listens(b));
	assert_int_equal(board_held(b, 100, 7, 2300, 2400), 100); /* heard of late */

	n = (struct notice){ .other = { .span = 8 }, .to_ns = 2400, .slow = true };
	board_post(b, &n);
	assert_int_equal(board_held(b, 100, 8, 2400, 2600), 0);
	for (uint64_t span = 1000; span < 3000; span++) { /* more than there is room for: the oldest leave */
		n.other.span = span;
		board_post(b, &n);
	}
	assert_false(board_find(b, 7, &found));
	assert_true(board_find(b, 2999, &found) && found.slow);
	capture_board_free(b);
}

int main(void)
{
	log_setup(&(struct log_settings){ .level = LOG_ERROR, .role = "proxy" });
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fast_is_not_armed),
		cmocka_unit_test(off_and_threshold_zero),
		cmocka_unit_test(armed_but_fast),
		cmocka_unit_test(unix_socket_is_named),
		cmocka_unit_test(connection_comes_late),
		cmocka_unit_test(slow_gets_its_profile),
		cmocka_unit_test(failures_are_passed_on),
		cmocka_unit_test(running_is_reported),
		cmocka_unit_test(silent_sampler),
		cmocka_unit_test(dying_sampler),
		cmocka_unit_test(mad_sampler),
		cmocka_unit_test(flooding_sampler),
		cmocka_unit_test(many_victims),
		cmocka_unit_test(free_finishes_all),
		cmocka_unit_test(weights_are_exact),
		cmocka_unit_test(tasks_have_their_own_series),
		cmocka_unit_test(large_windows_are_thinned),
		cmocka_unit_test(replaced_code_is_not_named),
		cmocka_unit_test(reset_in_mid_window),
		cmocka_unit_test(held_time_counts_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
