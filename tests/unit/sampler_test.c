/* The sampler finds the very process behind a connection, reads it in a rhythm, and survives whatever it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/sampler.h>

#include "connection.h"
#include "holder.h"
#include "orders.h"
#include "rhythm.h"
#include "server.h"

#define PYTHON "/usr/bin/python3"

static const uint64_t patience_ns = 20 * NS_PER_S;

/* --- a backend: some processes that share a listener --- */
enum { PROCESSES_MAX = 8 };

struct backend {
	struct sockaddr_storage address;
	socklen_t address_len;
	int listener;
	pid_t pids[PROCESSES_MAX];
	int orders
		[PROCESSES_MAX]; /* 'a': accept one connection, 'f': fork after it; answered with one byte */
	size_t count;
	char path[64];
};

static void backend_process(int listener, int orders)
{
	char order;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(orders, &order, 1) == 1) {
		if (order == 'a' && accept(listener, NULL, NULL) < 0)
			_exit(1);
		pid_t self = getpid();
		if (order == 'f' && fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			while (getppid() == self) /* it may have ended before we were heard */
				pause();
			_exit(0);
		}
		if (write(orders, &order, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

static void backend_start(struct backend *b, int family, size_t processes)
{
	memset(b, 0, sizeof *b);
	b->address_len = sizeof b->address;
	b->listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (family == AF_UNIX) {
		struct sockaddr_un *un = (void *)&b->address;
		snprintf(b->path, sizeof b->path, "/tmp/sampler_test.%d", (int)getpid());
		unlink(b->path);
		un->sun_family = AF_UNIX;
		strcpy(un->sun_path, b->path);
		b->address_len = sizeof *un;
	} else if (family == AF_INET6) {
		struct sockaddr_in6 *v6 = (void *)&b->address;
		*v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	} else {
		struct sockaddr_in *v4 = (void *)&b->address;
		*v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	}
	assert_int_equal(bind(b->listener, (void *)&b->address, b->address_len), 0);
	assert_int_equal(listen(b->listener, 64), 0);
	socklen_t len = sizeof b->address;
	assert_int_equal(getsockname(b->listener, (void *)&b->address, &len), 0);
	if (family != AF_UNIX)
		b->address_len = len;
	for (size_t i = 0; i < processes; i++) {
		int ends[2];
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
		b->pids[i] = fork();
		if (b->pids[i] == 0)
			backend_process(b->listener, ends[1]);
		close(ends[1]);
		b->orders[i] = ends[0];
	}
	b->count = processes;
}

static void backend_order(struct backend *b, size_t i, char order)
{
	char answer;
	assert_int_equal(write(b->orders[i], &order, 1), 1);
	assert_int_equal(read(b->orders[i], &answer, 1), 1);
}

static void backend_stop(struct backend *b)
{
	for (size_t i = 0; i < b->count; i++) {
		close(b->orders[i]);
		kill(b->pids[i], SIGKILL);
		waitpid(b->pids[i], NULL, 0);
	}
	close(b->listener);
	if (b->path[0])
		unlink(b->path);
}

static int backend_connect(const struct backend *b)
{
	int fd = socket(b->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (const void *)&b->address, b->address_len), 0);
	return fd;
}

static struct ipc_connection connection_of(int fd)
{
	struct ipc_connection c = { 0 };
	struct sockaddr_storage ours, peer;
	struct stat st;
	socklen_t len = sizeof ours;
	assert_int_equal(getsockname(fd, (void *)&ours, &len), 0);
	len = sizeof peer;
	assert_int_equal(getpeername(fd, (void *)&peer, &len), 0);
	c.family = ours.ss_family;
	if (c.family == AF_UNIX) {
		assert_int_equal(fstat(fd, &st), 0);
		c.our_inode = st.st_ino;
	} else if (c.family == AF_INET) {
		c.our_port = ((struct sockaddr_in *)&ours)->sin_port;
		c.peer_port = ((struct sockaddr_in *)&peer)->sin_port;
		memcpy(c.our_address, &((struct sockaddr_in *)&ours)->sin_addr, 4);
		memcpy(c.peer_address, &((struct sockaddr_in *)&peer)->sin_addr, 4);
	} else {
		c.our_port = ((struct sockaddr_in6 *)&ours)->sin6_port;
		c.peer_port = ((struct sockaddr_in6 *)&peer)->sin6_port;
		memcpy(c.our_address, &((struct sockaddr_in6 *)&ours)->sin6_addr, 16);
		memcpy(c.peer_address, &((struct sockaddr_in6 *)&peer)->sin6_addr, 16);
	}
	return c;
}

/* --- looking up --- */
static pid_t holder_find(struct holders *h, uint64_t inode)
{
	struct map wanted = { 0 };
	pid_t pid = 0;
	map_put(&wanted, inode, 1);
	h->everybody_pace.next_ns = h->candidates_pace.next_ns = 0; /* the pace has its own test */
	(void)holders_look(h, &wanted, clock_now_ns());
	map_clear(&wanted);
	return holder_known(h, inode, &pid) ? pid : 0;
}

static void lookup_over(int family)
{
	struct backend b;
	struct diag d;
	struct holders h = { 0 };
	uint64_t inode = 0;

	diag_init(&d);
	if (d.fd < 0)
		print_message("SKIPPED: no NETLINK_SOCK_DIAG here\n");
	backend_start(&b, family, 4);
	int before = backend_connect(&b);
	struct ipc_connection c = connection_of(before);
	assert_int_equal(peer_inode(&d, &c, &inode), PEER_NOT_ACCEPTED);
	for (size_t i = 0; i < b.count; i++) {
		backend_order(&b, i, 'a');
		assert_int_equal(peer_inode(&d, &c, &inode), PEER_FOUND);
		assert_int_not_equal(inode, 0);
		pid_t pid = holder_find(&h, inode);
		assert_int_equal(pid, b.pids[i]);
		/* Again: now it is known, and costs one readlink. */
		assert_true(holder_known(&h, inode, &pid));
		assert_int_equal(pid, b.pids[i]);
		close(before);
		before = backend_connect(&b);
		c = connection_of(before);
	}
	close(before);
	holders_clear(&h);
	backend_stop(&b);
	diag_clear(&d);
}

/* "of four preforked acceptors the one that accepted is found; before that it is said that none has" (three families) */
static void finds_acceptor_tcp4(void **state)
{
	(void)state;
	lookup_over(AF_INET);
}

static void finds_acceptor_tcp6(void **state)
{
	(void)state;
	lookup_over(AF_INET6);
}

static void finds_acceptor_unix(void **state)
{
	(void)state;
	lookup_over(AF_UNIX);
}

/* "a server on [::] that is called over IPv4 is found too, by netlink and by /proc" */
static void finds_mapped_address(void **state)
{
	(void)state;
	struct diag d;
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	socklen_t len = sizeof any;
	int listener = socket(AF_INET6, SOCK_STREAM, 0), off = 0;
	setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	assert_int_equal(bind(listener, (void *)&any, sizeof any), 0);
	assert_int_equal(listen(listener, 4), 0);
	assert_int_equal(getsockname(listener, (void *)&any, &len), 0);
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = any.sin6_port, .sin_addr = { htonl(INADDR_LOOPBACK) }
	};
	int client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(client, (void *)&to, sizeof to), 0);
	struct ipc_connection c = connection_of(client);
	uint64_t by_netlink = 0, by_proc = 0;
	diag_init(&d);
	assert_int_equal(peer_inode(&d, &c, &by_netlink), PEER_NOT_ACCEPTED);
	assert_int_equal(peer_inode_from_proc(0, &c, &by_proc), PEER_NOT_ACCEPTED);
	int server = accept(listener, NULL, NULL);
	struct stat st;
	fstat(server, &st);
	assert_int_equal(peer_inode(&d, &c, &by_netlink), PEER_FOUND);
	assert_int_equal(peer_inode_from_proc(0, &c, &by_proc), PEER_FOUND);
	assert_int_equal(by_netlink, st.st_ino);
	assert_int_equal(by_proc, st.st_ino);
	close(server);
	/* Closed on the other side: nobody serves it any more, the listener must not be taken for it. */
	assert_int_equal(peer_inode(&d, &c, &by_netlink), PEER_NONE);
	close(client);
	close(listener);
	diag_clear(&d);
}

