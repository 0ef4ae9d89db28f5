/* metrics.c - which series a request belongs to, and all series as text.
 *
 *   metrics ─┬─ names              values of http_route, shared by all loops
 *            ├─ shelf[loop]        that loop's series: a hash table for it, a list for the scrape
 *            └─ slow, blocked      rows under a mutex: they are written by slow requests only
 */
#include <slowproxy/metrics.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/map.h>
#include <slowproxy/base/str.h>

#include "series.h"

enum { SERIES_SPARE = 64, SERIES_PER_ROUTE = 16, WORKERS_MAX = 64 };

struct shelf {
	struct series **slots; /* by hash; the loop's alone */
	size_t mask, count;
	struct series *_Atomic newest;
};

struct slow_row {
	const char *route, *cause;
	uint64_t count;
};

struct blocked_row {
	int32_t pid;
	uint64_t ns;
};

struct metrics {
	struct names *names;
	size_t max_series; /* of each shelf; a few more for what does not fit */
	struct shelf *shelves;
	uint32_t shelf_count;
	pthread_mutex_t lock; /* guards what follows */
	struct slow_row *slow;
	size_t slow_count, slow_capacity;
	struct blocked_row blocked[WORKERS_MAX];
	size_t blocked_count;
	uint64_t captures[CAPTURE_STATUS_COUNT];
};

struct metrics *metrics_new(uint32_t loops, uint32_t max_routes)
{
	struct metrics *m = xcalloc(1, sizeof *m);
	size_t capacity = 64;
	m->names = names_new(max_routes);
	m->max_series = (size_t)max_routes * SERIES_PER_ROUTE;
	while (capacity < (m->max_series + SERIES_SPARE) * 2)
		capacity *= 2;
	m->shelves = xcalloc(loops, sizeof *m->shelves);
	m->shelf_count = loops;
	for (uint32_t i = 0; i < loops; i++) {
		m->shelves[i].slots = xcalloc(capacity, sizeof(struct series *));
		m->shelves[i].mask = capacity - 1;
	}
	pthread_mutex_init(&m->lock, NULL);
	return m;
}

void metrics_free(struct metrics *m)
{
	if (m == NULL)
		return;
	for (uint32_t i = 0; i < m->shelf_count; i++) {
		struct series *s = atomic_load(&m->shelves[i].newest);
		while (s != NULL) {
			struct series *next = atomic_load(&s->next);
			free(s);
			s = next;
		}
		free(m->shelves[i].slots);
	}
	names_free(m->names);
	pthread_mutex_destroy(&m->lock);
	free(m->shelves);
	free(m->slow);
	free(m);
}

/* --- a request --- */

/* Those of the OpenTelemetry conventions; all else is one. */
static const char *method_name(const char *method)
{
	static const char *const known[] = { "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS",
		"CONNECT", "TRACE", "QUERY" };
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(method, known[i]) == 0)
			return known[i];
	return "_OTHER";
}

/* Its slot, or the free one where it would be. route is a text here, not an interned name. */
static size_t slot_of(const struct shelf *s, const char *method, const char *route, uint16_t status)
{
	uint64_t hash = hash_bytes(route, strlen(route)) + (uint64_t)status * 0x9e3779b97f4a7c15u +
			(unsigned char)method[0] + ((uint64_t)(unsigned char)method[1] << 8);
	size_t i = (size_t)(hash ^ hash >> 29) & s->mask;
	for (; s->slots[i] != NULL; i = (i + 1) & s->mask)
		if (s->slots[i]->status == status && s->slots[i]->method == method &&
			strcmp(s->slots[i]->route, route) == 0)
			break;
	return i;
}

static struct series *series_add(
	struct shelf *shelf, size_t slot, const char *method, const char *route, uint16_t status)
{
	struct series *s = xcalloc(1, sizeof *s);
	s->method = method;
	s->route = route;
	s->status = status;
	atomic_store_explicit(
		&s->next, atomic_load_explicit(&shelf->newest, memory_order_relaxed), memory_order_relaxed);
	atomic_store_explicit(&shelf->newest, s, memory_order_release);
	shelf->slots[slot] = s;
	shelf->count++;
	return s;
}

