/* worker.c - attach once, look often, let go when it ends.
 *
 *   pid -> pidfd (so that a reused pid is noticed) -> py_process -> looks -> TICK on every channel that wants it
 *
 * A failed attach is remembered for a while, so that a backend that cannot be read costs nothing.
 */
#include "worker.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/base/str.h>

#include "holder.h"
#include "server.h"

enum {
	TASKS_READ_MAX = 1000,  /* as many are looked at */
	TASKS_WANTED_MAX = 600, /* so many of those that serve captured requests are told */
	TASKS_USER_MAX = 200,   /* so many others with a line of the user's own code */
	TASKS_OTHER_MAX = 20,   /* and so many of the others */
	THREADS_MAX = 512,      /* as many threads are looked at */
	THREADS_TOLD_MAX =
		170, /* those at work for captured requests first, then others at work, then idle ones */
	IN_VAIN_MAX = 50
};
static const uint64_t retry_soon_ns = NS_PER_S, retry_late_ns = 10 * NS_PER_S;

static_assert(THREADS_TOLD_MAX + TASKS_WANTED_MAX + TASKS_USER_MAX + TASKS_OTHER_MAX <= IPC_TICK_SAMPLES_MAX,
	"a tick holds one look");

/* What a failure of the reader means for a capture. */
static const struct {
	enum ipc_status status;
	bool may_recover;
	bool soon;
} failures[PY_RESULT_COUNT] = {
	[PY_OK] = { IPC_STATUS_OK, true, true },
	[PY_NO_PROCESS] = { IPC_STATUS_GONE, false, false },
	[PY_DENIED] = { IPC_STATUS_DENIED, false, false },
	[PY_NOT_PYTHON] = { IPC_STATUS_NOT_PYTHON, false, false },
	[PY_UNSUPPORTED] = { IPC_STATUS_UNSUPPORTED, false, false },
	[PY_NOT_READY] = { IPC_STATUS_PARTIAL, true, true },
	[PY_UNREADABLE] = { IPC_STATUS_PARTIAL, true, true },
};

static const enum ipc_state states[] = {
	[PY_STATE_UNKNOWN] = IPC_STATE_UNKNOWN,
	[PY_STATE_RUNNING] = IPC_STATE_RUNNING,
	[PY_STATE_BLOCKED] = IPC_STATE_BLOCKED,
	[PY_STATE_GIL_WAIT] = IPC_STATE_GIL_WAIT,
	[PY_STATE_IDLE] = IPC_STATE_IDLE,
};

void workers_init(struct workers *ws)
{
	*ws = (struct workers){ .next_key = 1, .next_epoch = 1 };
	list_init(&ws->list);
}

static void worker_detach(struct worker *w)
{
	if (w->python != NULL)
		py_process_close(w->python);
	w->python = NULL;
	serving_clear(&w->serving);
	waits_clear(&w->waits);
	turns_clear(&w->turns);
}

static void worker_free(struct workers *ws, struct worker *w)
{
	assert(w->wanted == 0);
	list_remove(&w->node);
	ws->count--;
	worker_detach(w);
	if (w->pidfd >= 0)
		close(w->pidfd);
	map_clear(&w->loops);
	map_clear(&w->user_code);
	map_clear(&w->wanted_spans);
	map_clear(&w->served_at);
	serving_clear(&w->serving);
	waits_clear(&w->waits);
	turns_clear(&w->turns);
	free(w->ready);
	free(w);
}

void workers_clear(struct workers *ws)
{
	list_for_each_safe (node, &ws->list) {
		struct worker *w = LIST_ENTRY(node, struct worker, node);
		w->wanted = 0;
		worker_free(ws, w);
	}
}

/* --- attaching --- */
static uint16_t epoch_new(struct workers *ws)
{
	if (ws->next_epoch == UINT16_MAX) {
		ws->epochs_used_up = true;
		return UINT16_MAX;
	}
	return ws->next_epoch++;
}

void workers_renew_epochs(struct workers *ws)
{
	ws->next_epoch = 1;
	ws->epochs_used_up = false;
	list_for_each (node, &ws->list)
		LIST_ENTRY(node, struct worker, node)->epoch = epoch_new(ws);
}

static void worker_failed(struct worker *w, enum py_result r, const char *why, uint64_t now_ns)
{
	char ended[64];
	w->status = failures[r].status;
	w->may_recover = failures[r].may_recover;
	snprintf(ended, sizeof ended, "worker %d ended", (int)w->pid);
	if (r == PY_NO_PROCESS)
		why = ended;
	else if (why == NULL || why[0] == '\0')
		why = py_result_sentences[r];
	str_copy(w->reason, sizeof w->reason, why, strlen(why));
	w->retry_at_ns = now_ns + (failures[r].soon ? retry_soon_ns : retry_late_ns);
}

