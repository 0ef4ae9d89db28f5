/* proxy_rig.h - a proxy on a loop thread of its own; the test is its client and its backend, on blocking sockets.
 *
 *   test (client) ---> proxy (loop thread) ---> test (backend)
 *
 * Every wait has a deadline; nothing sleeps for a guess.
 */
#ifndef SLOWPROXY_TEST_PROXY_RIG_H
#define SLOWPROXY_TEST_PROXY_RIG_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>

#include "proxy_private.h"

enum { WAIT_S = 20, MESSAGE_BYTES = 1 << 20 };

struct rig {
	struct loop *loop;
	struct proxy *proxy;
	struct config *config;
	pthread_t thread;
	int backend_fd;
	struct net_address at, backend_at;
	char unix_path[64], backend_unix_path[64];

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct list records;  /* ended, oldest first */
	struct list refusals; /* refused on their head */
	unsigned began, ended, taken;
	bool drained;
};

/* --- calls made on the loop's thread --- */
struct errand {
	struct rig *rig;
	void (*run)(struct rig *rig, void *context);
	void *context;
	bool done;
};

static inline void errand_run(void *context)
{
	struct errand *e = context;
	e->run(e->rig, e->context);
	pthread_mutex_lock(&e->rig->lock);
	e->done = true;
	pthread_cond_broadcast(&e->rig->changed);
	pthread_mutex_unlock(&e->rig->lock);
}

static inline void on_loop(struct rig *rig, void (*run)(struct rig *rig, void *context), void *context)
{
	struct errand e = { .rig = rig, .run = run, .context = context };
	loop_post(rig->loop, errand_run, &e);
	pthread_mutex_lock(&rig->lock);
	while (!e.done)
		pthread_cond_wait(&rig->changed, &rig->lock);
	pthread_mutex_unlock(&rig->lock);
}

/* --- observer --- */
static inline void rig_began(void *context, struct record *r)
{
	struct rig *rig = context;
	assert_true(r->id != 0 && r->method[0] != '\0' && r->request_id[0] != '\0');
	pthread_mutex_lock(&rig->lock);
	rig->began++;
	pthread_mutex_unlock(&rig->lock);
}

static inline void rig_ended(void *context, struct record *r)
{
	struct rig *rig = context;
	pthread_mutex_lock(&rig->lock);
	rig->ended++;
	list_push_back(&rig->records, &r->node);
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->lock);
}

static inline void rig_refused(void *context, struct record *r)
{
	struct rig *rig = context;
	pthread_mutex_lock(&rig->lock);
	list_push_back(&rig->refusals, &r->node);
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->lock);
}

/* The next of these records; owned. */
static inline struct record *rig_record_of(struct rig *rig, struct list *records)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	pthread_mutex_lock(&rig->lock);
	while (list_empty(records))
		if (pthread_cond_timedwait(&rig->changed, &rig->lock, &until) != 0)
			fail_msg("no exchange ended in %d s", WAIT_S);
	struct record *r = LIST_ENTRY(list_first(records), struct record, node);
	list_remove(&r->node);
	pthread_mutex_unlock(&rig->lock);
	return r;
}

static inline struct record *rig_record(struct rig *rig)
{
	return rig_record_of(rig, &rig->records);
}

static inline void rig_expect_outcome(struct rig *rig, enum outcome outcome)
{
	struct record *r = rig_record(rig);
	assert_string_equal(outcomes[r->outcome].name, outcomes[outcome].name);
	record_free(r);
}

/* --- waiting for the proxy to be at rest --- */
struct at_rest {
	unsigned clients;
	bool is;
};

static inline void look_at_rest(struct rig *rig, void *context)
{
	struct at_rest *rest = context;
	const struct proxy_counters *c = proxy_counters(rig->proxy);
	rest->is =
		c->exchanges == 0 && c->upstream_busy == 0 && c->clients == rest->clients &&
		(rest->clients != 0 || (rig->proxy->blocks.in_use == 0 && rig->proxy->refused_clients == 0));
}

