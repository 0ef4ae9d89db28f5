/* reader.c - from the caller's bytes to events.
 *
 *      HEAD --> LENGTH ----------------------------------------> DONE
 *        |----> UNTIL_CLOSE --(end of stream)------------------> DONE
 *        |----> CHUNK_LINE --> CHUNK_DATA --> CHUNK_CR --> CHUNK_LF
 *        |        ^  '---------------------------------------'|
 *        |        '-- TRAILERS (after the line of size 0) ----'-> DONE
 *        '----> DONE (no body)                  FAILED from anywhere, for good
 *
 * The reader owns only the trailers; the head and the body stay in the caller's buffer.
 */
#include <slowproxy/http.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "chars.h"
#include "chunk.h"
#include "framing.h"
#include "head.h"
#include "opinion.h"
#include "trailer.h"

enum { EMPTY_LINES_MAX = 8 }; /* before a request (RFC 9112 2.2 asks for one at least) */

enum reader_state {
	STATE_HEAD,
	STATE_NO_BODY,
	STATE_LENGTH,
	STATE_UNTIL_CLOSE,
	STATE_CHUNK_LINE,
	STATE_CHUNK_DATA,
	STATE_CHUNK_CR,
	STATE_CHUNK_LF,
	STATE_TRAILERS,
	STATE_DONE,
	STATE_FAILED,
};

struct http_reader {
	enum http_kind kind;
	enum reader_state state;
	enum http_error error;
	struct http_limits limits;
	bool answers_head;

	size_t scanned;          /* bytes of the head known not to hold its end */
	size_t line;             /* where the line begins that `scanned` is in */
	unsigned empty_lines;    /* skipped before this head */
	bool first_line_checked; /* before the head was complete */
	bool head_begun;         /* bytes of it were seen, and left with the caller */

	uint64_t left;       /* of the Content-Length or the chunk */
	uint64_t body_bytes; /* of a chunked body so far */
	struct chunk_line chunk;
	struct buf trailers;
	struct opinion opinion;
};

struct http_reader *http_reader_new(enum http_kind kind, const struct http_limits *limits)
{
	struct http_reader *r = xcalloc(1, sizeof *r);
	r->kind = kind;
	r->limits = *limits;
	r->limits.headers = MIN(limits->headers, (size_t)HTTP_MAX_HEADERS);
	opinion_init(&r->opinion, kind);
	http_reader_reset(r);
	return r;
}

void http_reader_free(struct http_reader *r)
{
	if (r == NULL)
		return;
	buf_clear(&r->trailers);
	free(r);
}

void http_reader_reset(struct http_reader *r)
{
	r->state = STATE_HEAD;
	r->error = HTTP_OK;
	r->answers_head = false;
	r->scanned = r->line = 0;
	r->empty_lines = 0;
	r->first_line_checked = r->head_begun = false;
	r->left = r->body_bytes = 0;
	r->chunk.extension_bytes = 0;
	if (r->trailers.capacity != 0)
		buf_clear(&r->trailers);
}

void http_reader_answers_head(struct http_reader *r, bool head_request)
{
	r->answers_head = head_request;
}

enum http_error http_reader_error(const struct http_reader *r)
{
	return r->error;
}

struct slice http_reader_trailers(const struct http_reader *r)
{
	if (r->state != STATE_DONE || r->trailers.len == 0)
		return (struct slice){ "", 0 };
	return (struct slice){ r->trailers.data, r->trailers.len };
}

static enum http_event fail(struct http_reader *r, enum http_error error)
{
	assert(error != HTTP_OK);
	r->state = STATE_FAILED;
	r->error = error;
	return HTTP_EVENT_FAILED;
}

static enum http_event done(struct http_reader *r)
{
	r->state = STATE_DONE;
	return HTTP_EVENT_DONE;
}

/* Old clients end a POST with a CRLF that belongs to nothing. */
static enum http_error skip_empty_lines(struct http_reader *r, const char *bytes, size_t len, size_t *skipped)
{
	size_t n = 0;
	if (r->kind == HTTP_REQUEST_MESSAGE && r->scanned == 0)
		while (len - n >= 2 && bytes[n] == '\r' && bytes[n + 1] == '\n') {
			if (++r->empty_lines > EMPTY_LINES_MAX)
				return HTTP_ERR_REQUEST_LINE;
			n += 2;
		}
	*skipped = n;
	return HTTP_OK;
}

