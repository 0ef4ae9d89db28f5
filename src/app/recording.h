/* recording.h - what a Python process does, look by look, gathered in a profile. */
#ifndef APP_RECORDING_H
#define APP_RECORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/profile.h>
#include <slowproxy/pystack.h>

/* Which stacks are kept, and how a frame is written down. */
struct recording_wants {
	bool idle;           /* also threads that wait; else only those on a CPU or holding the GIL */
	bool gil;            /* only the thread that holds the GIL */
	bool tasks;          /* also suspended asyncio tasks */
	bool functions;      /* a frame's line is the first of its function */
	bool no_lines;       /* frames without lines */
	bool native;         /* with the C functions above the innermost Python function */
	bool blocking;       /* each look stops the Python threads meanwhile */
	bool full_filenames; /* else from the package on: "fastapi/routing.py" */
};

/* Sums over all looks, but for threads and errors. */
struct activity {
	uint64_t looks;
	uint64_t gil;    /* looks in which a thread held the GIL */
	uint64_t active; /* threads that ran, over all looks */
	uint64_t errors;
	unsigned threads; /* in the last look */
};

struct recording {
	struct profile *profile;   /* lent: several processes may share one */
	struct py_process *python; /* owned */
	pid_t pid;
	uint32_t root; /* a frame that names the process, below all others; UINT32_MAX: none */
	struct recording_wants wants;
	uint64_t period_ns;
	uint64_t looks, failed_looks;
	struct activity activity; /* its looks are the good ones */
	uint64_t degraded;        /* threads and tasks of good looks that could not be read whole */
	uint64_t
		replaced; /* samples in which a frame was withdrawn: its code object was replaced meanwhile */
	struct map frames;    /* code id and line -> frame of the profile */
	size_t checked_until; /* samples before this one are proven */
	uint64_t checked_ns;
	uint32_t *stack; /* scratch */
	size_t stack_room;
};

/* Takes the process. named: each of its stacks begins with a frame that tells which process it is. */
void recording_init(struct recording *r, struct profile *profile, struct py_process *python,
	const struct recording_wants *wants, uint64_t period_ns, bool named);
/* One look. What it returns is told by its sentence; only PY_NO_PROCESS is final. */
MUST_CHECK enum py_result recording_look(struct recording *r);
/* The last word: checks what is not proven yet. */
void recording_end(struct recording *r);
/* The samples of the profile were taken out of it. */
void recording_samples_gone(struct recording *r);
void recording_clear(struct recording *r);

#endif