/* "/proc/net finds what netlink finds, over both families" */
static void proc_agrees_with_netlink(void **state)
{
	(void)state;
	static const int families[] = { AF_INET, AF_INET6 };
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct backend b;
		struct diag d;
		uint64_t by_netlink = 0, by_proc = 0, by_process = 0;
		diag_init(&d);
		backend_start(&b, families[i], 1);
		int fd = backend_connect(&b);
		struct ipc_connection c = connection_of(fd);
		assert_int_equal(peer_inode_from_proc(0, &c, &by_proc), PEER_NOT_ACCEPTED);
		backend_order(&b, 0, 'a');
		assert_int_equal(peer_inode(&d, &c, &by_netlink), PEER_FOUND);
		assert_int_equal(peer_inode_from_proc(0, &c, &by_proc), PEER_FOUND);
		assert_int_equal(peer_inode_from_proc(b.pids[0], &c, &by_process), PEER_FOUND);
		assert_int_equal(by_proc, by_netlink);
		assert_int_equal(by_process, by_netlink);
		close(fd);
		backend_stop(&b);
		diag_clear(&d);
	}
}

/* "a child that merely inherited the connection is not taken for its worker" */
static void elder_holder_wins(void **state)
{
	(void)state;
	struct backend b;
	struct diag d;
	struct holders h = { 0 };
	uint64_t inode;
	diag_init(&d);
	backend_start(&b, AF_INET, 1);
	int fd = backend_connect(&b);
	backend_order(&b, 0, 'a');
	backend_order(&b, 0, 'f');
	struct ipc_connection c = connection_of(fd);
	assert_int_equal(peer_inode(&d, &c, &inode), PEER_FOUND);
	assert_int_equal(holder_find(&h, inode), b.pids[0]);
	assert_int_equal(holder_find(&h, inode), b.pids[0]); /* in whatever order they were seen */
	close(fd);
	holders_clear(&h);
	backend_stop(&b);
	diag_clear(&d);
}

