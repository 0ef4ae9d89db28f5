/* stop.h - threads of a process stopped for the moment of one look, for who wants exactness and can pay for it.
 *
 *   seize ──> interrupt ──> stopped ──> (look) ──> detach
 *
 * Nobody stays stopped: the kernel lets go of them when we die, and a guard, a small process of ours, wakes or kills us when we
 * are stopped ourselves meanwhile.
 */
#ifndef PYSTACK_STOP_H
#define PYSTACK_STOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <slowproxy/base/buf.h>

struct stops {
	struct stopped {
		pid_t tid;
		int signal;  /* to be given to it when it goes on; 0: none */
		bool stands; /* it has stopped; else it was asked to */
		bool gone;
	} * all;
	size_t count, capacity;
	struct guard {
		pid_t pid; /* 0: none yet */
		_Atomic uint64_t
			*since_ns; /* shared with it: when the first one was asked to stop; 0: none is */
	} guard;
	uint64_t longest_ns, begun_ns;
};

/* Whether threads of that process can be stopped by us; else why holds a sentence. */
bool stops_possible(pid_t pid, struct buf *why);
/* Asks a thread to stop. false: it cannot be (it ended, or somebody else traces it). */
bool stops_ask(struct stops *s, pid_t tid);
bool stops_has(const struct stops *s, pid_t tid);
bool stops_stand(const struct stops *s, pid_t tid);
/* Waits, for a bounded time, until all that were asked stand. false: some do not. */
bool stops_wait(struct stops *s);
/* Lets all go on. Those that did not stand yet stay known, and go on as soon as they do (stops_release again). */
void stops_release(struct stops *s);
void stops_clear(struct stops *s);

#endif
