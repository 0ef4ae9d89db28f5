/* backend.c - the app itself as our child: started, looked after, and ended with us.
 *
 * It has a process group of its own: Ctrl-C reaches it through us, after the last request was answered, and whatever it started
 * ends with it.
 */
#include "backend.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>

#include "backend_command.h"

enum { TCP_STATE_LISTEN = 0x0a };

static const uint64_t look_every_ns = 50 * NS_PER_MS, kill_again_ns = NS_PER_S, slow_start_ns = 15 * NS_PER_S,
		      unseen_ns =
			      10 * NS_PER_S; /* who listens where we cannot look is believed to, after this */

/* --- its address --- */

/* 0: none is to be had. */
static uint16_t free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool got = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
		   getsockname(fd, (struct sockaddr *)&a, &len) == 0;
	if (fd >= 0)
		close(fd);
	return got ? ntohs(a.sin_port) : 0;
}

void backend_environment(char *const *command, bool upstream_missing, bool listen_missing)
{
	struct buf address = { 0 };
	if (listen_missing)
		setenv("SLOWPROXY_LISTEN", "127.0.0.1:8080", 0);
	if (upstream_missing) {
		if (!command_address(command, &address))
			buf_printf(&address, "127.0.0.1:%u", free_port());
		setenv("SLOWPROXY_UPSTREAM", address.data, 1);
	}
	buf_clear(&address);
}

/* Asked of the kernel's table, not by connecting: an app shall not see connections that nobody made. */
static bool port_is_listened_on(const char *table, uint16_t port)
{
	char line[512];
	bool found = false;
	FILE *f = fopen(table, "re");
	while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
		unsigned local, state;
		found = sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x", &local, &state) == 2 &&
			local == port && state == TCP_STATE_LISTEN;
	}
	if (f != NULL)
		fclose(f);
	return found;
}

