/* task.h - suspended asyncio tasks: who they are, and the line each of them awaits at.
 *
 * All tasks are read together, one hop of all await chains per call.
 */
#ifndef PYSTACK_TASK_H
#define PYSTACK_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/map.h>
#include <slowproxy/pystack.h>

#include "frame.h"

struct py_process;

/* What a coroutine or generator does, and its frame. */
struct coro_look {
	enum { CORO_DONE, CORO_CREATED, CORO_SUSPENDED, CORO_RUNNING } state;
	bool awaits; /* suspended in an await, where the state tells */
	struct frame_words words;
	uint64_t frame; /* where it lies */
	uint64_t top;   /* where the value on top of its stack lies, while suspended; 0: nothing is there */
};
/* From the first bytes of the object (its frame, when it lies inside, included); false when they make no sense. */
typedef bool coro_look_fn(struct py_process *p, uint64_t object, const uint8_t *bytes, struct coro_look *out);
coro_look_fn *coro_looker(enum coro_shape kind);
coro_look_fn coro_look_object; /* frame_object.c */

enum { AWAIT_HOPS_MAX = 200, TASK_FRAMES_FIRST = 8, CHAIN_GUARD_BYTES = 104 };

/* Of a coroutine: its state, its code and its place in it. */
struct chain_guard {
	uint8_t bytes[CHAIN_GUARD_BYTES];
};

/* The await chain of one task while it is walked, and then as it is shown. */
struct await_chain {
	uint64_t task, name_addr;
	uint64_t coro, waits_for;
	uint64_t next; /* the object to look at; 0: the chain is done */
	bool skip;     /* runs just now, or is done */
	bool torn;
	bool kept;             /* from the last look, and nothing says yet that it is another by now */
	struct raw_frame *raw; /* outermost first */
	size_t count, capacity;
	uint64_t hops[AWAIT_HOPS_MAX]; /* coroutines seen, so that a circle ends */
	size_t hop_count;
	struct py_frame *frames;
	size_t frame_capacity;
	struct chain_guard *guards; /* beside raw */
	size_t guard_capacity;
	char name[64];
	bool named;
};

/* Where the lists of all tasks begin, for the versions that have them (task_list.c). */
struct task_lists {
	bool known;
	uint64_t table;                                    /* where that was told */
	uint32_t node;                                     /* in a task: its place in the list */
	uint32_t interp_head, thread_head, thread_running; /* in the interpreter's and a thread's state */
	struct task_list {
		uint64_t head;
		uint64_t *tasks; /* as last seen, in order */
		size_t count, capacity;
	} * all;
	size_t count, capacity;
};

struct task_table {
	struct task_lists lists;
	uint64_t interp, sets[4]; /* the sets that hold weak references to all tasks */
	size_t set_count;
	uint64_t looked_at_ns; /* when asyncio was last searched for in vain */
	struct await_chain *chains;
	size_t chain_capacity;
	struct await_chain *before; /* of the last look */
	size_t before_capacity;
	struct map by_task; /* task -> place in before */
	uint64_t looks;
	struct py_task *out;
	size_t out_count, out_capacity;
	bool cut;
};

/* Takes the tasks of all lists: each is passed to chain_begin. Returns how many there are; torn lists are counted. */
size_t task_lists_read(struct py_process *p, size_t max);
/* The task that runs on this thread; 0: none, or cannot be told. */
uint64_t task_running(struct py_process *p, uint64_t thread);
void task_lists_clear(struct task_lists *l);
/* A chain for this task. */
void chain_begin(struct task_table *t, size_t at, uint64_t task);

/* Fills p->tasks.out. */
void tasks_read(struct py_process *p, uint64_t interp, size_t max);
void tasks_clear(struct task_table *t);

/* --- task_kept.c: chains from one look to the next --- */
/* A new look: its chains may be taken from those of the last one. */
void chains_turn(struct task_table *t);
void chain_take_kept(struct task_table *t, struct await_chain *c);
/* After a coroutine was added to the chain: what proves it at the next look, from the object's bytes. */
void chain_guard_set(struct py_process *p, struct await_chain *c, const uint8_t *coro);
/* What the task itself says now. false: the chain must be walked. */
bool chain_still(struct await_chain *c, uint64_t coro, uint64_t waits_for, uint64_t name_addr);
/* Of those that are still kept: reads what proves them; the others have kept = false afterwards. */
void chains_prove(struct py_process *p, size_t count);
/* Code objects are forgotten: nothing that names them may be kept. */
void tasks_forget(struct task_table *t);

#endif
