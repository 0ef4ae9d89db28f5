/* fold.h - equal stacks counted together: what most files are made of. */
#ifndef SLOWPROXY_PROFILE_FOLD_H
#define SLOWPROXY_PROFILE_FOLD_H

#include <slowproxy/profile.h>

struct folded {
	uint32_t lane, stack;
	uint64_t count, weight_ns;
};

/* In the order of first appearance; free() the result. A stack is counted per lane where the view shows lanes, else under
 * lane 0. NULL when there is none. */
struct folded *profile_fold(const struct profile *p, const struct profile_view *view, size_t *count);

/* "render (app.py:88)", as the view wants it. */
void profile_frame_label(const struct profile_frame *f, bool no_lines, struct buf *out);

/* The text, with '?' for each byte that is not UTF-8: some readers refuse the whole file for one. */
void profile_add_utf8(const char *text, struct buf *out);

#endif
