/* connections.c - bounds how many clients the admin listener has at one time.
 *
 * evhttp takes every connection it can get, and tells nobody when one ends. So each connection's bufferevent is made here and held
 * once more: one whose callbacks are gone was freed by evhttp. While all places are taken the listener rests.
 */
#include "admin_private.h"

#include <stdlib.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>

enum { PLACES = 64 };
static const struct timeval look_again_in = { .tv_usec = 20000 };
static const uint64_t last_answers_ns = 500 * NS_PER_MS;

struct connections {
	struct event_base *base;
	struct evconnlistener *listener;
	struct evhttp_bound_socket *bound;
	struct event *again;
	struct bufferevent *places[PLACES];
	bool stopped, ending;
	uint64_t end_at_ns;
};

static bool is_over(struct bufferevent *b)
{
	bufferevent_data_cb readable, writable;
	bufferevent_event_cb event;
	void *context;
	bufferevent_getcb(b, &readable, &writable, &event, &context);
	return readable == NULL && writable == NULL && event == NULL;
}

static unsigned sweep(struct connections *c)
{
	unsigned open = 0;
	for (size_t i = 0; i < PLACES; i++) {
		if (c->places[i] != NULL && is_over(c->places[i])) {
			bufferevent_decref(c->places[i]);
			c->places[i] = NULL;
		}
		open += c->places[i] != NULL;
	}
	return open;
}

static void look_again(evutil_socket_t fd, short what, void *context)
{
	struct connections *c = context;
	(void)fd;
	(void)what;
	unsigned open = sweep(c);
	bool over = c->ending && (open == 0 || clock_now_ns() >= c->end_at_ns);
	if (over)
		event_base_loopbreak(c->base);
	else if (c->ending || (open == PLACES && !c->stopped))
		event_add(c->again, &look_again_in);
	else if (!c->stopped)
		evconnlistener_enable(c->listener);
}

static struct bufferevent *made(struct event_base *base, void *context)
{
	struct connections *c = context;
	unsigned open = sweep(c);
	struct bufferevent *b = bufferevent_socket_new(base, -1, 0);
	if (b == NULL)
		return NULL;
	for (size_t i = 0; i < PLACES; i++) {
		if (c->places[i] != NULL)
			continue;
		bufferevent_incref(b);
		c->places[i] = b;
		break;
	}
	if (open + 1 >= PLACES) {
		evconnlistener_disable(c->listener);
		event_add(c->again, &look_again_in);
	}
	return b; /* evhttp sets its callbacks at once: it is not taken for one that is over */
}

struct connections *connections_new(struct event_base *base, struct evhttp *http, int fd)
{
	struct connections *c = xcalloc(1, sizeof *c);
	c->base = base;
	c->again = evtimer_new(base, look_again, c);
	evhttp_set_bevcb(http, made, c);
	c->listener = evconnlistener_new(base, NULL, NULL, 0, 0, fd);
	c->bound = c->listener != NULL ? evhttp_bind_listener(http, c->listener) : NULL;
	if (c->bound == NULL)
		log_error("the admin listener cannot accept connections");
	return c;
}

void connections_stop(struct connections *c)
{
	c->stopped = true;
	evconnlistener_disable(c->listener);
}

void connections_end(struct connections *c)
{
	connections_stop(c);
	c->ending = true;
	c->end_at_ns = clock_now_ns() + last_answers_ns;
	look_again(-1, 0, c);
}

void connections_free(struct connections *c)
{
	for (size_t i = 0; i < PLACES; i++)
		if (c->places[i] != NULL)
			bufferevent_decref(c->places[i]);
	event_free(c->again);
	free(c);
}
