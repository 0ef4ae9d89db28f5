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

enum { EXIT_NOT_RUN = 126, EXIT_NOT_FOUND = 127 }; /* as shells have them */

static const uint64_t patience_ns = 5 * NS_PER_S;

static void become(char **argv, const struct launch_wants *wants, int report, pid_t parent)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	if (wants->apart) {
		setpgid(0, 0);
		prctl(PR_SET_PTRACER, parent, 0, 0, 0); /* asks Yama to let us; fails where there is none */
	}
	if (wants->descriptors != NULL)
		setrlimit(RLIMIT_NOFILE, wants->descriptors);
	if (wants->output != 0) {
		int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
		dup2(nothing, STDIN_FILENO);
		dup2(wants->output, STDOUT_FILENO);
		dup2(wants->output, STDERR_FILENO);
	}
	execvp(argv[0], argv);
	int why = errno;
	if (write(report, &why, sizeof why) < 0)
		_exit(126);
	_exit(127);
}

/* A pipe that exec closes: what can be read from it is why exec failed. */
bool launch_start_as(struct launch *l, char **argv, const struct launch_wants *wants)
{
	int report[2], why = 0;
	*l = (struct launch){ 0 };
	if (pipe2(report, O_CLOEXEC) != 0)
		goto failed;
	pid_t us = getpid();
	l->pid = fork();
	if (l->pid == 0)
		become(argv, wants, report[1], us);
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
	why = errno;
	fprintf(stderr, "slowproxy%s%s: cannot run %s: %s\n", wants->who[0] != '\0' ? " " : "", wants->who,
		argv[0], strerror(why));
	if (l->pid > 0)
		waitpid(l->pid, NULL, 0);
	*l = (struct launch){ .status = why == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN };
	return false;
}

bool launch_start(struct launch *l, char **argv, const char *who)
{
	const struct launch_wants wants = { .who = who };
	return launch_start_as(l, argv, &wants);
}

/* Not waitpid: that tells, too, that a thread we trace has stopped. */
bool launch_ended(struct launch *l)
{
	siginfo_t info = { 0 };
	if (l->pid <= 0 || l->ended || waitid(P_PID, (id_t)l->pid, &info, WEXITED | WNOHANG) != 0 ||
		info.si_pid == 0)
		return l->ended;
	l->status =
		info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0) : W_EXITCODE(0, info.si_status);
	l->ended = true;
	return true;
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
