/* upgrade.c - both sides of handing over to a new binary. */
#include "upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/base/mem.h>
#include <slowproxy/ipc.h>

/* "PIPE:lo-l...": the number of the pipe's descriptor, and for each socket whether it is lent (l), our own (o), or the admin listener's (a). Not a SLOWPROXY_ name: those are keys. */
static const char variable[] = "_SLOWPROXY_UPGRADE";
static const uint64_t patience_ns = 60 * NS_PER_S;
enum { FIRST_SOCKET = 3 };

/* --- the old parent --- */

struct legacy {
	size_t socket_count;
	char lent[UPGRADE_SOCKETS_MAX + 1];
};

/* In the child: what systemd would have said, and a word of our own. */
static void environment_prepare(void *context)
{
	const struct legacy *l = context;
	char text[UPGRADE_SOCKETS_MAX + 32];
	snprintf(text, sizeof text, "%d", (int)getpid());
	setenv("LISTEN_PID", text, 1);
	snprintf(text, sizeof text, "%zu", l->socket_count);
	setenv("LISTEN_FDS", text, 1);
	snprintf(text, sizeof text, "%zu:%s", FIRST_SOCKET + l->socket_count, l->lent);
	setenv(variable, text, 1);
}

bool upgrade_start(struct upgrade *u, char *const *argv, const struct sockets *s)
{
	struct legacy l = { .socket_count = MIN(sockets_count(s), (size_t)UPGRADE_SOCKETS_MAX - 1) };
	struct ipc_fd *fds = xcalloc(l.socket_count + 2, sizeof *fds);
	int pipe_ends[2];
	for (size_t i = 0; i < l.socket_count; i++) {
		fds[i] = (struct ipc_fd){ s->fds[i], FIRST_SOCKET + (int)i };
		l.lent[i] = s->rows[i % s->row_count].lent ? 'l' : 'o';
	}
	if (s->admin.open) {
		fds[l.socket_count] = (struct ipc_fd){ s->admin.fd, FIRST_SOCKET + (int)l.socket_count };
		l.lent[l.socket_count++] = 'a';
	}
	u->pid = -1;
	if (pipe2(pipe_ends, O_CLOEXEC) == 0) {
		fds[l.socket_count] = (struct ipc_fd){ pipe_ends[1], FIRST_SOCKET + (int)l.socket_count };
		u->pid = ipc_spawn_program(argv[0], argv, fds, l.socket_count + 1, environment_prepare, &l);
		int error = errno;
		close(pipe_ends[1]);
		if (u->pid < 0)
			close(pipe_ends[0]);
		errno = error;
	}
	free(fds);
	if (u->pid < 0) {
		log_error("upgrade: %s cannot be started: %s; the running one goes on", argv[0],
			strerror(errno));
		u->pid = 0;
		return false;
	}
	log_info("upgrade: %s is started as process %d", argv[0], (int)u->pid);
	u->state = UPGRADE_STARTING;
	u->report = pipe_ends[0];
	u->give_up_at_ns = clock_now_ns() + patience_ns;
	return true;
}

static void report_close(struct upgrade *u)
{
	close(u->report);
	u->report = -1;
	u->give_up_at_ns = 0;
}

void upgrade_hear(struct upgrade *u)
{
	char byte;
	ssize_t n = read(u->report, &byte, 1);
	if (n < 0)
		return;
	report_close(u);
	if (n == 1) {
		u->state = UPGRADE_DONE;
		return;
	}
	u->state = UPGRADE_NONE;
	log_error(
		"upgrade: the new binary (process %d) ended before it was ready, its own words are above; the running one goes on",
		(int)u->pid);
}

bool upgrade_reap(struct upgrade *u, pid_t pid, int status)
{
	if (u->pid == 0 || pid != u->pid)
		return false;
	if (WIFSIGNALED(status))
		log_warn("upgrade: process %d was ended by signal %d (%s)", (int)pid, WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		log_info("upgrade: process %d ended with status %d", (int)pid, WEXITSTATUS(status));
	u->pid = 0;
	return true;
}

uint64_t upgrade_tick(struct upgrade *u, uint64_t now_ns)
{
	if (u->state != UPGRADE_STARTING || u->give_up_at_ns == 0)
		return UINT64_MAX;
	if (now_ns < u->give_up_at_ns)
		return u->give_up_at_ns;
	log_error("upgrade: the new binary (process %d) was not ready within %.0f s: it is ended",
		(int)u->pid, (double)patience_ns / NS_PER_S);
	if (u->pid > 0)
		kill(u->pid, SIGKILL); /* the pipe closes with it */
	u->give_up_at_ns = 0;
	return UINT64_MAX;
}

/* --- the new parent --- */

void predecessor_meet(struct predecessor *p)
{
	const char *said = getenv(variable);
	char *end;
	*p = (struct predecessor){ .pipe = -1 };
	if (said == NULL)
		return;
	long fd = strtol(said, &end, 10);
	if (*end == ':' && fd >= FIRST_SOCKET && fcntl((int)fd, F_SETFD, FD_CLOEXEC) == 0) {
		p->pipe = (int)fd;
		snprintf(p->lent, sizeof p->lent, "%s", end + 1);
	}
	unsetenv(variable);
}

bool predecessor_lent(const struct predecessor *p, size_t socket)
{
	if (p->pipe < 0)
		return true; /* systemd handed it over */
	return socket < strlen(p->lent) && p->lent[socket] == 'l';
}

bool predecessor_was_admin(const struct predecessor *p, size_t socket)
{
	return p->pipe >= 0 && socket < strlen(p->lent) && p->lent[socket] == 'a';
}

void predecessor_tell_ready(struct predecessor *p)
{
	if (p->pipe < 0)
		return;
	if (write(p->pipe, "R", 1) != 1)
		log_warn("upgrade: the old binary could not be told that we are ready: %s", strerror(errno));
	close(p->pipe);
	p->pipe = -1;
}
