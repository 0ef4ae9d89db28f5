/* stop.c - threads of a process stopped for the moment of one look. */
#include "stop.h"

#include <errno.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/mem.h>

static const uint64_t spin_ns = 50 * NS_PER_US, step_ns = 50 * NS_PER_US,
		      wait_ns = 50 * NS_PER_MS, /* for all to stand, while the others stand already */
	late_ns = 500 * NS_PER_MS, /* for a thread in the kernel that nothing interrupts; only we wait */
	guard_step_ns = 50 * NS_PER_MS, guard_wakes_ns = 300 * NS_PER_MS, guard_kills_ns = 1000 * NS_PER_MS;

static void rest(uint64_t ns)
{
	const struct timespec t = { .tv_nsec = (long)ns };
	nanosleep(&t, NULL);
}

/* --- the guard --- */

/* SIGSTOP to us, in the middle of a look, would leave the app stopped for as long as we are. */
static void guard_watch(const _Atomic uint64_t *since_ns, pid_t watched)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	syscall(SYS_close_range, 0U, ~0U, 0U);
	while (getppid() == watched) {
		uint64_t since = atomic_load(since_ns), now = clock_now_ns();
		if (since != 0 && now > since + guard_kills_ns)
			kill(watched, SIGKILL);
		else if (since != 0 && now > since + guard_wakes_ns)
			kill(watched, SIGCONT);
		rest(guard_step_ns);
	}
	_exit(0);
}

static bool guard_start(struct guard *g)
{
	if (g->pid > 0)
		return true;
	void *shared =
		mmap(NULL, sizeof *g->since_ns, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return false;
	g->since_ns = shared;
	pid_t us = getpid();
	g->pid = fork();
	if (g->pid == 0)
		guard_watch(g->since_ns, us);
	if (g->pid > 0)
		return true;
	munmap(shared, sizeof *g->since_ns);
	g->since_ns = NULL;
	return false;
}

static void guard_end(struct guard *g)
{
	if (g->pid <= 0)
		return;
	kill(g->pid, SIGKILL);
	while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
		;
	munmap(g->since_ns, sizeof *g->since_ns);
	*g = (struct guard){ 0 };
}

/* --- stopping --- */

bool stops_has(const struct stops *s, pid_t tid)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->all[i].tid == tid)
			return true;
	return false;
}

bool stops_stand(const struct stops *s, pid_t tid)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->all[i].tid == tid)
			return s->all[i].stands && !s->all[i].gone;
	return false;
}

bool stops_ask(struct stops *s, pid_t tid)
{
	if (tid <= 0 || stops_has(s, tid))
		return tid > 0;
	if (!guard_start(&s->guard))
		return false;
	if (s->begun_ns == 0) {
		s->begun_ns = clock_now_ns();
		atomic_store(s->guard.since_ns, s->begun_ns);
	}
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0)
		return false;
	s->all = array_grow(s->all, &s->capacity, s->count, sizeof *s->all);
	s->all[s->count++] = (struct stopped){ .tid = tid };
	return ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0;
}

/* A signal that was on its way to the thread stops it, too; it is given to it when it goes on. */
static void note(struct stopped *t, int status)
{
	t->gone = WIFEXITED(status) || WIFSIGNALED(status);
	t->stands = WIFSTOPPED(status);
	bool by_signal = t->stands && status >> 16 == 0;
	t->signal = by_signal ? WSTOPSIG(status) : 0;
}

/* Returns how many do not stand yet. */
static size_t hear(struct stops *s)
{
	size_t left = 0;
	for (size_t i = 0; i < s->count; i++) {
		struct stopped *t = &s->all[i];
		int status;
		if (t->stands || t->gone)
			continue;
		pid_t heard = waitpid(t->tid, &status, __WALL | WNOHANG);
		if (heard == t->tid)
			note(t, status);
		else if (heard < 0 && errno == ECHILD)
			t->gone = true;
		left += !t->stands && !t->gone;
	}
	return left;
}

static bool hear_until(struct stops *s, uint64_t for_ns)
{
	uint64_t begin = clock_now_ns();
	while (hear(s) > 0) {
		uint64_t spent = clock_now_ns() - begin;
		if (spent > for_ns)
			return false;
		if (spent > spin_ns)
			rest(step_ns);
	}
	return true;
}

bool stops_wait(struct stops *s)
{
	return hear_until(s, wait_ns);
}

static void let_go(struct stops *s)
{
	size_t kept = 0;
	for (size_t i = 0; i < s->count; i++) {
		struct stopped *t = &s->all[i];
		if (t->stands)
			t->gone = ptrace(PTRACE_DETACH, t->tid, NULL, (void *)(uintptr_t)t->signal) == 0 ||
				  errno == ESRCH;
		if (!t->gone)
			s->all[kept++] = *t;
	}
	s->count = kept;
}

void stops_release(struct stops *s)
{
	let_go(s);
	if (s->begun_ns != 0)
		s->longest_ns = MAX(s->longest_ns, clock_now_ns() - s->begun_ns);
	for (uint64_t until = clock_now_ns() + late_ns; s->count > 0 && clock_now_ns() < until; let_go(s))
		(void)hear_until(s, step_ns);
	s->begun_ns = 0;
	if (s->guard.since_ns != NULL)
		atomic_store(s->guard.since_ns, 0);
}

void stops_clear(struct stops *s)
{
	stops_release(s);
	guard_end(&s->guard);
	free(s->all);
	*s = (struct stops){ 0 };
}

/* --- may we? --- */

static pid_t tracer_of(pid_t pid)
{
	char path[48], line[256];
	int tracer = 0;
	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return tracer;
}

bool stops_possible(pid_t pid, struct buf *why)
{
	struct stops s = { 0 };
	pid_t tracer = tracer_of(pid);
	bool possible = stops_ask(&s, pid);
	int error = errno;
	if (possible)
		(void)stops_wait(&s);
	stops_clear(&s);
	if (possible)
		return true;
	if (tracer != 0)
		buf_printf(why,
			"process %d cannot be stopped: process %d traces it already (a debugger, strace)",
			(int)pid, (int)tracer);
	else
		buf_printf(why,
			"process %d cannot be stopped: ptrace: %s. Reading it without --blocking is allowed; stopping it needs "
			"CAP_SYS_PTRACE, or no seccomp filter against ptrace",
			(int)pid, strerror(error));
	return false;
}
