/* sampler.h - the sampler process: takes orders, finds the worker, keeps the rhythm, sends samples.
 *
 * It has no network and no listening socket; it hears and speaks only on the channels it was started with.
 */
#ifndef SLOWPROXY_SAMPLER_H
#define SLOWPROXY_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

struct sampler_settings {
	const int *channels; /* one per event loop of the proxy; owned from now on */
	size_t channel_count;
	uint32_t rate_hz; /* capture.rate */
};

/* The life of the process: returns its exit status when every channel is closed. Run after privileges were dropped. */
int sampler_run(const struct sampler_settings *settings);

#endif
