/* link.c - the connections to the backends.
 *
 *   new -> an exchange's -> idle (last used first) -> an exchange's -> ... -> closed
 *
 * An idle connection keeps its read event: FIN, RST or bytes that nobody asked for end it at once.
 */
#include "proxy_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>

/* A connection that rested longer than this is looked at before use; under load the read event has said it already. */
static const uint64_t look_after_ns = 50 * NS_PER_MS;

/* --- learning when the backend closes what is idle --- */
enum { VOTES_ENOUGH = 3 };

/* An idle connection was closed by the backend. Those of one restart are all closed at once: only a connection that became
 * idle after the last vote has a vote. */
static void upstream_learn(struct upstream *u, const struct link *link)
{
	uint64_t now_ns = loop_now_ns(link->proxy->loop), age_ns = now_ns - link->idle_since_ns;
	uint64_t apart_ns = age_ns > u->guess_ns ? age_ns - u->guess_ns : u->guess_ns - age_ns;
	if (u->closes_after_ns != 0 || link->idle_since_ns < u->guessed_at_ns)
		return;
	bool agrees = u->guess_votes != 0 && apart_ns <= u->guess_ns / 16 + 5 * NS_PER_MS;
	u->guess_votes = agrees ? u->guess_votes + 1 : 1;
	u->guess_ns = agrees ? MIN(u->guess_ns, age_ns) : age_ns;
	u->guessed_at_ns = now_ns;
	if (u->guess_votes < VOTES_ENOUGH)
		return;
	u->closes_after_ns = u->guess_ns;
	log_info("upstream %s closes idle connections after %.3f s; from now on we close them before it does",
		u->text, (double)u->guess_ns / NS_PER_S);
}

/* How long a connection may be idle: a request must not meet the backend's close. 0: no bound. */
static uint64_t idle_limit_ns(const struct upstream *u, uint64_t configured_ns)
{
	uint64_t safe_ns = u->closes_after_ns - u->closes_after_ns / 8;
	if (u->closes_after_ns == 0)
		return configured_ns;
	return configured_ns != 0 ? MIN(configured_ns, safe_ns) : safe_ns;
}

/* --- what a link's stream tells --- */
static void link_readable(void *context)
{
	struct link *link = context;
	bool full;
	if (link->ended)
		return;
	enum io_result r = input_fill(&link->input, &link->proxy->blocks, link->stream, &full);
	if (link->exchange == NULL) {
		if (r == IO_END)
			upstream_learn(link->upstream, link);
		if (r != IO_AGAIN || full)
			link_free(link); /* closed while idle, or it speaks unasked */
		return;
	}
	if (full) {
		stream_pause_read(link->stream, true);
		return;
	}
	if (r == IO_END || r == IO_ERROR) {
		link->ended = true;
		link->error = r == IO_ERROR ? stream_errno(link->stream) : 0;
		stream_pause_read(link->stream, true);
	}
	if (r != IO_AGAIN)
		exchange_link_input(link->exchange, r);
}

static void link_writable(void *context)
{
	struct link *link = context;
	if (link->exchange != NULL)
		exchange_link_writable(link->exchange);
}

/* A hang-up while reading is paused needs no hurry: what the backend sent before is read first. */
static const struct stream_events link_events = { link_readable, link_writable, NULL };

/* --- life --- */
/* glibc's struct tcp_info ends before tcpi_bytes_acked, which the kernel has had since 4.1, at this offset. */
enum { TCPI_BYTES_ACKED_AT = 120, TCP_INFO_BYTES = 256, TCP_STATE_CLOSE = 7 };

static bool tcp_acked(const struct link *link, uint64_t *acked, uint8_t *state)
{
	char info[TCP_INFO_BYTES];
	socklen_t len = sizeof info;
	if (getsockopt(stream_fd(link->stream), IPPROTO_TCP, TCP_INFO, info, &len) != 0)
		return false;
	if (len < TCPI_BYTES_ACKED_AT + sizeof *acked)
		return false;
	memcpy(acked, info + TCPI_BYTES_ACKED_AT, sizeof *acked);
	*state = (uint8_t)info[0];
	return true;
}

