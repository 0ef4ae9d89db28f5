/* http_transcript.h - what a reader says of a stream of bytes, as text, however the stream is cut. For unit tests and fuzzing.
 *
 * Each read gets a fresh copy of exactly the bytes at hand, so that an address sanitizer sees any look beyond them.
 * One line per message:    GET /a len=5 keep host=h body=hello trailers=
 * and at the end one of:   . (between messages)    ! name_of_the_error    ~ (body until close, ended well)
 */
#ifndef HTTP_TRANSCRIPT_H
#define HTTP_TRANSCRIPT_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/http.h>

struct stream_case {
	enum http_kind kind;
	struct http_limits limits;
	bool answers_head;
};

struct transcriber {
	const struct stream_case *what;
	struct http_reader *reader;
	struct buf *out;
	struct buf body;
	char *pending;
	size_t pending_len;
	enum http_error error;
	bool over; /* failed, or the rest is a tunnel */
	bool tunnel;
};

static inline void transcribe_head(struct buf *out, enum http_kind kind, const struct http_head *h)
{
	static const char *const framings[] = { "none", "len", "chunked", "close" };
	if (kind == HTTP_REQUEST_MESSAGE)
		buf_printf(out, "%.*s %.*s", (int)h->method.len, h->method.at, (int)h->resource.len,
			h->resource.at);
	else
		buf_printf(out, "%u", h->status);
	buf_printf(out, " 1.%u %s", h->minor, framings[h->framing]);
	if (h->framing == HTTP_LENGTH)
		buf_printf(out, "=%llu", (unsigned long long)h->content_length);
	buf_add_str(out, h->keep_alive ? " keep" : "");
	buf_add_str(out, h->expect_continue ? " expect" : "");
	buf_add_str(out, h->te_trailers ? " te" : "");
	buf_add_str(out, h->upgrade ? " upgrade" : "");
	if (kind == HTTP_REQUEST_MESSAGE)
		buf_printf(out, " host=%.*s path=%.*s", (int)h->host.len, h->host.at, (int)h->path.len,
			h->path.at);
}

static inline void write_head(
	struct buf *out, enum http_kind kind, const struct http_head *head, bool answers_head)
{
	if (kind == HTTP_REQUEST_MESSAGE) {
		struct http_forward add = { .host = SLICE("upstream") };
		http_write_request_head(out, head, &add);
	} else {
		struct http_respond how = { .client_minor = 1, .head_request = answers_head };
		enum http_framing framing;
		http_write_response_head(out, head, &how, &framing);
	}
}

/* The next header from *at on that nobody may touch. */
static inline const struct http_header *next_untouched(const struct http_head *head, size_t *at)
{
	while (*at < head->header_count) {
		const struct http_header *h = &head->headers[(*at)++];
		if (h->id == HTTP_OTHER && !h->hop_by_hop)
			return h;
	}
	return NULL;
}

static inline void check_same_headers(const struct http_head *before, const struct http_head *after)
{
	const struct http_header *a, *b;
	size_t i = 0, j = 0;
	do {
		a = next_untouched(before, &i);
		b = next_untouched(after, &j);
		assert((a == NULL) == (b == NULL));
		assert(a == NULL || (slice_equal(a->name, b->name) && slice_equal(a->value, b->value)));
	} while (a != NULL);
}