/* What is no HTTP at all (a TLS hello, say) shows in its first byte. A CR may still become an empty line. */
static enum http_error first_byte_check(enum http_kind kind, const char *bytes, size_t len)
{
	if (kind == HTTP_RESPONSE_MESSAGE)
		return bytes[0] == 'H' ? HTTP_OK : HTTP_ERR_STATUS_LINE;
	if (char_is(bytes[0], CHAR_TOKEN) || (bytes[0] == '\r' && len == 1))
		return HTTP_OK;
	if (bytes[0] == '\r' || bytes[0] == '\n')
		return HTTP_ERR_LINE_END;
	return char_is_control(bytes[0]) ? HTTP_ERR_CONTROL : HTTP_ERR_REQUEST_LINE;
}

/* The length of the head in bytes[0..len), or 0 when its end is not there yet. No byte is looked at twice. */
static size_t head_end(struct http_reader *r, const char *bytes, size_t len)
{
	const char *lf;
	while (r->scanned < len && (lf = memchr(bytes + r->scanned, '\n', len - r->scanned)) != NULL) {
		size_t at = (size_t)(lf - bytes), length = at - r->line;
		bool empty = length == 0 || (length == 1 && lf[-1] == '\r');
		r->line = r->scanned = at + 1;
		if (empty)
			return at + 1;
	}
	r->scanned = len;
	return 0;
}

/* first_line: with its CRLF, or what of it is there. */
static bool over_line_limit(const struct http_reader *r, size_t first_line)
{
	return r->kind == HTTP_REQUEST_MESSAGE && r->limits.line_bytes != 0 &&
	       first_line > r->limits.line_bytes + 2;
}

static size_t first_line_len(const char *bytes, size_t len)
{
	const char *lf = memchr(bytes, '\n', len);
	return lf != NULL ? (size_t)(lf + 1 - bytes) : len;
}

/* The head's end is not within reach: is it hopeless already? The same answer, however the bytes were cut. */
static enum http_event head_incomplete(
	struct http_reader *r, const char *bytes, size_t len, struct http_head *head)
{
	if (!r->first_line_checked && over_line_limit(r, first_line_len(bytes, len)))
		return fail(r, HTTP_ERR_TARGET_TOO_LONG);
	if (r->line != 0 && !r->first_line_checked) {
		enum http_error error = head_check_first_line(r->kind, bytes, r->line, head);
		if (error != HTTP_OK)
			return fail(r, error);
		r->first_line_checked = true;
	}
	if (len < r->limits.head_bytes)
		return HTTP_EVENT_MORE;
	bool in_target = r->kind == HTTP_REQUEST_MESSAGE && r->line == 0;
	return fail(r, in_target ? HTTP_ERR_TARGET_TOO_LONG : HTTP_ERR_HEAD_TOO_LARGE);
}

static enum reader_state state_after_head(const struct http_head *head)
{
	switch (head->framing) {
	case HTTP_LENGTH:
		return STATE_LENGTH;
	case HTTP_CHUNKED:
		return STATE_CHUNK_LINE;
	case HTTP_UNTIL_CLOSE:
		return STATE_UNTIL_CLOSE;
	case HTTP_NO_BODY:
		break;
	}
	return STATE_NO_BODY;
}

static bool over_body_limit(const struct http_reader *r, uint64_t bytes)
{
	return r->limits.body_bytes != 0 && bytes > r->limits.body_bytes;
}

