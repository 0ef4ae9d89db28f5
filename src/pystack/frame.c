/* frame.c - the chain of frames of one thread, leaf first.
 *
 *   data stack   | root | ... | caller | leaf | free      a chunk; when it is full another one follows
 *   heap                  | coroutine |                   frames of coroutines lie inside their objects
 */
#include "frame.h"

#include <stdlib.h>
#include <string.h>

#include "process.h"

enum {
	WALK_STEPS_MAX = 16384,
	HEAP_FRAMES_MAX = 4000,
	CHUNK_BYTES_MAX = 8 << 20,
	UNIT_BYTES = 2,
	HEAP_BEFORE = 8,        /* a coroutine's state lies that close before its frame */
	HEAP_FRAME_BYTES = 400, /* a frame on the heap, with as much of its stack as most have */
	PAGE_BYTES = 4096,
	STACK_DEPTH_MAX = 1 << 16,
	GENERATOR_SLOTS = 3 /* a caller keeps the generator it runs among the topmost values of its stack */
};

static uint64_t top_through_cframe(const struct py_layout *l, const struct thread *t)
{
	(void)l;
	return t->anchor_word;
}

static uint64_t top_in_thread_state(const struct py_layout *l, const struct thread *t)
{
	return thread_word(t, l->tstate_frame);
}

frame_top_fn *frame_top_finder(enum frame_top kind)
{
	static frame_top_fn *const finders[] = {
		[TOP_THROUGH_CFRAME] = top_through_cframe,
		[TOP_IN_THREAD_STATE] = top_in_thread_state,
	};
	return finders[kind];
}

/* Where it is not marked in the frame, a shim lies between. */
static bool called_from_c(const struct py_layout *l, const uint8_t *bytes)
{
	return l->frame_is_entry != PY_NONE && bytes[l->frame_is_entry] != 0;
}

/* Where its stack ends, as saved when it last called or was suspended; 0 when that makes no sense. */
static uint64_t stack_end(const struct py_layout *l, uint64_t addr, const uint8_t *bytes)
{
	uint64_t bottom = addr + l->frame_locals;
	if (l->stack == STACK_BY_ADDRESS) {
		uint64_t end = word_at(bytes, l->frame_stack_top);
		return end >= bottom && end - bottom <= 8 * STACK_DEPTH_MAX ? end : 0;
	}
	int32_t depth = int_at(bytes, l->frame_stack_depth);
	return depth >= 0 && depth <= STACK_DEPTH_MAX ? bottom + 8ull * (uint32_t)depth : 0;
}

static void decode_interpreter_frame(
	const struct py_layout *l, uint64_t addr, const uint8_t *bytes, struct frame_words *out)
{
	out->code = word_at(bytes, l->frame_code) & ~l->ref_tags;
	out->previous = word_at(bytes, l->frame_previous);
	out->ip = word_at(bytes, l->frame_ip);
	out->owner = bytes[l->frame_owner];
	out->from_c = called_from_c(l, bytes);
	out->function = l->call == CALL_UNPROVEN || out->from_c
				? 0
				: word_at(bytes, l->frame_function) & ~l->ref_tags;
	out->stack_end = stack_end(l, addr, bytes);
	out->copy = l->frame_tlbc != PY_NONE ? int_at(bytes, l->frame_tlbc) : 0;
	out->counted = false;
	out->executing = true;
}

frame_decode_fn *frame_decoder(enum frame_shape kind)
{
	static frame_decode_fn *const decoders[] = {
		[FRAME_INTERPRETER] = decode_interpreter_frame,
		[FRAME_OBJECT] = frame_decode_object,
	};
	return decoders[kind];
}

/* Where the walk is, and what it holds as proven. */
struct walk {
	struct py_process *p;
	struct thread *t;
	uint64_t younger;     /* the frame above, on the data stack; 0 none yet */
	size_t younger_chunk; /* index of the region it lies in */
	size_t cursor;        /* the region that was hit last: the next is likely the one after it */
	size_t heap_frames;
	uint64_t oldest_chunk; /* of those that were read; 0 none */
	uint64_t callee;    /* the function of the frame above, when its caller must still show it; else 0 */
	uint64_t generator; /* the frame above belongs to this one, and its caller must show it; else 0 */
	bool whole;         /* nothing was in doubt so far */
	bool root_proven;
};

