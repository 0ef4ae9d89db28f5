/* exchange.c - one request and its answer, from first byte to last.
 *
 *   NEW -> BEGUN -> CONNECTING -> SENDING -> WAITING -> RESPONDING -> ENDED
 *             \____pool hit_____/      \______early_____/    |  \---> TUNNEL -> ENDED
 *             \__QUEUED__/
 *          any of them before RESPONDING -> ANSWERING -> ENDED         (an answer of our own)
 *          any of them -> ENDED                                        (cut)
 *
 * Owned by its client while it runs; the record outlives it (observer.ended).
 */
#include "proxy_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/log.h>

enum { RESTING_MAX = 64 };

/* Which clock runs in a state. */
enum clock { CLOCK_NONE, CLOCK_QUEUE, CLOCK_UPLOAD, CLOCK_RESPONSE, CLOCK_STREAM, CLOCK_TUNNEL };

static const struct exchange_state_row {
	const char *name;
	unsigned may_follow; /* bits of the states it may be entered from */
	enum mark mark;      /* stamped on entry; MARK_COUNT: none */
	enum clock clock;
} states[X_STATE_COUNT] = {
	[X_NEW] = { "new", 0, MARK_COUNT, CLOCK_NONE },
	[X_BEGUN] = { "begun", 1u << X_NEW, MARK_REQUEST_HEAD, CLOCK_NONE },
	[X_QUEUED] = { "queued", 1u << X_BEGUN | 1u << X_CONNECTING, MARK_COUNT, CLOCK_QUEUE },
	[X_CONNECTING] = { "connecting", 1u << X_BEGUN | 1u << X_QUEUED | 1u << X_SENDING | 1u << X_WAITING,
		MARK_CONNECT_BEGIN, CLOCK_NONE },
	[X_SENDING] = { "sending", 1u << X_BEGUN | 1u << X_QUEUED | 1u << X_CONNECTING, MARK_UPSTREAM,
		CLOCK_UPLOAD },
	[X_WAITING] = { "waiting", 1u << X_SENDING, MARK_REQUEST_SENT, CLOCK_RESPONSE },
	[X_RESPONDING] = { "responding", 1u << X_SENDING | 1u << X_WAITING, MARK_RESPONSE_HEAD,
		CLOCK_STREAM },
	[X_ANSWERING] = { "answering",
		1u << X_BEGUN | 1u << X_QUEUED | 1u << X_CONNECTING | 1u << X_SENDING | 1u << X_WAITING,
		MARK_RESPONSE_HEAD, CLOCK_STREAM },
	[X_TUNNEL] = { "tunnel", 1u << X_RESPONDING, MARK_COUNT, CLOCK_TUNNEL },
	[X_ENDED] = { "ended",
		1u << X_BEGUN | 1u << X_QUEUED | 1u << X_CONNECTING | 1u << X_SENDING | 1u << X_WAITING |
			1u << X_RESPONDING | 1u << X_ANSWERING | 1u << X_TUNNEL,
		MARK_END, CLOCK_NONE },
};

void exchange_mark(struct exchange *x, enum mark mark)
{
	x->record->timeline.at[mark] = loop_now_ns(x->proxy->loop);
}

/* Whose turn it is: the backend's to take what we have, or the client's to send more. */
static uint64_t upload_delay_ns(const struct exchange *x)
{
	uint64_t stream_ns = x->proxy->config->timeouts.stream_idle_ns;
	uint64_t body_ns = x->proxy->config->timeouts.body_ns;
	if (half_pending(&x->request) || x->request.source_done || body_ns == 0)
		return stream_ns;
	return stream_ns != 0 ? MIN(stream_ns, body_ns) : body_ns;
}

static uint64_t clock_delay_ns(const struct exchange *x)
{
	switch (states[x->state].clock) {
	case CLOCK_QUEUE:
		return x->proxy->config->timeouts.queue_ns;
	case CLOCK_UPLOAD:
		return upload_delay_ns(x);
	case CLOCK_TUNNEL:
		return x->proxy->config->timeouts.tunnel_ns;
	case CLOCK_RESPONSE:
		return x->proxy->config->timeouts.response_ns;
	case CLOCK_STREAM:
		return x->proxy->config->timeouts.stream_idle_ns;
	default:
		return 0;
	}
}

static void clock_restart(struct exchange *x)
{
	uint64_t delay_ns = clock_delay_ns(x);
	if (delay_ns != 0)
		timer_start(&x->timer, delay_ns);
	else
		timer_stop(&x->timer);
}