/* "a rumour that is no longer true is forgotten" */
static void holder_is_checked_again(void **state)
{
	(void)state;
	struct backend b;
	struct diag d;
	struct holders h = { 0 };
	uint64_t inode;
	pid_t pid;
	diag_init(&d);
	backend_start(&b, AF_INET, 1);
	int fd = backend_connect(&b);
	backend_order(&b, 0, 'a');
	struct ipc_connection c = connection_of(fd);
	assert_int_equal(peer_inode(&d, &c, &inode), PEER_FOUND);
	assert_int_equal(holder_find(&h, inode), b.pids[0]);
	backend_stop(&b);
	assert_false(holder_known(&h, inode, &pid));
	close(fd);
	holders_clear(&h);
	diag_clear(&d);
}

/* "looking for what is not there takes less and less of the time" */
static void looking_keeps_its_pace(void **state)
{
	(void)state;
	struct holders h = { 0 };
	struct map wanted = { 0 };
	map_put(&wanted, UINT64_MAX, 1);
	assert_true(holders_look(&h, &wanted, clock_now_ns()));
	assert_false(holders_look(&h, &wanted, clock_now_ns()));
	assert_true(h.everybody_pace.next_ns > clock_now_ns());
	for (unsigned i = 0; i < 10; i++) {
		h.everybody_pace.next_ns = 0;
		assert_true(holders_look(&h, &wanted, clock_now_ns()));
	}
	assert_true(h.everybody_pace.next_ns > clock_now_ns() + 500 * NS_PER_MS);
	map_clear(&wanted);
	holders_clear(&h);
}

/* "the server is named by the word of the command line that is its name" */
static void servers_are_named(void **state)
{
	(void)state;
	static const struct {
		const char *cmdline;
		size_t len;
		const char *server;
	} rows[] = {
#define ROW(text, server) { text, sizeof(text) - 1, server }
		ROW("/usr/bin/python3\0/usr/bin/uvicorn\0app:app", "uvicorn"),
		ROW("python3\0-m\0uvicorn\0app:app\0", "uvicorn"),
		ROW("gunicorn: worker [app:app]\0", "gunicorn"),
		ROW("/usr/bin/python3\0/usr/bin/gunicorn\0-k\0uvicorn.workers.UvicornWorker\0", "gunicorn"),
		ROW("python3\0manage.py\0runserver\0", "django"),
		ROW("python3\0/srv/uvicorn.py.bak\0", NULL),
		ROW("uwsgi", "uwsgi"),
		ROW("", NULL),
#undef ROW
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *server = server_of_cmdline(rows[i].cmdline, rows[i].len);
		if (rows[i].server == NULL)
			assert_null(server);
		else
			assert_string_equal(server, rows[i].server);
	}
}

