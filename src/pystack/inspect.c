/* inspect.c - objects of a process, looked at by those who know what to look for.
 *
 *   frame -> local variable -> attribute, item, ... -> bytes or str        py_local, py_follow, py_text
 *   future -> its callback -> the task that waits for it                   py_waiting_task
 *
 * Containers are clamped, each hop checks the type of what it stands on, and nothing is followed further than a few hops.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "process.h"
#include "text.h"

enum {
	LOCALS_MAX = 512,
	PAIRS_MAX = 256,
	NAME_BYTES = 64,
	CELLS_MAX = 16,
	BASES_MAX = 8,
	MEMBERS_MAX = 32,
	MEMBER_BYTES = 40,
	SLOT_OFFSET_MAX = 4096,
	HELD_WORDS_MAX = 32,
	CALLBACKS_MAX = 8,
	WAITING_HOPS_MAX = 6,
	KIND_SHARED = 0x40 | 0x80, /* a cell of its own, or one of an outer function */
	PEEK_CHUNK = 512
};

/* The items of a list or tuple; owned by the caller. false: neither, too long, or unreadable. */
static bool items_read(struct py_process *p, uint64_t object, size_t max, uint64_t **items, size_t *count)
{
	const struct py_layout *l = &p->layout;
	enum type_kind kind = object_kind(p, object);
	uint64_t n, first = object + l->tuple_items;
	*items = NULL;
	*count = 0;
	if ((kind != TYPE_LIST && kind != TYPE_TUPLE) ||
		!mem_read_u64(p->mem, object + l->sequence_count, &n) || n > max)
		return false;
	if (kind == TYPE_LIST && n != 0 &&
		(!mem_read_u64(p->mem, object + l->list_items, &first) || !addr_plausible(first)))
		return false;
	*items = xcalloc(n + 1, sizeof **items);
	*count = n;
	if (n == 0 || mem_read(p->mem, first, *items, n * sizeof **items))
		return true;
	free(*items);
	*items = NULL;
	return false;
}

/* --- locals ---
 *
 * The names of a code object are in one tuple, with a byte for each that says what it is; or in three: its variables,
 * those it shares with inner functions, those it shares with outer ones. A frame has a slot for each, in that order. */

/* Where this name stands in a tuple of names; -1: not there. */
static int name_index(struct py_process *p, uint64_t names, const char *name, size_t *count)
{
	uint64_t *items;
	int found = -1;
	*count = 0;
	if (!items_read(p, names, LOCALS_MAX, &items, count))
		return -1;
	struct text *texts = xcalloc(*count + 1, sizeof *texts);
	char(*out)[NAME_BYTES] = xcalloc(*count + 1, NAME_BYTES);
	for (size_t i = 0; i < *count; i++)
		texts[i] = (struct text){ items[i], out[i], NAME_BYTES, false };
	texts_read(p, texts, *count);
	for (size_t i = 0; i < *count && found < 0; i++)
		if (texts[i].ok && strcmp(out[i], name) == 0)
			found = (int)i;
	free(out);
	free(texts);
	free(items);
	return found;
}

int py_code_local(struct py_process *p, const struct py_code *face, const char *name)
{
	const struct code *code = (const void *)face; /* face is its first member */
	const struct py_layout *l = &p->layout;
	const uint32_t three[] = { l->code_varnames, l->code_cellvars, l->code_freevars };
	uint64_t names;
	size_t count, before = 0;
	int found = -1;
	if (l->code_local_names != PY_NONE)
		return mem_read_u64(p->mem, code->addr + l->code_local_names, &names)
			       ? name_index(p, names, name, &count)
			       : -1;
	/* The last counts: an argument that is shared is moved to its cell when the function begins. */
	for (size_t i = 0; i < ARRAY_LEN(three); i++) {
		if (!mem_read_u64(p->mem, code->addr + three[i], &names))
			return -1;
		int at = name_index(p, names, name, &count);
		if (at >= 0)
			found = (int)before + at;
		before += count;
	}
	return found;
}

static bool local_is_shared(struct py_process *p, const struct code *code, int local)
{
	const struct py_layout *l = &p->layout;
	uint64_t kinds, names, count;
	uint8_t kind;
	if (l->code_local_kinds == PY_NONE)
		return mem_read_u64(p->mem, code->addr + l->code_varnames, &names) &&
		       mem_read_u64(p->mem, names + l->sequence_count, &count) && (uint64_t)local >= count;
	return mem_read_u64(p->mem, code->addr + l->code_local_kinds, &kinds) &&
	       mem_read(p->mem, kinds + l->bytes_data + (uint64_t)local, &kind, 1) &&
	       (kind & KIND_SHARED) != 0;
}

