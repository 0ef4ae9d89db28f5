/* line.c - one exchange as one flat JSON object: the slow line, and the access line, which lacks the capture part.
 *
 * Keys are a contract with people's dashboards; their order is for the eye. What never happened is absent, not zero.
 */
#include "lines.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <slowproxy/base/clock.h>

static void add_text(struct json *j, const char *key, const char *text, size_t max_bytes)
{
	if (text == NULL || text[0] == '\0')
		return;
	json_key(j, key);
	json_str_shortened(j, text, max_bytes);
}

static void add_ms(struct json *j, const char *key, uint64_t ns)
{
	json_key(j, key);
	json_ms(j, ns);
}

static void add_number(struct json *j, const char *key, uint64_t value)
{
	json_key(j, key);
	json_u64(j, value);
}

static void add_request(struct json *j, const struct config *c, const struct record *r)
{
	add_text(j, "service_name", c->service, WORD_MAX_BYTES);
	add_text(j, "request_id", r->request_id, WORD_MAX_BYTES);
	add_text(j, "trace_id", r->trace_id, WORD_MAX_BYTES);
	add_text(j, "span_id", r->span_id, WORD_MAX_BYTES);
	add_text(j, "http_request_method", r->method, WORD_MAX_BYTES);
	add_text(j, "url_path", r->path, PATH_MAX_BYTES);
	add_text(j, "http_route", r->route, NAME_MAX_BYTES);
	if (r->route_guessed) {
		json_key(j, "http_route_guessed");
		json_bool(j, true);
	}
	if (r->status != 0)
		add_number(j, "http_response_status_code", r->status);
	if (r->method[0] != '\0') /* else nobody could read its first line */
		add_text(j, "network_protocol_version", r->http_minor == 0 ? "1.0" : "1.1", WORD_MAX_BYTES);
}

static void add_times(struct json *j, const struct record *r)
{
	uint64_t ns;
	add_ms(j, "duration_ms", record_duration_ns(r));
	if (timeline_between_ns(&r->timeline, MARK_BEGIN, MARK_RESPONSE_HEAD, &ns))
		add_ms(j, "ttfb_ms", ns);
	if (r->threshold_ns != 0)
		add_ms(j, "threshold_ms", r->threshold_ns);
	for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
		char key[32];
		snprintf(key, sizeof key, "%s_ms", phase_names[phase]);
		if (timeline_phase_ns(&r->timeline, phase, &ns))
			add_ms(j, key, ns);
	}
}

static void add_traffic(struct json *j, const struct record *r)
{
	add_text(j, "client_address", r->client_address, WORD_MAX_BYTES);
	add_text(j, "upstream_address", r->upstream_address, WORD_MAX_BYTES);
	if (r->upstream_address[0] != '\0') {
		json_key(j, "upstream_reused");
		json_bool(j, r->upstream_reused);
	}
	add_number(j, "request_bytes", r->request_bytes);
	add_number(j, "response_bytes", r->response_bytes);
	add_text(j, "outcome", outcomes[r->outcome].name, WORD_MAX_BYTES);
	add_text(j, "outcome_reason", r->reason, REASON_MAX_BYTES);
}

static void add_worker(struct json *j, const struct record *r)
{
	const struct capture_result *capture = &r->capture;
	if (capture->worker_pid > 0)
		add_number(j, "worker_pid", (uint64_t)capture->worker_pid);
	add_text(j, "worker_python", capture->worker_python, WORD_MAX_BYTES);
	add_text(j, "worker_server", capture->worker_server, WORD_MAX_BYTES);
}

static void add_culprit(struct json *j, const struct record *r, const struct digest *d)
{
	char span[20] = "";
	if (d->culprit_ns == 0)
		return;
	if (d->culprit_span != 0)
		snprintf(span, sizeof span, "%016llx", (unsigned long long)d->culprit_span);
	add_text(j, "culprit_kind", d->culprit_kind, WORD_MAX_BYTES);
	add_ms(j, "culprit_ms", d->culprit_ns);
	add_text(j, "culprit_span_id", span, WORD_MAX_BYTES);
	if (d->culprit != NULL) {
		const char *route = d->culprit->route[0] != '\0' ? d->culprit->route : d->culprit->path;
		add_text(j, "culprit_request_id", d->culprit->request_id, WORD_MAX_BYTES);
		add_text(j, "culprit_method", d->culprit->method, WORD_MAX_BYTES);
		add_text(j, "culprit_route", route, NAME_MAX_BYTES);
	}
	if (d->culprit_frame == NULL)
		return;
	add_text(j, "culprit_function_name", d->culprit_frame->function, NAME_MAX_BYTES);
	add_text(j, "culprit_file_path", d->culprit_frame->file, NAME_MAX_BYTES);
	if (d->culprit_frame->line != 0)
		add_number(j, "culprit_line_number", d->culprit_frame->line);
	struct buf stack = { 0 };
	stack_add_text(&stack, r->capture.profile, d->culprit_stack, CULPRIT_STACK_MAX_BYTES);
	add_text(j, "culprit_stack", stack.data, CULPRIT_STACK_MAX_BYTES);
	buf_clear(&stack);
}

