/* by_lane.c - the samples of each lane together, each lane in time order: a counting sort. */
#include "by_lane.h"

#include <stdlib.h>

static bool is_shown(const struct profile_sample *s, const struct profile_view *view)
{
	return view->idle || s->state != PROFILE_IDLE;
}

void by_lane_init(struct by_lane *b, const struct profile *p, const struct profile_view *view)
{
	b->ends = xcalloc(p->lane_count + 2, sizeof *b->ends);
	b->sorted = xcalloc(p->sample_count + 1, sizeof *b->sorted);
	for (size_t i = 0; i < p->sample_count; i++)
		if (is_shown(&p->samples[i], view))
			b->ends[p->samples[i].lane + 1]++;
	for (size_t l = 0; l < p->lane_count; l++)
		b->ends[l + 1] += b->ends[l];
	/* Each entry begins at the begin of its lane, and moves on to its end. */
	for (size_t i = 0; i < p->sample_count; i++)
		if (is_shown(&p->samples[i], view))
			b->sorted[b->ends[p->samples[i].lane]++] = i;
}

void by_lane_clear(struct by_lane *b)
{
	free(b->sorted);
	free(b->ends);
}
