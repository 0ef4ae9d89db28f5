/* watch.c - a descriptor that is not a stream of ours: a channel, a signal descriptor. */
#include "net_private.h"

#include <stdlib.h>

struct watch {
	struct loop *loop;
	struct event event;
	void (*ready)(void *context);
	void *context;
};

static void watch_ready(evutil_socket_t fd, short what, void *context)
{
	struct watch *w = context;
	(void)fd, (void)what;
	loop_time_passed(w->loop);
	w->ready(w->context);
}

struct watch *watch_new(struct loop *l, int fd, void (*ready)(void *context), void *context)
{
	struct watch *w = xcalloc(1, sizeof *w);
	w->loop = l;
	w->ready = ready;
	w->context = context;
	event_assign(&w->event, loop_base(l), fd, EV_READ | EV_PERSIST, watch_ready, w);
	event_add(&w->event, NULL);
	return w;
}

void watch_free(struct watch *w)
{
	if (w == NULL)
		return;
	event_del(&w->event);
	loop_defer_free(w->loop, w, free);
}
