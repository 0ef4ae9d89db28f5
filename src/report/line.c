/* line.c - one exchange as one flat JSON object: the slow line, and the access line, which lacks the capture part.
 *
 * Keys are a contract with people's dashboards; their order is for the eye. What never happened is absent, not zero.
 */
#include "lines.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <slowproxy/base/clock.h>

/* The line at work. Where every text is as long as it may be, all of them together are too long: then all get narrower. */
struct line {
	struct json json;
	unsigned narrow; /* texts get so many times less room */
};

static void add_text(struct line *l, const char *key, const char *text, size_t max_bytes)
{
	if (text == NULL || text[0] == '\0')
		return;
	json_key(&l->json, key);
	json_str_shortened(&l->json, text, max_bytes / l->narrow);
}

static void add_ms(struct line *l, const char *key, uint64_t ns)
{
	json_key(&l->json, key);
	json_ms(&l->json, ns);
}

static void add_number(struct line *l, const char *key, uint64_t value)
{
	json_key(&l->json, key);
	json_u64(&l->json, value);
}

static void add_flag(struct line *l, const char *key, bool value)
{
	json_key(&l->json, key);
	json_bool(&l->json, value);
}

static void add_request(struct line *l, const struct config *c, const struct record *r)
{
	add_text(l, "service_name", c->service, WORD_MAX_BYTES);
	add_text(l, "request_id", r->request_id, WORD_MAX_BYTES);
	add_text(l, "trace_id", r->trace_id, WORD_MAX_BYTES);
	add_text(l, "span_id", r->span_id, WORD_MAX_BYTES);
	add_text(l, "http_request_method", r->method, WORD_MAX_BYTES);
	add_text(l, "url_path", r->path, PATH_MAX_BYTES);
	add_text(l, "http_route", r->route, NAME_MAX_BYTES);
	if (r->route_guessed)
		add_flag(l, "http_route_guessed", true);
	if (r->status != 0)
		add_number(l, "http_response_status_code", r->status);
	if (r->method[0] != '\0') /* else nobody could read its first line */
		add_text(l, "network_protocol_version", r->http_minor == 0 ? "1.0" : "1.1", WORD_MAX_BYTES);
}

static void add_times(struct line *l, const struct record *r)
{
	uint64_t ns;
	add_ms(l, "duration_ms", record_duration_ns(r));
	if (timeline_between_ns(&r->timeline, MARK_BEGIN, MARK_RESPONSE_HEAD, &ns))
		add_ms(l, "ttfb_ms", ns);
	if (r->threshold_ns != 0)
		add_ms(l, "threshold_ms", r->threshold_ns);
	for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
		char key[32];
		snprintf(key, sizeof key, "%s_ms", phase_names[phase]);
		if (timeline_phase_ns(&r->timeline, phase, &ns))
			add_ms(l, key, ns);
	}
}

static void add_traffic(struct line *l, const struct record *r)
{
	add_text(l, "client_address", r->client_address, WORD_MAX_BYTES);
	add_text(l, "upstream_address", r->upstream_address, WORD_MAX_BYTES);
	if (r->upstream_address[0] != '\0')
		add_flag(l, "upstream_reused", r->upstream_reused);
	add_number(l, "request_bytes", r->request_bytes);
	add_number(l, "response_bytes", r->response_bytes);
	add_text(l, "outcome", outcomes[r->outcome].name, WORD_MAX_BYTES);
	add_text(l, "outcome_reason", r->reason, REASON_MAX_BYTES);
}

static void add_worker(struct line *l, const struct record *r)
{
	const struct capture_result *capture = &r->capture;
	if (capture->worker_pid > 0)
		add_number(l, "worker_pid", (uint64_t)capture->worker_pid);
	add_text(l, "worker_python", capture->worker_python, WORD_MAX_BYTES);
	add_text(l, "worker_server", capture->worker_server, WORD_MAX_BYTES);
}

static const char *other_route(const struct capture_other *other)
{
	return other->route[0] != '\0' ? other->route : other->path;
}

/* What one says of whoever held the request up. */
struct holder_keys {
	const char *request_id, *method, *route, *function_name, *file_path, *line_number, *stack;
};

#define HOLDER_KEYS(who)                                                                                     \
	{                                                                                                    \
		who "_request_id", who "_method", who "_route", who "_function_name", who "_file_path",      \
			who "_line_number", who "_stack"                                                     \
	}
static const struct holder_keys culprit_keys = HOLDER_KEYS("culprit");
static const struct holder_keys gil_holder_keys = HOLDER_KEYS("gil_holder");
#undef HOLDER_KEYS

/* other NULL: no request that we know; frame NULL: no line either. */
static void add_holder(struct line *l, const struct record *r, const struct holder_keys *keys,
	const struct capture_other *other, const struct profile_frame *frame,
	const struct profile_stack *stack)
{
	if (other != NULL) {
		add_text(l, keys->request_id, other->request_id, WORD_MAX_BYTES);
		add_text(l, keys->method, other->method, WORD_MAX_BYTES);
		add_text(l, keys->route, other_route(other), NAME_MAX_BYTES);
	}
	if (frame == NULL)
		return;
	add_text(l, keys->function_name, frame->function, NAME_MAX_BYTES);
	add_text(l, keys->file_path, frame->file, NAME_MAX_BYTES);
	if (frame->line != 0)
		add_number(l, keys->line_number, frame->line);
	struct buf text = { 0 };
	stack_add_text(&text, r->capture.profile, stack, CULPRIT_STACK_MAX_BYTES);
	add_text(l, keys->stack, text.data, CULPRIT_STACK_MAX_BYTES);
	buf_clear(&text);
}