void exchange_enter(struct exchange *x, enum exchange_state next)
{
	const struct exchange_state_row *row = &states[next];
	assert(row->may_follow & 1u << x->state);
	if (log_enabled(LOG_DEBUG))
		log_debug("x=%llx %s -> %s", (unsigned long long)x->record->id, states[x->state].name,
			row->name);
	if (x->state == X_QUEUED)
		waiting_leave(x);
	x->state = next;
	if (row->mark != MARK_COUNT)
		exchange_mark(x, row->mark);
	clock_restart(x);
}

void exchange_progress(struct exchange *x)
{
	enum clock clock = states[x->state].clock;
	if (clock == CLOCK_STREAM || clock == CLOCK_UPLOAD || clock == CLOCK_TUNNEL)
		clock_restart(x);
}

static void clock_ran_out(void *context)
{
	struct exchange *x = context;
	switch (x->state) {
	case X_QUEUED:
		response_fail(x, OUTCOME_OVERLOAD, "no backend had room within timeouts.queue");
		break;
	case X_SENDING:
		if (half_pending(&x->request))
			response_fail(x, OUTCOME_TIMEOUT_RESPONSE, "the backend does not take the request");
		else
			response_fail(x, OUTCOME_CLIENT_TIMEOUT, "the request body stood still");
		break;
	case X_WAITING:
		response_fail(x, OUTCOME_TIMEOUT_RESPONSE, "no answer within timeouts.response");
		break;
	case X_RESPONDING:
		exchange_cut(x, OUTCOME_TIMEOUT_STREAM,
			half_pending(&x->response) ? "the client does not read"
						   : "the backend sends nothing more");
		break;
	case X_TUNNEL:
		exchange_cut(x, OUTCOME_TIMEOUT_STREAM, "nothing moved within timeouts.tunnel");
		break;
	default:
		exchange_cut(x, OUTCOME_TIMEOUT_STREAM, "nothing moved within timeouts.stream_idle");
		break;
	}
}

void exchange_blame(struct exchange *x, enum outcome outcome, const char *reason)
{
	if (x->outcome != OUTCOME_OK)
		return;
	x->outcome = outcome;
	snprintf(x->record->reason, sizeof x->record->reason, "%s",
		reason != NULL ? reason : outcomes[outcome].sentence);
}

/* --- beginning --- */
static struct exchange *exchange_take(struct proxy *p)
{
	struct exchange *x = p->resting_exchanges;
	if (x == NULL)
		return xcalloc(1, sizeof *x);
	p->resting_exchanges = x->next_resting;
	p->resting_count--;
	return x;
}

static void exchange_rest(void *memory)
{
	struct exchange *x = memory;
	struct proxy *p = x->proxy;
	if (p->freeing || p->resting_count >= RESTING_MAX) {
		half_clear(&x->request);
		half_clear(&x->response);
		free(x);
		return;
	}
	x->next_resting = p->resting_exchanges;
	p->resting_exchanges = x;
	p->resting_count++;
}

void exchanges_clear(struct proxy *p)
{
	while (p->resting_exchanges != NULL) {
		struct exchange *x = p->resting_exchanges;
		p->resting_exchanges = x->next_resting;
		half_clear(&x->request);
		half_clear(&x->response);
		free(x);
	}
}

/* RFC 9110 9.2.2; methods of others that are registered as safe or idempotent. */
static bool method_idempotent(struct slice method)
{
	static const char *const names[] = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND",
		"REPORT", "SEARCH", "QUERY" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (slice_equal(method, slice_of(names[i])))
			return true;
	return false;
}

static struct exchange *exchange_new(struct client *c, const struct http_head *head)
{
	struct proxy *p = c->proxy;
	struct exchange *x = exchange_take(p);
	*x = (struct exchange){ .proxy = p,
		.client = c,
		.request.head = x->request.head,
		.request.tail = x->request.tail,
		.response.head = x->response.head,
		.response.tail = x->response.tail,
		.client_minor = head->minor,
		.client_keep_alive = head->keep_alive,
		.head_request = slice_equal(head->method, SLICE("HEAD")),
		.idempotent = method_idempotent(head->method),
		.upgrade = head->upgrade,
		.te_trailers = head->te_trailers };
	half_begin(&x->request, &c->input);
	half_begin(&x->response, NULL);
	x->request.framing = head->framing;
	timer_init(&x->timer, p->loop, clock_ran_out, x);
	c->exchange = x;
	p->counters.exchanges++;
	return x;
}

