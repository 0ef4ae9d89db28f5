/* routes.c - the thread that asks the application for its routes, and when it asks again.
 *
 *   begin ──> ask ──┬─ nobody answers ──> ask again soon, then ever more seldom
 *               ^   ├─ no such document ─> wait until the application seems to be another one
 *               │   └─ read ─────────────> wait, too
 *               └── the traffic says so: it was gone and is back, or answers paths that nobody knows
 */
#include <slowproxy/routes.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/base/thread.h>

#include "fetch.h"

enum { UNKNOWN_BURST = 10 }; /* so many unknown paths are worth a look */
static const uint64_t answer_within_ns = 10 * NS_PER_S;
static const uint64_t again_first_ns = 500 * NS_PER_MS, again_last_ns = 30 * NS_PER_S;
static const uint64_t pause_first_ns = 5 * NS_PER_S, pause_last_ns = 300 * NS_PER_S;

struct routes {
	const struct config *config;
	void (*changed)(void *context, struct route_table *table);
	void *context;
	pthread_t thread;
	int stop_fd, look_fd; /* eventfds */
	atomic_uint unknown;  /* paths since the last look */
	atomic_bool unreachable;

	/* The thread's own. */
	uint64_t fingerprint; /* of the table that was told last */
	struct buf last_why;
	uint64_t
		pause_ns; /* between two looks that the traffic asked for: longer each time nothing was new */
};

static void fd_tell(int fd)
{
	uint64_t one = 1;
	ssize_t written = write(fd, &one, sizeof one);
	(void)written; /* it can only fail by being told already */
}

static void fd_forget(int fd)
{
	uint64_t told;
	ssize_t taken = read(fd, &told, sizeof told);
	(void)taken;
}

void routes_note_unknown(struct routes *r)
{
	if (atomic_fetch_add_explicit(&r->unknown, 1, memory_order_relaxed) + 1 == UNKNOWN_BURST)
		fd_tell(r->look_fd);
}

void routes_note_reachable(struct routes *r, bool reachable)
{
	if (atomic_load_explicit(&r->unreachable, memory_order_relaxed) != reachable)
		return;
	if (atomic_exchange(&r->unreachable, !reachable) && reachable)
		fd_tell(r->look_fd);
}

static bool is_off(const char *path)
{
	return path[0] == '\0' || strcmp(path, "off") == 0;
}

static bool asks_the_application(const struct config *c)
{
	for (size_t i = 0; i < c->routes.openapi.count; i++)
		if (!is_off(c->routes.openapi.items[i]))
			return true;
	return false;
}

/* --- one look --- */

static void complain(struct routes *r, const char *path, const struct buf *why)
{
	const char *reason = why->len != 0 ? why->data : "no reason is known";
	if (r->last_why.len != 0 && strcmp(r->last_why.data, reason) == 0)
		return;
	buf_reset(&r->last_why);
	buf_add_str(&r->last_why, reason);
	log_info("the application's %s is not used for the names of routes: %s", path, reason);
}

static enum fetch_result fetch_from_any(struct routes *r, const char *path, struct buf *body, struct buf *why)
{
	enum fetch_result result = FETCH_FAILED;
	for (size_t i = 0; i < r->config->upstream.count && result == FETCH_FAILED; i++) {
		buf_reset(body);
		buf_reset(why);
		result = fetch(&r->config->upstream.items[i], path, answer_within_ns, r->stop_fd, body, why);
	}
	return result;
}

/* Adds what the document at path tells. */
static enum fetch_result look_at(struct routes *r, const char *path, struct route_table *t)
{
	struct buf body = { 0 }, why = { 0 };
	enum fetch_result result = fetch_from_any(r, path, &body, &why);
	if (result == FETCH_OK && route_table_add_openapi(t, path, body.data, body.len, &why) == 0)
		result = FETCH_ANSWERED;
	if (result == FETCH_ANSWERED)
		complain(r, path, &why);
	else if (result == FETCH_FAILED)
		log_debug("the application's %s could not be read yet: %s", path, why.data);
	buf_clear(&body);
	buf_clear(&why);
	return result;
}

static void tell_if_changed(struct routes *r, struct route_table *t)
{
	uint64_t fingerprint = route_table_fingerprint(t);
	if (fingerprint == r->fingerprint)
		return;
	r->fingerprint = fingerprint;
	r->pause_ns = pause_first_ns;
	log_info("%zu route templates are known", route_table_count(t));
	r->changed(r->context, t);
}

/* FETCH_FAILED: some document must be asked for again. What is known of it stays. */
static enum fetch_result look(struct routes *r)
{
	struct route_table *t = route_table_new();
	const struct config_strings *paths = &r->config->routes.openapi;
	enum fetch_result result = FETCH_OK;
	atomic_store(&r->unknown, 0);
	route_table_add_configured(t, r->config);
	for (size_t i = 0; i < paths->count && (result == FETCH_OK || result == FETCH_ANSWERED); i++)
		if (!is_off(paths->items[i]))
			result = look_at(r, paths->items[i], t);
	if (result == FETCH_OK || result == FETCH_ANSWERED)
		tell_if_changed(r, t);
	route_table_release(t);
	return result;
}

/* --- the thread --- */

/* false: we are to stop. Ends early when fd (-1: none) is readable. */
static bool wait_for(struct routes *r, int fd, uint64_t ns)
{
	struct pollfd fds[] = { { r->stop_fd, POLLIN, 0 }, { fd, POLLIN, 0 } };
	int ms = ns == UINT64_MAX ? -1 : (int)(ns / NS_PER_MS);
	return poll(fds, 2, ms) < 0 || fds[0].revents == 0;
}

static void *thread_main(void *context)
{
	struct routes *r = context;
	uint64_t again_ns = again_first_ns;
	for (;;) {
		fd_forget(r->look_fd);
		enum fetch_result result = look(r);
		if (result == FETCH_STOPPED)
			break;
		if (result == FETCH_FAILED) {
			if (!wait_for(r, -1, again_ns))
				break;
			again_ns = MIN(again_ns * 2, again_last_ns);
			continue;
		}
		again_ns = again_first_ns;
		if (!wait_for(r, -1, r->pause_ns) || !wait_for(r, r->look_fd, UINT64_MAX))
			break;
		r->pause_ns = MIN(r->pause_ns * 2, pause_last_ns);
	}
	return NULL;
}

struct routes *routes_new(
	const struct config *config, void (*changed)(void *context, struct route_table *table), void *context)
{
	if (!asks_the_application(config))
		return NULL;
	struct routes *r = xcalloc(1, sizeof *r);
	r->config = config;
	r->changed = changed;
	r->context = context;
	r->pause_ns = pause_first_ns;
	r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->look_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	thread_start(&r->thread, "routes", thread_main, r);
	return r;
}

/* A thread that hangs in getaddrinfo cannot be ended: it is left behind with its memory, for the process ends anyway. */
void routes_free(struct routes *r)
{
	if (r == NULL)
		return;
	struct timespec until;
	fd_tell(r->stop_fd);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 1;
	if (pthread_timedjoin_np(r->thread, NULL, &until) != 0) {
		pthread_detach(r->thread);
		return;
	}
	close(r->stop_fd);
	close(r->look_fd);
	buf_clear(&r->last_why);
	free(r);
}