static inline void rig_wait_at_rest(struct rig *rig, unsigned clients)
{
	struct at_rest rest = { .clients = clients };
	uint64_t until_ns = clock_now_ns() + WAIT_S * NS_PER_S;
	do {
		on_loop(rig, look_at_rest, &rest);
		if (clock_now_ns() > until_ns)
			fail_msg("the proxy did not come to rest with %u clients", clients);
	} while (!rest.is);
}

static inline void copy_counters(struct rig *rig, void *context)
{
	*(struct proxy_counters *)context = *proxy_counters(rig->proxy);
}

static inline struct proxy_counters rig_counters(struct rig *rig)
{
	struct proxy_counters c;
	on_loop(rig, copy_counters, &c);
	return c;
}

static inline void copy_blocks(struct rig *rig, void *context)
{
	*(size_t *)context = rig->proxy->blocks.in_use;
}

static inline size_t rig_blocks_in_use(struct rig *rig)
{
	size_t n;
	on_loop(rig, copy_blocks, &n);
	return n;
}

/* --- begin and end --- */
static inline int listen_somewhere(bool is_unix, char path[64], struct net_address *at)
{
	static unsigned serial;
	struct buf why = { 0 };
	snprintf(path, 64, "/tmp/slowproxy-%d-%u.sock", (int)getpid(), ++serial);
	int fd = net_listen(is_unix, is_unix ? path : "127.0.0.1", 0, false, &why);
	if (fd < 0)
		fail_msg("listen: %s", why.data);
	at->len = sizeof at->storage;
	getsockname(fd, (struct sockaddr *)&at->storage, &at->len);
	return fd;
}

static inline void *rig_thread(void *context)
{
	struct rig *rig = context;
	loop_run(rig->loop);
	record_thread_end();
	return NULL;
}

/* flags: pairs of config keys and values, NULL at the end; may be NULL. others: further upstreams as ",host:port..." */
static inline struct rig *rig_new_beside(
	const char *others, bool unix_front, bool unix_back, const char *const *flags)
{
	struct rig *rig = xcalloc(1, sizeof *rig);
	char upstream[256];
	const char *pairs[40] = { "upstream", upstream, "capture.enabled", "false" };
	size_t count = 4;
	struct buf errors = { 0 };

	pthread_mutex_init(&rig->lock, NULL);
	pthread_cond_init(&rig->changed, NULL);
	list_init(&rig->records);
	list_init(&rig->refusals);
	int listen_fd = listen_somewhere(unix_front, rig->unix_path, &rig->at);
	rig->backend_fd = listen_somewhere(unix_back, rig->backend_unix_path, &rig->backend_at);
	net_address_text(&rig->backend_at, upstream, sizeof upstream);
	strncat(upstream, others, sizeof upstream - strlen(upstream) - 1);
	while (flags != NULL && *flags != NULL)
		pairs[count++] = *flags++;
	struct config_source source = { .flags = pairs, .flag_count = count / 2 };
	rig->config = config_load(&source, &errors);
	if (rig->config == NULL)
		fail_msg("config: %s", errors.data);
	rig->loop = loop_new();
	struct proxy_observer observer = { rig_began, rig_ended, rig_refused, rig };
	rig->proxy = proxy_new(rig->loop, rig->config, &observer);
	proxy_listen(rig->proxy, listen_fd, false);
	pthread_create(&rig->thread, NULL, rig_thread, rig);
	return rig;
}

static inline struct rig *rig_new_with(bool unix_front, bool unix_back, const char *const *flags)
{
	return rig_new_beside("", unix_front, unix_back, flags);
}

static inline struct rig *rig_new(const char *const *flags)
{
	return rig_new_with(false, false, flags);
}

static inline void free_and_stop(struct rig *rig, void *context)
{
	(void)context;
	proxy_free(rig->proxy);
	loop_stop(rig->loop);
}

