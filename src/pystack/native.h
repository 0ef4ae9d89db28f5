/* native.h - the C functions of a thread, between its Python functions. Only where built with libdw (SLOWPROXY_NATIVE), and only of
 * threads that stand still. */
#ifndef PYSTACK_NATIVE_H
#define PYSTACK_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <slowproxy/pystack.h>

enum { NATIVE_FRAMES_MAX = 256, NATIVE_RUNS_MAX = 256 };

struct native; /* the libraries of one process, with their tables for unwinding */

/* NULL: not built in, or the process' libraries cannot be listed. */
struct native *native_new(pid_t pid);
void native_free(struct native *n);

/* Each run of the interpreter, a C function itself, has some of the Python frames: the innermost one those up to runs[0], the one
 * that called it those up to runs[1], ... */
struct native_runs {
	uint32_t ends[NATIVE_RUNS_MAX];
	size_t count;
};
/* Of a thread that we have stopped, leaf first; names live as long as n. Returns how many. */
size_t native_stack(
	struct native *n, pid_t tid, const struct native_runs *runs, struct py_native *out, size_t max);

#endif
