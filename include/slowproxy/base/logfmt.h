/* base/logfmt.h - a flat JSON object as logfmt: {"a":"b c","n":1} becomes a="b c" n=1. */
#ifndef SLOWPROXY_BASE_LOGFMT_H
#define SLOWPROXY_BASE_LOGFMT_H

#include <slowproxy/base/buf.h>

/* json is an object as base/json.h writes it, without a newline. Strings keep their JSON escapes where they need quotes, as
 * readers of logfmt have it; an array or object within is one quoted text. */
void logfmt_add_json(struct buf *out, const char *json, size_t len);

#endif
