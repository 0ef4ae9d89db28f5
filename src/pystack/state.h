/* state.h - what the kernel says of a thread: runs, waits for the GIL, waits in a system call, or has nothing to do. */
#ifndef PYSTACK_STATE_H
#define PYSTACK_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <slowproxy/base/map.h>
#include <slowproxy/pystack.h>

struct thread;

/* Kept open: reading an open file again costs a quarter of opening it. */
struct state_files {
	int syscall, stat, wchan; /* -1 not open; -2 cannot be opened */
};

void state_files_init(struct state_files *f);
void state_files_close(struct state_files *f);

/* The thread's state and its system call (-1 none); its frames must have been walked. */
enum py_state state_read(struct py_process *p, struct thread *t, int *syscall);
/* Is an event loop on its stack? */
bool state_runs_loop(const struct thread *t);

/* Threads as the process knows them (in its pid namespace) to threads as we know them. */
struct tid_table {
	struct map outside; /* inside -> outside */
	bool known, same;   /* asked already; and the two namespaces are one */
	pid_t main_inside;
};
pid_t tid_outside(struct py_process *p, uint64_t inside);
/* The id of a thread that is known by its pthread_t only, as libc keeps it; 0 when the process has no such thread. */
uint64_t tid_of_pthread(struct py_process *p, uint64_t pthread);
bool tid_is_main(struct py_process *p, uint64_t inside);
void tids_clear(struct tid_table *t);

#endif
