/* write.c - heads back to bytes.
 *
 * What passes, passes byte for byte: runs of header lines that stay are copied as they were received, in their order.
 * Framing is never copied: a Content-Length or Transfer-Encoding line keeps its place and the spelling of its name, and
 * gets its value from head->framing. What is about one connection only is left out and written anew at the end.
 */
#include <slowproxy/http.h>

#include <assert.h>
#include <string.h>

enum { FIXED_OVERHEAD = 512 }; /* room for what we add besides the slices of others */

/* A line is copied, left out, or written anew by its own function. */
enum fate { FATE_COPY, FATE_DROP, FATE_LENGTH, FATE_CHUNKED, FATE_HOST };

struct out {
	char *at;
};

static void put(struct out *o, const char *bytes, size_t len)
{
	memcpy(o->at, bytes, len);
	o->at += len;
}

#define PUT(o, literal) put((o), (literal), sizeof(literal) - 1)

static void put_slice(struct out *o, struct slice s)
{
	if (s.len != 0)
		put(o, s.at, s.len);
}

static void put_number(struct out *o, uint64_t n)
{
	char digits[20], *p = digits + sizeof digits;
	do
		*--p = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	put(o, p, (size_t)(digits + sizeof digits - p));
}

static void put_header(struct out *o, struct slice name, struct slice value)
{
	put_slice(o, name);
	PUT(o, ": ");
	put_slice(o, value);
	PUT(o, "\r\n");
}

static void put_length(struct out *o, struct slice name, uint64_t length)
{
	put_slice(o, name);
	PUT(o, ": ");
	put_number(o, length);
	PUT(o, "\r\n");
}

static void put_chunked(struct out *o, struct slice name)
{
	put_header(o, name, SLICE("chunked"));
}

static void put_instead(
	struct out *o, const struct http_head *head, const struct http_header *h, enum fate fate)
{
	if (fate == FATE_LENGTH)
		put_length(o, h->name, head->content_length);
	else if (fate == FATE_CHUNKED)
		put_chunked(o, h->name);
	else if (fate == FATE_HOST)
		put_header(o, h->name, head->host);
}

/* Copies the header lines; fate_of decides for each. Lines that stay are copied in runs. */
static void put_lines(struct out *o, const struct http_head *head,
	enum fate (*fate_of)(const struct http_header *h, const void *context), const void *context)
{
	const char *run = head->lines.at;
	for (size_t i = 0; i < head->header_count; i++) {
		const struct http_header *h = &head->headers[i];
		enum fate fate = fate_of(h, context);
		if (fate == FATE_COPY)
			continue;
		put(o, run, (size_t)(h->name.at - run));
		put_instead(o, head, h, fate);
		run = i + 1 < head->header_count ? h[1].name.at : head->lines.at + head->lines.len;
	}
	put(o, run, (size_t)(head->lines.at + head->lines.len - run));
}

static struct out begin(struct buf *out, size_t most)
{
	buf_reserve(out, most);
	return (struct out){ out->data + out->len };
}

static void end(struct buf *out, struct out *o, size_t most)
{
	size_t len = (size_t)(o->at - out->data);
	assert(len <= out->len + most);
	out->len = len;
	out->data[len] = '\0';
}

/* --- requests --- */

struct request_context {
	const struct http_head *head;
	const struct http_forward *add;
};

/* Frameworks read many of them: -Port, -Prefix, -Ssl, -Server ... */
static bool tells_of_client(struct slice name)
{
	static const struct slice prefix = { "x-forwarded-", 12 };
	if (name.len < 9 || (name.at[0] | 0x20) != (name.len == 9 ? 'f' : 'x'))
		return false;
	if (name.len == 9)
		return slice_equal_nocase(name, SLICE("forwarded"));
	return name.len > prefix.len && slice_equal_nocase((struct slice){ name.at, prefix.len }, prefix);
}