bool py_local(struct py_process *p, const struct py_frame *f, int local, uint64_t *slot, uint64_t *object)
{
	enum { TAGGED_INT = 3 };
	const struct py_layout *l = &p->layout;
	if (f->code == NULL || f->addr == 0 || local < 0)
		return false;
	*slot = f->addr + l->frame_locals + 8ull * (unsigned)local;
	if (!mem_read_u64(p->mem, *slot, object) ||
		(l->ref_tags == TAGGED_INT && (*object & l->ref_tags) == TAGGED_INT))
		return false;
	*object &= ~(uint64_t)l->ref_tags;
	if (!addr_plausible(*object))
		return false;
	if (object_kind(p, *object) == TYPE_CELL && local_is_shared(p, (const void *)f->code, local))
		return mem_read_u64(p->mem, *object + l->cell_value, object) && addr_plausible(*object);
	return true;
}

bool py_alive(const struct py_process *p, const void *head)
{
	const struct py_layout *l = &p->layout;
	uint64_t word = word_at(head, 0);
	if (l->owners == OWNERS_SPLIT) /* of its own thread, and of all others above two bits of state */
		return int_at(head, 12) != 0 || word_at(head, 16) >> 2 != 0;
	/* Freed, the first word is none or an address: a count has nothing where an address has its middle. */
	uint64_t beyond = l->owners == OWNERS_WITH_FLAGS ? word >> 32 & 0xffff : word >> 32;
	return (uint32_t)word != 0 && beyond == 0;
}

/* --- steps --- */

/* The text of a bytes object, cut to out_bytes. */
static bool bytes_read(struct py_process *p, uint64_t object, char *out, size_t out_bytes, uint64_t *data)
{
	uint64_t length;
	if (object_kind(p, object) != TYPE_BYTES ||
		!mem_read_u64(p->mem, object + p->layout.bytes_length, &length))
		return false;
	length = MIN(length, out_bytes - 1);
	*data = object + p->layout.bytes_data;
	out[length] = '\0';
	return length == 0 || mem_read(p->mem, *data, out, length);
}

bool py_text(struct py_process *p, uint64_t object, char *out, size_t out_bytes, uint64_t *data)
{
	if (object_kind(p, object) == TYPE_BYTES)
		return bytes_read(p, object, out, out_bytes, data);
	*data = object + p->layout.text_ascii_data;
	return text_read(p, object, out, out_bytes);
}

/* The second of the pair whose first is `name`: all pairs are read together, then all names. */
static bool pair_find(struct py_process *p, uint64_t list, const char *name, uint64_t *value)
{
	const struct py_layout *l = &p->layout;
	uint64_t *pairs;
	size_t count, len = strlen(name);
	uint32_t head = l->bytes_data;
	if (!items_read(p, list, PAIRS_MAX, &pairs, &count))
		return false;
	uint64_t(*both)[2] = xcalloc(count + 1, sizeof *both);
	struct mem_part *parts = xcalloc(count + 1, sizeof *parts);
	size_t name_bytes = head + len;
	uint8_t *names = xcalloc(count + 1, name_bytes);
	for (size_t i = 0; i < count; i++)
		parts[i] = (struct mem_part){ pairs[i] + l->tuple_items, both[i], sizeof *both };
	mem_read_each(p->mem, parts, count);
	for (size_t i = 0; i < count; i++) {
		bool sane = parts[i].len != 0 && addr_plausible(both[i][0]);
		parts[i] = (struct mem_part){ sane ? both[i][0] : 0, names + i * name_bytes, name_bytes };
	}
	mem_read_each(p->mem, parts, count);
	bool found = false;
	for (size_t i = 0; i < count && !found; i++) {
		const uint8_t *at = names + i * name_bytes;
		found = parts[i].len != 0 && word_at(at, l->bytes_length) == len &&
			strncasecmp((const char *)at + head, name, len) == 0 &&
			type_kind_of(p, word_at(at, l->object_type)) == TYPE_BYTES &&
			object_kind(p, pairs[i]) == TYPE_TUPLE;
		if (found)
			*value = both[i][1];
	}
	free(names);
	free(parts);
	free(both);
	free(pairs);
	return found;
}

static bool first_of(struct py_process *p, uint64_t sequence, uint64_t *value)
{
	uint64_t *items;
	size_t count;
	if (!items_read(p, sequence, PAIRS_MAX, &items, &count))
		return false;
	*value = items[0];
	free(items);
	return count != 0;
}

