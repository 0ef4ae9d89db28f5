/* role_sampler.c - the process that may read other processes' memory, and may do nothing else. */
#include "roles.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <slowproxy/base/log.h>
#include <slowproxy/sampler.h>

#include "privileges.h"

enum { SAMPLER_NICE = -10 /* where we may; else as we are */ };

int sampler_role_run(const struct config *config)
{
	/* It ends when its channels do: what the terminal sends to the whole group is the parent's business. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);

	/* On a machine that is busy with the very storm to be explained, looks must not come late; what they cost is bounded. */
	(void)setpriority(PRIO_PROCESS, 0, SAMPLER_NICE);
	struct buf why = { 0 };
	if (!privileges_drop_sampler(config->user, &why)) {
		log_error("the sampler cannot give up its privileges: %s", why.data);
		buf_clear(&why);
		return EXIT_CANNOT_START;
	}
	privileges_follow_parent(SIGKILL);

	int *channels = xcalloc(config->workers, sizeof *channels);
	for (uint32_t i = 0; i < config->workers; i++)
		channels[i] = FD_SAMPLER_CHANNELS + (int)i;
	struct sampler_settings settings = {
		.channels = channels,
		.channel_count = config->workers,
		.rate_hz = config->capture.rate_hz,
		.max_cpu_percent = config->capture.max_cpu_percent,
	};
	int status = sampler_run(&settings);
	free(channels);
	return status;
}