static void add_digest(struct json *j, const struct record *r, const struct digest *d)
{
	const struct {
		const char *key;
		uint64_t ns;
	} split[] = {
		{ "cpu_ms", d->cpu_ns },
		{ "blocking_ms", d->blocking_ns },
		{ "await_ms", d->await_ns },
		{ "blocked_by_ms", d->blocked_by_ns },
		{ "queued_ms", d->queued_ns },
		{ "gil_wait_ms", d->gil_wait_ns },
		{ "gc_ms", d->gc_ns },
		{ "await_or_blocked_ms", d->unsure_ns }, /* stands in these two, half known */
		{ "unseen_ms", d->unseen_ns },
	};
	add_text(j, "attribution", d->attribution, WORD_MAX_BYTES);
	add_text(j, "attribution_reason", d->attribution_reason, REASON_MAX_BYTES);
	add_text(j, "cause", d->cause, WORD_MAX_BYTES);
	for (size_t i = 0; i < ARRAY_LEN(split); i++)
		if (split[i].ns != 0)
			add_ms(j, split[i].key, split[i].ns);
	add_culprit(j, r, d);
	if (r->capture.blocked_others != 0) {
		add_number(j, "blocked_others", r->capture.blocked_others);
		add_ms(j, "blocked_others_ms", r->capture.blocked_others_ns);
	}
	if (d->frame == NULL)
		return;
	add_text(j, "code_function_name", d->frame->function, NAME_MAX_BYTES);
	add_text(j, "code_file_path", d->frame->file, FILE_MAX_BYTES);
	if (d->frame->line != 0)
		add_number(j, "code_line_number", d->frame->line);
	struct buf stack = { 0 };
	stack_add_text(&stack, r->capture.profile, d->stack, STACK_MAX_BYTES);
	add_text(j, "top_stack", stack.data, STACK_MAX_BYTES);
	buf_clear(&stack);
}

static void add_capture(struct json *j, const struct record *r)
{
	const struct capture_result *capture = &r->capture;
	add_number(j, "samples", capture->samples);
	add_number(j, "samples_expected", capture->samples_expected);
	add_number(j, "samples_failed", capture->samples_failed);
	add_text(j, "capture_status", capture_statuses[capture->status].name, WORD_MAX_BYTES);
	add_text(j, "capture_reason", capture_reason(r), REASON_MAX_BYTES);
}

static void add_head(
	struct json *j, const struct record *r, const char *level, const char *message, const char *event)
{
	char now[CLOCK_RFC3339_BYTES];
	clock_format_rfc3339(r->began_wall_ns + record_duration_ns(r), now);
	add_text(j, "ts", now, WORD_MAX_BYTES);
	add_text(j, "level", level, WORD_MAX_BYTES);
	add_text(j, "msg", message, SENTENCE_MAX_BYTES);
	add_text(j, "event", event, WORD_MAX_BYTES);
}

void slow_line_write(const struct config *c, const struct record *r, const struct digest *d,
	const struct profile_place *place, struct buf *out)
{
	struct buf sentence = { 0 };
	size_t from = out->len;
	sentence_add(&sentence, r, d);

	struct json j;
	json_init(&j, out);
	json_begin(&j, '{');
	add_head(&j, r, "warn", sentence.data, r->still_running ? "slow_request_running" : "slow_request");
	add_request(&j, c, r);
	add_times(&j, r);
	add_traffic(&j, r);
	add_worker(&j, r);
	add_digest(&j, r, d);
	add_capture(&j, r);
	add_text(&j, "profile_id", place->id, WORD_MAX_BYTES);
	add_text(&j, "profile_url", place->url, URL_MAX_BYTES);
	add_text(&j, "profile_file", place->file, FILE_MAX_BYTES);
	json_end(&j);
	buf_clear(&sentence);
	assert(out->len - from <= SLOW_LINE_MAX_BYTES);
}

void access_line_write(const struct config *c, const struct record *r, struct buf *out)
{
	struct json j;
	json_init(&j, out);
	json_begin(&j, '{');
	add_head(&j, r, "info", "request", "request");
	add_request(&j, c, r);
	add_times(&j, r);
	add_traffic(&j, r);
	json_end(&j);
}
