/* head.c - our own strict reading of a head, in one pass.
 *
 *      GET /path HTTP/1.1 CRLF        request_line_parse, or status_line_parse
 *      Name: value CRLF               header_line_parse, for each
 *      CRLF
 *
 * The caller has found the empty line, so every scan ends at the latest at its LF: no scan needs to look at an end.
 * llhttp 8.1 and 9.x differ in what they let pass here; what we refuse they never see (shared facts: http.md section 6).
 *
 * Control bytes: a request with one is refused. A response may keep them in values that mean nothing to us (RFC 9110 5.5: "in a safe
 * context"), as the application would be heard without us; but never such as could be taken for the end of a line.
 */
#include "head.h"

#include <string.h>

#include "chars.h"
#include "names.h"
#include "target.h"

/* Why the byte at p may not stand there: a broken line end and a control are worse than what was expected instead.
 * A CR is never the last byte of a head, so p[1] may be read. */
static enum http_error wrong_byte(const char *p, enum http_error otherwise)
{
	if (*p == '\n' || (*p == '\r' && p[1] != '\n'))
		return HTTP_ERR_LINE_END;
	if (*p != '\r' && *p != '\t' && char_is_control(*p))
		return HTTP_ERR_CONTROL;
	return otherwise;
}

/* HTTP/1.0 and 1.1; a later 1.x is read as 1.1 (RFC 9110 2.5). */
static enum http_error version_parse(const char **at, struct http_head *head, struct head_notes *notes)
{
	static const char name[5] = "HTTP/";
	const char *p = *at;
#pragma GCC unroll 5
	for (size_t i = 0; i < sizeof name; i++, p++)
		if (*p != name[i])
			return wrong_byte(p, HTTP_ERR_REQUEST_LINE);
	if (!char_is_digit(p[0]) || p[1] != '.' || !char_is_digit(p[2]))
		return HTTP_ERR_VERSION;
	if (p[0] != '1' || char_is_digit(p[3]))
		return HTTP_ERR_VERSION;
	head->minor = p[2] == '0' ? 0 : 1;
	notes->unusual |= p[2] > '1';
	*at = p + 3;
	return HTTP_OK;
}

static enum http_error line_end(const char **at)
{
	const char *p = *at;
	if (p[0] != '\r' || p[1] != '\n')
		return wrong_byte(p, HTTP_ERR_REQUEST_LINE);
	*at = p + 2;
	return HTTP_OK;
}

/* The methods that every llhttp has known as HTTP methods; others it hears of under a stand-in's name. */
static bool method_is_usual(struct slice method)
{
	static const struct slice usual[] = {
		{ "GET", 3 },
		{ "POST", 4 },
		{ "PUT", 3 },
		{ "HEAD", 4 },
		{ "DELETE", 6 },
		{ "PATCH", 5 },
		{ "OPTIONS", 7 },
	};
	for (size_t i = 0; i < ARRAY_LEN(usual); i++)
		if (slice_equal(method, usual[i]))
			return true;
	return false;
}

static enum http_error request_line_parse(const char **at, struct http_head *head, struct head_notes *notes)
{
	const char *from = *at, *p = from;
	while (char_is(*p, CHAR_TOKEN))
		p++;
	head->method = (struct slice){ from, (size_t)(p - from) };
	if (head->method.len == 0 || *p != ' ')
		return wrong_byte(p, HTTP_ERR_REQUEST_LINE);
	if (slice_equal(head->method, SLICE("CONNECT")))
		return HTTP_ERR_METHOD;
	notes->unusual |= !method_is_usual(head->method);

	from = ++p;
	p = target_scan(from);
	head->target = (struct slice){ from, (size_t)(p - from) };
	if (*p != ' ')
		return wrong_byte(p, *p == '\r' ? HTTP_ERR_REQUEST_LINE : HTTP_ERR_TARGET);
	if (head->target.len == 0)
		return HTTP_ERR_REQUEST_LINE;
	p++;
	enum http_error error = version_parse(&p, head, notes);
	if (error == HTTP_OK)
		error = line_end(&p);
	if (error == HTTP_OK)
		error = target_parse(head);
	*at = p;
	return error;
}

static enum http_error status_line_error(enum http_error error)
{
	return error == HTTP_ERR_REQUEST_LINE ? HTTP_ERR_STATUS_LINE : error;
}

