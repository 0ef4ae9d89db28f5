/* task.c - suspended asyncio tasks.
 *
 *   asyncio.tasks.<set> -> weak references -> tasks -> coroutine -> what it awaits -> ... -> innermost coroutine
 */
#include "task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/str.h>

#include "process.h"
#include "text.h"

/* Enough of a coroutine object for its frame and the values most frames hold. */
enum { CORO_BYTES = 384, LOOK_AGAIN_NS = 1000 * 1000 * 1000, AWAIT_RESUME_FROM = 2, UNIT_BYTES = 2 };

/* Finds the sets once; they live as long as the module. */
static bool find_sets(struct py_process *p, uint64_t interp)
{
	struct task_table *t = &p->tasks;
	uint64_t module, weak_set, set;
	if (t->set_count > 0 && t->interp == interp)
		return true;
	uint64_t now = clock_now_ns();
	if (t->looked_at_ns != 0 && now - t->looked_at_ns < LOOK_AGAIN_NS)
		return false;
	t->looked_at_ns = now;
	t->set_count = 0;
	if (!module_dict(p, interp, "asyncio.tasks", &module))
		return false;
	for (size_t i = 0; p->layout.task_sets[i] != NULL && t->set_count < ARRAY_LEN(t->sets); i++) {
		if (dict_get(p, module, p->layout.task_sets[i], &weak_set) &&
			attr_get(p, weak_set, "data", &set))
			t->sets[t->set_count++] = set;
	}
	t->interp = interp;
	return t->set_count > 0;
}

void chain_begin(struct task_table *t, size_t at, uint64_t task)
{
	if (at >= t->chain_capacity) {
		size_t capacity = MAX(at + 1, t->chain_capacity * 2);
		t->chains = xrealloc(t->chains, capacity * sizeof *t->chains);
		memset(t->chains + t->chain_capacity, 0, (capacity - t->chain_capacity) * sizeof *t->chains);
		t->chain_capacity = capacity;
	}
	struct await_chain *c = &t->chains[at];
	c->task = task;
	c->name_addr = c->next = 0;
	c->skip = c->torn = c->kept = c->named = false;
	c->count = c->hop_count = 0;
	chain_take_kept(t, c);
}

/* The tasks of one set; returns how many chains there are now. */
static size_t list_tasks(struct py_process *p, uint64_t set, size_t count, size_t max)
{
	struct task_table *t = &p->tasks;
	uint64_t *references;
	size_t n;
	if (!set_members(p, set, max + 1, &references, &n)) {
		free(references);
		t->set_count = 0;
		p->unreadable++;
		return count;
	}
	uint64_t *targets = xcalloc(n + 1, sizeof *targets);
	struct mem_part *parts = xcalloc(n + 1, sizeof *parts);
	for (size_t i = 0; i < n; i++)
		parts[i] = (struct mem_part){ references[i] + p->layout.weakref_object, &targets[i],
			sizeof *targets };
	mem_read_each(p->mem, parts, n);
	for (size_t i = 0; i < n; i++) {
		if (!addr_plausible(targets[i]))
			continue;
		t->cut |= count >= max;
		if (count < max)
			chain_begin(t, count++, targets[i]);
	}
	free(parts);
	free(targets);
	free(references);
	return count;
}

/* The task objects themselves: the first coroutine of each chain, and its name. */
static void open_tasks(struct py_process *p, size_t count)
{
	const struct py_layout *l = &p->layout;
	uint8_t *bytes = xcalloc(count + 1, TASK_BYTES_MAX);
	struct mem_part *parts = xcalloc(count + 1, sizeof *parts);
	for (size_t i = 0; i < count; i++)
		parts[i] = (struct mem_part){ p->tasks.chains[i].task, bytes + i * TASK_BYTES_MAX,
			l->task_size };
	mem_read_each(p->mem, parts, count);
	for (size_t i = 0; i < count; i++) {
		struct await_chain *c = &p->tasks.chains[i];
		const uint8_t *task = bytes + i * TASK_BYTES_MAX;
		bool none = parts[i].len > 0 && type_kind_of(p, word_at(task, l->object_type)) == TYPE_NONE;
		c->skip = none ||
			  (parts[i].len > 0 && task[l->task_state] != 0); /* dead reference, or finished */
		c->torn = parts[i].len == 0;
		c->next = c->skip || c->torn ? 0 : word_at(task, l->task_coro);
		(void)chain_still(c, c->next, word_at(task, l->task_waiter), word_at(task, l->task_name));
	}
	free(parts);
	free(bytes);
}

