/* turns.h - when the present turn of each event loop began.
 *
 * asyncio's loop asks for what is ready once a turn, and notes the time: what was ready later it cannot have seen yet.
 */
#ifndef SLOWPROXY_SAMPLER_TURNS_H
#define SLOWPROXY_SAMPLER_TURNS_H

#include <slowproxy/base/map.h>
#include <slowproxy/pystack.h>

struct turns {
	struct map by_code; /* code id -> 1 + place of the variable; 0: another function */
	struct map began;   /* native thread id -> instant, of the last look */
};

/* Right after the look: what is read must still be of the same turn. */
void turns_look(struct turns *ts, struct py_process *p, const struct py_sample *sample);
/* CLOCK_MONOTONIC; 0: cannot be told (uvloop's turns are not in Python). */
uint64_t turn_began(const struct turns *ts, uint64_t tid);
void turns_clear(struct turns *ts);

#endif
