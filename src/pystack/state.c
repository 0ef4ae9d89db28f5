/* state.c - what the kernel says of a thread, read from files of /proc/PID/task/TID that are kept open.
 *
 * `syscall` tells all of it in one read: the word "running", or the number and arguments of the call it sleeps in. It belongs
 * to the process' user; where CAP_SYS_PTRACE is all we have, `stat` tells who sleeps and `wchan` in which function of the kernel.
 */
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process.h"

enum { CLOSED = -1, HOPELESS = -2 };

const char *const py_state_names[] = { "unknown", "running", "blocked", "gil_wait", "idle" };

void state_files_init(struct state_files *f)
{
	f->syscall = f->stat = f->wchan = CLOSED;
}

void state_files_close(struct state_files *f)
{
	if (f->syscall >= 0)
		close(f->syscall);
	if (f->stat >= 0)
		close(f->stat);
	if (f->wchan >= 0)
		close(f->wchan);
	state_files_init(f);
}

/* Reads a file of the thread, opening it the first time. */
static bool read_kept(struct py_process *p, pid_t tid, int *fd, const char *name, char *out, size_t out_bytes)
{
	char path[48];
	if (*fd == CLOSED) {
		snprintf(path, sizeof path, "task/%d/%s", (int)tid, name);
		*fd = p->mem->ops->open(p->mem, path);
		if (*fd < 0)
			*fd = HOPELESS;
	}
	if (*fd < 0)
		return false;
	ssize_t n = pread(*fd, out, out_bytes - 1, 0);
	out[n < 0 ? 0 : n] = '\0';
	return n > 0;
}

/* Waits for files to become ready. */
static bool waits_for_files(int nr)
{
	switch (nr) {
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
	case SYS_pselect6:
	case SYS_ppoll:
#ifdef SYS_epoll_wait
	case SYS_epoll_wait:
	case SYS_select:
	case SYS_poll:
#endif
		return true;
	}
	return false;
}

static bool in_gil(const struct py_process *p, uint64_t addr)
{
	return p->gil != 0 && addr >= p->gil && addr - p->gil < p->layout.gil_size;
}

bool state_runs_loop(const struct thread *t)
{
	for (size_t i = 0; i < t->chain.raw_count; i++) {
		if (t->chain.raw[i].code != NULL && t->chain.raw[i].code->mark == MARK_LOOP)
			return true;
	}
	return false;
}

/* Is it a wait for work, and not for something a request asked for? The frames above the waiting one tell. */
static bool waits_for_work(const struct thread *t, int nr)
{
	size_t plumbing = 0;
	for (size_t i = 0; i < t->chain.raw_count; i++) {
		if (t->chain.raw[i].code == NULL)
			return false;
		switch (t->chain.raw[i].code->mark) {
		case MARK_SELECTOR:
		case MARK_WAITING:
			plumbing++;
			continue;
		case MARK_LOOP:
			return waits_for_files(nr);
		case MARK_WORKER:
			return nr == SYS_futex;
		case MARK_QUEUED_WORKER:
			return nr == SYS_futex && plumbing > 0;
		case MARK_NONE:
			return false;
		}
	}
	return false;
}

/* What the kernel's functions that sleep are called, and the system call that leads there. */
static const struct {
	const char *part;
	int nr;
} sleeps[] = {
	{ "futex", SYS_futex },
	{ "epoll", SYS_epoll_pwait },
	{ "ep_poll", SYS_epoll_pwait },
	{ "poll", SYS_ppoll },
	{ "select", SYS_pselect6 },
	{ "nanosleep", SYS_clock_nanosleep },
	{ "pipe_read", SYS_read },
	{ "do_wait", SYS_wait4 },
	{ "accept", SYS_accept4 },
};

static int syscall_of_sleep(const char *function)
{
	for (size_t i = 0; i < ARRAY_LEN(sleeps); i++)
		if (strstr(function, sleeps[i].part) != NULL)
			return sleeps[i].nr;
	return -1;
}

/* Where /proc/.../syscall is not to be had. A futex may be the GIL or any other lock: which one is not to be seen here. */
static enum py_state state_by_letter(struct py_process *p, struct thread *t, int *syscall)
{
	char text[512];
	if (!read_kept(p, t->tid, &t->files.stat, "stat", text, sizeof text))
		return PY_STATE_UNKNOWN;
	const char *after_name = strrchr(text, ')');
	if (after_name == NULL || after_name[1] != ' ')
		return PY_STATE_UNKNOWN;
	if (after_name[2] == 'R')
		return PY_STATE_RUNNING;
	if (read_kept(p, t->tid, &t->files.wchan, "wchan", text, sizeof text))
		*syscall = syscall_of_sleep(text);
	if (*syscall >= 0 && waits_for_work(t, *syscall))
		return PY_STATE_IDLE;
	if (*syscall != SYS_futex)
		return PY_STATE_BLOCKED;
	*syscall = -1;
	return PY_STATE_UNKNOWN;
}

