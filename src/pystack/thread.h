/* thread.h - one Python thread: what is remembered of it between two looks, and how its stack is read in one call.
 *
 * The next look reads what the last one needed, all at once: the thread state, the word that tells the running frame,
 * the chunk of the data stack, and each further piece (frames of coroutines, older chunks). Then it is checked whether
 * that still was the right thing to read; only what moved is read again.
 */
#ifndef PYSTACK_THREAD_H
#define PYSTACK_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <slowproxy/pystack.h>

#include "frame.h"
#include "layout.h"
#include "memory.h"
#include "state.h"
#include "tail.h"

/* A piece of the process's memory, kept in thread.bytes from `at` on. */
struct region {
	uint64_t addr;
	uint32_t len;
	uint32_t at;
	bool chunk; /* of the data stack; else a single frame on the heap */
	bool valid; /* read in this look */
	bool used;  /* the last walk needed it */
};

struct thread {
	uint64_t addr;        /* of its thread state */
	uint64_t identity[2]; /* what no two threads share: an id that is given once, and the pthread_t */
	uint64_t native_id;   /* as the process knows it; 0 unknown */
	uint64_t interp;
	uint8_t state[TSTATE_BYTES_MAX];
	bool fresh;  /* state is of this look */
	bool whole;  /* so is everything predicted */
	bool wanted; /* its stack is read; beyond max_threads it is not */

	uint64_t anchor;      /* where the word that tells the running frame lies; 0: in the thread state */
	uint64_t anchor_base; /* what the thread state said when anchor was derived */
	uint64_t anchor_word;
	struct region *regions; /* the current chunk first */
	size_t region_count, region_capacity;
	uint8_t *bytes;
	size_t bytes_len, bytes_capacity;

	struct chain chain;
	struct tail tail; /* of the last stack that was proven whole */
	struct py_frame *frames;
	size_t frame_count, frame_capacity;

	pid_t tid;
	char name[32];
	unsigned name_tries;
	bool name_final;
	struct state_files files;
	uint64_t futex, stack_pointer; /* where it sleeps, as its state was last read; 0 in no futex */
};

struct thread_table {
	struct thread **all; /* oldest first */
	size_t count;
	size_t wanted;        /* how many of them, the oldest, have their stacks read */
	uint64_t names_at_ns; /* when threading was last asked for names */
};

struct thread *thread_new(uint64_t addr, uint64_t interp);
void thread_free(struct thread *t);
void threads_clear(struct thread_table *t);

/* A field of the thread state as last read. */
static inline uint64_t thread_word(const struct thread *t, uint32_t offset)
{
	return word_at(t->state, offset);
}

/* What tells it from any other. */
static inline bool thread_is(const struct thread *t, const struct py_layout *l)
{
	uint32_t id = l->tstate_native_id != PY_NONE ? l->tstate_native_id : l->tstate_id;
	return thread_word(t, id) == t->identity[0] && thread_word(t, l->tstate_pthread) == t->identity[1];
}

enum { THREAD_PARTS_MAX = 4200 };
/* What to read of it, its state from that byte on; at most THREAD_PARTS_MAX parts are written. Returns how many. */
size_t thread_parts(struct py_process *p, struct thread *t, uint32_t from, struct mem_part *parts);
/* How many of those parts were read. */
void thread_parts_read(struct thread *t, size_t count);
/* Reads and walks its stack; false when it had to be degraded. */
bool thread_stack(struct py_process *p, struct thread *t);
/* A piece that the prediction missed; NULL when it cannot be read. */
struct region *thread_fetch(struct py_process *p, struct thread *t, uint64_t addr, uint32_t len, bool chunk);
/* Names of threads that have none yet. */
void threads_name(struct py_process *p);

#endif