/* The space before an empty reason is often forgotten; that much is forgiven, since we write the line anew. */
static enum http_error status_line_parse(
	const char **at, const char *end, struct http_head *head, struct head_notes *notes)
{
	const char *p = *at;
	enum http_error error = version_parse(&p, head, notes);
	if (error != HTTP_OK)
		return status_line_error(error);
	if (*p != ' ')
		return wrong_byte(p, HTTP_ERR_STATUS_LINE);
	p++;
	if (*p < '1' || *p > '5' || !char_is_digit(p[1]) || !char_is_digit(p[2]))
		return wrong_byte(p, HTTP_ERR_STATUS_LINE);
	head->status = (uint16_t)((p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0'));
	p += 3;
	head->reason = (struct slice){ p, 0 };
	if (*p == ' ') {
		const char *from = ++p;
		p = text_scan(from, end);
		head->reason = (struct slice){ from, (size_t)(p - from) };
	}
	error = line_end(&p);
	*at = p;
	return status_line_error(error);
}

static void forget_lines(struct http_head *head)
{
	static const struct slice none = { "", 0 };
	head->method = head->target = head->reason = head->path = head->resource = head->host = none;
	head->absolute_form = false;
	head->status = 0;
}

static enum http_error first_line_parse(enum http_kind kind, const char **at, const char *end,
	struct http_head *head, struct head_notes *notes)
{
	forget_lines(head);
	return kind == HTTP_REQUEST_MESSAGE ? request_line_parse(at, head, notes)
					    : status_line_parse(at, end, head, notes);
}

enum http_error head_check_first_line(
	enum http_kind kind, const char *bytes, size_t len, struct http_head *head)
{
	struct head_notes notes = { 0 };
	return first_line_parse(kind, &bytes, bytes + len, head, &notes);
}

/* NUL, and what some reader or other takes for the end of a line: LF, VT, FF, CR, FS, GS, RS. */
static bool divides(char c)
{
	return c == '\0' || (c >= '\n' && c <= '\r') || (c >= 0x1c && c <= 0x1e);
}

/* The end of a value that may hold other control bytes. */
static const char *odd_value_scan(const char *p, const char *end)
{
	while (!divides(*p))
		p = text_scan(p + 1, end);
	return p;
}

enum http_error header_line_parse(
	const char **line, const char *end, bool keep_controls, struct http_header *header)
{
	const char *from = *line, *p = from;
	unsigned classes = 0;
	if (char_is_blank(*p))
		return HTTP_ERR_FOLD;
	while (char_is(*p, CHAR_TOKEN))
		classes |= char_classes[(unsigned char)*p++];
	if (p == from || *p != ':')
		return wrong_byte(p, HTTP_ERR_HEADER_NAME);
	header->name = (struct slice){ from, (size_t)(p - from) };
	header->underscore = classes & CHAR_UNDERSCORE;
	header->id = name_find(header->name);
	header->hop_by_hop = name_is_hop_by_hop(header->id);

	from = p + 1;
	p = text_scan(from, end);
	header->controls = false;
	if (*p != '\r' && keep_controls && header->id == HTTP_OTHER) {
		const char *odd = p;
		p = odd_value_scan(p, end);
		header->controls = p != odd;
	}
	if (p[0] != '\r' || p[1] != '\n')
		return wrong_byte(p, HTTP_ERR_HEADER_VALUE);
	header->value = slice_trim(from, p);
	*line = p + 2;
	return HTTP_OK;
}

static void note(struct head_notes *notes, const struct http_header *header, size_t index)
{
	uint32_t bit = UINT32_C(1) << header->id;
	notes->unusual |= header->controls;
	if (header->id == HTTP_OTHER)
		return;
	if (notes->seen & bit)
		notes->repeated |= bit;
	else
		notes->first[header->id] = (uint8_t)index;
	notes->seen |= bit;

	/* llhttp before 9.4 misreads a tab after these two. */
	bool framing = header->id == HTTP_CONTENT_LENGTH || header->id == HTTP_TRANSFER_ENCODING;
	notes->unusual |= framing && header->value.at[header->value.len] != '\r';
}

enum http_error head_parse(enum http_kind kind, const char *bytes, size_t len, size_t max_headers,
	struct http_head *head, struct head_notes *notes)
{
	const char *p = bytes, *end = bytes + len;
	notes->seen = notes->repeated = 0;
	notes->unusual = false;
	enum http_error error = first_line_parse(kind, &p, end, head, notes);
	if (error != HTTP_OK)
		return error;

	const char *lines = p;
	size_t count = 0;
	while (*p != '\r' || p[1] != '\n') {
		if (count == max_headers)
			return HTTP_ERR_TOO_MANY_HEADERS;
		error = header_line_parse(&p, end, kind == HTTP_RESPONSE_MESSAGE, &head->headers[count]);
		if (error != HTTP_OK)
			return error;
		note(notes, &head->headers[count], count);
		count++;
	}
	head->header_count = count;
	head->lines = (struct slice){ lines, (size_t)(p - lines) };
	head->bytes = len;
	return HTTP_OK;
}
