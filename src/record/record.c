/* record.c - what we know of one exchange.
 *
 * Made by a loop thread, freed there or by the writer thread. Freed records rest on a short list of the thread that freed
 * them; the writer thread's list is bounded like the others, so memory does not wander off for good.
 */
#include <slowproxy/record.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>

const struct outcome_row outcomes[OUTCOME_COUNT] = {
	[OUTCOME_OK] = { "ok", "the answer was delivered whole", 0 },
	[OUTCOME_CLIENT_ABORT] = { "client_abort",
		"the client closed the connection before the answer was complete", 0 },
	[OUTCOME_CLIENT_TIMEOUT] = { "timeout_client", "the request did not arrive in time", 408 },
	[OUTCOME_BAD_REQUEST] = { "bad_request", "the request is not valid HTTP; the backend did not see it",
		400 },
	[OUTCOME_TOO_LARGE] = { "too_large", "the request is larger than the limits allow", 413 },
	[OUTCOME_OVERLOAD] = { "overload", "the proxy is at one of its limits", 503 },
	[OUTCOME_UPSTREAM_UNRESOLVED] = { "upstream_unresolved", "the backend's name has no address", 502 },
	[OUTCOME_UPSTREAM_REFUSED] = { "upstream_refused", "the backend does not accept connections", 502 },
	[OUTCOME_UPSTREAM_RESET] = { "upstream_reset", "the backend closed the connection before it answered",
		502 },
	[OUTCOME_UPSTREAM_INVALID] = { "upstream_invalid", "what the backend answered is not valid HTTP",
		502 },
	[OUTCOME_UPSTREAM_TRUNCATED] = { "upstream_truncated",
		"the backend closed the connection in mid-answer", 0 },
	[OUTCOME_TIMEOUT_CONNECT] = { "timeout_connect", "the backend did not accept the connection in time",
		504 },
	[OUTCOME_TIMEOUT_RESPONSE] = { "timeout_response", "the backend did not answer in time", 504 },
	[OUTCOME_TIMEOUT_STREAM] = { "timeout_stream", "a body stood still for too long", 0 },
	[OUTCOME_TUNNEL] = { "tunnel", "the connection was upgraded and has been closed", 0 },
	[OUTCOME_SHUTDOWN] = { "shutdown", "the proxy ended before the answer was complete", 503 },
};

const struct capture_status_row capture_statuses[CAPTURE_STATUS_COUNT] = {
	[CAPTURE_NONE] = { "none", "the request ended before capture.arm_after" },
	[CAPTURE_OFF] = { "off", "capture.enabled is false" },
	[CAPTURE_OK] = { "ok", "" },
	[CAPTURE_PARTIAL] = { "partial", "some samples failed or came late" },
	[CAPTURE_DENIED] = { "denied", "run slowproxy as the worker's user, or give it CAP_SYS_PTRACE" },
	[CAPTURE_UNSUPPORTED] = { "unsupported", "this Python version or build cannot be read yet" },
	[CAPTURE_NOT_PYTHON] = { "not_python", "the process behind the upstream address is not CPython" },
	[CAPTURE_NO_WORKER] = { "no_worker",
		"no visible process owns the other end of the connection; share the pid namespace with the backend" },
	[CAPTURE_NOT_ACCEPTED] = { "not_accepted",
		"no worker has accepted the connection: they are all busy" },
	[CAPTURE_GONE] = { "worker_gone", "the worker process ended" },
	[CAPTURE_NO_SAMPLER] = { "no_sampler",
		"the sampler process is not running or does not answer; it is restarted" },
	[CAPTURE_BUDGET] = { "budget", "a bound on captures was reached" },
};

const char *const phase_names[PHASE_COUNT] = { "upload", "queue", "connect", "app", "download" };

/* The phase that ends when a mark is reached. Marks between two others that end the same phase need no row of thought:
 * an instant that was never stamped hands its time to the next one that was. */
static const enum phase phase_before[MARK_COUNT] = {
	[MARK_BEGIN] = PHASE_UPLOAD,
	[MARK_REQUEST_HEAD] = PHASE_UPLOAD,
	[MARK_CONNECT_BEGIN] = PHASE_QUEUE,
	[MARK_UPSTREAM] = PHASE_CONNECT,
	[MARK_REQUEST_SENT] = PHASE_UPLOAD,
	[MARK_RESPONSE_BEGIN] = PHASE_APP,
	[MARK_RESPONSE_HEAD] = PHASE_APP,
	[MARK_RESPONSE_END] = PHASE_DOWNLOAD,
	[MARK_END] = PHASE_DOWNLOAD,
};

/* What an exchange is in after `last` was stamped: the time to its end belongs there. */
static enum phase phase_after(const struct timeline *t, enum mark last)
{
	if (last == MARK_REQUEST_HEAD)
		return PHASE_QUEUE;
	if (last == MARK_UPSTREAM)
		return t->at[MARK_REQUEST_SENT] ? PHASE_APP : PHASE_UPLOAD;
	if (last >= MARK_RESPONSE_HEAD)
		return PHASE_DOWNLOAD;
	return phase_before[last + 1];
}

