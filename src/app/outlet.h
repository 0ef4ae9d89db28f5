/* outlet.h - the seam between report and push: copies of slow lines to Loki, of profiles to Pyroscope. */
#ifndef SLOWPROXY_APP_OUTLET_H
#define SLOWPROXY_APP_OUTLET_H

#include <slowproxy/push.h>
#include <slowproxy/report.h>

/* push may be NULL: then nothing is copied. It outlives the report. */
void outlet_plug(struct report *report, struct push *push, const struct config *config);

#endif
