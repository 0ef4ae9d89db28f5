/* launch.h - a command started as our child, to be looked at. */
#ifndef APP_LAUNCH_H
#define APP_LAUNCH_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

struct launch {
	pid_t pid; /* 0: nothing was started */
	bool ended;
	int status; /* as waitpid says, once ended */
};

/* How it is started. All lent. */
struct launch_wants {
	const char *who; /* begins the sentence when it cannot be */
	bool apart;      /* with a process group of its own; we and our children may read its memory */
	const struct rlimit *descriptors; /* NULL: ours */
	int output; /* takes what it writes, and it has nothing to read; 0: it has what we have */
};

/* false: it could not be started; why has been printed, and status is what a shell would give (127, 126). */
bool launch_start_as(struct launch *l, char **argv, const struct launch_wants *wants);
/* false: it could not be started, and why has been printed after "slowproxy COMMAND: ". */
bool launch_start(struct launch *l, char **argv, const char *who);
/* Whether it has ended; asks without waiting. */
bool launch_ended(struct launch *l);
/* Asks it to end (TERM), waits a while, then insists (KILL). */
void launch_stop(struct launch *l);

#endif
