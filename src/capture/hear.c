/* hear.c - what the sampler says. It may be mad: nothing it says is believed without a look at what we know ourselves. */
#include "subject.h"

#include <string.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/base/str.h>

enum {
	DATAGRAMS_MAX = 64, /* per turn of the loop */
	HISTORIES_MAX = 1024,
	HISTORY_BYTES_MAX = 32 << 20 /* all workers of this loop together */
};

/* The sampler is gone or is being replaced: what it was asked must be asked anew. */
void capture_channel_lost(struct capture *c)
{
	if (c->watch != NULL)
		watch_free(c->watch);
	c->watch = NULL;
	if (c->channel >= 0)
		close(c->channel);
	c->channel = -1;
	list_for_each_safe (node, &c->subjects[SUBJECT_STARTED]) {
		struct subject *s = LIST_ENTRY(node, struct subject, node);
		subject_history_set(c, s, NULL);
		s->heard = false;
		memset(&s->target, 0, sizeof s->target);
		subject_enter(c, s, SUBJECT_WAITING);
	}
	/* The others end with what they have; the new sampler's keys begin at 1 again, so none may be found by key. */
	size_t at = 0;
	uint64_t key, value;
	while (map_next(&c->histories, &at, &key, &value))
		((struct history *)(uintptr_t)value)->worker = 0;
	map_clear(&c->histories);
	dictionary_unref(c->dictionary);
	c->dictionary = dictionary_new();
	list_for_each (node, &c->subjects[SUBJECT_ENDING])
		LIST_ENTRY(node, struct subject, node)->give_up_ns = 0;
}

static struct history *history_find(struct capture *c, uint32_t worker)
{
	uint64_t found;
	return map_get(&c->histories, worker, &found) ? (struct history *)(uintptr_t)found : NULL;
}

static struct history *history_of(struct capture *c, uint32_t worker)
{
	struct history *h = history_find(c, worker);
	if (h != NULL || worker == 0 || c->histories.used >= HISTORIES_MAX)
		return h;
	h = history_new(worker);
	map_put(&c->histories, worker, (uint64_t)(uintptr_t)h);
	return h;
}

static struct subject *subject_find(struct capture *c, uint64_t id)
{
	uint64_t found;
	return map_get(&c->by_id, id, &found) ? (struct subject *)(uintptr_t)found : NULL;
}

static bool hear_target(struct capture *c, const struct ipc_target *m)
{
	if (m->status >= IPC_STATUS_END)
		return false;
	struct subject *s = subject_find(c, m->id);
	if (s == NULL || (s->state != SUBJECT_STARTED && s->state != SUBJECT_ENDING))
		return true; /* it ended meanwhile */
	s->heard = true;
	s->status = (enum ipc_status)m->status;
	s->was_queued |= s->status == IPC_STATUS_NOT_ACCEPTED;
	if (s->status == IPC_STATUS_OK)
		s->found_ns = clock_now_ns();
	s->target.worker_pid = m->pid;
	memcpy(s->target.worker_python, m->python, sizeof m->python);
	memcpy(s->target.worker_server, m->server, sizeof m->server);
	memcpy(s->target.reason, m->reason, sizeof m->reason);
	if (m->head.worker != 0)
		subject_history_set(c, s, history_of(c, m->head.worker));
	if (s->history != NULL) {
		s->history->pid = m->pid;
		others_armed(c, s);
	}
	return true;
}

/* Somebody holds the worker's event loop for long. */
static void blocked_tell(struct capture *c, struct history *h, const struct ipc_tick *m, size_t filed)
{
	uint64_t from_ns;
	if (filed == 0 || filed != m->sample_count ||
		!hold_look(&h->hold, c->dictionary, (const struct ipc_sample *)(m + 1), filed, m->at_ns,
			&from_ns))
		return;
	uint64_t span = h->hold.serves == IPC_SERVES_REQUEST ? h->hold.span : 0;
	others_loop_blocked(c, h->pid, board_held(c->board, h->pid, span, from_ns, m->at_ns));
}

static bool hear_tick(struct capture *c, const struct ipc_tick *m)
{
	struct history *h = history_find(c, m->head.worker);
	if (h == NULL)
		return true; /* nobody waits for it any more */
	size_t filed = history_add(h, c->dictionary, m);
	blocked_tell(c, h, m, filed);
	c->counters.samples += filed;
	capture_trim(c);
	return filed == m->sample_count;
}

