/* truth.c - a client with a clock: how long a request took as seen from outside, beside what its answer says.
 *
 *   clock, send ---> proxy reads ... X-Response-Time is written ---> recv, clock
 *
 * One request at a time, a pause between two, so that nothing is saturated. The clock is read right at the two calls.
 *   truth PORT REQUESTS PAUSE_US     prints a line for each: X-Request-ID or "-", us by our clock, X-Response-Time in ms or "-"
 */
#include "address.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_BYTES = 8192 };

static const char request[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static int connect_to(const char *where)
{
	struct bench_address to = bench_address(where);
	int fd = socket(to.any.ss_family, SOCK_STREAM, 0), on = 1;
	if (connect(fd, (struct sockaddr *)&to.any, to.len) != 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

/* The value of a header into out, "-" when there is none. */
static void value_of(const char *answer, const char *name, char *out, size_t out_bytes)
{
	const char *at = strcasestr(answer, name);
	size_t len = at != NULL ? strcspn(at + strlen(name), "\r") : 0;
	snprintf(out, out_bytes, "%.*s", len != 0 ? (int)len : 1, len != 0 ? at + strlen(name) : "-");
}

/* The small answer of answer.c comes in one piece through whoever passes it on at once. */
static uint64_t ask_ns(int fd, char answer[ANSWER_BYTES])
{
	uint64_t begun = now_ns();
	if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
		die("send");
	ssize_t got = recv(fd, answer, ANSWER_BYTES - 1, 0);
	uint64_t took = now_ns() - begun;
	if (got <= 0)
		die("recv");
	answer[got] = '\0';
	if (strstr(answer, "\r\n\r\n") == NULL) {
		fprintf(stderr, "the answer's head came in pieces\n");
		exit(1);
	}
	return took;
}

int main(int argc, char **argv)
{
	static char answer[ANSWER_BYTES], id[200], time_ms[32];
	if (argc != 4)
		return 2;
	int fd = connect_to(argv[1]);
	for (int left = atoi(argv[2]); left > 0; left--) {
		uint64_t took = ask_ns(fd, answer);
		value_of(answer, "\r\nX-Request-ID: ", id, sizeof id);
		value_of(answer, "\r\nX-Response-Time: ", time_ms, sizeof time_ms);
		printf("%s %.1f %s\n", id, (double)took / 1000, time_ms);
		usleep((useconds_t)atoi(argv[3]));
	}
	return 0;
}