static enum fate request_fate(const struct http_header *h, const void *context)
{
	const struct request_context *c = context;
	if (h->underscore && c->add->drop_underscore_names)
		return FATE_DROP;
	if (c->add->drop_forwarded && tells_of_client(h->name))
		return FATE_DROP;
	switch (h->id) {
	case HTTP_HOST:
		return c->head->absolute_form ? FATE_HOST : FATE_COPY;
	case HTTP_CONTENT_LENGTH:
		return c->head->framing == HTTP_LENGTH ? FATE_LENGTH : FATE_DROP;
	case HTTP_TRANSFER_ENCODING:
		return c->head->framing == HTTP_CHUNKED ? FATE_CHUNKED : FATE_DROP;
	case HTTP_UPGRADE:
		return c->head->upgrade ? FATE_COPY : FATE_DROP;
	case HTTP_EXPECT:
		return h->hop_by_hop || c->head->minor == 0 ? FATE_DROP
							    : FATE_COPY; /* RFC 9110 10.1.1: unknown to 1.0 */
	case HTTP_X_FORWARDED_FOR:
		return h->hop_by_hop || c->add->forwarded_for.len != 0 ? FATE_DROP : FATE_COPY;
	case HTTP_X_FORWARDED_PROTO:
		return h->hop_by_hop || c->add->forwarded_proto.len != 0 ? FATE_DROP : FATE_COPY;
	case HTTP_X_FORWARDED_HOST:
		return h->hop_by_hop || c->add->forwarded_host.len != 0 ? FATE_DROP : FATE_COPY;
	case HTTP_X_FORWARDED_PORT:
		return h->hop_by_hop || c->add->forwarded_port.len != 0 ? FATE_DROP : FATE_COPY;
	case HTTP_X_REQUEST_ID:
		return h->hop_by_hop || c->add->request_id.len != 0 ? FATE_DROP : FATE_COPY;
	case HTTP_TRACEPARENT:
		return h->hop_by_hop || c->add->traceparent.len != 0 ? FATE_DROP : FATE_COPY;
	case HTTP_TRACESTATE:
		return h->hop_by_hop || c->add->drop_tracestate ? FATE_DROP : FATE_COPY;
	default:
		return h->hop_by_hop ? FATE_DROP : FATE_COPY;
	}
}

static bool has_header(const struct http_head *head, enum http_name id)
{
	for (size_t i = 0; i < head->header_count; i++)
		if (head->headers[i].id == id)
			return true;
	return false;
}

static void put_request_line(struct out *o, const struct http_head *head)
{
	put_slice(o, head->method);
	PUT(o, " ");
	if (head->resource.len == 0 && slice_equal(head->method, SLICE("OPTIONS")))
		PUT(o, "*"); /* RFC 9112 3.2.4: an absolute-form OPTIONS without a path is about the server */
	else if (head->resource.len == 0 || head->resource.at[0] == '?')
		PUT(o, "/");
	put_slice(o, head->resource);
	PUT(o, " HTTP/1.1\r\n");
}

/* The literal's length is known when compiled: its copy is a few moves. */
static inline void put_added(struct out *o, const char *name, size_t name_len, struct slice value)
{
	if (value.len == 0)
		return;
	put(o, name, name_len);
	put(o, value.at, value.len);
	PUT(o, "\r\n");
}

#define PUT_ADDED(o, name, value) put_added((o), name ": ", sizeof(name ": ") - 1, (value))

static void put_request_connection(struct out *o, const struct http_head *head)
{
	if (head->upgrade)
		put_slice(o, head->te_trailers ? SLICE("Connection: Upgrade, TE\r\n")
					       : SLICE("Connection: Upgrade\r\n"));
	else if (head->te_trailers)
		PUT(o, "Connection: TE\r\n");
	if (head->te_trailers)
		PUT(o, "TE: trailers\r\n");
}

void http_write_request_head(struct buf *out, const struct http_head *head, const struct http_forward *add)
{
	size_t most = head->bytes + head->host.len + add->host.len + add->forwarded_for.len +
		      add->forwarded_proto.len + add->forwarded_host.len + add->forwarded_port.len +
		      add->request_id.len + add->traceparent.len + add->more.len + FIXED_OVERHEAD;
	struct out o = begin(out, most);
	const struct request_context context = { head, add };

	put_request_line(&o, head);
	if (!has_header(head, HTTP_HOST))
		put_header(&o, SLICE("Host"), head->absolute_form ? head->host : add->host);
	put_lines(&o, head, request_fate, &context);
	if (head->framing == HTTP_LENGTH && !has_header(head, HTTP_CONTENT_LENGTH))
		put_length(&o, SLICE("Content-Length"), head->content_length);
	if (head->framing == HTTP_CHUNKED && !has_header(head, HTTP_TRANSFER_ENCODING))
		put_chunked(&o, SLICE("Transfer-Encoding"));
	put_request_connection(&o, head);
	PUT_ADDED(&o, "X-Forwarded-For", add->forwarded_for);
	PUT_ADDED(&o, "X-Forwarded-Proto", add->forwarded_proto);
	PUT_ADDED(&o, "X-Forwarded-Host", add->forwarded_host);
	PUT_ADDED(&o, "X-Forwarded-Port", add->forwarded_port);
	PUT_ADDED(&o, "X-Request-ID", add->request_id);
	PUT_ADDED(&o, "traceparent", add->traceparent);
	put_slice(&o, add->more);
	PUT(&o, "\r\n");
	end(out, &o, most);
}

