/* waits.h - since when a task awaits what it awaits, and when that will be due: for sleeps, whose end is known beforehand.
 *
 * So it can be told whether a task that sleeps while another holds the loop could have gone on.
 */
#ifndef SLOWPROXY_SAMPLER_WAITS_H
#define SLOWPROXY_SAMPLER_WAITS_H

#include <stdbool.h>
#include <stdint.h>

#include <slowproxy/base/map.h>
#include <slowproxy/pystack.h>

struct due {
	uint64_t at_ns; /* CLOCK_MONOTONIC; 0: not known */
	bool at_latest; /* it may be due earlier: the wait had begun before we first saw it */
};

struct waits {
	struct map by_task; /* task address -> struct wait * */
	struct map sleeps;  /* code id -> 1 + places of its variables; 0: not a sleep */
	uint64_t looks;
	struct due *dues; /* of this look, beside its tasks */
	size_t due_capacity;
};

void waits_look_begin(struct waits *ws, size_t task_count);
/* Of a task of this look; to be asked once per task. */
struct due wait_due(struct waits *ws, struct py_process *p, const struct py_task *t, uint64_t now_ns);
void waits_clear(struct waits *ws);

#endif
