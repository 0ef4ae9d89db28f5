/* response.c - the half from the backend to the client, and the answers that we make ourselves.
 *
 *   1xx*  ->  final head  ->  body*  ->  end                 read, rewritten and written, a batch at a time
 *             101 head    ->  tunnel
 */
#include "proxy_private.h"

#include <string.h>

#include <slowproxy/base/log.h>

/* --- heads --- */
static void response_interim(struct exchange *x, const struct http_head *head)
{
	struct http_respond how = { .client_minor = x->client_minor };
	enum http_framing framing;
	x->interim = true;
	if (x->client_minor != 0) /* RFC 9110 15.2: never to HTTP/1.0 */
		http_write_response_head(&x->response.head, head, &how, &framing);
}

static void response_final(struct exchange *x, const struct http_head *head)
{
	struct proxy *p = x->proxy;
	struct http_respond how = { .client_minor = x->client_minor, .head_request = x->head_request };

	exchange_enter(x, X_RESPONDING);
	x->response_head_done = true;
	x->switching = head->status == 101;
	x->link_keep_alive = head->keep_alive && head->framing != HTTP_UNTIL_CLOSE && !x->switching;
	x->record->status = head->status;
	/* While the request still comes we cannot know that all of it will be taken. */
	how.close = !x->client_keep_alive || p->ending || !x->request.source_done;
	how.extra = heads_extra(p, x->record, head, &how.drop_name);
	http_write_response_head(&x->response.head, head, &how, &x->response.framing);
	x->close_client = how.close || x->response.framing == HTTP_UNTIL_CLOSE;
}

/* false: the exchange was failed. */
static bool response_head(struct exchange *x, const struct http_head *head)
{
	bool informational = head->status < 200;
	if (head->status == 101 && !x->upgrade) {
		response_fail(x, OUTCOME_UPSTREAM_INVALID, "the backend switched protocols unasked");
		return false;
	}
	if (informational && head->status != 101)
		response_interim(x, head);
	else
		response_final(x, head);
	return true;
}

/* --- the end of the source --- */
static void response_whole(struct exchange *x)
{
	exchange_mark(x, MARK_RESPONSE_END);
	x->response.source_done = true;
}

/* A 1xx is over: the next message is awaited. */
static void response_next_message(struct exchange *x)
{
	x->interim = false;
	http_reader_reset(x->link->reader);
	http_reader_answers_head(x->link->reader, x->head_request);
	if (input_len(&x->link->input) == 0)
		x->response_seen = false; /* the next byte is the first of the final answer */
}

/* The backend closed, and all it had sent is taken in. false: the exchange was failed or sent again. */
static bool response_source_ended(struct exchange *x)
{
	struct link *link = x->link;
	const char *reason = link->error != 0 ? strerror(link->error) : NULL;
	if (x->response_head_done && link->error == 0 && http_read_end(link->reader) == HTTP_EVENT_DONE) {
		response_whole(x);
		return true;
	}
	if (x->response_head_done) {
		exchange_blame(x, OUTCOME_UPSTREAM_TRUNCATED, reason);
		x->cut = true; /* once the client has what did come */
		return true;
	}
	if (!request_replay(x))
		response_fail(x, OUTCOME_UPSTREAM_RESET, reason);
	return false;
}

static bool response_invalid(struct exchange *x)
{
	const char *sentence = http_errors[http_reader_error(x->link->reader)].sentence;
	if (!x->response_head_done) {
		response_fail(x, OUTCOME_UPSTREAM_INVALID, sentence);
		return false;
	}
	exchange_blame(x, OUTCOME_UPSTREAM_INVALID, sentence);
	x->cut = true;
	return true;
}

/* --- one step over the link's input: true to go on --- */
enum step { STEP_ON, STEP_BATCH, STEP_GONE };