static void worker_attach(struct workers *ws, struct worker *w, uint64_t now_ns)
{
	struct buf why = { 0 };
	enum py_result r = py_process_open(w->pid, &w->python, &why);
	if (r != PY_OK) {
		worker_failed(w, r, why.data, now_ns);
		log_info("worker %d cannot be read: %s", (int)w->pid, w->reason);
	} else {
		w->status = IPC_STATUS_OK;
		w->reason[0] = '\0';
		w->in_vain = 0;
		w->epoch = epoch_new(ws);
		w->proven_ns = now_ns;
		str_copy(w->version, sizeof w->version, py_process_version(w->python),
			strlen(py_process_version(w->python)));
		server_name(w->pid, w->server, sizeof w->server);
		log_info("worker %d attached: Python %s%s%s", (int)w->pid, w->version,
			w->server[0] ? ", " : "", w->server);
	}
	buf_clear(&why);
}

bool worker_alive(struct worker *w)
{
	if (w->status == IPC_STATUS_GONE)
		return false;
	bool ended;
	if (w->pidfd >= 0) {
		struct pollfd p = { .fd = w->pidfd, .events = POLLIN };
		ended = poll(&p, 1, 0) > 0;
	} else {
		ended = process_start_time(w->pid) != w->start_time;
	}
	if (!ended)
		return true;
	worker_detach(w);
	w->status = IPC_STATUS_GONE;
	w->may_recover = false;
	snprintf(w->reason, sizeof w->reason, "worker %d ended", (int)w->pid);
	return false;
}

/* Room for one more: those that ended or were not wanted for longest leave first. */
static bool room_make(struct workers *ws)
{
	struct worker *spare = NULL; /* alive, and unused for longest */
	list_for_each_safe (node, &ws->list) {
		struct worker *w = LIST_ENTRY(node, struct worker, node);
		if (w->wanted != 0)
			continue;
		if (!worker_alive(w))
			worker_free(ws, w);
		else if (spare == NULL)
			spare = w;
	}
	if (ws->count < WORKERS_MAX)
		return true;
	if (spare == NULL)
		return false;
	worker_free(ws, spare);
	return true;
}

static struct worker *worker_new(struct workers *ws, pid_t pid)
{
	struct worker *w = xcalloc(1, sizeof *w);
	w->pid = pid;
	w->key = ws->next_key++;
	w->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	w->start_time = process_start_time(pid);
	ws->count++;
	list_push_back(&ws->list, &w->node);
	return w;
}

static struct worker *find_alive(struct workers *ws, pid_t pid)
{
	list_for_each (node, &ws->list) {
		struct worker *w = LIST_ENTRY(node, struct worker, node);
		if (w->pid == pid && worker_alive(w))
			return w;
	}
	return NULL;
}

struct worker *workers_get(struct workers *ws, pid_t pid, uint64_t now_ns, bool *too_many)
{
	*too_many = false;
	struct worker *w = find_alive(ws, pid);
	if (w == NULL) {
		*too_many = !room_make(ws);
		if (*too_many)
			return NULL;
		w = worker_new(ws, pid);
	}
	list_remove(&w->node);
	list_push_back(&ws->list, &w->node);
	w->used_ns = now_ns;
	if (w->python == NULL && now_ns >= w->retry_at_ns)
		worker_attach(ws, w, now_ns);
	return w;
}

/* --- looking --- */
/* Which tasks could go on, were the event loop free: what they await is there, or they have not begun. */
static void ready_look(struct worker *w, const struct py_sample *s)
{
	uint64_t *futures = xcalloc(s->task_count + 1, sizeof *futures);
	size_t *of = xcalloc(s->task_count + 1, sizeof *of), count = 0;
	bool *done = xcalloc(s->task_count + 1, sizeof *done);
	if (w->ready_capacity < s->task_count) {
		w->ready_capacity = s->task_count * 2;
		w->ready = xrealloc(w->ready, w->ready_capacity * sizeof *w->ready);
	}
	for (size_t i = 0; i < s->task_count; i++) {
		w->ready[i] = w->serving.tasks[i].span != 0 && s->tasks[i].waits_for == 0;
		if (w->serving.tasks[i].span == 0 || s->tasks[i].waits_for == 0)
			continue;
		futures[count] = s->tasks[i].waits_for;
		of[count++] = i;
	}
	py_futures_done(w->python, futures, count, done);
	for (size_t i = 0; i < count; i++)
		w->ready[of[i]] = done[i];
	free(done);
	free(of);
	free(futures);
}

static void waits_look(struct worker *w, const struct py_sample *s)
{
	struct waits *ws = &w->waits;
	waits_look_begin(ws, s->task_count);
	for (size_t i = 0; i < s->task_count; i++)
		if (w->serving.tasks[i].span != 0)
			ws->dues[i] = wait_due(ws, w->python, &s->tasks[i], s->at_ns);
}

