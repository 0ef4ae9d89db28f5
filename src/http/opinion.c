/* opinion.c - llhttp, asked for a second opinion on what our own check let pass.
 *
 * A head is shown to a parser that starts fresh and stops at the end of the headers. Only when the body is chunked is
 * it let go on, over the bytes of the body; so the places where versions differ (bodies on 204 and 304, upgrade
 * pauses, data after close) are never reached.
 */
#include "opinion.h"

static struct opinion *opinion_of(llhttp_t *parser)
{
	return parser->data;
}

static int on_header(llhttp_t *parser)
{
	opinion_of(parser)->header_count++;
	return HPE_OK;
}

static int on_headers_complete(llhttp_t *parser)
{
	opinion_of(parser)->head_done = true;
	return HPE_PAUSED;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
	(void)at;
	opinion_of(parser)->body_bytes += len;
	return HPE_OK;
}

static int on_message_complete(llhttp_t *parser)
{
	opinion_of(parser)->message_done = true;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_header_field_complete = on_header,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

void opinion_init(struct opinion *o, enum http_kind kind)
{
	llhttp_init(&o->parser, kind == HTTP_REQUEST_MESSAGE ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
	o->parser.data = o;
}

static void begin(struct opinion *o)
{
	llhttp_reset(&o->parser);
	o->header_count = 0;
	o->body_bytes = 0;
	o->head_done = o->message_done = false;
}

static bool show(struct opinion *o, const char *bytes, size_t len)
{
	return llhttp_execute(&o->parser, bytes, len) == HPE_OK;
}

static bool show_slice(struct opinion *o, struct slice s)
{
	return s.len == 0 || show(o, s.at, s.len);
}

#define SHOW_LITERAL(o, text) show((o), (text), sizeof(text) - 1)

/* Unknown methods (QUERY before 9.2) go by the name of POST, later 1.x versions by 1.1, values with control bytes by "-". */
static bool show_first_line(struct opinion *o, const struct http_head *head)
{
	if (head->status == 0)
		return SHOW_LITERAL(o, "POST ") && show_slice(o, head->target) &&
		       (head->minor == 0 ? SHOW_LITERAL(o, " HTTP/1.0\r\n")
					 : SHOW_LITERAL(o, " HTTP/1.1\r\n"));
	char status[4] = { (char)('0' + head->status / 100), (char)('0' + head->status / 10 % 10),
		(char)('0' + head->status % 10), ' ' };
	return (head->minor == 0 ? SHOW_LITERAL(o, "HTTP/1.0 ") : SHOW_LITERAL(o, "HTTP/1.1 ")) &&
	       show(o, status, sizeof status) && show_slice(o, head->reason) && SHOW_LITERAL(o, "\r\n");
}

static bool show_plainly(struct opinion *o, const struct http_head *head)
{
	if (!show_first_line(o, head))
		return false;
	for (size_t i = 0; i < head->header_count; i++) {
		const struct http_header *h = &head->headers[i];
		if (!show_slice(o, h->name) || !SHOW_LITERAL(o, ": ") ||
			!(h->controls ? SHOW_LITERAL(o, "-") : show_slice(o, h->value)) ||
			!SHOW_LITERAL(o, "\r\n"))
			return false;
	}
	return llhttp_execute(&o->parser, "\r\n", 2) == HPE_PAUSED;
}

static bool show_as_is(struct opinion *o, const char *bytes, size_t len)
{
	return llhttp_execute(&o->parser, bytes, len) == HPE_PAUSED &&
	       llhttp_get_error_pos(&o->parser) == bytes + len;
}

bool opinion_agrees_on_head(struct opinion *o, const char *bytes, const struct http_head *head, bool unusual)
{
	begin(o);
	if (!(unusual ? show_plainly(o, head) : show_as_is(o, bytes, head->bytes)))
		return false;
	if (!o->head_done || o->header_count != head->header_count || o->parser.http_minor != head->minor)
		return false;
	bool chunked = o->parser.flags & F_CHUNKED;
	if (head->framing == HTTP_LENGTH &&
		(!(o->parser.flags & F_CONTENT_LENGTH) || o->parser.content_length != head->content_length))
		return false;
	if (head->framing == HTTP_CHUNKED)
		llhttp_resume(&o->parser);
	return chunked || head->framing != HTTP_CHUNKED;
}

bool opinion_feed(struct opinion *o, const char *bytes, size_t len)
{
	if (o->message_done)
		return false;
	llhttp_errno_t result = llhttp_execute(&o->parser, bytes, len);
	if (result == HPE_PAUSED)
		return o->message_done && llhttp_get_error_pos(&o->parser) == bytes + len;
	return result == HPE_OK;
}