/* What does not fit is counted all the same, with the class of its status: errors stay errors. */
static struct series *series_other(struct shelf *shelf, uint16_t status)
{
	uint16_t class = status / 100 <= 5 ? status / 100 * 100 : 0;
	size_t slot = slot_of(shelf, "_OTHER", "other", class);
	struct series *s = shelf->slots[slot];
	return s != NULL ? s : series_add(shelf, slot, method_name("_OTHER"), "other", class);
}

static struct series *series_find(struct metrics *m, struct shelf *shelf, const struct record *r)
{
	const char *method = method_name(r->method);
	size_t slot = slot_of(shelf, method, r->route, r->status);
	if (shelf->slots[slot] != NULL)
		return shelf->slots[slot];
	const char *route = names_intern(m->names, r->route);
	if (strcmp(route, r->route) != 0) {
		slot = slot_of(shelf, method, route, r->status);
		if (shelf->slots[slot] != NULL)
			return shelf->slots[slot];
	}
	if (shelf->count >= m->max_series)
		return series_other(shelf, r->status);
	return series_add(shelf, slot, method, route, r->status);
}

void metrics_request(struct metrics *m, uint32_t loop, const struct record *r)
{
	series_count(series_find(m, &m->shelves[loop], r), r);
}

/* --- slow ones --- */

void metrics_slow(struct metrics *m, const struct record *r, const char *cause)
{
	const char *route = names_intern(m->names, r->route);
	size_t i = 0;
	pthread_mutex_lock(&m->lock);
	m->captures[r->capture.status]++;
	while (i < m->slow_count && (m->slow[i].route != route || strcmp(m->slow[i].cause, cause) != 0))
		i++;
	if (i == m->slow_count) {
		m->slow = array_grow(m->slow, &m->slow_capacity, m->slow_count, sizeof *m->slow);
		m->slow[m->slow_count++] = (struct slow_row){ .route = route, .cause = cause };
	}
	m->slow[i].count++;
	pthread_mutex_unlock(&m->lock);
}

/* Workers come and go: the one that is forgotten for a new one is that which was blocked least. */
void metrics_loop_blocked(struct metrics *m, int32_t worker_pid, uint64_t ns)
{
	size_t i = 0;
	pthread_mutex_lock(&m->lock);
	while (i < m->blocked_count && m->blocked[i].pid != worker_pid)
		i++;
	if (i == WORKERS_MAX) {
		i = 0;
		for (size_t k = 1; k < WORKERS_MAX; k++)
			if (m->blocked[k].ns < m->blocked[i].ns)
				i = k;
		m->blocked[i] = (struct blocked_row){ .pid = worker_pid };
	} else if (i == m->blocked_count) {
		m->blocked[m->blocked_count++] = (struct blocked_row){ .pid = worker_pid };
	}
	m->blocked[i].ns += ns;
	pthread_mutex_unlock(&m->lock);
}

/* --- the scrape --- */

static int by_labels(const void *a, const void *b)
{
	const struct series *x = *(struct series *const *)a, *y = *(struct series *const *)b;
	int order = strcmp(x->route, y->route);
	if (order == 0)
		order = strcmp(x->method, y->method);
	return order != 0 ? order : (int)x->status - (int)y->status;
}

/* Owned by the caller; equal ones of different loops stand side by side. */
static struct series **all_series(struct metrics *m, size_t *count)
{
	struct series **all = NULL;
	size_t capacity = 0;
	*count = 0;
	for (uint32_t i = 0; i < m->shelf_count; i++) {
		struct series *s = atomic_load_explicit(&m->shelves[i].newest, memory_order_acquire);
		for (; s != NULL; s = atomic_load_explicit(&s->next, memory_order_relaxed)) {
			all = array_grow(all, &capacity, *count, sizeof(struct series *));
			all[(*count)++] = s;
		}
	}
	if (*count != 0)
		qsort(all, *count, sizeof(struct series *), by_labels);
	return all;
}

struct merged {
	uint64_t buckets[BUCKETS], sum_ns;
	struct exemplar_copy exemplars[BUCKETS]; /* wall_ns 0: none */
};

static void merge(struct merged *into, struct series *s)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		struct exemplar_copy x;
		into->buckets[i] += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
		if (exemplar_read(&s->exemplars[i], &x) && x.wall_ns > into->exemplars[i].wall_ns)
			into->exemplars[i] = x;
	}
	into->sum_ns += atomic_load_explicit(&s->sum_ns, memory_order_relaxed);
}

