/* thread.c - one Python thread and its stack, read in one call where the last look was a good guide. */
#include "thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/str.h>

#include "process.h"
#include "text.h"

enum {
	REGIONS_MAX = 4096,
	CHUNK_SLACK =
		1024, /* frames that may have been pushed between reading the top and reading the chunk */
	CHUNK_READ_MAX = 1 << 20, /* of the current chunk */
	BYTES_MAX = 16 << 20,
	READS_MAX = 24,
	TORN_MAX = 12,
	NAME_TRIES_MAX = 8
};

struct thread *thread_new(uint64_t addr, uint64_t interp)
{
	struct thread *t = xcalloc(1, sizeof *t);
	t->addr = addr;
	t->interp = interp;
	state_files_init(&t->files);
	return t;
}

void thread_free(struct thread *t)
{
	state_files_close(&t->files);
	free(t->regions);
	free(t->bytes);
	chain_clear(&t->chain);
	tail_clear(&t->tail);
	free(t->frames);
	free(t);
}

void threads_clear(struct thread_table *t)
{
	for (size_t i = 0; i < t->count; i++)
		thread_free(t->all[i]);
	free(t->all);
	*t = (struct thread_table){ 0 };
}

static struct region *add_region(struct thread *t, uint64_t addr, uint32_t len, bool chunk)
{
	if (t->region_count >= REGIONS_MAX || t->bytes_len + len > BYTES_MAX)
		return NULL;
	if (t->bytes_capacity < t->bytes_len + len) {
		t->bytes_capacity = (t->bytes_len + len) * 2;
		t->bytes = xrealloc(t->bytes, t->bytes_capacity);
	}
	t->regions = array_grow(t->regions, &t->region_capacity, t->region_count, sizeof *t->regions);
	struct region *r = &t->regions[t->region_count++];
	*r = (struct region){ addr, len, (uint32_t)t->bytes_len, chunk, false, false };
	t->bytes_len += (len + 7u) & ~7u;
	return r;
}

struct region *thread_fetch(struct py_process *p, struct thread *t, uint64_t addr, uint32_t len, bool chunk)
{
	struct region *r = add_region(t, addr, len, chunk);
	if (r == NULL)
		return NULL;
	r->valid = mem_read(p->mem, addr, t->bytes + r->at, len);
	return r->valid ? r : NULL;
}

/* How much of the current chunk is worth reading. */
static uint32_t chunk_bytes(uint64_t chunk, uint64_t top)
{
	enum { SMALLEST_CHUNK = 16384 };
	uint64_t used = top > chunk && top - chunk < CHUNK_READ_MAX ? top - chunk + CHUNK_SLACK : CHUNK_SLACK;
	/* A chunk is 16 KiB or more: within that, the slack cannot leave it. */
	if (used > SMALLEST_CHUNK)
		used = MAX(used - CHUNK_SLACK, (uint64_t)SMALLEST_CHUNK);
	return (uint32_t)used;
}

/* Derives from the thread state what to read; further pieces that the last walk used are kept when `keep`. */
static void predict(struct py_process *p, struct thread *t, bool keep)
{
	const struct py_layout *l = &p->layout;
	t->anchor_base = thread_word(t, l->tstate_frame);
	t->anchor = 0;
	if (l->top == TOP_THROUGH_CFRAME && addr_plausible(t->anchor_base))
		t->anchor = t->anchor_base + l->cframe_frame;
	uint64_t chunk = l->tstate_chunk != PY_NONE ? thread_word(t, l->tstate_chunk) : 0;
	size_t old_count = keep ? t->region_count : 0;
	bool had_chunk = t->region_count > 0 && t->regions[0].chunk;
	t->region_count = 0;
	t->bytes_len = 0;
	if (addr_plausible(chunk))
		add_region(t, chunk, chunk_bytes(chunk, thread_word(t, l->tstate_chunk_top)), true);
	if (t->region_count > 0 && !had_chunk)
		return; /* it took the first place of the old ones */
	/* In place: what is kept never moves towards the end. */
	for (size_t i = t->region_count; i < old_count; i++) {
		struct region r = t->regions[i];
		if (r.used && r.addr != chunk)
			add_region(t, r.addr, r.len, r.chunk);
	}
}

size_t thread_parts(struct py_process *p, struct thread *t, uint32_t from, struct mem_part *parts)
{
	size_t n = 0;
	const struct window *w = &p->tstate_window;
	parts[n++] = (struct mem_part){ t->addr + from, t->state + from, w->hi - from };
	t->fresh = t->whole = false;
	if (!t->wanted)
		return n;
	if (t->anchor != 0)
		parts[n++] = (struct mem_part){ t->anchor, &t->anchor_word, sizeof t->anchor_word };
	for (size_t i = 0; i < t->region_count; i++) {
		struct region *r = &t->regions[i];
		r->valid = false;
		parts[n++] = (struct mem_part){ r->addr, t->bytes + r->at, r->len };
	}
	return n;
}

