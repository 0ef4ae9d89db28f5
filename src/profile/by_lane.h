/* by_lane.h - the samples of each lane together, each lane in time order. */
#ifndef SLOWPROXY_PROFILE_BY_LANE_H
#define SLOWPROXY_PROFILE_BY_LANE_H

#include <slowproxy/profile.h>

/* sorted[begin_of(l) .. ends[l]) are the indexes of the samples of lane l that the view shows. */
struct by_lane {
	size_t *sorted, *ends;
};

void by_lane_init(struct by_lane *b, const struct profile *p, const struct profile_view *view);
void by_lane_clear(struct by_lane *b);

static inline size_t by_lane_begin(const struct by_lane *b, size_t lane)
{
	return lane == 0 ? 0 : b->ends[lane - 1];
}

#endif