static bool hear_suspect(struct capture *c, const struct ipc_suspect *m)
{
	if (m->frame != 0)
		return dictionary_suspect(c->dictionary, m->frame, m->from_ns, m->to_ns);
	struct history *h = history_find(c, m->head.worker);
	if (h != NULL)
		history_suspect(h, m->from_ns, m->to_ns);
	return true;
}

static bool hear_end(struct capture *c, const struct ipc_capture_end *m)
{
	if (m->status >= IPC_STATUS_END)
		return false;
	struct subject *s = subject_find(c, m->id);
	if (s == NULL || s->state != SUBJECT_ENDING)
		return true;
	s->answered = true;
	s->heard = true;
	s->status = (enum ipc_status)m->status;
	if (m->reason[0] != '\0')
		memcpy(s->target.reason, m->reason, sizeof m->reason);
	return true;
}

static void hear_reset(struct capture *c)
{
	dictionary_unref(c->dictionary);
	c->dictionary = dictionary_new();
}

/* false: it made no sense. */
static bool hear_message(struct capture *c, const struct ipc_head *h)
{
	switch ((enum ipc_type)h->type) {
	case IPC_TARGET:
		return hear_target(c, (const void *)h);
	case IPC_FRAME:
		return dictionary_add_frame(c->dictionary, (const void *)h);
	case IPC_STACK:
		return dictionary_add_stack(c->dictionary, (const void *)h);
	case IPC_LANE:
		return dictionary_add_lane(c->dictionary, (const void *)h);
	case IPC_TICK:
		return hear_tick(c, (const void *)h);
	case IPC_RESET:
		hear_reset(c);
		return true;
	case IPC_SUSPECT:
		return hear_suspect(c, (const void *)h);
	case IPC_CAPTURE_END:
		return hear_end(c, (const void *)h);
	default:
		return false;
	}
}

static void hear_datagram(struct capture *c, const void *datagram, size_t len)
{
	size_t at = 0;
	bool garbage, sense = true;
	for (const struct ipc_head *h; (h = ipc_message_next(datagram, len, &at, &garbage)) != NULL;)
		sense &= hear_message(c, h);
	if ((garbage || !sense) && c->garbage++ == 0)
		log_warn("the sampler said something that made no sense; it is left out");
}

static void speaks_again(struct capture *c)
{
	if (!c->silent)
		return;
	c->silent = false;
	log_info("the sampler answers again");
}

bool capture_hear_some(struct capture *c)
{
	union {
		uint64_t align;
		char bytes[IPC_DATAGRAM_MAX];
	} datagram;
	for (unsigned i = 0; c->channel >= 0; i++) {
		if (i == DATAGRAMS_MAX)
			return false;
		size_t len = sizeof datagram;
		enum ipc_result r = ipc_receive(c->channel, datagram.bytes, &len, NULL);
		if (r == IPC_FULL)
			return true;
		if (r == IPC_CLOSED) {
			c->counters.sampler_losses++;
			log_warn(
				"the sampler is gone; traffic goes on, slow lines come without stacks until it is back");
			capture_channel_lost(c);
			return true;
		}
		speaks_again(c);
		hear_datagram(c, datagram.bytes, len);
	}
	return true;
}

void capture_hear(void *capture)
{
	(void)capture_hear_some(capture);
}

/* What is older than the oldest subject is of no use; what is too much goes too, the oldest of the largest first. */
void capture_trim(struct capture *c)
{
	struct list_node *oldest = list_first(&c->by_age);
	uint64_t before_ns =
		oldest != NULL ? subject_from_ns(LIST_ENTRY(oldest, struct subject, by_age)) : UINT64_MAX;
	struct history *largest = NULL;
	size_t at = 0, bytes = 0;
	uint64_t key, value;
	while (map_next(&c->histories, &at, &key, &value)) {
		struct history *h = (struct history *)(uintptr_t)value;
		history_trim(h, before_ns);
		bytes += h->bytes;
		if (largest == NULL || h->bytes > largest->bytes)
			largest = h;
	}
	while (bytes > HISTORY_BYTES_MAX && largest != NULL) {
		size_t before = largest->bytes;
		if (!history_drop_oldest(largest))
			break;
		bytes -= before - largest->bytes;
	}
}
