/* request.c - the half from the client to the backend.
 *
 * The first batch holds the head and whatever of the body came with it. It is kept until the next batch begins, so that
 * a request that met a connection just closed by the backend can be sent again, whole, on a new one.
 */
#include "proxy_private.h"

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>

static void request_invalid(struct exchange *x)
{
	const struct http_error_row *row = &http_errors[http_reader_error(x->client->reader)];
	enum outcome outcome = row->status == 413 ? OUTCOME_TOO_LARGE : OUTCOME_BAD_REQUEST;
	response_fail_with(x, outcome, row->status, row->sentence);
}

/* Makes a batch of what the client sent so far. */
void request_take_in(struct exchange *x)
{
	struct client *c = x->client;
	struct half *h = &x->request;
	struct slice body;
	size_t used;
	while (!h->source_done) {
		enum http_event e = http_read(c->reader, input_at(&c->input), input_len(&c->input), &used,
			&x->proxy->request_head, &body);
		if (e == HTTP_EVENT_FAILED) {
			request_invalid(x);
			return;
		}
		input_drop(&c->input, used);
		if (e == HTTP_EVENT_BODY)
			half_add_body(h, body);
		else if (e == HTTP_EVENT_DONE)
			h->source_done = true;
		else
			break;
	}
	struct slice trailers = http_reader_trailers(c->reader);
	half_seal(h, h->source_done ? &trailers : NULL);
}

static void request_sent(struct exchange *x)
{
	if (x->state == X_SENDING)
		exchange_enter(x, X_WAITING);
	else if (x->record->timeline.at[MARK_REQUEST_SENT] == 0)
		exchange_mark(x, MARK_REQUEST_SENT); /* after an early answer began */
}

/* The backend takes no more. Its answer may be on the way all the same: reading goes on and says. */
static void request_write_failed(struct exchange *x)
{
	stream_want_writable(x->link->stream, false);
	if (x->link->sending_bytes == 0 && request_replay(x))
		return;
	x->request_lost = true;
}

/* false: it does not go on now. */
static bool request_flush(struct exchange *x)
{
	struct half *h = &x->request;
	size_t before = h->written;
	enum io_result r = half_flush(h, x->link->stream);
	x->link->sending_bytes += h->written - before;
	if (h->written != before)
		exchange_progress(x);
	if (r == IO_ERROR) {
		request_write_failed(x);
		return false;
	}
	stream_want_writable(x->link->stream, r == IO_AGAIN);
	return r == IO_OK;
}

void request_pump(struct exchange *x)
{
	struct client *c = x->client;
	struct half *h = &x->request;
	while ((x->state == X_SENDING || x->state == X_RESPONDING) && !x->request_lost) {
		if (!request_flush(x))
			return;
		if (h->source_done) {
			request_sent(x);
			return;
		}
		if (input_len(&c->input) != 0 || h->data.len != 0) {
			half_next_batch(h);
			request_take_in(x);
		}
		if (!half_pending(h) && !h->source_done) {
			input_rest(&c->input, &x->proxy->blocks);
			client_read_more(c);
			return;
		}
	}
}

/* Whoever is recycled closes a new connection at once. A worker that died later may have died of the request. */
static const uint64_t new_link_closed_within_ns = 250 * NS_PER_MS;

/* Any method when the backend cannot have it; else an idempotent one, on a kept connection that it closed as it may. */
static bool may_be_sent_again(const struct exchange *x)
{
	const struct link *link = x->link;
	if (link_never_delivered(link, link->sending_bytes == 0))
		return true;
	uint64_t age_ns = loop_now_ns(x->proxy->loop) - x->record->timeline.at[MARK_UPSTREAM];
	return x->idempotent && (x->record->upstream_reused || age_ns <= new_link_closed_within_ns);
}

/* A kept connection is closed by the best of backends, a new one is not: then another is asked where there is one. */
bool request_replay(struct exchange *x)
{
	struct half *h = &x->request;
	bool whole = h->batches == 1 && h->total != 0; /* all that was sent is still here */
	bool kept = x->record->upstream_reused;
	if (x->replayed || x->response_seen || !whole || !may_be_sent_again(x))
		return false;
	log_debug("x=%llx the backend closed a %s connection without an answer; sent again on a new one",
		(unsigned long long)x->record->id, kept ? "kept" : "new");
	exchange_drop_link(x);
	x->replayed = true;
	x->request_lost = false;
	x->proxy->counters.upstream_replays++;
	h->written = 0;
	exchange_connect_again(x, !kept);
	return true;
}
