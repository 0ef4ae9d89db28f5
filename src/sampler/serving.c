/* serving.c - whom each thread and task of a worker serves.
 *
 *   walk     each lane from its root: the first frame whose code has a row, and its anchor, old or new
 *   prove    all old anchors in one read; those that do not hold are searched anew
 *   search   new anchors, step by step; bounded per look, the rest stays unknown until the next
 *   link     threads of a pool, and child tasks, through the future that somebody waits for
 */
#include "serving.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/mem.h>

#include "names.h"

enum {
	SEARCHES_MAX = 128, /* new anchors per look: some 50 us each */
	LINKS_MAX = 128,    /* links followed per look: some 10 us each */
	CANDIDATES_MAX = 4, /* frames of one lane that are tried */
	TEXT_BYTES = 80,
	OBJECT_HEAD_MAX = 64,
	KEPT_LOOKS = 200, /* an anchor not met for so long is forgotten */
	VAIN_MAX = 6u,    /* one that led nowhere is tried again after 2, 4 .. 64 looks */
	ASK_AGAIN_LOOKS = 10,
	PARENTS_MAX = 4
};

enum row_kind {
	ROW_KEY,   /* leads to the traceparent */
	ROW_HIDES, /* requests wait where they cannot be seen: who is not found may be there */
	ROW_FUTURE /* leads to a future: whoever waits for it is served */
};

/* One line per fact: such a frame of such a file holds it in this variable, over there. No file: any; no function: any. */
static const struct row {
	const char *server, *file_end, *function, *local;
	enum row_kind kind;
	struct py_step steps[4];
} rows[] = {
	{ "uvicorn", "/uvicorn/protocols/http/httptools_impl.py", "RequestResponseCycle.run_asgi", "self",
		ROW_KEY,
		{ { PY_STEP_ATTR, "scope" }, { PY_STEP_ITEM, "headers" }, { PY_STEP_PAIR, "traceparent" } } },
	{ "uvicorn", "/uvicorn/protocols/http/h11_impl.py", "RequestResponseCycle.run_asgi", "self", ROW_KEY,
		{ { PY_STEP_ATTR, "scope" }, { PY_STEP_ITEM, "headers" }, { PY_STEP_PAIR, "traceparent" } } },
	{ "asgi", NULL, NULL, "scope", ROW_KEY,
		{ { PY_STEP_ITEM, "headers" }, { PY_STEP_PAIR, "traceparent" } } },
	{ "wsgi", NULL, NULL, "environ", ROW_KEY, { { PY_STEP_ITEM, "HTTP_TRACEPARENT" } } },
	{ "gevent", "/gevent/hub.py", "Hub.run", "self", ROW_HIDES, { { 0 } } },
	{ "gevent", "/gunicorn/workers/ggevent.py", "GeventWorker.handle", "self", ROW_HIDES, { { 0 } } },
	{ "django", "/django/core/handlers/base.py", "BaseHandler.get_response_async", "request", ROW_KEY,
		{ { PY_STEP_ATTR, "scope" }, { PY_STEP_ITEM, "headers" }, { PY_STEP_PAIR, "traceparent" } } },
	{ "anyio", "/anyio/_backends/_asyncio.py", "WorkerThread.run", "future", ROW_FUTURE, { { 0 } } },
	{ "executor", "/concurrent/futures/thread.py", "_WorkItem.run", "self", ROW_FUTURE,
		{ { PY_STEP_ATTR, "future" } } },
};

/* What was found in one frame, and what proves that it still holds. */
struct anchor {
	uint64_t frame;
	uint64_t slot, slot_value;
	uint64_t
		object; /* that holds the text; its first word counts its owners: freed, it would not be a count */
	uint32_t object_bytes; /* up to the end of the text */
	uint32_t text_at;
	char text[TEXT_BYTES];
	uint64_t span;               /* 0: it led nowhere */
	uint64_t task;               /* in whose frames it was met last; 0: in none */
	unsigned vain;               /* so many times */
	uint64_t met, tried, proven; /* numbers of looks */
};

/* One lane of the look at work. */
struct lane {
	const struct py_frame *frames;
	size_t count;
	struct served *out;
	size_t future_frame; /* 1 + index of the frame with ROW_FUTURE; 0: none */
	uint64_t task;       /* its address; 0: a thread */
	uint64_t tid;        /* of a thread */
	bool loop;           /* an event loop's */
	uint64_t waits_for;
	uint64_t anchored; /* the frame its key was found in */
};

