/* parent.c - the process a person starts: reads the configuration, keeps the families going, passes signals on.
 *
 * It carries no traffic and reads no memory.
 *
 *   HUP    a new family from the new configuration -> ready -> the old one retires
 *   USR2   a new parent from the new binary        -> ready -> all our families retire, and we end with the last (upgrade.h)
 *   TERM   drain; a second one, and INT: end at once
 */
#include "roles.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>

#include "backend.h"
#include "configuration.h"
#include "family.h"
#include "notify.h"
#include "upgrade.h"

extern char **environ;

enum {
	FAMILIES_MAX = 16 /* retiring ones; the oldest is cut when there are more */
};

/* A reload that comes while the last one is not ready yet waits for that, but not for ever: it may be what mends it. */
static const uint64_t reload_patience_ns = 3 * NS_PER_S;
static const uint64_t backend_grace_ns =
	3 * NS_PER_S; /* from asking the app to end to killing it, beyond timeouts.drain */

struct parent {
	const struct options *options;
	char *const *argv;
	int signal_fd;
	struct list families; /* the serving one is last */
	size_t family_count;
	struct sockets handed_over; /* at our start; the first family takes them */
	struct predecessor predecessor;
	struct upgrade upgrade;
	uint64_t reload_at_ns; /* 0: none is waiting */
	bool ready;            /* a family has accepted */
	struct backend backend;
	uint64_t drain_ns;
	bool stopping;
	int status;
};

/* --- the configuration --- */

static bool directories_above_make(char *path)
{
	for (char *p = path + 1; *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		bool made = mkdir(path, 0755) == 0 || errno == EEXIST;
		*p = '/';
		if (!made)
			return false;
	}
	return true;
}

/* The capture directory is made here, while we may still be root, and given to the user the proxy becomes. */
static void directory_prepare(const struct config *c)
{
	char path[4096];
	struct stat st;
	if (!c->capture.enabled || c->capture.directory[0] == '\0' ||
		(size_t)snprintf(path, sizeof path, "%s", c->capture.directory) >= sizeof path)
		return;
	struct passwd *pw = geteuid() == 0 && c->user[0] != '\0' ? getpwnam(c->user) : NULL;

	if (stat(path, &st) == 0) {
		if (pw != NULL && pw->pw_uid != 0 && st.st_uid == 0 && (st.st_mode & S_IWOTH) == 0)
			log_warn(
				"capture.directory %s belongs to root, but the proxy runs as %s: no profile files. chown %s %s",
				path, c->user, c->user, path);
		return;
	}
	if (!directories_above_make(path) || mkdir(path, 0750) != 0)
		log_warn("capture.directory %s cannot be made: %s. Slow lines come without profile files",
			path, strerror(errno));
	else if (pw != NULL && chown(path, pw->pw_uid, pw->pw_gid) != 0)
		log_warn("capture.directory %s cannot be given to %s: %s", path, c->user, strerror(errno));
}

static void log_as_parent(const struct config *c)
{
	struct log_settings log = {
		.level = c->logs.level,
		.form = config_log_form(c->logs.format, STDERR_FILENO),
		.role = "parent",
		.service = c->service,
	};
	log_setup(&log);
}