void thread_parts_read(struct thread *t, size_t count)
{
	t->fresh = count > 0;
	size_t before = t->anchor != 0 ? 2 : 1;
	t->whole = t->wanted && count >= before;
	for (size_t i = 0; t->whole && i < t->region_count; i++)
		t->regions[i].valid = before + i < count;
}

/* Was it the right thing to read? */
static bool prediction_held(const struct py_process *p, const struct thread *t)
{
	const struct py_layout *l = &p->layout;
	if (!t->whole)
		return false;
	if (l->top == TOP_THROUGH_CFRAME &&
		(t->anchor == 0 || thread_word(t, l->tstate_frame) != t->anchor_base))
		return false;
	if (l->tstate_chunk == PY_NONE)
		return true;
	uint64_t chunk = thread_word(t, l->tstate_chunk), top = thread_word(t, l->tstate_chunk_top);
	if (chunk == 0)
		return true;
	const struct region *r = t->regions;
	return t->region_count > 0 && r->valid && r->addr == chunk && top <= r->addr + r->len;
}

/* One call for this thread alone. */
static bool read_again(struct py_process *p, struct thread *t)
{
	if (p->part_capacity < THREAD_PARTS_MAX) {
		p->part_capacity = THREAD_PARTS_MAX;
		p->parts = xrealloc(p->parts, p->part_capacity * sizeof *p->parts);
	}
	struct mem_part *parts = p->parts;
	size_t count = thread_parts(p, t, p->tstate_window.lo, parts);
	thread_parts_read(t, mem_read_parts(p->mem, parts, count));
	return t->fresh && thread_word(t, p->layout.tstate_interp) == t->interp;
}

bool thread_stack(struct py_process *p, struct thread *t)
{
	bool keep = true;
	unsigned torn = 0;
	tail_put_aside(t);
	t->chain.raw_count = 0;
	for (unsigned reads = 0; reads < READS_MAX && torn < TORN_MAX; reads++) {
		if ((reads > 0 || !t->fresh) && !read_again(p, t))
			break;
		if (prediction_held(p, t)) {
			if (frames_walk(p, t)) {
				tail_keep(t);
				predict(p, t, true);
				return true;
			}
			torn++;
		}
		predict(p, t, keep);
		keep = torn > 0; /* moved twice in a row: forget the further pieces */
	}
	if (t->chain.raw_count == 0) {
		t->chain.raw = array_grow(t->chain.raw, &t->chain.raw_capacity, 0, sizeof *t->chain.raw);
		t->chain.raw[t->chain.raw_count++] = (struct raw_frame){ .kind = PY_FRAME_UNREADABLE };
	}
	return false;
}

/* From pthread_t to the name in threading._active. */
static void names_from_threading(struct py_process *p, uint64_t interp)
{
	struct thread_table *table = &p->threads;
	uint64_t module, active, ident, name;
	struct entries e;
	if (!module_dict(p, interp, "threading", &module) || !dict_get(p, module, "_active", &active) ||
		!dict_entries(p, active, &e))
		return;
	for (size_t i = 0; i < e.count; i++) {
		if (!int_read(p, e.keys[i], &ident))
			continue;
		for (size_t k = 0; k < table->count; k++) {
			struct thread *t = table->all[k];
			if (t->name_final || t->interp != interp ||
				thread_word(t, p->layout.tstate_pthread) != ident)
				continue;
			char text[sizeof t->name];
			if (attr_get(p, e.values[i], "_name", &name) &&
				text_read(p, name, text, sizeof text) && text[0]) {
				memcpy(t->name, text, sizeof text);
				t->name_final = true;
			}
		}
	}
	entries_clear(&e);
}

static void name_from_kernel(struct py_process *p, struct thread *t)
{
	char path[48], comm[sizeof t->name];
	if (tid_is_main(p, t->native_id)) {
		str_copy(t->name, sizeof t->name, "MainThread", 10);
		return;
	}
	snprintf(path, sizeof path, "task/%d/comm", (int)t->tid);
	if (mem_file(p->mem, path, comm, sizeof comm)) {
		comm[strcspn(comm, "\n")] = '\0';
		str_copy(t->name, sizeof t->name, comm, strlen(comm));
	}
}

void threads_name(struct py_process *p)
{
	struct thread_table *table = &p->threads;
	uint64_t now = clock_now_ns();
	struct thread *nameless = NULL;
	for (size_t i = 0; i < table->count; i++) {
		struct thread *t = table->all[i];
		if (t->name_final || t->name_tries >= NAME_TRIES_MAX || !t->wanted)
			continue;
		if (t->name_tries == 0)
			name_from_kernel(p, t);
		nameless = t;
	}
	/* A thread is in threading's list only some instructions after it began: ask a few times, but not often. */
	if (nameless == NULL || (table->names_at_ns != 0 && now - table->names_at_ns < 100 * NS_PER_MS))
		return;
	table->names_at_ns = now;
	names_from_threading(p, nameless->interp);
	for (size_t i = 0; i < table->count; i++)
		table->all[i]->name_tries++;
}