static bool is_here(const char *host)
{
	return strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

static bool is_listened_on(const struct config_address *a)
{
	if (a->is_unix)
		return access(a->host, F_OK) == 0;
	return port_is_listened_on("/proc/net/tcp", a->port) ||
	       port_is_listened_on("/proc/net/tcp6", a->port);
}

static bool can_be_looked_at(const struct backend *b)
{
	return b->address.text != NULL;
}

/* --- birth and death --- */

void backend_init(struct backend *b, char *const *command, const struct config *config)
{
	*b = (struct backend){ .state = BACKEND_NONE };
	if (command == NULL)
		return;
	const struct config_address *a = &config->upstream.items[0];
	bool one = config->upstream.count == 1;
	b->command =
		command_with_port(command, one && !a->is_unix && is_here(a->host) ? a->port : 0, &b->word);
	if (one && (a->is_unix || is_here(a->host)))
		b->address =
			(struct config_address){ xstrdup(a->text), a->is_unix, xstrdup(a->host), a->port };
	b->name = command[0];
	b->child.role = "backend";
	getrlimit(RLIMIT_NOFILE, &b->descriptors);
	if (one && !a->is_unix) {
		char port[8];
		snprintf(port, sizeof port, "%u", a->port);
		setenv("PORT", port, !command_is_known(command)); /* for a known one the flag says it */
	}
}

void backend_clear(struct backend *b)
{
	free(b->command);
	free((void *)(uintptr_t)b->address.text);
	free((void *)(uintptr_t)b->address.host);
	buf_clear(&b->word);
}

static bool launch(struct backend *b)
{
	const struct launch_wants wants = { .who = "", .apart = true, .descriptors = &b->descriptors };
	b->state = BACKEND_STARTING;
	b->child.started_ns = clock_now_ns();
	b->child.start_at_ns = 0;
	if (launch_start_as(&b->launch, b->command, &wants))
		return true;
	b->status = b->launch.status;
	return false;
}

bool backend_start(struct backend *b)
{
	if (b->command == NULL)
		return true;
	if (can_be_looked_at(b) && !b->address.is_unix && is_listened_on(&b->address)) {
		log_error("something listens on %s already: it is not %s, which was not started",
			b->address.text, b->name);
		b->status = 1;
	} else if (launch(b)) {
		return true;
	}
	b->state = BACKEND_ENDED;
	return false;
}

static int status_of(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

bool backend_reap(struct backend *b, pid_t pid, int status)
{
	if (b->launch.pid == 0 || pid != b->launch.pid)
		return false;
	kill(-pid, SIGTERM); /* what it started and left behind */
	const char *how = WIFSIGNALED(status) ? "signal" : "status";
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
	bool by_itself = b->state != BACKEND_STOPPING;
	b->launch = (struct launch){ 0 };
	b->status = status_of(status);
	b->state = BACKEND_ENDED;
	if (!by_itself)
		return true;
	if (status == 0) {
		log_info("the backend %s has ended by itself", b->name);
	} else if (!b->listened) {
		log_error("the backend %s ended with %s %d before it listened", b->name, how, number);
	} else {
		child_start_later(&b->child);
		b->state = BACKEND_WAITS;
		log_error("the backend %s ended with %s %d; it is started anew in %.1f s", b->name, how,
			number, (double)b->child.backoff_ns / (double)NS_PER_S);
	}
	return true;
}

/* --- time passes --- */

static void look_whether_it_listens(struct backend *b, uint64_t now_ns)
{
	uint64_t age_ns = now_ns - b->child.started_ns;
	if (can_be_looked_at(b) && !is_listened_on(&b->address)) {
		if (age_ns >= slow_start_ns && !b->warned)
			log_warn(
				"the backend %s does not listen on %s after %.0f s: its port must be told to it, or `upstream` name the one it has",
				b->name, b->address.text, (double)age_ns / (double)NS_PER_S);
		b->warned |= age_ns >= slow_start_ns;
		return;
	}
	if (!can_be_looked_at(b) && age_ns < unseen_ns)
		return;
	b->state = BACKEND_LISTENS;
	b->listened = true;
	if (can_be_looked_at(b))
		log_info("the backend %s, pid %d, listens on %s after %.1f s", b->name, (int)b->launch.pid,
			b->address.text, (double)age_ns / (double)NS_PER_S);
}

uint64_t backend_tick(struct backend *b, uint64_t now_ns)
{
	switch (b->state) {
	case BACKEND_NONE:
	case BACKEND_LISTENS:
	case BACKEND_ENDED:
		return UINT64_MAX;
	case BACKEND_STARTING:
		look_whether_it_listens(b, now_ns);
		return b->state == BACKEND_STARTING ? now_ns + look_every_ns : UINT64_MAX;
	case BACKEND_WAITS:
		if (now_ns < b->child.start_at_ns)
			return b->child.start_at_ns;
		if (!launch(b))
			b->state = BACKEND_ENDED;
		return now_ns + look_every_ns;
	case BACKEND_STOPPING:
		if (b->give_up_at_ns == 0 || now_ns < b->give_up_at_ns)
			return b->give_up_at_ns != 0 ? b->give_up_at_ns : UINT64_MAX;
		log_warn("the backend %s does not end: it is killed", b->name);
		kill(-b->launch.pid, SIGKILL);
		b->give_up_at_ns = now_ns + kill_again_ns;
		return b->give_up_at_ns;
	}
	return UINT64_MAX;
}

/* --- the end --- */

void backend_stop(struct backend *b, int signal, uint64_t within_ns)
{
	if (!backend_runs(b)) {
		if (b->state == BACKEND_WAITS)
			b->state = BACKEND_ENDED;
		return;
	}
	b->state = BACKEND_STOPPING;
	b->give_up_at_ns = clock_now_ns() + within_ns;
	kill(b->launch.pid, signal); /* a server tells its workers itself */
}

bool backend_runs(const struct backend *b)
{
	return b->launch.pid != 0;
}