static enum http_event head_complete(
	struct http_reader *r, const char *bytes, size_t len, struct http_head *head)
{
	struct head_notes notes;
	enum http_error error = head_parse(r->kind, bytes, len, r->limits.headers, head, &notes);
	if (error == HTTP_OK && over_line_limit(r, (size_t)(head->lines.at - bytes)))
		error = HTTP_ERR_TARGET_TOO_LONG;
	if (error == HTTP_OK)
		error = head_interpret(r->kind, r->answers_head, head, &notes);
	if (error != HTTP_OK)
		return fail(r, error);
	if (!opinion_agrees_on_head(&r->opinion, bytes, head, notes.unusual))
		return fail(r, HTTP_ERR_PARSER);
	if (head->framing == HTTP_LENGTH && over_body_limit(r, head->content_length))
		return fail(r, HTTP_ERR_BODY_TOO_LARGE);
	r->state = state_after_head(head);
	r->left = head->content_length;
	chunk_line_begin(&r->chunk);
	return HTTP_EVENT_HEAD;
}

static enum http_event read_head(
	struct http_reader *r, const char *bytes, size_t len, size_t *used, struct http_head *head)
{
	size_t skipped = 0;
	r->head_begun = false;
	if (len == 0)
		return HTTP_EVENT_MORE;
	enum http_error error = skip_empty_lines(r, bytes, len, &skipped);
	if (error != HTTP_OK)
		return fail(r, error);
	*used = skipped;
	bytes += skipped;
	len -= skipped;
	r->head_begun = len != 0;
	if (len == 0)
		return HTTP_EVENT_MORE;
	error = first_byte_check(r->kind, bytes, len);
	if (error != HTTP_OK)
		return fail(r, error);
	if (len == 1 && bytes[0] == '\r')
		return HTTP_EVENT_MORE;

	size_t within = MIN(len, r->limits.head_bytes);
	size_t end = head_end(r, bytes, within);
	if (end == 0)
		return head_incomplete(r, bytes, within, head);
	*used = skipped + end;
	return head_complete(r, bytes, end, head);
}

static enum http_event read_length(
	struct http_reader *r, const char *bytes, size_t len, size_t *used, struct slice *body)
{
	if (r->left == 0)
		return done(r);
	if (len == 0)
		return HTTP_EVENT_MORE;
	size_t n = (size_t)MIN((uint64_t)len, r->left);
	r->left -= n;
	*used = n;
	*body = (struct slice){ bytes, n };
	return HTTP_EVENT_BODY;
}

static enum http_event read_until_close(const char *bytes, size_t len, size_t *used, struct slice *body)
{
	if (len == 0)
		return HTTP_EVENT_MORE;
	*used = len;
	*body = (struct slice){ bytes, len };
	return HTTP_EVENT_BODY;
}

static enum http_error chunk_line_step(struct http_reader *r, const char *bytes, size_t len, size_t *used)
{
	struct slice digits;
	bool complete;
	enum http_error error = chunk_line_read(&r->chunk, bytes, len, used, &digits, &complete);
	if (error != HTTP_OK)
		return error;
	if (digits.len != 0 && !opinion_feed(&r->opinion, digits.at, digits.len))
		return HTTP_ERR_PARSER;
	if (!complete)
		return HTTP_OK;
	if (!opinion_feed(&r->opinion, "\r\n", 2))
		return HTTP_ERR_PARSER;
	r->left = r->chunk.size;
	if (r->left > INT64_MAX - r->body_bytes || over_body_limit(r, r->body_bytes + r->left))
		return HTTP_ERR_BODY_TOO_LARGE;
	r->state = r->left != 0 ? STATE_CHUNK_DATA : STATE_TRAILERS;
	return HTTP_OK;
}

static enum http_error chunk_end_step(struct http_reader *r, char c)
{
	bool cr = r->state == STATE_CHUNK_CR;
	if (c != (cr ? '\r' : '\n'))
		return HTTP_ERR_CHUNK;
	if (!opinion_feed(&r->opinion, &c, 1))
		return HTTP_ERR_PARSER;
	if (!cr)
		chunk_line_begin(&r->chunk);
	r->state = cr ? STATE_CHUNK_LF : STATE_CHUNK_LINE;
	return HTTP_OK;
}