/* Those that are not what they were at the last look are walked from their first coroutine on. */
static void begin_walks(struct py_process *p, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct await_chain *c = &p->tasks.chains[i];
		if (c->kept) {
			c->next = 0;
			continue;
		}
		c->count = c->hop_count = 0;
		enum type_kind first = c->next ? object_kind(p, c->next) : TYPE_OTHER;
		if (c->next && first != TYPE_COROUTINE && first != TYPE_GENERATOR)
			c->torn = true, c->next = 0;
	}
}

static bool seen_before(struct await_chain *c, uint64_t object)
{
	for (size_t i = 0; i < c->hop_count; i++) {
		if (c->hops[i] == object)
			return true;
	}
	if (c->hop_count >= AWAIT_HOPS_MAX)
		return true;
	c->hops[c->hop_count++] = object;
	return false;
}

static bool coro_look_inside(
	struct py_process *p, uint64_t object, const uint8_t *bytes, struct coro_look *out)
{
	const struct py_layout *l = &p->layout;
	int8_t state = (int8_t)bytes[l->gen_state];
	*out = (struct coro_look){ .state = CORO_DONE };
	if (state >= l->gen_suspended_from && state <= l->gen_suspended_to)
		out->state = CORO_SUSPENDED;
	else if (state == l->gen_created)
		out->state = CORO_CREATED;
	else if (state == l->gen_running)
		out->state = CORO_RUNNING;
	out->awaits = l->awaits == AWAIT_BY_STATE && state >= l->gen_awaits_from && state <= l->gen_awaits_to;
	out->frame = object + l->gen_frame;
	p->ops.frame_decode(l, out->frame, bytes + l->gen_frame, &out->words);
	if (out->words.stack_end > out->frame + l->frame_locals)
		out->top = out->words.stack_end - 8ull * l->await_slots_down;
	return out->words.owner == l->owner_generator;
}

coro_look_fn *coro_looker(enum coro_shape kind)
{
	static coro_look_fn *const lookers[] = {
		[CORO_HOLDS_FRAME] = coro_look_inside,
		[CORO_POINTS_TO_FRAME] = coro_look_object,
	};
	return lookers[kind];
}

/* The value on top of a suspended frame's stack; 0 when it cannot be told. */
static uint64_t awaited_by(struct py_process *p, uint64_t coro, const uint8_t *bytes, uint64_t top)
{
	uint64_t value = 0;
	if (top == 0)
		return 0;
	if (top > coro && top - coro + 8 <= CORO_BYTES)
		value = word_at(bytes, top - coro);
	else if (!mem_read_u64(p->mem, top, &value))
		return 0;
	return value & ~p->layout.ref_tags;
}

/* A generator may be suspended at a plain yield: only after one for an await its top of stack is what it awaits. */
static bool generator_awaits(struct py_process *p, const struct raw_frame *raw, const struct coro_look *look)
{
	if (p->layout.awaits == AWAIT_BY_STATE)
		return look->awaits;
	uint8_t next[2]; /* the instruction it will resume with, and its argument */
	uint64_t at = raw->code->first_instruction + UNIT_BYTES * ((uint64_t)raw->unit + 1);
	if (!mem_read(p->mem, at, next, sizeof next))
		return false;
	return p->layout.awaits == AWAIT_BY_OPCODE ? next[0] == p->layout.await_opcode
						   : (next[1] & 3) >= AWAIT_RESUME_FROM;
}

