/* parent.c - starts the proxy and the sampler, and starts them anew when they end; carries no traffic and reads no memory.
 *
 * It holds the listening sockets, so a proxy that ends takes no queued connection with it. A sampler that ends is replaced
 * without the proxy's traffic noticing. A proxy that ends takes the sampler along: their channels were its.
 */
#include "roles.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/ipc.h>
#include <slowproxy/net.h>

extern char **environ;

enum {
	CHANNEL_BYTES = 1 << 20,
	CONTROL_BYTES = 1 << 14,
	EXIT_CANNOT_START = 2, /* of a role: trying again will not help */
};

static const uint64_t backoff_first_ns = 100 * NS_PER_MS, backoff_last_ns = 5 * NS_PER_S,
		      steady_ns = 10 * NS_PER_S;

struct child {
	const char *role;
	pid_t pid; /* 0: not running */
	uint64_t started_ns;
	uint64_t start_at_ns; /* 0: no start is planned */
	uint64_t backoff_ns;
};

struct parent {
	char **argv;
	struct config *config;
	int config_fd;
	int *listeners; /* [workers][addresses] */
	size_t listener_count;
	int control; /* to the proxy; -1 while it is down */
	int signal_fd;
	struct child proxy, sampler;
	bool stopping;
	uint64_t give_up_at_ns;
	int status;
};

/* --- the configuration --- */

static bool file_read(const char *name, struct buf *out)
{
	FILE *f = fopen(name, "re");
	if (f == NULL) {
		fprintf(stderr, "slowproxy: %s: %s\n", name, strerror(errno));
		return false;
	}
	char chunk[65536];
	size_t n;
	while ((n = fread(chunk, 1, sizeof chunk, f)) > 0 && out->len < (16u << 20))
		buf_add(out, chunk, n);
	bool good = !ferror(f);
	if (!good)
		fprintf(stderr, "slowproxy: %s: %s\n", name, strerror(errno));
	fclose(f);
	return good;
}

static struct config *config_from(const struct options *options, struct buf *yaml)
{
	if (options->config_file != NULL && !file_read(options->config_file, yaml))
		return NULL;
	struct config_source source = {
		.file_name = options->config_file,
		.yaml = yaml->data ? yaml->data : "",
		.yaml_len = yaml->len,
		.environment = environ,
		.flags = options->flags,
		.flag_count = options->flag_count,
	};
	struct buf errors = { 0 };
	struct config *config = config_load(&source, &errors);
	if (errors.len != 0)
		fputs(errors.data, stderr);
	buf_clear(&errors);
	return config;
}

static int config_to_memfd(const struct buf *yaml)
{
	int fd = memfd_create("slowproxy-config", MFD_CLOEXEC);
	if (fd < 0 || write(fd, yaml->data ? yaml->data : "", yaml->len) != (ssize_t)yaml->len) {
		fprintf(stderr, "slowproxy: memfd_create: %s\n", strerror(errno));
		exit(1);
	}
	return fd;
}

/* The capture directory is made here, while we may still be root, and given to the user the proxy becomes. */
static void directory_prepare(const struct config *c)
{
	const char *directory = c->capture.directory;
	if (!c->capture.enabled || directory[0] == '\0')
		return;
	char path[4096];
	if (!((size_t)snprintf(path, sizeof path, "%s", directory) < sizeof path))
		return;
	for (char *p = path + 1; *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(path, 0755) != 0 && errno != EEXIST)
			log_debug("mkdir %s: %s", path, strerror(errno));
		*p = '/';
	}
	bool made = mkdir(path, 0750) == 0;
	if (!made && errno != EEXIST) {
		log_warn("capture.directory %s cannot be made: %s; slow lines come without profile files",
			path, strerror(errno));
		return;
	}
	struct passwd *pw = geteuid() == 0 && c->user[0] != '\0' ? getpwnam(c->user) : NULL;
	struct stat st;
	if (pw != NULL && stat(path, &st) == 0 && (made || st.st_uid == 0) && S_ISDIR(st.st_mode)) {
		if (made && chown(path, pw->pw_uid, pw->pw_gid) != 0)
			log_warn("capture.directory %s cannot be given to %s: %s", path, c->user,
				strerror(errno));
		else if (!made && (st.st_mode & S_IWOTH) == 0)
			log_warn(
				"capture.directory %s belongs to root; profile files need it writable for %s: chown %s %s",
				path, c->user, c->user, path);
	}
}