/* Is this the type of that name? */
static bool type_is_named(struct py_process *p, uint64_t type, const char *name)
{
	uint64_t at;
	char text[NAME_BYTES];
	size_t bytes = strlen(name) + 1;
	return bytes <= sizeof text && mem_read_u64(p->mem, type + p->layout.type_name, &at) &&
	       mem_read(p->mem, at, text, bytes) && memcmp(text, name, bytes) == 0;
}

/* How large an instance is, stands beside the name of its type. */
static bool float_held(struct py_process *p, uint64_t object, const char *type_name, uint64_t *value)
{
	const struct py_layout *l = &p->layout;
	uint64_t type, bytes, words[HELD_WORDS_MAX];
	unsigned floats = 0;
	if (!mem_read_u64(p->mem, object + l->object_type, &type) || !type_is_named(p, type, type_name) ||
		!mem_read_u64(p->mem, type + l->type_name + sizeof(uint64_t), &bytes) ||
		bytes > sizeof words || !mem_read(p->mem, object, words, bytes))
		return false;
	for (size_t i = l->object_type / sizeof *words + 1; i < bytes / sizeof *words; i++)
		if (addr_plausible(words[i]) && object_kind(p, words[i]) == TYPE_FLOAT) {
			*value = words[i];
			floats++;
		}
	return floats == 1;
}

/* Slots are told by the members of the type and its bases: name, kind, offset. */
static bool slot_get(struct py_process *p, uint64_t object, const char *name, uint64_t *value)
{
	const struct py_layout *l = &p->layout;
	uint64_t type, members, member[3];
	char text[NAME_BYTES];
	size_t bytes = strlen(name) + 1;
	if (bytes > sizeof text || !mem_read_u64(p->mem, object + l->object_type, &type))
		return false;
	for (unsigned i = 0; i < BASES_MAX && addr_plausible(type); i++) {
		if (!mem_read_u64(p->mem, type + l->type_members, &members))
			return false;
		for (unsigned k = 0; k < MEMBERS_MAX && members != 0; k++, members += MEMBER_BYTES) {
			if (!mem_read(p->mem, members, member, sizeof member) || member[0] == 0)
				break;
			if (mem_read(p->mem, member[0], text, bytes) && memcmp(text, name, bytes) == 0 &&
				member[2] < SLOT_OFFSET_MAX)
				return mem_read_u64(p->mem, object + member[2], value);
		}
		if (!mem_read_u64(p->mem, type + l->type_base, &type))
			return false;
	}
	return false;
}

bool py_number(struct py_process *p, uint64_t object, double *value)
{
	uint64_t whole;
	if (object_kind(p, object) == TYPE_FLOAT)
		return mem_read(p->mem, object + p->layout.real_value, value, sizeof *value);
	if (!int_read(p, object, &whole))
		return false;
	*value = (double)whole;
	return true;
}

static bool step_take(struct py_process *p, uint64_t from, const struct py_step *s, uint64_t *to)
{
	switch (s->kind) {
	case PY_STEP_END:
		break;
	case PY_STEP_ATTR:
		return attr_get(p, from, s->name, to);
	case PY_STEP_SLOT:
		return slot_get(p, from, s->name, to);
	case PY_STEP_ITEM:
		return object_kind(p, from) == TYPE_DICT && dict_get(p, from, s->name, to);
	case PY_STEP_PAIR:
		return pair_find(p, from, s->name, to);
	case PY_STEP_FLOAT:
		return float_held(p, from, s->name, to);
	case PY_STEP_FIRST:
		return first_of(p, from, to);
	case PY_STEP_SELF:
		return object_kind(p, from) == TYPE_METHOD &&
		       mem_read_u64(p->mem, from + p->layout.method_self, to);
	}
	return false;
}

bool py_follow(struct py_process *p, uint64_t from, const struct py_step *steps, uint64_t *to)
{
	*to = from;
	for (; steps->kind != PY_STEP_END; steps++)
		if (!addr_plausible(*to) || !step_take(p, *to, steps, to))
			return false;
	return addr_plausible(*to);
}

/* --- who waits --- */

/* The future that a closure will complete: what is in its cells tells. */
static uint64_t future_of_closure(struct py_process *p, uint64_t function, uint64_t not_this)
{
	uint64_t closure, *cells, value, found = 0;
	size_t count;
	if (!mem_read_u64(p->mem, function + p->layout.function_closure, &closure) ||
		!items_read(p, closure, CELLS_MAX, &cells, &count))
		return 0;
	for (size_t i = 0; i < count && found == 0; i++)
		if (object_kind(p, cells[i]) == TYPE_CELL &&
			mem_read_u64(p->mem, cells[i] + p->layout.cell_value, &value) && value != not_this &&
			object_kind(p, value) == TYPE_FUTURE)
			found = value;
	free(cells);
	return found;
}

