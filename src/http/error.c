/* error.c - why a message was refused, and the responses the proxy makes itself. */
#include <slowproxy/http.h>

#include <string.h>
#include <time.h>

#include <slowproxy/base/json.h>

/* clang-format off */
const struct http_error_row http_errors[HTTP_ERR_COUNT] = {
	[HTTP_OK]                    = { "ok", "nothing is wrong", 200 },
	[HTTP_ERR_HEAD_TOO_LARGE]    = { "head_too_large", "the message head is larger than limits.header_bytes", 431 },
	[HTTP_ERR_TARGET_TOO_LONG]   = { "target_too_long", "the request line is longer than limits.request_line_bytes", 414 },
	[HTTP_ERR_TOO_MANY_HEADERS]  = { "too_many_headers", "the message has more header lines than limits.headers", 431 },
	[HTTP_ERR_REQUEST_LINE]      = { "bad_request_line", "the first line is not \"METHOD target HTTP/1.x\" with single spaces", 400 },
	[HTTP_ERR_METHOD]            = { "method_not_offered", "CONNECT asks for a forward proxy; this proxy serves one application only", 501 },
	[HTTP_ERR_VERSION]           = { "bad_version", "only HTTP/1.0 and HTTP/1.1 are spoken here", 505 },
	[HTTP_ERR_TARGET]            = { "bad_target", "the request target is not a path (or http:// URL, or * with OPTIONS), or it has a byte that must be percent-encoded", 400 },
	[HTTP_ERR_STATUS_LINE]       = { "bad_status_line", "the first line is not \"HTTP/1.x NNN reason\" with a status from 100 to 599", 502 },
	[HTTP_ERR_LINE_END]          = { "bad_line_end", "a line ends with a bare CR or LF instead of CR LF", 400 },
	[HTTP_ERR_CONTROL]           = { "control_byte", "a NUL or another control byte stands where none may stand", 400 },
	[HTTP_ERR_FOLD]              = { "folded_header", "a header line begins with a blank (obsolete line folding)", 400 },
	[HTTP_ERR_HEADER_NAME]       = { "bad_header_name", "a header name is empty, is not a token, or is not followed at once by a colon", 400 },
	[HTTP_ERR_HEADER_VALUE]      = { "bad_header_value", "a header value has a byte that may not stand there", 400 },
	[HTTP_ERR_HOST]              = { "bad_host", "the Host header is missing, repeated, empty or not host[:port]", 400 },
	[HTTP_ERR_CONTENT_LENGTH]    = { "bad_content_length", "Content-Length is repeated, or is not one number of bytes, or stands where no body may follow", 400 },
	[HTTP_ERR_CONNECTION]        = { "bad_connection", "the Connection header is not a list of at most 100 tokens", 400 },
	[HTTP_ERR_TRANSFER_ENCODING] = { "bad_transfer_encoding", "Transfer-Encoding is not exactly one \"chunked\", or comes with HTTP/1.0, or where no body may follow", 400 },
	[HTTP_ERR_TRANSFER_CODING]   = { "unknown_transfer_coding", "a transfer coding other than chunked is not understood here", 501 },
	[HTTP_ERR_BOTH_FRAMINGS]     = { "two_framings", "the message has both Content-Length and Transfer-Encoding", 400 },
	[HTTP_ERR_EXPECT]            = { "unknown_expectation", "an expectation other than 100-continue cannot be met", 417 },
	[HTTP_ERR_UPGRADE]           = { "bad_upgrade", "the Upgrade header is not a list of protocols, or is missing from a 101 response", 400 },
	[HTTP_ERR_CHUNK]             = { "bad_chunk", "a chunk's size, extension or end is malformed, or its line is too long", 400 },
	[HTTP_ERR_TRAILER]           = { "bad_trailer", "the trailers are larger than limits.header_bytes, or hold a field about framing, host or authorization", 400 },
	[HTTP_ERR_BODY_TOO_LARGE]    = { "body_too_large", "the body is larger than limits.body_bytes", 413 },
	[HTTP_ERR_EARLY_END]         = { "early_end", "the connection ended inside a message", 400 },
	[HTTP_ERR_PARSER]            = { "second_opinion", "llhttp reads this message differently than our own check does", 400 },
};

struct phrase { uint16_t status; const char *text; };
static const struct phrase phrases[] = {
	{ 400, "Bad Request" }, { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
	{ 408, "Request Timeout" }, { 411, "Length Required" }, { 413, "Content Too Large" }, { 414, "URI Too Long" },
	{ 417, "Expectation Failed" }, { 421, "Misdirected Request" }, { 426, "Upgrade Required" }, { 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" }, { 500, "Internal Server Error" }, { 501, "Not Implemented" },
	{ 502, "Bad Gateway" }, { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" }, { 200, "OK" }, { 204, "No Content" }, { 301, "Moved Permanently" },
	{ 302, "Found" }, { 304, "Not Modified" }, { 307, "Temporary Redirect" }, { 308, "Permanent Redirect" },
};
/* clang-format on */

const char *http_reason_phrase(uint16_t status)
{
	for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
		if (phrases[i].status == status)
			return phrases[i].text;
	return "Unknown";
}

static void json_body(
	struct buf *body, uint16_t status, const char *name, const char *sentence, const char *request_id)
{
	struct json j;
	json_init(&j, body);
	json_begin(&j, '{');
	json_key(&j, "error");
	json_str(&j, name);
	json_key(&j, "status");
	json_u64(&j, status);
	json_key(&j, "detail");
	json_str(&j, sentence);
	if (request_id != NULL && *request_id != '\0') {
		json_key(&j, "request_id");
		json_str(&j, request_id);
	}
	json_end(&j);
	buf_add_char(body, '\n');
}

static void plain_body(
	struct buf *body, uint16_t status, const char *name, const char *sentence, const char *request_id)
{
	buf_printf(body, "%u %s\n%s: %s\n", status, http_reason_phrase(status), name, sentence);
	if (request_id != NULL && *request_id != '\0')
		buf_printf(body, "request %s\n", request_id);
}

static void add_date(struct buf *out)
{
	time_t now = time(NULL);
	struct tm utc;
	char text[64];
	gmtime_r(&now, &utc);
	strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc);
	buf_add_str(out, text);
}

void http_write_error(struct buf *out, uint16_t status, const char *outcome_name, const char *sentence,
	const char *request_id, struct slice extra, bool close, bool head_request, bool plain)
{
	struct buf body = { 0 };
	if (plain)
		plain_body(&body, status, outcome_name, sentence, request_id);
	else
		json_body(&body, status, outcome_name, sentence, request_id);

	buf_printf(out, "HTTP/1.1 %u %s\r\n", status, http_reason_phrase(status));
	add_date(out);
	buf_printf(out, "Content-Type: %s\r\n", plain ? "text/plain; charset=utf-8" : "application/json");
	buf_printf(out, "Content-Length: %zu\r\n", body.len);
	buf_add_str(out, close ? "Connection: close\r\n" : "");
	buf_add(out, extra.at, extra.len);
	buf_add_str(out, "\r\n");
	if (!head_request)
		buf_add(out, body.data, body.len);
	buf_clear(&body);
}
