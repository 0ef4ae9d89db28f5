/* role_proxy.c - the process that carries the traffic: N loop threads, one writer thread, and this one, which waits for
 * signals and for the parent.
 *
 *   main thread   signals, control channel
 *   loop thread   listener -> proxy -> capture -> report      one each for config.workers; they share nothing but the report
 *   writer        inside report
 *   admin         inside admin: asks the loops (console.h)
 */
#include "roles.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/capture.h>
#include <slowproxy/ipc.h>
#include <slowproxy/net.h>
#include <slowproxy/proxy.h>
#include <slowproxy/report.h>

#include "console.h"
#include "naming.h"
#include "outlet.h"
#include "privileges.h"

struct proxy_role;

struct loop_thread {
	struct proxy_role *role;
	uint32_t index;
	pthread_t thread;
	struct loop *loop;
	struct capture *capture;
	struct proxy *proxy;
	struct naming naming;
	struct console_loop console;
	struct timer watchdog; /* looks whether capture has found the sampler silent */
};

struct proxy_role {
	const struct config *config;
	struct report *report;
	struct loop *loop; /* the main thread's */
	int signal_fd;
	struct loop_thread *threads;
	struct capture_board *board; /* of all loops */
	struct routes *routes;       /* NULL: the application is not asked */
	uint32_t threads_draining;
	enum proxy_drain_how drain_how;
	bool leaving, draining, retiring; /* leaving: TERM came; retiring: draining patiently */
	struct control_message sockets;   /* how the listening ones are to be read */
	struct console console;
	struct timer delay; /* timeouts.drain_delay runs */
	struct timer hurry; /* TERM came while retiring: now there is a bound */
};

/* --- the seams between the rooms: proxy -> capture -> report --- */

static void on_began(void *context, struct record *r)
{
	struct loop_thread *t = context;
	console_began(&t->console, r);
	capture_began(t->capture, r);
}

static void on_ended(void *context, struct record *r)
{
	struct loop_thread *t = context;
	naming_ended(&t->naming, r);
	console_ended(r);
	metrics_request(t->role->console.metrics, t->index, r);
	capture_ended(t->capture, r);
}

static void on_refused(void *context, struct record *r)
{
	struct loop_thread *t = context;
	naming_ended(&t->naming, r);
	metrics_request(t->role->console.metrics, t->index, r);
	report_record(t->role->report, r);
}

static void on_finished(void *context, struct record *r)
{
	struct loop_thread *t = context;
	naming_finished(&t->naming, r);
	report_record(t->role->report, r);
}

static void on_loop_blocked(void *thread, int32_t worker_pid, uint64_t ns)
{
	struct loop_thread *t = thread;
	metrics_loop_blocked(t->role->console.metrics, worker_pid, ns);
}

/* --- one loop thread --- */

static void tell_parent_when_silent(void *context)
{
	struct loop_thread *t = context;
	/* Said again for as long as it is so: the parent does not judge a sampler that was only just started. */
	if (capture_sampler_silent(t->capture)) {
		struct control_message m = { .type = CONTROL_SAMPLER_SILENT, .worker = t->index };
		if (ipc_send(FD_CONTROL, &m, sizeof m) != IPC_OK)
			log_debug("the parent could not be told that the sampler does not answer");
	}
	timer_start(&t->watchdog, NS_PER_S);
}

static int first_socket(const struct config *c)
{
	return FD_PROXY_CHANNELS + (c->capture.enabled ? (int)c->workers : 0);
}

static void loop_thread_open(struct proxy_role *role, uint32_t index)
{
	struct loop_thread *t = &role->threads[index];
	const struct config *c = role->config;
	const struct capture_sink sink = {
		.finished = on_finished, .context = t, .loop_blocked = on_loop_blocked
	};
	const struct proxy_observer observer = { on_began, on_ended, on_refused, t };

	t->role = role;
	t->index = index;
	t->loop = loop_new();
	naming_init(&t->naming, t->loop, c);
	t->capture = capture_new(
		t->loop, c, c->capture.enabled ? FD_PROXY_CHANNELS + (int)index : -1, &sink, role->board);
	t->proxy = proxy_new(t->loop, c, &observer);
	console_loop_init(&t->console, t->loop, t->proxy, t->capture, &t->naming);
	/* A set of sockets for each loop; more sets than loops go round. */
	uint32_t rows = role->sockets.sockets.rows, lent_from = role->sockets.sockets.lent_from;
	for (uint32_t i = 0; i < role->sockets.sockets.count; i++)
		if (i / rows % c->workers == index)
			proxy_listen(t->proxy, first_socket(c) + (int)i, i % rows >= lent_from);
	timer_init(&t->watchdog, t->loop, tell_parent_when_silent, t);
	if (c->capture.enabled)
		timer_start(&t->watchdog, NS_PER_S);
}

static void *loop_thread_run(void *context)
{
	struct loop_thread *t = context;
	loop_run(t->loop);

	timer_clear(&t->watchdog);
	proxy_free(t->proxy);
	capture_free(t->capture);
	record_thread_end();
	return NULL;
}

