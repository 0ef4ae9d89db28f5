/* task.h - suspended asyncio tasks: who they are, and the line each of them awaits at.
 *
 * All tasks are read together, one hop of all await chains per call.
 */
#ifndef PYSTACK_TASK_H
#define PYSTACK_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/pystack.h>

#include "frame.h"

struct py_process;

/* What a coroutine or generator does, and its frame. */
struct coro_look {
	enum { CORO_DONE, CORO_CREATED, CORO_SUSPENDED, CORO_RUNNING } state;
	struct frame_words words;
	uint64_t frame; /* where it lies */
	uint64_t top;   /* where the value on top of its stack lies, while suspended; 0: nothing is there */
};
/* From the first bytes of the object (its frame, when it lies inside, included); false when they make no sense. */
typedef bool coro_look_fn(struct py_process *p, uint64_t object, const uint8_t *bytes, struct coro_look *out);
coro_look_fn *coro_looker(enum coro_shape kind);
coro_look_fn coro_look_object; /* frame_object.c */

enum { AWAIT_HOPS_MAX = 200, TASK_FRAMES_FIRST = 8 };

/* The await chain of one task while it is walked, and then as it is shown. */
struct await_chain {
	uint64_t task, name_addr;
	uint64_t waits_for;
	uint64_t next; /* the object to look at; 0: the chain is done */
	bool skip;     /* runs just now, or is done */
	bool torn;
	struct raw_frame *raw; /* outermost first */
	size_t count, capacity;
	uint64_t hops[AWAIT_HOPS_MAX]; /* coroutines seen, so that a circle ends */
	size_t hop_count;
	struct py_frame *frames;
	size_t frame_capacity;
};

struct task_table {
	uint64_t interp, sets[4]; /* the sets that hold weak references to all tasks */
	size_t set_count;
	uint64_t looked_at_ns; /* when asyncio was last searched for in vain */
	struct await_chain *chains;
	size_t chain_capacity;
	struct py_task *out;
	size_t out_count, out_capacity;
	bool cut;
};

/* Fills p->tasks.out. */
void tasks_read(struct py_process *p, uint64_t interp, size_t max);
void tasks_clear(struct task_table *t);

#endif
