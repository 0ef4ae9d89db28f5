/* dictionary.h - frames, stacks and lanes as the sampler named them: ids to meanings.
 *
 * One dictionary serves until the sampler resets it; ticks that speak of an older one keep that alive.
 */
#ifndef SLOWPROXY_CAPTURE_DICTIONARY_H
#define SLOWPROXY_CAPTURE_DICTIONARY_H

#include <stdbool.h>
#include <stdint.h>

#include <slowproxy/ipc.h>
#include <slowproxy/profile.h>

struct word_frame {
	char *function; /* owned; file lies behind it in the same memory */
	const char *file;
	uint32_t line;
	uint32_t stamp, to; /* its index in the profile that is being cut, see `stamp` below */
	uint64_t suspect_from_ns,
		suspect_to_ns; /* what looks (from .. to] say of it may be wrong; 0, 0: nothing */
};

struct word_stack {
	uint32_t parent, frame; /* ids; parent 0: this is the root */
	uint32_t depth;
	uint32_t stamp, to;
	bool suspect; /* a frame of it is so, at some time */
};

struct word_lane {
	enum ipc_lane_kind kind;
	uint64_t native;
	char name[64];
	uint32_t stamp, to;
};

/* The thing with id n is at [n - 1]. */
struct dictionary {
	unsigned refs;
	struct word_frame *frames;
	size_t frame_count, frame_capacity;
	struct word_stack *stacks;
	size_t stack_count, stack_capacity;
	struct word_lane *lanes;
	size_t lane_count, lane_capacity;
	uint32_t stamp; /* number of the cut at work: a word with another stamp is not in its profile yet */
};

struct dictionary *dictionary_new(void); /* one reference */
struct dictionary *dictionary_ref(struct dictionary *d);
void dictionary_unref(struct dictionary *d);

/* false: the message does not continue what is known, and is not believed. */
bool dictionary_add_frame(struct dictionary *d, const struct ipc_frame *m);
bool dictionary_add_stack(struct dictionary *d, const struct ipc_stack *m);
bool dictionary_add_lane(struct dictionary *d, const struct ipc_lane *m);
bool dictionary_knows(const struct dictionary *d, const struct ipc_sample *s);

/* Begins a new cut: nothing is in the profile yet. */
void dictionary_cut_begin(struct dictionary *d);
uint32_t dictionary_lane_to(struct dictionary *d, uint32_t id, struct profile *p);
/* As seen at this instant: a stack with a frame that was suspect then ends at that frame's caller, and in <replaced>. */
uint32_t dictionary_stack_to(struct dictionary *d, uint32_t id, uint64_t at_ns, struct profile *p);
/* Code objects were replaced: the frame's name may be wrong in looks of (from .. to]. */
bool dictionary_suspect(struct dictionary *d, uint32_t frame, uint64_t from_ns, uint64_t to_ns);

#endif