static inline void rig_free(struct rig *rig)
{
	on_loop(rig, free_and_stop, NULL);
	pthread_join(rig->thread, NULL);
	loop_free(rig->loop);
	assert_int_equal(rig->began, rig->ended);
	list_for_each_safe (node, &rig->records)
		record_free(LIST_ENTRY(node, struct record, node));
	list_for_each_safe (node, &rig->refusals)
		record_free(LIST_ENTRY(node, struct record, node));
	record_thread_end();
	config_free(rig->config);
	if (rig->backend_fd >= 0)
		close(rig->backend_fd);
	unlink(rig->unix_path);
	unlink(rig->backend_unix_path);
	pthread_mutex_destroy(&rig->lock);
	pthread_cond_destroy(&rig->changed);
	free(rig);
}

/* --- sockets of the test --- */
static inline void bound_waits(int fd)
{
	struct timeval limit = { .tv_sec = WAIT_S };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static inline int client_connect(struct rig *rig)
{
	int fd = socket(rig->at.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bound_waits(fd);
	assert_int_equal(connect(fd, (struct sockaddr *)&rig->at.storage, rig->at.len), 0);
	return fd;
}

static inline int accept_at(int listen_fd)
{
	struct pollfd p = { .fd = listen_fd, .events = POLLIN };
	if (poll(&p, 1, WAIT_S * 1000) != 1)
		fail_msg("the proxy did not connect to the backend");
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	bound_waits(fd);
	return fd;
}

static inline int backend_accept(struct rig *rig)
{
	return accept_at(rig->backend_fd);
}

static inline bool backend_has_connection(struct rig *rig)
{
	struct pollfd p = { .fd = rig->backend_fd, .events = POLLIN };
	return poll(&p, 1, 0) == 1;
}

static inline void close_with_reset(int fd)
{
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
	close(fd);
}

static inline void send_bytes(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;
	while (len != 0) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
		if (n < 0)
			fail_msg("send: %s", strerror(errno));
		at += n;
		len -= (size_t)n;
	}
}

static inline void send_text(int fd, const char *text)
{
	send_bytes(fd, text, strlen(text));
}

/* Reads until `until` was seen (or, with NULL, until the peer closes) into a static buffer, one byte at a time where it
 * must not read too far. */
static char message[MESSAGE_BYTES];

static inline const char *read_until(int fd, const char *until)
{
	size_t len = 0;
	for (;;) {
		ssize_t n = recv(fd, message + len, until != NULL ? 1 : sizeof message - len - 1, 0);
		if (n < 0)
			fail_msg("recv: %s after \"%.*s\"", strerror(errno), (int)len, message);
		len += (size_t)n;
		message[len] = '\0';
		if (n == 0 && until != NULL)
			fail_msg("closed before \"%s\": \"%s\"", until, message);
		if (n == 0 || (until != NULL && len >= strlen(until) &&
				      strcmp(message + len - strlen(until), until) == 0))
			return message;
	}
}

static inline const char *read_head(int fd)
{
	return read_until(fd, "\r\n\r\n");
}

static inline void expect_bytes(int fd, const char *bytes)
{
	size_t len = strlen(bytes), got = 0;
	char *in = xcalloc(1, len + 1);
	while (got < len) {
		ssize_t n = recv(fd, in + got, len - got, 0);
		if (n <= 0)
			fail_msg("expected \"%s\", got \"%s\" and then %s", bytes, in,
				n == 0 ? "the end" : strerror(errno));
		got += (size_t)n;
	}
	assert_string_equal(in, bytes);
	free(in);
}

/* FIN or RST. */
static inline void expect_closed(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);
	if (n > 0)
		fail_msg("expected the end, got '%c'", c);
	if (n < 0 && errno != ECONNRESET)
		fail_msg("expected the end: %s", strerror(errno));
}

static inline void expect_contains(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("expected \"%s\" in \"%s\"", part, text);
}

static inline void expect_lacks(const char *text, const char *part)
{
	if (strstr(text, part) != NULL)
		fail_msg("expected no \"%s\" in \"%s\"", part, text);
}

#define OK_EMPTY  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define OK_HELLO  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define GET_SLASH "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

#endif
