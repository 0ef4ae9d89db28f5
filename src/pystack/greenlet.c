/* greenlet.c - the stacks of suspended greenlets (gevent's workers), read as those of threads are, frame by frame.
 *
 *   object { .. state } -> state { .. object, .. frame object } -> innermost frame -> caller -> ...
 *
 * Found among the objects of the collector: all are searched now and then, the young ones often. A greenlet that was found is
 * looked at in every look, all of them together: most have not moved, and what their frames were is read again in one call.
 * Layout: greenlet 2.0 to 3.5 (PyGreenlet and greenlet::Greenlet of its headers), confirmed on living processes.
 */
#include "greenlet.h"

#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>

#include "gc_list.h"
#include "process.h"

enum {
	STATE_AT = 16, /* in the object, behind its head: weak references, dict, state */
	SELF_AT = 8,   /* in the state: its object */
	SELF_AT_2_0 = 160,
	TOP_WITHIN = 160, /* what lies behind is not its own in every version */
	STATE_BYTES = 168,
	FRAMES_OF_ONE_MAX = 256,
	BASES_MAX = 8,
	FOUND_MAX = 20000
};
static const uint64_t ask_every_ns = NS_PER_S, young_every_ns = 200 * NS_PER_MS, all_every_ns = 5 * NS_PER_S;

struct greenlet {
	uint64_t addr, state;
	uint64_t top; /* the frame object it stopped in; 0: it runs, has not begun, or is done */
	uint8_t words[STATE_BYTES];
	uint64_t *at; /* its frames, as last seen: the innermost first */
	uint8_t *bytes;
	struct py_frame *frames; /* and a mark behind them when that is not all */
	size_t count, capacity;
	bool lives, cut;
};

static void greenlet_clear(struct greenlet *g)
{
	free(g->at);
	free(g->bytes);
	free(g->frames);
}

void greenlets_clear(struct greenlet_table *t)
{
	for (size_t i = 0; i < t->count; i++)
		greenlet_clear(&t->all[i]);
	free(t->all);
	free(t->out);
	map_clear(&t->types);
	map_clear(&t->known);
	*t = (struct greenlet_table){ 0 };
}

void greenlets_forget(struct greenlet_table *t)
{
	for (size_t i = 0; i < t->count; i++)
		t->all[i].count = 0;
	t->out_count = 0;
}

/* --- which there are --- */

static bool is_greenlet_type(struct py_process *p, uint64_t type)
{
	uint64_t known, base = type;
	if (map_get(&p->greenlets.types, type, &known))
		return known != 0;
	bool is = false;
	for (unsigned i = 0; i < BASES_MAX && !is && addr_plausible(base); i++) {
		is = type_kind_of(p, base) == TYPE_GREENLET;
		if (!mem_read_u64(p->mem, base + p->layout.type_base, &base))
			return false;
	}
	map_put(&p->greenlets.types, type, is);
	return is;
}

static void find_new(struct py_process *p, uint64_t interp, uint64_t now)
{
	struct greenlet_table *t = &p->greenlets;
	bool young_only = t->all_ns != 0 && now - t->all_ns < all_every_ns;
	uint64_t *found = xmalloc(FOUND_MAX * sizeof *found), unused;
	size_t count = 0;
	bool whole = gc_find(p, interp, young_only, is_greenlet_type, found, &count, FOUND_MAX);
	t->young_ns = now;
	if (!young_only && whole)
		t->all_ns = now;
	for (size_t i = 0; i < count; i++) {
		if (map_get(&t->known, found[i], &unused))
			continue;
		t->all = array_grow(t->all, &t->capacity, t->count, sizeof *t->all);
		t->all[t->count] = (struct greenlet){ .addr = found[i] };
		map_put(&t->known, found[i], t->count++);
	}
	free(found);
}

static bool greenlets_used(struct py_process *p, uint64_t interp, uint64_t now)
{
	struct greenlet_table *t = &p->greenlets;
	uint64_t module;
	if (!t->used && (t->asked_ns == 0 || now - t->asked_ns >= ask_every_ns)) {
		t->asked_ns = now;
		t->used = module_dict(p, interp, "greenlet", &module);
	}
	return t->used;
}

