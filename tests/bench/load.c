/* load.c - an open-loop load: requests are due at fixed times, and latency counts from the time a request was due.
 *
 *   due 0 -- due 1 -- due 2 -- ...      a request whose connection is not free when it is due waits, and its wait counts:
 *      \        \_ sent late            a server that stalls cannot hide the requests that would have come meanwhile
 *       sent
 *
 *   load PORT RATE SECONDS CONNECTIONS     prints one JSON object: requests, errors, and latencies in microseconds
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)

enum { MAX_CONNECTIONS = 1024, BATCH = 64, ANSWER_BYTES = 8192 };

static const char request[] = "GET / HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\nUser-Agent: load\r\n\r\n";

struct connection {
	int fd;
	uint64_t due_ns; /* of the request that is on its way */
	size_t have;
	char answer[ANSWER_BYTES];
};

static struct connection connections[MAX_CONNECTIONS];
static int idle[MAX_CONNECTIONS], idle_count;
static uint64_t *latencies;
static uint64_t scheduled, answered, errors, total;
static uint64_t started_ns, interval_ns;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t due_ns(uint64_t number)
{
	return started_ns + number * interval_ns;
}

static int connect_to(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

/* Sends what is due and finds an idle connection; the rest stays due and is sent, late, by whoever becomes idle. */
static void send_due(void)
{
	uint64_t now = now_ns();
	while (scheduled < total && idle_count > 0 && due_ns(scheduled) <= now) {
		struct connection *c = &connections[idle[--idle_count]];
		c->due_ns = due_ns(scheduled++);
		c->have = 0;
		if (send(c->fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
			errors++;
	}
}

/* Length of the whole answer when it has arrived, else 0. */
static size_t answer_length(struct connection *c)
{
	c->answer[c->have] = '\0';
	char *end = strstr(c->answer, "\r\n\r\n");
	if (end == NULL)
		return 0;
	char *length = strcasestr(c->answer, "\r\nContent-Length:");
	size_t whole = (size_t)(end + 4 - c->answer) + (length != NULL ? strtoul(length + 17, NULL, 10) : 0);
	return c->have >= whole ? whole : 0;
}

static void receive(int index)
{
	struct connection *c = &connections[index];
	ssize_t got = recv(c->fd, c->answer + c->have, sizeof c->answer - 1 - c->have, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		errors++;
		close(c->fd); /* a connection fewer: the errors say so */
		return;
	}
	c->have += (size_t)got;
	if (answer_length(c) == 0)
		return;
	if (strncmp(c->answer, "HTTP/1.1 200", 12) != 0)
		errors++;
	latencies[answered++] = now_ns() - c->due_ns;
	idle[idle_count++] = index;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static double percentile_us(double share)
{
	return answered == 0 ? 0 : (double)latencies[(uint64_t)(share * (double)(answered - 1))] / 1000;
}

static void print_result(void)
{
	qsort(latencies, answered, sizeof *latencies, compare);
	printf("{\"requests\": %llu, \"errors\": %llu, \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}\n",
		(unsigned long long)answered, (unsigned long long)(errors + (total - answered)),
		percentile_us(0.5), percentile_us(0.99), percentile_us(0.999), percentile_us(1.0));
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	int port = atoi(argv[1]), count = atoi(argv[4]);
	uint64_t rate = strtoull(argv[2], NULL, 10);
	double seconds = strtod(argv[3], NULL);
	if (rate == 0 || seconds <= 0 || count < 1 || count > MAX_CONNECTIONS)
		return 2;
	interval_ns = NS_PER_S / rate;
	total = (uint64_t)(seconds * (double)rate);
	latencies = calloc(total + 1, sizeof *latencies);

	int poll = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	epoll_ctl(poll, EPOLL_CTL_ADD, timer, &(struct epoll_event){ .events = EPOLLIN, .data.fd = -1 });
	for (int i = 0; i < count; i++) {
		connections[i].fd = connect_to(port);
		idle[idle_count++] = i;
		epoll_ctl(poll, EPOLL_CTL_ADD, connections[i].fd,
			&(struct epoll_event){ .events = EPOLLIN, .data.fd = i });
	}
	started_ns = now_ns();
	struct timespec each = { (time_t)(interval_ns / NS_PER_S), (long)(interval_ns % NS_PER_S) };
	timerfd_settime(timer, 0, &(struct itimerspec){ each, each }, NULL);
	uint64_t give_up_ns = due_ns(total) + 2 * NS_PER_S;
	while (answered < total && now_ns() < give_up_ns) {
		struct epoll_event ready[BATCH];
		int n = epoll_wait(poll, ready, BATCH, 100);
		for (int i = 0; i < n; i++) {
			uint64_t ticks;
			if (ready[i].data.fd >= 0)
				receive(ready[i].data.fd);
			else if (read(timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN)
				die("timerfd");
		}
		send_due();
	}
	print_result();
	return 0;
}
