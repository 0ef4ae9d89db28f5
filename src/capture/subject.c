/* subject.c - one armed exchange: its orders to the sampler, and what is known when it ends. */
#include "subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/str.h>

/* The sampler forgets an order by itself this long after capture.max_duration, should STOP get lost. */
static const uint64_t deadline_grace_ns = 5 * NS_PER_S;

static const enum capture_status statuses[IPC_STATUS_END] = {
	[IPC_STATUS_OK] = CAPTURE_OK,
	[IPC_STATUS_PARTIAL] = CAPTURE_PARTIAL,
	[IPC_STATUS_DENIED] = CAPTURE_DENIED,
	[IPC_STATUS_UNSUPPORTED] = CAPTURE_UNSUPPORTED,
	[IPC_STATUS_NOT_PYTHON] = CAPTURE_NOT_PYTHON,
	[IPC_STATUS_NO_WORKER] = CAPTURE_NO_WORKER,
	[IPC_STATUS_NOT_ACCEPTED] = CAPTURE_NOT_ACCEPTED,
	[IPC_STATUS_GONE] = CAPTURE_GONE,
	[IPC_STATUS_BUDGET] = CAPTURE_BUDGET,
};

struct subject *subject_new(struct capture *c, struct record *r)
{
	struct subject *s = xcalloc(1, sizeof *s);
	s->record = r;
	s->id = ++c->next_id;
	s->armed_ns = clock_now_ns();
	r->armed = s;
	map_put(&c->by_id, s->id, (uint64_t)(uintptr_t)s);
	list_push_back(&c->by_age, &s->by_age);
	c->counters.armed++;
	board_armed(c->board, 1);
	return s;
}

uint64_t subject_from_ns(const struct subject *s)
{
	const uint64_t *at = s->record->timeline.at;
	uint64_t from = at[MARK_REQUEST_SENT] != 0 ? at[MARK_REQUEST_SENT] : at[MARK_UPSTREAM];
	/* Not before there was a connection: until then it was connecting, and that is told apart. */
	return from != 0 ? MAX(MIN(from, s->armed_ns), at[MARK_UPSTREAM]) : s->armed_ns;
}

void subject_history_set(struct capture *c, struct subject *s, struct history *h)
{
	if (s->history == h)
		return;
	if (h != NULL)
		h->users++;
	if (s->history != NULL && --s->history->users == 0) {
		if (s->history->worker != 0)
			map_remove(&c->histories, s->history->worker);
		history_free(s->history);
	}
	s->history = h;
}

void subject_enter(struct capture *c, struct subject *s, enum subject_state next)
{
	if (s->state == SUBJECT_ENDING)
		c->ending_count--;
	s->state = next;
	list_remove(&s->node);
	list_push_back(&c->subjects[next], &s->node);
	if (next == SUBJECT_ENDING)
		c->ending_count++;
	if (next == SUBJECT_SHOWN) {
		subject_history_set(c, s, NULL);
		list_remove(&s->by_age);
	}
}

void subject_free(struct capture *c, struct subject *s)
{
	if (s->state == SUBJECT_ENDING)
		c->ending_count--;
	subject_history_set(c, s, NULL);
	list_remove(&s->node);
	list_remove(&s->by_age);
	map_remove(&c->by_id, s->id);
	board_armed(c->board, -1);
	s->record->armed = NULL;
	free(s);
}

/* --- orders --- */
static void endpoint_set(const struct sockaddr_storage *a, uint16_t *port, uint8_t address[16])
{
	if (a->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)a;
		*port = v4->sin_port;
		memcpy(address, &v4->sin_addr, sizeof v4->sin_addr);
	} else {
		const struct sockaddr_in6 *v6 = (const void *)a;
		*port = v6->sin6_port;
		memcpy(address, &v6->sin6_addr, sizeof v6->sin6_addr);
	}
}

/* false: the socket is not connected (any more). */
static bool connection_of(int fd, struct ipc_connection *out)
{
	struct sockaddr_storage ours = { 0 }, peer = { 0 };
	socklen_t ours_len = sizeof ours, peer_len = sizeof peer;
	struct stat st;

	if (fd < 0 || getpeername(fd, (void *)&peer, &peer_len) != 0 ||
		getsockname(fd, (void *)&ours, &ours_len) != 0)
		return false;
	out->family = ours.ss_family;
	switch (ours.ss_family) {
	case AF_UNIX:
		if (fstat(fd, &st) != 0)
			return false;
		out->our_inode = st.st_ino;
		return true;
	case AF_INET:
	case AF_INET6:
		endpoint_set(&ours, &out->our_port, out->our_address);
		endpoint_set(&peer, &out->peer_port, out->peer_address);
		return true;
	default:
		return false;
	}
}

static bool message_send(struct capture *c, const void *message, size_t len)
{
	if (c->channel < 0)
		return false;
	enum ipc_result r = ipc_send(c->channel, message, len);
	c->counters.messages_dropped += r != IPC_OK;
	return r == IPC_OK;
}

bool subject_start(struct capture *c, struct subject *s)
{
	struct ipc_capture_start m = { .head = { IPC_CAPTURE_START, sizeof m, 0 }, .id = s->id };
	if (c->channel < 0 || !connection_of(s->record->upstream_fd, &m.connection))
		return false;
	m.span = strtoull(s->record->span_id, NULL, 16);
	m.deadline_ns = s->armed_ns + c->config->capture.max_duration_ns + deadline_grace_ns;
	return message_send(c, &m, sizeof m);
}