/* From here on it is this backend's; NULL: nobody's. */
void exchange_assign(struct exchange *x, struct upstream *u)
{
	if (x->upstream != NULL) {
		x->upstream->in_flight--;
		waiting_advance_soon(x->proxy);
	}
	x->upstream = u;
	x->connect_tries = 0;
	if (u == NULL)
		return;
	u->in_flight++;
	str_copy(x->record->upstream_address, sizeof x->record->upstream_address, u->text, strlen(u->text));
}

void exchange_begin(struct client *c, const struct http_head *head)
{
	struct exchange *x = exchange_new(c, head);
	struct proxy *p = x->proxy;

	x->record = record_new(loop_now_ns(p->loop));
	heads_begin_record(x, head);
	exchange_enter(x, X_BEGUN);
	bool full = p->counters.queued != 0; /* then it stands behind those */
	if (!full)
		exchange_assign(x, upstream_pick(p, 0, &full));
	heads_forward_request(x, head, &x->request.head);
	if (p->observer.began != NULL)
		p->observer.began(p->observer.context, x->record);

	request_take_in(x); /* the head's slices are not valid from here on */
	if (x->state != X_BEGUN)
		return;
	if (x->upstream != NULL)
		exchange_connect(x);
	else if (full)
		waiting_join(x);
	else
		response_fail(x, OUTCOME_UPSTREAM_UNRESOLVED, NULL);
}

/* --- the connection to the backend --- */
static void exchange_attach(struct exchange *x, struct link *link, bool reused)
{
	x->link = link;
	link->exchange = x;
	x->response.input = &link->input;
	x->record->upstream_fd = stream_fd(link->stream);
	x->record->upstream_reused = reused;
	http_reader_answers_head(link->reader, x->head_request);
	exchange_enter(x, X_SENDING);
	request_pump(x);
}

static void connect_try(struct exchange *x);

/* It is our own want of descriptors, memory or ports that fails: no backend is to blame. */
static bool own_want(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
	       error == EADDRNOTAVAIL;
}

/* Nothing was sent yet: another backend can take it, whatever the method. false: there is none left. */
static bool connect_elsewhere(struct exchange *x)
{
	x->tried_upstreams |= upstream_bit(x->upstream);
	bool full;
	struct upstream *next = upstream_pick(x->proxy, x->tried_upstreams, &full);
	if (next == NULL && !full)
		return false;
	exchange_assign(x, next);
	if (next == NULL) {
		waiting_join(x);
		return true;
	}
	struct link *link = x->replayed ? NULL : link_take_idle(next);
	if (link != NULL)
		exchange_attach(x, link, true);
	else
		connect_try(x);
	return true;
}

static void connect_failed(struct exchange *x, int error)
{
	struct upstream *u = x->upstream;
	char reason[96];
	snprintf(reason, sizeof reason, "connect: %s", strerror(error));
	if (own_want(error)) {
		response_fail(x, OUTCOME_OVERLOAD, reason);
		return;
	}
	if (u->address_count != 0)
		u->address_next = (u->address_next + 1) % u->address_count;
	if (++x->connect_tries < u->address_count) {
		connect_try(x); /* the name has another address */
		return;
	}
	upstream_failed(u, reason);
	if (connect_elsewhere(x))
		return;
	response_fail(x, error == ETIMEDOUT ? OUTCOME_TIMEOUT_CONNECT : OUTCOME_UPSTREAM_REFUSED, reason);
}

static void connected(void *context, int fd, int error)
{
	struct exchange *x = context;
	x->connector = NULL;
	if (error != 0) {
		connect_failed(x, error);
		return;
	}
	upstream_connected(x->upstream);
	exchange_attach(x, link_new(x->proxy, x->upstream, fd), false);
}

static void connect_try(struct exchange *x)
{
	struct upstream *u = x->upstream;
	struct connector *c = connector_new(x->proxy->loop, &u->addresses[u->address_next],
		x->proxy->config->timeouts.connect_ns, connected, x);
	if (c != NULL)
		x->connector = c;
}

void exchange_connect(struct exchange *x)
{
	struct link *link = x->replayed ? NULL : link_take_idle(x->upstream);
	if (link != NULL) {
		exchange_attach(x, link, true);
		return;
	}
	exchange_enter(x, X_CONNECTING);
	connect_try(x);
}

void exchange_connect_again(struct exchange *x, bool elsewhere)
{
	bool full;
	struct upstream *other = elsewhere ? upstream_pick(x->proxy, upstream_bit(x->upstream), &full) : NULL;
	if (other != NULL)
		exchange_assign(x, other);
	exchange_connect(x);
}