static void add_frame(struct await_chain *c, struct raw_frame raw)
{
	c->raw = array_grow(c->raw, &c->capacity, c->count, sizeof *c->raw);
	c->raw[c->count++] = raw;
}

/* Takes one coroutine of the chain, and goes on to what it awaits. */
static void take_coroutine(
	struct py_process *p, struct await_chain *c, const uint8_t *bytes, enum type_kind kind)
{
	struct coro_look look;
	struct raw_frame raw;
	uint64_t object = c->next;
	bool sane = p->ops.coro_look(p, object, bytes, &look);
	c->next = 0;
	if (sane && (look.state == CORO_RUNNING || look.state == CORO_DONE)) {
		c->skip =
			c->count == 0 || look.state == CORO_RUNNING; /* it is on a thread just now, or done */
		return;
	}
	if (!sane || !frame_resolve(p, &look.words, &raw)) {
		add_frame(c, (struct raw_frame){ .kind = PY_FRAME_UNREADABLE });
		c->torn = true;
		return;
	}
	raw.addr = look.frame;
	add_frame(c, raw);
	chain_guard_set(p, c, bytes);
	if (look.state == CORO_SUSPENDED && (kind == TYPE_COROUTINE || generator_awaits(p, &raw, &look)))
		c->next = awaited_by(p, object, bytes, look.top);
}

/* How much of a coroutine must be read. */
static size_t coro_head(const struct py_layout *l)
{
	return l->gen_frame + (l->coro == CORO_HOLDS_FRAME ? l->frame_size : 8);
}

/* One hop of one chain, from the bytes of the object it stands at. */
static void hop(struct py_process *p, struct await_chain *c, const uint8_t *bytes, size_t len)
{
	const struct py_layout *l = &p->layout;
	enum type_kind kind = len > 0 ? type_kind_of(p, word_at(bytes, l->object_type)) : TYPE_OTHER;
	bool frame_read = len >= coro_head(l);
	if (seen_before(c, c->next)) {
		add_frame(c, (struct raw_frame){ .kind = PY_FRAME_TRUNCATED });
		c->next = 0;
		return;
	}
	switch (kind) {
	case TYPE_COROUTINE:
	case TYPE_GENERATOR:
	case TYPE_ASYNC_GENERATOR:
		if (frame_read) {
			take_coroutine(p, c, bytes, kind);
			return;
		}
		break;
	case TYPE_AWAITS_NEXT:
		c->next = word_at(bytes, l->wrapper_wrapped);
		return;
	default:
		break;
	}
	c->next = 0; /* a future, or something else that is not Python code: the chain ends above it */
}

/* Reads the objects all chains stand at, in one call; returns how many chains go on. */
static size_t hop_all(
	struct py_process *p, size_t count, uint8_t *bytes, struct mem_part *parts, size_t *which)
{
	size_t n = 0, go_on = 0;
	for (size_t i = 0; i < count; i++) {
		if (p->tasks.chains[i].next == 0)
			continue;
		if (!addr_plausible(p->tasks.chains[i].next)) {
			p->tasks.chains[i].next = 0;
			continue;
		}
		parts[n] = (struct mem_part){ p->tasks.chains[i].next, bytes + n * CORO_BYTES, CORO_BYTES };
		which[n++] = i;
	}
	mem_read_each(p->mem, parts, n);
	for (size_t k = 0; k < n; k++) {
		struct await_chain *c = &p->tasks.chains[which[k]];
		/* Near the end of an arena the guess may have been too long: the head alone then. */
		size_t len = parts[k].len, head = coro_head(&p->layout);
		if (len == 0 && mem_read(p->mem, c->next, bytes + k * CORO_BYTES, head))
			len = head;
		if (len == 0 && mem_read(p->mem, c->next, bytes + k * CORO_BYTES, 24))
			len = 24;
		hop(p, c, bytes + k * CORO_BYTES, len);
		go_on += c->next != 0;
	}
	return go_on;
}

