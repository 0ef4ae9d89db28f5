/* launch.h - a command started as our child, to be looked at. */
#ifndef APP_LAUNCH_H
#define APP_LAUNCH_H

#include <stdbool.h>
#include <sys/types.h>

struct launch {
	pid_t pid; /* 0: nothing was started */
	bool ended;
	int status; /* as waitpid says, once ended */
};

/* false: it could not be started, and why has been printed after "slowproxy COMMAND: ". */
bool launch_start(struct launch *l, char **argv, const char *who);
/* Whether it has ended; asks without waiting. */
bool launch_ended(struct launch *l);
/* Asks it to end (TERM), waits a while, then insists (KILL). */
void launch_stop(struct launch *l);

#endif