/* --- where each stopped --- */

/* The word of its state that names a frame object: the same in all greenlets of a process. */
static uint32_t find_top(struct py_process *p, const struct greenlet *g)
{
	for (uint32_t at = 16; at < TOP_WITHIN; at += 8) {
		if (object_kind(p, word_at(g->words, at)) == TYPE_FRAME)
			return at;
	}
	return 0;
}

/* Objects, then states: two calls for all. What is no greenlet any more has lives = false. */
static void read_states(struct py_process *p, struct mem_part *parts)
{
	struct greenlet_table *t = &p->greenlets;
	const struct py_layout *l = &p->layout;
	uint32_t state_at = l->object_type + 8 + STATE_AT;
	uint8_t(*heads)[64] = xcalloc(t->count + 1, sizeof *heads);
	for (size_t i = 0; i < t->count; i++)
		parts[i] = (struct mem_part){ t->all[i].addr, heads[i], state_at + 8 };
	mem_read_each(p->mem, parts, t->count);
	for (size_t i = 0; i < t->count; i++) {
		struct greenlet *g = &t->all[i];
		g->state = word_at(heads[i], state_at);
		g->lives = parts[i].len != 0 && addr_plausible(g->state) && py_alive(p, heads[i]) &&
			   is_greenlet_type(p, word_at(heads[i], l->object_type));
		parts[i] = (struct mem_part){ g->lives ? g->state : 0, g->words, STATE_BYTES };
	}
	mem_read_each(p->mem, parts, t->count);
	for (size_t i = 0; i < t->count; i++) {
		struct greenlet *g = &t->all[i];
		g->lives &= parts[i].len != 0 && (word_at(g->words, SELF_AT) == g->addr ||
							 word_at(g->words, SELF_AT_2_0) == g->addr);
		if (g->lives && t->top_at == 0)
			t->top_at = find_top(p, g);
	}
	for (size_t i = 0; i < t->count; i++)
		t->all[i].top = t->all[i].lives && t->top_at ? word_at(t->all[i].words, t->top_at) : 0;
	free(heads);
}

/* Those that died make room. */
static void drop_dead(struct greenlet_table *t)
{
	size_t kept = 0;
	for (size_t i = 0; i < t->count; i++) {
		if (!t->all[i].lives) {
			map_remove(&t->known, t->all[i].addr);
			greenlet_clear(&t->all[i]);
			continue;
		}
		map_put(&t->known, t->all[i].addr, kept);
		t->all[kept++] = t->all[i];
	}
	t->count = kept;
}

/* --- their frames --- */

/* One more than its frames: for the mark that not all are there. */
static void frames_reserve(const struct py_layout *l, struct greenlet *g, size_t count)
{
	if (count + 1 <= g->capacity)
		return;
	g->capacity = MAX(count + 1, g->capacity * 2);
	g->at = xrealloc(g->at, g->capacity * sizeof *g->at);
	g->bytes = xrealloc(g->bytes, g->capacity * l->frame_size);
	g->frames = xrealloc(g->frames, g->capacity * sizeof *g->frames);
}

/* All frames that were seen at the last look, in one call; those that cannot be read any more are all zero. */
static void read_known_frames(struct py_process *p)
{
	struct greenlet_table *t = &p->greenlets;
	size_t frame_bytes = p->layout.frame_size, total = 0, n = 0;
	for (size_t i = 0; i < t->count; i++)
		total += t->all[i].top != 0 ? t->all[i].count : 0;
	struct mem_part *parts = xcalloc(total + 1, sizeof *parts);
	for (size_t i = 0; i < t->count; i++) {
		struct greenlet *g = &t->all[i];
		for (size_t k = 0; g->top != 0 && k < g->count; k++)
			parts[n++] = (struct mem_part){ g->at[k], g->bytes + k * frame_bytes, frame_bytes };
	}
	mem_read_each(p->mem, parts, n);
	free(parts);
}