static enum step response_step(struct exchange *x)
{
	struct input *in = &x->link->input;
	struct http_head *head = &x->proxy->response_head;
	struct slice body;
	size_t used;
	enum http_event e = http_read(x->link->reader, input_at(in), input_len(in), &used, head, &body);
	if (e == HTTP_EVENT_FAILED)
		return response_invalid(x) ? STEP_BATCH : STEP_GONE;
	input_drop(in, used);
	switch (e) {
	case HTTP_EVENT_HEAD:
		return response_head(x, head) ? STEP_ON : STEP_GONE;
	case HTTP_EVENT_BODY:
		half_add_body(&x->response, body);
		return STEP_ON;
	case HTTP_EVENT_DONE:
		if (x->interim) {
			response_next_message(x);
			return STEP_ON;
		}
		if (!x->switching)
			response_whole(x);
		return STEP_BATCH;
	default:
		if (x->link->ended)
			return response_source_ended(x) ? STEP_BATCH : STEP_GONE;
		return STEP_BATCH;
	}
}

/* Makes a batch of what the backend sent so far. false: the exchange went another way. */
static bool response_take_in(struct exchange *x)
{
	enum step step;
	do
		step = response_step(x);
	while (step == STEP_ON);
	if (step == STEP_GONE)
		return false;
	struct slice trailers = x->te_trailers ? http_reader_trailers(x->link->reader) : SLICE("");
	half_seal(&x->response, x->response.source_done ? &trailers : NULL);
	return true;
}

/* --- writing --- */
static bool response_flush(struct exchange *x)
{
	struct half *h = &x->response;
	struct stream *to = x->client->stream;
	size_t before = h->written;
	enum io_result r = x->client_gone ? IO_ERROR : half_flush(h, to);
	if (h->written != before)
		exchange_progress(x);
	if (r == IO_ERROR && exchange_outlives_client(x)) {
		exchange_blame(x, OUTCOME_CLIENT_ABORT, NULL);
		x->client_ended = x->client_gone = true;
		h->written = h->total; /* to nobody */
		r = IO_OK;
	} else if (r == IO_ERROR) {
		exchange_cut(x, OUTCOME_CLIENT_ABORT, NULL);
		return false;
	}
	stream_want_writable(to, r == IO_AGAIN);
	if (r == IO_OK)
		x->record->response_bytes += h->data.len;
	return r == IO_OK;
}

void response_pump(struct exchange *x)
{
	struct half *h = &x->response;
	for (;;) {
		if (half_pending(h) && !response_flush(x))
			return;
		if (h->source_done) {
			exchange_finish(x);
			return;
		}
		if (x->cut) {
			exchange_cut(x, x->outcome, NULL);
			return;
		}
		if (x->switching) {
			tunnel_begin(x);
			return;
		}
		if (x->link == NULL)
			return;
		half_next_batch(h);
		if (!response_take_in(x))
			return;
		if (!half_pending(h) && !h->source_done && !x->cut) {
			input_rest(&x->link->input, &x->proxy->blocks);
			stream_pause_read(x->link->stream, false);
			return;
		}
	}
}

/* --- answers of our own --- */
static void response_compose(struct exchange *x, uint16_t status)
{
	struct proxy *p = x->proxy;
	struct half *h = &x->response;
	struct slice drop_name;
	const char *sentence = outcomes[x->outcome].sentence;
	if (x->outcome == OUTCOME_BAD_REQUEST || x->outcome == OUTCOME_UPSTREAM_INVALID)
		sentence = x->record->reason; /* it says what exactly */

	x->close_client =
		!x->client_keep_alive || p->ending || !x->request.source_done || x->client_minor == 0;
	x->record->status = status;
	half_begin(h, NULL);
	http_write_error(&h->head, status, outcomes[x->outcome].name, sentence, x->record->request_id,
		heads_extra(p, x->record, NULL, &drop_name), x->close_client, x->head_request,
		p->config->error_body == CONFIG_ERROR_PLAIN);
	h->source_done = true;
	half_seal(h, NULL);
}

void response_fail_with(struct exchange *x, enum outcome outcome, uint16_t status, const char *reason)
{
	if (status == 0 || x->response_head_done || half_pending(&x->response)) {
		exchange_cut(x, outcome, reason); /* part of an answer is out: there is no room for another */
		return;
	}
	exchange_blame(x, outcome, reason);
	if (x->link != NULL)
		half_next_batch(&x->response);
	exchange_drop_link(x);
	exchange_enter(x, X_ANSWERING);
	response_compose(x, status);
	exchange_mark(x, MARK_RESPONSE_END);
	response_pump(x);
}

void response_fail(struct exchange *x, enum outcome outcome, const char *reason)
{
	response_fail_with(x, outcome, outcomes[outcome].status, reason);
}
