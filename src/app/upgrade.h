/* upgrade.h - a new binary takes over from the running one without a request noticing.
 *
 *   USR2 -> old parent: fork, exec of the file it was started from, with the listening sockets (LISTEN_FDS)
 *                       new parent: starts its family on them -> ready --(a byte on a pipe)--> old parent: retires its families
 *                       new parent: ends before             -> (the pipe closes)           -> old parent: goes on
 *
 * Until the new one is ready both accept; afterwards the old one ends with its last request.
 */
#ifndef SLOWPROXY_APP_UPGRADE_H
#define SLOWPROXY_APP_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sockets.h"

enum { UPGRADE_SOCKETS_MAX = 1000 };

enum upgrade_state { UPGRADE_NONE, UPGRADE_STARTING, UPGRADE_DONE };

struct upgrade {
	enum upgrade_state state;
	pid_t pid;  /* the new parent; 0: none */
	int report; /* readable when it is ready or has ended; -1: none */
	uint64_t give_up_at_ns;
};

/* --- in the old parent --- */
/* false: it could not be started, and the reason is logged. */
bool upgrade_start(struct upgrade *u, char *const *argv, const struct sockets *s);
/* The pipe says something. The state says what; on a failure it is UPGRADE_NONE again. */
void upgrade_hear(struct upgrade *u);
/* A child ended: true when it was the new parent. */
bool upgrade_reap(struct upgrade *u, pid_t pid, int status);
/* Ends a new one that does not get ready. Returns when it wants to be called again; UINT64_MAX: never. */
uint64_t upgrade_tick(struct upgrade *u, uint64_t now_ns);

/* --- in the new parent --- */
struct predecessor {
	int pipe; /* -1: there is none, or it was told */
	char lent[UPGRADE_SOCKETS_MAX + 1];
};
/* From the environment, and takes it out of there. */
void predecessor_meet(struct predecessor *p);
/* Of the sockets handed over: whether the service manager holds it, too; whether it is the admin listener's. */
bool predecessor_lent(const struct predecessor *p, size_t socket);
bool predecessor_was_admin(const struct predecessor *p, size_t socket);
void predecessor_tell_ready(struct predecessor *p);

#endif