static void log_each_line(struct buf *errors)
{
	char *rest = errors->data;
	for (char *line = strtok_r(rest, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		log_error("%s", line);
}

/* --- families --- */

static struct family *serving(const struct parent *p)
{
	return list_empty(&p->families) ? NULL : LIST_ENTRY(p->families.head.prev, struct family, node);
}

/* Takes config. false: it cannot listen; nothing has changed. */
static bool family_add(struct parent *p, struct config *config, const struct buf *yaml)
{
	const struct family *before = serving(p);
	struct family *f = family_new(p->argv, config, yaml, before ? &before->sockets : &p->handed_over);
	if (f == NULL)
		return false;
	assert(p->families.head.prev != NULL);
	list_push_back(&p->families, &f->node);
	p->family_count++;
	family_start(f);
	return true;
}

static void reload_failed(const struct parent *p)
{
	struct family *f = serving(p);
	if (f != NULL)
		family_tell_reload_failed(f);
}

static void reload(struct parent *p)
{
	struct buf yaml = { 0 }, errors = { 0 };
	p->reload_at_ns = 0;
	notify_reloading();
	struct config *config = configuration_read(p->options, &yaml, &errors);

	if (config == NULL) {
		log_each_line(&errors);
		log_error("reload: the configuration has errors; the one in use stays");
		reload_failed(p);
		notify("READY=1\nSTATUS=reload failed: the configuration has errors; the one before is in use");
	} else {
		directory_prepare(config);
		if (family_add(p, config, &yaml)) {
			log_as_parent(config);
		} else {
			log_error("reload: the configuration in use stays");
			reload_failed(p);
			notify("READY=1\nSTATUS=reload failed: an address cannot be listened on; the configuration before is in use");
		}
	}
	buf_clear(&yaml);
	buf_clear(&errors);
}

static void reload_asked(struct parent *p)
{
	const struct family *newest = serving(p);
	if (p->stopping || p->upgrade.state != UPGRADE_NONE) {
		log_warn("reload: not now, %s",
			p->stopping ? "we are stopping" : "the new binary reads the configuration");
		return;
	}
	if (newest == NULL || newest->ready)
		reload(p);
	else if (p->reload_at_ns == 0)
		p->reload_at_ns = clock_now_ns() + reload_patience_ns;
}

/* --- a family is ready: those before it are not needed any more --- */

static void retire_before(struct parent *p, const struct family *successor)
{
	list_for_each_safe (node, &p->families) {
		struct family *f = LIST_ENTRY(node, struct family, node);
		if (f == successor)
			break;
		if (f->state == FAMILY_SERVING)
			family_retire(f);
	}
	struct family *oldest = LIST_ENTRY(list_first(&p->families), struct family, node);
	if (p->family_count > FAMILIES_MAX && oldest->state == FAMILY_RETIRING)
		family_drain(oldest);
}

static void became_ready(struct parent *p, const struct family *f)
{
	if (p->ready)
		log_info("reload: new requests see the new configuration; old ones end under the old one");
	retire_before(p, f);
	p->ready = true;
	predecessor_tell_ready(&p->predecessor);
	notify("READY=1\nMAINPID=%d\nSTATUS=forwarding to %s", (int)getpid(),
		f->config->upstream.items[0].text);
	if (p->reload_at_ns != 0)
		reload(p);
}

static void hear(struct parent *p, struct family *f)
{
	bool was_ready = f->ready;
	family_hear(f);
	if (f->ready && !was_ready && f->state == FAMILY_SERVING)
		became_ready(p, f);
}

/* --- a new binary --- */

static void upgrade_asked(struct parent *p)
{
	if (getpid() == 1)
		log_error(
			"upgrade: we are process 1, whose end would be that of the container: start a new container instead");
	else if (p->backend.state != BACKEND_NONE)
		log_error(
			"upgrade: the app is our child and cannot become another's: TERM and start anew instead");
	else if (p->stopping || !p->ready || p->upgrade.state != UPGRADE_NONE || p->upgrade.pid > 0)
		log_warn("upgrade: not now: we are starting, stopping, or upgrading already");
	else
		(void)upgrade_start(&p->upgrade, p->argv, &serving(p)->sockets);
}

static void upgrade_heard(struct parent *p)
{
	upgrade_hear(&p->upgrade);
	if (p->upgrade.state != UPGRADE_DONE || p->stopping)
		return;
	log_info("upgrade: process %d is ready; this one ends with its last request", (int)p->upgrade.pid);
	notify("MAINPID=%d\nREADY=1", (int)p->upgrade.pid);
	retire_before(p, NULL);
}

static void reap(struct parent *p)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (upgrade_reap(&p->upgrade, pid, status) || backend_reap(&p->backend, pid, status))
			continue;
		list_for_each (node, &p->families)
			if (family_reap(LIST_ENTRY(node, struct family, node), pid, status))
				break;
	}
}

/* A family that cannot start ends the program only when it is the only one. */
static void bury(struct parent *p)
{
	list_for_each_safe (node, &p->families) {
		struct family *f = LIST_ENTRY(node, struct family, node);
		if (f->state != FAMILY_ENDED)
			continue;
		list_remove(&f->node);
		p->family_count--;
		if (f->cannot_start && list_empty(&p->families))
			p->status = 1;
		if (f->cannot_start)
			log_error("the proxy cannot run with this configuration: see above%s",
				p->status ? "" : "; the one before goes on");
		if (f->cannot_start && p->status == 0)
			notify("READY=1\nSTATUS=reload failed; the configuration before is in use");
		if (serving(p) != NULL)
			log_as_parent(serving(p)->config); /* the log's settings live in a configuration */
		family_free(f);
	}
}

/* --- waiting --- */

/* The first TERM drains, everything after it ends at once. */
static void stop(struct parent *p, bool gently)
{
	if (p->upgrade.state != UPGRADE_DONE)
		notify("STOPPING=1");
	if (p->upgrade.state == UPGRADE_STARTING && p->upgrade.pid > 0)
		kill(p->upgrade.pid, gently ? SIGTERM : SIGINT); /* it was to take our place: nobody is */
	list_for_each (node, &p->families) {
		struct family *f = LIST_ENTRY(node, struct family, node);
		if (gently && !p->stopping)
			family_drain(f);
		else
			family_quit(f);
	}
	p->stopping = true;
}

/* Without the app there is nothing to stand before; its status is ours. */
static void end_with_backend(struct parent *p)
{
	if (p->backend.state != BACKEND_ENDED || p->stopping || list_empty(&p->families))
		return;
	p->status = p->backend.status;
	stop(p, p->status == 0);
}

