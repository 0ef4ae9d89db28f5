/* wait.c - what a thread that sleeps in a futex waits for, told by where that futex lies.
 *
 *   in the GIL                                    the GIL; whoever holds it
 *   on the thread's own C stack: a parking lot    the word before it is the key: a byte of a lock, of an object, or of the
 *                                                 thread itself, which then stands still for another one
 *   anywhere else: a semaphore                    that of a lock which the innermost frame has in its hands
 *
 * Each way proves itself: the address must be the very one that the kernel names, and what it leads to must be a lock.
 */
#include "wait.h"

#include <string.h>

#include "process.h"

const char *const py_wait_names[] = { "none", "gil", "lock", "rlock", "object", "world" };

enum {
	PARKED_WITHIN = 64 * 1024, /* of the stack pointer */
	VALUES_MAX = 256,          /* of a frame */
	VALUES_FEW = 24,           /* of a frame object, which may lie at the end of what can be read */
	SECTIONS_MAX = 16,         /* one thread is in, nested */
	SECTION_KIND_BITS = 3,
	SECTION_INACTIVE = 1,
	SECTION_OF_TWO = 2
};

static uint64_t tid_of_state(const struct py_process *p, uint64_t tstate)
{
	for (size_t i = 0; tstate != 0 && i < p->threads.count; i++) {
		if (p->threads.all[i]->addr == tstate)
			return (uint64_t)p->threads.all[i]->tid;
	}
	return 0;
}

static uint64_t tid_of_owner(const struct py_process *p, uint64_t pthread)
{
	for (size_t i = 0; pthread != 0 && i < p->threads.count; i++) {
		if (thread_word(p->threads.all[i], p->layout.tstate_pthread) == pthread)
			return (uint64_t)p->threads.all[i]->tid;
	}
	return 0;
}

static struct py_wait wait_for_lock(struct py_process *p, uint64_t lock, enum type_kind kind)
{
	uint64_t owner = 0;
	struct py_wait w = { .kind = kind == TYPE_RLOCK ? PY_WAIT_RLOCK : PY_WAIT_LOCK, .object = lock };
	if (kind == TYPE_RLOCK && mem_read_u64(p->mem, lock + p->layout.lock_owner, &owner))
		w.holder = tid_of_owner(p, owner);
	return w;
}

/* --- a parking lot --- */

/* Is this thread changing the object whose mutex is at that address? The innermost section comes first. */
static bool in_section(struct py_process *p, const struct thread *t, uint64_t mutex)
{
	uint64_t at, section[3]; /* the one around it, its mutex, and the second one of two */
	if (!mem_read_u64(p->mem, t->addr + p->layout.tstate_sections, &at))
		return false;
	for (unsigned i = 0; i < SECTIONS_MAX && at != 0; i++) {
		uint64_t kind = at & SECTION_KIND_BITS;
		if (!mem_read(p->mem, at & ~(uint64_t)SECTION_KIND_BITS, section, sizeof section))
			return false;
		if (!(kind & SECTION_INACTIVE) &&
			(section[1] == mutex || ((kind & SECTION_OF_TWO) && section[2] == mutex)))
			return true;
		at = section[0];
	}
	return false;
}

static uint64_t tid_in_section(struct py_process *p, const struct thread *waiting, uint64_t mutex)
{
	for (size_t i = 0; i < p->threads.count; i++) {
		if (p->threads.all[i] != waiting && in_section(p, p->threads.all[i], mutex))
			return (uint64_t)p->threads.all[i]->tid;
	}
	return 0;
}

static struct py_wait wait_parked(struct py_process *p, const struct thread *t)
{
	const struct py_layout *l = &p->layout;
	uint64_t key, stopper = 0;
	if (!mem_read_u64(p->mem, t->futex - sizeof key, &key))
		return (struct py_wait){ 0 };
	if (l->tstate_state != PY_NONE && key == t->addr + l->tstate_state) {
		if (!mem_read_u64(p->mem, t->interp + l->interp_stopper, &stopper))
			stopper = 0;
		return (struct py_wait){ .kind = PY_WAIT_WORLD, .holder = tid_of_state(p, stopper) };
	}
	enum type_kind kind = object_kind(p, key - l->lock_inner);
	if (kind == TYPE_LOCK || kind == TYPE_RLOCK)
		return wait_for_lock(p, key - l->lock_inner, kind);
	if (l->object_mutex != PY_NONE && object_kind(p, key - l->object_mutex) != TYPE_UNKNOWN)
		return (struct py_wait){ PY_WAIT_OBJECT, key - l->object_mutex, tid_in_section(p, t, key) };
	return (struct py_wait){ 0 };
}

