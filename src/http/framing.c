/* framing.c - what the headers of a head mean: where the body ends, what the connection does next.
 *
 * Request smuggling lives on two readers of one message who answer these questions differently. So there is one
 * answer or none: whatever RFC 9112 lets a recipient repair is refused.
 */
#include "framing.h"

#include <string.h>

#include "chars.h"
#include "names.h"
#include "target.h"

enum { CONNECTION_OPTIONS_MAX = 100 }; /* each is compared with each header */

struct connection {
	bool close, keep_alive, upgrade;
};

static bool seen(const struct head_notes *notes, enum http_name id)
{
	return notes->seen & UINT32_C(1) << id;
}

static bool repeated(const struct head_notes *notes, enum http_name id)
{
	return notes->repeated & UINT32_C(1) << id;
}

static struct slice first_value(
	const struct http_head *head, const struct head_notes *notes, enum http_name id)
{
	return head->headers[notes->first[id]].value;
}

/* RFC 9112 3.2: exactly one; HTTP/1.0 knew none. An absolute-form target overrules it, but does not excuse it. */
static enum http_error host_check(struct http_head *head, const struct head_notes *notes)
{
	if (!seen(notes, HTTP_HOST))
		return head->minor == 0 ? HTTP_OK : HTTP_ERR_HOST;
	struct slice host = first_value(head, notes, HTTP_HOST);
	if (repeated(notes, HTTP_HOST) || !authority_is_valid(host))
		return HTTP_ERR_HOST;
	if (!head->absolute_form)
		head->host = host;
	return HTTP_OK;
}

static enum http_error content_length_parse(struct slice value, uint64_t *length)
{
	uint64_t n = 0;
	if (value.len == 0)
		return HTTP_ERR_CONTENT_LENGTH;
	for (size_t i = 0; i < value.len; i++) {
		if (!char_is_digit(value.at[i]))
			return HTTP_ERR_CONTENT_LENGTH;
		unsigned digit = (unsigned)(value.at[i] - '0');
		if (n > ((uint64_t)INT64_MAX - digit) / 10)
			return HTTP_ERR_CONTENT_LENGTH;
		n = n * 10 + digit;
	}
	*length = n;
	return HTTP_OK;
}

/* A coding with its parameters, but not chunked: that may stand only once, and last. */
static bool is_other_coding(struct slice coding)
{
	const char *parameter = memchr(coding.at, ';', coding.len);
	if (parameter != NULL)
		coding = slice_trim(coding.at, parameter);
	return is_token(coding) && !slice_equal_nocase(coding, SLICE("chunked"));
}

/* Which error a Transfer-Encoding that is not "chunked" deserves: 501 where chunked is the last of several codings. */
static enum http_error coding_error(struct slice value)
{
	const char *p = value.at, *end = p + value.len, *comma;
	while ((comma = memchr(p, ',', (size_t)(end - p))) != NULL) {
		if (!is_other_coding(slice_trim(p, comma)))
			return HTTP_ERR_TRANSFER_ENCODING;
		p = comma + 1;
	}
	bool chunked_last = slice_equal_nocase(slice_trim(p, end), SLICE("chunked"));
	return chunked_last ? HTTP_ERR_TRANSFER_CODING : HTTP_ERR_TRANSFER_ENCODING;
}

static enum http_error framing_parse(
	struct http_head *head, const struct head_notes *notes, enum http_framing without)
{
	head->framing = without;
	head->content_length = 0;
	bool length = seen(notes, HTTP_CONTENT_LENGTH), encoding = seen(notes, HTTP_TRANSFER_ENCODING);
	if (length && encoding)
		return HTTP_ERR_BOTH_FRAMINGS;
	if (length) {
		head->framing = HTTP_LENGTH;
		if (repeated(notes, HTTP_CONTENT_LENGTH))
			return HTTP_ERR_CONTENT_LENGTH;
		return content_length_parse(
			first_value(head, notes, HTTP_CONTENT_LENGTH), &head->content_length);
	}
	if (encoding) {
		head->framing = HTTP_CHUNKED;
		struct slice value = first_value(head, notes, HTTP_TRANSFER_ENCODING);
		if (repeated(notes, HTTP_TRANSFER_ENCODING) || head->minor == 0)
			return HTTP_ERR_TRANSFER_ENCODING;
		return slice_equal_nocase(value, SLICE("chunked")) ? HTTP_OK : coding_error(value);
	}
	return HTTP_OK;
}

/* Marks the headers that Connection names. Host and framing are never given away (`Connection: close, Content-Length`). */
static void mark_named(struct http_head *head, struct slice name)
{
	for (size_t i = 0; i < head->header_count; i++) {
		struct http_header *h = &head->headers[i];
		if (h->name.len == name.len && name_may_be_stripped(h->id) &&
			slice_equal_nocase(h->name, name))
			h->hop_by_hop = true;
	}
}

static enum http_error connection_parse(
	struct http_head *head, const struct head_notes *notes, struct connection *c)
{
	size_t options = 0;
	*c = (struct connection){ 0 };
	if (!seen(notes, HTTP_CONNECTION))
		return HTTP_OK;
	for (size_t i = notes->first[HTTP_CONNECTION]; i < head->header_count; i++) {
		struct slice rest = head->headers[i].value, option;
		if (head->headers[i].id != HTTP_CONNECTION)
			continue;
		while (list_next(&rest, &option)) {
			if (!is_token(option) || ++options > CONNECTION_OPTIONS_MAX)
				return HTTP_ERR_CONNECTION;
			if (slice_equal_nocase(option, SLICE("close")))
				c->close = true;
			else if (slice_equal_nocase(option, SLICE("keep-alive")))
				c->keep_alive = true;
			else if (slice_equal_nocase(option, SLICE("upgrade")))
				c->upgrade = true;
			else
				mark_named(head, option);
		}
	}
	return HTTP_OK;
}

