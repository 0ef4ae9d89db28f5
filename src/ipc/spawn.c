/* spawn.c - a role is this very program, started anew with nothing but the descriptors it needs. */
#include <slowproxy/ipc.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Everything from 3 on shall not survive the exec. Kernels before 5.11 know no CLOSE_RANGE_CLOEXEC. */
static void all_close_on_exec(void)
{
	if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	struct rlimit limit = { .rlim_cur = 1024 };
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	int end = (int)MIN(limit.rlim_cur, (rlim_t)1 << 20);
	for (int fd = 3; fd < end; fd++)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Arranges in two moves, so that no descriptor lands on one that is still needed: first all up, above every number
 * wanted, then each down to its place (dup2 leaves it open across the exec). */
static bool descriptors_arrange(const struct ipc_fd *fds, size_t count, int *up, int *report)
{
	int above = 3;
	for (size_t i = 0; i < count; i++)
		above = MAX(above, fds[i].theirs + 1);
	*report = fcntl(*report, F_DUPFD_CLOEXEC, above);
	if (*report < 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		up[i] = fcntl(fds[i].ours, F_DUPFD_CLOEXEC, above);
		if (up[i] < 0)
			return false;
	}
	all_close_on_exec();
	for (size_t i = 0; i < count; i++) {
		if (dup2(up[i], fds[i].theirs) < 0)
			return false;
	}
	return true;
}

/* Between fork and exec: system calls only. */
static void child_become(
	const char *file, char *const argv[], const struct ipc_fd *fds, size_t count, int *up, int report)
{
	int to = report;
	if (descriptors_arrange(fds, count, up, &to))
		execvp(file, argv);
	int error = errno;
	ssize_t ignored = write(to >= 0 ? to : report, &error, sizeof error);
	(void)ignored;
	_exit(127);
}

static void unblock_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static pid_t spawn(const char *file, char *const argv[], const struct ipc_fd *fds, size_t fd_count,
	void (*prepare)(void *context), void *context)
{
	enum { FDS_MAX = 1024 };
	int up[FDS_MAX];
	int report[2];

	assert(fd_count <= FDS_MAX);
	for (size_t i = 0; i < fd_count; i++)
		assert(fds[i].theirs >= 3);
	if (pipe2(report, O_CLOEXEC) != 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		if (prepare != NULL)
			prepare(context);
		child_become(file, argv, fds, fd_count, up, report[1]);
	}
	int saved = errno;
	close(report[1]);
	if (pid > 0) {
		int error = 0;
		ssize_t got;
		do
			got = read(report[0], &error, sizeof error);
		while (got < 0 && errno == EINTR);
		if (got == (ssize_t)sizeof error) { /* the exec failed: no role was born */
			while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
				;
			pid = -1;
			saved = error;
		}
	}
	close(report[0]);
	errno = saved;
	return pid;
}

pid_t ipc_spawn(char *const argv[], const struct ipc_fd *fds, size_t fd_count)
{
	return spawn("/proc/self/exe", argv, fds, fd_count, NULL, NULL);
}

struct preparation {
	void (*prepare)(void *context);
	void *context;
};

static void prepare_program(void *context)
{
	const struct preparation *p = context;
	unblock_signals();
	if (p->prepare != NULL)
		p->prepare(p->context);
}

pid_t ipc_spawn_program(const char *file, char *const argv[], const struct ipc_fd *fds, size_t fd_count,
	void (*prepare)(void *context), void *context)
{
	struct preparation p = { prepare, context };
	return spawn(file, argv, fds, fd_count, prepare_program, &p);
}
