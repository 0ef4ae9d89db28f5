/* orders.h - what the proxy wants looked at: each order is one request, from CAPTURE_START to CAPTURE_STOP.
 *
 *   START -> SEARCHING --worker found and readable--> READING --STOP or deadline--> forgotten
 *               |   ^--not accepted yet, not ready--'    |
 *               `--------denied, not Python, ...---------`--> FAILED
 */
#ifndef SLOWPROXY_SAMPLER_ORDERS_H
#define SLOWPROXY_SAMPLER_ORDERS_H

#include "connection.h"
#include "holder.h"
#include "outbox.h"
#include "worker.h"

struct orders {
	struct outbox *boxes; /* one per channel */
	size_t box_count;
	struct map *by_id; /* per channel: capture id -> struct order * */
	struct list searching, reading, failed;
	size_t count;
	size_t wanted; /* orders that have a worker */
	struct workers workers;
	struct holders holders;
	struct diag diag;
	uint64_t namespaces_next_ns; /* when other network namespaces may be asked again */
};

/* boxes are lent and outlive the orders. */
void orders_init(struct orders *os, struct outbox *boxes, size_t box_count);
void orders_clear(struct orders *os);

void orders_start(struct orders *os, size_t channel, const struct ipc_capture_start *m, uint64_t now_ns);
void orders_stop(struct orders *os, size_t channel, const struct ipc_capture_stop *m, uint64_t now_ns);
void orders_channel_closed(struct orders *os, size_t channel);

/* Goes on searching for the workers of those that are due. Bounded per call; returns when to come again, 0: no need. */
uint64_t orders_search(struct orders *os, uint64_t now_ns);
/* The worker's status has changed (it ended, it cannot be read any more): its orders hear of it. */
void orders_worker_changed(struct orders *os, struct worker *w, uint64_t now_ns);
/* Forgets what is past its deadline. */
void orders_expire(struct orders *os, uint64_t now_ns);
/* Tells every channel that wants this worker which code objects were replaced in it since the last check. */
void orders_prove(struct orders *os, struct worker *w, uint64_t now_ns);

#endif
