/* tail.c - the older part of a stack that is byte for byte what it was at the last look. */
#include "tail.h"

#include <stdlib.h>
#include <string.h>

#include "thread.h"

enum { COMPARED_AT_ONCE = 1024 };

#define SWAP(a, b)                                                                                           \
	do {                                                                                                 \
		__typeof__(a) was_ = (a);                                                                    \
		(a) = (b);                                                                                   \
		(b) = was_;                                                                                  \
	} while (0)

/* How many bytes, from the first, are the same. */
static uint32_t equal_bytes(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint32_t at = 0;
	while (len - at >= COMPARED_AT_ONCE && memcmp(a + at, b + at, COMPARED_AT_ONCE) == 0)
		at += COMPARED_AT_ONCE;
	while (len - at >= sizeof(uint64_t) && word_at(a, at) == word_at(b, at))
		at += (uint32_t)sizeof(uint64_t);
	return at;
}

/* One region, then and now. */
struct pair {
	uint32_t region;
	bool comparable, chunk;
	const uint8_t *then, *now;
	uint32_t len;   /* that both have */
	uint32_t equal; /* of a chunk: from its first byte */
};

static struct pair pair_of(const struct thread *t, uint32_t i)
{
	const struct tail *tail = &t->tail;
	struct pair pair = { .region = i };
	if (i >= t->region_count || i >= tail->region_count)
		return pair;
	const struct region *then = &tail->regions[i], *now = &t->regions[i];
	if (!then->valid || !now->valid || then->addr != now->addr || then->chunk != now->chunk)
		return pair;
	pair.comparable = true;
	pair.chunk = now->chunk;
	pair.then = tail->bytes + then->at;
	pair.now = t->bytes + now->at;
	pair.len = MIN(then->len, now->len);
	if (pair.chunk)
		pair.equal = equal_bytes(pair.then, pair.now, pair.len);
	return pair;
}

static bool step_is_same(const struct pair *pair, const struct step *s)
{
	if (!pair->comparable || s->to > pair->len)
		return false;
	if (pair->chunk)
		return s->to <= pair->equal;
	return memcmp(pair->then + s->from, pair->now + s->from, s->to - s->from) == 0;
}

void tail_put_aside(struct thread *t)
{
	t->tail.taken = 0;
	if (t->tail.shown)
		SWAP(t->chain, t->tail.chain);
	t->tail.shown = false;
}

const struct step *tail_find(struct thread *t)
{
	struct tail *tail = &t->tail;
	const struct step *restart = NULL;
	struct pair chunk = { .region = UINT32_MAX }, other = chunk;
	tail->taken = 0;
	for (size_t i = tail->known ? tail->chain.step_count : 0; i-- > 0;) {
		const struct step *s = &tail->chain.steps[i];
		/* Older chunks come before newer ones, and are not returned to; what else there is lies between. */
		struct pair *pair = chunk.region == s->region ? &chunk : &other;
		if (pair->region != s->region) {
			struct pair met = pair_of(t, s->region);
			pair = met.chunk ? &chunk : &other;
			*pair = met;
		}
		if (!step_is_same(pair, s))
			break;
		t->regions[s->region].used = true;
		if (s->restarts)
			restart = s;
	}
	return restart;
}

static void *reserve(void *all, size_t *capacity, size_t count, size_t size)
{
	if (*capacity >= count)
		return all;
	*capacity = count * 2;
	return xrealloc(all, *capacity * size);
}

void tail_take(struct thread *t, const struct step *restart)
{
	struct chain *now = &t->chain, *then = &t->tail.chain;
	size_t raw_from = restart->raws, step_from = (size_t)(restart - then->steps) + 1;
	size_t raws = then->raw_count - raw_from, steps = then->step_count - step_from;
	/* What called it was told by the step behind it. */
	now->raw[now->raw_count - 1].from_c = then->raw[raw_from - 1].from_c;
	then->raw = reserve(then->raw, &then->raw_capacity, now->raw_count + raws, sizeof *then->raw);
	then->steps =
		reserve(then->steps, &then->step_capacity, now->step_count + steps, sizeof *then->steps);
	/* The older part mostly is where it was. */
	if (now->raw_count != raw_from) {
		memmove(then->raw + now->raw_count, then->raw + raw_from, raws * sizeof *then->raw);
		for (size_t i = step_from; i < then->step_count; i++)
			then->steps[i].raws += (uint32_t)(now->raw_count - raw_from);
	}
	if (now->step_count != step_from)
		memmove(then->steps + now->step_count, then->steps + step_from, steps * sizeof *then->steps);
	memcpy(then->raw, now->raw, now->raw_count * sizeof *then->raw);
	memcpy(then->steps, now->steps, now->step_count * sizeof *then->steps);
	then->raw_count = now->raw_count + raws;
	then->step_count = now->step_count + steps;
	SWAP(*now, *then);
	t->tail.known = false; /* its chain was used up; whoever proves the new one keeps that */
	t->tail.taken = t->tail.faces ? raws : 0;
}

void tail_keep(struct thread *t)
{
	struct tail *tail = &t->tail;
	SWAP(t->bytes, tail->bytes);
	SWAP(t->bytes_capacity, tail->bytes_capacity);
	tail->regions = reserve(tail->regions, &tail->region_capacity, t->region_count, sizeof *t->regions);
	if (t->region_count > 0)
		memcpy(tail->regions, t->regions, t->region_count * sizeof *t->regions);
	tail->region_count = t->region_count;
	tail->known = tail->shown = true;
}

void tail_forget(struct thread *t)
{
	t->tail.known = t->tail.faces = false;
}

void chain_clear(struct chain *c)
{
	free(c->raw);
	free(c->steps);
}

void tail_clear(struct tail *tail)
{
	chain_clear(&tail->chain);
	free(tail->regions);
	free(tail->bytes);
}