static void add_raw(struct walk *w, struct raw_frame raw)
{
	struct thread *t = w->t;
	t->chain.raw =
		array_grow(t->chain.raw, &t->chain.raw_capacity, t->chain.raw_count, sizeof *t->chain.raw);
	t->chain.raw[t->chain.raw_count++] = raw;
	if (raw.kind != PY_FRAME_PYTHON)
		w->whole = false;
}

/* What the walk saw here; when it looked beyond what was read together, no later look sees the same. */
static void add_step(struct walk *w, uint64_t addr, const struct region *r, uint64_t seen_end, bool restarts)
{
	struct chain *c = &w->t->chain;
	uint64_t before = r->chunk || addr - r->addr < HEAP_BEFORE ? 0 : HEAP_BEFORE,
		 end = seen_end - r->addr;
	c->steps = array_grow(c->steps, &c->step_capacity, c->step_count, sizeof *c->steps);
	c->steps[c->step_count++] = (struct step){
		.addr = addr,
		.region = (uint32_t)(r - w->t->regions),
		.from = (uint32_t)(addr - r->addr - before),
		.to = seen_end > r->addr && end <= r->len ? (uint32_t)end : UINT32_MAX,
		.raws = (uint32_t)c->raw_count,
		.restarts = restarts,
	};
}

/* The step just done is the one from which on everything is as it was. */
static bool arrived(const struct thread *t, const struct step *restart)
{
	if (restart == NULL || t->chain.step_count == 0)
		return false;
	const struct step *last = &t->chain.steps[t->chain.step_count - 1];
	return last->addr == restart->addr && last->region == restart->region;
}

static bool region_holds(const struct region *r, uint64_t addr, uint32_t len)
{
	return r->valid && addr >= r->addr && addr - r->addr + len <= r->len;
}

static uint64_t chunk_word(const struct thread *t, const struct region *r, uint32_t offset)
{
	return word_at(t->bytes + r->at, offset);
}

/* The chunk before the oldest one we have; false when there is none, or it makes no sense. */
static bool load_older_chunk(struct walk *w)
{
	const struct py_layout *l = &w->p->layout;
	struct thread *t = w->t;
	const struct region *oldest = NULL;
	for (size_t i = 0; i < t->region_count; i++) {
		if (t->regions[i].chunk && t->regions[i].valid && t->regions[i].addr == w->oldest_chunk)
			oldest = &t->regions[i];
	}
	if (oldest == NULL)
		return false;
	uint64_t addr = chunk_word(t, oldest, l->chunk_previous);
	for (size_t i = 0; i < t->region_count; i++) {
		if (t->regions[i].chunk && t->regions[i].valid && t->regions[i].addr == addr) {
			w->oldest_chunk = addr;
			return true;
		}
	}
	uint8_t head[64];
	if (!addr_plausible(addr) || !mem_read(w->p->mem, addr, head, l->chunk_data))
		return false;
	uint64_t size = word_at(head, l->chunk_size), used = l->chunk_data + 8 * word_at(head, l->chunk_top);
	if (used > size || used > CHUNK_BYTES_MAX ||
		thread_fetch(w->p, t, addr, (uint32_t)used, true) == NULL)
		return false;
	w->oldest_chunk = addr;
	return true;
}

static struct region *find_region(struct walk *w, uint64_t addr)
{
	struct thread *t = w->t;
	uint32_t len = w->p->layout.frame_size;
	if (w->younger_chunk < t->region_count && region_holds(&t->regions[w->younger_chunk], addr, len))
		return &t->regions[w->younger_chunk];
	for (size_t i = 0; i < t->region_count; i++) {
		size_t at = (w->cursor + 1 + i) % t->region_count;
		if (region_holds(&t->regions[at], addr, len)) {
			w->cursor = at;
			return &t->regions[at];
		}
	}
	return NULL;
}