struct search {
	struct serving *s;
	struct py_process *p;
	struct map tasks;   /* address -> index of its lane */
	struct map waiting; /* what a task awaits -> index of its lane */
	struct lane *lanes;
	size_t lane_count, thread_count;
	unsigned searches, links;
};

uint64_t span_of_traceparent(const char *text)
{
	enum { SPAN_AT = 36, SPAN_DIGITS = 16 };
	char digits[SPAN_DIGITS + 1];
	if (strlen(text) < SPAN_AT + SPAN_DIGITS || text[2] != '-' || text[SPAN_AT - 1] != '-')
		return 0;
	memcpy(digits, text + SPAN_AT, SPAN_DIGITS);
	digits[SPAN_DIGITS] = '\0';
	if (strspn(digits, "0123456789abcdef") != SPAN_DIGITS)
		return 0;
	return strtoull(digits, NULL, 16);
}

/* --- rows --- */
/* 0: none; else row + 1 above the place of the variable. Looked up once per code object. */
static uint64_t row_find(struct py_process *p, const struct py_code *code)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];
		if (!code_is(code, r->file_end, r->function))
			continue;
		int local = py_code_local(p, code, r->local);
		if (local >= 0)
			return (uint64_t)(i + 1) << 16 | (uint64_t)local;
	}
	return 0;
}

static const struct row *row_of(struct search *x, const struct py_frame *f, int *local)
{
	uint64_t packed;
	if (f->code == NULL || f->addr == 0)
		return NULL;
	if (!map_get(&x->s->rows, f->code->id, &packed)) {
		packed = row_find(x->p, f->code);
		map_put(&x->s->rows, f->code->id, packed);
	}
	*local = (int)(packed & 0xffff);
	return packed != 0 ? &rows[(packed >> 16) - 1] : NULL;
}

/* --- anchors --- */
static struct anchor *anchor_at(struct serving *s, uint64_t frame)
{
	uint64_t found;
	return map_get(&s->anchors, frame, &found) ? (struct anchor *)(uintptr_t)found : NULL;
}

static struct anchor *anchor_for(struct serving *s, uint64_t frame)
{
	struct anchor *a = anchor_at(s, frame);
	if (a == NULL) {
		a = xcalloc(1, sizeof *a);
		a->frame = frame;
		map_put(&s->anchors, frame, (uint64_t)(uintptr_t)a);
	}
	a->met = s->looks;
	return a;
}

/* What the variable holds now, as it stands in the frame; 0: nothing. */
static uint64_t slot_read(struct search *x, const struct py_frame *f, int local, uint64_t *slot)
{
	uint64_t object, value = 0;
	struct py_part part = { 0, &value, sizeof value };
	if (!py_local(x->p, f, local, slot, &object))
		return 0;
	part.addr = *slot;
	py_peek(x->p, &part, 1);
	return part.len != 0 ? value : 0;
}

/* Shall it be searched (again)? One that led nowhere is asked again soon, then ever more seldom, while it holds the same. */
static bool anchor_due(struct search *x, struct anchor *a, const struct py_frame *f, int local)
{
	uint64_t slot;
	if (a->tried == 0 || a->span != 0 || x->s->looks - a->tried >= UINT64_C(1) << MIN(a->vain, VAIN_MAX))
		return true;
	if (slot_read(x, f, local, &slot) == a->slot_value)
		return false;
	a->vain = 0;
	return true;
}

/* Follows the row from the frame; leaves in the anchor what was found and how to prove it. */
static void anchor_search(
	struct search *x, struct anchor *a, const struct py_frame *f, const struct row *r, int local)
{
	uint64_t from, object, data, again;
	char text[TEXT_BYTES];
	a->span = 0;
	a->proven = 0;
	a->tried = x->s->looks;
	a->vain++;
	a->slot_value = slot_read(x, f, local, &a->slot);
	if (!py_local(x->p, f, local, &a->slot, &from) || !py_follow(x->p, from, r->steps, &object) ||
		!py_text(x->p, object, text, sizeof text, &data) || data - object > OBJECT_HEAD_MAX)
		return;
	/* The variable is read after the text: what it leads to has not been exchanged meanwhile. */
	if (!py_local(x->p, f, local, &a->slot, &again) || again != from)
		return;
	a->slot_value = slot_read(x, f, local, &a->slot);
	a->span = a->slot_value != 0 ? span_of_traceparent(text) : 0;
	if (a->span != 0)
		a->vain = 0;
	a->object = object;
	a->text_at = (uint32_t)(data - object);
	a->object_bytes = a->text_at + (uint32_t)strlen(text);
	memcpy(a->text, text, sizeof text);
	a->proven = a->span != 0 ? x->s->looks : 0;
}