bool worker_look(struct worker *w, bool tasks, struct py_sample *sample)
{
	struct py_wants wants = {
		.states = true, .tasks = tasks, .max_threads = THREADS_MAX, .max_tasks = TASKS_READ_MAX
	};
	enum py_result r = py_process_sample(w->python, &wants, sample);
	w->looked_ns = clock_now_ns();
	if (r == PY_OK) {
		w->in_vain = 0;
		turns_look(&w->turns, w->python, sample);
		serving_look(&w->serving, w->python, sample, tasks);
		if (tasks) {
			waits_look(w, sample);
			ready_look(w, sample);
		}
		return true;
	}
	if (!worker_alive(w))
		return false;
	/* One look that fails is nothing; many in a row, or a failure that will not pass, end it. */
	if (!failures[r].may_recover || ++w->in_vain >= IN_VAIN_MAX) {
		worker_detach(w);
		worker_failed(w, r, NULL, w->looked_ns);
	}
	return false;
}

size_t worker_changed_code(struct worker *w, uint64_t now_ns, uint32_t ids[CHANGED_MAX])
{
	if (w->python == NULL || w->looked_ns <= w->proven_ns)
		return 0;
	size_t count = py_process_code_changed(w->python, ids, CHANGED_MAX);
	w->proven_ns = now_ns;
	return count;
}

void worker_forget_code(struct workers *ws, struct worker *w)
{
	py_process_forget_code(w->python);
	serving_clear(&w->serving);
	waits_clear(&w->waits);
	turns_clear(&w->turns);
	map_clear(&w->user_code);
	w->epoch = epoch_new(ws);
}

/* --- telling --- */
static bool path_is_user(const char *file)
{
	static const char *const others[] = { "/site-packages/", "/dist-packages/", "/lib/python",
		"/lib64/python" };
	if (file[0] == '\0' || file[0] == '<')
		return false;
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (strstr(file, others[i]) != NULL)
			return false;
	return true;
}

static bool task_is_user(struct worker *w, const struct py_task *t)
{
	for (size_t i = 0; i < t->frame_count; i++) {
		const struct py_code *code = t->frames[i].code;
		uint64_t is_user;
		if (code == NULL)
			continue;
		if (!map_get(&w->user_code, code->id, &is_user)) {
			is_user = path_is_user(code->file);
			map_put(&w->user_code, code->id, is_user);
		}
		if (is_user)
			return true;
	}
	return false;
}

struct telling {
	struct ipc_tick head;
	struct ipc_sample samples[IPC_TICK_SAMPLES_MAX + 1]; /* one more: room for the padding */
};

static void telling_add(struct telling *t, struct ipc_sample s)
{
	if (s.lane != 0 && s.stack != 0 && t->head.sample_count < IPC_TICK_SAMPLES_MAX)
		t->samples[t->head.sample_count++] = s;
}

static bool somebody_has_gil(const struct worker *w, const struct py_sample *s)
{
	if (strchr(w->version, 't') != NULL) /* "3.14.1t": there is none */
		return false;
	for (size_t i = 0; i < s->thread_count; i++)
		if (s->threads[i].holds_gil)
			return true;
	return false;
}

/* A loop that has no work on its stack leaves the GIL only to wait for events. Seen on a CPU without it, while another has
 * it, it wants it back: waiting for the GIL is a sleep of a few ms, again and again, with a moment awake in between. */
static enum ipc_state thread_state(
	const struct worker *w, const struct py_sample *s, const struct py_thread *p, struct served served)
{
	bool plumbing = served.who == IPC_SERVES_UNKNOWN || served.who == IPC_SERVES_NOBODY;
	if (p->state == PY_STATE_RUNNING && p->runs_event_loop && plumbing && !p->holds_gil &&
		somebody_has_gil(w, s))
		return IPC_STATE_GIL_WAIT;
	return p->state < ARRAY_LEN(states) ? states[p->state] : IPC_STATE_UNKNOWN;
}

static void thread_tell(struct worker *w, struct outbox *o, const struct py_sample *s,
	const struct py_thread *p, struct served served, struct telling *t)
{
	uint64_t unused;
	bool loop = map_get(&w->loops, p->tid, &unused);
	telling_add(
		t, (struct ipc_sample){
			   .lane = outbox_lane(
				   o, w->epoch, loop ? IPC_LANE_LOOP : IPC_LANE_THREAD, p->tid, p->name),
			   .stack = outbox_stack(o, w->epoch, p->frames, p->frame_count),
			   .state = (uint8_t)thread_state(w, s, p, served),
			   .syscall = (int16_t)(p->syscall >= 0 && p->syscall <= INT16_MAX ? p->syscall : -1),
			   .holds_gil = p->holds_gil,
			   .span = served.span,
			   .serves = served.who,
			   .due_ns = turn_began(&w->turns, p->tid),
		   });
}

