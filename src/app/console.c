/* console.c - the numbers of the whole proxy, for /metrics and for the page. */
#include "console.h"

#include <stddef.h>
#include <stdlib.h>

#include <slowproxy/base/clock.h>

#include "ask.h"

/* What all loops together make of a counter: 4 bytes, or 8, or an array of 8. */
#define SUMMED(field)                                                                                        \
	{                                                                                                    \
		offsetof(struct ask_answer, field), sizeof(((struct ask_answer *)NULL)->field)               \
	}
static const struct summed {
	size_t at, bytes;
} summed[] = {
	SUMMED(proxy.outcomes),
	SUMMED(proxy.clients_accepted),
	SUMMED(proxy.clients),
	SUMMED(proxy.exchanges),
	SUMMED(proxy.queued),
	SUMMED(proxy.upstream_idle),
	SUMMED(proxy.upstream_busy),
	SUMMED(proxy.upstream_connects),
	SUMMED(proxy.upstream_reuses),
	SUMMED(proxy.upstream_replays),
	SUMMED(capture.armed),
	SUMMED(capture.samples),
	SUMMED(capture.messages_dropped),
	SUMMED(capture.sampler_losses),
};

static void summed_add(const struct summed *s, struct ask_answer *sum, const struct ask_answer *one)
{
	void *to = (char *)sum + s->at;
	const void *from = (const char *)one + s->at;
	if (s->bytes == sizeof(uint32_t)) {
		*(uint32_t *)to += *(const uint32_t *)from;
		return;
	}
	for (size_t i = 0; i < s->bytes / sizeof(uint64_t); i++)
		((uint64_t *)to)[i] += ((const uint64_t *)from)[i];
}

static void sum_loops(const struct ask *a, uint32_t count, struct ask_answer *sum)
{
	*sum = (struct ask_answer){ .told = true };
	for (uint32_t i = 0; i < count; i++) {
		const struct ask_answer *one = ask_answer(a, i);
		for (size_t k = 0; k < ARRAY_LEN(summed); k++)
			summed_add(&summed[k], sum, one);
		sum->sampler_silent |= one->sampler_silent;
		sum->told &= one->told;
	}
}

static void family(
	struct exposition *e, const char *name, enum exposition_type type, const char *help, uint64_t value)
{
	exposition_family(e, name, type, "", help);
	exposition_u64(e, value);
}

static void proxy_metrics(struct exposition *e, const struct proxy_counters *p)
{
	family(e, "http_server_active_requests", EXPOSITION_GAUGE, "Requests that are under way.",
		p->exchanges);
	exposition_family(e, "slowproxy_requests", EXPOSITION_COUNTER, "",
		"Requests that are over, by how they ended: the outcome of the lines.");
	for (size_t i = 0; i < OUTCOME_COUNT; i++) {
		exposition_label(e, "outcome", outcomes[i].name);
		exposition_u64(e, p->outcomes[i]);
	}
	family(e, "slowproxy_clients", EXPOSITION_GAUGE, "Connections of clients.", p->clients);
	family(e, "slowproxy_clients_accepted", EXPOSITION_COUNTER,
		"Connections of clients that were accepted.", p->clients_accepted);
	family(e, "slowproxy_queued_requests", EXPOSITION_GAUGE,
		"Requests that wait because of limits.upstream_connections.", p->queued);
	exposition_family(
		e, "slowproxy_upstream_connections", EXPOSITION_GAUGE, "", "Connections to the backends.");
	exposition_label(e, "state", "idle");
	exposition_u64(e, p->upstream_idle);
	exposition_label(e, "state", "busy");
	exposition_u64(e, p->upstream_busy);
	family(e, "slowproxy_upstream_connects", EXPOSITION_COUNTER, "New connections to the backends.",
		p->upstream_connects);
	family(e, "slowproxy_upstream_reuses", EXPOSITION_COUNTER,
		"Requests that were sent on a connection that was there already.", p->upstream_reuses);
	family(e, "slowproxy_upstream_replays", EXPOSITION_COUNTER,
		"Requests that were sent once more, since the backend closed their connection without an answer.",
		p->upstream_replays);
}

static void capture_metrics(struct exposition *e, const struct console *c, const struct ask_answer *sum)
{
	const struct capture_counters *k = &sum->capture;
	family(e, "slowproxy_capture_enabled", EXPOSITION_GAUGE, "1 where capture.enabled is true.",
		c->config->capture.enabled);
	family(e, "slowproxy_capture_sampler_up", EXPOSITION_GAUGE, "1 while the sampler process answers.",
		c->config->capture.enabled && !sum->sampler_silent);
	family(e, "slowproxy_capture_armed_requests", EXPOSITION_COUNTER,
		"Requests that became older than capture.arm_after.", k->armed);
	family(e, "slowproxy_capture_samples", EXPOSITION_COUNTER, "Samples that came from the sampler.",
		k->samples);
	family(e, "slowproxy_capture_messages_dropped", EXPOSITION_COUNTER,
		"Orders to the sampler that found its channel full.", k->messages_dropped);
	family(e, "slowproxy_capture_sampler_losses", EXPOSITION_COUNTER,
		"Times that the sampler went away or did not answer.", k->sampler_losses);
}