static void loop_thread_stop(void *context)
{
	struct loop_thread *t = context;
	loop_stop(t->loop);
}

static void stop_all(struct proxy_role *role)
{
	console_close(&role->console); /* nobody asks a loop that has ended */
	for (uint32_t i = 0; i < role->config->workers; i++)
		loop_post(role->threads[i].loop, loop_thread_stop, &role->threads[i]);
	loop_stop(role->loop);
}

/* --- the names of routes: one table for all loops, each holds it --- */

static void on_routes_changed(void *context, struct route_table *table)
{
	struct proxy_role *role = context;
	for (uint32_t i = 0; i < role->config->workers; i++)
		naming_replace(&role->threads[i].naming, table);
}

/* Before the loops run, so that each can tell what its traffic shows. */
static void routes_start(struct proxy_role *role)
{
	role->routes = routes_new(role->config, on_routes_changed, role);
	for (uint32_t i = 0; i < role->config->workers; i++)
		role->threads[i].naming.routes = role->routes;
}

/* --- draining: every loop drains on its own thread; the last one to be done ends the process --- */

static void one_drained(void *context)
{
	struct proxy_role *role = context;
	if (--role->threads_draining == 0)
		stop_all(role);
}

static void on_drained(void *context)
{
	struct loop_thread *t = context;
	loop_post(t->role->loop, one_drained, t->role);
}

static void loop_thread_drain(void *context)
{
	struct loop_thread *t = context;
	enum proxy_drain_how how = t->role->drain_how;
	uint64_t within_ns = how == PROXY_DRAIN_PATIENTLY ? 0 : t->role->config->timeouts.drain_ns;
	proxy_drain(t->proxy, how, within_ns, on_drained, t);
}

static void drain(struct proxy_role *role, enum proxy_drain_how how)
{
	role->draining = true;
	role->drain_how = how;
	role->threads_draining = role->config->workers;
	log_info("draining: no new connections, waiting for the requests that are under way");
	for (uint32_t i = 0; i < role->config->workers; i++)
		loop_post(role->threads[i].loop, loop_thread_drain, &role->threads[i]);
}

static void hurry_over(void *context)
{
	stop_all(context);
}

static void delay_over(void *context)
{
	struct proxy_role *role = context;
	drain(role, PROXY_DRAIN_CLOSING_DOORS);
}

static void loop_thread_announce_end(void *context)
{
	struct loop_thread *t = context;
	proxy_announce_end(t->proxy);
}

/* Readiness fails first; new connections are served for timeouts.drain_delay, until whoever sends them has noticed. */
static void leave(struct proxy_role *role)
{
	uint64_t delay_ns = role->config->timeouts.drain_delay_ns;
	if (role->console.admin != NULL)
		admin_set_state(role->console.admin, ADMIN_DRAINING);
	if (delay_ns == 0) {
		delay_over(role);
		return;
	}
	log_info("not ready any more; new connections are served for another %.1f s",
		(double)delay_ns / NS_PER_S);
	for (uint32_t i = 0; i < role->config->workers; i++)
		loop_post(role->threads[i].loop, loop_thread_announce_end, &role->threads[i]);
	timer_start(&role->delay, delay_ns);
}

static void on_term(struct proxy_role *role)
{
	uint64_t within_ns = role->config->timeouts.drain_ns;
	bool first = !role->leaving;
	role->leaving = true;
	if (first && !role->draining) {
		leave(role);
	} else if (first) {
		role->retiring = false;
		if (within_ns != 0)
			timer_start(&role->hurry, within_ns);
	} else {
		log_warn("second TERM: closing what is still open");
		stop_all(role);
	}
}

/* A new family serves under a new configuration; what runs here may take the time it needs. */
static void on_retire(struct proxy_role *role)
{
	if (role->draining || role->leaving)
		return;
	role->retiring = true;
	if (role->console.admin != NULL)
		admin_retire(role->console.admin);
	drain(role, PROXY_DRAIN_PATIENTLY);
}

static void on_signal(void *context)
{
	struct proxy_role *role = context;
	struct signalfd_siginfo info;
	while (read(role->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGTERM)
			on_term(role);
		else if (info.ssi_signo == SIGNAL_RETIRE)
			on_retire(role);
		else if (info.ssi_signo == SIGINT)
			stop_all(role);
		else if (info.ssi_signo == SIGUSR1)
			report_reopen(role->report);
	}
}

/* --- the parent's messages: a new sampler's channel for one of the loops --- */

struct channel_handover {
	struct capture *capture;
	int fd;
};

static void channel_replace(void *context)
{
	struct channel_handover *h = context;
	capture_channel_replace(h->capture, h->fd);
	free(h);
}