/* In which order threads are told: those that run an event loop are what a request waits for. */
enum thread_group { THREAD_LOOP, THREAD_WANTED, THREAD_AT_WORK, THREAD_IDLE, THREAD_GROUPS };

static enum thread_group thread_group_of(struct worker *w, const struct py_thread *t, struct served served)
{
	uint64_t unused;
	if (map_get(&w->loops, t->tid, &unused))
		return THREAD_LOOP;
	if (served.span != 0 && map_get(&w->wanted_spans, served.span, &unused))
		return THREAD_WANTED;
	return t->state == PY_STATE_IDLE ? THREAD_IDLE : THREAD_AT_WORK;
}

/* false: a thread of a captured request had no room. */
static bool threads_tell(struct worker *w, struct outbox *o, const struct py_sample *s, struct telling *t)
{
	unsigned told = 0;
	bool all = true;
	for (size_t i = 0; i < s->thread_count; i++)
		if (s->threads[i].runs_event_loop)
			map_put(&w->loops, s->threads[i].tid, 1);
	for (enum thread_group group = 0; group < THREAD_GROUPS; group++)
		for (size_t i = 0; i < s->thread_count; i++) {
			if (thread_group_of(w, &s->threads[i], w->serving.threads[i]) != group)
				continue;
			all &= told < THREADS_TOLD_MAX || group > THREAD_WANTED;
			if (told++ < THREADS_TOLD_MAX)
				thread_tell(w, o, s, &s->threads[i], w->serving.threads[i], t);
		}
	return all;
}

/* Which tasks are told: those of captured requests, then those with the user's own code, then a few others. */
enum task_group { TASK_WANTED, TASK_USER, TASK_OTHER, TASK_GROUPS };
static const unsigned task_group_max[TASK_GROUPS] = { TASKS_WANTED_MAX, TASKS_USER_MAX, TASKS_OTHER_MAX };

static enum task_group task_group_of(struct worker *w, const struct py_task *t, struct served served)
{
	uint64_t captures;
	if (served.span != 0 && map_get(&w->wanted_spans, served.span, &captures))
		return TASK_WANTED;
	return task_is_user(w, t) ? TASK_USER : TASK_OTHER;
}

/* An address in few bits: equal ones stay equal. */
static uint32_t short_of(uint64_t address)
{
	return (uint32_t)((address >> 4) ^ (address >> 36));
}

/* false: a task of a captured request had no room. */
static bool tasks_tell(struct worker *w, struct outbox *o, const struct py_sample *s, struct telling *t)
{
	unsigned told[TASK_GROUPS] = { 0 };
	for (size_t i = 0; i < s->task_count; i++) {
		const struct py_task *p = &s->tasks[i];
		struct served served = w->serving.tasks[i];
		enum task_group group = task_group_of(w, p, served);
		if (told[group]++ >= task_group_max[group])
			continue;
		telling_add(t, (struct ipc_sample){
				       .lane = outbox_lane(o, w->epoch, IPC_LANE_TASK, p->address, p->name),
				       .stack = outbox_stack(o, w->epoch, p->frames, p->frame_count),
				       .state = IPC_STATE_AWAITING,
				       .syscall = -1,
				       .span = served.span,
				       .serves = served.who,
				       .awaits = short_of(p->waits_for),
				       .due_ns = w->waits.dues[i].at_ns,
				       .due_at_latest = w->waits.dues[i].at_latest,
				       .ready = w->ready[i],
			       });
	}
	return told[TASK_WANTED] <= TASKS_WANTED_MAX;
}

void worker_tell(
	struct worker *w, struct outbox *o, const struct py_sample *sample, uint64_t at_ns, unsigned flags)
{
	bool tasks = (flags & IPC_TICK_TASKS) != 0;
	struct telling t;
	if (!outbox_ready(o))
		return;
	if (o->dictionary_full)
		outbox_reset(o);
	t.head = (struct ipc_tick){ .head = { .type = IPC_TICK, .worker = w->key }, .at_ns = at_ns };
	if (sample != NULL) {
		bool all = threads_tell(w, o, sample, &t);
		all &= tasks && tasks_tell(w, o, sample, &t);
		t.head.flags = flags | (all && w->serving.whole ? IPC_TICK_WHOLE : 0) |
			       (sample->gc_running ? IPC_TICK_GC : 0);
	} else {
		t.head.flags = IPC_TICK_FAILED | (flags & IPC_TICK_THRIFTY);
	}
	size_t bytes = sizeof t.head + t.head.sample_count * sizeof *t.samples;
	memset((char *)&t + bytes, 0, ipc_padded(bytes) - bytes);
	t.head.head.bytes = (uint16_t)ipc_padded(bytes);
	outbox_add(o, &t);
}