/* A pool hit has no CONNECT_BEGIN: the time up to UPSTREAM is then queueing, not connecting. */
static enum phase phase_ending_at(const struct timeline *t, enum mark mark)
{
	if (mark == MARK_UPSTREAM && t->at[MARK_CONNECT_BEGIN] == 0)
		return PHASE_QUEUE;
	return phase_before[mark];
}

size_t timeline_stretches(const struct timeline *t, struct stretch out[MARK_COUNT])
{
	size_t count = 0;
	enum mark last = MARK_BEGIN;
	for (enum mark mark = MARK_REQUEST_HEAD; mark < MARK_COUNT; mark++) {
		if (t->at[mark] == 0 || t->at[mark] < t->at[last])
			continue; /* never, or out of the natural order: an answer before the request was sent whole */
		enum phase phase = mark == MARK_END ? phase_after(t, last) : phase_ending_at(t, mark);
		out[count++] = (struct stretch){ phase, t->at[last], t->at[mark] };
		last = mark;
	}
	return count;
}

bool timeline_phase_ns(const struct timeline *t, enum phase phase, uint64_t *ns)
{
	struct stretch all[MARK_COUNT];
	bool happened = false;
	*ns = 0;
	for (size_t i = 0, count = timeline_stretches(t, all); i < count; i++) {
		if (all[i].phase != phase)
			continue;
		*ns += all[i].to_ns - all[i].from_ns;
		happened = true;
	}
	return happened;
}

bool timeline_between_ns(const struct timeline *t, enum mark from, enum mark to, uint64_t *ns)
{
	if (t->at[from] == 0 || t->at[to] == 0 || t->at[to] < t->at[from])
		return false;
	*ns = t->at[to] - t->at[from];
	return true;
}

enum { RESTING_MAX = 64 };
static _Thread_local struct record *resting[RESTING_MAX];
static _Thread_local unsigned resting_count;
static _Thread_local uint64_t next_id;

/* A thread that ends takes its resting records along. */
static pthread_key_t thread_end;
static pthread_once_t thread_end_once = PTHREAD_ONCE_INIT;

static void resting_clear(void *unused)
{
	(void)unused;
	while (resting_count != 0)
		free(resting[--resting_count]);
}

static void thread_end_prepare(void)
{
	if (pthread_key_create(&thread_end, resting_clear) != 0)
		abort();
}

static void resting_begin(void)
{
	static _Thread_local bool began;
	if (began)
		return;
	began = true;
	pthread_once(&thread_end_once, thread_end_prepare);
	pthread_setspecific(thread_end, &resting); /* not NULL, or the key's function is not called */
}

/* Ids of different threads differ in their upper bits, which are random. */
static uint64_t id_new(void)
{
	if (next_id == 0)
		next_id = clock_wall_ns() << 24 ^ (uint64_t)(uintptr_t)&next_id << 12;
	return ++next_id;
}

/* What is three kilobytes of texts need not be touched to be empty. */
static void forget(struct record *r)
{
	memset(r, 0, offsetof(struct record, capture.reason));
	r->capture.reason[0] = '\0';
	r->request_id[0] = r->trace_id[0] = r->span_id[0] = r->method[0] = '\0';
	r->client_address[0] = r->upstream_address[0] = r->reason[0] = r->path[0] = r->route[0] = '\0';
}

struct record *record_new(uint64_t begin_ns)
{
	struct record *r;
	if (resting_count != 0) {
		r = resting[--resting_count];
		forget(r);
	} else {
		r = xcalloc(1, sizeof *r);
	}
	r->id = id_new();
	r->upstream_fd = -1;
	r->began_wall_ns = clock_wall_ns();
	r->timeline.at[MARK_BEGIN] = begin_ns;
	return r;
}

void record_free(struct record *r)
{
	profile_free(r->capture.profile);
	r->capture.profile = NULL;
	free(r->capture.others);
	r->capture.others = NULL;
	resting_begin();
	if (resting_count < RESTING_MAX)
		resting[resting_count++] = r;
	else
		free(r);
}

void record_thread_end(void)
{
	while (resting_count != 0)
		free(resting[--resting_count]);
}

struct record *record_copy_running(const struct record *r)
{
	struct record *copy = xmalloc(sizeof *copy);
	memcpy(copy, r, sizeof *copy);
	copy->node = (struct list_node){ 0 };
	copy->running = (struct list_node){ 0 };
	copy->upstream_fd = -1;
	copy->capture.profile = NULL;
	copy->capture.others = NULL;
	copy->capture.other_count = 0;
	copy->armed = NULL;
	copy->still_running = true;
	return copy;
}

uint64_t record_duration_ns(const struct record *r)
{
	uint64_t end = r->timeline.at[MARK_END] ? r->timeline.at[MARK_END] : clock_now_ns();
	return end - r->timeline.at[MARK_BEGIN];
}

bool record_is_slow(const struct record *r)
{
	return r->threshold_ns != 0 && record_duration_ns(r) >= r->threshold_ns;
}