/* All anchors met in this look, in one read. */
static void anchors_prove(struct search *x, struct anchor **anchors, size_t count)
{
	enum { BYTES = OBJECT_HEAD_MAX + TEXT_BYTES };
	struct py_part *parts = xcalloc(2 * count + 1, sizeof *parts);
	uint64_t *slots = xcalloc(count + 1, sizeof *slots);
	char(*objects)[BYTES] = xcalloc(count + 1, BYTES);
	for (size_t i = 0; i < count; i++) {
		parts[2 * i] = (struct py_part){ anchors[i]->slot, &slots[i], sizeof slots[i] };
		parts[2 * i + 1] =
			(struct py_part){ anchors[i]->object, objects[i], anchors[i]->object_bytes };
	}
	py_peek(x->p, parts, 2 * count);
	for (size_t i = 0; i < count; i++) {
		struct anchor *a = anchors[i];
		bool holds = parts[2 * i].len != 0 && parts[2 * i + 1].len != 0 &&
			     slots[i] == a->slot_value && py_alive(x->p, objects[i]) &&
			     memcmp(objects[i] + a->text_at, a->text, a->object_bytes - a->text_at) == 0;
		a->proven = holds ? x->s->looks : 0;
	}
	free(objects);
	free(slots);
	free(parts);
}

/* --- lanes --- */

/* Calls back for each frame of the lane that has a row, root first. */
typedef bool (*candidate_fn)(
	struct search *x, struct lane *l, const struct py_frame *f, const struct row *r, int local);

static void lane_candidates(struct search *x, struct lane *l, candidate_fn take)
{
	unsigned tried = 0;
	for (size_t i = l->count; i-- > 0 && tried < CANDIDATES_MAX;) {
		int local;
		const struct row *r = row_of(x, &l->frames[i], &local);
		if (r == NULL)
			continue;
		if (r->kind == ROW_HIDES)
			continue;
		if (r->kind == ROW_FUTURE) {
			l->future_frame = i + 1;
			continue;
		}
		tried++;
		if (take(x, l, &l->frames[i], r, local))
			return;
	}
}

static bool known_take(
	struct search *x, struct lane *l, const struct py_frame *f, const struct row *r, int local)
{
	(void)r;
	(void)local;
	struct anchor *a = anchor_at(x->s, f->addr);
	if (a == NULL || a->span == 0)
		return false;
	a->met = x->s->looks;
	l->anchored = f->addr;
	return true;
}

static void anchored_take(struct search *x, struct lane *l, struct anchor *a)
{
	l->anchored = a->frame;
	if (l->task != 0) /* on the loop's thread it still is the frame of the task it was met in */
		a->task = l->task;
	*l->out = (struct served){ a->span, IPC_SERVES_REQUEST };
	if (l->task != 0)
		map_put(&x->s->by_task, l->task, a->frame);
}

static bool proven_or_searched_take(
	struct search *x, struct lane *l, const struct py_frame *f, const struct row *r, int local)
{
	struct anchor *a = anchor_for(x->s, f->addr);
	if (a->proven != x->s->looks && anchor_due(x, a, f, local)) {
		if (x->searches++ >= SEARCHES_MAX) {
			x->s->whole = false;
			return true;
		}
		anchor_search(x, a, f, r, local);
	}
	if (a->proven != x->s->looks)
		return false;
	anchored_take(x, l, a);
	return true;
}

static void lanes_anchor(struct search *x)
{
	struct anchor **known = xcalloc(x->lane_count + 1, sizeof(struct anchor *));
	size_t count = 0;
	for (size_t i = 0; i < x->lane_count; i++) {
		lane_candidates(x, &x->lanes[i], known_take);
		if (x->lanes[i].anchored != 0)
			known[count++] = anchor_at(x->s, x->lanes[i].anchored);
	}
	anchors_prove(x, known, count);
	free(known);
	for (size_t i = 0; i < x->lane_count; i++) {
		struct anchor *a = anchor_at(x->s, x->lanes[i].anchored);
		if (a != NULL && a->proven == x->s->looks)
			anchored_take(x, &x->lanes[i], a);
		else
			lane_candidates(x, &x->lanes[i], proven_or_searched_take);
	}
}