/* A frame outside the data stack, with the page it lies on: others of this stack often lie there, too. Where the page after
 * it is not there, the frame alone. */
static struct region *fetch_heap_frame(struct walk *w, uint64_t addr)
{
	const struct py_layout *l = &w->p->layout;
	uint32_t bytes = l->shape == FRAME_INTERPRETER ? HEAP_FRAME_BYTES : l->frame_size;
	uint64_t from = (addr - HEAP_BEFORE) & -(uint64_t)PAGE_BYTES;
	uint64_t to = (addr + bytes + PAGE_BYTES - 1) & -(uint64_t)PAGE_BYTES;
	struct region *r = thread_fetch(w->p, w->t, from, (uint32_t)(to - from), false);
	return r != NULL ? r : thread_fetch(w->p, w->t, addr, l->frame_size, false);
}

/* Where the frame's bytes are: read already, or in an older chunk, or on the heap. NULL: nowhere. */
static struct region *frame_region(struct walk *w, uint64_t addr)
{
	struct region *r = find_region(w, addr);
	while (r == NULL && load_older_chunk(w))
		r = find_region(w, addr);
	if (r == NULL && w->heap_frames++ < HEAP_FRAMES_MAX)
		r = fetch_heap_frame(w, addr);
	if (r != NULL)
		r->used = true;
	return r;
}

/* Does this frame end where the younger one begins? */
static bool adjoins(const struct walk *w, uint64_t addr, size_t chunk, uint32_t bytes)
{
	const struct py_layout *l = &w->p->layout;
	if (w->younger == 0)
		return true;
	if (chunk == w->younger_chunk)
		return addr + bytes == w->younger;
	const struct region *newer = &w->t->regions[w->younger_chunk];
	return w->younger == newer->addr + l->chunk_data &&
	       chunk_word(w->t, newer, l->chunk_previous) == w->t->regions[chunk].addr;
}

bool frame_resolve(struct py_process *p, const struct frame_words *words, struct raw_frame *out)
{
	const struct code *c = code_at(p, words->code);
	if (c == NULL || words->owner > p->layout.owner_last)
		return false;
	int64_t bytes =
		(int64_t)(words->counted ? words->ip : words->ip - code_base(p, c, words->copy, words->ip));
	if (bytes < -UNIT_BYTES || bytes >= (int64_t)c->units * UNIT_BYTES || bytes % UNIT_BYTES != 0)
		return false;
	*out = (struct raw_frame){
		.code = c, .unit = (int32_t)(bytes / UNIT_BYTES), .kind = PY_FRAME_PYTHON
	};
	return true;
}

/* Of the last two frames one is not what it was when the other was read: it is not known which. */
static void insert_doubt(struct walk *w)
{
	struct raw_frame caller = w->t->chain.raw[--w->t->chain.raw_count];
	add_raw(w, (struct raw_frame){ .kind = PY_FRAME_UNREADABLE });
	add_raw(w, caller);
}

/* The word at an address near a frame: from what was read with it, else read now. */
static bool word_near(struct walk *w, const struct region *r, uint64_t addr, uint64_t *word)
{
	if (addr >= r->addr && addr - r->addr + sizeof *word <= r->len)
		*word = word_at(w->t->bytes + r->at, addr - r->addr);
	else if (!mem_read_u64(w->p->mem, addr, word))
		return false;
	*word &= ~w->p->layout.ref_tags;
	return true;
}

/* Is this value in one of so many words from addr on? */
static bool shows(struct walk *w, const struct region *r, uint64_t addr, unsigned words, uint64_t value)
{
	uint64_t word;
	for (unsigned i = 0; i < words; i++) {
		if (word_near(w, r, addr + 8ull * i, &word) && word == value)
			return true;
	}
	return false;
}

/* The instructions as they were when first seen tell: an instruction is specialised and general by turns, but keeps its
 * family. Only when they do not, those of now are asked. */
