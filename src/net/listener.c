/* listener.c - takes new connections from a listening socket, a few per turn so that none starves the others.
 *
 * When descriptors run out, one held in reserve is given up to accept and close the connection that waits, so that its
 * client is told now; then the listener rests for a moment instead of spinning.
 *
 * Closing a listening socket resets whoever waits in its queue. So its end is: door closed, all that waits accepted, closed.
 */
#include "net_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
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

static void accept_some(struct listener *li, int at_most)
{
	for (int i = 0; i < at_most && !li->freed && !li->paused; i++) {
		struct net_address peer = { .len = sizeof peer.storage };
		int fd = accept4(
			li->fd, (struct sockaddr *)&peer.storage, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			li->out_of_fds = false;
			loop_time_passed(li->loop);
			li->accepted(li->context, fd, &peer);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			listener_starved(li, errno);
		if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO)
			return; /* EAGAIN: none waits any more */
	}
}

static void on_acceptable(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	accept_some(context, ACCEPTS_PER_TURN);
}

void listener_accept_all(struct listener *li)
{
	accept_some(li, SOMAXCONN);
}

/* A socket filter that swallows packets with the SYN flag and lets all others through, among them those that complete a
 * connection or carry its data: accepted sockets inherit it. */
static void swallow_syn(int fd)
{
	enum { TCP_FLAGS_AT = 13, SYN = 0x02 };
	static const struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TCP_FLAGS_AT),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, SYN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog filter = { ARRAY_LEN(program), (struct sock_filter *)program };
	/* A kernel without socket filters leaves the moment between the last accept and close: as good as it gets there. */
	(void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

void listener_close_door(struct listener *li)
{
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof at;
	if (getsockname(li->fd, (struct sockaddr *)&at, &len) != 0)
		return;
	if (at.ss_family == AF_UNIX) {
		shutdown(li->fd, SHUT_RD);
		listener_accept_all(li);
		listener_pause(li, true); /* it would be readable for ever */
	} else {
		swallow_syn(li->fd);
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
	close(li->fd);
	loop_defer_free(li->loop, li, free);
}
