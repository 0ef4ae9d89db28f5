/* look.h - one look at a process: all its interpreters, threads and tasks. The face of it is py_process_sample. */
#ifndef PYSTACK_LOOK_H
#define PYSTACK_LOOK_H

enum {
	INTERPRETERS_MAX = 16,
	THREADS_LISTED_MAX = 4096,
	THREADS_DEFAULT = 64,
	TASKS_DEFAULT = 1000,
	GREENLETS_DEFAULT = 1000,
	STOP_TRIES_MAX = 8,
	RUNTIME_BYTES_MAX = 8192,
	GIL_BYTES_MAX = 64
};

#endif