/* The task in which this TaskGroup is: asked once for all tasks of the group. */
static uint64_t task_of_group(struct py_process *p, uint64_t group, struct map *known)
{
	static const struct py_step parent[] = { { PY_STEP_ATTR, "_parent_task" }, { 0 } };
	uint64_t task;
	if (known != NULL && map_get(known, group, &task))
		return task;
	if (!py_follow(p, group, parent, &task) || object_kind(p, task) != TYPE_TASK)
		return 0;
	if (known != NULL)
		map_put(known, group, task);
	return task;
}

/* One hop: what is called when it is done. *task: the end of the way. Returns the next future, or 0. */
static uint64_t callback_hop(
	struct py_process *p, uint64_t callback, uint64_t future, struct map *known, uint64_t *task)
{
	const struct py_layout *l = &p->layout;
	uint64_t next = 0, arguments;
	switch (object_kind(p, callback)) {
	case TYPE_BUILTIN: /* the wake-up of a task */
		if (mem_read_u64(p->mem, callback + l->builtin_self, &next) &&
			object_kind(p, next) == TYPE_TASK)
			*task = next;
		return 0;
	case TYPE_WAKEUP:
		if (mem_read_u64(p->mem, callback + l->wrapper_wrapped, &next) &&
			object_kind(p, next) == TYPE_TASK)
			*task = next;
		return 0;
	case TYPE_PARTIAL: /* wait_for */
		if (!mem_read_u64(p->mem, callback + l->partial_arguments, &arguments) ||
			!first_of(p, arguments, &next) || object_kind(p, next) != TYPE_FUTURE)
			return 0;
		return next;
	case TYPE_FUNCTION: /* gather, run_in_executor */
		return future_of_closure(p, callback, future);
	case TYPE_METHOD: /* TaskGroup */
		if (mem_read_u64(p->mem, callback + l->method_self, &next))
			*task = task_of_group(p, next, known);
		return 0;
	default:
		return 0;
	}
}

/* What is called when this future is done. An asyncio future has its first callback apart, and the others as pairs of
 * (callback, context) in a list; one of another thread (concurrent.futures) has a plain list in an attribute. */
static size_t callbacks_read(struct py_process *p, uint64_t future, uint64_t callbacks[CALLBACKS_MAX])
{
	const struct py_layout *l = &p->layout;
	static const struct py_step of_python[] = { { PY_STEP_ATTR, "_done_callbacks" }, { 0 } };
	enum type_kind kind = object_kind(p, future);
	bool native = kind == TYPE_FUTURE || kind == TYPE_TASK;
	uint64_t list, *items;
	size_t count, n = 0;
	if (native && mem_read_u64(p->mem, future + l->future_callback, &callbacks[n]) &&
		addr_plausible(callbacks[n]))
		n++;
	bool listed = native ? mem_read_u64(p->mem, future + l->future_callbacks, &list)
			     : py_follow(p, future, of_python, &list);
	if (!listed || !items_read(p, list, PAIRS_MAX, &items, &count))
		return n;
	for (size_t i = 0; i < count && n < CALLBACKS_MAX; i++) {
		callbacks[n] = items[i];
		n += native ? first_of(p, items[i], &callbacks[n]) : true;
	}
	free(items);
	return n;
}

static uint64_t waiting_task(struct py_process *p, uint64_t future, struct map *known)
{
	uint64_t task = 0;
	for (unsigned hops = 0; future != 0 && hops < WAITING_HOPS_MAX; hops++) {
		uint64_t callbacks[CALLBACKS_MAX], next = 0;
		size_t count = callbacks_read(p, future, callbacks);
		for (size_t i = 0; i < count && next == 0; i++) {
			next = callback_hop(p, callbacks[i], future, known, &task);
			if (task != 0)
				return task;
		}
		future = next;
	}
	return 0;
}

uint64_t py_waiting_task(struct py_process *p, uint64_t future)
{
	return waiting_task(p, future, NULL);
}

