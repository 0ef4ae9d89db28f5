/* waiting.c - requests that wait until a backend has room.
 *
 *   all backends full -> waits, oldest first -> an exchange ended somewhere -> connects
 *                                            -> timeouts.queue, limits.queue -> 503 with Retry-After
 *
 * The queue moves on from the loop, not from inside the exchange that ended. Whoever comes meanwhile stands behind.
 */
#include "proxy_private.h"

static void waiting_advance(void *context)
{
	struct proxy *p = context;
	struct list_node *node;
	while ((node = list_first(&p->queue)) != NULL) {
		struct exchange *x = LIST_ENTRY(node, struct exchange, node);
		bool full;
		struct upstream *u = upstream_pick(p, x->tried_upstreams, &full);
		if (u == NULL)
			return;
		exchange_assign(x, u);
		exchange_connect(x);
	}
}

void waiting_advance_soon(struct proxy *p)
{
	if (p->counters.queued != 0 && !p->freeing)
		timer_start(&p->queue_timer, 0);
}

void waiting_join(struct exchange *x)
{
	struct proxy *p = x->proxy;
	if (p->counters.queued >= p->config->limits.queue) {
		response_fail(x, OUTCOME_OVERLOAD, "as many requests wait as limits.queue allows");
		return;
	}
	p->counters.queued++;
	list_push_back(&p->queue, &x->node);
	x->record->timeline.at[MARK_CONNECT_BEGIN] =
		0; /* of a backend that was not there: all of it was waiting */
	exchange_enter(x, X_QUEUED);
}

void waiting_leave(struct exchange *x)
{
	list_remove(&x->node);
	x->proxy->counters.queued--;
}

void waiting_init(struct proxy *p)
{
	const struct config *c = p->config;
	p->upstream_share = (c->limits.upstream_connections + c->workers - 1) / c->workers;
	list_init(&p->queue);
	timer_init(&p->queue_timer, p->loop, waiting_advance, p);
}

void waiting_clear(struct proxy *p)
{
	timer_clear(&p->queue_timer);
}
