/* append.c - profiles of several requests become one, one behind the other in time. */
#include <slowproxy/profile.h>

#include <stdlib.h>

static uint32_t stack_copy(struct profile *to, const struct profile *from, uint32_t index)
{
	const struct profile_stack *stack = &from->stacks[index];
	uint32_t *frames = xcalloc(stack->depth + 1, sizeof *frames);
	for (uint32_t i = 0; i < stack->depth; i++) {
		const struct profile_frame *f = &from->frames[stack->frames[i]];
		frames[i] = profile_add_frame(to, f->function, f->file, f->line);
	}
	uint32_t copy = profile_add_stack(to, frames, stack->depth);
	free(frames);
	return copy;
}

void profile_append(struct profile *to, const struct profile *from)
{
	uint64_t end_ns = 0, begin_ns = from->sample_count != 0 ? from->samples[0].at_ns : 0;
	if (to->sample_count != 0)
		end_ns =
			to->samples[to->sample_count - 1].at_ns + to->samples[to->sample_count - 1].weight_ns;
	for (size_t i = 0; i < from->sample_count; i++) {
		struct profile_sample s = from->samples[i];
		const struct profile_lane *lane = &from->lanes[s.lane];
		s.lane = profile_add_lane(to, lane->kind, lane->id, lane->name);
		s.stack = stack_copy(to, from, s.stack);
		s.at_ns = end_ns + (s.at_ns - begin_ns);
		profile_add_sample(to, &s);
	}
}
