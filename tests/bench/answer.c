/* answer.c - the fastest backend that is still HTTP: the same 27 bytes of JSON for whatever is asked.
 *
 * One thread, one epoll. A request is whatever ends with an empty line; bodies are not understood.
 *   answer PORT | /PATH.sock [MEGABYTES]      with MEGABYTES: a body of that size instead, written one answer after the other
 */
#include "address.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FDS = 4096, BATCH = 64 };

static const char reply[] = "HTTP/1.1 200 OK\r\n"
			    "Server: answer\r\n"
			    "Content-Type: application/json\r\n"
			    "Content-Length: 27\r\n"
			    "\r\n"
			    "{\"message\":\"Hello, World!\"}";

static size_t big_bytes;               /* of the body; 0: the small one */
static unsigned char matched[MAX_FDS]; /* how many bytes of the empty line each connection has sent */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int listen_on(const char *where)
{
	struct bench_address at = bench_address(where);
	int fd = socket(at.any.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&at.any, at.len) != 0 || listen(fd, 1024) != 0)
		die("listen");
	return fd;
}

/* The socket waits for its reader meanwhile: whoever wants much is served alone. */
static int send_big(int fd)
{
	static char bytes[1 << 20];
	char head[128];
	int len = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", big_bytes);
	if (send(fd, head, (size_t)len, MSG_NOSIGNAL) != len)
		return -1;
	for (size_t left = big_bytes; left > 0; left -= sizeof bytes)
		if (send(fd, bytes, sizeof bytes, MSG_NOSIGNAL) != (ssize_t)sizeof bytes)
			return -1;
	return 0;
}

/* How many requests end in these bytes. */
static int count_requests(int fd, const char *bytes, ssize_t len)
{
	static const char end[] = "\r\n\r\n";
	int found = 0;
	for (ssize_t i = 0; i < len; i++) {
		if (bytes[i] == end[matched[fd]])
			matched[fd]++;
		else
			matched[fd] = bytes[i] == '\r';
		if (matched[fd] == 4) {
			matched[fd] = 0;
			found++;
		}
	}
	return found;
}

static void serve(int fd)
{
	char bytes[16384];
	ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		close(fd);
		return;
	}
	for (int n = count_requests(fd, bytes, got); n > 0; n--)
		if (big_bytes != 0 ? send_big(fd) < 0 : send(fd, reply, sizeof reply - 1, MSG_NOSIGNAL) < 0)
			break;
}

int main(int argc, char **argv)
{
	if (argc != 2 && argc != 3)
		return 2;
	if (argc == 3)
		big_bytes = strtoul(argv[2], NULL, 10) << 20;
	int listener = listen_on(argv[1]), poll = epoll_create1(0), on = 1;
	struct epoll_event e = { .events = EPOLLIN, .data.fd = listener }, ready[BATCH];
	epoll_ctl(poll, EPOLL_CTL_ADD, listener, &e);
	for (;;) {
		int count = epoll_wait(poll, ready, BATCH, -1);
		for (int i = 0; i < count; i++) {
			if (ready[i].data.fd != listener) {
				serve(ready[i].data.fd);
				continue;
			}
			int fd = accept4(listener, NULL, NULL, big_bytes != 0 ? 0 : SOCK_NONBLOCK);
			if (fd < 0)
				continue;
			if (fd >= MAX_FDS) {
				close(fd);
				continue;
			}
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
			matched[fd] = 0;
			e = (struct epoll_event){ .events = EPOLLIN, .data.fd = fd };
			epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e);
		}
	}
}