/* --- listening --- */

static bool listeners_open(struct parent *p)
{
	const struct config *c = p->config;
	size_t addresses = c->listen.count;
	p->listener_count = c->workers * addresses;
	p->listeners = xcalloc(p->listener_count, sizeof *p->listeners);
	for (size_t i = 0; i < p->listener_count; i++) {
		const struct config_address *a = &c->listen.items[i % addresses];
		struct buf why = { 0 };
		if (a->is_unix && i >= addresses) /* a path has one socket: the loops share it */
			p->listeners[i] = p->listeners[i % addresses];
		else
			p->listeners[i] = net_listen(a->is_unix, a->host, a->port, c->workers > 1, &why);
		if (p->listeners[i] < 0) {
			log_error("cannot listen on %s: %s", a->text, why.data);
			buf_clear(&why);
			return false;
		}
	}
	return true;
}

static void descriptors_raise(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* --- children --- */

static pid_t role_spawn(struct parent *p, struct child *child, const struct ipc_fd *fds, size_t fd_count)
{
	int argc = 0;
	while (p->argv[argc] != NULL)
		argc++;
	char title[32], role[32];
	snprintf(title, sizeof title, "slowproxy: %s", child->role);
	snprintf(role, sizeof role, "--role=%s", child->role);
	char **argv = xcalloc((size_t)argc + 2, sizeof *argv);
	argv[0] = title;
	argv[1] = role;
	memcpy(argv + 2, p->argv + 1, (size_t)argc * sizeof *argv); /* the NULL at the end comes along */

	pid_t pid = ipc_spawn(argv, fds, fd_count);
	free(argv);
	if (pid < 0) {
		log_error("cannot start the %s process: %s", child->role, strerror(errno));
		return -1;
	}
	child->pid = pid;
	child->started_ns = clock_now_ns();
	child->start_at_ns = 0;
	return pid;
}

static void start_later(struct child *child)
{
	uint64_t now = clock_now_ns();
	if (now - child->started_ns >= steady_ns || child->backoff_ns == 0)
		child->backoff_ns = backoff_first_ns;
	else
		child->backoff_ns = MIN(child->backoff_ns * 2, backoff_last_ns);
	child->start_at_ns = now + child->backoff_ns;
}

static bool channels_open(struct parent *p, int (*pairs)[2])
{
	for (uint32_t i = 0; i < p->config->workers; i++) {
		if (!ipc_pair(pairs[i], CHANNEL_BYTES)) {
			log_error("socketpair: %s", strerror(errno));
			while (i-- > 0) {
				close(pairs[i][0]);
				close(pairs[i][1]);
			}
			return false;
		}
	}
	return true;
}

static void channels_close(struct parent *p, int (*pairs)[2], int end)
{
	for (uint32_t i = 0; i < p->config->workers; i++)
		close(pairs[i][end]);
}

static bool sampler_start(struct parent *p, int (*pairs)[2])
{
	uint32_t workers = p->config->workers;
	struct ipc_fd *fds = xcalloc(workers + 1, sizeof *fds);
	fds[0] = (struct ipc_fd){ p->config_fd, FD_CONFIG };
	for (uint32_t i = 0; i < workers; i++)
		fds[1 + i] = (struct ipc_fd){ pairs[i][1], FD_SAMPLER_CHANNELS + (int)i };
	bool started = role_spawn(p, &p->sampler, fds, workers + 1) > 0;
	free(fds);
	channels_close(p, pairs, 1);
	if (!started)
		start_later(&p->sampler);
	return started;
}

static bool proxy_start(struct parent *p, int (*pairs)[2])
{
	uint32_t workers = p->config->workers, channels = p->config->capture.enabled ? workers : 0;
	int control[2];
	if (!ipc_pair(control, CONTROL_BYTES)) {
		log_error("socketpair: %s", strerror(errno));
		return false;
	}
	size_t count = 2 + channels + p->listener_count;
	struct ipc_fd *fds = xcalloc(count, sizeof *fds);
	fds[0] = (struct ipc_fd){ p->config_fd, FD_CONFIG };
	fds[1] = (struct ipc_fd){ control[1], FD_CONTROL };
	for (uint32_t i = 0; i < channels; i++)
		fds[2 + i] = (struct ipc_fd){ pairs[i][0], FD_PROXY_CHANNELS + (int)i };
	for (size_t i = 0; i < p->listener_count; i++)
		fds[2 + channels + i] =
			(struct ipc_fd){ p->listeners[i], FD_PROXY_CHANNELS + (int)(channels + i) };
	bool started = role_spawn(p, &p->proxy, fds, count) > 0;
	free(fds);
	close(control[1]);
	if (started)
		p->control = control[0];
	else
		close(control[0]);
	return started;
}

/* Both, with fresh channels between them. */
static void family_start(struct parent *p)
{
	int(*pairs)[2] = xcalloc(p->config->workers, sizeof *pairs);
	bool capture = p->config->capture.enabled;
	if (!capture || channels_open(p, pairs)) {
		if (!proxy_start(p, pairs))
			start_later(&p->proxy);
		if (capture) {
			channels_close(p, pairs, 0);
			if (p->proxy.pid != 0)
				sampler_start(p, pairs);
			else
				channels_close(p, pairs, 1);
		}
	} else {
		start_later(&p->proxy);
	}
	free(pairs);
}

/* A sampler for a proxy that is running: its loops get their new channels one by one. */
static void sampler_restart(struct parent *p)
{
	int(*pairs)[2] = xcalloc(p->config->workers, sizeof *pairs);
	if (channels_open(p, pairs)) {
		bool started = sampler_start(p, pairs);
		for (uint32_t i = 0; started && i < p->config->workers; i++) {
			struct control_message m = { CONTROL_CHANNEL, i };
			if (ipc_send_fd(p->control, &m, sizeof m, pairs[i][0]) != IPC_OK)
				log_warn(
					"loop %u of the proxy could not be given its channel to the new sampler",
					i);
		}
		channels_close(p, pairs, 0);
	} else {
		start_later(&p->sampler);
	}
	free(pairs);
}

static void describe_end(int status, char *out, size_t out_bytes)
{
	if (WIFSIGNALED(status))
		snprintf(out, out_bytes, "was ended by signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		snprintf(out, out_bytes, "ended with status %d", WEXITSTATUS(status));
}

static void sampler_ended(struct parent *p, int status)
{
	p->sampler.pid = 0;
	if (p->stopping || p->proxy.pid == 0)
		return;
	char how[64];
	describe_end(status, how, sizeof how);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CANNOT_START) {
		log_error("the sampler cannot run here; the proxy goes on without captures");
		return;
	}
	start_later(&p->sampler);
	log_warn("the sampler %s; traffic is not affected; a new one starts in %.1f s", how,
		(double)p->sampler.backoff_ns / NS_PER_S);
}

static void proxy_ended(struct parent *p, int status)
{
	p->proxy.pid = 0;
	if (p->control >= 0)
		close(p->control);
	p->control = -1;
	if (p->sampler.pid != 0)
		kill(p->sampler.pid, SIGKILL);
	p->sampler.start_at_ns = 0;
	if (p->stopping)
		return;
	char how[64];
	describe_end(status, how, sizeof how);
	if (WIFEXITED(status) && (WEXITSTATUS(status) == EXIT_CANNOT_START || WEXITSTATUS(status) == 0)) {
		log_error("the proxy %s: nothing is left to do", how);
		p->stopping = true;
		p->status = WEXITSTATUS(status) == 0 ? 0 : 1;
		return;
	}
	start_later(&p->proxy);
	log_error("the proxy %s; a new one starts in %.1f s", how, (double)p->proxy.backoff_ns / NS_PER_S);
}

static void reap(struct parent *p)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == p->sampler.pid)
			sampler_ended(p, status);
		else if (pid == p->proxy.pid)
			proxy_ended(p, status);
	}
}

