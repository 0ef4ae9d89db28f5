/* page.h - the facts of an exchange above its flame graph. */
#ifndef SLOWPROXY_REPORT_PAGE_H
#define SLOWPROXY_REPORT_PAGE_H

#include <slowproxy/base/buf.h>
#include <slowproxy/report.h>

void page_write(const struct config *c, const struct record *r, const struct digest *d,
	const struct profile *p, const char *profile_id, struct buf *out);

#endif
