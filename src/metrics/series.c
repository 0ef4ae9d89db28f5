/* series.c - counting one request into its histogram. */
#include "series.h"

#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>

#define MS(n) ((n)*NS_PER_MS)

/* Those the OpenTelemetry conventions advise for http.server.request.duration. */
const uint64_t bucket_bounds_ns[BOUNDS] = { MS(5), MS(10), MS(25), MS(50), MS(75), MS(100), MS(250), MS(500),
	MS(750), MS(1000), MS(2500), MS(5000), MS(7500), MS(10000) };
const char *const bucket_bound_names[BUCKETS] = { "0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25",
	"0.5", "0.75", "1.0", "2.5", "5.0", "7.5", "10.0", "+Inf" };

static const uint64_t exemplar_rests_ns = NS_PER_S;

static unsigned bucket_of(uint64_t ns)
{
	unsigned i = 0;
	while (i < BOUNDS && ns > bucket_bounds_ns[i])
		i++;
	return i;
}

/* There is one writer, so that no atomic addition is needed. */
static void add(_Atomic uint64_t *to, uint64_t n)
{
	atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
}

static uint64_t hex_u64(const char *text, size_t digits)
{
	char part[17] = "";
	memcpy(part, text, digits);
	return strtoull(part, NULL, 16);
}

static void exemplar_write(struct exemplar *e, const struct record *r, uint64_t duration_ns)
{
	uint64_t now_ns = r->began_wall_ns + duration_ns,
		 last_ns = atomic_load_explicit(&e->wall_ns, memory_order_relaxed);
	if (r->trace_id[0] == '\0' || (last_ns != 0 && now_ns < last_ns + exemplar_rests_ns))
		return;
	unsigned turn = atomic_load_explicit(&e->turn, memory_order_relaxed);
	atomic_store_explicit(&e->turn, turn + 1, memory_order_relaxed);
	/* Each store below is a release, so whoever sees one of them sees the odd turn, too. */
	atomic_store_explicit(&e->trace_high, hex_u64(r->trace_id, 16), memory_order_release);
	atomic_store_explicit(&e->trace_low, hex_u64(r->trace_id + 16, 16), memory_order_release);
	atomic_store_explicit(&e->span, hex_u64(r->span_id, 16), memory_order_release);
	atomic_store_explicit(&e->duration_ns, duration_ns, memory_order_release);
	atomic_store_explicit(&e->wall_ns, now_ns, memory_order_release);
	atomic_store_explicit(&e->turn, turn + 2, memory_order_release);
}

bool exemplar_read(struct exemplar *e, struct exemplar_copy *out)
{
	unsigned before = atomic_load_explicit(&e->turn, memory_order_acquire);
	out->trace_high = atomic_load_explicit(&e->trace_high, memory_order_acquire);
	out->trace_low = atomic_load_explicit(&e->trace_low, memory_order_acquire);
	out->span = atomic_load_explicit(&e->span, memory_order_acquire);
	out->duration_ns = atomic_load_explicit(&e->duration_ns, memory_order_acquire);
	out->wall_ns = atomic_load_explicit(&e->wall_ns, memory_order_acquire);
	return before % 2 == 0 && out->wall_ns != 0 &&
	       atomic_load_explicit(&e->turn, memory_order_relaxed) == before;
}

void series_count(struct series *s, const struct record *r)
{
	uint64_t ns = record_duration_ns(r);
	unsigned bucket = bucket_of(ns);
	add(&s->buckets[bucket], 1);
	add(&s->sum_ns, ns);
	exemplar_write(&s->exemplars[bucket], r, ns);
}
