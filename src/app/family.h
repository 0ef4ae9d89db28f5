/* family.h - one generation of children: a proxy, its sampler, and the configuration both were born with.
 *
 *   family ─┬─ config, its bytes in a memfd
 *           ├─ sockets        kept here, so a proxy that ends takes no queued connection with it
 *           ├─ proxy          ends: a new one is started, and the sampler with it (their channels were its)
 *           └─ sampler        ends: a new one is started; the proxy's traffic does not notice
 *
 * A reload makes a second family that shares the listening sockets; the first one retires: it takes no new connection and ends
 * with its last request.
 */
#ifndef SLOWPROXY_APP_FAMILY_H
#define SLOWPROXY_APP_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/list.h>
#include <slowproxy/config.h>

#include "sockets.h"

struct child {
	const char *role;
	pid_t pid; /* 0: not running */
	uint64_t started_ns;
	uint64_t start_at_ns; /* 0: no start is planned */
	uint64_t backoff_ns;
};

/* Plans the next start of one that ended: later each time, until it lived long enough. */
void child_start_later(struct child *child);

enum family_state {
	FAMILY_SERVING,
	FAMILY_RETIRING, /* ends with its last request */
	FAMILY_STOPPING, /* ends now, within give_up_at_ns */
	FAMILY_ENDED     /* neither child runs and none will be started */
};

struct family {
	struct list_node node;
	enum family_state state;
	char *const *argv; /* of the whole program; lent */
	struct config *config;
	int config_fd;
	struct sockets sockets;
	int control; /* to the proxy; -1 while it is down */
	struct child proxy, sampler;
	uint64_t give_up_at_ns; /* 0: no bound */
	bool ready;             /* its proxy has said once that it accepts */
	bool cannot_start;      /* the proxy said that it cannot run with this configuration */
};

/* Takes config. yaml is copied into a memfd. Listening sockets that are in `before` (or NULL) are shared. NULL when an address
 * cannot be listened on: the error is logged, config is freed. */
struct family *family_new(
	char *const *argv, struct config *config, const struct buf *yaml, const struct sockets *before);
void family_free(struct family *f); /* an ended one */

/* Starts both children; what fails is tried again later by family_tick. */
void family_start(struct family *f);
/* Starts what is due and ends what does not end by itself. Returns when it wants to be called again, UINT64_MAX: never. */
uint64_t family_tick(struct family *f, uint64_t now_ns);
/* A child ended; false when pid is none of this family's. */
bool family_reap(struct family *f, pid_t pid, int status);
/* A newer configuration has errors: its metrics say so. */
void family_tell_reload_failed(struct family *f);
/* The proxy has said something. */
void family_hear(struct family *f);

/* No new connections; ends with its last request. */
void family_retire(struct family *f);
/* Its log files are opened anew. */
void family_reopen(struct family *f);
/* TERM: goes on for timeouts.drain_delay, then drains for timeouts.drain at most. */
void family_drain(struct family *f);
/* INT: at once. */
void family_quit(struct family *f);

#endif