static enum caller_proof caller_proof(struct walk *w, const struct raw_frame *raw, uint64_t ip)
{
	enum { BACK = 9 * UNIT_BYTES };
	const uint8_t *known = code_proofs(w->p, raw->code);
	size_t unit = raw->unit > 0 ? (size_t)raw->unit : 0;
	if (known != NULL && known[unit] != 0)
		return (enum caller_proof)known[unit];
	uint8_t now[BACK + UNIT_BYTES];
	size_t before = MIN(unit * UNIT_BYTES, (size_t)BACK);
	if (!mem_read(w->p->mem, ip - before, now, before + UNIT_BYTES))
		return 0;
	return code_proof_at(&w->p->layout, now + before, before);
}

/* Did this frame call the one above, as far as it can be told? A call leaves the function just above the caller's stack,
 * where it stays until the callee returns: (nothing, function) or (function, self). A generator that is run by a loop or
 * an await stays among the topmost values of its caller's stack. */
static bool calls_callee(
	struct walk *w, const struct region *r, const struct frame_words *words, const struct raw_frame *raw)
{
	if (w->callee == 0 && w->generator == 0)
		return true;
	uint64_t end = words->stack_end;
	enum caller_proof proof = caller_proof(w, raw, words->ip);
	if (proof == CALLER_UNKNOWN || (proof == CALLER_SILENT && w->generator == 0))
		return true;
	if (end == 0)
		return false;
	if (proof == CALLER_SHOWS_GENERATOR)
		return w->generator != 0 &&
		       shows(w, r, end - 8 * GENERATOR_SLOTS, GENERATOR_SLOTS, w->generator);
	return proof == CALLER_SHOWS_FUNCTION && w->callee != 0 && shows(w, r, end, 2, w->callee);
}

/* A coroutine tells whether it is being run, just before its frame. */
static bool coroutine_runs(const struct walk *w, uint64_t addr, const struct region *r)
{
	const struct py_layout *l = &w->p->layout;
	uint64_t at = addr - l->gen_frame + l->gen_state;
	return at < r->addr || (int8_t)w->t->bytes[r->at + (at - r->addr)] == l->gen_running;
}

/* A frame takes its place below the younger one. */
static void place(
	struct walk *w, const struct raw_frame *raw, const struct region *r, const struct frame_words *words)
{
	const struct py_layout *l = &w->p->layout;
	uint64_t addr = raw->addr;
	uint32_t bytes = raw->code->frame_bytes;
	/* Only the leaf may stand still: it just began, or just ended. */
	bool calls = calls_callee(w, r, words, raw) && (words->executing || w->t->chain.raw_count == 1);
	bool of_generator = words->owner == l->owner_generator;
	/* What a trampoline called proves nothing of its own caller. */
	w->callee = of_generator || raw->code->trampoline ? 0 : words->function;
	w->generator = of_generator && words->function != 0 ? addr - l->gen_frame : 0;
	if (!calls)
		insert_doubt(w);
	if (!r->chunk) {
		/* Only a running coroutine is linked to its caller: one that is a root was suspended meanwhile. */
		w->root_proven = l->tstate_chunk == PY_NONE && !of_generator && words->executing;
		return;
	}
	size_t chunk = (size_t)(r - w->t->regions);
	if (calls && !adjoins(w, addr, chunk, bytes))
		insert_doubt(w);
	w->younger = addr;
	w->younger_chunk = chunk;
	w->root_proven =
		addr == r->addr + l->chunk_first_frame && chunk_word(w->t, r, l->chunk_previous) == 0;
}