/* "ticks keep to absolute instants within the jitter; missed ones are not made up for" */
static void rhythm_is_absolute(void **state)
{
	(void)state;
	struct rhythm r;
	uint64_t now = clock_now_ns(), begin = now, period = 10 * NS_PER_MS;
	rhythm_init(&r, 100, 2);
	rhythm_begin(&r, now);
	assert_true(r.beat.due_ns <= now);
	for (uint64_t i = 1; i <= 50; i++) {
		(void)rhythm_done(&r, r.beat.due_ns + NS_PER_MS);
		assert_int_equal(r.beat.at_ns, begin + i * period);
		assert_true(r.beat.due_ns >= r.beat.at_ns - period / 10 &&
			    r.beat.due_ns <= r.beat.at_ns + period / 10);
	}
	(void)rhythm_done(&r, r.beat.at_ns + 10 * period + 1);
	assert_int_equal((r.beat.at_ns - begin) % period, 0);
	assert_int_equal(r.beat.at_ns, begin + 61 * period);
}

/* --- the whole sampler, as the proxy sees it --- */
struct proxy_end {
	int channel;
	pid_t sampler;
	/* The dictionary, as told. */
	struct {
		char function[256], file[1024];
		uint32_t line;
	} * frames;
	struct ipc_stack *stacks;
	struct ipc_lane *lanes;
	uint32_t frame_count, stack_count, lane_count;
	struct ipc_target target; /* the last one */
	struct ipc_capture_end end;
	struct ipc_suspect suspect;
	unsigned targets, ends, ticks, ticks_failed, suspects;
	/* Called for each sample; returns whether it is what the test waits for. */
	bool (*wanted)(struct proxy_end *p, const struct ipc_tick *t, const struct ipc_sample *s);
	unsigned hits;
	uint64_t first_tick_ns, last_tick_ns;
	uint32_t last_worker;
};

