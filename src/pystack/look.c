/* look.c - one look at a process.
 *
 *   gather    one call reads what the last look needed: every thread's stack, and the roots, where they are wanted:
 *             runtime and interpreter, which tell who holds the GIL, whether garbage is collected, and of new interpreters
 *   list      the list of threads is walked in it; new ones join, dead ones leave
 *   stacks    what moved is read again, thread by thread
 *   the rest  names, states, tasks, when asked for
 */
#include "look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>

#include "process.h"
#include "wait.h"

enum { PROOF_EVERY_NS = 5 * 1000 * 1000, ROOTS_EVERY_NS = PROOF_EVERY_NS };

/* What one look holds of the runtime and the interpreters. */
struct look {
	struct py_process *p;
	bool roots;             /* runtime and interpreter are read, too */
	uint64_t gil_read;      /* the one that gil is of; 0 none */
	uint64_t interp;        /* the one being listed */
	struct thread **listed; /* newest first, as Python lists them; owned until they join the table */
	size_t listed_count, listed_capacity;
	size_t guess; /* the index in the old table where the next thread is expected */
	bool list_whole;
	bool collecting;
	bool gil_off;     /* every attached thread may run */
	uint8_t *runtime; /* its window, of RUNTIME_BYTES_MAX */
	uint8_t gil[GIL_BYTES_MAX];
};

static struct mem_part window_part(uint64_t addr, const struct window *w, uint8_t *into)
{
	return (struct mem_part){ addr + w->lo, into, w->hi - w->lo };
}

static uint64_t interp_word(const struct py_process *p, uint32_t offset)
{
	return word_at(p->interp.bytes, offset - p->interp_window.lo);
}

static bool interp_collecting(const struct py_process *p)
{
	if (p->layout.interp_collecting == PY_NONE)
		return false; /* the runtime tells it, once for all */
	return (uint32_t)interp_word(p, p->layout.interp_collecting) != 0;
}

static uint64_t runtime_word(const struct look *look, uint32_t offset)
{
	return word_at(look->runtime, offset - look->p->runtime_window.lo);
}

static void reserve_parts(struct py_process *p, size_t count)
{
	if (p->part_capacity < count) {
		p->part_capacity = count * 2;
		p->parts = xrealloc(p->parts, p->part_capacity * sizeof *p->parts);
	}
}

static bool reads_gil(const struct py_process *p)
{
	return p->layout.gil != GIL_CURRENT_THREAD && p->gil != 0;
}

/* An interpreter keeps its GIL for life. */
static void find_gil(struct py_process *p)
{
	if (p->layout.interp_gil == PY_NONE || p->interp.addr == p->gil_owner)
		return;
	p->gil_owner = p->interp.addr;
	if (!mem_read_u64(p->mem, p->interp.addr + p->layout.interp_gil, &p->gil) || !addr_plausible(p->gil))
		p->gil = 0;
}

/* The thread state that holds the GIL; 0 when none does, or it cannot be told. */
static uint64_t gil_holder(struct look *look)
{
	struct py_process *p = look->p;
	const struct py_layout *l = &p->layout;
	find_gil(p);
	look->gil_off = l->gil == GIL_NONE;
	if (l->gil == GIL_CURRENT_THREAD)
		return runtime_word(look, l->runtime_current_thread);
	if (!reads_gil(p))
		return 0;
	const struct window *w = &p->gil_window;
	if (look->gil_read != p->gil && !mem_read(p->mem, p->gil + w->lo, look->gil, w->hi - w->lo)) {
		p->gil_owner = 0;
		return 0;
	}
	if (l->gil == GIL_NONE) /* there is one all the same: PYTHON_GIL=1, or an extension asked for it */
		look->gil_off = int_at(look->gil, l->gil_enabled - w->lo) == 0;
	bool locked = !look->gil_off && int_at(look->gil, l->gil_locked - w->lo) == 1;
	return locked ? word_at(look->gil, l->gil_holder - w->lo) : 0;
}

/* Without a GIL every attached thread may run. */
static bool may_run(const struct look *look, const struct thread *t, uint64_t holder)
{
	enum { ATTACHED = 1 };
	if (look->gil_off)
		return int_at(t->state, look->p->layout.tstate_state) == ATTACHED;
	return holder == t->addr;
}

