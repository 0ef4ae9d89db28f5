/* wait.h - what a thread that sleeps waits for, and who has it. */
#ifndef PYSTACK_WAIT_H
#define PYSTACK_WAIT_H

#include <slowproxy/pystack.h>

struct thread;

/* After its state and its stack were read. gil_holder: a thread state, or 0. Locks are looked for only when asked. */
struct py_wait wait_read(
	struct py_process *p, const struct thread *t, enum py_state state, uint64_t gil_holder, bool locks);

#endif