static void add_culprit(struct line *l, const struct record *r, const struct digest *d)
{
	char span[20] = "";
	if (d->culprit_ns == 0)
		return;
	if (d->culprit_span != 0)
		snprintf(span, sizeof span, "%016llx", (unsigned long long)d->culprit_span);
	add_text(l, "culprit_kind", d->culprit_kind, WORD_MAX_BYTES);
	add_ms(l, "culprit_ms", d->culprit_ns);
	add_text(l, "culprit_span_id", span, WORD_MAX_BYTES);
	add_holder(l, r, &culprit_keys, d->culprit, d->culprit_frame, d->culprit_stack);
}

static void add_gil_holder(struct line *l, const struct record *r, const struct digest *d)
{
	if (d->gil_holder_ns == 0)
		return;
	add_ms(l, "gil_holder_ms", d->gil_holder_ns);
	add_text(l, "gil_holder_thread", d->gil_holder_thread->name, WORD_MAX_BYTES);
	add_holder(l, r, &gil_holder_keys, d->gil_holder, d->gil_holder_frame, d->gil_holder_stack);
}

static void add_digest(struct line *l, const struct record *r, const struct digest *d)
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
	add_text(l, "attribution", d->attribution, WORD_MAX_BYTES);
	add_text(l, "attribution_reason", d->attribution_reason, REASON_MAX_BYTES);
	add_text(l, "cause", d->cause, WORD_MAX_BYTES);
	for (size_t i = 0; i < ARRAY_LEN(split); i++)
		if (split[i].ns != 0)
			add_ms(l, split[i].key, split[i].ns);
	add_culprit(l, r, d);
	add_gil_holder(l, r, d);
	if (r->capture.blocked_others != 0) {
		add_number(l, "blocked_others", r->capture.blocked_others);
		add_ms(l, "blocked_others_ms", r->capture.blocked_others_ns);
	}
	if (d->frame == NULL)
		return;
	add_text(l, "code_function_name", d->frame->function, NAME_MAX_BYTES);
	add_text(l, "code_file_path", d->frame->file, FILE_MAX_BYTES);
	if (d->frame->line != 0)
		add_number(l, "code_line_number", d->frame->line);
	struct buf stack = { 0 };
	stack_add_text(&stack, r->capture.profile, d->stack, STACK_MAX_BYTES);
	add_text(l, "top_stack", stack.data, STACK_MAX_BYTES);
	buf_clear(&stack);
}

static void add_capture(struct line *l, const struct record *r)
{
	const struct capture_result *capture = &r->capture;
	add_number(l, "samples", capture->samples);
	add_number(l, "samples_expected", capture->samples_expected);
	add_number(l, "samples_failed", capture->samples_failed);
	add_text(l, "capture_status", capture_statuses[capture->status].name, WORD_MAX_BYTES);
	add_text(l, "capture_reason", capture_reason(r), REASON_MAX_BYTES);
}

static void add_head(
	struct line *l, const struct record *r, const char *level, const char *message, const char *event)
{
	char now[CLOCK_RFC3339_BYTES];
	clock_format_rfc3339(r->began_wall_ns + record_duration_ns(r), now);
	add_text(l, "ts", now, WORD_MAX_BYTES);
	add_text(l, "level", level, WORD_MAX_BYTES);
	add_text(l, "msg", message, SENTENCE_MAX_BYTES);
	add_text(l, "event", event, WORD_MAX_BYTES);
}

static void slow_line_try(const struct config *c, const struct record *r, const struct digest *d,
	const struct profile_place *place, unsigned narrow, struct buf *out)
{
	struct buf sentence = { 0 };
	struct line line = { .narrow = narrow }, *l = &line;
	sentence_add(&sentence, r, d);
	json_init(&l->json, out);
	json_begin(&l->json, '{');
	add_head(l, r, "warn", sentence.data, r->still_running ? "slow_request_running" : "slow_request");
	add_request(l, c, r);
	add_times(l, r);
	add_traffic(l, r);
	add_worker(l, r);
	add_digest(l, r, d);
	add_capture(l, r);
	add_text(l, "profile_id", place->id, WORD_MAX_BYTES);
	add_text(l, "profile_url", place->url, URL_MAX_BYTES);
	add_text(l, "profile_file", place->file, FILE_MAX_BYTES);
	json_end(&l->json);
	buf_clear(&sentence);
}

void slow_line_write(const struct config *c, const struct record *r, const struct digest *d,
	const struct profile_place *place, struct buf *out)
{
	enum { NARROW_MAX = 4 };
	size_t from = out->len;
	for (unsigned narrow = 1; narrow <= NARROW_MAX; narrow *= 2) {
		buf_truncate(out, from);
		slow_line_try(c, r, d, place, narrow, out);
		if (out->len - from <= SLOW_LINE_MAX_BYTES)
			break;
	}
	assert(out->len - from <= SLOW_LINE_MAX_BYTES);
}

void access_line_write(const struct config *c, const struct record *r, struct buf *out)
{
	struct line line = { .narrow = 1 }, *l = &line;
	json_init(&l->json, out);
	json_begin(&l->json, '{');
	add_head(l, r, "info", "request", "request");
	add_request(l, c, r);
	add_times(l, r);
	add_traffic(l, r);
	json_end(&l->json);
}