/* Where a thread's state is read from: without the roots, the newest one's tells whether there is a newer. */
static uint32_t state_from(const struct look *look, size_t thread)
{
	const struct py_process *p = look->p;
	bool tells = !look->roots && thread + 1 == p->threads.count;
	return tells ? MIN(p->tstate_window.lo, p->layout.tstate_prev) : p->tstate_window.lo;
}

static size_t root_parts(struct look *look, struct mem_part *parts)
{
	struct py_process *p = look->p;
	size_t n = 0;
	if (!look->roots)
		return 0;
	parts[n++] = window_part(p->runtime, &p->runtime_window, look->runtime);
	if (p->interp.addr != 0)
		parts[n++] = window_part(p->interp.addr, &p->interp_window, p->interp.bytes);
	if (reads_gil(p))
		parts[n++] = window_part(p->gil, &p->gil_window, look->gil);
	return n;
}

/* Reads the roots, where they are wanted, and all that is predicted, together. False when nothing could be read. */
static bool gather(struct look *look)
{
	struct py_process *p = look->p;
	size_t wanted = 3;
	for (size_t i = 0; i < p->threads.count; i++)
		wanted += 2 + p->threads.all[i]->region_count;
	reserve_parts(p, wanted);

	size_t at = root_parts(look, p->parts), n = at;
	for (size_t i = p->threads.count; i-- > 0;)
		n += thread_parts(p, p->threads.all[i], state_from(look, i), p->parts + n);
	size_t read = mem_read_parts(p->mem, p->parts, n);
	if (read == 0)
		return false;

	p->interp.fresh = look->roots && p->interp.addr != 0 && read > 1;
	look->gil_read = look->roots && reads_gil(p) && read >= at ? p->gil : 0;
	for (size_t i = p->threads.count; i-- > 0;) {
		struct thread *t = p->threads.all[i];
		thread_parts_read(t, read > at ? read - at : 0);
		at += 1 + (t->wanted ? (t->anchor != 0) + t->region_count : 0);
	}
	return true;
}

/* The thread with this state: from the old table, taken out of it, or new. */
static struct thread *take_thread(struct look *look, uint64_t addr)
{
	struct thread_table *table = &look->p->threads;
	for (size_t i = 0; i < table->count; i++) {
		size_t at = (look->guess + table->count - i) %
			    table->count; /* the table is oldest first, the list newest first */
		struct thread *t = table->all[at];
		if (t == NULL || t->addr != addr)
			continue;
		table->all[at] = NULL;
		look->guess = (at + table->count - 1) % table->count;
		if (t->interp == look->interp)
			return t;
		thread_free(t);
		break;
	}
	return thread_new(addr, look->interp);
}

/* Makes sure that the thread's state is of this look, and of this interpreter. */
static bool refresh(struct py_process *p, struct thread *t)
{
	const struct window *w = &p->tstate_window;
	if (!t->fresh)
		t->fresh = mem_read(p->mem, t->addr + w->lo, t->state + w->lo, w->hi - w->lo);
	return t->fresh && thread_word(t, p->layout.tstate_interp) == t->interp;
}

/* What it is known by tells a new thread in the place of a dead one. */
static void note_identity(struct py_process *p, struct thread *t)
{
	const struct py_layout *l = &p->layout;
	if (thread_is(t, l))
		return;
	bool numbered = l->tstate_native_id != PY_NONE;
	t->identity[0] = thread_word(t, numbered ? l->tstate_native_id : l->tstate_id);
	t->identity[1] = thread_word(t, l->tstate_pthread);
	t->native_id = numbered ? t->identity[0] : tid_of_pthread(p, t->identity[1]);
	t->tid = tid_outside(p, t->native_id);
	t->name[0] = '\0';
	t->name_tries = 0;
	t->name_final = false;
	state_files_close(&t->files);
}

/* A torn list may run in a circle. */
static bool listed_already(const struct look *look, uint64_t addr)
{
	for (size_t i = look->listed_count; i-- > 0;) {
		if (look->listed[i]->addr == addr)
			return true;
	}
	return false;
}

