/* loop.c - one thread waits here for whatever happens next.
 *
 *   turn:  wait -> callbacks of what is ready -> free what was given to loop_defer_free -> next turn
 *
 * The event base belongs to one thread and has no locks. What other threads may do is put a call into a small queue
 * under a mutex and ring an eventfd; the loop's own thread then makes the calls.
 */
#include "net_private.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>

struct posted {
	void (*call)(void *context);
	void *context;
};

struct posts {
	struct posted *items;
	size_t count, capacity;
};

struct dead {
	void *memory;
	void (*free_it)(void *memory);
};

struct loop {
	struct event_base *base;
	struct timers *timers;
	bool running, stopping;
	uint64_t now_ns; /* 0: to be read when it is asked for */

	struct dead *dead; /* freed at the end of the turn */
	size_t dead_count, dead_capacity;

	int bell; /* eventfd: something was posted */
	struct event bell_event;
	pthread_mutex_t lock; /* guards waiting */
	struct posts waiting;
	struct posts taken; /* the other half of the double buffer: only the loop's thread touches it */
};

/* A loop that cannot be made means that the process cannot do its work: the system said no to a descriptor. */
static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "slowproxy: no event loop: %s: %s\n", what, strerror(errno));
	abort();
}

static void posts_run(evutil_socket_t fd, short what, void *context)
{
	struct loop *l = context;
	uint64_t rings;
	(void)what;
	if (read(fd, &rings, sizeof rings) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&l->lock);
	struct posts now = l->waiting;
	l->waiting = l->taken;
	l->waiting.count = 0;
	pthread_mutex_unlock(&l->lock);
	for (size_t i = 0; i < now.count; i++) {
		loop_time_passed(l);
		now.items[i].call(now.items[i].context);
	}
	l->taken = now;
}

struct loop *loop_new(void)
{
	struct loop *l = xcalloc(1, sizeof *l);
	struct event_config *wishes = event_config_new();
	must(wishes != NULL, "event_config_new");
	event_config_set_flag(wishes, EVENT_BASE_FLAG_NOLOCK);
	/* No changelist: 2.1 merges the removal of an edge-triggered event and the addition of a level-triggered one into an
	 * edge-triggered one, and stream.c changes between the two. */
	event_config_require_features(wishes, EV_FEATURE_EARLY_CLOSE | EV_FEATURE_ET);
	l->base = event_base_new_with_config(wishes);
	event_config_free(wishes);
	must(l->base != NULL, "event_base_new");

	l->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	must(l->bell >= 0, "eventfd");
	pthread_mutex_init(&l->lock, NULL);
	event_assign(&l->bell_event, l->base, l->bell, EV_READ | EV_PERSIST, posts_run, l);
	event_add(&l->bell_event, NULL);
	l->timers = timers_new(l);
	return l;
}

static void dead_free(struct loop *l)
{
	/* Freeing may defer more: the count is read again each time. */
	for (size_t i = 0; i < l->dead_count; i++)
		l->dead[i].free_it(l->dead[i].memory);
	l->dead_count = 0;
}

void loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	timers_free(l->timers);
	dead_free(l);
	event_del(&l->bell_event);
	close(l->bell);
	event_base_free(l->base);
	pthread_mutex_destroy(&l->lock);
	free(l->waiting.items);
	free(l->taken.items);
	free(l->dead);
	free(l);
}

void loop_run(struct loop *l)
{
	l->running = true;
	while (!l->stopping) {
		event_base_loop(l->base, EVLOOP_ONCE);
		dead_free(l);
	}
	l->running = l->stopping = false;
}

void loop_stop(struct loop *l)
{
	l->stopping = true;
}

uint64_t loop_now_ns(struct loop *l)
{
	if (l->now_ns == 0 || !l->running)
		l->now_ns = clock_now_ns();
	return l->now_ns;
}

void loop_time_passed(struct loop *l)
{
	l->now_ns = 0;
}

void loop_post(struct loop *l, void (*call)(void *context), void *context)
{
	pthread_mutex_lock(&l->lock);
	struct posts *w = &l->waiting;
	w->items = array_grow(w->items, &w->capacity, w->count, sizeof *w->items);
	w->items[w->count++] = (struct posted){ call, context };
	bool first = w->count == 1;
	pthread_mutex_unlock(&l->lock);
	if (!first)
		return; /* the bell rings already */
	uint64_t one = 1;
	ssize_t rung = write(l->bell, &one, sizeof one);
	(void)rung; /* EAGAIN: it rings already */
}

void loop_defer_free(struct loop *l, void *memory, void (*free_it)(void *memory))
{
	l->dead = array_grow(l->dead, &l->dead_capacity, l->dead_count, sizeof *l->dead);
	l->dead[l->dead_count++] = (struct dead){ memory, free_it };
}

struct event_base *loop_base(struct loop *l)
{
	return l->base;
}

struct timers *loop_timers(struct loop *l)
{
	return l->timers;
}
