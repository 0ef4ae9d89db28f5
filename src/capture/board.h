/* board.h - what the event loops of the proxy tell each other: which requests were under way lately, and who held a worker. */
#ifndef SLOWPROXY_CAPTURE_BOARD_H
#define SLOWPROXY_CAPTURE_BOARD_H

#include <slowproxy/capture.h>

/* A request that was armed, or that ended while others were. */
struct notice {
	struct capture_other other;
	uint64_t from_ns, to_ns; /* UINT64_MAX: under way */
	uint32_t worker;         /* key; 0: not known */
	bool slow;               /* when it has ended */
};

/* How many requests are armed on all loops: while there are none, nobody asks the board. */
void board_armed(struct capture_board *b, int more);
/* Whether what ends now may be asked for. Cheap. */
bool board_listens(struct capture_board *b);

/* Puts up a notice, or replaces the one of the same request. */
void board_post(struct capture_board *b, const struct notice *n);
bool board_find(struct capture_board *b, uint64_t span, struct notice *out);
/* Calls back for each, under the lock. */
void board_each(struct capture_board *b, void (*take)(void *context, const struct notice *n), void *context);

/* A worker's loop was held from..to, by this request or (0) by what is none. Returns how much of it is to be counted now: each
 * stretch once, though several loops hear of it; of slow requests nothing, since their lines count it; of those that are
 * under way nothing yet. */
uint64_t board_held(struct capture_board *b, int32_t pid, uint64_t span, uint64_t from_ns, uint64_t to_ns);
/* A request has ended that was not slow: what it held before is to be counted now. */
uint64_t board_held_by_fast(struct capture_board *b, uint64_t span, int32_t *pid);

#endif