static void list_threads(struct look *look, uint64_t first)
{
	struct py_process *p = look->p;
	for (uint64_t addr = first; addr != 0;) {
		if (!addr_plausible(addr) || look->listed_count >= THREADS_LISTED_MAX ||
			listed_already(look, addr)) {
			look->list_whole = false;
			return;
		}
		struct thread *t = take_thread(look, addr);
		if (!refresh(p, t)) {
			thread_free(t);
			look->list_whole = false;
			return;
		}
		note_identity(p, t);
		look->listed =
			array_grow(look->listed, &look->listed_capacity, look->listed_count, sizeof(void *));
		look->listed[look->listed_count++] = t;
		addr = thread_word(t, p->layout.tstate_next);
	}
}

/* Walks interpreters and their threads. */
static void list_all(struct look *look)
{
	struct py_process *p = look->p;
	const struct py_layout *l = &p->layout;
	uint64_t interp = runtime_word(look, l->runtime_interpreters);
	uint64_t first = interp;
	look->guess = p->threads.count > 0 ? p->threads.count - 1 : 0;
	for (unsigned i = 0; interp != 0 && i < INTERPRETERS_MAX; i++) {
		if (!(i == 0 && p->interp.fresh && p->interp.addr == interp)) {
			struct mem_part part = window_part(interp, &p->interp_window, p->interp.bytes);
			if (mem_read_parts(p->mem, &part, 1) != 1) {
				look->list_whole = false;
				return;
			}
		}
		look->interp = interp;
		look->collecting |= interp_collecting(p);
		uint64_t next = interp_word(p, l->interp_next);
		list_threads(look, interp_word(p, l->interp_threads));
		interp = next;
	}
	p->interp.addr = first;
	p->interp.fresh = false;
}

/* The listed threads become the table, oldest first; those that were not seen again leave. */
static void settle(struct look *look, size_t wanted)
{
	struct thread_table *table = &look->p->threads;
	for (size_t i = 0; i < table->count; i++) {
		if (table->all[i] != NULL)
			thread_free(table->all[i]);
	}
	for (size_t i = 0; i < look->listed_count / 2; i++) {
		struct thread *t = look->listed[i];
		look->listed[i] = look->listed[look->listed_count - 1 - i];
		look->listed[look->listed_count - 1 - i] = t;
	}
	free(table->all);
	table->all = look->listed;
	table->count = look->listed_count;
	look->listed = NULL;
	look->listed_count = look->listed_capacity = 0;
	for (size_t i = 0; i < table->count; i++)
		table->all[i]->wanted = i < wanted;
}

/* Are these the threads of the table, from the newest on? */
static bool threads_unchanged(const struct py_process *p, uint64_t newest)
{
	const struct py_layout *l = &p->layout;
	uint64_t addr = newest;
	for (size_t i = p->threads.count; i-- > 0;) {
		const struct thread *t = p->threads.all[i];
		if (!t->fresh || t->addr != addr || thread_word(t, l->tstate_interp) != t->interp ||
			!thread_is(t, l))
			return false;
		addr = thread_word(t, l->tstate_next);
	}
	return addr == 0;
}

/* Does the list say what the table says? Then nothing has to be built anew: the usual case. A newer thread shows in the
 * roots, and in the state of the one that was the newest so far. */
static bool list_unchanged(const struct look *look)
{
	const struct py_process *p = look->p;
	const struct py_layout *l = &p->layout;
	if (p->threads.count == 0)
		return false;
	const struct thread *newest = p->threads.all[p->threads.count - 1];
	if (!look->roots)
		return threads_unchanged(p, newest->addr) && thread_word(newest, l->tstate_prev) == 0;
	return p->interp.fresh && runtime_word(look, l->runtime_interpreters) == p->interp.addr &&
	       interp_word(p, l->interp_next) == 0 && threads_unchanged(p, interp_word(p, l->interp_threads));
}

/* Without them a look may do that asks for nothing they tell, for a while, once they said that there is a single interpreter. */
static bool roots_wanted(
	const struct py_process *p, const struct py_wants *wants, size_t threads, uint64_t now)
{
	return wants->states || wants->greenlets || p->roots_at_ns == 0 ||
	       now - p->roots_at_ns >= ROOTS_EVERY_NS || p->threads.wanted != threads;
}

