/* client.c - a client's connection, from accept to close.
 *
 *   IDLE -> HEAD -> BUSY -> IDLE ...       each request in turn; pipelined ones wait in the input
 *                        -> LINGER -> CLOSED
 *
 * Its read event stays armed: while an exchange runs it tells of an abort, of the rest of the request, and of pipelined
 * requests, which are read until the one block is full.
 */
#include "proxy_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>

/* How long and how much of a refused upload is thrown away, so that the answer is not lost in a reset. */
static const uint64_t linger_ns = 5 * NS_PER_S;
static const uint64_t linger_bytes = 64 << 20;
enum { REFUSED_CLIENTS_MAX = 256 };
/* How long a connection may still ask once we drain, counted from when it came to rest. */
static const uint64_t last_call_ns = NS_PER_S;

static void client_parse(struct client *c);
static void client_linger(struct client *c);

static void client_timer_start(struct client *c, uint64_t delay_ns)
{
	if (delay_ns != 0)
		timer_start(&c->timer, delay_ns);
	else
		timer_stop(&c->timer);
}

/* Entering checks, arms the state's clock and gives back what it does not need. */
static void client_enter(struct client *c, enum client_state next)
{
	static const unsigned may_follow[] = {
		[CLIENT_IDLE] = 1u << CLIENT_BUSY,
		[CLIENT_HEAD] = 1u << CLIENT_IDLE | 1u << CLIENT_BUSY,
		[CLIENT_BUSY] = 1u << CLIENT_IDLE | 1u << CLIENT_HEAD,
		[CLIENT_LINGER] = 1u << CLIENT_IDLE | 1u << CLIENT_HEAD | 1u << CLIENT_BUSY,
		[CLIENT_CLOSED] =
			1u << CLIENT_IDLE | 1u << CLIENT_HEAD | 1u << CLIENT_BUSY | 1u << CLIENT_LINGER,
	};
	const struct config *config = c->proxy->config;
	assert(may_follow[next] & 1u << c->state);
	c->state = next;
	switch (next) {
	case CLIENT_IDLE:
		client_timer_start(c, c->proxy->last_call ? last_call_ns : config->timeouts.idle_ns);
		break;
	case CLIENT_HEAD:
		client_timer_start(c, config->timeouts.header_ns);
		break;
	case CLIENT_LINGER:
		client_timer_start(c, linger_ns);
		break;
	case CLIENT_BUSY:
	case CLIENT_CLOSED:
		timer_stop(&c->timer);
		break;
	}
}

void client_close(struct client *c, bool reset)
{
	struct proxy *p = c->proxy;
	if (c->state == CLIENT_CLOSED)
		return;
	client_enter(c, CLIENT_CLOSED);
	list_remove(&c->node);
	if (c->counted)
		p->counters.clients--;
	else
		p->refused_clients--;
	timer_clear(&c->timer);
	if (reset)
		stream_reset(c->stream);
	else
		stream_free(c->stream);
	http_reader_free(c->reader);
	input_clear(&c->input, &p->blocks);
	loop_defer_free(p->loop, c, free);
	proxy_client_closed(p);
}

/* --- answers that need no exchange --- */
static enum outcome outcome_of_status(uint16_t status)
{
	if (status == 408)
		return OUTCOME_CLIENT_TIMEOUT;
	if (status == 413 || status == 414 || status == 431)
		return OUTCOME_TOO_LARGE;
	if (status == 503)
		return OUTCOME_OVERLOAD;
	return OUTCOME_BAD_REQUEST;
}

/* What is known of a request that never becomes an exchange: its first line, perhaps. */
static struct record *refusal_record(struct client *c, uint16_t status, const char *sentence)
{
	struct proxy *p = c->proxy;
	uint64_t now_ns = loop_now_ns(p->loop), begin_ns = c->begin_ns ? c->begin_ns : now_ns;
	struct http_head *head = &p->request_head;
	struct record *r = record_new(begin_ns);
	r->began_wall_ns -= now_ns - begin_ns;
	for (enum mark mark = MARK_REQUEST_HEAD; mark < MARK_COUNT; mark++)
		if (mark == MARK_REQUEST_HEAD || mark >= MARK_RESPONSE_HEAD)
			r->timeline.at[mark] = now_ns; /* all of its time went into its head */
	if (http_first_line(input_at(&c->input), input_len(&c->input), head)) {
		str_copy(r->method, sizeof r->method, head->method.at, head->method.len);
		r->path_cut = !str_copy(r->path, sizeof r->path, head->path.at, head->path.len);
		r->http_minor = head->minor;
	}
	request_id_new(r->request_id);
	str_copy(r->client_address, sizeof r->client_address, c->address, strlen(c->address));
	str_copy(r->reason, sizeof r->reason, sentence, strlen(sentence));
	r->status = status;
	r->outcome = outcome_of_status(status);
	return r;
}

static void refusal_told(struct proxy *p, struct record *r)
{
	proxy_count(p, r->outcome);
	if (p->observer.refused != NULL)
		p->observer.refused(p->observer.context, r);
	else
		record_free(r);
}

