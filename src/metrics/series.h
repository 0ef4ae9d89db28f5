/* series.h - one histogram of request durations for each method, route and status.
 *
 *   one loop writes, with plain loads and stores that are atomic; the scrape reads. Nobody waits for anybody.
 */
#ifndef SLOWPROXY_METRICS_SERIES_H
#define SLOWPROXY_METRICS_SERIES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/mem.h>
#include <slowproxy/record.h>

enum { BOUNDS = 14, BUCKETS = BOUNDS + 1 }; /* the last one has no bound */
extern const uint64_t bucket_bounds_ns[BOUNDS];
extern const char *const bucket_bound_names[BUCKETS];

/* A request that fell into a bucket. Written seldom, read at the scrape: odd turns are half written. */
struct exemplar {
	atomic_uint turn;
	_Atomic uint64_t trace_high, trace_low, span, duration_ns, wall_ns; /* wall_ns 0: none yet */
};

struct series {
	struct series *_Atomic next; /* newest first; never leaves */
	const char *method, *route;  /* interned: equal ones are one */
	uint16_t status;
	_Atomic uint64_t buckets[BUCKETS];
	_Atomic uint64_t sum_ns;
	struct exemplar exemplars[BUCKETS];
};

void series_count(struct series *s, const struct record *r);

struct exemplar_copy {
	uint64_t trace_high, trace_low, span, duration_ns, wall_ns;
};
/* false: there is none, or it is being written. */
bool exemplar_read(struct exemplar *e, struct exemplar_copy *out);

/* --- names.c: the values that the label http_route can have --- */
struct names;
struct names *names_new(uint32_t max);
void names_free(struct names *n);
/* The one text equal to this, kept; "other" when there is no room for it. Any thread; locks while there is room. */
const char *names_intern(struct names *n, const char *text);
size_t names_count(struct names *n);
uint64_t names_overflows(struct names *n);

#endif