static void push_family(struct exposition *e, const char *name, enum exposition_type type, const char *help,
	const uint64_t values[PUSH_PLACES], const bool wanted[PUSH_PLACES])
{
	exposition_family(e, name, type, "", help);
	for (size_t i = 0; i < PUSH_PLACES; i++) {
		if (!wanted[i])
			continue;
		exposition_label(e, "place", push_place_names[i]);
		exposition_u64(e, values[i]);
	}
}

static void push_metrics(struct exposition *e, struct push *push)
{
	struct push_counts counts[PUSH_PLACES];
	bool wanted[PUSH_PLACES];
	for (enum push_place i = 0; i < PUSH_PLACES; i++) {
		wanted[i] = push_wants(push, i);
		if (wanted[i])
			push_count(push, i, &counts[i]);
	}
#define EACH(field) ((const uint64_t[]){ wanted[0] ? counts[0].field : 0, wanted[1] ? counts[1].field : 0 })
	push_family(e, "slowproxy_push_sent", EXPOSITION_COUNTER,
		"Lines or profiles that the place has taken.", EACH(sent), wanted);
	push_family(e, "slowproxy_push_dropped", EXPOSITION_COUNTER,
		"Lines or profiles that were given up: the queue was full.", EACH(dropped), wanted);
	push_family(e, "slowproxy_push_rejected", EXPOSITION_COUNTER,
		"Lines or profiles that the place refused for good.", EACH(rejected), wanted);
	push_family(e, "slowproxy_push_failures", EXPOSITION_COUNTER,
		"Requests to the place that failed and are tried again.", EACH(failures), wanted);
	push_family(e, "slowproxy_push_waiting", EXPOSITION_GAUGE, "Lines or profiles that wait to be sent.",
		EACH(waiting), wanted);
#undef EACH
}

static void own_metrics(struct exposition *e, const struct console *c, bool all_told)
{
	family(e, "slowproxy_log_lines_dropped", EXPOSITION_COUNTER,
		"Lines that were lost because their reader is slow, or could not be written.",
		report_lines_dropped(c->report));
	family(e, "slowproxy_log_lines_queued", EXPOSITION_GAUGE, "Lines that wait to be written.",
		report_lines_queued(c->report));
	family(e, "slowproxy_config_last_reload_successful", EXPOSITION_GAUGE,
		"1 if the configuration that was read last is the one in use.",
		!atomic_load(&c->reload_failed));
	exposition_family(e, "slowproxy_config_last_reload_success_timestamp_seconds", EXPOSITION_GAUGE,
		"seconds", "When the configuration in use was read, since 1970.");
	exposition_seconds(e, c->reloaded_wall_ns);
	family(e, "slowproxy_workers", EXPOSITION_GAUGE, "Threads that move traffic.", c->loop_count);
	family(e, "slowproxy_workers_answered", EXPOSITION_GAUGE,
		"1 if all of them have given their numbers to this scrape in time.", all_told);
	exposition_family(
		e, "slowproxy_build_info", EXPOSITION_GAUGE, "", "Always 1; the labels tell the build.");
	exposition_label(e, "version", SLOWPROXY_VERSION);
	exposition_label(e, "service_name", c->config->service);
	exposition_u64(e, 1);
}

/* Once the console is closed, the report may be gone. */
static void lent_metrics(struct exposition *e, struct console *c, bool all_told)
{
	pthread_mutex_lock(&c->asking);
	if (!c->closed) {
		push_metrics(e, c->push);
		own_metrics(e, c, all_told);
	}
	pthread_mutex_unlock(&c->asking);
}

static void console_metrics(void *console, struct exposition *e)
{
	struct console *c = console;
	struct ask *asked = ask_loops(c, false);
	struct ask_answer sum;
	sum_loops(asked, c->loop_count, &sum);
	metrics_write(c->metrics, e);
	proxy_metrics(e, &sum.proxy);
	capture_metrics(e, c, &sum);
	lent_metrics(e, c, sum.told);
	metrics_write_process(e);
	ask_free(asked);
}

static void text(struct json *j, const char *key, const char *value)
{
	json_key(j, key);
	json_str(j, value);
}

static void milliseconds(struct json *j, const char *key, uint64_t ns)
{
	json_key(j, key);
	json_ms(j, ns);
}

static void running_write(struct json *j, const struct ask_running *r)
{
	json_begin(j, '{');
	text(j, "request_id", r->request_id);
	text(j, "trace_id", r->trace_id);
	text(j, "http_request_method", r->method);
	text(j, "url_path", r->path);
	if (r->route[0] != '\0')
		text(j, "http_route", r->route);
	if (r->route_guessed) {
		json_key(j, "http_route_guessed");
		json_bool(j, true);
	}
	milliseconds(j, "duration_ms", r->age_ns);
	if (r->threshold_ns != 0)
		milliseconds(j, "threshold_ms", r->threshold_ns);
	text(j, "phase", r->phase);
	text(j, "client_address", r->client_address);
	text(j, "upstream_address", r->upstream_address);
	json_end(j);
}