/* No valid head came: the request is answered and told of, as far as anybody could say which one it was. */
static void client_refuse(struct client *c, uint16_t status, const char *sentence)
{
	struct proxy *p = c->proxy;
	struct record *r = refusal_record(c, status, sentence);
	struct slice extra, drop_name;
	struct buf answer = { 0 };
	size_t written;

	log_debug("client %s refused with %u: %s", c->address, status, sentence);
	extra = heads_extra(p, r, NULL, &drop_name);
	http_write_error(&answer, status, outcomes[r->outcome].name, sentence, r->request_id, extra, true,
		false, p->config->error_body == CONFIG_ERROR_PLAIN);
	struct iovec part = { answer.data, answer.len };
	if (stream_write(c->stream, &part, 1, &written) == IO_OK)
		client_linger(c);
	else
		client_close(c, false);
	buf_clear(&answer);
	refusal_told(p, r);
}

/* Our side is closed; what the peer still sends is thrown away until it closes too, so that it can read the answer. */
static void client_linger(struct client *c)
{
	client_enter(c, CLIENT_LINGER);
	input_clear(&c->input, &c->proxy->blocks);
	stream_want_writable(c->stream, false);
	stream_pause_read(c->stream, false);
	stream_shutdown_write(c->stream);
}

static void client_throw_away(struct client *c)
{
	struct block *b = block_take(&c->proxy->blocks);
	size_t got;
	enum io_result r = stream_read(c->stream, b->at, c->proxy->blocks.bytes, &got);
	block_give(&c->proxy->blocks, b);
	c->lingered_bytes += got;
	if (r == IO_END || r == IO_ERROR || c->lingered_bytes > linger_bytes)
		client_close(c, false);
}

static void client_timer_fired(void *context)
{
	struct client *c = context;
	if (c->state == CLIENT_HEAD && c->begin_ns != 0)
		client_refuse(c, 408, "the request head did not arrive in time");
	else
		client_close(c, false);
}

/* --- bytes to requests --- */
static void client_begin_exchange(struct client *c, const struct http_head *head)
{
	client_enter(c, CLIENT_BUSY);
	exchange_begin(c, head);
}

/* Who is behind the load balancer that has connected: from here on the client is that one. */
static void client_read_preamble(struct client *c)
{
	struct http_proxy_header header;
	size_t used;
	enum http_proxy_header_event e =
		http_proxy_header_read(input_at(&c->input), input_len(&c->input), &used, &header);
	if (e == HTTP_PROXY_HEADER_MORE)
		return;
	if (e == HTTP_PROXY_HEADER_INVALID) {
		log_debug("client %s: its connection does not begin with a header of the PROXY protocol",
			c->address);
		proxy_count(c->proxy, OUTCOME_BAD_REQUEST);
		client_close(c, false);
		return;
	}
	c->preamble = false;
	input_drop(&c->input, used);
	if (!header.told)
		return;
	ip_text(&header.source, c->address, sizeof c->address);
	c->trusted = trust_peer(&c->proxy->trust, c->address);
}

static bool has_underscore(const struct http_head *head)
{
	for (size_t i = 0; i < head->header_count; i++)
		if (head->headers[i].underscore)
			return true;
	return false;
}

/* One step over the input. false: no more can be done now. */
static bool client_parse_step(struct client *c)
{
	struct proxy *p = c->proxy;
	if (c->preamble) {
		client_read_preamble(c);
		return !c->preamble;
	}
	struct slice body;
	size_t used;
	if (c->begin_ns == 0)
		c->begin_ns = loop_now_ns(p->loop);
	enum http_event e = http_read(
		c->reader, input_at(&c->input), input_len(&c->input), &used, &p->request_head, &body);
	switch (e) {
	case HTTP_EVENT_HEAD:
		if (p->config->underscore_headers == CONFIG_UNDERSCORE_REFUSE &&
			has_underscore(&p->request_head)) {
			client_refuse(
				c, 400, "a header name has an underscore, which underscore_headers refuses");
			return false;
		}
		/* The head's slices live until the input changes: the exchange rewrites it before it returns. */
		input_drop(&c->input, used);
		client_begin_exchange(c, &p->request_head);
		return true;
	case HTTP_EVENT_FAILED: {
		const struct http_error_row *row = &http_errors[http_reader_error(c->reader)];
		client_refuse(c, row->status, row->sentence);
		return false;
	}
	default:
		input_drop(&c->input, used);
		if (input_len(&c->input) == 0)
			c->begin_ns = 0; /* only empty lines so far */
		else if (c->state == CLIENT_IDLE)
			client_enter(c, CLIENT_HEAD);
		return false;
	}
}

static void client_parse(struct client *c)
{
	if (c->parsing)
		return; /* an exchange ended inside client_begin_exchange: the loop below goes on */
	c->parsing = true;
	while ((c->state == CLIENT_IDLE || c->state == CLIENT_HEAD) && input_len(&c->input) != 0)
		if (!client_parse_step(c))
			break;
	c->parsing = false;
	if (c->state == CLIENT_IDLE || c->state == CLIENT_HEAD)
		input_rest(&c->input, &c->proxy->blocks);
}