/* --- links --- */

/* The anchor in the frames of this task, as it was when they were read last. Addresses are used again: a frame met in another
 * task since then says nothing of this one. */
static struct anchor *anchor_of_task(struct search *x, uint64_t task)
{
	uint64_t frame;
	struct anchor *a = map_get(&x->s->by_task, task, &frame) ? anchor_at(x->s, frame) : NULL;
	return a != NULL && a->span != 0 && a->task == task ? a : NULL;
}

/* Whom a task serves: known in this look, or from before and proven now. */
static struct served task_serves(struct search *x, uint64_t task, unsigned depth);

static struct served waiter_serves(struct search *x, uint64_t future, unsigned depth)
{
	struct served nobody = { 0, IPC_SERVES_UNKNOWN };
	if (depth == 0 || x->links++ >= LINKS_MAX)
		return nobody;
	uint64_t index;
	if (map_get(&x->waiting, future, &index)) /* seen in this very look: needs no reading */
		return task_serves(x, x->lanes[index].task, depth - 1);
	uint64_t task = py_waiting_task(x->p, future);
	return task != 0 ? task_serves(x, task, depth - 1) : nobody;
}

static struct served task_serves(struct search *x, uint64_t task, unsigned depth)
{
	uint64_t index;
	if (map_get(&x->tasks, task, &index)) {
		struct lane *l = &x->lanes[index];
		if (l->out->who != IPC_SERVES_REQUEST)
			*l->out = waiter_serves(x, task, depth);
		return *l->out;
	}
	struct anchor *a = anchor_of_task(x, task);
	if (a != NULL) {
		anchors_prove(x, &a, 1);
		if (a->proven == x->s->looks)
			return (struct served){ a->span, IPC_SERVES_REQUEST };
	}
	return waiter_serves(x, task, depth);
}

/* The task that a thread of a pool works for. It holds while the thread's frame still holds the future and the task still awaits
 * it: a future that is awaited is not freed, so no other can stand in its place. */
struct job {
	uint64_t slot, future; /* where the frame holds it */
	uint64_t task, anchored;
	uint64_t span;   /* what the anchor said then */
	uint64_t proven; /* number of a look */
};

/* The anchor that says whom it is for; NULL: it says something else by now. */
static struct anchor *job_anchor(struct search *x, const struct job *job)
{
	struct anchor *a = anchor_at(x->s, job->anchored);
	return a != NULL && a->span == job->span && a->task == job->task ? a : NULL;
}

static struct job *job_at(struct serving *s, uint64_t frame)
{
	uint64_t found;
	return map_get(&s->jobs, frame, &found) ? (struct job *)(uintptr_t)found : NULL;
}

static void jobs_clear(struct serving *s)
{
	size_t at = 0;
	uint64_t key, value;
	while (map_next(&s->jobs, &at, &key, &value))
		free((struct job *)(uintptr_t)value);
	map_clear(&s->jobs);
}

/* All jobs met in this look, in one read. */
static void jobs_prove(struct search *x)
{
	struct job **jobs = xcalloc(x->thread_count + 1, sizeof(struct job *));
	struct anchor **anchors = xcalloc(x->thread_count + 1, sizeof(struct anchor *));
	size_t count = 0, anchor_count = 0;
	for (size_t i = 0; i < x->thread_count; i++) {
		const struct lane *l = &x->lanes[i];
		struct job *job =
			l->future_frame != 0 ? job_at(x->s, l->frames[l->future_frame - 1].addr) : NULL;
		if (job == NULL)
			continue;
		jobs[count++] = job;
		struct anchor *a = job_anchor(x, job);
		if (a != NULL && a->proven != x->s->looks)
			anchors[anchor_count++] = a;
	}
	uint64_t(*now)[2] = xcalloc(count + 1, sizeof *now);
	struct py_part *parts = xcalloc(2 * count + 1, sizeof *parts);
	for (size_t i = 0; i < count; i++) {
		parts[2 * i] = (struct py_part){ jobs[i]->slot, &now[i][0], sizeof now[i][0] };
		parts[2 * i + 1] = (struct py_part){ py_task_awaits_slot(x->p, jobs[i]->task), &now[i][1],
			sizeof now[i][1] };
	}
	anchors_prove(x, anchors, anchor_count);
	py_peek(x->p, parts, 2 * count);
	for (size_t i = 0; i < count; i++)
		if (parts[2 * i].len != 0 && parts[2 * i + 1].len != 0 && now[i][0] == jobs[i]->future &&
			now[i][1] == jobs[i]->future)
			jobs[i]->proven = x->s->looks;
	free(parts);
	free(now);
	free(anchors);
	free(jobs);
}

