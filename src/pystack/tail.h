/* tail.h - the older part of a stack that is byte for byte what it was at the last look, and is not walked again.
 *
 *   leaf | ... | restart | ...          ... root |
 *   walked anew          | the same bytes, hence the same frames: taken over from the last look
 *
 * The walk is a function of the bytes that it sees, and of nothing else. So whoever has seen the same bytes already knows what
 * it would say: nothing is guessed. Everything is read in every look; no guard, address or time vouches for bytes not seen.
 *
 * Owner: the thread. What is kept are the bytes, regions and frames of the last walk that proved its whole stack.
 */
#ifndef PYSTACK_TAIL_H
#define PYSTACK_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct raw_frame;
struct region;
struct thread;

/* A place where the walk was, shown or not, and what it saw there: [from, to) of a region. */
struct step {
	uint64_t addr;
	uint32_t region, from, to;
	uint32_t raws; /* how many frames were shown when it was done */
	bool restarts; /* a frame was shown, and what the walk knows behind it follows from this step alone */
};

/* What a walk found: the frames, and all its steps. */
struct chain {
	struct raw_frame *raw; /* leaf first */
	size_t raw_count, raw_capacity;
	struct step *steps;
	size_t step_count, step_capacity;
};

struct tail {
	struct chain chain;
	struct region *regions;
	size_t region_count, region_capacity;
	uint8_t *bytes;
	size_t bytes_capacity;
	bool known; /* there is something to compare with */
	bool shown; /* the chain that is kept is the thread's own, still; the next walk takes it out of its way */
	bool faces;   /* thread.frames are those of the chain that is kept, each */
	size_t taken; /* frames, from the root, that the last walk took over with their faces */
};

/* Before a look: its walks do not overwrite the chain that is kept. */
void tail_put_aside(struct thread *t);
/* Before a walk; returns where it may stop walking, NULL when nothing is known. Regions that it then needs are marked as used. */
const struct step *tail_find(struct thread *t);
/* The walk has just done this step: the rest of its chain is as it was. */
void tail_take(struct thread *t, const struct step *restart);
/* After a walk that proved its whole stack: takes the bytes. */
void tail_keep(struct thread *t);
/* Code objects are not what they were. */
void tail_forget(struct thread *t);
void tail_clear(struct tail *tail);
void chain_clear(struct chain *c);

#endif
