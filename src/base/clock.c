/* clock.c - the two clocks. */
#include <slowproxy/base/clock.h>

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static uint64_t read_clock(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t clock_now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

void clock_format_rfc3339(uint64_t wall_ns, char out[CLOCK_RFC3339_BYTES])
{
	time_t seconds = (time_t)(wall_ns / NS_PER_S);
	struct tm utc;
	gmtime_r(&seconds, &utc);
	size_t len = strftime(out, CLOCK_RFC3339_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(out + len, CLOCK_RFC3339_BYTES - len, ".%09" PRIu64 "Z", wall_ns % NS_PER_S);
}
