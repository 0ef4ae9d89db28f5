/* metrics.h - what Prometheus is told: counters kept by the loops, and the text they are written as.
 *
 *   loop thread    metrics_request ──> its own series, plain relaxed counters ──.
 *   writer thread  metrics_slow ─────> rows under a mutex ─────────────────────-+──> metrics_write, merged at the scrape
 *
 * Series come and never go; how many there can be is bounded: names of routes beyond the bound are told as "other".
 */
#ifndef SLOWPROXY_METRICS_H
#define SLOWPROXY_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/record.h>

/* --- the text: Prometheus 0.0.4, or OpenMetrics 1.0 --- */
struct exposition {
	struct buf *out;
	bool openmetrics;  /* only then are there exemplars, and an end is marked */
	const char *name;  /* of the family that is being written */
	bool counter;      /* its samples end in _total */
	struct buf labels; /* private: those of the next sample */
};

enum exposition_type { EXPOSITION_COUNTER, EXPOSITION_GAUGE, EXPOSITION_HISTOGRAM };

void exposition_begin(struct exposition *e, struct buf *out, bool openmetrics);
/* Its samples follow. name has no _total and is lent until the next family; unit is the name's last word, "" for none. */
void exposition_family(struct exposition *e, const char *name, enum exposition_type type, const char *unit,
	const char *help);
/* A label of the next sample; any bytes. */
void exposition_label(struct exposition *e, const char *name, const char *value);
void exposition_u64(struct exposition *e, uint64_t value);
void exposition_seconds(struct exposition *e, uint64_t ns);
/* Labels, then the end of the line, are the caller's: for buckets. */
void exposition_end(struct exposition *e);

/* --- the counters --- */
struct metrics;

/* loops: how many threads count requests. max_routes: values of http_route that are told apart, besides "" and "other". */
struct metrics *metrics_new(uint32_t loops, uint32_t max_routes);
void metrics_free(struct metrics *m);

/* A request is over. On the thread of that loop only; no lock but when a route is seen for the first time. */
void metrics_request(struct metrics *m, uint32_t loop, const struct record *r);
/* A slow line was made. Any thread. cause is a literal. */
void metrics_slow(struct metrics *m, const struct record *r, const char *cause);
/* The event loop of this worker was held for so long by one slow request. Any thread. */
void metrics_loop_blocked(struct metrics *m, int32_t worker_pid, uint64_t ns);

/* All of the above. Any thread. */
void metrics_write(struct metrics *m, struct exposition *e);
/* CPU, memory and descriptors of this process, under the names all Prometheus clients use. */
void metrics_write_process(struct exposition *e);

#endif