static void walk_chains(struct py_process *p, size_t count)
{
	uint8_t *bytes = xcalloc(count + 1, CORO_BYTES);
	struct mem_part *parts = xcalloc(count + 1, sizeof *parts);
	size_t *which = xcalloc(count + 1, sizeof *which);
	for (unsigned hops = 0; hops <= AWAIT_HOPS_MAX && hop_all(p, count, bytes, parts, which) > 0; hops++)
		;
	free(which);
	free(parts);
	free(bytes);
}

/* Innermost first, with lines. */
static void show_chain(struct await_chain *c, struct py_task *out)
{
	if (c->frame_capacity < c->count) {
		c->frame_capacity = c->count + TASK_FRAMES_FIRST;
		c->frames = xrealloc(c->frames, c->frame_capacity * sizeof *c->frames);
	}
	for (size_t i = 0; !c->kept && i < c->count; i++)
		c->frames[i] = frame_face(&c->raw[c->count - 1 - i]);
	*out = (struct py_task){
		.address = c->task, .frames = c->frames, .frame_count = c->count, .waits_for = c->waits_for
	};
}

/* A name is read once, while the task keeps it. */
static void read_names(struct py_process *p, size_t count)
{
	struct await_chain *chains = p->tasks.chains;
	struct text *texts = xcalloc(count + 1, sizeof *texts);
	size_t n = 0;
	for (size_t i = 0; i < count; i++)
		if (!chains[i].named)
			texts[n++] = (struct text){ chains[i].name_addr, chains[i].name,
				sizeof chains[i].name, false };
	texts_read(p, texts, n);
	for (size_t i = 0; i < n; i++) {
		uint64_t number; /* a name that nobody asked for yet is only its number */
		if (!texts[i].ok && int_read(p, texts[i].addr, &number))
			snprintf(texts[i].out, texts[i].out_bytes, "Task-%llu", (unsigned long long)number);
	}
	for (size_t i = 0; i < count; i++) {
		chains[i].named = true;
		memcpy(p->tasks.out[i].name, chains[i].name, sizeof chains[i].name);
	}
	free(texts);
}

/* Drops the chains that are not to be shown; the others keep their order. */
static size_t keep_suspended(struct py_process *p, size_t count)
{
	struct await_chain *chains = p->tasks.chains;
	size_t kept = 0;
	for (size_t i = 0; i < count; i++) {
		p->unreadable += chains[i].torn && !chains[i].skip;
		if (chains[i].skip || chains[i].count == 0)
			continue;
		struct await_chain moved = chains[i];
		chains[i] = chains[kept];
		chains[kept++] = moved;
	}
	return kept;
}

static size_t task_sets_read(struct py_process *p, uint64_t interp, size_t max)
{
	size_t count = 0;
	if (!find_sets(p, interp))
		return 0;
	for (size_t i = 0; i < p->tasks.set_count; i++)
		count = list_tasks(p, p->tasks.sets[i], count, max);
	return count;
}

void tasks_read(struct py_process *p, uint64_t interp, size_t max)
{
	struct task_table *t = &p->tasks;
	chains_turn(t);
	t->out_count = 0;
	t->cut = false;
	size_t count =
		p->layout.tasks == TASKS_IN_LISTS ? task_lists_read(p, max) : task_sets_read(p, interp, max);
	open_tasks(p, count);
	chains_prove(p, count);
	begin_walks(p, count);
	walk_chains(p, count);
	count = keep_suspended(p, count);
	if (t->out_capacity < count) {
		t->out_capacity = count * 2;
		t->out = xrealloc(t->out, t->out_capacity * sizeof *t->out);
	}
	for (size_t i = 0; i < count; i++)
		show_chain(&t->chains[i], &t->out[i]);
	read_names(p, count);
	t->out_count = count;
}

static void chains_free(struct await_chain *chains, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(chains[i].raw);
		free(chains[i].frames);
		free(chains[i].guards);
	}
	free(chains);
}

void tasks_clear(struct task_table *t)
{
	chains_free(t->chains, t->chain_capacity);
	chains_free(t->before, t->before_capacity);
	map_clear(&t->by_task);
	task_lists_clear(&t->lists);
	free(t->out);
	*t = (struct task_table){ 0 };
}