static void show_thread(struct look *look, struct thread *t, const struct py_wants *wants, uint64_t holder,
	struct py_thread *out)
{
	struct py_process *p = look->p;
	if (!thread_stack(p, t))
		p->unreadable++;
	frames_resolve(t);
	*out = (struct py_thread){
		.tid = (uint64_t)t->tid,
		.syscall = -1,
		.holds_gil = wants->states && may_run(look, t, holder),
		.is_main = tid_is_main(p, t->native_id),
		.runs_event_loop = state_runs_loop(t),
		.frames = t->frames,
		.frame_count = t->frame_count,
	};
	if (wants->states) {
		out->state = state_read(p, t, &out->syscall);
		out->waits = wait_read(p, t, out->state, holder, wants->locks);
	}
}

static void show_threads(struct look *look, const struct py_wants *wants, struct py_sample *out)
{
	struct py_process *p = look->p;
	uint64_t holder = wants->states ? gil_holder(look) : 0;
	size_t count = 0;
	if (p->out_capacity < p->threads.count) {
		p->out_capacity = p->threads.count * 2;
		p->out_threads = xrealloc(p->out_threads, p->out_capacity * sizeof *p->out_threads);
	}
	for (size_t i = 0; i < p->threads.count; i++) {
		if (p->threads.all[i]->wanted)
			show_thread(look, p->threads.all[i], wants, holder, &p->out_threads[count++]);
	}
	threads_name(p);
	for (size_t i = 0, at = 0; i < p->threads.count; i++) {
		if (p->threads.all[i]->wanted)
			memcpy(p->out_threads[at++].name, p->threads.all[i]->name,
				sizeof p->out_threads[0].name);
	}
	out->threads = p->out_threads;
	out->thread_count = count;
}

/* Made sure of once in a while: is it still the process we attached to? After the reads, so that it covers them. */
static bool proven_same(struct py_process *p, uint64_t now)
{
	if (p->proven_at_ns != 0 && now - p->proven_at_ns < PROOF_EVERY_NS)
		return true;
	p->proven_at_ns = now;
	return p->mem->ops->same(p->mem);
}

static enum py_result look_failed(struct py_process *p)
{
	return p->mem->ops->same(p->mem) ? PY_UNREADABLE : PY_NO_PROCESS;
}

/* Brings the table of threads up to date; false when the list could not be read to its end, twice. */
static bool list(struct look *look, size_t wanted, uint64_t at_ns)
{
	struct py_process *p = look->p;
	if (list_unchanged(look) && p->threads.wanted == wanted) {
		look->collecting = interp_collecting(p);
		p->roots_at_ns = at_ns;
		return true;
	}
	p->roots_at_ns = 0;
	for (unsigned tries = 0; tries < 2; tries++) {
		look->list_whole = true;
		list_all(look);
		settle(look, wanted);
		if (look->list_whole || !gather(look))
			break;
	}
	p->threads.wanted = wanted;
	return look->list_whole;
}

static enum py_result look_once(struct py_process *p, const struct py_wants *wants, struct py_sample *out)
{
	uint8_t runtime[RUNTIME_BYTES_MAX]; /* gather fills it, where the roots are wanted */
	size_t threads = wants->max_threads ? wants->max_threads : THREADS_DEFAULT;
	struct look look = { .p = p, .runtime = runtime };
	*out = (struct py_sample){ .at_ns = clock_now_ns() };
	p->unreadable = 0;
	if (roots_wanted(p, wants, threads, out->at_ns) || !gather(&look) || !list_unchanged(&look)) {
		look.roots = true;
		if (!gather(&look))
			return look_failed(p);
		p->unreadable += !list(&look, threads, out->at_ns);
	}
	if (p->threads.count == 0 && p->unreadable > 0)
		return look_failed(p);
	show_threads(&look, wants, out);
	if (wants->tasks) {
		tasks_read(p, p->interp.addr, wants->max_tasks ? wants->max_tasks : TASKS_DEFAULT);
		out->tasks = p->tasks.out;
		out->task_count = p->tasks.out_count;
		out->tasks_cut = p->tasks.cut;
	}
	if (look.roots && p->layout.runtime_collecting != PY_NONE)
		look.collecting |= (uint32_t)runtime_word(&look, p->layout.runtime_collecting) != 0;
	if (wants->greenlets) {
		greenlets_read(p, p->interp.addr, look.collecting,
			wants->max_greenlets ? wants->max_greenlets : GREENLETS_DEFAULT);
		out->greenlets = p->greenlets.out;
		out->greenlet_count = p->greenlets.out_count;
		out->greenlets_cut = p->greenlets.cut;
	}
	out->gc_running = wants->states && look.collecting;
	out->unreadable = p->unreadable;
	if (!proven_same(p, out->at_ns))
		return PY_NO_PROCESS;
	return out->thread_count > 0 ? PY_OK : PY_NOT_READY;
}

