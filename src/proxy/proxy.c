/* proxy.c - one loop's worth of proxy: what is shared by its clients, and its beginning and end.
 *
 *   serving -> (ending: Connection: close) -> draining (no accepts) -> drained (no client left, or time over; told once) -> freed
 */
#include "proxy_private.h"

#include <stdlib.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>

enum { BLOCK_BYTES = 32 << 10 };
/* A connection whose handshake is under way when the door closes has this long to complete it. */
static const uint64_t door_ns = 100 * NS_PER_MS;

static void drain_over(void *context);
static void door_closed(void *context);
static void complaint_pause_over(void *context);

struct proxy *proxy_new(struct loop *l, const struct config *config, const struct proxy_observer *observer)
{
	struct proxy *p = xcalloc(1, sizeof *p);
	p->loop = l;
	p->config = config;
	if (observer != NULL)
		p->observer = *observer;
	list_init(&p->clients);
	p->blocks.bytes = MAX(BLOCK_BYTES, config->limits.header_bytes + 1024);
	p->request_limits = (struct http_limits){ .head_bytes = config->limits.header_bytes,
		.headers = MIN(config->limits.headers, HTTP_MAX_HEADERS),
		.body_bytes = config->limits.body_bytes,
		.line_bytes = config->limits.request_line_bytes };
	p->response_limits = p->request_limits;
	p->response_limits.headers = HTTP_MAX_HEADERS;
	p->response_limits.body_bytes = 0;
	timer_init(&p->drain_timer, l, drain_over, p);
	timer_init(&p->door_timer, l, door_closed, p);
	timer_init(&p->complaint_pause, l, complaint_pause_over, p);
	p->response_time_name = slice_of(config->response_time.header);
	trust_init(&p->trust, config);
	waiting_init(p);
	upstreams_init(p);
	return p;
}

void proxy_listen(struct proxy *p, int fd, bool lent)
{
	struct listening *li = xcalloc(1, sizeof *li);
	li->listener = listener_new(p->loop, fd, client_accepted, p);
	li->lent = lent;
	li->next = p->listening;
	p->listening = li;
}

static void stop_listening(struct proxy *p)
{
	while (p->listening != NULL) {
		struct listening *li = p->listening;
		p->listening = li->next;
		listener_free(li->listener);
		free(li);
	}
}

/* Whatever runs is cut; called when the time is over and when the proxy is freed. */
static void cut_all(struct proxy *p)
{
	while (!list_empty(&p->clients)) {
		struct client *c = LIST_ENTRY(list_first(&p->clients), struct client, node);
		if (c->exchange != NULL)
			exchange_cut(c->exchange, OUTCOME_SHUTDOWN, "the proxy is shutting down");
		client_close(c, false);
	}
}

static void tell_drained(struct proxy *p)
{
	void (*drained)(void *context) = p->drained;
	p->drained = NULL;
	timer_stop(&p->drain_timer);
	if (drained != NULL)
		drained(p->drained_context);
}

static void drain_over(void *context)
{
	struct proxy *p = context;
	if (p->counters.exchanges != 0)
		log_warn("drain: %u exchanges still ran when the time to drain was over; they are cut",
			p->counters.exchanges);
	cut_all(p);
	tell_drained(p);
}

void proxy_announce_end(struct proxy *p)
{
	p->ending = true;
}

static void door_closed(void *context)
{
	struct proxy *p = context;
	for (struct listening *li = p->listening; li != NULL; li = li->next)
		listener_accept_all(li->listener);
	stop_listening(p);
	proxy_client_closed(p);
}

void proxy_drain(struct proxy *p, enum proxy_drain_how how, uint64_t within_ns,
	void (*drained)(void *context), void *context)
{
	p->drained = drained;
	p->drained_context = context;
	p->ending = true;
	p->last_call = how != PROXY_DRAIN_PATIENTLY;
	if (how == PROXY_DRAIN_CLOSING_DOORS)
		for (struct listening *li = p->listening; li != NULL; li = li->next)
			if (!li->lent)
				listener_close_door(li->listener);
	if (within_ns != 0)
		timer_start(&p->drain_timer, within_ns);
	if (p->last_call)
		list_for_each_safe (node, &p->clients)
			client_drain(LIST_ENTRY(node, struct client, node));
	if (how == PROXY_DRAIN_CLOSING_DOORS && p->listening != NULL)
		timer_start(&p->door_timer, door_ns);
	else
		door_closed(p);
}

/* The last one turns off the light. Told from the loop, not from here: the caller is not ready for the call yet. */
void proxy_client_closed(struct proxy *p)
{
	if (p->drained != NULL && !p->freeing && p->listening == NULL && list_empty(&p->clients))
		timer_start(&p->drain_timer, 0);
}

void proxy_count(struct proxy *p, enum outcome outcome)
{
	p->counters.outcomes[outcome]++;
}

static bool backends_fault(enum outcome outcome)
{
	return outcome >= OUTCOME_UPSTREAM_UNRESOLVED && outcome <= OUTCOME_TIMEOUT_RESPONSE;
}

static void complaint_pause_over(void *context)
{
	struct proxy *p = context;
	if (p->complaints_unsaid != 0)
		log_warn("%u more requests failed at the backend within a second", p->complaints_unsaid);
	p->complaints_unsaid = 0;
}

void proxy_complain(struct proxy *p, const struct record *r)
{
	if (!backends_fault(r->outcome))
		return;
	if (timer_running(&p->complaint_pause)) {
		p->complaints_unsaid++;
		return;
	}
	log_warn("x=%llx %s %s: %s: upstream %s: %s", (unsigned long long)r->id, r->method, r->path,
		outcomes[r->outcome].name, r->upstream_address, r->reason);
	timer_start(&p->complaint_pause, NS_PER_S);
}

const struct proxy_counters *proxy_counters(const struct proxy *p)
{
	return &p->counters;
}

void proxy_free(struct proxy *p)
{
	if (p == NULL)
		return;
	p->freeing = true;
	stop_listening(p);
	cut_all(p);
	timer_clear(&p->drain_timer);
	timer_clear(&p->door_timer);
	timer_clear(&p->complaint_pause);
	waiting_clear(p);
	upstreams_clear(p);
	trust_clear(&p->trust);
	exchanges_clear(p);
	blocks_clear(&p->blocks);
	buf_clear(&p->extra);
	buf_clear(&p->forwarded_for);
	buf_clear(&p->more);
	loop_defer_free(p->loop, p, free);
}
