/* native.h - the C functions that a thread runs above its innermost Python function. Only where built with libdw
 * (SLOWPROXY_NATIVE), and only of threads that stand still. */
#ifndef PYSTACK_NATIVE_H
#define PYSTACK_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <slowproxy/pystack.h>

enum { NATIVE_FRAMES_MAX = 64 };

struct native; /* the libraries of one process, with their tables for unwinding */

/* NULL: not built in, or the process' libraries cannot be listed. */
struct native *native_new(pid_t pid);
void native_free(struct native *n);
/* Of a thread that we have stopped, leaf first; names live as long as n. Returns how many. */
size_t native_stack(struct native *n, pid_t tid, struct py_native *out, size_t max);

#endif
