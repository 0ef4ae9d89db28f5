/* relay.c - what a proxy costs that understands nothing: read from one socket, write to the other.
 *
 * Each client has an upstream connection of its own for life. No parsing, no timers, no logs: the floor under every proxy
 * that moves bytes through user space. Not for use: a peer that stops reading loses bytes.
 *   relay PORT UPSTREAM_PORT | UPSTREAM_PATH
 */
#include "address.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FDS = 4096, BATCH = 64 };

static int peer[MAX_FDS];
static int poll_fd;

static void watch(int fd)
{
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN, .data.fd = fd });
}

static void join(int client, const struct bench_address *upstream)
{
	int fd = socket(upstream->any.ss_family, SOCK_STREAM, 0);
	if (fd < 0 || fd >= MAX_FDS ||
		connect(fd, (const struct sockaddr *)&upstream->any, upstream->len) != 0) {
		close(client);
		close(fd);
		return;
	}
	peer[client] = fd;
	peer[fd] = client;
	watch(client);
	watch(fd);
}

static void part(int fd)
{
	close(peer[fd]);
	close(fd);
	peer[peer[fd]] = -1;
	peer[fd] = -1;
}

static void relay(int fd)
{
	char bytes[16384];
	if (peer[fd] < 0) /* parted in this very batch */
		return;
	ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 || send(peer[fd], bytes, (size_t)got, MSG_NOSIGNAL) < 0)
		part(fd);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	struct bench_address here = bench_address(argv[1]), upstream = bench_address(argv[2]);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&here.any, here.len) != 0 || listen(listener, 1024) != 0) {
		perror("listen");
		return 1;
	}
	poll_fd = epoll_create1(0);
	watch(listener);
	for (;;) {
		struct epoll_event ready[BATCH];
		int count = epoll_wait(poll_fd, ready, BATCH, -1);
		for (int i = 0; i < count; i++) {
			int fd = ready[i].data.fd;
			if (fd != listener)
				relay(fd);
			else if ((fd = accept4(listener, NULL, NULL, 0)) >= 0 && fd < MAX_FDS)
				join(fd, &upstream);
		}
	}
}