/* protocol-name ["/" protocol-version] */
static bool is_protocol(struct slice s)
{
	const char *slash = memchr(s.at, '/', s.len);
	if (slash == NULL)
		return is_token(s);
	struct slice version = { slash + 1, s.len - (size_t)(slash + 1 - s.at) };
	return is_token((struct slice){ s.at, (size_t)(slash - s.at) }) && is_token(version);
}

/* *wanted: there is a protocol to switch to, and it is not h2c, which we never let through (a server may ignore Upgrade). */
static enum http_error upgrade_parse(
	const struct http_head *head, const struct head_notes *notes, bool *wanted)
{
	bool h2c = false, any = false;
	*wanted = false;
	if (!seen(notes, HTTP_UPGRADE))
		return HTTP_OK;
	for (size_t i = notes->first[HTTP_UPGRADE]; i < head->header_count; i++) {
		struct slice rest = head->headers[i].value, protocol;
		if (head->headers[i].id != HTTP_UPGRADE)
			continue;
		while (list_next(&rest, &protocol)) {
			if (!is_protocol(protocol))
				return HTTP_ERR_UPGRADE;
			any = true;
			h2c |= slice_equal_nocase(protocol, SLICE("h2c"));
		}
	}
	*wanted = any && !h2c;
	return HTTP_OK;
}

static enum http_error expect_parse(struct http_head *head, const struct head_notes *notes)
{
	head->expect_continue = false;
	if (!seen(notes, HTTP_EXPECT) || head->minor == 0)
		return HTTP_OK;
	for (size_t i = notes->first[HTTP_EXPECT]; i < head->header_count; i++) {
		struct slice rest = head->headers[i].value, expectation;
		while (head->headers[i].id == HTTP_EXPECT && list_next(&rest, &expectation)) {
			if (!slice_equal_nocase(expectation, SLICE("100-continue")))
				return HTTP_ERR_EXPECT;
			head->expect_continue = true;
		}
	}
	/* Who sends no content has nothing to wait for (RFC 9110 10.1.1). */
	if (head->framing == HTTP_NO_BODY || (head->framing == HTTP_LENGTH && head->content_length == 0))
		head->expect_continue = false;
	return HTTP_OK;
}

static bool te_names_trailers(const struct http_head *head, const struct head_notes *notes)
{
	if (!seen(notes, HTTP_TE))
		return false;
	for (size_t i = notes->first[HTTP_TE]; i < head->header_count; i++) {
		struct slice rest = head->headers[i].value, coding;
		while (head->headers[i].id == HTTP_TE && list_next(&rest, &coding))
			if (slice_equal_nocase(coding, SLICE("trailers")))
				return true;
	}
	return false;
}

static bool has_body(const struct http_head *head)
{
	return head->framing == HTTP_LENGTH ? head->content_length != 0 : head->framing != HTTP_NO_BODY;
}

static enum http_error request_interpret(struct http_head *head, const struct head_notes *notes)
{
	struct connection connection;
	bool wanted;
	enum http_error error = host_check(head, notes);
	if (error == HTTP_OK)
		error = framing_parse(head, notes, HTTP_NO_BODY);
	if (error == HTTP_OK)
		error = connection_parse(head, notes, &connection);
	if (error == HTTP_OK)
		error = upgrade_parse(head, notes, &wanted);
	if (error == HTTP_OK)
		error = expect_parse(head, notes);
	if (error != HTTP_OK)
		return error;

	head->keep_alive = !connection.close && (head->minor == 1 || connection.keep_alive);
	head->upgrade = wanted && connection.upgrade && head->minor == 1 && !has_body(head);
	head->te_trailers = head->minor == 1 && te_names_trailers(head, notes);
	return HTTP_OK;
}

static bool never_has_body(uint16_t status)
{
	return status < 200 || status == 204 || status == 304;
}

static enum http_error response_interpret(
	bool answers_head, struct http_head *head, const struct head_notes *notes)
{
	struct connection connection;
	bool wanted;
	enum http_error error = framing_parse(head, notes, HTTP_UNTIL_CLOSE);
	if (error == HTTP_OK)
		error = connection_parse(head, notes, &connection);
	if (error == HTTP_OK)
		error = upgrade_parse(head, notes, &wanted);
	if (error != HTTP_OK)
		return error;
	head->expect_continue = head->te_trailers = false;
	head->keep_alive = !connection.close && (head->minor == 1 || connection.keep_alive);
	head->upgrade = wanted && connection.upgrade && head->status == 101;
	if (head->status == 101 && !head->upgrade)
		return HTTP_ERR_UPGRADE;

	if (answers_head || never_has_body(head->status)) {
		/* An interim response with a body is an attack or a bug. A 204 with one is a known bug of applications
		 * ("null" after a 204): it is answered as what it says, and nothing after it is believed. */
		if (head->status < 200 && head->framing != HTTP_UNTIL_CLOSE && has_body(head))
			return head->framing == HTTP_LENGTH ? HTTP_ERR_CONTENT_LENGTH
							    : HTTP_ERR_TRANSFER_ENCODING;
		if (head->status == 204 && head->framing != HTTP_UNTIL_CLOSE && has_body(head))
			head->keep_alive = false;
		head->framing = HTTP_NO_BODY;
	}
	if (head->framing == HTTP_UNTIL_CLOSE)
		head->keep_alive = false;
	return HTTP_OK;
}

enum http_error head_interpret(
	enum http_kind kind, bool answers_head, struct http_head *head, const struct head_notes *notes)
{
	return kind == HTTP_REQUEST_MESSAGE ? request_interpret(head, notes)
					    : response_interpret(answers_head, head, notes);
}