/* The app ends after the last request was answered. Returns whether it is still there. */
static bool backend_leaves(struct parent *p)
{
	if (!backend_runs(&p->backend))
		return false;
	if (p->backend.state != BACKEND_STOPPING)
		backend_stop(&p->backend, SIGTERM, p->drain_ns + backend_grace_ns);
	return true;
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
			stop(p, true);
			break;
		case SIGINT:
			stop(p, false);
			backend_stop(&p->backend, SIGINT, backend_grace_ns);
			break;
		case SIGHUP:
			reload_asked(p);
			break;
		case SIGUSR2:
			upgrade_asked(p);
			break;
		case SIGUSR1:
			list_for_each (node, &p->families)
				family_reopen(LIST_ENTRY(node, struct family, node));
			break;
		default:
			break;
		}
	}
}

static int until_ms(uint64_t when_ns, uint64_t now_ns)
{
	if (when_ns == UINT64_MAX)
		return -1;
	return when_ns <= now_ns ? 0 : (int)((when_ns - now_ns) / NS_PER_MS) + 1;
}

static void supervise(struct parent *p)
{
	struct pollfd fds[2 + FAMILIES_MAX + 2];
	struct family *heard[ARRAY_LEN(fds)];
	for (;;) {
		uint64_t now = clock_now_ns(), wake = upgrade_tick(&p->upgrade, now);
		nfds_t count = 2;
		end_with_backend(p);
		bury(p);
		if (list_empty(&p->families) && !backend_leaves(p))
			return;
		if (p->reload_at_ns != 0 && now >= p->reload_at_ns && !p->stopping)
			reload(p);
		if (p->reload_at_ns != 0)
			wake = MIN(wake, p->reload_at_ns);
		wake = MIN(wake, backend_tick(&p->backend, now));
		fds[0] = (struct pollfd){ p->signal_fd, POLLIN, 0 };
		fds[1] = (struct pollfd){ p->upgrade.report, POLLIN, 0 }; /* poll passes over -1 */
		list_for_each (node, &p->families) {
			struct family *f = LIST_ENTRY(node, struct family, node);
			wake = MIN(wake, family_tick(f, now));
			if (f->control >= 0 && count < ARRAY_LEN(fds)) {
				heard[count] = f;
				fds[count++] = (struct pollfd){ f->control, POLLIN, 0 };
			}
		}
		if (poll(fds, count, until_ms(wake, now)) < 0 && errno != EINTR)
			abort();
		for (nfds_t i = 2; i < count; i++)
			if (fds[i].revents != 0)
				hear(p, heard[i]);
		if (fds[1].revents != 0)
			upgrade_heard(p);
		if (fds[0].revents != 0)
			on_signals(p);
	}
}

static int signals_to_fd(void)
{
	static const int handled[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 };
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(handled); i++)
		sigaddset(&set, handled[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void descriptors_raise(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int run(struct parent *p, struct config *config, const struct buf *yaml)
{
	log_as_parent(config);
	directory_prepare(config);
	p->upgrade.report = -1;
	p->signal_fd = signals_to_fd();
	predecessor_meet(&p->predecessor);
	sockets_from_environment(&p->handed_over, &p->predecessor);
	p->drain_ns = config->timeouts.drain_ns;
	backend_init(&p->backend, p->options->backend, config);
	descriptors_raise();
	list_init(&p->families);
	bool added = family_add(p, config, yaml);
	sockets_close(&p->handed_over);
	if (!added) {
		backend_clear(&p->backend);
		return 1;
	}
	(void)backend_start(&p->backend); /* where it failed, all ends with its status */
	supervise(p);
	backend_clear(&p->backend);
	return p->status;
}

static bool is_given(const struct options *o, const char *key, const char *variable)
{
	for (size_t i = 0; i < o->flag_count; i++)
		if (strcmp(o->flags[2 * i], key) == 0)
			return true;
	return getenv(variable) != NULL;
}

/* With a command to start, a configuration may lack the address of the app: then we choose it. Whether it does, only loading it
 * tells. */
static struct config *config_for(const struct options *options, struct buf *yaml, struct buf *errors)
{
	if (options->backend == NULL)
		return configuration_read(options, yaml, errors);
	bool no_upstream =
		options->config_file == NULL && !is_given(options, "upstream", "SLOWPROXY_UPSTREAM");
	backend_environment(options->backend, no_upstream, options->config_file == NULL);
	struct config *config = configuration_read(options, yaml, errors);
	if (config != NULL || options->config_file == NULL ||
		is_given(options, "upstream", "SLOWPROXY_UPSTREAM"))
		return config;
	buf_reset(yaml);
	buf_reset(errors);
	backend_environment(options->backend, true, false);
	return configuration_read(options, yaml, errors);
}

int parent_run(const struct options *options, char *const *argv)
{
	struct parent p = { .options = options, .argv = argv };
	struct buf yaml = { 0 }, errors = { 0 };
	int status = 0;

	struct config *config = config_for(options, &yaml, &errors);
	if (config == NULL) {
		fputs(errors.data, stderr);
		status = 1;
	} else if (options->command == COMMAND_RUN) {
		status = run(&p, config, &yaml);
	} else {
		if (options->command == COMMAND_PRINT)
			config_print_effective(config, stdout);
		else
			fprintf(stderr, "%s: the configuration is good\n",
				options->config_file ? options->config_file : "flags and environment");
		config_free(config);
	}
	buf_clear(&yaml);
	buf_clear(&errors);
	return status;
}
