/* tree.h - stacks with common beginnings laid over each other: what a flame graph draws. */
#ifndef SLOWPROXY_PROFILE_TREE_H
#define SLOWPROXY_PROFILE_TREE_H

#include "fold.h"

struct tree_node {
	uint32_t parent;
	uint32_t id; /* a frame; from frame_count on: a lane */
	uint32_t depth;
	uint64_t begin,
		count; /* in samples, from the left; what a node has more than its children is its own */
};

/* nodes[0] is the root of all; a parent stands before its children, and these go by name from left to right. */
struct tree {
	struct tree_node *nodes;
	size_t count, capacity;
	uint32_t depth; /* of the deepest */
};

void tree_build(struct tree *t, const struct profile *p, const struct profile_view *view);
void tree_clear(struct tree *t);

#endif
