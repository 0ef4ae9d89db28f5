/* upstream.c - the backends: where they are, and which one is next.
 *
 *   named -- looked up again every timeouts.resolve, and when a connect failed --> addresses
 *   fine  -- connect fails --> shunned for 1 s, 2 s, 4 s ... 30 s -- one request tries it --> fine, or shunned for longer
 *
 * Shunned backends are asked all the same when there is no other: a request is never refused without having tried.
 */
#include "proxy_private.h"

#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>

static const uint64_t shun_first_ns = NS_PER_S, shun_most_ns = 30 * NS_PER_S;
static const uint64_t resolve_again_ns = NS_PER_S; /* while it has no address, and at most after failures */

/* --- where they are --- */
static void upstream_resolve(void *context);

static bool same_address(const struct net_address *a, const struct net_address *b)
{
	return a->len == b->len && memcmp(&a->storage, &b->storage, a->len) == 0;
}

/* The same set, in whatever order: names with several addresses turn them around. */
static bool same_addresses(const struct upstream *u, const struct net_address *addresses, size_t count)
{
	if (count != u->address_count)
		return false;
	for (size_t i = 0; i < count; i++) {
		size_t k = 0;
		while (k < count && !same_address(&addresses[i], &u->addresses[k]))
			k++;
		if (k == count)
			return false;
	}
	return true;
}

static void upstream_resolve_later(struct upstream *u)
{
	uint64_t delay_ns = u->proxy->config->timeouts.resolve_ns;
	if (u->address_count == 0)
		delay_ns = resolve_again_ns;
	if (delay_ns != 0)
		timer_start(&u->resolve_timer, delay_ns);
}

static void upstream_move(struct upstream *u, const struct net_address *addresses, size_t count)
{
	log_info("upstream %s: its name has other addresses now", u->text);
	memcpy(u->addresses, addresses, count * sizeof *addresses);
	u->address_count = count;
	u->address_next = 0;
	u->generation++;
	u->failures = 0;
	u->shunned_until_ns = 0;
	list_for_each_safe (node, &u->idle)
		link_free(LIST_ENTRY(node, struct link, node));
	waiting_advance_soon(u->proxy);
}

static void upstream_resolved(
	void *context, const struct net_address *addresses, size_t count, const char *why)
{
	struct upstream *u = context;
	u->lookup = NULL;
	if (count == 0 && !u->lookup_failed)
		log_warn("upstream %s: its name cannot be looked up (%s); %s", u->text, why,
			u->address_count != 0 ? "the addresses it had stay in use" : "it is tried again");
	u->lookup_failed = count == 0;
	if (count != 0 && !same_addresses(u, addresses, count))
		upstream_move(u, addresses, count);
	upstream_resolve_later(u);
}

static void upstream_resolve(void *context)
{
	struct upstream *u = context;
	if (u->lookup != NULL)
		return;
	u->looked_up_at_ns = loop_now_ns(u->proxy->loop);
	u->lookup = lookup_new(u->proxy->loop, u->address->host, u->address->port, upstream_resolved, u);
	if (u->lookup == NULL)
		upstream_resolve_later(u);
}

static bool is_name(const struct config_address *a)
{
	struct ip ip;
	return !a->is_unix && strchr(a->host, ':') == NULL && !ip_parse(slice_of(a->host), &ip);
}

/* Before the loop runs there is time to wait for the answer. */
static void upstream_init(struct upstream *u, struct proxy *p, const struct config_address *a)
{
	struct buf why = { 0 };
	list_init(&u->idle);
	timer_init(&u->resolve_timer, p->loop, upstream_resolve, u);
	u->proxy = p;
	u->address = a;
	u->text = a->text;
	u->named = is_name(a);
	u->address_count = net_resolve(a->is_unix, a->host, a->port, u->addresses, UPSTREAM_ADDRESSES, &why);
	if (u->address_count == 0)
		log_error("upstream %s has no address: %s", a->text, why.data ? why.data : "none found");
	if (u->named)
		upstream_resolve_later(u);
	buf_clear(&why);
}

void upstreams_init(struct proxy *p)
{
	const struct config_addresses *wanted = &p->config->upstream;
	p->upstream_count = wanted->count;
	p->upstreams = xcalloc(MAX(wanted->count, 1), sizeof *p->upstreams);
	for (size_t i = 0; i < wanted->count; i++)
		upstream_init(&p->upstreams[i], p, &wanted->items[i]);
}

void upstreams_clear(struct proxy *p)
{
	for (size_t i = 0; i < p->upstream_count; i++) {
		struct upstream *u = &p->upstreams[i];
		list_for_each_safe (node, &u->idle)
			link_free(LIST_ENTRY(node, struct link, node));
		timer_clear(&u->resolve_timer);
		lookup_free(u->lookup);
	}
	free(p->upstreams);
	p->upstreams = NULL;
}

/* --- which one is next --- */
static uint64_t shun_ns(const struct upstream *u)
{
	unsigned doublings = MIN(u->failures - 1, 5);
	return MIN(shun_first_ns << doublings, shun_most_ns);
}

void upstream_connected(struct upstream *u)
{
	if (u->failures != 0 && u->proxy->upstream_count > 1)
		log_info("upstream %s accepts connections again", u->text);
	u->failures = 0;
	u->shunned_until_ns = 0;
}

void upstream_failed(struct upstream *u, const char *reason)
{
	uint64_t now_ns = loop_now_ns(u->proxy->loop);
	if (u->failures++ == 0 && u->proxy->upstream_count > 1)
		log_warn("upstream %s: %s; the others are asked in its place", u->text, reason);
	u->shunned_until_ns = now_ns + shun_ns(u);
	if (u->named && now_ns - u->looked_up_at_ns >= resolve_again_ns)
		upstream_resolve(u);
}

/* The one with the fewest exchanges in flight; among equals each in turn. Of shunned ones, the one whose time is over first. */
static bool better(const struct upstream *u, const struct upstream *than, uint64_t now_ns)
{
	bool shunned = u->shunned_until_ns > now_ns;
	if (than == NULL)
		return true;
	if (shunned != (than->shunned_until_ns > now_ns))
		return !shunned;
	return shunned ? u->shunned_until_ns < than->shunned_until_ns : u->in_flight < than->in_flight;
}

uint64_t upstream_bit(const struct upstream *u)
{
	size_t i = (size_t)(u - u->proxy->upstreams);
	return UINT64_C(1) << MIN(i, 63);
}

static bool has_room(const struct upstream *u)
{
	return u->proxy->upstream_share == 0 || u->in_flight < u->proxy->upstream_share;
}

struct upstream *upstream_pick(struct proxy *p, uint64_t tried, bool *full)
{
	struct upstream *best = NULL;
	uint64_t now_ns = loop_now_ns(p->loop);
	bool fine_one_full = false;
	*full = false;
	for (size_t i = 0; i < p->upstream_count; i++) {
		struct upstream *u = &p->upstreams[(p->upstream_turn + i) % p->upstream_count];
		if (u->address_count == 0 || tried & upstream_bit(u))
			continue;
		if (!has_room(u)) {
			*full = true;
			fine_one_full |= u->shunned_until_ns <= now_ns;
		} else if (better(u, best, now_ns)) {
			best = u;
		}
	}
	if (best != NULL && fine_one_full && best->shunned_until_ns > now_ns)
		return NULL; /* it is better to wait for one that works */
	p->upstream_turn++;
	if (best != NULL && best->failures != 0)
		best->shunned_until_ns =
			now_ns + shun_ns(best); /* this one request tries it, no other meanwhile */
	return best;
}
