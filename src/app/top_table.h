/* top_table.h - how often each function and line was seen: just now, and since the beginning. */
#ifndef APP_TOP_TABLE_H
#define APP_TOP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/profile.h>

enum top_sort { TOP_BY_OWN, TOP_BY_ALL, TOP_BY_OWN_TIME, TOP_BY_ALL_TIME, TOP_SORT_COUNT };

/* In samples: `own` with it on top of the stack, `all` with it anywhere in it. */
struct top_row {
	uint32_t frame;    /* of the profile: the line, or one of the function's lines */
	uint64_t own, all; /* of the last interval */
	uint64_t own_sum, all_sum;
	uint64_t counted; /* the last sample that counted in `all`: recursion counts once */
};

struct top_table {
	struct top_row *lines, *functions; /* [frame]; a function's row is that of its first frame */
	uint32_t *function_of;             /* [frame] */
	size_t frames, capacity;
	struct map names; /* of a function and its file -> its first frame */
	uint64_t samples;
	uint64_t looks, looks_sum; /* of the last interval, and all */
};

/* An interval is over: counts its samples. */
void top_table_take(struct top_table *t, const struct profile *p, uint64_t looks);
/* Rows that were seen at all, the largest first; free() the result. */
struct top_row *top_table_sorted(const struct top_table *t, bool lines, enum top_sort by, size_t *count);
void top_table_reset(struct top_table *t); /* all counts to 0 */
void top_table_clear(struct top_table *t);

#endif