/* --- waiting --- */

static void stop(struct parent *p, int signal)
{
	bool first = !p->stopping;
	p->stopping = true;
	uint64_t grace = 3 * NS_PER_S + (signal == SIGTERM && first ? p->config->timeouts.drain_ns : 0);
	p->give_up_at_ns = clock_now_ns() + grace;
	if (p->proxy.pid != 0)
		kill(p->proxy.pid, signal == SIGTERM && first ? SIGTERM : SIGINT);
}

static void on_signals(struct parent *p)
{
	struct signalfd_siginfo info;
	while (read(p->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			reap(p);
			break;
		case SIGTERM:
		case SIGINT:
			stop(p, (int)info.ssi_signo);
			break;
		case SIGHUP:
			log_warn("HUP: version " SLOWPROXY_VERSION
				 " does not reload; restart slowproxy to apply a new configuration");
			break;
		default:
			break;
		}
	}
}

static void on_control(struct parent *p)
{
	struct control_message m;
	size_t len = sizeof m;
	enum ipc_result r;
	while ((r = ipc_receive(p->control, &m, &len, NULL)) == IPC_OK) {
		uint64_t age = clock_now_ns() - p->sampler.started_ns;
		bool silent = len == sizeof m && m.type == CONTROL_SAMPLER_SILENT;
		if (silent && p->sampler.pid != 0 && age > 2 * NS_PER_S) {
			log_warn("the sampler does not answer: starting it anew");
			kill(p->sampler.pid, SIGKILL);
		}
		len = sizeof m;
	}
	if (r == IPC_CLOSED) {
		close(p->control);
		p->control = -1;
	}
}