static void add_exemplar(struct buf *out, const struct exemplar_copy *x)
{
	buf_printf(out,
		" # {trace_id=\"%016" PRIx64 "%016" PRIx64 "\",span_id=\"%016" PRIx64 "\"} %" PRIu64
		".%09" PRIu64 " %" PRIu64 ".%03" PRIu64,
		x->trace_high, x->trace_low, x->span, x->duration_ns / NS_PER_S, x->duration_ns % NS_PER_S,
		x->wall_ns / NS_PER_S, x->wall_ns / NS_PER_MS % 1000);
}

/* labels: all but le. */
static void write_histogram(struct exposition *e, const char *labels, const struct merged *h)
{
	uint64_t count = 0;
	for (unsigned i = 0; i < BUCKETS; i++) {
		count += h->buckets[i];
		buf_printf(e->out, "%s_bucket{%s,le=\"%s\"} %" PRIu64, e->name, labels, bucket_bound_names[i],
			count);
		if (e->openmetrics && h->exemplars[i].wall_ns != 0)
			add_exemplar(e->out, &h->exemplars[i]);
		buf_add_char(e->out, '\n');
	}
	buf_printf(e->out, "%s_count{%s} %" PRIu64 "\n", e->name, labels, count);
	buf_printf(e->out, "%s_sum{%s} %" PRIu64 ".%09" PRIu64 "\n", e->name, labels, h->sum_ns / NS_PER_S,
		h->sum_ns % NS_PER_S);
}

static void write_durations(struct metrics *m, struct exposition *e)
{
	size_t count;
	struct series **all = all_series(m, &count);
	exposition_family(e, "http_server_request_duration_seconds", EXPOSITION_HISTOGRAM, "seconds",
		"Time from the first byte of a request to the last byte of its answer.");
	for (size_t i = 0; i < count;) {
		struct merged h = { 0 };
		size_t first = i;
		char status[8] = "";
		for (; i < count && by_labels(&all[i], &all[first]) == 0; i++)
			merge(&h, all[i]);
		if (all[first]->status != 0)
			snprintf(status, sizeof status, "%u", all[first]->status);
		exposition_label(e, "http_request_method", all[first]->method);
		exposition_label(e, "http_response_status_code", status);
		exposition_label(e, "http_route", all[first]->route);
		write_histogram(e, e->labels.data, &h);
		buf_reset(&e->labels);
	}
	free(all);
}

static void write_slow(const struct metrics *m, struct exposition *e)
{
	exposition_family(e, "slowproxy_slow_requests", EXPOSITION_COUNTER, "",
		"Slow requests that are over, by route and by the cause that their samples tell.");
	for (size_t i = 0; i < m->slow_count; i++) {
		exposition_label(e, "http_route", m->slow[i].route);
		exposition_label(e, "cause", m->slow[i].cause);
		exposition_u64(e, m->slow[i].count);
	}
	exposition_family(e, "slowproxy_captures", EXPOSITION_COUNTER, "",
		"Slow requests that are over, by how the capture of their stacks went (capture_status).");
	for (size_t i = 0; i < CAPTURE_STATUS_COUNT; i++) {
		exposition_label(e, "status", capture_statuses[i].name);
		exposition_u64(e, m->captures[i]);
	}
	exposition_family(e, "slowproxy_event_loop_blocked_seconds", EXPOSITION_COUNTER, "seconds",
		"Time for which slow requests held the event loop of a worker: nothing else could go on there.");
	for (size_t i = 0; i < m->blocked_count; i++) {
		char pid[16];
		snprintf(pid, sizeof pid, "%" PRId32, m->blocked[i].pid);
		exposition_label(e, "worker", pid);
		exposition_seconds(e, m->blocked[i].ns);
	}
}

void metrics_write(struct metrics *m, struct exposition *e)
{
	write_durations(m, e);
	pthread_mutex_lock(&m->lock);
	write_slow(m, e);
	pthread_mutex_unlock(&m->lock);
	exposition_family(e, "slowproxy_route_labels", EXPOSITION_GAUGE, "",
		"Values of http_route in use; further routes are told as other.");
	exposition_u64(e, names_count(m->names));
	exposition_family(e, "slowproxy_route_labels_overflows", EXPOSITION_COUNTER, "",
		"Requests whose route found no room among the values of http_route.");
	exposition_u64(e, names_overflows(m->names));
}
