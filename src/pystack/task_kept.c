/* task_kept.c - await chains from one look to the next: a task that has not gone on is proven, not walked again.
 *
 *   task        the same coroutine, the same future awaited
 *   coroutines  the same state, code and place in it: the bytes from the state to the first local
 *
 * A walk reads some fifteen coroutines one after the other. To prove a chain all are read together: at most looks only the outermost,
 * the innermost and those of the user's own code, and at every eighth all. So a line of a library may be told some looks late;
 * a line of the user's code never is.
 */
#include "task.h"

#include <stdlib.h>
#include <string.h>

#include "code.h"
#include "process.h"

enum { PROVE_ALL_EVERY = 8 };

/* Where the proving bytes of a coroutine begin, and how many they are; 0: this version's are not kept. */
static size_t guard_bytes(const struct py_layout *l)
{
	if (l->coro != CORO_HOLDS_FRAME || l->gen_frame < l->gen_state)
		return 0;
	size_t n = l->gen_frame - l->gen_state + l->frame_locals;
	return n <= CHAIN_GUARD_BYTES ? n : 0;
}

void chain_guard_set(struct py_process *p, struct await_chain *c, const uint8_t *coro)
{
	size_t n = guard_bytes(&p->layout);
	if (n == 0)
		return;
	c->guards = array_grow(c->guards, &c->guard_capacity, c->count - 1, sizeof *c->guards);
	memcpy(c->guards[c->count - 1].bytes, coro + p->layout.gen_state, n);
}

void chains_turn(struct task_table *t)
{
	struct await_chain *chains = t->before;
	size_t capacity = t->before_capacity;
	t->before = t->chains;
	t->before_capacity = t->chain_capacity;
	t->chains = chains;
	t->chain_capacity = capacity;
	map_clear(&t->by_task);
	for (size_t i = 0; i < t->out_count; i++)
		map_put(&t->by_task, t->before[i].task, i);
	t->looks++;
}

void chain_take_kept(struct task_table *t, struct await_chain *c)
{
	uint64_t at;
	if (!map_get(&t->by_task, c->task, &at))
		return;
	struct await_chain old = t->before[at];
	map_remove(&t->by_task, c->task);
	t->before[at] = *c;
	*c = old;
	c->kept = !old.torn && old.count != 0 && old.next == 0;
}

bool chain_still(struct await_chain *c, uint64_t coro, uint64_t waits_for, uint64_t name_addr)
{
	bool still = c->kept && c->coro == coro && c->waits_for == waits_for && c->name_addr == name_addr;
	c->coro = coro;
	c->waits_for = waits_for;
	c->named &= c->name_addr == name_addr;
	c->name_addr = name_addr;
	c->kept = still;
	return still;
}

static bool frame_is_proven_now(const struct await_chain *c, size_t frame, bool all)
{
	const struct code *code = c->raw[frame].code;
	return all || frame == 0 || frame + 1 == c->count || (code != NULL && !code->library);
}

struct proof {
	struct await_chain *chain;
	size_t frame;
};

void chains_prove(struct py_process *p, size_t count)
{
	struct task_table *t = &p->tasks;
	size_t n = guard_bytes(&p->layout), total = 0, at = 0;
	for (size_t i = 0; i < count; i++) {
		t->chains[i].kept &= n != 0;
		total += t->chains[i].kept ? t->chains[i].count : 0;
	}
	if (total == 0)
		return;
	struct proof *proofs = xcalloc(total, sizeof *proofs);
	struct mem_part *parts = xcalloc(total, sizeof *parts);
	struct chain_guard *now = xcalloc(total, sizeof *now);
	for (size_t i = 0; i < count; i++) {
		struct await_chain *c = &t->chains[i];
		bool all = (t->looks + i) % PROVE_ALL_EVERY == 0;
		for (size_t k = 0; c->kept && k < c->count; k++) {
			if (!frame_is_proven_now(c, k, all))
				continue;
			uint64_t addr = c->raw[k].addr - p->layout.gen_frame + p->layout.gen_state;
			proofs[at] = (struct proof){ c, k };
			parts[at] = (struct mem_part){ addr, now[at].bytes, n };
			at++;
		}
	}
	mem_read_each(p->mem, parts, at);
	for (size_t i = 0; i < at; i++) {
		const struct chain_guard *was = &proofs[i].chain->guards[proofs[i].frame];
		proofs[i].chain->kept &= parts[i].len != 0 && memcmp(now[i].bytes, was->bytes, n) == 0;
	}
	free(now);
	free(parts);
	free(proofs);
}

void tasks_forget(struct task_table *t)
{
	for (size_t i = 0; i < t->chain_capacity; i++)
		t->chains[i].count = 0;
	for (size_t i = 0; i < t->before_capacity; i++)
		t->before[i].count = 0;
	t->out_count = 0;
}