/* Asks all threads to stop that are known and do not yet. Returns how many those are. */
static size_t stop_known(struct py_process *p)
{
	size_t asked = 0;
	for (size_t i = 0; i < p->threads.count; i++) {
		const struct thread *t = p->threads.all[i];
		if (t->wanted && !stops_has(&p->stops, t->tid))
			asked += stops_ask(&p->stops, t->tid);
	}
	return asked;
}

/* Code that was freed, and its memory used again, while nobody looked. Ids go on: those that were given mean nothing else. */
static bool code_is_stale(struct py_process *p)
{
	size_t count;
	uint32_t next_id = p->codes.first_id + (uint32_t)p->codes.count;
	if (!codes_changed(p, NULL, 0, &count))
		return false;
	py_process_forget_code(p);
	p->codes.first_id = next_id;
	return true;
}

static struct native_runs runs_of(const struct thread *t)
{
	struct native_runs runs = { .count = 0 };
	if (t->chain.raw_count > FRAMES_MAX)
		return runs; /* its middle is not shown */
	for (size_t i = 0; i < t->chain.raw_count && runs.count < NATIVE_RUNS_MAX; i++) {
		if (t->chain.raw[i].from_c)
			runs.ends[runs.count++] = (uint32_t)i + 1;
	}
	return runs;
}

/* The C functions of the threads that stand; one that does not has none. */
static void show_natives(struct py_process *p, const struct py_sample *s)
{
	size_t room = s->thread_count * NATIVE_FRAMES_MAX, used = 0, at = 0;
	if (p->native == NULL && (p->native = native_new(p->pid)) == NULL)
		return;
	if (p->native_capacity < room) {
		p->native_capacity = room;
		p->natives = xrealloc(p->natives, room * sizeof *p->natives);
	}
	for (size_t i = 0; i < s->thread_count; i++) {
		struct py_thread *t = &p->out_threads[i];
		t->natives = p->natives + used;
		while (p->threads.all[at]->frames != t->frames) /* those beyond max_threads are not shown */
			at++;
		struct native_runs runs = runs_of(p->threads.all[at]);
		if (stops_stand(&p->stops, (pid_t)t->tid))
			t->native_count = native_stack(
				p->native, (pid_t)t->tid, &runs, p->natives + used, NATIVE_FRAMES_MAX);
		used += t->native_count;
	}
}

/* Those that could not be stopped were read like any that runs: what they showed is not proven. */
static uint32_t count_unstopped(const struct py_process *p)
{
	uint32_t count = 0;
	for (size_t i = 0; i < p->threads.count; i++)
		count += p->threads.all[i]->wanted && !stops_has(&p->stops, p->threads.all[i]->tid);
	return count;
}

/* A first look tells which threads there are; with these standing, a second one is the truth, unless more were born meanwhile. */
static enum py_result look_at_standing(
	struct py_process *p, const struct py_wants *wants, struct py_sample *out)
{
	enum py_result r = p->threads.count > 0 ? PY_OK : look_once(p, wants, out);
	bool all_stand = true;
	for (unsigned tries = 0; tries < STOP_TRIES_MAX && r == PY_OK && all_stand; tries++) {
		bool more = stop_known(p) > 0;
		if (more)
			all_stand = stops_wait(&p->stops);
		if (tries > 0 && !more && !code_is_stale(p))
			break; /* what the last look saw stands still */
		r = look_once(p, wants, out);
	}
	if (r == PY_OK)
		out->unreadable += count_unstopped(p) + !all_stand;
	if (r == PY_OK && wants->native)
		show_natives(p, out);
	return r;
}

enum py_result py_process_sample(struct py_process *p, const struct py_wants *wants, struct py_sample *out)
{
	if (!wants->blocking)
		return look_once(p, wants, out);
	p->stopped = true;
	enum py_result r = look_at_standing(p, wants, out);
	stops_release(&p->stops);
	p->stopped = false;
	return r;
}