static void on_control(void *context)
{
	struct proxy_role *role = context;
	for (;;) {
		struct control_message m;
		size_t len = sizeof m;
		int fd = -1;
		enum ipc_result r = ipc_receive(FD_CONTROL, &m, &len, &fd);
		if (r == IPC_FULL)
			return;
		if (r == IPC_CLOSED) {
			log_error("the parent process is gone: ending");
			stop_all(role);
			return;
		}
		if (len == sizeof m && m.type == CONTROL_RELOAD_FAILED)
			console_reload_failed(&role->console);
		if (len != sizeof m || m.type != CONTROL_CHANNEL || m.worker >= role->config->workers ||
			fd < 0) {
			if (fd >= 0)
				close(fd);
			continue;
		}
		struct channel_handover *h = xmalloc(sizeof *h);
		*h = (struct channel_handover){ role->threads[m.worker].capture, fd };
		loop_post(role->threads[m.worker].loop, channel_replace, h);
	}
}

/* The parent's first message; it came before we were born. */
static void sockets_learn(struct proxy_role *role)
{
	struct control_message *m = &role->sockets;
	size_t len = sizeof *m;
	bool good = ipc_receive(FD_CONTROL, m, &len, NULL) == IPC_OK && len == sizeof *m &&
		    m->type == CONTROL_SOCKETS && m->sockets.rows != 0;
	if (!good)
		abort();
}

/* The loops are made, but do not run yet. */
static void console_begin(struct proxy_role *role, struct push *push)
{
	const struct config *c = role->config;
	uint32_t count = role->sockets.sockets.count;
	int fd = role->sockets.sockets.admin ? first_socket(c) + (int)count : -1;
	struct console_loop **loops = xcalloc(c->workers, sizeof(struct console_loop *));
	for (uint32_t i = 0; i < c->workers; i++)
		loops[i] = &role->threads[i].console;
	console_open(&role->console, c, role->report, push, loops, fd);
}

static void tell_parent_ready(void)
{
	struct control_message m = { .type = CONTROL_READY };
	if (ipc_send(FD_CONTROL, &m, sizeof m) != IPC_OK)
		log_warn("the parent could not be told that we are ready");
}

static int signals_to_fd(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGNAL_RETIRE);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGHUP, SIG_IGN); /* the parent's to handle */
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void log_through_report(struct report *report, const struct config *c)
{
	struct log_settings settings = {
		.level = c->logs.level,
		.form = config_log_form(c->logs.format, STDERR_FILENO),
		.role = "proxy",
		.service = c->service,
		.sink = report ? report_log_sink : NULL,
		.context = report,
	};
	log_setup(&settings);
}

int proxy_role_run(const struct config *config)
{
	struct proxy_role role = { .config = config };
	struct buf why = { 0 };
	struct push *push = push_new(config);
	if (!privileges_drop_proxy(config->user, &why)) {
		log_error("the proxy cannot give up its privileges: %s", why.data);
		buf_clear(&why);
		return EXIT_CANNOT_START;
	}
	privileges_follow_parent(SIGTERM);
	role.signal_fd = signals_to_fd();
	role.report = report_new(config);
	log_through_report(role.report, config);
	outlet_plug(role.report, push, config);
	if (push != NULL)
		push_start(push);

	role.loop = loop_new();
	timer_init(&role.delay, role.loop, delay_over, &role);
	timer_init(&role.hurry, role.loop, hurry_over, &role);
	struct watch *signals = watch_new(role.loop, role.signal_fd, on_signal, &role);
	struct watch *control = watch_new(role.loop, FD_CONTROL, on_control, &role);
	sockets_learn(&role);
	role.threads = xcalloc(config->workers, sizeof *role.threads);
	role.board = capture_board_new();
	for (uint32_t i = 0; i < config->workers; i++)
		loop_thread_open(&role, i);
	routes_start(&role);
	console_begin(&role, push);
	for (uint32_t i = 0; i < config->workers; i++)
		if (pthread_create(&role.threads[i].thread, NULL, loop_thread_run, &role.threads[i]) != 0)
			abort();
	log_info("ready: forwarding to %s, slow from %.3f s on", config->upstream.items[0].text,
		(double)config->slow.threshold_ns / NS_PER_S);
	if (role.console.admin != NULL)
		admin_set_state(role.console.admin, ADMIN_READY);
	tell_parent_ready();

	loop_run(role.loop);

	for (uint32_t i = 0; i < config->workers; i++)
		pthread_join(role.threads[i].thread, NULL);
	routes_free(role.routes); /* posts to the loops until now */
	for (uint32_t i = 0; i < config->workers; i++) {
		naming_clear(&role.threads[i].naming);
		loop_free(role.threads[i].loop);
	}
	free(role.threads);
	capture_board_free(role.board);
	timer_clear(&role.delay);
	timer_clear(&role.hurry);
	watch_free(signals);
	watch_free(control);
	loop_free(role.loop);
	close(role.signal_fd);
	log_through_report(NULL, config);
	console_stop(&role.console);
	report_free(role.report, 2 * NS_PER_S);
	console_clear(&role.console);
	push_free(push, 800 * NS_PER_MS); /* with the report's less than the parent's patience */
	record_thread_end();
	return 0;
}
