/* family.c - one generation of children. */
#include "family.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/ipc.h>

#include "roles.h"

enum { CHANNEL_BYTES = 1 << 20, CONTROL_BYTES = 1 << 14 };

static const uint64_t backoff_first_ns = 100 * NS_PER_MS;
static const uint64_t backoff_last_ns = 5 * NS_PER_S;
static const uint64_t steady_ns = 10 * NS_PER_S;       /* a child that lived this long was well */
static const uint64_t kill_grace_ns = 3 * NS_PER_S;    /* from asking a child to end to ending it */
static const uint64_t silence_grace_ns = 2 * NS_PER_S; /* a sampler younger than this is not judged */

/* --- birth and death --- */

static int memfd_of(const struct buf *yaml)
{
	int fd = memfd_create("slowproxy-config", MFD_CLOEXEC);
	if (fd >= 0 && write(fd, yaml->data ? yaml->data : "", yaml->len) == (ssize_t)yaml->len)
		return fd;
	log_error("cannot hand the configuration to the children: memfd_create: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

struct family *family_new(
	char *const *argv, struct config *config, const struct buf *yaml, const struct sockets *before)
{
	struct family *f = xcalloc(1, sizeof *f);
	f->argv = argv;
	f->config = config;
	f->control = -1;
	f->proxy.role = "proxy";
	f->sampler.role = "sampler";
	f->config_fd = memfd_of(yaml);
	if (f->config_fd < 0 || !sockets_open(&f->sockets, config, before)) {
		family_free(f);
		return NULL;
	}
	return f;
}

void family_free(struct family *f)
{
	sockets_close(&f->sockets);
	if (f->control >= 0)
		close(f->control);
	if (f->config_fd >= 0)
		close(f->config_fd);
	config_free(f->config);
	free(f);
}

static bool role_spawn(struct family *f, struct child *child, const struct ipc_fd *fds, size_t fd_count)
{
	int argc = 0;
	while (f->argv[argc] != NULL)
		argc++;
	char title[32], role[32];
	snprintf(title, sizeof title, "slowproxy: %s", child->role);
	snprintf(role, sizeof role, "--role=%s", child->role);
	char **argv = xcalloc((size_t)argc + 2, sizeof *argv);
	argv[0] = title;
	argv[1] = role;
	memcpy(argv + 2, f->argv + 1, (size_t)argc * sizeof *argv); /* the NULL at the end comes along */

	pid_t pid = ipc_spawn(argv, fds, fd_count);
	free(argv);
	if (pid < 0) {
		log_error("cannot start the %s process: %s", child->role, strerror(errno));
		return false;
	}
	child->pid = pid;
	child->started_ns = clock_now_ns();
	child->start_at_ns = 0;
	return true;
}

void child_start_later(struct child *child)
{
	uint64_t now = clock_now_ns();
	if (now - child->started_ns >= steady_ns || child->backoff_ns == 0)
		child->backoff_ns = backoff_first_ns;
	else
		child->backoff_ns = MIN(child->backoff_ns * 2, backoff_last_ns);
	child->start_at_ns = now + child->backoff_ns;
}

/* --- channels: a pair for each loop, end 0 to the proxy, end 1 to the sampler --- */

typedef int channel_pair[2];

static void channels_close(const struct family *f, channel_pair *pairs, int end)
{
	for (uint32_t i = 0; i < f->config->workers; i++)
		close(pairs[i][end]);
}

/* NULL: the system has no more descriptors for us. */
static channel_pair *channels_open(const struct family *f)
{
	channel_pair *pairs = xcalloc(f->config->workers, sizeof *pairs);
	for (uint32_t i = 0; i < f->config->workers; i++) {
		if (ipc_pair(pairs[i], CHANNEL_BYTES))
			continue;
		log_error("cannot open a channel between proxy and sampler: %s", strerror(errno));
		while (i-- > 0) {
			close(pairs[i][0]);
			close(pairs[i][1]);
		}
		free(pairs);
		return NULL;
	}
	return pairs;
}

static bool sampler_start(struct family *f, channel_pair *pairs)
{
	uint32_t workers = f->config->workers;
	struct ipc_fd *fds = xcalloc(workers + 1, sizeof *fds);
	fds[0] = (struct ipc_fd){ f->config_fd, FD_CONFIG };
	for (uint32_t i = 0; i < workers; i++)
		fds[1 + i] = (struct ipc_fd){ pairs[i][1], FD_SAMPLER_CHANNELS + (int)i };
	bool started = role_spawn(f, &f->sampler, fds, workers + 1);
	free(fds);
	if (!started)
		child_start_later(&f->sampler);
	return started;
}

/* pairs is NULL when captures are off. */
static bool proxy_start(struct family *f, channel_pair *pairs)
{
	size_t channels = pairs != NULL ? f->config->workers : 0;
	int control[2];
	if (!ipc_pair(control, CONTROL_BYTES)) {
		log_error("cannot open a channel to the proxy: %s", strerror(errno));
		return false;
	}
	size_t listeners = sockets_count(&f->sockets),
	       count = 2 + channels + listeners + f->sockets.admin.open;
	struct ipc_fd *fds = xcalloc(count, sizeof *fds);
	fds[0] = (struct ipc_fd){ f->config_fd, FD_CONFIG };
	fds[1] = (struct ipc_fd){ control[1], FD_CONTROL };
	for (size_t i = 0; i < channels; i++)
		fds[2 + i] = (struct ipc_fd){ pairs[i][0], FD_PROXY_CHANNELS + (int)i };
	for (size_t i = 0; i < listeners; i++)
		fds[2 + channels + i] =
			(struct ipc_fd){ f->sockets.fds[i], FD_PROXY_CHANNELS + (int)(channels + i) };
	if (f->sockets.admin.open)
		fds[count - 1] = (struct ipc_fd){ f->sockets.admin.fd,
			FD_PROXY_CHANNELS + (int)(channels + listeners) };
	/* Waits for it in the channel. */
	struct control_message m = { .type = CONTROL_SOCKETS,
		.sockets = { .rows = (uint32_t)f->sockets.row_count,
			.lent_from = (uint32_t)sockets_lent_from(&f->sockets),
			.count = (uint32_t)listeners,
			.admin = f->sockets.admin.open } };
	bool started = ipc_send(control[0], &m, sizeof m) == IPC_OK && role_spawn(f, &f->proxy, fds, count);
	free(fds);
	close(control[1]);
	if (started)
		f->control = control[0];
	else
		close(control[0]);
	return started;
}

void family_start(struct family *f)
{
	channel_pair *pairs = NULL;
	if (f->config->capture.enabled && (pairs = channels_open(f)) == NULL) {
		child_start_later(&f->proxy);
		return;
	}
	if (!proxy_start(f, pairs))
		child_start_later(&f->proxy);
	else if (pairs != NULL)
		(void)sampler_start(f, pairs); /* a failure has planned the next try */
	if (pairs != NULL) {
		channels_close(f, pairs, 0);
		channels_close(f, pairs, 1);
		free(pairs);
	}
}

/* A sampler for a proxy that is running: its loops get their new channels one by one. */
static void sampler_restart(struct family *f)
{
	channel_pair *pairs = channels_open(f);
	if (pairs == NULL) {
		child_start_later(&f->sampler);
		return;
	}
	bool started = sampler_start(f, pairs);
	for (uint32_t i = 0; started && i < f->config->workers; i++) {
		struct control_message m = { .type = CONTROL_CHANNEL, .worker = i };
		if (ipc_send_fd(f->control, &m, sizeof m, pairs[i][0]) != IPC_OK)
			log_warn("loop %u of the proxy could not be given its channel to the new sampler", i);
	}
	channels_close(f, pairs, 0);
	channels_close(f, pairs, 1);
	free(pairs);
}

/* --- when a child ends --- */

static void describe_end(int status, char *out, size_t out_bytes)
{
	if (WIFSIGNALED(status))
		snprintf(out, out_bytes, "was ended by signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		snprintf(out, out_bytes, "ended with status %d", WEXITSTATUS(status));
}

static bool is_exit(int status, int code)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

static void end_if_empty(struct family *f)
{
	if (f->state != FAMILY_SERVING && f->proxy.pid == 0 && f->sampler.pid == 0)
		f->state = FAMILY_ENDED;
}

static void sampler_ended(struct family *f, int status)
{
	char how[64];
	describe_end(status, how, sizeof how);
	f->sampler.pid = 0;
	if (f->state == FAMILY_STOPPING || f->proxy.pid == 0)
		return;
	/* A retiring proxy closed the channel, and is about to end as well. */
	if (f->state != FAMILY_SERVING && is_exit(status, 0))
		return;
	if (is_exit(status, EXIT_CANNOT_START)) {
		log_error("the sampler cannot run here; the proxy goes on without captures");
		return;
	}
	child_start_later(&f->sampler);
	log_warn("the sampler %s; traffic is not affected; a new one starts in %.1f s", how,
		(double)f->sampler.backoff_ns / NS_PER_S);
}

static void proxy_ended(struct family *f, int status)
{
	char how[64];
	describe_end(status, how, sizeof how);
	f->proxy.pid = 0;
	if (f->control >= 0)
		close(f->control);
	f->control = -1;
	f->sampler.start_at_ns = 0;
	if (f->sampler.pid != 0)
		kill(f->sampler.pid, SIGKILL);
	if (f->state != FAMILY_SERVING)
		return;
	if (is_exit(status, EXIT_CANNOT_START)) {
		f->cannot_start = true;
		f->state = FAMILY_STOPPING;
		return;
	}
	child_start_later(&f->proxy);
	log_error("the proxy %s; a new one starts in %.1f s", how, (double)f->proxy.backoff_ns / NS_PER_S);
}

bool family_reap(struct family *f, pid_t pid, int status)
{
	if (pid == f->sampler.pid)
		sampler_ended(f, status);
	else if (pid == f->proxy.pid)
		proxy_ended(f, status);
	else
		return false;
	end_if_empty(f);
	return true;
}

void family_tell_reload_failed(struct family *f)
{
	struct control_message m = { .type = CONTROL_RELOAD_FAILED };
	if (f->control >= 0 && ipc_send(f->control, &m, sizeof m) != IPC_OK)
		log_debug("the proxy could not be told of the failed reload");
}

void family_hear(struct family *f)
{
	struct control_message m;
	size_t len = sizeof m;
	enum ipc_result r;
	while ((r = ipc_receive(f->control, &m, &len, NULL)) == IPC_OK) {
		uint64_t age_ns = clock_now_ns() - f->sampler.started_ns;
		f->ready |= len == sizeof m && m.type == CONTROL_READY;
		bool silent = len == sizeof m && m.type == CONTROL_SAMPLER_SILENT;
		if (silent && f->sampler.pid != 0 && age_ns > silence_grace_ns) {
			log_warn("the sampler does not answer: starting it anew");
			kill(f->sampler.pid, SIGKILL);
		}
		len = sizeof m;
	}
	if (r == IPC_CLOSED) {
		close(f->control);
		f->control = -1;
	}
}

/* --- time passes --- */

static bool is_due(const struct child *child, uint64_t now_ns)
{
	return child->start_at_ns != 0 && child->start_at_ns <= now_ns;
}

uint64_t family_tick(struct family *f, uint64_t now_ns)
{
	/* The old sampler must be gone before a new proxy starts: they share the name in the log and the memory of the machine. */
	if (f->state == FAMILY_SERVING && is_due(&f->proxy, now_ns) && f->sampler.pid == 0) {
		f->proxy.start_at_ns = 0;
		family_start(f);
	}
	if (f->state != FAMILY_STOPPING && is_due(&f->sampler, now_ns) && f->proxy.pid != 0 &&
		f->control >= 0) {
		f->sampler.start_at_ns = 0;
		sampler_restart(f);
	}
	if (f->give_up_at_ns != 0 && now_ns >= f->give_up_at_ns) {
		if (f->proxy.pid != 0)
			kill(f->proxy.pid, SIGKILL);
		if (f->sampler.pid != 0)
			kill(f->sampler.pid, SIGKILL);
		f->give_up_at_ns = now_ns + NS_PER_S;
	}
	end_if_empty(f);

	uint64_t next = UINT64_MAX;
	if (f->give_up_at_ns != 0)
		next = f->give_up_at_ns;
	if (f->proxy.start_at_ns != 0 && f->state == FAMILY_SERVING)
		next = MIN(next, MAX(f->proxy.start_at_ns, now_ns + NS_PER_MS));
	if (f->sampler.start_at_ns != 0 && f->state != FAMILY_STOPPING)
		next = MIN(next, MAX(f->sampler.start_at_ns, now_ns + NS_PER_MS));
	return next;
}

void family_reopen(struct family *f)
{
	if (f->proxy.pid != 0)
		kill(f->proxy.pid, SIGUSR1);
}

/* --- the end --- */

static void leave(struct family *f, enum family_state state, int signal, uint64_t within_ns)
{
	f->state = state;
	f->give_up_at_ns = within_ns ? clock_now_ns() + within_ns : 0;
	sockets_close(&f->sockets);
	if (f->proxy.pid != 0)
		kill(f->proxy.pid, signal);
	end_if_empty(f);
}

void family_retire(struct family *f)
{
	leave(f, FAMILY_RETIRING, SIGNAL_RETIRE, 0);
}

void family_drain(struct family *f)
{
	uint64_t within_ns = f->config->timeouts.drain_ns;
	uint64_t delay_ns = f->state == FAMILY_SERVING ? f->config->timeouts.drain_delay_ns : 0;
	leave(f, FAMILY_STOPPING, SIGTERM, within_ns != 0 ? delay_ns + within_ns + kill_grace_ns : 0);
}

void family_quit(struct family *f)
{
	leave(f, FAMILY_STOPPING, SIGINT, kill_grace_ns);
}