/* Their heads are read together, and what many share (the callback of gather, the group) is followed once. */
void py_waiting_tasks(struct py_process *p, const struct py_task *tasks, size_t count, uint64_t *waiting)
{
	enum { HEAD_BYTES = 72 };
	const struct py_layout *l = &p->layout;
	size_t bytes = MIN((size_t)l->future_callbacks + 8, (size_t)HEAD_BYTES);
	uint8_t(*heads)[HEAD_BYTES] = xcalloc(count + 1, HEAD_BYTES);
	struct mem_part *parts = xcalloc(count + 1, sizeof *parts);
	struct map known = { 0 };
	for (size_t i = 0; i < count; i++)
		parts[i] = (struct mem_part){ tasks[i].address, heads[i], bytes };
	mem_read_each(p->mem, parts, count);
	for (size_t i = 0; i < count; i++) {
		uint64_t callback = word_at(heads[i], l->future_callback),
			 more = word_at(heads[i], l->future_callbacks);
		waiting[i] = 0;
		if (parts[i].len == 0 || (callback == 0 && more == 0) ||
			map_get(&known, callback, &waiting[i]))
			continue;
		waiting[i] = waiting_task(p, tasks[i].address, &known);
		if (more == 0 && waiting[i] != tasks[i].address)
			map_put(&known, callback, waiting[i]);
	}
	map_clear(&known);
	free(parts);
	free(heads);
}

/* Does the coroutine of this task run one of these frames? */
static bool task_runs(struct py_process *p, uint64_t task, const struct py_frame *frames, size_t count)
{
	const struct py_layout *l = &p->layout;
	uint64_t coro, frame;
	if (object_kind(p, task) != TYPE_TASK || !mem_read_u64(p->mem, task + l->task_coro, &coro))
		return false;
	frame = coro + l->gen_frame;
	if (l->coro == CORO_POINTS_TO_FRAME && !mem_read_u64(p->mem, coro + l->gen_frame, &frame))
		return false;
	for (size_t k = 0; k < count; k++)
		if (frames[k].addr == frame)
			return true;
	return false;
}

/* asyncio.tasks has a dict of them: event loop -> task. */
static uint64_t running_in_dict(struct py_process *p, const struct py_frame *frames, size_t count)
{
	uint64_t module, running, found = 0;
	struct entries e;
	if (!module_dict(p, p->interp.addr, "asyncio.tasks", &module) ||
		!dict_get(p, module, "_current_tasks", &running) || !dict_entries(p, running, &e))
		return 0;
	for (size_t i = 0; i < e.count && found == 0; i++)
		if (task_runs(p, e.values[i], frames, count))
			found = e.values[i];
	entries_clear(&e);
	return found;
}

uint64_t py_running_task(struct py_process *p, const struct py_frame *frames, size_t count)
{
	if (p->layout.tasks != TASKS_IN_LISTS)
		return running_in_dict(p, frames, count);
	for (size_t i = 0; i < p->threads.count; i++) {
		uint64_t task = task_running(p, p->threads.all[i]->addr);
		if (task != 0 && task_runs(p, task, frames, count))
			return task;
	}
	return 0;
}

uint64_t py_task_awaits_slot(const struct py_process *p, uint64_t task)
{
	return task + p->layout.task_waiter;
}

void py_futures_done(struct py_process *p, const uint64_t *futures, size_t count, bool *done)
{
	enum { HEAD_BYTES = 136 };
	const struct py_layout *l = &p->layout;
	size_t bytes = MAX((size_t)l->task_state, (size_t)l->object_type + 7) + 1;
	uint8_t(*heads)[HEAD_BYTES] = xcalloc(count + 1, HEAD_BYTES);
	struct mem_part *parts = xcalloc(count + 1, sizeof *parts);
	memset(done, 0, count * sizeof *done);
	for (size_t i = 0; i < count; i++)
		parts[i] = (struct mem_part){ futures[i], heads[i], MIN(bytes, (size_t)HEAD_BYTES) };
	if (bytes <= HEAD_BYTES)
		mem_read_each(p->mem, parts, count);
	for (size_t i = 0; i < count && bytes <= HEAD_BYTES; i++) {
		enum type_kind kind =
			parts[i].len != 0 ? type_kind_of(p, word_at(heads[i], l->object_type)) : TYPE_OTHER;
		done[i] = (kind == TYPE_FUTURE || kind == TYPE_TASK) && heads[i][l->task_state] != 0;
	}
	free(parts);
	free(heads);
}

void py_peek(struct py_process *p, struct py_part *parts, size_t count)
{
	struct mem_part batch[PEEK_CHUNK];
	for (size_t from = 0; from < count; from += PEEK_CHUNK) {
		size_t n = MIN(count - from, (size_t)PEEK_CHUNK);
		for (size_t i = 0; i < n; i++)
			batch[i] = (struct mem_part){ parts[from + i].addr, parts[from + i].into,
				parts[from + i].len };
		mem_read_each(p->mem, batch, n);
		for (size_t i = 0; i < n; i++)
			parts[from + i].len = batch[i].len;
	}
}
