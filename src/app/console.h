/* console.h - what the admin listener and /metrics are told: the loops are asked, each on its own thread.
 *
 *   admin thread ──"tell"──> loop, loop ...   each copies its counters and what it has in flight
 *                <─ all have, or half a second is over
 */
#ifndef SLOWPROXY_APP_CONSOLE_H
#define SLOWPROXY_APP_CONSOLE_H

#include <pthread.h>
#include <stdatomic.h>

#include <slowproxy/admin.h>
#include <slowproxy/base/list.h>
#include <slowproxy/capture.h>
#include <slowproxy/metrics.h>
#include <slowproxy/net.h>
#include <slowproxy/proxy.h>
#include <slowproxy/push.h>
#include <slowproxy/report.h>

#include "naming.h"

/* One event loop, as it can be asked. Everything is lent. */
struct console_loop {
	struct loop *loop;
	const struct proxy *proxy;
	const struct capture *capture;
	const struct naming *naming;
	struct list running; /* of struct record, by their node `running`: the loop's own */
};

struct console {
	const struct config *config;
	struct report *report;
	struct push *push; /* NULL: nothing is pushed; lent */
	struct metrics *metrics;
	struct console_loop **loops; /* owned array of loop_count that are lent */
	uint32_t loop_count;
	pthread_mutex_t asking; /* guards closed */
	bool closed;
	uint64_t reloaded_wall_ns; /* when this configuration came into use */
	atomic_bool reload_failed; /* a newer one had errors */
	struct admin *admin;       /* NULL: there is no such listener */
};

void console_loop_init(struct console_loop *l, struct loop *loop, const struct proxy *proxy,
	const struct capture *capture, const struct naming *naming);
/* Takes loops and admin_fd (-1: none); the report tells it of slow requests from now on. */
void console_open(struct console *c, const struct config *config, struct report *report, struct push *push,
	struct console_loop **loops, int admin_fd);
/* From now on no loop is asked. Any thread, and more than once. */
void console_close(struct console *c);
void console_reload_failed(struct console *c);
/* From now on nobody asks at all: before the report, which is asked too, is freed. */
void console_stop(struct console *c);
/* After the report is gone, which tells of slow requests to its end. */
void console_clear(struct console *c);

/* On the loop's thread, for each request. */
static inline void console_began(struct console_loop *l, struct record *r)
{
	list_push_back(&l->running, &r->running);
}

static inline void console_ended(struct record *r)
{
	list_remove(&r->running);
}

#endif