enum py_state state_read(struct py_process *p, struct thread *t, int *syscall)
{
	char text[256];
	uint64_t first = 0;
	*syscall = -1;
	t->futex = t->stack_pointer = 0;
	if (t->tid == 0)
		return PY_STATE_UNKNOWN;
	if (!read_kept(p, t->tid, &t->files.syscall, "syscall", text, sizeof text))
		return state_by_letter(p, t, syscall);
	if (strncmp(text, "running", 7) == 0)
		return PY_STATE_RUNNING;
	/* Its number, six arguments, the stack pointer. */
	if (sscanf(text, "%d %lx %*x %*x %*x %*x %*x %lx", syscall, &first, &t->stack_pointer) < 2)
		return PY_STATE_UNKNOWN;
	if (*syscall < 0 && p->stopped)
		return PY_STATE_RUNNING; /* we stopped it, outside of any call */
	if (*syscall == SYS_futex)
		t->futex = first;
	if (*syscall == SYS_futex && in_gil(p, first))
		return PY_STATE_GIL_WAIT;
	return waits_for_work(t, *syscall) ? PY_STATE_IDLE : PY_STATE_BLOCKED;
}

/* The last number of the NSpid line: the id in the innermost namespace; 0 when there is no such line. */
static pid_t innermost_id(struct py_process *p, const char *path, bool *same)
{
	char text[4096];
	const char *line;
	if (!mem_file(p->mem, path, text, sizeof text) || (line = strstr(text, "\nNSpid:")) == NULL)
		return 0;
	unsigned columns = 0;
	char *at = (char *)(uintptr_t)line + 7, *end;
	long id = 0, value;
	while (*at != '\n' && (value = strtol(at, &end, 10), end != at)) {
		id = value;
		columns++;
		at = end;
	}
	*same = columns == 1;
	return (pid_t)id;
}

static void tids_learn(struct py_process *p)
{
	enum { TIDS_MAX = 4096 };
	struct tid_table *t = &p->tids;
	t->known = true;
	t->same = true;
	t->main_inside = innermost_id(p, "status", &t->same);
	if (t->main_inside == 0)
		t->main_inside = p->pid;
	if (t->same)
		return;
	pid_t *tids = xcalloc(TIDS_MAX, sizeof *tids);
	size_t count = p->mem->ops->tids(p->mem, tids, TIDS_MAX);
	for (size_t i = 0; i < count; i++) {
		char path[48];
		bool one;
		snprintf(path, sizeof path, "task/%d/status", (int)tids[i]);
		pid_t inside = innermost_id(p, path, &one);
		if (inside != 0)
			map_put(&t->outside, (uint64_t)inside, (uint64_t)tids[i]);
	}
	free(tids);
}

pid_t tid_outside(struct py_process *p, uint64_t inside)
{
	uint64_t outside;
	if (inside == 0 || inside > INT32_MAX)
		return 0;
	if (!p->tids.known)
		tids_learn(p);
	if (p->tids.same)
		return (pid_t)inside;
	if (!map_get(&p->tids.outside, inside, &outside)) {
		tids_learn(p);
		if (!map_get(&p->tids.outside, inside, &outside))
			return 0;
	}
	return (pid_t)outside;
}

uint64_t tid_of_pthread(struct py_process *p, uint64_t pthread)
{
	uint32_t tid = 0;
	char path[48], comm[64];
	if (p->layout.pthread_tid == PY_NONE || !addr_plausible(pthread) ||
		!mem_read(p->mem, pthread + p->layout.pthread_tid, &tid, sizeof tid))
		return 0;
	/* Another libc keeps something else there: only a thread of this process is believed. */
	snprintf(path, sizeof path, "task/%d/comm", (int)tid_outside(p, tid));
	return mem_file(p->mem, path, comm, sizeof comm) ? tid : 0;
}

bool tid_is_main(struct py_process *p, uint64_t inside)
{
	if (!p->tids.known)
		tids_learn(p);
	return inside == (uint64_t)p->tids.main_inside;
}

void tids_clear(struct tid_table *t)
{
	map_clear(&t->outside);
	*t = (struct tid_table){ 0 };
}
