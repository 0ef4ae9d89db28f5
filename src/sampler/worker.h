/* worker.h - a process behind the backend's address, attached once and read at each tick while it is wanted. */
#ifndef SLOWPROXY_SAMPLER_WORKER_H
#define SLOWPROXY_SAMPLER_WORKER_H

#include "outbox.h"
#include "serving.h"
#include "turns.h"
#include "waits.h"

enum { WORKERS_MAX = 64, CHANNELS_MAX = 256 };

struct worker {
	struct list_node node;
	uint32_t key;   /* as in ipc_head; never used twice */
	uint16_t epoch; /* of its code cache, see outbox.h */
	pid_t pid;
	int pidfd; /* readable when it has ended; -1 where the kernel has none */
	uint64_t start_time;
	struct py_process *python; /* NULL: see status */
	enum ipc_status status;
	bool may_recover; /* a failure that passes: Python is still starting */
	char reason[IPC_REASON_BYTES];
	char version[32], server[32];
	uint64_t retry_at_ns;
	uint64_t used_ns;
	uint32_t wanted;                  /* captures that read it now */
	uint32_t wanted_on[CHANNELS_MAX]; /* the same by channel */
	unsigned in_vain;                 /* ticks in a row that could not read it */
	uint64_t proven_ns;               /* up to here no code object had changed */
	uint64_t looked_ns;               /* last look */
	struct map loops;                 /* threads once seen to run an event loop */
	struct map user_code;             /* code id -> is it the user's own */
	struct map wanted_spans;          /* span id -> captures of it: their tasks are told first */
	struct serving serving;
	struct waits waits;
	struct turns turns;
	bool *ready; /* of the last look, beside its tasks: those that serve requests and could go on */
	size_t ready_capacity;
	struct map served_at; /* hashes of addresses at which it accepted connections of ours */
};

struct workers {
	struct list list; /* the one used last comes last */
	size_t count;
	uint32_t next_key;
	uint16_t next_epoch;
	bool epochs_used_up; /* all dictionaries must be reset: epochs begin anew */
};

void workers_init(struct workers *ws);
void workers_clear(struct workers *ws);
/* The worker for this pid, attached if that is possible; its status says. NULL: no such process, or too many workers. */
struct worker *workers_get(struct workers *ws, pid_t pid, uint64_t now_ns, bool *too_many);
/* Whether it still is the process it was. When not, its status is GONE from now on. */
bool worker_alive(struct worker *w);
/* Gives every worker a new epoch. */
void workers_renew_epochs(struct workers *ws);

/* One look, into sample (valid until the next look at this worker). false: it failed; status tells when for good. */
MUST_CHECK bool worker_look(struct worker *w, bool tasks, struct py_sample *sample);
/* Tells one channel what was seen; sample NULL: that nothing was. flags: IPC_TICK_TASKS, IPC_TICK_THRIFTY. */
void worker_tell(
	struct worker *w, struct outbox *o, const struct py_sample *sample, uint64_t at_ns, unsigned flags);
/* Checks that code objects are what they were since proven_ns, and moves that on. Returns how many are not; the ids of the
 * first CHANGED_MAX of those. Then the caller tells the channels and lets worker_forget_code follow. */
enum { CHANGED_MAX = 64 };
size_t worker_changed_code(struct worker *w, uint64_t now_ns, uint32_t ids[CHANGED_MAX]);
void worker_forget_code(struct workers *ws, struct worker *w);

#endif
