/* body.h - what stands in a request: the two places' JSON, and gzip around it. All pure. */
#ifndef SLOWPROXY_PUSH_BODY_H
#define SLOWPROXY_PUSH_BODY_H

#include <slowproxy/base/buf.h>
#include <slowproxy/push.h>

/* One item as it stands between the commas of a batch. */
typedef void body_item(struct buf *out, const struct config *c, const struct push_item *item);
body_item body_add_loki, body_add_pyroscope;

/* What stands before the first item and after the last. */
void body_begin_loki(struct buf *out, const struct config *c);
void body_begin_pyroscope(struct buf *out, const struct config *c);
extern const char body_end_loki[], body_end_pyroscope[];

void body_gzip(struct buf *out, const char *bytes, size_t len);

#endif