/* As it was at an earlier look, and proven in this one. false: it must be searched. */
static bool job_known(struct search *x, const struct py_frame *f, struct served *out)
{
	const struct job *job = job_at(x->s, f->addr);
	struct anchor *a = job != NULL && job->proven == x->s->looks ? job_anchor(x, job) : NULL;
	if (a == NULL || a->proven != x->s->looks)
		return false;
	a->met = x->s->looks;
	*out = (struct served){ a->span, IPC_SERVES_REQUEST };
	return true;
}

static void job_keep(
	struct search *x, const struct py_frame *f, uint64_t slot, uint64_t future, uint64_t span)
{
	uint64_t task = 0, index;
	if (map_get(&x->waiting, future, &index))
		task = x->lanes[index].task;
	else
		task = py_waiting_task(x->p, future);
	struct anchor *a = task != 0 ? anchor_of_task(x, task) : NULL;
	if (a == NULL || a->proven != x->s->looks || a->span != span)
		return;
	struct job *job = job_at(x->s, f->addr);
	if (job == NULL) {
		job = xcalloc(1, sizeof *job);
		map_put(&x->s->jobs, f->addr, (uint64_t)(uintptr_t)job);
	}
	*job = (struct job){
		.slot = slot, .future = future, .task = task, .anchored = a->frame, .span = span
	};
}

static void lane_link(struct search *x, struct lane *l)
{
	int local;
	uint64_t slot, object, future, again;
	const struct py_frame *f = &l->frames[l->future_frame - 1];
	if (job_known(x, f, l->out))
		return;
	const struct row *r = row_of(x, f, &local);
	if (r == NULL || !py_local(x->p, f, local, &slot, &object) ||
		!py_follow(x->p, object, r->steps, &future))
		return;
	struct served who = waiter_serves(x, future, PARENTS_MAX);
	if (!py_local(x->p, f, local, &slot, &again) || again != object)
		return;
	*l->out = who;
	if (future == object && who.who == IPC_SERVES_REQUEST)
		job_keep(x, f, slot, future, who.span);
}

/* A task that runs on the loop just now, without a request in its own frames: perhaps somebody waits for it. */
static void loop_link(struct search *x, struct lane *l)
{
	uint64_t task = py_running_task(x->p, l->frames, l->count);
	if (task == 0)
		return;
	*l->out = waiter_serves(x, task, PARENTS_MAX);
	if (l->out->who == IPC_SERVES_UNKNOWN)
		l->out->who = IPC_SERVES_TASK;
}

/* What was found by asking who waits for a task. It holds for some looks, while the task awaits the same thing: a task that
 * has not gone on is the same task. */
struct link {
	struct served who;
	uint64_t look, waits_for;
};

/* A task without a request in its own frames: perhaps somebody waits for it. */
static void task_link(struct search *x, struct lane *l)
{
	uint64_t found;
	struct link *link;
	if (map_get(&x->s->links, l->task, &found)) {
		link = (struct link *)(uintptr_t)found;
		if (link->waits_for == l->waits_for && x->s->looks - link->look < ASK_AGAIN_LOOKS) {
			*l->out = link->who;
			return;
		}
	} else {
		link = xcalloc(1, sizeof *link);
		map_put(&x->s->links, l->task, (uint64_t)(uintptr_t)link);
	}
	*l->out = waiter_serves(x, l->task, PARENTS_MAX);
	*link = (struct link){ *l->out, x->s->looks, l->waits_for };
}

static void lanes_link(struct search *x)
{
	jobs_prove(x);
	for (size_t i = 0; i < x->lane_count; i++) {
		struct lane *l = &x->lanes[i];
		if (l->out->who == IPC_SERVES_REQUEST)
			continue;
		if (l->future_frame != 0)
			lane_link(x, l);
		else if (l->task != 0)
			task_link(x, l);
		else if (l->loop)
			loop_link(x, l);
	}
}

/* A stack is read first, and whom it serves after that: meanwhile a thread may have gone on to the next request. It did not where
 * it served the same one at the look before. */
