/* capture.h - decides when an exchange deserves stacks, and files what comes back.
 *
 *   began ----arm_after----> ARMED: CAPTURE_START to the sampler, samples of that worker are kept
 *     |                        |
 *   ended: finished at once   ended: under the threshold, forgotten at once; over it, waits (briefly, bounded) for the
 *                             sampler's last word, then finished with record->capture filled
 *
 * Fast requests cost two list operations. One per event loop; lives on its thread.
 */
#ifndef SLOWPROXY_CAPTURE_H
#define SLOWPROXY_CAPTURE_H

#include <slowproxy/config.h>
#include <slowproxy/net.h>
#include <slowproxy/record.h>

/* Where records go when nothing more will be learned of them. The record moves. */
struct capture_sink {
	void (*finished)(void *context, struct record *r);
	void *context;
	/* A request that was not slow, or what is no request, has held the event loop of this worker for so long more; from
	 * 50 ms on. What slow requests held stands in their digests. May be NULL. */
	void (*loop_blocked)(void *context, int32_t worker_pid, uint64_t ns);
};

struct capture_counters {
	uint64_t armed;            /* exchanges older than capture.arm_after */
	uint64_t samples;          /* received */
	uint64_t messages_dropped; /* the channel to the sampler was full */
	uint64_t sampler_losses;   /* times the sampler went away or stopped answering */
};

struct capture;

/* What the loops tell each other, since a culprit and its victims may have come in by different ones. One for all of them. */
struct capture_board;
struct capture_board *capture_board_new(void);
void capture_board_free(struct capture_board *b);

/* channel_fd: our end of the socketpair to the sampler, or -1 when there is none (capture off). Owned. The board is lent. */
struct capture *capture_new(struct loop *l, const struct config *config, int channel_fd,
	const struct capture_sink *sink, struct capture_board *board);
void capture_began(struct capture *c, struct record *r); /* lent until capture_ended */
void capture_ended(struct capture *c, struct record *r); /* moves */
/* The sampler was started anew; -1: it is gone for now. Takes fd. */
void capture_channel_replace(struct capture *c, int channel_fd);
const struct capture_counters *capture_counters(const struct capture *c);
/* The sampler owes an answer and has not spoken since. */
bool capture_sampler_silent(const struct capture *c);
/* Records still waiting are finished at once. */
void capture_free(struct capture *c);

#endif
