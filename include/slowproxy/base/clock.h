/* base/clock.h - the two clocks: one for durations, one for calendars. */
#ifndef SLOWPROXY_BASE_CLOCK_H
#define SLOWPROXY_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define NS_PER_S  UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_US UINT64_C(1000)

/* CLOCK_MONOTONIC in ns: the only clock durations are taken from. It is the same in all processes of a machine. */
uint64_t clock_now_ns(void);

/* CLOCK_REALTIME in ns since 1970: only for showing a time of day. */
uint64_t clock_wall_ns(void);

/* Writes wall_ns as RFC 3339 in UTC with nine fractional digits ("2026-11-22T07:00:00.123456789Z") into out,
 * which must hold CLOCK_RFC3339_BYTES. */
enum { CLOCK_RFC3339_BYTES = 31 };
void clock_format_rfc3339(uint64_t wall_ns, char out[CLOCK_RFC3339_BYTES]);

#endif