/* Closes what connects us to the backend. */
void exchange_drop_link(struct exchange *x)
{
	connector_free(x->connector);
	x->connector = NULL;
	if (x->link != NULL) {
		x->link->exchange = NULL;
		link_free(x->link);
	}
	x->link = NULL;
	x->response.input = NULL;
	x->record->upstream_fd = -1;
}

/* Back into the pool only when nothing of this exchange can still be on the wire, in either direction. */
static bool link_reusable(const struct exchange *x)
{
	return x->link != NULL && x->link_keep_alive && !x->link->ended && input_len(&x->link->input) == 0 &&
	       x->request.source_done && !half_pending(&x->request) && !x->request_lost &&
	       x->state == X_RESPONDING;
}

/* --- ending --- */
static void exchange_end(struct exchange *x)
{
	struct proxy *p = x->proxy;
	struct record *r = x->record;

	exchange_enter(x, X_ENDED);
	timer_clear(&x->timer);
	half_next_batch(&x->request); /* unpins the client's input */
	if (x->link != NULL && x->response.input != NULL)
		half_next_batch(&x->response);
	exchange_drop_link(x);
	exchange_assign(x, NULL);
	r->request_bytes = x->request.body_bytes;
	r->outcome = x->outcome;
	x->client->rest_ns = r->timeline.at[MARK_END];
	proxy_count(p, r->outcome);
	proxy_complain(p, r);
	p->counters.exchanges--;
	x->record = NULL;
	x->client->exchange = NULL;
	if (p->observer.ended != NULL)
		p->observer.ended(p->observer.context, r);
	else
		record_free(r);
	loop_defer_free(p->loop, x, exchange_rest);
}

void exchange_finish(struct exchange *x)
{
	struct client *c = x->client;
	bool request_read = x->request.source_done;
	bool keep = x->client_keep_alive && !x->close_client && request_read && !x->client_ended;

	if (link_reusable(x)) {
		half_next_batch(&x->response);
		input_rest(&x->link->input, &x->proxy->blocks);
		x->record->upstream_fd = -1;
		link_give_back(x->link);
		x->link = NULL;
	}
	exchange_end(x);
	client_exchange_over(c, keep, !request_read || input_len(&c->input) != 0);
}

void exchange_cut(struct exchange *x, enum outcome outcome, const char *reason)
{
	struct client *c = x->client;
	/* Until close is how a whole answer ends, too: only a reset says that this one is not. */
	bool reset = x->state == X_RESPONDING && x->response.framing == HTTP_UNTIL_CLOSE;
	exchange_blame(x, outcome, reason);
	exchange_end(x);
	client_close(c, reset);
}

/* --- what the streams tell --- */
void exchange_client_input(struct exchange *x, enum io_result r)
{
	bool ended = r == IO_END || r == IO_ERROR;
	if (x->state == X_TUNNEL && ended)
		tunnel_client_ended(x, r == IO_ERROR);
	else if (ended)
		exchange_client_hangup(x);
	else if (r == IO_AGAIN)
		return;
	else if (x->state == X_TUNNEL)
		tunnel_pump(x);
	else if (!half_pending(&x->request))
		request_pump(x);
}

bool exchange_outlives_client(const struct exchange *x)
{
	return x->proxy->config->client_abort == CONFIG_ABORT_KEEP && x->request.source_done;
}

/* It may be the end of what the client sends, or of the client: a write will tell. */
void exchange_client_hangup(struct exchange *x)
{
	if (x->state == X_TUNNEL)
		return;
	if (!exchange_outlives_client(x)) {
		exchange_cut(x, OUTCOME_CLIENT_ABORT, NULL);
		return;
	}
	x->client_ended = true;
	stream_pause_read(x->client->stream, true);
}

void exchange_client_writable(struct exchange *x)
{
	if (x->state == X_TUNNEL)
		tunnel_pump(x);
	else
		response_pump(x);
}

void exchange_link_input(struct exchange *x, enum io_result r)
{
	if (x->state == X_TUNNEL) {
		tunnel_pump(x);
		return;
	}
	if (r == IO_OK && !x->response_head_done && !x->response_seen)
		exchange_mark(x, MARK_RESPONSE_BEGIN);
	x->response_seen |= r == IO_OK;
	if (!half_pending(&x->response))
		response_pump(x);
}

void exchange_link_writable(struct exchange *x)
{
	if (x->state == X_TUNNEL)
		tunnel_pump(x);
	else
		request_pump(x);
}
