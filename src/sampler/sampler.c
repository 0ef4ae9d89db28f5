/* sampler.c - the life of the sampler process: hear, search, look, tell, sleep.
 *
 *   channels ──START, STOP──> orders ──searching──> workers
 *      ^                                              | at each tick, while any of them is wanted
 *      `──TARGET, FRAME, STACK, LANE, TICK, END── outbox
 *
 * Nothing is wanted: nothing is done, the process sleeps in poll(2). All state hangs on struct sampler.
 */
#include <slowproxy/sampler.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>

#include "orders.h"
#include "rhythm.h"

enum { MESSAGES_MAX = 64 /* datagrams read from one channel before ticks get their turn */ };
static const uint64_t prove_every_ns = NS_PER_S, expire_every_ns = NS_PER_S;

struct sampler {
	struct outbox *boxes;
	size_t box_count;
	struct orders orders;
	struct rhythm rhythm;
	uint64_t search_at_ns; /* 0: nothing to search for */
	uint64_t expire_at_ns;
	uint64_t garbage; /* datagrams that made no sense */
};

/* --- hearing --- */
static void message_hear(struct sampler *s, size_t channel, const struct ipc_head *h, uint64_t now_ns)
{
	switch ((enum ipc_type)h->type) {
	case IPC_CAPTURE_START:
		orders_start(&s->orders, channel, (const void *)h, now_ns);
		s->search_at_ns = now_ns;
		break;
	case IPC_CAPTURE_STOP:
		orders_stop(&s->orders, channel, (const void *)h, now_ns);
		break;
	default:
		s->garbage++; /* what only we may say */
		break;
	}
}

static void channel_close(struct sampler *s, size_t channel)
{
	s->boxes[channel].closed = true;
	orders_channel_closed(&s->orders, channel);
	outbox_clear(&s->boxes[channel]);
}

static void channel_hear(struct sampler *s, size_t channel)
{
	union {
		uint64_t align;
		char bytes[IPC_DATAGRAM_MAX];
	} datagram;
	struct outbox *box = &s->boxes[channel];
	uint64_t now = clock_now_ns();

	for (unsigned i = 0; i < MESSAGES_MAX; i++) {
		size_t len = sizeof datagram, at = 0;
		enum ipc_result r = ipc_receive(box->channel, datagram.bytes, &len, NULL);
		if (r == IPC_FULL)
			return;
		if (r == IPC_CLOSED) {
			channel_close(s, channel);
			return;
		}
		bool garbage;
		for (const struct ipc_head *h;
			(h = ipc_message_next(datagram.bytes, len, &at, &garbage)) != NULL;)
			message_hear(s, channel, h, now);
		if (garbage && s->garbage++ == 0)
			log_warn("a message from the proxy made no sense and was skipped");
	}
}

/* --- looking --- */
static void worker_tick(struct sampler *s, struct worker *w, bool tasks)
{
	struct py_sample sample;
	unsigned flags = (tasks ? IPC_TICK_TASKS : 0) | (s->rhythm.thrifty ? IPC_TICK_THRIFTY : 0);
	if (!worker_alive(w)) {
		orders_worker_changed(&s->orders, w, clock_now_ns());
		return;
	}
	bool seen = worker_look(w, tasks, &sample);
	if (w->status != IPC_STATUS_OK) {
		orders_worker_changed(&s->orders, w, clock_now_ns());
		return;
	}
	for (size_t i = 0; i < s->box_count; i++)
		if (w->wanted_on[i] != 0)
			worker_tell(w, &s->boxes[i], seen ? &sample : NULL,
				seen ? sample.at_ns : w->looked_ns, flags);
	if (w->looked_ns - w->proven_ns > prove_every_ns)
		orders_prove(&s->orders, w, clock_now_ns());
}

static bool anything_wanted(const struct sampler *s)
{
	return s->orders.wanted != 0;
}

