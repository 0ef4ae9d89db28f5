/* turns.c - BaseEventLoop._run_once keeps in end_time the instant up to which timers were due when it asked. */
#include "turns.h"

#include <slowproxy/base/clock.h>

#include "names.h"

enum { ROOT_FRAMES = 16 /* so near to the root the loop stands */ };
static const double seconds_max = 1e9;

/* The place of end_time in this frame; -1: it is not the loop's. */
static int end_time_of(struct turns *ts, struct py_process *p, const struct py_frame *f)
{
	uint64_t place;
	if (f->code == NULL || f->addr == 0)
		return -1;
	if (!map_get(&ts->by_code, f->code->id, &place)) {
		bool is_loop = code_is(f->code, "/asyncio/base_events.py", "BaseEventLoop._run_once");
		place = is_loop ? (uint64_t)(1 + py_code_local(p, f->code, "end_time")) : 0;
		map_put(&ts->by_code, f->code->id, place);
	}
	return (int)place - 1;
}

static uint64_t turn_read(struct turns *ts, struct py_process *p, const struct py_thread *t)
{
	uint64_t slot, object;
	double seconds;
	for (size_t i = t->frame_count; i-- > 0 && t->frame_count - i <= ROOT_FRAMES;) {
		int local = end_time_of(ts, p, &t->frames[i]);
		if (local < 0)
			continue;
		if (!py_local(p, &t->frames[i], local, &slot, &object) || !py_number(p, object, &seconds) ||
			seconds <= 0 || seconds >= seconds_max)
			return 0;
		return (uint64_t)(seconds * (double)NS_PER_S);
	}
	return 0;
}

void turns_look(struct turns *ts, struct py_process *p, const struct py_sample *sample)
{
	map_clear(&ts->began);
	for (size_t i = 0; i < sample->thread_count; i++) {
		const struct py_thread *t = &sample->threads[i];
		uint64_t began = t->runs_event_loop ? turn_read(ts, p, t) : 0;
		if (began != 0 && began <= sample->at_ns) /* else it is the next one already */
			map_put(&ts->began, t->tid, began);
	}
}

uint64_t turn_began(const struct turns *ts, uint64_t tid)
{
	uint64_t began;
	return map_get(&ts->began, tid, &began) ? began : 0;
}

void turns_clear(struct turns *ts)
{
	map_clear(&ts->by_code);
	map_clear(&ts->began);
}
