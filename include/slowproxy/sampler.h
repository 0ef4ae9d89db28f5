/* sampler.h - the sampler process: takes orders, finds the worker, keeps the rhythm, sends samples.
 *
 * It has no network and no listening socket; it hears and speaks only on the channels it was started with.
 */
#ifndef SLOWPROXY_SAMPLER_H
#define SLOWPROXY_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sampler_settings {
	const int *channels; /* one per event loop of the proxy; owned from now on */
	size_t channel_count;
	uint32_t rate_hz;         /* capture.rate */
	uint32_t max_cpu_percent; /* capture.max_cpu */
};

/* The life of the process: returns its exit status when every channel is closed. Run after privileges were dropped. */
int sampler_run(const struct sampler_settings *settings);

/* --- for those who ask what a sampler could do here --- */

enum { SAMPLER_LISTENERS_MAX = 64 };
struct sampler_listeners {
	pid_t pids[SAMPLER_LISTENERS_MAX]; /* who holds a listening socket of that address */
	size_t count;
	bool socket_seen; /* there is such a socket in a network namespace that we can see */
	bool saw_denied;  /* descriptors of some process may not be listed */
};
/* Who listens at this port, on whatever address; at this path, when it is not NULL. */
void sampler_find_listeners(const char *path, uint16_t port, struct sampler_listeners *out);
/* Whether the descriptors of that process may be listed: without it no connection leads to it. */
bool sampler_may_list(pid_t pid);

#endif
