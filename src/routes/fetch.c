/* fetch.c - one GET to the application: every wait ends with the time, or when we are to stop. */
#include "fetch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/http.h>
#include <slowproxy/net.h>

enum { ADDRESSES_MAX = 4, HEAD_BYTES_MAX = 32 << 10, READ_BYTES = 64 << 10 };

struct fetch {
	int fd, stop_fd;
	uint64_t deadline_ns;
	struct http_reader *reader;
	struct http_head head;
	struct buf *body, *why;
	struct buf unread; /* read from the socket, not yet taken by the reader */
	uint16_t status;   /* 0: no head yet */
};

static enum fetch_result failed(struct fetch *f, const char *what)
{
	buf_printf(f->why, "%s: %s", what, strerror(errno));
	return FETCH_FAILED;
}

/* FETCH_OK: the socket is ready. */
static enum fetch_result ready(struct fetch *f, short events)
{
	for (;;) {
		uint64_t now = clock_now_ns();
		struct pollfd fds[] = { { f->fd, events, 0 }, { f->stop_fd, POLLIN, 0 } };
		int left_ms = now < f->deadline_ns ? (int)((f->deadline_ns - now) / NS_PER_MS) + 1 : 0;
		int n = left_ms != 0 ? poll(fds, 2, left_ms) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n > 0 && fds[1].revents != 0)
			return FETCH_STOPPED;
		if (n > 0)
			return FETCH_OK;
		buf_add_str(f->why, "it did not answer in time");
		return FETCH_FAILED;
	}
}

static enum fetch_result connect_to(struct fetch *f, const struct net_address *to)
{
	f->fd = socket(to->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (f->fd < 0)
		return failed(f, "socket");
	if (connect(f->fd, (const struct sockaddr *)&to->storage, to->len) == 0)
		return FETCH_OK;
	if (errno != EINPROGRESS)
		return failed(f, "connect");
	enum fetch_result r = ready(f, POLLOUT);
	socklen_t len = sizeof errno;
	int error = 0;
	if (r == FETCH_OK && getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error != 0) {
		errno = error;
		return failed(f, "connect");
	}
	return r;
}

static enum fetch_result ask(struct fetch *f, const struct config_address *from, const char *path)
{
	struct buf request = { 0 };
	buf_printf(&request,
		"GET %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nUser-Agent: slowproxy\r\nConnection: close\r\n\r\n",
		path, from->is_unix ? "localhost" : from->text);
	enum fetch_result r = FETCH_OK;
	for (size_t sent = 0; sent < request.len && r == FETCH_OK;) {
		ssize_t n = send(f->fd, request.data + sent, request.len - sent, MSG_NOSIGNAL);
		if (n > 0)
			sent += (size_t)n;
		else if (errno == EAGAIN)
			r = ready(f, POLLOUT);
		else if (errno != EINTR)
			r = failed(f, "send");
	}
	buf_clear(&request);
	return r;
}

static bool take_head(struct fetch *f)
{
	if (f->head.status < 200)
		return true; /* an interim response */
	f->status = f->head.status;
	if (f->status == 200)
		return true;
	buf_printf(f->why, "it answers with status %u", f->status);
	return false;
}

static bool take_body(struct fetch *f, struct slice bytes)
{
	if (f->body->len + bytes.len > FETCH_BYTES_MAX) {
		buf_printf(f->why, "it is larger than %d MiB", FETCH_BYTES_MAX >> 20);
		return false;
	}
	buf_add(f->body, bytes.at, bytes.len);
	return true;
}

/* FETCH_FAILED without a reason: more is needed. */
static enum fetch_result take(struct fetch *f, bool at_end)
{
	size_t from = 0;
	for (;;) {
		size_t used = 0;
		struct slice part;
		enum http_event e = http_read(
			f->reader, f->unread.data + from, f->unread.len - from, &used, &f->head, &part);
		bool good = e == HTTP_EVENT_HEAD ? take_head(f) : e != HTTP_EVENT_BODY || take_body(f, part);
		from += used;
		if (!good)
			return FETCH_ANSWERED;
		if (e == HTTP_EVENT_MORE && at_end && http_read_end(f->reader) == HTTP_EVENT_DONE)
			return FETCH_OK;
		if (e == HTTP_EVENT_DONE && f->status != 0)
			return FETCH_OK;
		if (e == HTTP_EVENT_DONE)
			http_reader_reset(f->reader);
		if (e == HTTP_EVENT_FAILED) {
			buf_printf(f->why, "its answer is not HTTP: %s",
				http_errors[http_reader_error(f->reader)].sentence);
			return FETCH_ANSWERED;
		}
		if (e == HTTP_EVENT_MORE)
			break;
	}
	memmove(f->unread.data, f->unread.data + from, f->unread.len - from);
	f->unread.len -= from;
	return FETCH_FAILED;
}

static enum fetch_result receive(struct fetch *f)
{
	for (;;) {
		buf_reserve(&f->unread, READ_BYTES);
		ssize_t n = recv(f->fd, f->unread.data + f->unread.len, READ_BYTES, 0);
		if (n < 0 && errno == EAGAIN) {
			enum fetch_result r = ready(f, POLLIN);
			if (r != FETCH_OK)
				return r;
		} else if (n < 0 && errno != EINTR) {
			return failed(f, "recv");
		} else if (n >= 0) {
			f->unread.len += (size_t)n;
			enum fetch_result r = take(f, n == 0);
			if (r != FETCH_FAILED)
				return r;
			if (n == 0) {
				buf_add_str(f->why, "it closed the connection in mid-answer");
				return FETCH_FAILED;
			}
		}
	}
}

enum fetch_result fetch(const struct config_address *from, const char *path, uint64_t within_ns, int stop_fd,
	struct buf *body, struct buf *why)
{
	static const struct http_limits limits = { .head_bytes = HEAD_BYTES_MAX,
		.headers = HTTP_MAX_HEADERS };
	struct net_address addresses[ADDRESSES_MAX];
	size_t count = net_resolve(from->is_unix, from->host, from->port, addresses, ADDRESSES_MAX, why);
	enum fetch_result r = FETCH_FAILED;
	for (size_t i = 0; i < count && r == FETCH_FAILED; i++) {
		struct fetch *f = xcalloc(1, sizeof *f);
		*f = (struct fetch){ .fd = -1,
			.stop_fd = stop_fd,
			.deadline_ns = clock_now_ns() + within_ns,
			.reader = http_reader_new(HTTP_RESPONSE_MESSAGE, &limits),
			.body = body,
			.why = why };
		buf_reset(body);
		buf_reset(why);
		r = connect_to(f, &addresses[i]);
		if (r == FETCH_OK)
			r = ask(f, from, path);
		if (r == FETCH_OK)
			r = receive(f);
		if (f->fd >= 0)
			close(f->fd);
		http_reader_free(f->reader);
		buf_clear(&f->unread);
		free(f);
	}
	return r;
}
