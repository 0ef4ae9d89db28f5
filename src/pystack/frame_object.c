/* frame_object.c - frames that are objects on the heap, linked from callee to caller, and coroutines that point to theirs.
 *
 *   thread state -> frame -> f_back -> ... -> root        coroutine -> gi_frame, whose stack's top is what it awaits
 *
 * They are linked only while they execute, and say whether they do: that is the proof a chain has.
 */
#include "process.h"

enum { NOT_STARTED = -2, STACK_DEPTH_MAX = 1 << 16 };

void frame_decode_object(
	const struct py_layout *l, uint64_t addr, const uint8_t *bytes, struct frame_words *out)
{
	(void)addr;
	int32_t last = int_at(bytes, l->frame_ip);
	*out = (struct frame_words){
		.code = word_at(bytes, l->frame_code),
		.previous = word_at(bytes, l->frame_previous),
		.ip = (uint64_t)(last < 0 ? NOT_STARTED : (int64_t)last * l->lasti_bytes),
		.owner = word_at(bytes, l->frame_generator) != 0 ? l->owner_generator : 0,
		.from_c = true,
		.counted = true,
		.executing = (int8_t)bytes[l->frame_state] == l->gen_running,
	};
}

/* Where the value on top of a suspended frame's stack lies; 0 when its stack is empty, or it runs. */
static uint64_t stack_top(const struct py_layout *l, const uint8_t *bytes)
{
	uint64_t bottom = word_at(bytes, l->frame_stack), depth;
	if (l->stack == STACK_BY_DEPTH) {
		int32_t said = int_at(bytes, l->frame_stack_depth);
		depth = said > 0 ? (uint64_t)said : 0;
	} else {
		uint64_t end = word_at(bytes, l->frame_stack_top);
		depth = end > bottom ? (end - bottom) / 8 : 0;
	}
	return depth > 0 && depth <= STACK_DEPTH_MAX ? bottom + 8 * (depth - 1) : 0;
}

bool coro_look_object(struct py_process *p, uint64_t object, const uint8_t *bytes, struct coro_look *out)
{
	const struct py_layout *l = &p->layout;
	uint8_t frame[FRAME_BYTES_MAX];
	uint64_t addr = word_at(bytes, l->gen_frame);
	(void)object;
	*out = (struct coro_look){ .state = CORO_DONE };
	if (addr == 0)
		return true;
	if (!addr_plausible(addr) || !mem_read(p->mem, addr, frame, l->frame_size))
		return false;
	out->frame = addr;
	p->ops.frame_decode(l, addr, frame, &out->words);
	int8_t state = (int8_t)frame[l->frame_state];
	if (state == l->gen_running)
		out->state = CORO_RUNNING;
	else if ((int64_t)out->words.ip == NOT_STARTED)
		out->state = CORO_CREATED;
	else if (state >= l->gen_suspended_from && state <= l->gen_suspended_to)
		out->state = CORO_SUSPENDED;
	out->top = stack_top(l, frame);
	return true;
}
