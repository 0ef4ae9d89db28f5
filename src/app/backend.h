/* backend.h - the app itself as our child: `slowproxy -- uvicorn app:app`.
 *
 *   start ──> listens ──> ends            is started again, later each time
 *     └─────> ends before it ever listened: it cannot run, and its status becomes ours
 */
#ifndef APP_BACKEND_H
#define APP_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/config.h>

#include "family.h"
#include "launch.h"

enum backend_state {
	BACKEND_NONE,
	BACKEND_STARTING,
	BACKEND_LISTENS,
	BACKEND_WAITS,
	BACKEND_STOPPING,
	BACKEND_ENDED
};

struct backend {
	enum backend_state state;
	char **command;  /* NULL: there is none. Owned; its words are lent */
	struct buf word; /* the one of them that is ours */
	const char *name;
	struct child child; /* when it was started, and will be */
	struct launch launch;
	struct config_address
		address; /* where it is expected to listen; text NULL: nowhere we could look. Owned */
	struct rlimit descriptors; /* what we were started with; it gets the same */
	uint64_t give_up_at_ns;    /* 0: no bound */
	bool listened;             /* ever */
	bool warned;               /* that it takes long to listen */
	int status;                /* an exit status for us, once it ended */
};

/* What the environment must say so that the configuration fits a command: an upstream where there is none, and, without a file,
 * listening on this machine only. upstream_missing: the configuration names none. */
void backend_environment(char *const *command, bool upstream_missing, bool listen_missing);

/* command is lent; NULL: there is none to be started. */
void backend_init(struct backend *b, char *const *command, const struct config *config);
void backend_clear(struct backend *b);
/* false: it could not be started, or its address is taken; it has been said. */
bool backend_start(struct backend *b);
/* A child ended; false when pid is not this one. When it will not be started again, state is BACKEND_ENDED. */
bool backend_reap(struct backend *b, pid_t pid, int status);
/* Starts what is due, looks whether it listens. Returns when it wants to be called again, UINT64_MAX: never. */
uint64_t backend_tick(struct backend *b, uint64_t now_ns);
/* Asks it to end, by this signal, and ends it after so long. */
void backend_stop(struct backend *b, int signal, uint64_t within_ns);
bool backend_runs(const struct backend *b);

#endif
