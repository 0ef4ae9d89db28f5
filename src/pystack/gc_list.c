/* gc_list.c - the collector's lists, walked while they change.
 *
 *   interpreter   | young | older | oldest |  ...  | frozen |     heads of rings
 *                     \-> head, object <-> head, object <-> ...
 *
 * Each node must name the one that led to it; where it does not, the list moved, and is walked once more. Pages are read whole
 * and kept for the one walk: objects that were made together lie together.
 */
#include "gc_list.h"

#include <stdlib.h>

#include "process.h"

enum {
	PAGE = 4096,
	PAGES_KEPT = 1024,
	HEAD_BYTES = 16, /* next and previous, before the object itself */
	HEAD_FLAGS = 3,  /* in the lowest bits of both */
	LIST_BYTES = 24, /* from one head to the next one */
	AGES = 3,
	OBJECTS_MAX = 1000000,
	WALKS_MAX = 3
};

struct pages {
	struct py_process *p;
	uint64_t *at; /* which page lies in this place; 0 none */
	uint8_t *bytes;
};

struct node {
	uint64_t next, previous, type;
};

static const uint8_t *page_of(struct pages *pages, uint64_t addr)
{
	uint64_t page = addr & ~(uint64_t)(PAGE - 1);
	size_t place = page / PAGE % PAGES_KEPT;
	uint8_t *bytes = pages->bytes + place * PAGE;
	if (pages->at[place] != page) {
		pages->at[place] = 0;
		if (!mem_read(pages->p->mem, page, bytes, PAGE))
			return NULL;
		pages->at[place] = page;
	}
	return bytes;
}

static bool node_read(struct pages *pages, uint64_t addr, bool fresh, struct node *out)
{
	uint8_t own[HEAD_BYTES + PY_HEAD_BYTES];
	uint32_t type = HEAD_BYTES + pages->p->layout.object_type, len = type + 8;
	const uint8_t *bytes = own, *page;
	size_t offset = addr % PAGE;
	if (!addr_plausible(addr) || len > sizeof own)
		return false;
	if (!fresh && offset + len <= PAGE && (page = page_of(pages, addr)) != NULL)
		bytes = page + offset;
	else if (!mem_read(pages->p->mem, addr, own, len))
		return false;
	*out = (struct node){ word_at(bytes, 0) & ~(uint64_t)HEAD_FLAGS,
		word_at(bytes, 8) & ~(uint64_t)HEAD_FLAGS, word_at(bytes, type) };
	return true;
}

struct finding {
	gc_wanted_fn *wanted;
	uint64_t *found;
	size_t *count;
	size_t max;
};

static void note(struct py_process *p, const struct finding *f, uint64_t object, uint64_t type)
{
	if (*f->count < f->max && addr_plausible(type) && f->wanted(p, type))
		f->found[(*f->count)++] = object;
}

/* Once around the ring; false where it broke. */
static bool ring_walk(struct pages *pages, uint64_t head, const struct finding *f)
{
	struct node n;
	uint64_t from = head, at;
	if (!mem_read_u64(pages->p->mem, head, &at))
		return false;
	at &= ~(uint64_t)HEAD_FLAGS;
	for (unsigned i = 0; at != head; i++) {
		if (i == OBJECTS_MAX)
			return false;
		/* What was kept may be older than what led here. */
		bool proven = node_read(pages, at, false, &n) && n.previous == from;
		if (!proven && (!node_read(pages, at, true, &n) || n.previous != from))
			return false;
		note(pages->p, f, at + HEAD_BYTES, n.type);
		from = at;
		at = n.next;
	}
	return true;
}

static bool ring_find(struct pages *pages, uint64_t head, const struct finding *f)
{
	size_t before = *f->count;
	for (unsigned walks = 0; walks < WALKS_MAX; walks++) {
		*f->count = before;
		for (size_t i = 0; i < PAGES_KEPT; i++)
			pages->at[i] = 0;
		if (ring_walk(pages, head, f))
			return true;
	}
	return false; /* what the last walk found is found all the same */
}

bool gc_find(struct py_process *p, uint64_t interp, bool young_only, gc_wanted_fn *wanted, uint64_t *found,
	size_t *count, size_t max)
{
	const struct py_layout *l = &p->layout;
	struct finding f = { wanted, found, count, max };
	struct pages pages = { .p = p };
	if (l->gc_lists == PY_NONE)
		return false;
	uint64_t mark = l->interp_collecting != PY_NONE ? interp + l->interp_collecting
							: p->runtime + l->runtime_collecting;
	pages.at = xcalloc(PAGES_KEPT, sizeof *pages.at);
	pages.bytes = xmalloc((size_t)PAGES_KEPT * PAGE);
	bool whole = true;
	for (unsigned age = 0; age < (young_only ? AGES - 1 : AGES); age++)
		whole &= ring_find(&pages, mark - l->gc_lists + age * LIST_BYTES, &f);
	if (!young_only)
		whole &= ring_find(&pages, mark - l->gc_frozen, &f);
	free(pages.at);
	free(pages.bytes);
	return whole;
}
