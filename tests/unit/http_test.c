/* http_test.c - the reader refuses what is malformed, takes what is well-formed however it is cut, and the writer gives it
 * back byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <slowproxy/http.h>

#include "http_transcript.h"

struct row {
	enum http_error error;
	const char *expect; /* must be part of the transcript; NULL: anything */
	const char *bytes;
	size_t len;
};
#define OK(expect, bytes)                                                                                    \
	{                                                                                                    \
		HTTP_OK, expect, bytes, sizeof(bytes) - 1                                                    \
	}
#define BAD(error, bytes)                                                                                    \
	{                                                                                                    \
		error, NULL, bytes, sizeof(bytes) - 1                                                        \
	}

#include "http_requests.h"
#include "http_responses.h"

static const struct http_limits usual_limits = { 32 * 1024, 100, 0, 0 };

/* Whole, in all pairs of pieces, and byte by byte: one verdict, one transcript. */
static void check_row(const struct stream_case *what, const struct row *row)
{
	struct buf whole = { 0 }, cut = { 0 };
	enum http_error error = transcribe(what, row->bytes, row->len, NULL, 0, &whole);
	if (error != row->error || (row->expect && strstr(whole.data, row->expect) == NULL))
		fail_msg("%s\nread as: %s\nverdict: %s, expected %s, %s", row->bytes, whole.data,
			http_errors[error].name, http_errors[row->error].name,
			row->expect ? row->expect : "");
	for (size_t at = 1; at < row->len; at++) {
		buf_reset(&cut);
		transcribe(what, row->bytes, row->len, &at, 1, &cut);
		if (strcmp(whole.data, cut.data) != 0)
			fail_msg("%s\nwhole: %s\ncut at %zu: %s", row->bytes, whole.data, at, cut.data);
	}
	size_t *each = calloc(row->len + 1, sizeof *each);
	for (size_t i = 1; i < row->len; i++)
		each[i - 1] = i;
	buf_reset(&cut);
	transcribe(what, row->bytes, row->len, each, row->len ? row->len - 1 : 0, &cut);
	if (strcmp(whole.data, cut.data) != 0)
		fail_msg("%s\nwhole: %s\nbyte by byte: %s", row->bytes, whole.data, cut.data);
	free(each);
	buf_clear(&whole);
	buf_clear(&cut);
}

static void every_request_gets_its_verdict(void **state)
{
	(void)state;
	const struct stream_case what = { HTTP_REQUEST_MESSAGE, usual_limits, false };
	for (size_t i = 0; i < ARRAY_LEN(requests); i++)
		check_row(&what, &requests[i]);
	print_message("%zu requests, each whole and cut everywhere\n", ARRAY_LEN(requests));
}

static void every_response_gets_its_verdict(void **state)
{
	(void)state;
	const struct stream_case what = { HTTP_RESPONSE_MESSAGE, usual_limits, false };
	for (size_t i = 0; i < ARRAY_LEN(responses); i++)
		check_row(&what, &responses[i]);
	print_message("%zu responses, each whole and cut everywhere\n", ARRAY_LEN(responses));
}

