/* launch.c - a command started as our child, to be looked at. It does not outlive us, nor does it become a zombie. */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>

static const uint64_t patience_ns = 5 * NS_PER_S;

static void become(char **argv, int report, pid_t parent)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	execvp(argv[0], argv);
	int why = errno;
	if (write(report, &why, sizeof why) < 0)
		_exit(126);
	_exit(127);
}

/* A pipe that exec closes: what can be read from it is why exec failed. */
bool launch_start(struct launch *l, char **argv, const char *who)
{
	int report[2], why = 0;
	*l = (struct launch){ 0 };
	if (pipe2(report, O_CLOEXEC) != 0)
		goto failed;
	pid_t us = getpid();
	l->pid = fork();
	if (l->pid == 0)
		become(argv, report[1], us);
	why = l->pid < 0 ? errno : 0;
	close(report[1]);
	ssize_t got = -1;
	while (l->pid > 0 && (got = read(report[0], &why, sizeof why)) < 0 && errno == EINTR)
		;
	close(report[0]);
	if (l->pid > 0 && got <= 0)
		return true;
	errno = why;
failed:
	fprintf(stderr, "slowproxy %s: cannot run %s: %s\n", who, argv[0], strerror(errno));
	if (l->pid > 0)
		waitpid(l->pid, NULL, 0);
	*l = (struct launch){ 0 };
	return false;
}

bool launch_ended(struct launch *l)
{
	if (l->pid > 0 && !l->ended && waitpid(l->pid, &l->status, WNOHANG) == l->pid)
		l->ended = true;
	return l->ended;
}

void launch_stop(struct launch *l)
{
	if (l->pid == 0 || launch_ended(l))
		return;
	kill(l->pid, SIGTERM);
	/* SIGCHLD may be blocked or ignored here: asked in small steps, which nobody waits for but the end. */
	const struct timespec step = { .tv_nsec = 5 * NS_PER_MS };
	for (uint64_t until = clock_now_ns() + patience_ns; clock_now_ns() < until; nanosleep(&step, NULL))
		if (launch_ended(l))
			return;
	kill(l->pid, SIGKILL);
	waitpid(l->pid, &l->status, 0);
	l->ended = true;
}