/* The innermost frame: the frame object itself, or what it stands for; 0: it makes no sense. */
static uint64_t first_frame(struct py_process *p, const struct greenlet *g)
{
	const struct py_layout *l = &p->layout;
	uint64_t frame;
	if (object_kind(p, g->top) != TYPE_FRAME)
		return 0;
	if (l->shape == FRAME_OBJECT)
		return g->top;
	return mem_read_u64(p->mem, g->top + l->frame_object_frame, &frame) ? frame : 0;
}

/* Takes the frame at addr as the next one; returns its caller's address, 0 at the root. false: it makes no sense. */
static bool frame_take(
	struct py_process *p, struct greenlet *g, size_t known, uint64_t addr, uint64_t *caller)
{
	const struct py_layout *l = &p->layout;
	struct frame_words words;
	struct raw_frame raw;
	frames_reserve(l, g, g->count + 1);
	uint8_t *bytes = g->bytes + g->count * l->frame_size;
	bool held = g->count < known && g->at[g->count] == addr;
	if (!addr_plausible(addr) || (!held && !mem_read(p->mem, addr, bytes, l->frame_size)))
		return false;
	p->ops.frame_decode(l, addr, bytes, &words);
	*caller = words.previous;
	if (words.owner == l->owner_shim)
		return true;
	if (!frame_resolve(p, &words, &raw))
		return false;
	if (raw.code->trampoline)
		return true;
	raw.addr = addr;
	g->at[g->count] = addr;
	g->frames[g->count++] = frame_face(&raw);
	return true;
}

/* From the innermost frame to the root. What makes no sense ends it, and is marked. */
static void walk(struct py_process *p, struct greenlet *g)
{
	size_t known = g->count;
	uint64_t addr = first_frame(p, g);
	bool whole = addr != 0;
	g->count = 0;
	for (unsigned steps = 0; whole && addr != 0 && steps < FRAMES_OF_ONE_MAX; steps++)
		whole = frame_take(p, g, known, addr, &addr);
	frames_reserve(&p->layout, g, g->count + 1);
	g->cut = !whole || addr != 0;
	if (g->cut)
		g->frames[g->count] =
			(struct py_frame){ .kind = whole ? PY_FRAME_TRUNCATED : PY_FRAME_UNREADABLE };
	p->unreadable += !whole;
}

/* Which of them went on meanwhile? What was read of those may be half of two truths: they are not shown in this look. */
static void drop_moved(struct py_process *p, struct mem_part *parts)
{
	struct greenlet_table *t = &p->greenlets;
	uint64_t *tops = xcalloc(t->count + 1, sizeof *tops);
	for (size_t i = 0; i < t->count; i++)
		parts[i] = (struct mem_part){ t->all[i].state + t->top_at, &tops[i], sizeof tops[i] };
	mem_read_each(p->mem, parts, t->count);
	for (size_t i = 0; i < t->count; i++)
		if (tops[i] != t->all[i].top)
			t->all[i].top = 0;
	free(tops);
}

static void show(struct greenlet_table *t, size_t max)
{
	t->out_count = 0;
	t->cut = false;
	for (size_t i = 0; i < t->count; i++) {
		const struct greenlet *g = &t->all[i];
		if (g->top == 0)
			continue;
		t->cut = t->out_count == max;
		if (t->cut)
			return;
		t->out = array_grow(t->out, &t->out_capacity, t->out_count, sizeof *t->out);
		t->out[t->out_count++] = (struct py_greenlet){ g->addr, g->frames, g->count + g->cut };
	}
}

void greenlets_read(struct py_process *p, uint64_t interp, bool collecting, size_t max)
{
	struct greenlet_table *t = &p->greenlets;
	uint64_t now = clock_now_ns();
	t->out_count = 0;
	if (!greenlets_used(p, interp, now))
		return;
	if (!collecting && (t->young_ns == 0 || now - t->young_ns >= young_every_ns))
		find_new(p, interp, now);
	struct mem_part *parts = xcalloc(t->count + 1, sizeof *parts);
	read_states(p, parts);
	drop_dead(t);
	read_known_frames(p);
	for (size_t i = 0; i < t->count; i++)
		if (t->all[i].top != 0)
			walk(p, &t->all[i]);
	drop_moved(p, parts);
	show(t, max);
	free(parts);
}
