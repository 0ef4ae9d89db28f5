/* connector.c - from an address to a connected socket, in bounded time.
 *
 *   connect(2) -> done at once
 *              -> waits for writability -> SO_ERROR -> done
 *              -> EAGAIN (the backlog of a unix socket is full) -> asks again soon
 */
#include "net_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>

static const uint64_t ask_again_ns = 5 * NS_PER_MS;

struct connector {
	struct loop *loop;
	int fd;
	bool waiting; /* event is armed */
	struct net_address to;
	struct event event;
	struct timer deadline, again;
	void (*done)(void *context, int fd, int error);
	void *context;
};

static void connector_release(struct connector *c)
{
	if (c->waiting)
		event_del(&c->event);
	timer_clear(&c->deadline);
	timer_clear(&c->again);
	loop_defer_free(c->loop, c, free);
}

/* error 0: the socket moves to the caller. */
static void connector_finish(struct connector *c, int error)
{
	int fd = c->fd;
	connector_release(c);
	if (error != 0) {
		close(fd);
		fd = -1;
	}
	c->done(c->context, fd, error);
}

static void on_connected(evutil_socket_t fd, short what, void *context)
{
	struct connector *c = context;
	int error = 0;
	socklen_t len = sizeof error;
	(void)what;
	loop_time_passed(c->loop);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	connector_finish(c, error);
}

static void deadline_reached(void *context)
{
	connector_finish(context, ETIMEDOUT);
}

/* 0: connected; EINPROGRESS: later; else why not. */
static int connect_try(const struct connector *c)
{
	int r;
	do
		r = connect(c->fd, (const struct sockaddr *)&c->to.storage, c->to.len);
	while (r != 0 && errno == EINTR);
	return r == 0 ? 0 : errno;
}

static void ask_again(void *context)
{
	struct connector *c = context;
	int error = connect_try(c);
	if (error == EAGAIN)
		timer_start(&c->again, ask_again_ns);
	else
		connector_finish(c, error);
}

static void connector_wait(struct connector *c, int error, uint64_t timeout_ns)
{
	timer_init(&c->deadline, c->loop, deadline_reached, c);
	timer_init(&c->again, c->loop, ask_again, c);
	if (timeout_ns != 0)
		timer_start(&c->deadline, timeout_ns);
	if (error == EAGAIN) {
		timer_start(&c->again, ask_again_ns);
		return;
	}
	event_assign(&c->event, loop_base(c->loop), c->fd, EV_WRITE, on_connected, c);
	event_add(&c->event, NULL);
	c->waiting = true;
}

struct connector *connector_new(struct loop *l, const struct net_address *to, uint64_t timeout_ns,
	void (*done)(void *context, int fd, int error), void *context)
{
	int fd = socket(to->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;
	if (fd < 0) {
		done(context, -1, errno);
		return NULL;
	}
	if (to->storage.ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);

	struct connector *c = xcalloc(1, sizeof *c);
	*c = (struct connector){ .loop = l, .fd = fd, .to = *to, .done = done, .context = context };
	int error = connect_try(c);
	if (error == EINPROGRESS || (error == EAGAIN && to->storage.ss_family == AF_UNIX)) {
		connector_wait(c, error, timeout_ns);
		return c;
	}
	free(c);
	if (error != 0) {
		close(fd);
		fd = -1;
	}
	done(context, fd, error);
	return NULL;
}

void connector_free(struct connector *c)
{
	if (c == NULL)
		return;
	close(c->fd);
	connector_release(c);
}