/* --- responses --- */

struct response_context {
	const struct http_head *head;
	const struct http_respond *how;
	enum http_framing framing; /* as it will be written */
	bool lines_as_sent;        /* HEAD and 304: framing lines describe a body that is not there */
	bool upgrade;              /* 101, and 426 that names what it wants */
};

static enum fate response_fate(const struct http_header *h, const void *context)
{
	const struct response_context *c = context;
	if (c->how->drop_name.len != 0 && slice_equal_nocase(h->name, c->how->drop_name))
		return FATE_DROP;
	switch (h->id) {
	case HTTP_CONTENT_LENGTH:
		if (c->lines_as_sent)
			return FATE_COPY;
		return c->framing == HTTP_LENGTH ? FATE_LENGTH : FATE_DROP;
	case HTTP_TRANSFER_ENCODING:
		if (c->lines_as_sent)
			return c->how->client_minor == 0 ? FATE_DROP : FATE_CHUNKED;
		return c->framing == HTTP_CHUNKED ? FATE_CHUNKED : FATE_DROP;
	case HTTP_UPGRADE:
		return c->upgrade ? FATE_COPY : FATE_DROP;
	default:
		return h->hop_by_hop ? FATE_DROP : FATE_COPY;
	}
}

static enum http_framing response_framing(const struct http_head *head, const struct http_respond *how)
{
	if (head->framing == HTTP_NO_BODY || head->framing == HTTP_LENGTH)
		return head->framing;
	return how->client_minor == 0 ? HTTP_UNTIL_CLOSE : HTTP_CHUNKED;
}

static void put_status_line(struct out *o, const struct http_head *head)
{
	PUT(o, "HTTP/1.1 ");
	put_number(o, head->status);
	PUT(o, " ");
	put_slice(o, head->reason);
	PUT(o, "\r\n");
}

static void put_response_connection(struct out *o, const struct response_context *c)
{
	if (c->head->status == 101)
		PUT(o, "Connection: Upgrade\r\n");
	else if (c->head->status < 200)
		return;
	else if (c->how->close || c->framing == HTTP_UNTIL_CLOSE)
		put_slice(o, c->upgrade ? SLICE("Connection: Upgrade, close\r\n")
					: SLICE("Connection: close\r\n"));
	else if (c->upgrade)
		PUT(o, "Connection: Upgrade\r\n");
	else if (c->how->client_minor == 0)
		PUT(o, "Connection: keep-alive\r\n");
}

void http_write_response_head(struct buf *out, const struct http_head *head, const struct http_respond *how,
	enum http_framing *framing)
{
	size_t most = head->bytes + how->extra.len + FIXED_OVERHEAD;
	struct out o = begin(out, most);
	struct response_context context = { .head = head, .how = how };
	context.framing = *framing = how->head_request ? HTTP_NO_BODY : response_framing(head, how);
	context.lines_as_sent =
		how->head_request ? head->status >= 200 && head->status != 204 : head->status == 304;
	context.upgrade = head->status == 101 || (head->status == 426 && has_header(head, HTTP_UPGRADE));

	put_status_line(&o, head);
	put_lines(&o, head, response_fate, &context);
	if (context.framing == HTTP_LENGTH && !has_header(head, HTTP_CONTENT_LENGTH))
		put_length(&o, SLICE("Content-Length"), head->content_length);
	if (context.framing == HTTP_CHUNKED && !has_header(head, HTTP_TRANSFER_ENCODING))
		put_chunked(&o, SLICE("Transfer-Encoding"));
	put_response_connection(&o, &context);
	put_slice(&o, how->extra);
	PUT(&o, "\r\n");
	end(out, &o, most);
}

/* --- chunks --- */

size_t http_write_chunk_size(char *out, uint64_t len)
{
	static const char hex[] = "0123456789abcdef";
	char digits[16], *p = digits + sizeof digits;
	do
		*--p = hex[len & 15];
	while ((len >>= 4) != 0);
	size_t n = (size_t)(digits + sizeof digits - p);
	memcpy(out, p, n);
	out[n] = '\r';
	out[n + 1] = '\n';
	return n + 2;
}

void http_write_last_chunk(struct buf *out, struct slice trailers)
{
	buf_add_str(out, "0\r\n");
	buf_add(out, trailers.at, trailers.len);
	buf_add_str(out, "\r\n");
}
