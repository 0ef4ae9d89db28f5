/* recordings.h - the processes that are looked at together: one, or one with all its descendants, in one profile. */
#ifndef APP_RECORDINGS_H
#define APP_RECORDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "recording.h"

struct recordings {
	struct profile *profile; /* owned */
	struct recording **all;  /* owned; those that live */
	size_t count, capacity;
	struct recording_wants wants;
	uint64_t period_ns;
	pid_t root;
	bool follow;       /* also the descendants of root */
	struct map family; /* pid -> when it was started, in ticks: root and its descendants seen so far */
	struct map tries;  /* pid -> how often it could not be opened */
	uint64_t searched_ns;
	char version[24];                                 /* of the first Python */
	size_t processes;                                 /* Pythons looked at so far */
	uint64_t looks, failed_looks, degraded, replaced; /* of those that ended */
	struct activity ended;
	uint64_t rounds; /* looks at all of them */
};

void recordings_init(struct recordings *r, pid_t root, bool follow, const struct recording_wants *wants,
	uint64_t period_ns);
/* Takes the process. */
void recordings_add(struct recordings *r, struct py_process *python);
/* One look at each. PY_NO_PROCESS: there is none left. */
MUST_CHECK enum py_result recordings_look(struct recordings *r);
/* What they do, all together: a look is one at all of them. */
struct activity recordings_activity(const struct recordings *r);
/* Looks for descendants that are new, and opens those that are Python. */
void recordings_search(struct recordings *r, uint64_t now_ns);
/* The last word: checks what is not proven yet. */
void recordings_end(struct recordings *r);
/* Forgets the samples, not the names. */
void recordings_samples_drop(struct recordings *r);
void recordings_clear(struct recordings *r);

/* Ended, but for what its parent has not asked yet. */
bool process_is_gone(pid_t pid);

#endif