/* Takes one frame; returns the address of the one that called it, 0 at the end. */
static uint64_t step(struct walk *w, uint64_t addr)
{
	const struct py_layout *l = &w->p->layout;
	struct frame_words words;
	struct raw_frame raw;
	struct region *r = addr_plausible(addr) ? frame_region(w, addr) : NULL;
	bool climbs = r != NULL && r->chunk && w->younger != 0 &&
		      (size_t)(r - w->t->regions) == w->younger_chunk && addr >= w->younger;
	bool root_proven = w->root_proven;
	w->root_proven = false;
	if (r == NULL || climbs) {
		add_raw(w, (struct raw_frame){ .kind = PY_FRAME_UNREADABLE });
		return 0;
	}
	w->p->ops.frame_decode(l, addr, w->t->bytes + r->at + (addr - r->addr), &words);
	if (words.owner == l->owner_shim) {
		/* It proves nothing itself: the frame it called was the first of its thread, or it was not. */
		w->root_proven = root_proven;
		w->callee = w->generator = 0;
		if (w->t->chain.raw_count > 0)
			w->t->chain.raw[w->t->chain.raw_count - 1].from_c = true;
		add_step(w, addr, r, addr + l->frame_size, false);
		return words.previous;
	}
	size_t region = (size_t)(r - w->t->regions);
	if (words.owner == l->owner_generator && l->shape == FRAME_INTERPRETER)
		words.executing = coroutine_runs(w, addr, r);
	if (!frame_resolve(w->p, &words, &raw)) {
		w->callee = w->generator = 0;
		add_raw(w, (struct raw_frame){ .kind = PY_FRAME_UNREADABLE });
		return words.previous;
	}
	raw.addr = addr;
	raw.from_c = words.from_c;
	if (raw.code->trampoline)
		w->callee = w->generator = 0;
	else
		add_raw(w, raw);
	r = &w->t->regions[region];
	place(w, &raw, r, &words);
	uint64_t head_end = addr + l->frame_size, shown_end = words.stack_end + 2 * sizeof(uint64_t);
	add_step(w, addr, r, words.stack_end != 0 ? MAX(head_end, shown_end) : head_end,
		!raw.code->trampoline && (r->chunk || l->tstate_chunk == PY_NONE));
	return words.previous;
}

bool frames_walk(struct py_process *p, struct thread *t)
{
	struct walk w = { .p = p, .t = t, .whole = true, .root_proven = true };
	w.oldest_chunk = t->region_count > 0 && t->regions[0].chunk ? t->regions[0].addr : 0;
	for (size_t i = 0; i < t->region_count; i++)
		t->regions[i].used = false;
	const struct step *restart = tail_find(t);
	t->chain.raw_count = t->chain.step_count = 0;
	uint64_t frame = p->ops.frame_top(&p->layout, t);
	unsigned steps = 0;
	while (frame != 0 && steps++ < WALK_STEPS_MAX) {
		frame = step(&w, frame);
		if (arrived(t, restart)) {
			tail_take(t, restart);
			w.root_proven = true; /* else it would not have been kept */
			frame = 0;
		}
	}
	if (!w.root_proven || frame != 0)
		add_raw(&w, (struct raw_frame){ .kind = PY_FRAME_TRUNCATED });
	return w.whole;
}

struct py_frame frame_face(const struct raw_frame *raw)
{
	if (raw->kind != PY_FRAME_PYTHON)
		return (struct py_frame){ .kind = raw->kind };
	return (struct py_frame){ .code = &raw->code->face,
		.line = code_line(raw->code, raw->unit),
		.kind = PY_FRAME_PYTHON,
		.addr = raw->addr };
}

void frames_resolve(struct thread *t)
{
	size_t count = t->chain.raw_count, skipped = 0;
	if (count > FRAMES_MAX) {
		skipped = count - FRAMES_MAX;
		count = FRAMES_MAX;
	}
	if (t->frame_capacity < count) {
		t->frame_capacity = MIN(FRAMES_MAX, MAX(count * 2, 64));
		t->frames = xrealloc(t->frames, t->frame_capacity * sizeof *t->frames);
	}
	size_t known = skipped == 0 ? t->tail.taken : 0;
	if (t->frame_count != count)
		memmove(t->frames + (count - known), t->frames + (t->frame_count - known),
			known * sizeof *t->frames);
	for (size_t i = 0; i < count - known; i++) {
		if (skipped > 0 && i == FRAMES_LEAF_KEPT)
			t->frames[i] = (struct py_frame){ .kind = PY_FRAME_TRUNCATED };
		else
			t->frames[i] = frame_face(&t->chain.raw[i < FRAMES_LEAF_KEPT ? i : i + skipped]);
	}
	t->frame_count = count;
	t->tail.faces = t->tail.shown && skipped == 0;
}
