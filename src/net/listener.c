/* listener.c - takes new connections from a listening socket, a few per turn so that none starves the others.
 *
 * When descriptors run out, one held in reserve is given up to accept and close the connection that waits, so that its
 * client is told now; then the listener rests for a moment instead of spinning.
 */
#include "net_private.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>

enum { ACCEPTS_PER_TURN = 16 };
static const uint64_t rest_ns = 100 * NS_PER_MS;

struct listener {
	struct loop *loop;
	int fd;
	int reserve_fd;
	bool paused;
	bool out_of_fds; /* told once, until an accept succeeds again */
	bool freed;
	struct event event;
	struct timer rest;
	void (*accepted)(void *context, int fd, const struct net_address *peer);
	void *context;
};

static int reserve_open(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void listener_arm(struct listener *li)
{
	if (!li->paused && !timer_running(&li->rest))
		event_add(&li->event, NULL);
	else
		event_del(&li->event);
}

static void rest_over(void *context)
{
	listener_arm(context);
}

/* accept(2) failed for want of descriptors or memory. */
static void listener_starved(struct listener *li, int error)
{
	if (!li->out_of_fds)
		log_warn("cannot accept connections: %s; raise the limit of open files (ulimit -n)",
			strerror(error));
	li->out_of_fds = true;
	if (li->reserve_fd >= 0) {
		close(li->reserve_fd);
		int fd = accept4(li->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			close(fd);
		li->reserve_fd = reserve_open();
	}
	timer_start(&li->rest, rest_ns);
	listener_arm(li);
}

static void on_acceptable(evutil_socket_t listen_fd, short what, void *context)
{
	struct listener *li = context;
	(void)what;
	for (int i = 0; i < ACCEPTS_PER_TURN && !li->freed && !li->paused; i++) {
		struct net_address peer = { .len = sizeof peer.storage };
		int fd = accept4(
			listen_fd, (struct sockaddr *)&peer.storage, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			li->out_of_fds = false;
			li->accepted(li->context, fd, &peer);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			listener_starved(li, errno);
		if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO)
			return; /* EAGAIN: none waits any more */
	}
}

struct listener *listener_new(struct loop *l, int fd,
	void (*accepted)(void *context, int fd, const struct net_address *peer), void *context)
{
	struct listener *li = xcalloc(1, sizeof *li);
	int on = 1;
	li->loop = l;
	li->fd = fd;
	li->accepted = accepted;
	li->context = context;
	li->reserve_fd = reserve_open();
	/* Accepted sockets inherit both: one call here instead of one for each connection. A unix socket says no. A peer
	 * that vanished without a FIN is found by the kernel's probes. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	timer_init(&li->rest, l, rest_over, li);
	event_assign(&li->event, loop_base(l), fd, EV_READ | EV_PERSIST, on_acceptable, li);
	listener_arm(li);
	return li;
}

void listener_pause(struct listener *li, bool paused)
{
	li->paused = paused;
	listener_arm(li);
}

void listener_free(struct listener *li)
{
	if (li == NULL)
		return;
	li->freed = true;
	event_del(&li->event);
	timer_clear(&li->rest);
	if (li->reserve_fd >= 0)
		close(li->reserve_fd);
	loop_defer_free(li->loop, li, free);
}