static void malformed_chunks_are_refused_on_both_sides(void **state)
{
	(void)state;
	static const struct slice heads[] = {
		{ "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 56 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 47 },
	};
	for (size_t i = 0; i < ARRAY_LEN(chunked_bodies); i++)
		for (enum http_kind kind = HTTP_REQUEST_MESSAGE; kind <= HTTP_RESPONSE_MESSAGE; kind++) {
			const struct stream_case what = { kind, usual_limits, false };
			struct buf bytes = { 0 };
			buf_add(&bytes, heads[kind].at, strlen(heads[kind].at));
			buf_add(&bytes, chunked_bodies[i].bytes, chunked_bodies[i].len);
			check_row(
				&what, &(struct row){ chunked_bodies[i].error, NULL, bytes.data, bytes.len });
			buf_clear(&bytes);
		}
	print_message("%zu chunked bodies, on both sides\n", ARRAY_LEN(chunked_bodies));
}

static void an_answer_to_head_has_no_body_whatever_its_headers_say(void **state)
{
	(void)state;
	const struct stream_case what = { HTTP_RESPONSE_MESSAGE, usual_limits, true };
	static const struct row rows[] = {
		OK("200 1.1 none keep body= trailers=\n200 ",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
		OK("200 1.1 none keep body= trailers=\n200 ",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
		BAD(HTTP_ERR_STATUS_LINE, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check_row(&what, &rows[i]);
}

static void limits_hold_to_the_byte(void **state)
{
	(void)state;
	static const struct {
		struct http_limits limits;
		struct row row;
	} rows[] = {
		{ { 27, 9, 0, 0 }, OK("GET / ", "GET / HTTP/1.1\r\nHost: h\r\n\r\n") },
		{ { 26, 9, 0, 0 }, BAD(HTTP_ERR_HEAD_TOO_LARGE, "GET / HTTP/1.1\r\nHost: h\r\n\r\n") },
		{ { 27, 9, 0, 0 }, OK("GET / ", "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n") },
		{ { 16, 9, 0, 0 }, BAD(HTTP_ERR_HEAD_TOO_LARGE, "GET / HTTP/1.1\r\nHost: h\r\n\r\n") },
		{ { 15, 9, 0, 0 }, BAD(HTTP_ERR_TARGET_TOO_LONG, "GET / HTTP/1.1\r\nHost: h\r\n\r\n") },
		{ { 16, 9, 0, 0 }, BAD(HTTP_ERR_VERSION, "GET / HTTP/2.0\r\nHost: h\r\n\r\n") },
		{ { 99, 1, 0, 0 }, OK("GET / ", "GET / HTTP/1.1\r\nHost: h\r\n\r\n") },
		{ { 99, 1, 0, 0 },
			BAD(HTTP_ERR_TOO_MANY_HEADERS, "GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n") },
		{ { 99, 9, 5, 0 },
			OK("body=hello", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello") },
		{ { 99, 9, 4, 0 }, BAD(HTTP_ERR_BODY_TOO_LARGE,
					   "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello") },
#define CHUNKED "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
		{ { 99, 9, 5, 0 }, OK("body=hello", CHUNKED "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n") },
		{ { 99, 9, 4, 0 }, BAD(HTTP_ERR_BODY_TOO_LARGE, CHUNKED "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n") },
		{ { 60, 9, 0, 0 },
			BAD(HTTP_ERR_TRAILER, CHUNKED
				"0\r\nX: 012345678901234567890123456789012345678901234567890123456789\r\n\r\n") },
		{ { 99, 2, 0, 0 }, BAD(HTTP_ERR_TOO_MANY_HEADERS, CHUNKED "0\r\nA: \r\nB: \r\nC: \r\n\r\n") },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check_row(&(struct stream_case){ HTTP_REQUEST_MESSAGE, rows[i].limits, false }, &rows[i].row);
}

static void floods_are_bounded(void **state)
{
	(void)state;
	const struct stream_case what = { HTTP_REQUEST_MESSAGE, usual_limits, false };
	struct buf bytes = { 0 }, out = { 0 };

	buf_add_str(&bytes, CHUNKED); /* 20000 chunks of one byte with an extension each */
	for (int i = 0; i < 20000; i++)
		buf_add_str(&bytes, "1;abcdefghij\r\nx\r\n");
	assert_int_equal(transcribe(&what, bytes.data, bytes.len, NULL, 0, &out), HTTP_ERR_CHUNK);

	buf_reset(&bytes);
	buf_add_str(&bytes, "GET / HTTP/1.1\r\nHost: h\r\nConnection: a");
	for (int i = 0; i < 100; i++)
		buf_add_str(&bytes, ",a");
	buf_add_str(&bytes, "\r\n\r\n");
	assert_int_equal(transcribe(&what, bytes.data, bytes.len, NULL, 0, &out), HTTP_ERR_CONNECTION);

	buf_reset(&bytes); /* more than HTTP_MAX_HEADERS, whatever the limit says */
	buf_add_str(&bytes, "GET / HTTP/1.1\r\nHost: h\r\n");
	for (int i = 0; i < HTTP_MAX_HEADERS; i++)
		buf_add_str(&bytes, "X:\r\n");
	buf_add_str(&bytes, "\r\n");
	const struct stream_case many = { HTTP_REQUEST_MESSAGE, { 32 * 1024, 100000, 0, 0 }, false };
	assert_int_equal(transcribe(&many, bytes.data, bytes.len, NULL, 0, &out), HTTP_ERR_TOO_MANY_HEADERS);
	buf_clear(&bytes);
	buf_clear(&out);
}

static struct http_head head; /* lent to the reader by every test below */

static void asking_without_bytes_says_only_what_is_known(void **state)
{
	(void)state;
	static const char text[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
	struct http_reader *r = http_reader_new(HTTP_REQUEST_MESSAGE, &usual_limits);
	struct slice body;
	size_t used, at = 0;
	for (int turn = 0; turn < 2; turn++) {
		assert_int_equal(http_read(r, NULL, 0, &used, &head, &body), HTTP_EVENT_MORE);
		assert_int_equal(http_read_end(r), HTTP_EVENT_MORE);
		assert_int_equal(http_read(r, text, sizeof text - 1, &used, &head, &body), HTTP_EVENT_HEAD);
		at = used;
		assert_int_equal(http_read(r, NULL, 0, &used, &head, &body), HTTP_EVENT_MORE);
		assert_int_equal(http_read(r, text + at, 1, &used, &head, &body), HTTP_EVENT_BODY);
		assert_int_equal(http_read(r, NULL, 0, &used, &head, &body), HTTP_EVENT_DONE);
		assert_int_equal(http_read(r, text, 1, &used, &head, &body), HTTP_EVENT_DONE);
		assert_int_equal(used, 0);
		http_reader_reset(r);
	}
	assert_int_equal(http_read(r, "<", 1, &used, &head, &body), HTTP_EVENT_FAILED);
	assert_int_equal(http_read(r, text, sizeof text - 1, &used, &head, &body), HTTP_EVENT_FAILED);
	assert_int_equal(http_reader_error(r), HTTP_ERR_REQUEST_LINE);
	http_reader_free(r);
	http_reader_free(NULL);
}

/* --- writing --- */

static struct http_reader *read_head(enum http_kind kind, const char *text, bool answers_head)
{
	struct http_reader *r = http_reader_new(kind, &usual_limits);
	struct slice body;
	size_t used;
	http_reader_answers_head(r, answers_head);
	if (http_read(r, text, strlen(text), &used, &head, &body) != HTTP_EVENT_HEAD)
		fail_msg("refused (%s): %s", http_errors[http_reader_error(r)].name, text);
	return r;
}

static void check_request(const char *text, const struct http_forward *add, const char *expected)
{
	struct buf out = { 0 };
	http_reader_free(read_head(HTTP_REQUEST_MESSAGE, text, false));
	http_write_request_head(&out, &head, add);
	assert_string_equal(out.data, expected);
	buf_clear(&out);
}

static void request_heads_pass_byte_for_byte(void **state)
{
	(void)state;
	const struct http_forward nothing = { 0 };
	static const char same[] =
		"pOsT /%7Ea//b/../c?x=%zz HTTP/1.1\r\nX-b:1\r\nhOST: h \r\nx-B:\t2\r\ncontent-LENGTH: 7\r\nTrailer: X\r\n"
		"Cookie: \xe9\r\nCookie: b\r\nExpect: 100-continue\r\nX_under: 1\r\n\r\n";
	check_request(same, &nothing, same);
	check_request(
		"GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Hop, host\r\nx-hop: 1\r\nX-Stay: 2\r\nKeep-Alive: 3\r\n"
		"Proxy-Connection: x\r\nTE: trailers, gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n",
		&nothing, "GET / HTTP/1.1\r\nHost: h\r\nX-Stay: 2\r\nConnection: TE\r\nTE: trailers\r\n\r\n");
	check_request(
		"GET / HTTP/1.1\r\nConnection: Upgrade\r\nHost: h\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
		&nothing,
		"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nConnection: Upgrade\r\n\r\n");
	check_request("PUT / HTTP/1.1\r\nTransfer-Encoding:CHUNKED\r\nHost: h\r\n\r\n", &nothing,
		"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: h\r\n\r\n");
	check_request("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 007\r\n\r\n", &nothing,
		"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n");
}

static void request_targets_are_written_in_origin_form(void **state)
{
	(void)state;
	const struct http_forward nothing = { 0 }, host = { .host = SLICE("up:80") };
	check_request("GET http://real:81/p?q HTTP/1.1\r\nX: 1\r\nhost: fake\r\n\r\n", &nothing,
		"GET /p?q HTTP/1.1\r\nX: 1\r\nhost: real:81\r\n\r\n");
	check_request("GET http://real HTTP/1.1\r\nHost: fake\r\n\r\n", &nothing,
		"GET / HTTP/1.1\r\nHost: real\r\n\r\n");
	check_request("GET http://real?q HTTP/1.1\r\nHost: real\r\n\r\n", &nothing,
		"GET /?q HTTP/1.1\r\nHost: real\r\n\r\n");
	check_request("OPTIONS http://real HTTP/1.1\r\nHost: real\r\n\r\n", &nothing,
		"OPTIONS * HTTP/1.1\r\nHost: real\r\n\r\n");
	check_request("GET http://real/ HTTP/1.0\r\n\r\n", &host, "GET / HTTP/1.1\r\nHost: real\r\n\r\n");
	check_request("GET / HTTP/1.0\r\nExpect: 100-continue\r\nX: y\r\n\r\n", &host,
		"GET / HTTP/1.1\r\nHost: up:80\r\nX: y\r\n\r\n");
	check_request("GET / HTTP/1.0\r\n\r\n", &nothing, "GET / HTTP/1.1\r\nHost: \r\n\r\n");
}

static void forwarding_headers_replace_the_clients(void **state)
{
	(void)state;
	const struct http_forward all = { .forwarded_for = SLICE("1, 2"),
		.forwarded_proto = SLICE("http"),
		.forwarded_host = SLICE("h"),
		.request_id = SLICE("id"),
		.traceparent = SLICE("tp"),
		.drop_tracestate = true,
		.drop_underscore_names = true };
	check_request(
		"GET / HTTP/1.1\r\nx-forwarded-for: 1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nx-Request-Id: 9\r\nX_A: 1\r\n"
		"X-Forwarded-Host: e\r\nTraceparent: 0\r\ntracestate: 0\r\nX-Forwarded-Prefix: /p\r\nX-Forwarded_For: 6\r\n\r\n",
		&all,
		"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /p\r\nX-Forwarded-For: 1, 2\r\nX-Forwarded-Proto: http\r\n"
		"X-Forwarded-Host: h\r\nX-Request-ID: id\r\ntraceparent: tp\r\n\r\n");
	const struct http_forward nothing = { 0 };
	static const char same[] =
		"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1\r\ntracestate: 0\r\nX-Request-ID: 9\r\n\r\n";
	check_request(same, &nothing, same);
}

static void check_response(
	const char *text, struct http_respond how, const char *expected, enum http_framing expected_framing)
{
	struct buf out = { 0 };
	enum http_framing framing;
	http_reader_free(read_head(HTTP_RESPONSE_MESSAGE, text, how.head_request));
	http_write_response_head(&out, &head, &how, &framing);
	assert_string_equal(out.data, expected);
	assert_int_equal(framing, expected_framing);
	buf_clear(&out);
}

static void response_heads_pass_byte_for_byte(void **state)
{
	(void)state;
	struct http_respond to_11 = { .client_minor = 1 }, to_10 = { .client_minor = 0 };
	static const char same[] =
		"HTTP/1.1 200 Very  Fine\r\ndate: d\r\nServer: s\r\nSet-Cookie: a\r\nset-cookie: b\r\ncontent-length: 5\r\n\r\n";
	check_response(same, to_11, same, HTTP_LENGTH);
	check_response(
		"HTTP/1.0 404 \r\nContent-Length: 05\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: x\r\n\r\n",
		to_11, "HTTP/1.1 404 \r\nContent-Length: 5\r\n\r\n", HTTP_LENGTH);
	check_response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", to_10,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", HTTP_LENGTH);
	check_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n", to_11,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n", HTTP_CHUNKED);
	check_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n", to_10,
		"HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\n", HTTP_UNTIL_CLOSE);
	check_response("HTTP/1.0 200 OK\r\nX: y\r\n\r\n", to_11,
		"HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_CHUNKED);
	check_response("HTTP/1.0 200 OK\r\nX: y\r\n\r\n", to_10,
		"HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\n", HTTP_UNTIL_CLOSE);
}

static void responses_without_a_body_keep_their_headers(void **state)
{
	(void)state;
	struct http_respond to_11 = { .client_minor = 1 },
			    to_head = { .client_minor = 1, .head_request = true };
	struct http_respond to_head_10 = { .client_minor = 0, .head_request = true };
	static const char not_modified[] =
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n";
	static const char chunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	static const char hints[] = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
	check_response(not_modified, to_11, not_modified, HTTP_NO_BODY);
	check_response(not_modified, to_head, not_modified, HTTP_NO_BODY);
	check_response(chunked, to_head, chunked, HTTP_NO_BODY);
	check_response(
		chunked, to_head_10, "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", HTTP_NO_BODY);
	check_response(hints, to_11, hints, HTTP_NO_BODY);
	check_response(hints, (struct http_respond){ .client_minor = 1, .close = true }, hints, HTTP_NO_BODY);
	check_response("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\nX: y\r\n\r\n", to_11,
		"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", HTTP_NO_BODY);
	check_response("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", to_11,
		"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", HTTP_NO_BODY);
	check_response(
		"HTTP/1.1 426 No\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
		to_11,
		"HTTP/1.1 426 No\r\nUpgrade: websocket\r\nContent-Length: 0\r\nConnection: Upgrade\r\n\r\n",
		HTTP_LENGTH);
}

static void our_lines_replace_the_backends(void **state)
{
	(void)state;
	struct http_respond how = { .client_minor = 1,
		.close = true,
		.extra = SLICE("X-Response-Time: 0.001\r\n"),
		.drop_name = SLICE("x-response-time") };
	check_response(
		"HTTP/1.1 200 OK\r\nX-Response-Time: 9\r\nContent-Length: 0\r\nX-RESPONSE-time: 8\r\n\r\n",
		how,
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nX-Response-Time: 0.001\r\n\r\n",
		HTTP_LENGTH);
}

static void chunks_are_written_as_they_are_read(void **state)
{
	(void)state;
	char size[20];
	assert_int_equal(http_write_chunk_size(size, 0x1f4), 5);
	assert_memory_equal(size, "1f4\r\n", 5);
	assert_int_equal(http_write_chunk_size(size, 1), 3);
	assert_int_equal(http_write_chunk_size(size, UINT64_MAX), 18);
	assert_memory_equal(size, "ffffffffffffffff\r\n", 18);
	struct buf out = { 0 };
	http_write_last_chunk(&out, SLICE("X: y\r\n"));
	assert_string_equal(out.data, "0\r\nX: y\r\n\r\n");
	buf_reset(&out);
	http_write_last_chunk(&out, (struct slice){ 0 });
	assert_string_equal(out.data, "0\r\n\r\n");
	buf_clear(&out);
}

/* --- our own responses --- */

static void our_errors_are_readable_responses(void **state)
{
	(void)state;
	for (enum http_error error = HTTP_ERR_HEAD_TOO_LARGE; error < HTTP_ERR_COUNT; error++) {
		const struct http_error_row *row = &http_errors[error];
		assert_non_null(row->name);
		assert_non_null(row->sentence);
		assert_string_not_equal(http_reason_phrase(row->status), "Unknown");
		for (int variant = 0; variant < 8; variant++) {
			bool close = variant & 1, head_request = variant & 2, plain = variant & 4;
			struct buf out = { 0 }, text = { 0 };
			http_write_error(&out, row->status, row->name, row->sentence, "r\"1",
				SLICE("X-Response-Time: 0.000\r\n"), close, head_request, plain);
			const struct stream_case what = { HTTP_RESPONSE_MESSAGE, usual_limits, head_request };
			assert_int_equal(transcribe(&what, out.data, out.len, NULL, 0, &text), HTTP_OK);
			assert_true((strstr(text.data, " keep ") == NULL) == close);
			assert_true((strstr(out.data, row->name) == NULL) == head_request);
			assert_non_null(strstr(out.data, "\r\nX-Response-Time: 0.000\r\n"));
			assert_non_null(strstr(out.data, plain ? "text/plain" : "application/json"));
			buf_clear(&out);
			buf_clear(&text);
		}
	}
	struct buf out = { 0 };
	http_write_error(&out, 502, "upstream_refused", "the backend refused", "r\"1", (struct slice){ 0 },
		false, false, false);
	assert_non_null(strstr(out.data, "\r\n\r\n{\"error\":\"upstream_refused\",\"status\":502,"
					 "\"detail\":\"the backend refused\",\"request_id\":\"r\\\"1\"}\n"));
	buf_clear(&out);
}

/* --- names of a request --- */

static void traceparents_follow_the_w3c_rules(void **state)
{
	(void)state;
#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
	static const struct {
		bool valid;
		const char *text;
	} rows[] = {
		{ true, "00-" TRACE "-" PARENT "-01" },
		{ true, "00-" TRACE "-" PARENT "-ff" },
		{ true, "cc-" TRACE "-" PARENT "-01" },
		{ true, "cc-" TRACE "-" PARENT "-01-what-the-future-will-be-like" },
		{ false, "cc-" TRACE "-" PARENT "-01.what" },
		{ false, "ff-" TRACE "-" PARENT "-01" },
		{ false, "00-" TRACE "-" PARENT "-01-more" },
		{ false, "00-" TRACE "-" PARENT "-0" },
		{ false, "00-" TRACE "-" PARENT },
		{ false, "00-00000000000000000000000000000000-" PARENT "-01" },
		{ false, "00-" TRACE "-0000000000000000-01" },
		{ false, "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01" },
		{ false, "00-" TRACE "-00f067aa0ba902bg-01" },
		{ false, "00_" TRACE "-" PARENT "-01" },
		{ false, "0-" TRACE "-" PARENT "-001" },
		{ false, "" },
	};
	char trace_id[33], parent_id[17], flags[3];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (http_traceparent_parse(slice_of(rows[i].text), trace_id, parent_id, flags) !=
			rows[i].valid)
			fail_msg("%s", rows[i].text);
	assert_true(http_traceparent_parse(slice_of(rows[0].text), trace_id, parent_id, flags));
	assert_string_equal(trace_id, TRACE);
	assert_string_equal(parent_id, PARENT);
	assert_string_equal(flags, "01");
}

static void request_ids_are_visible_ascii_and_short(void **state)
{
	(void)state;
	char longest[129];
	memset(longest, 'x', sizeof longest);
	assert_true(http_request_id_sane(SLICE("a")));
	assert_true(http_request_id_sane(SLICE("~!\"x/y")));
	assert_true(http_request_id_sane((struct slice){ longest, 128 }));
	assert_false(http_request_id_sane((struct slice){ longest, 129 }));
	assert_false(http_request_id_sane(SLICE("")));
	assert_false(http_request_id_sane(SLICE("a b")));
	assert_false(http_request_id_sane(SLICE("a\x7f")));
	assert_false(http_request_id_sane(SLICE("\xc3\xa9")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_request_gets_its_verdict),
		cmocka_unit_test(every_response_gets_its_verdict),
		cmocka_unit_test(malformed_chunks_are_refused_on_both_sides),
		cmocka_unit_test(an_answer_to_head_has_no_body_whatever_its_headers_say),
		cmocka_unit_test(limits_hold_to_the_byte),
		cmocka_unit_test(floods_are_bounded),
		cmocka_unit_test(asking_without_bytes_says_only_what_is_known),
		cmocka_unit_test(request_heads_pass_byte_for_byte),
		cmocka_unit_test(request_targets_are_written_in_origin_form),
		cmocka_unit_test(forwarding_headers_replace_the_clients),
		cmocka_unit_test(response_heads_pass_byte_for_byte),
		cmocka_unit_test(responses_without_a_body_keep_their_headers),
		cmocka_unit_test(our_lines_replace_the_backends),
		cmocka_unit_test(chunks_are_written_as_they_are_read),
		cmocka_unit_test(our_errors_are_readable_responses),
		cmocka_unit_test(traceparents_follow_the_w3c_rules),
		cmocka_unit_test(request_ids_are_visible_ascii_and_short),
	};
	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