static void start_what_is_due(struct parent *p)
{
	uint64_t now = clock_now_ns();
	if (p->stopping)
		return;
	if (p->proxy.start_at_ns != 0 && p->proxy.start_at_ns <= now && p->sampler.pid == 0) {
		p->proxy.start_at_ns = 0;
		family_start(p);
	}
	if (p->sampler.start_at_ns != 0 && p->sampler.start_at_ns <= now && p->proxy.pid != 0 &&
		p->control >= 0) {
		p->sampler.start_at_ns = 0;
		sampler_restart(p);
	}
}

static int wait_ms(const struct parent *p)
{
	uint64_t next = UINT64_MAX, now = clock_now_ns();
	if (p->stopping)
		next = p->give_up_at_ns;
	if (p->proxy.start_at_ns != 0)
		next = MIN(next, p->proxy.start_at_ns);
	if (p->sampler.start_at_ns != 0)
		next = MIN(next, p->sampler.start_at_ns);
	if (next == UINT64_MAX)
		return -1;
	return next <= now ? 0 : (int)((next - now) / NS_PER_MS) + 1;
}

static void supervise(struct parent *p)
{
	while (!(p->stopping && p->proxy.pid == 0 && p->sampler.pid == 0)) {
		start_what_is_due(p);
		struct pollfd fds[] = { { p->signal_fd, POLLIN, 0 }, { p->control, POLLIN, 0 } };
		if (poll(fds, 2, wait_ms(p)) < 0 && errno != EINTR)
			abort();
		if (fds[1].revents != 0 && p->control >= 0)
			on_control(p);
		if (fds[0].revents != 0)
			on_signals(p);
		if (p->stopping && clock_now_ns() >= p->give_up_at_ns) {
			if (p->proxy.pid != 0)
				kill(p->proxy.pid, SIGKILL);
			if (p->sampler.pid != 0)
				kill(p->sampler.pid, SIGKILL);
			p->give_up_at_ns = clock_now_ns() + NS_PER_S;
		}
	}
}

static int signals_to_fd(void)
{
	static const int handled[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(handled); i++)
		sigaddset(&set, handled[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int parent_run(const struct options *options, char **argv)
{
	struct buf yaml = { 0 };
	struct parent p = {
		.argv = argv, .control = -1, .proxy = { .role = "proxy" }, .sampler = { .role = "sampler" }
	};

	p.config = config_from(options, &yaml);
	if (p.config == NULL) {
		buf_clear(&yaml);
		return 1;
	}
	if (options->command != COMMAND_RUN) {
		if (options->command == COMMAND_PRINT)
			config_print_effective(p.config, stdout);
		else
			fprintf(stderr, "slowproxy: %s: the configuration is good\n",
				options->config_file ? options->config_file : "flags and environment");
		config_free(p.config);
		buf_clear(&yaml);
		return 0;
	}
	struct log_settings log = { p.config->logs.level, p.config->logs.format == CONFIG_LOG_JSON, "parent",
		p.config->service, NULL, NULL };
	log_setup(&log);
	descriptors_raise();
	directory_prepare(p.config);
	p.config_fd = config_to_memfd(&yaml);
	p.signal_fd = signals_to_fd();
	p.status = 1;
	if (listeners_open(&p)) {
		p.status = 0;
		family_start(&p);
		supervise(&p);
	}
	if (p.control >= 0)
		close(p.control);
	free(p.listeners);
	config_free(p.config);
	buf_clear(&yaml);
	return p.status;
}