static enum http_error trailers_step(struct http_reader *r, const char *bytes, size_t len, size_t *used)
{
	bool complete;
	enum http_error error = trailers_gather(&r->trailers, &r->limits, bytes, len, used, &complete);
	if (error != HTTP_OK || !complete)
		return error;
	struct buf *lines = &r->trailers;
	char *as_received = lines->len > 2 ? xstrndup(lines->data, lines->len) : NULL;
	size_t bytes_received = lines->len;
	error = trailers_check(lines, &r->limits);
	if (error == HTTP_OK &&
		(!opinion_feed(&r->opinion, as_received ? as_received : "\r\n", bytes_received) ||
			!r->opinion.message_done || r->opinion.body_bytes != r->body_bytes))
		error = HTTP_ERR_PARSER;
	free(as_received);
	if (error == HTTP_OK)
		r->state = STATE_DONE;
	return error;
}

static enum http_event read_chunk_data(
	struct http_reader *r, const char *bytes, size_t len, size_t *used, struct slice *body)
{
	size_t n = (size_t)MIN((uint64_t)len, r->left);
	if (!opinion_feed(&r->opinion, bytes, n))
		return fail(r, HTTP_ERR_PARSER);
	r->left -= n;
	r->body_bytes += n;
	if (r->left == 0)
		r->state = STATE_CHUNK_CR;
	*used += n;
	*body = (struct slice){ bytes, n };
	return HTTP_EVENT_BODY;
}

static enum http_event read_chunked(
	struct http_reader *r, const char *bytes, size_t len, size_t *used, struct slice *body)
{
	while (*used < len) {
		const char *p = bytes + *used;
		size_t left = len - *used, n = 1;
		enum http_error error;
		if (r->state == STATE_CHUNK_DATA)
			return read_chunk_data(r, p, left, used, body);
		if (r->state == STATE_CHUNK_LINE)
			error = chunk_line_step(r, p, left, &n);
		else if (r->state == STATE_TRAILERS)
			error = trailers_step(r, p, left, &n);
		else
			error = chunk_end_step(r, *p);
		*used += n;
		if (error != HTTP_OK)
			return fail(r, error);
		if (r->state == STATE_DONE)
			return HTTP_EVENT_DONE;
	}
	return HTTP_EVENT_MORE;
}

enum http_event http_read(struct http_reader *r, const char *bytes, size_t len, size_t *used,
	struct http_head *head, struct slice *body)
{
	*used = 0;
	*body = (struct slice){ "", 0 };
	switch (r->state) {
	case STATE_HEAD:
		return read_head(r, bytes, len, used, head);
	case STATE_NO_BODY:
		return done(r);
	case STATE_LENGTH:
		return read_length(r, bytes, len, used, body);
	case STATE_UNTIL_CLOSE:
		return read_until_close(bytes, len, used, body);
	case STATE_CHUNK_LINE:
	case STATE_CHUNK_DATA:
	case STATE_CHUNK_CR:
	case STATE_CHUNK_LF:
	case STATE_TRAILERS:
		return read_chunked(r, bytes, len, used, body);
	case STATE_DONE:
		return HTTP_EVENT_DONE;
	case STATE_FAILED:
		break;
	}
	return HTTP_EVENT_FAILED;
}

bool http_first_line(const char *bytes, size_t len, struct http_head *head)
{
	while (len >= 2 && bytes[0] == '\r' && bytes[1] == '\n') {
		bytes += 2;
		len -= 2;
	}
	return len != 0 && memchr(bytes, '\n', len) != NULL &&
	       head_check_first_line(HTTP_REQUEST_MESSAGE, bytes, len, head) == HTTP_OK;
}

enum http_event http_read_end(struct http_reader *r)
{
	switch (r->state) {
	case STATE_NO_BODY:
	case STATE_UNTIL_CLOSE:
		return done(r);
	case STATE_LENGTH:
		return r->left == 0 ? done(r) : fail(r, HTTP_ERR_EARLY_END);
	case STATE_HEAD:
		return r->head_begun ? fail(r, HTTP_ERR_EARLY_END) : HTTP_EVENT_MORE;
	case STATE_DONE:
		return HTTP_EVENT_MORE;
	case STATE_FAILED:
		return HTTP_EVENT_FAILED;
	default:
		return fail(r, HTTP_ERR_EARLY_END);
	}
}