static void console_inflight(void *console, struct json *j)
{
	struct console *c = console;
	struct ask *asked = ask_loops(c, true);
	for (uint32_t i = 0; i < c->loop_count; i++)
		for (size_t k = 0; k < ask_answer(asked, i)->running_count; k++)
			running_write(j, &ask_answer(asked, i)->running[k]);
	ask_free(asked);
}

static void number(struct json *j, const char *key, uint64_t value)
{
	json_key(j, key);
	json_u64(j, value);
}

static void console_status(void *console, struct json *j)
{
	struct console *c = console;
	struct ask *asked = ask_loops(c, false);
	struct ask_answer sum;
	uint64_t requests = 0;
	sum_loops(asked, c->loop_count, &sum);
	for (size_t i = 0; i < OUTCOME_COUNT; i++)
		requests += sum.proxy.outcomes[i];
	text(j, "upstream", c->config->upstream.items[0].text);
	number(j, "requests", requests);
	number(j, "requests_ok", sum.proxy.outcomes[OUTCOME_OK] + sum.proxy.outcomes[OUTCOME_TUNNEL]);
	number(j, "active_requests", sum.proxy.exchanges);
	number(j, "clients", sum.proxy.clients);
	milliseconds(j, "threshold_ms", c->config->slow.threshold_ns);
	json_key(j, "capture_enabled");
	json_bool(j, c->config->capture.enabled);
	json_key(j, "sampler_up");
	json_bool(j, c->config->capture.enabled && !sum.sampler_silent);
	number(j, "sampler_losses", sum.capture.sampler_losses);
	number(j, "samples", sum.capture.samples);
	number(j, "messages_dropped", sum.capture.messages_dropped);
	number(j, "lines_dropped", report_lines_dropped(c->report));
	json_key(j, "last_reload_successful");
	json_bool(j, !atomic_load(&c->reload_failed));
	ask_free(asked);
}

static void console_told(void *console, struct report_told *told)
{
	struct console *c = console;
	admin_told(c->admin, told->record->route, told->slow, told->profile);
	told->profile = NULL;
}

static void console_slow(void *console, struct report_slow *slow)
{
	struct console *c = console;
	const struct digest *d = slow->digest;
	if (!slow->record->still_running) /* it is told of once more when it is over */
		metrics_slow(c->metrics, slow->record, d->cause);
	if (d->held_loop_ns != 0)
		metrics_loop_blocked(c->metrics, slow->record->capture.worker_pid, d->held_loop_ns);
	if (c->admin == NULL)
		return;
	const struct admin_slow kept = {
		.id = slow->profile_id,
		.line = slow->line->data,
		.line_len = slow->line->len,
		.page = slow->page != NULL ? slow->page->data : NULL,
		.page_len = slow->page != NULL ? slow->page->len : 0,
		.profile = slow->profile,
	};
	slow->profile = NULL;
	admin_slow(c->admin, &kept);
}

/* --- beginning and end --- */

void console_loop_init(struct console_loop *l, struct loop *loop, const struct proxy *proxy,
	const struct capture *capture, const struct naming *naming)
{
	*l = (struct console_loop){ .loop = loop, .proxy = proxy, .capture = capture, .naming = naming };
	list_init(&l->running);
}

void console_open(struct console *c, const struct config *config, struct report *report, struct push *push,
	struct console_loop **loops, int admin_fd)
{
	const struct admin_source source = { console_metrics, console_inflight, console_status, c };
	pthread_mutex_init(&c->asking, NULL);
	c->config = config;
	c->report = report;
	c->push = push;
	c->loops = loops;
	c->loop_count = config->workers;
	c->reloaded_wall_ns = clock_wall_ns();
	c->metrics = metrics_new(config->workers, config->metrics.max_routes);
	if (admin_fd >= 0)
		c->admin = admin_new(config, admin_fd, &source);
	const struct report_watcher watcher = {
		.slow = console_slow,
		.told = c->admin != NULL ? console_told : NULL,
		.keeps = c->admin != NULL,
		.profile_url = c->admin != NULL ? admin_url(c->admin) : "",
		.context = c,
	};
	report_set_watcher(report, &watcher);
}

void console_close(struct console *c)
{
	pthread_mutex_lock(&c->asking);
	c->closed = true;
	pthread_mutex_unlock(&c->asking);
}

void console_reload_failed(struct console *c)
{
	atomic_store(&c->reload_failed, true);
}

void console_stop(struct console *c)
{
	admin_stop(c->admin);
}

void console_clear(struct console *c)
{
	admin_free(c->admin);
	metrics_free(c->metrics);
	pthread_mutex_destroy(&c->asking);
	free(c->loops);
}