/* --- events --- */
static void client_got_bytes(struct client *c, enum io_result r)
{
	if (r == IO_END || r == IO_ERROR) {
		client_close(c, false);
		return;
	}
	if (r == IO_OK)
		client_parse(c);
}

static void client_readable(void *context)
{
	struct client *c = context;
	bool full;
	if (c->state == CLIENT_CLOSED)
		return;
	if (c->state == CLIENT_LINGER) {
		client_throw_away(c);
		return;
	}
	enum io_result r = input_fill(&c->input, &c->proxy->blocks, c->stream, &full);
	if (full)
		stream_pause_read(c->stream, true);
	else if (c->state == CLIENT_BUSY)
		exchange_client_input(c->exchange, r);
	else
		client_got_bytes(c, r);
}

static void client_writable(void *context)
{
	struct client *c = context;
	if (c->state == CLIENT_BUSY)
		exchange_client_writable(c->exchange);
}

static void client_hangup(void *context)
{
	struct client *c = context;
	if (c->state == CLIENT_BUSY)
		exchange_client_hangup(c->exchange);
	else
		client_close(c, false);
}

static const struct stream_events client_events = { client_readable, client_writable, client_hangup };

void client_read_more(struct client *c)
{
	stream_pause_read(c->stream, false);
}

void client_exchange_over(struct client *c, bool keep, bool linger)
{
	c->exchange = NULL;
	if (!keep) {
		if (linger)
			client_linger(c);
		else
			client_close(c, false);
		return;
	}
	c->begin_ns = 0;
	http_reader_reset(c->reader);
	client_enter(c, CLIENT_IDLE);
	stream_pause_read(c->stream, false);
	stream_want_writable(c->stream, false);
	client_parse(c);
}

/* A request that is on its way already is served: only a connection that has been at rest for a while is closed at once. */
void client_drain(struct client *c)
{
	uint64_t rested_ns = c->rest_ns != 0 ? loop_now_ns(c->proxy->loop) - c->rest_ns : 0;
	if (c->state == CLIENT_IDLE)
		client_readable(c);
	if (c->state != CLIENT_IDLE)
		return;
	if (rested_ns >= last_call_ns)
		client_close(c, false);
	else
		client_timer_start(c, last_call_ns - rested_ns);
}

/* --- slots --- */

/* Since when it has asked nothing, or not completed what it asks; UINT64_MAX: it is served. */
static uint64_t waits_since_ns(const struct client *c)
{
	if (c->state == CLIENT_HEAD)
		return c->begin_ns;
	if (c->state == CLIENT_IDLE)
		return c->rest_ns != 0 ? c->rest_ns : c->accepted_ns;
	return UINT64_MAX;
}

/* All slots are taken: the newcomer gets that of whoever makes the least of his. Slow heads and idle connections so cost those who
 * hold them their place, and nobody else. Looked at are a few, the next time others. */
static bool slot_free(struct proxy *p)
{
	enum { LOOKED_AT = 64 };
	const uint64_t enough_ns = NS_PER_S;
	struct client *longest = NULL;
	uint64_t since_ns = clock_now_ns() - enough_ns;
	for (unsigned i = 0; i < LOOKED_AT && !list_empty(&p->clients); i++) {
		struct client *c = LIST_ENTRY(list_first(&p->clients), struct client, node);
		list_remove(&c->node);
		list_push_back(&p->clients, &c->node);
		if (!c->counted || waits_since_ns(c) > since_ns)
			continue;
		longest = c;
		since_ns = waits_since_ns(c);
	}
	if (longest == NULL)
		return false;
	if (longest->state == CLIENT_HEAD)
		proxy_count(p, OUTCOME_CLIENT_TIMEOUT);
	client_close(longest, false);
	return true;
}

void client_accepted(void *context, int fd, const struct net_address *peer)
{
	struct proxy *p = context;
	bool room = p->counters.clients < p->config->limits.connections || slot_free(p);
	struct client *c = xcalloc(1, sizeof *c);

	c->proxy = p;
	c->stream = stream_new(p->loop, fd, &client_events, c);
	c->reader = http_reader_new(HTTP_REQUEST_MESSAGE, &p->request_limits);
	c->counted = room;
	c->accepted_ns = clock_now_ns();
	timer_init(&c->timer, p->loop, client_timer_fired, c);
	net_address_host_text(peer, c->address, sizeof c->address);
	c->trusted = trust_peer(&p->trust, c->address);
	c->preamble = p->config->proxy_protocol && c->trusted;
	list_push_back(&p->clients, &c->node);
	p->counters.clients_accepted++;
	if (room) {
		p->counters.clients++;
		/* A new connection has the time of a head for its first byte, too. */
		client_timer_start(c, p->last_call ? last_call_ns : p->config->timeouts.header_ns);
		return;
	}
	if (++p->refused_clients > REFUSED_CLIENTS_MAX) {
		proxy_count(p, OUTCOME_OVERLOAD);
		client_close(c, false);
		return;
	}
	client_refuse(c, 503, "the proxy has as many connections as limits.connections allows");
}