/* A head that was written is read as the same message, and written again the same way. */
static inline void check_rewrite(const struct stream_case *what, const struct http_head *head)
{
	struct http_limits wide = { .head_bytes = 1 << 20, .headers = HTTP_MAX_HEADERS };
	struct http_head *again = malloc(sizeof *again);
	struct http_reader *r = http_reader_new(what->kind, &wide);
	struct buf once = { 0 }, twice = { 0 };
	struct slice body;
	size_t used;

	http_reader_answers_head(r, what->answers_head);
	write_head(&once, what->kind, head, what->answers_head);
	if (head->header_count < HTTP_MAX_HEADERS - 4) {
		enum http_event event = http_read(r, once.data, once.len, &used, again, &body);
		assert(event == HTTP_EVENT_HEAD && used == once.len);
		assert(again->framing == head->framing ||
			(head->framing == HTTP_UNTIL_CLOSE && again->framing == HTTP_CHUNKED));
		assert(again->framing != HTTP_LENGTH || again->content_length == head->content_length);
		assert(again->upgrade == head->upgrade && again->te_trailers == head->te_trailers);
		assert(again->status == head->status && slice_equal(again->method, head->method));
		assert(slice_equal(again->path, head->path) || head->resource.len == 0);
		assert(slice_equal(again->reason, head->reason) && again->minor == 1);
		check_same_headers(head, again);
		write_head(&twice, what->kind, again, what->answers_head);
		assert(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
	}
	buf_clear(&once);
	buf_clear(&twice);
	http_reader_free(r);
	free(again);
}

static inline void message_over(struct transcriber *t)
{
	struct slice trailers = http_reader_trailers(t->reader);
	buf_add_str(t->out, " body=");
	buf_add(t->out, t->body.data, t->body.len);
	buf_add_str(t->out, " trailers=");
	buf_add(t->out, trailers.at, trailers.len);
	buf_add_str(t->out, "\n");
	buf_reset(&t->body);
}

static inline void transcribe_failure(struct transcriber *t)
{
	t->error = http_reader_error(t->reader);
	t->over = true;
	buf_printf(t->out, " body=");
	buf_add(t->out, t->body.data, t->body.len);
	buf_printf(t->out, " ! %s", http_errors[t->error].name);
}

static inline void drop_front(struct transcriber *t, size_t used)
{
	assert(used <= t->pending_len);
	size_t left = t->pending_len - used;
	char *rest = malloc(left ? left : 1);
	memcpy(rest, t->pending + used, left);
	free(t->pending);
	t->pending = rest;
	t->pending_len = left;
}

static inline void feed(struct transcriber *t, const char *bytes, size_t len)
{
	static struct http_head head;
	char *longer = malloc(t->pending_len + len + 1);
	memcpy(longer, t->pending, t->pending_len);
	if (len != 0)
		memcpy(longer + t->pending_len, bytes, len);
	free(t->pending);
	t->pending = longer;
	t->pending_len += len;
	drop_front(t, 0); /* now exactly as long as it says */

	while (!t->over) {
		struct slice body;
		size_t used;
		enum http_event event = http_read(t->reader, t->pending, t->pending_len, &used, &head, &body);
		assert(used <= t->pending_len);
		if (event == HTTP_EVENT_HEAD) {
			assert(used >= head.bytes);
			transcribe_head(t->out, t->what->kind, &head);
			check_rewrite(t->what, &head);
			t->tunnel = head.upgrade && head.status == 101;
		} else if (event == HTTP_EVENT_BODY) {
			assert(body.len != 0 && body.at >= t->pending &&
				body.at + body.len <= t->pending + used);
			buf_add(&t->body, body.at, body.len);
		} else if (event == HTTP_EVENT_DONE) {
			message_over(t);
			http_reader_reset(t->reader);
			http_reader_answers_head(t->reader, t->what->answers_head);
			t->over = t->tunnel;
		} else if (event == HTTP_EVENT_FAILED) {
			transcribe_failure(t);
		}
		drop_front(t, used);
		if (event == HTTP_EVENT_MORE)
			break;
	}
}

/* Feeds bytes[0..len), cut where `cuts` (ascending) say; returns the error, HTTP_OK for none. */
static inline enum http_error transcribe(const struct stream_case *what, const char *bytes, size_t len,
	const size_t *cuts, size_t cut_count, struct buf *out)
{
	struct transcriber t = { .what = what, .out = out, .pending = malloc(1) };
	t.reader = http_reader_new(what->kind, &what->limits);
	http_reader_answers_head(t.reader, what->answers_head);
	size_t from = 0;
	for (size_t i = 0; i <= cut_count; i++) {
		size_t to = i < cut_count ? cuts[i] : len;
		feed(&t, bytes + from, to - from);
		from = to;
	}
	if (!t.over) {
		enum http_event event = http_read_end(t.reader);
		if (event == HTTP_EVENT_DONE)
			message_over(&t);
		else if (event == HTTP_EVENT_FAILED)
			transcribe_failure(&t);
	}
	buf_add_char(out, '.');
	http_reader_free(t.reader);
	buf_clear(&t.body);
	free(t.pending);
	return t.error;
}

#endif
