/* healthcheck.c - one GET /readyz, with a bound on every wait. */
#include "healthcheck.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <slowproxy/base/mem.h>
#include <slowproxy/net.h>

#include "configuration.h"

enum { SECONDS_MAX = 3, ANSWER_BYTES_MAX = 4096 };

/* Only the address of the admin listener is wanted: an upstream that is not said here is no reason to fail. */
static struct config *configuration_without_upstream(const struct options *options, struct buf *errors)
{
	struct options more = *options;
	struct buf yaml = { 0 };
	bool said = false;
	more.flags = xcalloc(options->flag_count * 2 + 2, sizeof *more.flags);
	for (size_t i = 0; i < options->flag_count * 2; i++) {
		more.flags[i] = options->flags[i];
		said |= i % 2 == 0 && strcmp(more.flags[i], "upstream") == 0;
	}
	if (!said) {
		more.flags[more.flag_count * 2] = "upstream";
		more.flags[more.flag_count * 2 + 1] = "127.0.0.1:1";
		more.flag_count++;
	}
	struct config *c = configuration_read(&more, &yaml, errors);
	buf_clear(&yaml);
	free(more.flags);
	return c;
}

/* -1: nobody is there; errno says why. */
static int connect_to(const struct net_address *to)
{
	const struct timeval bound = { .tv_sec = SECONDS_MAX };
	int fd = socket(to->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound);
	if (connect(fd, (const struct sockaddr *)&to->storage, to->len) == 0)
		return fd;
	int why = errno;
	close(fd);
	errno = why;
	return -1;
}

/* The whole answer, as far as it fits. */
static bool ask(int fd, char answer[ANSWER_BYTES_MAX])
{
	static const char question[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	size_t len = 0;
	ssize_t n = send(fd, question, sizeof question - 1, MSG_NOSIGNAL);
	if (n != (ssize_t)sizeof question - 1)
		return false;
	while (len < ANSWER_BYTES_MAX - 1 && (n = recv(fd, answer + len, ANSWER_BYTES_MAX - 1 - len, 0)) > 0)
		len += (size_t)n;
	answer[len] = '\0';
	return n >= 0;
}

static int judge(const char *where, const char *answer)
{
	unsigned status = 0;
	const char *body = strstr(answer, "\r\n\r\n");
	if (sscanf(answer, "HTTP/1.%*u %u", &status) != 1) {
		fprintf(stderr, "slowproxy healthcheck: what answers at %s is not slowproxy\n", where);
		return 1;
	}
	if (status == 200)
		return 0;
	fprintf(stderr, "slowproxy healthcheck: not ready: %s", body != NULL ? body + 4 : answer);
	return 1;
}

static int check(const struct config_address *a)
{
	struct net_address to[4];
	struct buf why = { 0 };
	char answer[ANSWER_BYTES_MAX];
	const char *host = !a->is_unix && a->host[0] == '\0' ? "127.0.0.1" : a->host;
	size_t count = net_resolve(a->is_unix, host, a->port, to, ARRAY_LEN(to), &why);
	int fd = -1;
	for (size_t i = 0; i < count && fd < 0; i++)
		fd = connect_to(&to[i]);
	int status = 1;
	if (fd < 0)
		fprintf(stderr, "slowproxy healthcheck: nobody answers at %s: %s\n", a->text,
			count == 0 && why.data != NULL ? why.data : strerror(errno));
	else if (!ask(fd, answer))
		fprintf(stderr, "slowproxy healthcheck: no answer from %s: %s\n", a->text, strerror(errno));
	else
		status = judge(a->text, answer);
	if (fd >= 0)
		close(fd);
	buf_clear(&why);
	return status;
}

int healthcheck_main(const struct options *options)
{
	struct buf errors = { 0 };
	struct config *c = configuration_without_upstream(options, &errors);
	int status = 2;
	if (c == NULL)
		fputs(errors.data, stderr);
	else if (strcmp(c->admin.listen.text, "off") == 0 ||
		 c->admin.listen.port + c->admin.listen.is_unix == 0)
		fprintf(stderr,
			"slowproxy healthcheck: admin.listen is %s: there is no known place to ask; give the one of the running proxy\n",
			c->admin.listen.text);
	else
		status = check(&c->admin.listen);
	buf_clear(&errors);
	config_free(c);
	return status;
}