/* --- a semaphore --- */

/* The values of the innermost frame, its stack included; what lies behind them does no harm. */
static size_t leaf_values(struct py_process *p, const struct thread *t, uint64_t *values)
{
	const struct py_layout *l = &p->layout;
	const struct raw_frame *leaf = t->chain.raw_count > 0 ? &t->chain.raw[0] : NULL;
	size_t count = VALUES_FEW;
	if (leaf == NULL || leaf->code == NULL || leaf->addr == 0)
		return 0;
	if (l->shape == FRAME_INTERPRETER)
		count = leaf->code->frame_bytes > l->frame_locals
				? MIN((leaf->code->frame_bytes - l->frame_locals) / 8, VALUES_MAX)
				: 0;
	if (count == 0 || !mem_read(p->mem, leaf->addr + l->frame_locals, values, count * sizeof *values))
		return 0;
	for (size_t i = 0; i < count; i++)
		values[i] &= ~(uint64_t)l->ref_tags;
	return count;
}

/* Of each of these objects the word at that offset; those without one are dropped. Returns how many are left. */
static size_t words_behind(
	struct py_process *p, uint64_t *objects, size_t count, uint32_t offset, uint64_t *words)
{
	struct mem_part parts[VALUES_MAX];
	size_t tried = 0, kept = 0;
	for (size_t i = 0; i < count; i++) {
		if (!addr_plausible(objects[i]))
			continue;
		objects[tried] = objects[i];
		parts[tried] = (struct mem_part){ objects[i] + offset, &words[tried], sizeof words[0] };
		tried++;
	}
	mem_read_each(p->mem, parts, tried);
	for (size_t i = 0; i < tried; i++) {
		if (parts[i].len == 0)
			continue;
		objects[kept] = objects[i];
		words[kept++] = words[i];
	}
	return kept;
}

/* Of these objects, the lock that sleeps on that semaphore. */
static struct py_wait lock_among(struct py_process *p, uint64_t *objects, size_t count, uint64_t semaphore)
{
	uint64_t inner[VALUES_MAX];
	count = words_behind(p, objects, count, p->layout.lock_inner, inner);
	for (size_t i = 0; i < count; i++) {
		enum type_kind kind = inner[i] == semaphore ? object_kind(p, objects[i]) : TYPE_UNKNOWN;
		if (kind == TYPE_LOCK || kind == TYPE_RLOCK)
			return wait_for_lock(p, objects[i], kind);
	}
	return (struct py_wait){ 0 };
}

static struct py_wait wait_semaphore(struct py_process *p, const struct thread *t)
{
	uint64_t values[VALUES_MAX], selves[VALUES_MAX];
	size_t count = leaf_values(p, t, values);
	struct py_wait w = lock_among(p, values, count, t->futex);
	if (w.kind != PY_WAIT_NONE)
		return w;
	/* `with lock:` has only its bound __exit__ left. What is no method leads to nothing that proves itself. */
	count = words_behind(p, values, count, p->layout.builtin_self, selves);
	return lock_among(p, selves, count, t->futex);
}

struct py_wait wait_read(
	struct py_process *p, const struct thread *t, enum py_state state, uint64_t gil_holder, bool locks)
{
	if (state == PY_STATE_GIL_WAIT)
		return (struct py_wait){ .kind = PY_WAIT_GIL,
			.holder = gil_holder != t->addr ? tid_of_state(p, gil_holder) : 0 };
	if (!locks || state != PY_STATE_BLOCKED || t->futex == 0)
		return (struct py_wait){ 0 };
	bool parked = t->futex >= t->stack_pointer && t->futex - t->stack_pointer < PARKED_WITHIN;
	return parked ? wait_parked(p, t) : wait_semaphore(p, t);
}
