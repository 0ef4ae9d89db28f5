/* process.h - the inside of struct py_process: what every file of this room shares.
 *
 *   py_process owns  mem, and of each noun its table: codes, types, threads, tasks
 *   the layout       is a copy of a row, checked at attach; strategies were resolved from it once, into ops
 */
#ifndef PYSTACK_PROCESS_H
#define PYSTACK_PROCESS_H

#include <slowproxy/base/map.h>
#include <slowproxy/pystack.h>

#include "code.h"
#include "frame.h"
#include "greenlet.h"
#include "layout.h"
#include "lines.h"
#include "memory.h"
#include "native.h"
#include "object.h"
#include "stop.h"
#include "task.h"
#include "thread.h"

/* Reads [lo, hi) of an object in one part: all fields of it that we want, and no more. */
struct window {
	uint32_t lo, hi;
};

enum { INTERP_BYTES_MAX = 2048 };

struct py_process {
	struct mem *mem;
	pid_t pid;
	char version[24];
	struct py_layout layout;
	struct {
		frame_top_fn *frame_top;
		frame_decode_fn *frame_decode;
		lines_decode_fn *lines_decode;
		coro_look_fn *coro_look;
	} ops;

	uint64_t runtime; /* &_PyRuntime */
	struct {
		uint64_t code, text; /* the type objects we meet all the time */
	} types;
	struct window runtime_window, interp_window, tstate_window, gil_window;
	uint64_t gil;       /* the first interpreter's; 0 not known yet, or there is none */
	uint64_t gil_owner; /* the interpreter it was read of */

	struct code_table codes;
	struct type_table type_kinds;
	struct thread_table threads;
	struct task_table tasks;
	struct greenlet_table greenlets;
	struct tid_table tids;

	struct {
		uint64_t addr;                   /* of the first interpreter; 0 before the first look */
		uint8_t bytes[INTERP_BYTES_MAX]; /* its window */
		bool fresh;
	} interp;
	struct mem_part *parts; /* of one look; kept for the next */
	size_t part_capacity;
	struct py_thread *out_threads;
	size_t out_capacity;
	struct stops stops;
	struct native *native;     /* NULL: not asked for yet, or not to be had */
	struct py_native *natives; /* of all threads of a look */
	size_t native_capacity;
	bool stopped;          /* the look under way is one of standing threads */
	uint32_t unreadable;   /* of the look under way */
	uint64_t proven_at_ns; /* when we last made sure that it is still the same process */
	uint64_t roots_at_ns;  /* when runtime and interpreter were last read; 0: the next look has to */
};

/* As py_process_open, with any memory; takes it. pid is only for messages and namespaces. */
MUST_CHECK enum py_result process_open_memory(struct mem *mem, struct py_process **out, struct buf *why);

#endif