static void sampler_start(struct proxy_end *p, uint32_t rate_hz)
{
	int ends[2];
	memset(p, 0, sizeof *p);
	p->frames = calloc(IPC_FRAMES_MAX + 1, sizeof *p->frames);
	p->stacks = calloc(IPC_STACKS_MAX + 1, sizeof *p->stacks);
	p->lanes = calloc(IPC_LANES_MAX + 1, sizeof *p->lanes);
	assert_true(ipc_pair(ends, 1 << 20));
	p->channel = ends[0];
	p->sampler = fork();
	if (p->sampler == 0) {
		close(ends[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct sampler_settings settings = { &ends[1], 1, rate_hz, 100 };
		exit(sampler_run(&settings));
	}
	close(ends[1]);
}

/* "closing the last channel ends the sampler with status 0" is part of every test that uses it. */
static void sampler_stop(struct proxy_end *p)
{
	int status;
	close(p->channel);
	assert_int_equal(waitpid(p->sampler, &status, 0), p->sampler);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	free(p->frames);
	free(p->stacks);
	free(p->lanes);
}

static void hear_one(struct proxy_end *p, const struct ipc_head *h)
{
	switch (h->type) {
	case IPC_TARGET:
		memcpy(&p->target, h, sizeof p->target);
		p->targets++;
		break;
	case IPC_FRAME: {
		const struct ipc_frame *f = (const void *)h;
		assert_int_equal(f->id, p->frame_count + 1);
		p->frame_count++;
		const char *text = (const char *)(f + 1);
		snprintf(p->frames[f->id].function, 256, "%.*s", (int)f->function_bytes, text);
		snprintf(p->frames[f->id].file, 1024, "%.*s", (int)f->file_bytes, text + f->function_bytes);
		p->frames[f->id].line = f->line;
		break;
	}
	case IPC_STACK:
		assert_int_equal(((const struct ipc_stack *)(const void *)h)->id, p->stack_count + 1);
		memcpy(&p->stacks[++p->stack_count], h, sizeof *p->stacks);
		assert_true(p->stacks[p->stack_count].parent < p->stack_count);
		assert_in_range(p->stacks[p->stack_count].frame, 1, p->frame_count);
		break;
	case IPC_LANE:
		assert_int_equal(((const struct ipc_lane *)(const void *)h)->id, p->lane_count + 1);
		memcpy(&p->lanes[++p->lane_count], h, sizeof *p->lanes);
		break;
	case IPC_TICK: {
		const struct ipc_tick *t = (const void *)h;
		p->ticks++;
		p->ticks_failed += (t->flags & IPC_TICK_FAILED) != 0;
		p->last_worker = h->worker;
		assert_true(t->at_ns > p->last_tick_ns);
		p->last_tick_ns = t->at_ns;
		p->first_tick_ns = p->first_tick_ns ? p->first_tick_ns : t->at_ns;
		const struct ipc_sample *s = (const void *)(t + 1);
		for (uint32_t i = 0; i < t->sample_count; i++) {
			assert_in_range(s[i].lane, 1, p->lane_count);
			assert_in_range(s[i].stack, 1, p->stack_count);
			assert_true(s[i].state < IPC_STATE_END);
			p->hits += p->wanted != NULL && p->wanted(p, t, &s[i]);
		}
		break;
	}
	case IPC_CAPTURE_END:
		memcpy(&p->end, h, sizeof p->end);
		p->ends++;
		break;
	case IPC_SUSPECT:
		memcpy(&p->suspect, h, sizeof p->suspect);
		p->suspects++;
		break;
	case IPC_RESET:
		p->frame_count = p->stack_count = p->lane_count = 0;
		break;
	default:
		fail_msg("type %u is not the sampler's to send", h->type);
	}
}

/* Hears until done(p), at most for the patience. */
static bool hear_until(struct proxy_end *p, bool (*done)(const struct proxy_end *p), uint64_t for_ns)
{
	union {
		uint64_t align;
		char bytes[IPC_DATAGRAM_MAX];
	} d;
	uint64_t end = clock_now_ns() + for_ns;
	while (!done(p) && clock_now_ns() < end) {
		struct pollfd fd = { .fd = p->channel, .events = POLLIN };
		if (poll(&fd, 1, 50) <= 0)
			continue;
		size_t len = sizeof d, at = 0;
		bool garbage;
		enum ipc_result r = ipc_receive(p->channel, d.bytes, &len, NULL);
		if (r == IPC_FULL)
			continue;
		assert_int_equal(r, IPC_OK);
		for (const struct ipc_head *h; (h = ipc_message_next(d.bytes, len, &at, &garbage)) != NULL;)
			hear_one(p, h);
		assert_false(garbage);
	}
	return done(p);
}

static void start_send(struct proxy_end *p, uint64_t id, int fd)
{
	struct ipc_capture_start m = { .head = { IPC_CAPTURE_START, sizeof m, 0 },
		.id = id,
		.deadline_ns = clock_now_ns() + 60 * NS_PER_S,
		.connection = connection_of(fd) };
	assert_int_equal(ipc_send(p->channel, &m, sizeof m), IPC_OK);
}

static void stop_send(struct proxy_end *p, uint64_t id)
{
	struct ipc_capture_stop m = { .head = { IPC_CAPTURE_STOP, sizeof m, 0 }, .id = id, .wants_end = 1 };
	assert_int_equal(ipc_send(p->channel, &m, sizeof m), IPC_OK);
}

static bool has_target(const struct proxy_end *p)
{
	return p->targets != 0;
}

static bool has_end(const struct proxy_end *p)
{
	return p->ends != 0;
}

static bool has_hits(const struct proxy_end *p)
{
	return p->hits >= 20;
}

static bool is_ok(const struct proxy_end *p)
{
	return p->targets != 0 && p->target.status == IPC_STATUS_OK;
}

static bool is_gone(const struct proxy_end *p)
{
	return p->targets != 0 && p->target.status == IPC_STATUS_GONE;
}

/* --- a live Python --- */
struct python {
	pid_t pid;
	int out;
	uint16_t port;
};

static void python_start(struct python *py, const char *program)
{
	int ends[2];
	char line[64] = "";
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	py->pid = fork();
	if (py->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ends[1], 1);
		execl(PYTHON, "python3", "-c", program, (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	py->out = ends[0];
	for (size_t at = 0; at < sizeof line - 1 && read(py->out, line + at, 1) == 1 && line[at] != '\n';
		at++)
		;
	py->port = (uint16_t)atoi(line);
	assert_int_not_equal(py->port, 0);
}

static void python_stop(struct python *py)
{
	kill(py->pid, SIGKILL);
	waitpid(py->pid, NULL, 0);
	close(py->out);
}

static int python_connect(const struct python *py)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(py->port), .sin_addr = { htonl(INADDR_LOOPBACK) }
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (void *)&to, sizeof to), 0);
	return fd;
}

#define SERVER_BEGIN                                                                                         \
	"import socket, time, threading, asyncio\n"                                                          \
	"s = socket.socket()\n"                                                                              \
	"s.bind(('127.0.0.1', 0))\n"                                                                         \
	"s.listen()\n"                                                                                       \
	"print(s.getsockname()[1], flush=True)\n"

static bool leaf_is(struct proxy_end *p, const struct ipc_sample *s, const char *function)
{
	return strcmp(p->frames[p->stacks[s->stack].frame].function, function) == 0;
}

static bool wants_busy(struct proxy_end *p, const struct ipc_tick *t, const struct ipc_sample *s)
{
	(void)t;
	uint32_t parent = p->stacks[s->stack].parent;
	return leaf_is(p, s, "busy_inner") && parent != 0 &&
	       strcmp(p->frames[p->stacks[parent].frame].function, "busy_outer") == 0 &&
	       p->frames[p->stacks[s->stack].frame].line >= 7 &&
	       p->frames[p->stacks[s->stack].frame].line <= 8 && s->state == IPC_STATE_RUNNING &&
	       p->lanes[s->lane].kind == IPC_LANE_THREAD;
}

/* "a busy worker is read a hundred times a second, and its stack is the one it has; the last word comes after STOP" */
static void samples_busy_python(void **state)
{
	(void)state;
	struct python py;
	struct proxy_end p;
	python_start(&py, SERVER_BEGIN "def busy_inner():\n"
				       "    while True:\n"
				       "        x = 1 + 1\n"
				       "def busy_outer():\n"
				       "    busy_inner()\n"
				       "c = s.accept()\n"
				       "busy_outer()\n");
	sampler_start(&p, 100);
	p.wanted = wants_busy;
	int fd = python_connect(&py);
	start_send(&p, 7, fd);
	assert_true(hear_until(&p, is_ok, patience_ns));
	assert_int_equal(p.target.pid, py.pid);
	assert_int_equal(p.target.id, 7);
	assert_true(strncmp(p.target.python, "3.11.", 5) == 0);
	assert_true(hear_until(&p, has_hits, patience_ns));
	print_message("%u looks in %.0f ms, %u failed, %u samples with the right stack\n", p.ticks,
		(double)(p.last_tick_ns - p.first_tick_ns) / 1e6, p.ticks_failed, p.hits);
	stop_send(&p, 7);
	assert_true(hear_until(&p, has_end, patience_ns));
	assert_int_equal(p.end.id, 7);
	assert_int_equal(p.end.status, IPC_STATUS_OK);
	close(fd);
	sampler_stop(&p);
	python_stop(&py);
}

static bool wants_task(struct proxy_end *p, const struct ipc_tick *t, const struct ipc_sample *s)
{
	(void)t;
	if (s->state != IPC_STATE_AWAITING || p->lanes[s->lane].kind != IPC_LANE_TASK)
		return false;
	for (uint32_t at = s->stack; at != 0; at = p->stacks[at].parent)
		if (strcmp(p->frames[p->stacks[at].frame].function, "handler") == 0)
			return true;
	return false;
}

/* "a suspended asyncio task is seen where it awaits, beside its loop, which is idle" */
static void samples_asyncio_task(void **state)
{
	(void)state;
	struct python py;
	struct proxy_end p;
	python_start(&py, SERVER_BEGIN "async def handler(r, w):\n"
				       "    await asyncio.sleep(1000)\n"
				       "async def main():\n"
				       "    v = await asyncio.start_server(handler, sock=s)\n"
				       "    await v.serve_forever()\n"
				       "asyncio.run(main())\n");
	sampler_start(&p, 100);
	p.wanted = wants_task;
	int fd = python_connect(&py);
	start_send(&p, 1, fd);
	assert_true(hear_until(&p, has_hits, patience_ns));
	bool loop_seen = false;
	for (uint32_t i = 1; i <= p.lane_count; i++)
		loop_seen |= p.lanes[i].kind == IPC_LANE_LOOP;
	assert_true(loop_seen);
	close(fd);
	sampler_stop(&p);
	python_stop(&py);
}

static bool wants_served(struct proxy_end *p, const struct ipc_tick *t, const struct ipc_sample *s)
{
	(void)t;
	return leaf_is(p, s, "served") && s->state == IPC_STATE_BLOCKED;
}

/* "a connection in the backlog is said to be not accepted; once it is accepted, sampling begins by itself" */
static void waits_for_acceptance(void **state)
{
	(void)state;
	struct python py;
	struct proxy_end p;
	python_start(&py,
		"import signal\n"
		"signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n" SERVER_BEGIN "def served():\n"
		"    time.sleep(1000)\n"
		"signal.sigwait([signal.SIGUSR1])\n"
		"c = s.accept()\n"
		"served()\n");
	sampler_start(&p, 100);
	int fd = python_connect(&py);
	start_send(&p, 1, fd);
	assert_true(hear_until(&p, has_target, patience_ns));
	assert_int_equal(p.target.status, IPC_STATUS_NOT_ACCEPTED);
	assert_int_equal(p.target.pid, 0);
	p.wanted = wants_served;
	kill(py.pid, SIGUSR1);
	assert_true(hear_until(&p, is_ok, patience_ns));
	assert_int_equal(p.target.pid, py.pid);
	assert_true(hear_until(&p, has_hits, patience_ns));
	close(fd);
	sampler_stop(&p);
	python_stop(&py);
}

static bool has_suspects(const struct proxy_end *p)
{
	return p->suspects >= 2;
}

/* "code objects that are made and thrown away again are told as replaced, frame by frame" */
static void replaced_code_is_told(void **state)
{
	(void)state;
	struct python py;
	struct proxy_end p;
	python_start(&py, SERVER_BEGIN
		"c = s.accept()\n"
		"n = 0\n"
		"while True:\n"
		"    n += 1\n"
		"    d = {}\n"
		"    exec('def made%d():\\n' % n + '  x = 1\\n' * (50 + n * 37 % 400) + '  import time; time.sleep(0.2)', d)\n"
		"    d['made%d' % n]()\n"
		"    d.clear()\n"); /* a function and its globals are a cycle */
	sampler_start(&p, 100);
	int fd = python_connect(&py);
	start_send(&p, 1, fd);
	assert_true(hear_until(&p, has_suspects, patience_ns));
	assert_in_range(p.suspect.frame, 1, p.frame_count);
	assert_true(p.suspect.from_ns < p.suspect.to_ns);
	close(fd);
	sampler_stop(&p);
	python_stop(&py);
}

/* "a backend that is not Python is said to be so, and not asked again and again" */
static void not_python_is_said(void **state)
{
	(void)state;
	struct backend b;
	struct proxy_end p;
	backend_start(&b, AF_INET, 1);
	sampler_start(&p, 100);
	int fd = backend_connect(&b);
	backend_order(&b, 0, 'a');
	start_send(&p, 3, fd);
	assert_true(hear_until(&p, has_target, patience_ns));
	assert_int_equal(p.target.status, IPC_STATUS_NOT_PYTHON);
	assert_int_equal(p.target.pid, b.pids[0]);
	assert_string_not_equal(p.target.reason, "");
	stop_send(&p, 3);
	assert_true(hear_until(&p, has_end, patience_ns));
	assert_int_equal(p.end.status, IPC_STATUS_NOT_PYTHON);
	close(fd);
	sampler_stop(&p);
	backend_stop(&b);
}

/* "a worker killed in mid-sample is told as gone" */
static void killed_worker_is_gone(void **state)
{
	(void)state;
	struct python py;
	struct proxy_end p;
	python_start(&py, SERVER_BEGIN "c = s.accept()\nwhile True: pass\n");
	sampler_start(&p, 500);
	int fd = python_connect(&py);
	start_send(&p, 1, fd);
	assert_true(hear_until(&p, is_ok, patience_ns));
	kill(py.pid, SIGKILL);
	assert_true(hear_until(&p, is_gone, patience_ns));
	assert_string_not_equal(p.target.reason, "");
	close(fd);
	sampler_stop(&p);
	python_stop(&py);
}

/* "an idle sampler uses no processor time; so does one whose orders cannot be served any more" */
static uint64_t cpu_ticks(pid_t pid)
{
	char path[64], text[1024];
	snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
	FILE *f = fopen(path, "r");
	uint64_t ns = 0;
	if (f != NULL && fgets(text, sizeof text, f) != NULL)
		ns = strtoull(text, NULL, 10);
	if (f != NULL)
		fclose(f);
	return ns;
}

static bool never(const struct proxy_end *p)
{
	(void)p;
	return false;
}

static void idle_costs_nothing(void **state)
{
	(void)state;
	struct python py;
	struct proxy_end p;
	python_start(&py, SERVER_BEGIN "c = s.accept()\ntime.sleep(1000)\n");
	sampler_start(&p, 100);
	int fd = python_connect(&py);
	start_send(&p, 1, fd);
	assert_true(hear_until(&p, is_ok, patience_ns));
	stop_send(&p, 1);
	assert_true(hear_until(&p, has_end, patience_ns));
	(void)hear_until(&p, never, 100 * NS_PER_MS);
	uint64_t before = cpu_ticks(p.sampler);
	unsigned ticks = p.ticks;
	(void)hear_until(&p, never, 500 * NS_PER_MS);
	assert_int_equal(p.ticks, ticks);
	assert_true(cpu_ticks(p.sampler) - before < NS_PER_MS);
	close(fd);
	sampler_stop(&p);
	python_stop(&py);
}

/* "garbage, wrong directions, unknown ids and doubled orders change nothing" */
static void garbage_is_survived(void **state)
{
	(void)state;
	struct backend b;
	struct proxy_end p;
	char noise[512];
	backend_start(&b, AF_INET, 1);
	sampler_start(&p, 100);
	int fd = backend_connect(&b);
	backend_order(&b, 0, 'a');
	srandom(3);
	for (int round = 0; round < 2000; round++) {
		size_t len = 1 + (size_t)random() % sizeof noise;
		for (size_t i = 0; i < len; i++)
			noise[i] = (char)random();
		noise[0] = (char)(1 + random() % IPC_TYPE_END);
		noise[1] = 0;
		if (len >= sizeof(struct ipc_capture_start) &&
			round % 2) { /* a well-formed order full of nonsense */
			struct ipc_head h = { IPC_CAPTURE_START, sizeof(struct ipc_capture_start), 0 };
			len = h.bytes;
			memcpy(noise, &h, sizeof h);
		}
		while (ipc_send(p.channel, noise, len) == IPC_FULL)
			(void)hear_until(&p, never, 10 * NS_PER_MS);
	}
	p.targets = 0;
	stop_send(&p, 424242); /* an id it does not know still gets its last word */
	assert_true(hear_until(&p, has_end, patience_ns));
	close(fd);
	sampler_stop(&p);
	backend_stop(&b);
}

int main(void)
{
	log_setup(&(struct log_settings){ .level = LOG_ERROR, .role = "sampler" });
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_acceptor_tcp4),
		cmocka_unit_test(finds_acceptor_tcp6),
		cmocka_unit_test(finds_acceptor_unix),
		cmocka_unit_test(finds_mapped_address),
		cmocka_unit_test(proc_agrees_with_netlink),
		cmocka_unit_test(elder_holder_wins),
		cmocka_unit_test(holder_is_checked_again),
		cmocka_unit_test(looking_keeps_its_pace),
		cmocka_unit_test(servers_are_named),
		cmocka_unit_test(rhythm_is_absolute),
		cmocka_unit_test(samples_busy_python),
		cmocka_unit_test(samples_asyncio_task),
		cmocka_unit_test(waits_for_acceptance),
		cmocka_unit_test(replaced_code_is_told),
		cmocka_unit_test(not_python_is_said),
		cmocka_unit_test(killed_worker_is_gone),
		cmocka_unit_test(idle_costs_nothing),
		cmocka_unit_test(garbage_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