bool subject_stop(struct capture *c, struct subject *s, bool wants_end)
{
	struct ipc_capture_stop m = {
		.head = { IPC_CAPTURE_STOP, sizeof m, 0 }, .id = s->id, .wants_end = wants_end
	};
	return message_send(c, &m, sizeof m);
}

/* --- the verdict --- */
static void result_say(struct capture_result *r, enum capture_status status, const char *reason)
{
	r->status = status;
	str_copy(r->reason, sizeof r->reason, reason, strlen(reason));
}

/* The exchange had its upstream connection all the time but the sampler was never told of it. */
static void result_of_untold(const struct capture *c, const struct subject *s, struct capture_result *r)
{
	if (c->channel < 0 || c->silent)
		result_say(r, CAPTURE_NO_SAMPLER, "");
	else if (s->record->timeline.at[MARK_UPSTREAM] == 0)
		result_say(r, CAPTURE_NO_WORKER, "the request never had a connection to the backend");
	else if (s->record->timeline.at[MARK_RESPONSE_END] != 0 &&
		 s->record->timeline.at[MARK_RESPONSE_END] < s->armed_ns)
		result_say(r, CAPTURE_NONE, "the backend had answered before capture.arm_after");
	else
		result_say(r, CAPTURE_NO_SAMPLER, "the channel to the sampler was full");
}

/* The window has samples; how good are they together? Late ones are no fault when no worker had the request yet. */
static void result_of_samples(
	const struct subject *s, const struct window *w, uint32_t max_cpu_percent, struct capture_result *r)
{
	uint64_t waited_ns = s->was_queued && s->found_ns > s->armed_ns ? s->found_ns - s->armed_ns : 0;
	uint64_t possible =
		r->samples_expected - MIN(waited_ns / w->period_ns, (uint64_t)r->samples_expected);
	bool enough = (uint64_t)r->samples * 10 >= possible * 8;
	bool dear = !enough && w->thrifty != 0;
	r->status = dear ? CAPTURE_BUDGET : enough && w->suspect == 0 ? CAPTURE_OK : CAPTURE_PARTIAL;
	if (w->suspect != 0)
		snprintf(r->reason, sizeof r->reason,
			"%u looks are left out: code objects were replaced in the worker meanwhile",
			w->suspect);
	else if (dear)
		snprintf(r->reason, sizeof r->reason,
			"%u looks instead of %u, because more would cost over %u %% of a core (capture.max_cpu)",
			r->samples, (unsigned)possible, max_cpu_percent);
	else if (!enough)
		snprintf(r->reason, sizeof r->reason, "%u of %u looks succeeded, %u failed", r->samples,
			(unsigned)possible, r->samples_failed);
	else if (waited_ns != 0)
		snprintf(r->reason, sizeof r->reason,
			"for %.0f ms after capture.arm_after no worker had accepted the connection yet",
			(double)waited_ns / (double)NS_PER_MS);
	else
		result_say(r, CAPTURE_OK, "");
}

void subject_result(struct capture *c, struct subject *s, uint64_t until_ns, struct capture_result *result)
{
	uint64_t period = NS_PER_S / MAX(c->config->capture.rate_hz, 1u);
	struct window w = {
		.from_ns = subject_from_ns(s),
		.expected_from_ns = s->armed_ns,
		.to_ns = MAX(until_ns, s->armed_ns),
		.period_ns = period,
		.span = strtoull(s->record->span_id, NULL, 16),
	};

	*result = s->target;
	if (s->history != NULL)
		result->profile = history_cut(s->history, &w);
	result->samples = w.ticks;
	result->samples_failed = w.failed;
	/* The rhythm is jittered: a stretch may hold one look more than its length says. */
	uint64_t expected = MAX((w.to_ns - w.expected_from_ns) / period, (uint64_t)w.ticks + w.failed);
	result->samples_expected = (uint32_t)MIN(expected, (uint64_t)UINT32_MAX);
	result->from_ns = w.from_ns;
	result->until_ns = w.to_ns;
	result->armed_ns = s->armed_ns;
	if (s->was_queued)
		result->queued_until_ns = s->found_ns != 0 ? MIN(s->found_ns, w.to_ns) : w.to_ns;
	others_fill(c, s, result);
	victims_count(c, s, &w, result);
	bool deaf = s->state == SUBJECT_ENDING ? !s->answered : c->silent || c->channel < 0;
	if (!s->heard && s->state == SUBJECT_WAITING)
		result_of_untold(c, s, result);
	else if (deaf && result->profile != NULL)
		result_say(result, CAPTURE_PARTIAL, "the sampler did not answer at the end");
	else if (deaf || !s->heard)
		result_say(result, CAPTURE_NO_SAMPLER, "");
	else if (s->status != IPC_STATUS_OK)
		result->status = statuses[s->status]; /* with the sampler's own reason */
	else if (result->profile == NULL && w.suspect == 0)
		result_say(result, CAPTURE_PARTIAL, "the request ended before a look succeeded");
	else
		result_of_samples(s, &w, c->config->capture.max_cpu_percent, result);
}
