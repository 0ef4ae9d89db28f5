/* holds.c - for how long somebody held an event loop, told by the looks as they come.
 *
 *   look  look  look  look
 *   |-- the same holder --|     from 50 ms on it is a block
 */
#include "history.h"

#include <slowproxy/base/clock.h>

static const uint64_t block_ns = 50 * NS_PER_MS, hole_ns = 200 * NS_PER_MS;

static bool at_work(const struct ipc_sample *s)
{
	return s->state == IPC_STATE_RUNNING || s->state == IPC_STATE_BLOCKED;
}

/* The sample of the only event loop of the worker, when somebody holds it; NULL: it is free, or there are several. */
static const struct ipc_sample *holder_of(
	const struct dictionary *d, const struct ipc_sample *samples, size_t count)
{
	const struct ipc_sample *found = NULL;
	unsigned loops = 0;
	for (size_t i = 0; i < count; i++) {
		if (d->lanes[samples[i].lane - 1].kind != IPC_LANE_LOOP)
			continue;
		loops++;
		found = &samples[i];
	}
	return loops == 1 && at_work(found) ? found : NULL;
}

/* A request and a task are the same as before when they are called the same; the loop's own work when it stands still. */
static bool same_holder(const struct hold *h, const struct ipc_sample *s)
{
	if (s->serves != h->serves || s->span != h->span)
		return false;
	return s->serves == IPC_SERVES_REQUEST || s->serves == IPC_SERVES_TASK || s->stack == h->stack;
}

bool hold_look(struct hold *h, const struct dictionary *d, const struct ipc_sample *samples, size_t count,
	uint64_t at_ns, uint64_t *from_ns)
{
	const struct ipc_sample *s = holder_of(d, samples, count);
	bool goes_on = s != NULL && h->since_ns != 0 && same_holder(h, s) && at_ns - h->last_ns <= hole_ns;
	if (s == NULL || !goes_on) {
		*h = (struct hold){ 0 };
		if (s != NULL)
			*h = (struct hold){ .since_ns = at_ns,
				.last_ns = at_ns,
				.told_ns = at_ns,
				.span = s->span,
				.stack = s->stack,
				.serves = s->serves };
		return false;
	}
	h->last_ns = at_ns;
	if (at_ns - h->since_ns < block_ns)
		return false;
	*from_ns = h->told_ns;
	h->told_ns = at_ns;
	return true;
}
