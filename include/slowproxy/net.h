/* net.h - the event loop, sockets and timers. libevent lives in this room only.
 *
 * A loop belongs to one thread; everything made on it is used by that thread only, but for loop_post.
 * A stream is a non-blocking socket: its read event stays armed for the connection's life, writes are tried at once and
 * only wait for writability when the kernel's buffer is full. Instants are those after the call itself (loop_now_ns).
 */
#ifndef SLOWPROXY_NET_H
#define SLOWPROXY_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/list.h>
#include <slowproxy/base/mem.h>

/* --- loop --- */
struct loop;

struct loop *loop_new(void);
void loop_free(struct loop *l);
void loop_run(struct loop *l); /* until loop_stop */
void loop_stop(struct loop *l);
/* Runs call(context) on the loop's own thread, soon. The only function another thread may call. */
void loop_post(struct loop *l, void (*call)(void *context), void *context);
/* CLOCK_MONOTONIC, read when it is first asked for after the loop called somebody or a stream was read or written: what is done
 * in between is quick, and happens at one instant. Outside loop_run, always read. */
uint64_t loop_now_ns(struct loop *l);
/* Frees at the end of this turn of the loop: nobody up the call chain holds a dangling pointer meanwhile. */
void loop_defer_free(struct loop *l, void *memory, void (*free_it)(void *memory));

/* --- timers: single-shot. A zeroed timer is an idle one; starting and stopping cost no system call and no memory. --- */
struct timer {
	struct loop *loop;
	void (*fire)(void *context);
	void *context;
	struct list_node node; /* private: among the timers of the same delay */
	uint64_t deadline_ns;  /* private */
};
void timer_init(struct timer *t, struct loop *l, void (*fire)(void *context), void *context);
void timer_clear(struct timer *t);                    /* stops and gives back what it holds */
void timer_start(struct timer *t, uint64_t delay_ns); /* restarts when running */
void timer_stop(struct timer *t);
bool timer_running(const struct timer *t);

/* --- any other descriptor (a channel): level-triggered, calls ready(context) while readable --- */
struct watch;
struct watch *watch_new(struct loop *l, int fd, void (*ready)(void *context), void *context);
void watch_free(struct watch *w); /* does not close fd */

/* --- addresses --- */
struct net_address {
	struct sockaddr_storage storage;
	socklen_t len;
};
/* "127.0.0.1:8000", "[::1]:8000", "unix:/run/app.sock" into out; always terminated. */
void net_address_text(const struct net_address *a, char *out, size_t out_bytes);
/* The IP address alone ("127.0.0.1", "::1"; a v4 client of a v6 socket as v4); "" for a unix socket. */
void net_address_host_text(const struct net_address *a, char *out, size_t out_bytes);
/* Looks host up, blocking (getaddrinfo): for the start, before the loop runs. Returns how many of max addresses were filled;
 * 0: the reason is in why. */
MUST_CHECK size_t net_resolve(
	bool is_unix, const char *host, uint16_t port, struct net_address *out, size_t max, struct buf *why);

/* The same without blocking: a thread of its own looks the name up, done comes later, on the loop, with count addresses (lent)
 * or 0 and the reason. Ended by done or by lookup_free, which cancels: the thread is then left to itself.
 * NULL: no descriptor to be had; done will not come. */
enum { LOOKUP_ADDRESSES = 8 };
struct lookup;
struct lookup *lookup_new(struct loop *l, const char *host, uint16_t port,
	void (*done)(void *context, const struct net_address *addresses, size_t count, const char *why),
	void *context);
void lookup_free(struct lookup *lookup);

/* A listening socket, non-blocking and close-on-exec. host "" is every address (v6 socket that also takes v4).
 * -1 with the reason in why. For the parent, before any loop. */
MUST_CHECK int net_listen(bool is_unix, const char *host, uint16_t port, bool reuse_port, struct buf *why);

/* Whether the listening socket fd is at this address; port 0: at any port of it. */
bool net_listens_on(int fd, bool is_unix, const char *host, uint16_t port);

/* --- stream --- */
struct stream;

enum io_result { IO_OK, IO_AGAIN, IO_END, IO_ERROR }; /* IO_ERROR: errno in stream_errno */

struct stream_events {
	void (*readable)(void *context);
	void (*writable)(void *context); /* after a write came up short */
	/* The peer closed or reset while reading is paused (EPOLLRDHUP); may be NULL. */
	void (*hangup)(void *context);
};

struct stream *stream_new(
	struct loop *l, int fd, const struct stream_events *events, void *context); /* takes fd */
void stream_free(struct stream *s); /* closes; safe inside the stream's own events */
int stream_fd(const struct stream *s);
int stream_errno(const struct stream *s);
/* Hands the stream to another owner: pool to exchange and back. */
void stream_set_owner(struct stream *s, const struct stream_events *events, void *context);
MUST_CHECK enum io_result stream_read(struct stream *s, void *to, size_t len, size_t *got);
MUST_CHECK enum io_result stream_write(
	struct stream *s, const struct iovec *parts, int count, size_t *written);
void stream_pause_read(struct stream *s, bool paused);
void stream_want_writable(struct stream *s, bool wanted);
void stream_shutdown_write(struct stream *s); /* sends FIN; reading goes on */
/* close(2) with RST: the peer shall know at once. */
void stream_reset(struct stream *s);

/* --- connecting and accepting --- */
/* Starts a connect; done(context, fd or -1, errno) comes later, or at once. Returns a handle to cancel, or NULL when done was
 * called already. done owns fd; ETIMEDOUT when timeout_ns (0: none) is over. */
struct connector;
struct connector *connector_new(struct loop *l, const struct net_address *to, uint64_t timeout_ns,
	void (*done)(void *context, int fd, int error), void *context);
void connector_free(struct connector *c); /* cancels */

struct listener;
struct listener *listener_new(struct loop *l, int fd,
	void (*accepted)(void *context, int fd, const struct net_address *peer),
	void *context); /* takes fd */
void listener_pause(struct listener *li, bool paused);
/* Nobody new connects from now on: a unix socket refuses, a TCP socket does not hear the first packet of a connection any more
 * (its client asks again, and is refused once the socket is closed). Connections that are made already, or half made, are accepted
 * as before. For a socket that nobody else listens on. */
void listener_close_door(struct listener *li);
/* Accepts all that waits now, not only a few. */
void listener_accept_all(struct listener *li);
void listener_free(struct listener *li); /* closes */

#endif