static void threads_confirm(struct search *x)
{
	struct map now = { 0 };
	for (size_t i = 0; i < x->thread_count; i++) {
		struct lane *l = &x->lanes[i];
		uint64_t before;
		if (l->loop || l->out->span == 0)
			continue;
		map_put(&now, l->tid, l->out->span);
		if (!map_get(&x->s->by_thread, l->tid, &before) || before != l->out->span)
			*l->out = (struct served){ 0, IPC_SERVES_UNKNOWN };
	}
	map_clear(&x->s->by_thread);
	x->s->by_thread = now;
}

/* --- keeping --- */
static void links_clear(struct serving *s)
{
	size_t at = 0;
	uint64_t key, value;
	while (map_next(&s->links, &at, &key, &value))
		free((struct link *)(uintptr_t)value);
	map_clear(&s->links);
}

static void anchors_sweep(struct serving *s)
{
	size_t at = 0;
	uint64_t key, value;
	struct map kept = { 0 };
	while (map_next(&s->anchors, &at, &key, &value)) {
		struct anchor *a = (struct anchor *)(uintptr_t)value;
		if (s->looks - a->met > KEPT_LOOKS)
			free(a);
		else
			map_put(&kept, key, value);
	}
	map_clear(&s->anchors);
	s->anchors = kept;
	map_clear(&s->by_task);
	links_clear(s);
	jobs_clear(s);
}

static struct served *served_reserve(struct served **array, size_t *capacity, size_t count)
{
	if (*capacity < count) {
		*capacity = count * 2;
		*array = xrealloc(*array, *capacity * sizeof **array);
	}
	if (count != 0)
		memset(*array, 0, count * sizeof **array);
	return *array;
}

static void lanes_gather(struct search *x, const struct py_sample *sample, size_t task_count)
{
	struct serving *s = x->s;
	struct served *threads = served_reserve(&s->threads, &s->thread_capacity, sample->thread_count);
	struct served *tasks = served_reserve(&s->tasks, &s->task_capacity, task_count);
	x->lanes = xcalloc(sample->thread_count + task_count + 1, sizeof *x->lanes);
	for (size_t i = 0; i < sample->thread_count; i++) {
		const struct py_thread *t = &sample->threads[i];
		if (t->state == PY_STATE_IDLE) /* what it still holds is of the last one it served */
			continue;
		x->lanes[x->lane_count++] = (struct lane){ .frames = t->frames,
			.count = t->frame_count,
			.out = &threads[i],
			.tid = t->tid,
			.loop = t->runs_event_loop };
	}
	x->thread_count = x->lane_count;
	for (size_t i = 0; i < task_count; i++) {
		const struct py_task *t = &sample->tasks[i];
		map_put(&x->tasks, t->address, x->lane_count);
		if (t->waits_for != 0)
			map_put(&x->waiting, t->waits_for, x->lane_count);
		x->lanes[x->lane_count++] = (struct lane){ .frames = t->frames,
			.count = t->frame_count,
			.out = &tasks[i],
			.task = t->address,
			.waits_for = t->waits_for };
	}
}

/* Also of idle threads: where the hub of greenlets waits, requests are hidden. */
static void hiding_look(struct search *x, const struct py_sample *sample)
{
	for (size_t i = 0; !x->s->hides && i < sample->thread_count; i++)
		for (size_t k = 0; k < sample->threads[i].frame_count; k++) {
			int local;
			const struct row *r = row_of(x, &sample->threads[i].frames[k], &local);
			x->s->hides |= r != NULL && r->kind == ROW_HIDES;
		}
}

void serving_look(struct serving *s, struct py_process *p, const struct py_sample *sample, bool tasks)
{
	struct search x = { .s = s, .p = p };
	s->looks++;
	s->whole = tasks && !sample->tasks_cut;
	hiding_look(&x, sample);
	lanes_gather(&x, sample, tasks ? sample->task_count : 0);
	lanes_anchor(&x);
	lanes_link(&x);
	threads_confirm(&x);
	s->whole &= !s->hides;
	free(x.lanes);
	map_clear(&x.tasks);
	map_clear(&x.waiting);
	if (s->looks % KEPT_LOOKS == 0)
		anchors_sweep(s);
}

void serving_clear(struct serving *s)
{
	size_t at = 0;
	uint64_t key, value;
	while (map_next(&s->anchors, &at, &key, &value))
		free((struct anchor *)(uintptr_t)value);
	map_clear(&s->anchors);
	map_clear(&s->by_task);
	map_clear(&s->by_thread);
	links_clear(s);
	jobs_clear(s);
	map_clear(&s->rows);
	free(s->threads);
	free(s->tasks);
	*s = (struct serving){ .hides = s->hides };
}
