/* ask.h - the loops are asked for their numbers, and not waited for longer than half a second. */
#ifndef SLOWPROXY_APP_ASK_H
#define SLOWPROXY_APP_ASK_H

#include "console.h"

enum { ASK_RUNNING_MAX = 200 }; /* requests that each loop tells of, the oldest first */

struct ask_running {
	char request_id[129], trace_id[33], method[32], path[256];
	char client_address[RECORD_ADDRESS_BYTES], upstream_address[RECORD_ADDRESS_BYTES];
	const char *phase;
	char route[RECORD_ROUTE_BYTES]; /* "": it has no name */
	bool route_guessed;
	uint64_t age_ns, threshold_ns;
};

struct ask_answer {
	bool told; /* false: the loop is busy and did not answer in time */
	struct proxy_counters proxy;
	struct capture_counters capture;
	bool sampler_silent;
	struct ask_running *running; /* owned; only when wanted */
	size_t running_count;
};

struct ask;
/* The answers of all loops, in their order, until ask_free. From any thread but a loop's. */
struct ask *ask_loops(struct console *console, bool wants_running);
const struct ask_answer *ask_answer(const struct ask *a, uint32_t loop);
void ask_free(struct ask *a);

#endif
