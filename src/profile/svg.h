/* svg.h - what both kinds of drawn flame graphs share. */
#ifndef SLOWPROXY_PROFILE_SVG_H
#define SLOWPROXY_PROFILE_SVG_H

#include <slowproxy/profile.h>

enum { SVG_WIDTH = 1200, SVG_ROW = 18, SVG_TOP = 64, SVG_MARGIN = 10 };

/* Text as XML and HTML want it. */
void svg_add_escaped(struct buf *out, const char *text, size_t len);
/* Everything before the frames, and after them. */
void svg_begin(struct buf *out, const char *title, uint32_t depth);
void svg_end(struct buf *out);
/* The label, as much of it as fits. */
void svg_add_fitting(struct buf *out, const struct buf *label, double width);

#endif
