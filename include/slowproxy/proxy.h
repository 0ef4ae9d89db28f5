/* proxy.h - one event loop's worth of proxy: accepts clients, relays exchanges, pools upstream connections.
 *
 *   proxy ─┬─ client* ── exchange ── record      a client owns its exchange; the exchange owns its record until it ends
 *          └─ upstream pool ── connection*
 *
 * The proxy does not know that it is being profiled: whoever wants to know plugs in an observer.
 */
#ifndef SLOWPROXY_PROXY_H
#define SLOWPROXY_PROXY_H

#include <slowproxy/config.h>
#include <slowproxy/net.h>
#include <slowproxy/record.h>

struct proxy_observer {
	/* The request head is complete and the record filled as far as it can be. The record is lent until ended. */
	void (*began)(void *context, struct record *r);
	/* The exchange is over. The record moves to the observer, who frees it. Called exactly once for each began. */
	void (*ended)(void *context, struct record *r);
	/* A request was refused on its head: it was never begun, but answered. The record moves to the observer. NULL is fine. */
	void (*refused)(void *context, struct record *r);
	void *context;
};

struct proxy_counters {
	uint64_t outcomes[OUTCOME_COUNT];
	uint64_t clients_accepted;
	uint32_t clients, exchanges; /* open now */
	uint32_t queued;             /* of the exchanges: they wait for limits.upstream_connections */
	uint32_t upstream_idle, upstream_busy; /* connections now */
	uint64_t upstream_connects, upstream_reuses, upstream_replays;
};

struct proxy;

/* config outlives the proxy. */
struct proxy *proxy_new(struct loop *l, const struct config *config, const struct proxy_observer *observer);
/* Accepts on fd, a listening socket, and takes it. May be called several times. lent: a service manager holds it too, and
 * connections may wait in it when we are gone. */
void proxy_listen(struct proxy *p, int fd, bool lent);
/* The end is near: from now on each answer says Connection: close. All else goes on as before. */
void proxy_announce_end(struct proxy *p);

enum proxy_drain_how {
	/* Somebody else goes on accepting on these sockets. Clients at rest may ask once more or time out, so that no request
	 * meets a closing connection; there is no bound. */
	PROXY_DRAIN_PATIENTLY,
	/* Nobody else does: new connections are refused (but on sockets that are lent), those made already are accepted; whoever
	 * asks within a moment is answered, with Connection: close; what runs when the time is over is cut. */
	PROXY_DRAIN_CLOSING_DOORS,
};
/* Stops accepting. drained(context) comes once, from the loop, when no client is left. within_ns 0: no bound. */
void proxy_drain(struct proxy *p, enum proxy_drain_how how, uint64_t within_ns,
	void (*drained)(void *context), void *context);
const struct proxy_counters *proxy_counters(const struct proxy *p);
void proxy_free(struct proxy *p); /* cuts what is left: outcome shutdown */

#endif
