/* timer.c - many timers behind one libevent event.
 *
 *   class  75 s   [t]-[t]-[t]-[t]      each list is sorted by deadline
 *   class 100 ms  [t]-[t]
 *   others        [t]-[t]              delays that came when all classes were taken
 *
 * Timers of one delay are started in the order in which they end, so that sorting them in costs one comparison: starting
 * and stopping are O(1) and make no system call. The one event is armed for the earliest deadline and, when a timer is
 * stopped, left as it is: waking once for nothing is cheaper than re-arming for each request.
 */
#include "net_private.h"

#include <stdlib.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/list.h>

enum { CLASS_COUNT = 24 }; /* the last one takes any delay */

struct timer_class {
	uint64_t delay_ns;
	struct list running; /* of struct timer, earliest first */
};

struct timers {
	struct event event;
	uint64_t armed_for_ns; /* 0: not armed */
	struct timer_class classes[CLASS_COUNT];
};

static struct timer *timer_of(struct list_node *node)
{
	return LIST_ENTRY(node, struct timer, node);
}

static void event_arm(struct timers *all, uint64_t deadline_ns, uint64_t now_ns)
{
	uint64_t wait_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
	struct timeval wait = { .tv_sec = (time_t)(wait_ns / NS_PER_S),
		.tv_usec = (suseconds_t)(wait_ns % NS_PER_S / NS_PER_US) };
	all->armed_for_ns = deadline_ns;
	event_add(&all->event, &wait);
}

/* The timer that ends first, or NULL. */
static struct timer *timers_first(struct timers *all)
{
	struct timer *first = NULL;
	for (int i = 0; i < CLASS_COUNT; i++) {
		struct list_node *node = list_first(&all->classes[i].running);
		if (node != NULL && (first == NULL || timer_of(node)->deadline_ns < first->deadline_ns))
			first = timer_of(node);
	}
	return first;
}

static void timers_fire(evutil_socket_t fd, short what, void *context)
{
	struct timers *all = context;
	uint64_t now_ns = clock_now_ns();
	struct timer *t;
	(void)fd, (void)what;

	all->armed_for_ns = 1; /* nobody needs to arm while we are at it */
	while ((t = timers_first(all)) != NULL && t->deadline_ns <= now_ns) {
		list_remove(&t->node);
		loop_time_passed(t->loop);
		t->fire(t->context); /* may start, stop or free any timer */
	}
	all->armed_for_ns = 0;
	if (t != NULL)
		event_arm(all, t->deadline_ns, clock_now_ns());
}

struct timers *timers_new(struct loop *l)
{
	struct timers *all = xcalloc(1, sizeof *all);
	for (int i = 0; i < CLASS_COUNT; i++)
		list_init(&all->classes[i].running);
	event_assign(&all->event, loop_base(l), -1, 0, timers_fire, all);
	return all;
}

void timers_free(struct timers *all)
{
	event_del(&all->event);
	free(all);
}

static struct timer_class *class_for(struct timers *all, uint64_t delay_ns)
{
	struct timer_class *vacant = NULL;
	for (int i = 0; i < CLASS_COUNT - 1; i++) {
		struct timer_class *c = &all->classes[i];
		if (c->delay_ns == delay_ns)
			return c;
		if (vacant == NULL && list_empty(&c->running))
			vacant = c;
	}
	if (vacant == NULL)
		return &all->classes[CLASS_COUNT - 1];
	vacant->delay_ns = delay_ns;
	return vacant;
}

void timer_init(struct timer *t, struct loop *l, void (*fire)(void *context), void *context)
{
	*t = (struct timer){ .loop = l, .fire = fire, .context = context };
}

void timer_clear(struct timer *t)
{
	timer_stop(t);
}

void timer_start(struct timer *t, uint64_t delay_ns)
{
	struct timers *all = loop_timers(t->loop);
	uint64_t now_ns = loop_now_ns(t->loop);
	list_remove(&t->node);
	t->deadline_ns = now_ns + delay_ns;

	struct list *running = &class_for(all, delay_ns)->running;
	struct list_node *after = running->head.prev;
	while (after != &running->head && timer_of(after)->deadline_ns > t->deadline_ns)
		after = after->prev;
	list_insert_before(after->next, &t->node);

	if (all->armed_for_ns == 0 || t->deadline_ns < all->armed_for_ns)
		event_arm(all, t->deadline_ns, now_ns);
}

void timer_stop(struct timer *t)
{
	list_remove(&t->node);
}

bool timer_running(const struct timer *t)
{
	return list_linked(&t->node);
}
