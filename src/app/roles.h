/* roles.h - the three processes of the house, and what they hand each other at birth.
 *
 *   parent ──spawn──> proxy    "--role=proxy"    fds: config, control, channels[workers], listeners[...], admin listener
 *      └─────spawn──> sampler  "--role=sampler"  fds: config, channels[workers]
 *
 * A child is the same binary with the same arguments and environment, so it reads the same configuration: the bytes of the
 * file come to it in a memfd, read once by the parent.
 */
#ifndef SLOWPROXY_APP_ROLES_H
#define SLOWPROXY_APP_ROLES_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/config.h>

#include "options.h"

/* Descriptor numbers in a child. Channels follow FD_CONTROL in the proxy and FD_CONFIG in the sampler. */
enum { FD_CONFIG = 3, FD_CONTROL = 4, FD_PROXY_CHANNELS = 5, FD_SAMPLER_CHANNELS = 4 };

/* A role ends with this status when trying again will not help. */
enum { EXIT_CANNOT_START = 2 };

/* TERM drains for timeouts.drain at most, INT ends at once; this one lets the last requests take the time they need. */
#define SIGNAL_RETIRE SIGUSR2

/* Parent and proxy talk in these, over the control channel. */
enum control_type {
	CONTROL_CHANNEL =
		1, /* parent -> proxy: the sampler's channel for loop `worker` comes with this message */
	CONTROL_SAMPLER_SILENT, /* proxy -> parent: the sampler does not answer; start it anew */
	CONTROL_SOCKETS,        /* parent -> proxy, the first: how the listening sockets are to be read */
	CONTROL_READY,          /* proxy -> parent: it accepts */
	CONTROL_RELOAD_FAILED,  /* parent -> proxy: a newer configuration has errors */
};
struct control_message {
	uint32_t type; /* enum control_type */
	uint32_t worker;
	struct {
		uint32_t rows, lent_from; /* see sockets.h */
		uint32_t count;           /* of the listening sockets, which follow the channels */
		uint32_t admin;           /* 1: behind them comes the admin listener's */
	} sockets;
};

/* Each is the life of one process and returns its exit status. */
int parent_run(const struct options *options, char *const *argv);
int proxy_role_run(const struct config *config);
int sampler_role_run(const struct config *config);

/* The configuration of a child: from FD_CONFIG, the flags and the environment. Ends the process when it does not load, which
 * cannot happen unless the environment of the parent was changed under it. */
struct config *role_config_load(const struct options *options);
/* Log to stderr under this name until something better is set; the process's title too. */
void role_begin(const char *name, const struct config *config);

#endif