static void link_idle_too_long(void *context)
{
	link_free(context);
}

struct link *link_new(struct proxy *p, struct upstream *u, int fd)
{
	struct link *link = xcalloc(1, sizeof *link);
	uint8_t state;
	link->proxy = p;
	link->upstream = u;
	link->generation = u->generation;
	link->stream = stream_new(p->loop, fd, &link_events, link);
	link->reader = http_reader_new(HTTP_RESPONSE_MESSAGE, &p->response_limits);
	timer_init(&link->idle_timer, p->loop, link_idle_too_long, link);
	if (u->addresses[0].storage.ss_family == AF_UNIX || !tcp_acked(link, &link->acked_at_open, &state))
		link->acked_at_open = UINT64_MAX;
	p->counters.upstream_busy++;
	p->counters.upstream_connects++;
	return link;
}

void link_free(struct link *link)
{
	struct proxy *p = link->proxy;
	if (list_linked(&link->node))
		p->counters.upstream_idle--;
	else
		p->counters.upstream_busy--;
	list_remove(&link->node);
	timer_clear(&link->idle_timer);
	stream_free(link->stream);
	http_reader_free(link->reader);
	input_clear(&link->input, &p->blocks);
	loop_defer_free(p->loop, link, free);
}

void link_give_back(struct link *link)
{
	struct proxy *p = link->proxy;
	link->exchange = NULL;
	if (link->generation != link->upstream->generation) {
		link_free(link); /* the name stands for other addresses now */
		return;
	}
	link->sent_bytes += link->sending_bytes;
	link->sending_bytes = 0;
	link->idle_since_ns = loop_now_ns(p->loop);
	stream_pause_read(link->stream, false);
	stream_want_writable(link->stream, false);
	list_push_front(&link->upstream->idle, &link->node);
	p->counters.upstream_busy--;
	p->counters.upstream_idle++;
	uint64_t limit_ns = idle_limit_ns(link->upstream, p->config->timeouts.upstream_idle_ns);
	if (limit_ns != 0)
		timer_start(&link->idle_timer, limit_ns);
}

static bool link_still_open(const struct link *link)
{
	uint64_t age_ns = loop_now_ns(link->proxy->loop) - link->idle_since_ns;
	uint64_t limit_ns = idle_limit_ns(link->upstream, 0);
	char byte;
	if (limit_ns != 0 && age_ns >= limit_ns)
		return false; /* the timer is late, as timers may be */
	if (age_ns < look_after_ns)
		return true;
	return recv(stream_fd(link->stream), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

struct link *link_take_idle(struct upstream *u)
{
	struct list_node *node;
	while ((node = list_first(&u->idle)) != NULL) {
		struct link *link = LIST_ENTRY(node, struct link, node);
		if (!link_still_open(link)) {
			link_free(link);
			continue;
		}
		list_remove(node);
		timer_stop(&link->idle_timer);
		http_reader_reset(link->reader);
		link->proxy->counters.upstream_idle--;
		link->proxy->counters.upstream_busy++;
		link->proxy->counters.upstream_reuses++;
		return link;
	}
	return NULL;
}

/* Whether it is certain that no byte of this exchange reached the backend's process, so that any method may be sent again.
 *
 * TCP: the FIN acknowledges all that had arrived before it. If nothing of ours was acknowledged and the kernel then closed
 * the connection, our bytes met a socket that was gone already. ECONNRESET proves nothing: acknowledgements are delayed.
 * Either kind: a send that fails with its first byte queued nothing. */
bool link_never_delivered(const struct link *link, bool nothing_written)
{
	uint64_t acked;
	uint8_t state;
	if (nothing_written)
		return true;
	if (link->error != 0 || link->acked_at_open == UINT64_MAX || !tcp_acked(link, &acked, &state))
		return false;
	return state == TCP_STATE_CLOSE && acked == link->acked_at_open + link->sent_bytes;
}