static void tick(struct sampler *s)
{
	bool tasks = rhythm_tasks_now(&s->rhythm);
	list_for_each (node, &s->orders.workers.list) {
		struct worker *w = LIST_ENTRY(node, struct worker, node);
		if (w->wanted != 0)
			worker_tick(s, w, tasks);
	}
	if (s->orders.workers.epochs_used_up) {
		workers_renew_epochs(&s->orders.workers);
		for (size_t i = 0; i < s->box_count; i++)
			s->boxes[i].dictionary_full = true;
	}
	if (rhythm_done(&s->rhythm, clock_now_ns()))
		log_info("%s", rhythm_sentence(&s->rhythm));
}

/* --- the loop --- */

/* How long poll may sleep, in ns; UINT64_MAX: until somebody speaks. */
static uint64_t sleep_ns(const struct sampler *s, uint64_t now_ns)
{
	uint64_t until = UINT64_MAX;
	if (anything_wanted(s))
		until = MIN(until, s->rhythm.beat.due_ns);
	if (s->search_at_ns != 0)
		until = MIN(until, s->search_at_ns);
	if (s->orders.count != 0)
		until = MIN(until, s->expire_at_ns);
	if (until == UINT64_MAX)
		return UINT64_MAX;
	return until > now_ns ? until - now_ns : 0;
}

static bool channels_wait(struct sampler *s, struct pollfd *fds)
{
	bool any = false;
	for (size_t i = 0; i < s->box_count; i++) {
		struct outbox *box = &s->boxes[i];
		if (!box->closed)
			outbox_flush(box);
		if (box->closed && box->channel >= 0)
			channel_close(s, i);
		fds[i] = (struct pollfd){ .fd = box->channel, /* -1 is skipped by poll */
			.events = (short)(POLLIN | (list_empty(&box->waiting) ? 0 : POLLOUT)) };
		any |= box->channel >= 0;
	}
	if (!any)
		return false;
	uint64_t sleep = sleep_ns(s, clock_now_ns());
	struct timespec ts = { .tv_sec = (time_t)(sleep / NS_PER_S), .tv_nsec = (long)(sleep % NS_PER_S) };
	if (ppoll(fds, s->box_count, sleep == UINT64_MAX ? NULL : &ts, NULL) < 0 && errno != EINTR)
		log_error("poll: %s", strerror(errno));
	return true;
}

static void work_due(struct sampler *s)
{
	uint64_t now = clock_now_ns();
	if (s->search_at_ns != 0 && now >= s->search_at_ns) {
		bool was_idle = !anything_wanted(s);
		s->search_at_ns = orders_search(&s->orders, now);
		if (was_idle && anything_wanted(s))
			rhythm_begin(&s->rhythm, clock_now_ns());
	}
	if (anything_wanted(s) && clock_now_ns() >= s->rhythm.beat.due_ns)
		tick(s);
	if (now >= s->expire_at_ns) {
		orders_expire(&s->orders, now);
		s->expire_at_ns = now + expire_every_ns;
	}
}

int sampler_run(const struct sampler_settings *settings)
{
	struct sampler s = { .box_count = MIN(settings->channel_count, (size_t)CHANNELS_MAX) };
	struct pollfd fds[CHANNELS_MAX];

	(void)prctl(PR_SET_TIMERSLACK,
		50000UL); /* the default rhythm of the kernel is kept, whatever was inherited */
	s.boxes = xcalloc(s.box_count, sizeof *s.boxes);
	for (size_t i = 0; i < s.box_count; i++)
		outbox_init(&s.boxes[i], settings->channels[i]);
	orders_init(&s.orders, s.boxes, s.box_count);
	rhythm_init(&s.rhythm, settings->rate_hz, settings->max_cpu_percent);

	while (channels_wait(&s, fds)) {
		for (size_t i = 0; i < s.box_count; i++)
			if (fds[i].fd >= 0 && (fds[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
				channel_hear(&s, i);
		work_due(&s);
	}

	orders_clear(&s.orders);
	for (size_t i = 0; i < s.box_count; i++)
		outbox_clear(&s.boxes[i]);
	free(s.boxes);
	return 0;
}
