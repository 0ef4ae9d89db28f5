/* heads.c - what slowproxy adds to heads, and what it notes of them.
 *
 *   to the backend  X-Forwarded-For, -Proto, -Host, -Port, X-Request-ID, traceparent with our span
 *                   (a trusted proxy's X-Forwarded-For is appended to, its -Proto, -Host and -Port are kept; anybody else's are not)
 *   to the client   X-Response-Time, X-Request-ID, Server-Timing if wished
 */
#include "proxy_private.h"

#include <string.h>

#include <slowproxy/base/clock.h>

/* --- ids --- */
static bool all_zero(const uint8_t *bytes, size_t len)
{
	while (len > 0 && bytes[len - 1] == 0)
		len--;
	return len == 0;
}

static void random_id(char *out, size_t len)
{
	uint8_t bytes[16];
	do
		random_bytes(bytes, len);
	while (all_zero(bytes, len)); /* W3C Trace Context: an id of zeros is none */
	str_hex(out, bytes, len);
}

/* A random UUID (version 4) without its dashes. */
void request_id_new(char out[33])
{
	uint8_t bytes[16];
	random_bytes(bytes, sizeof bytes);
	bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
	str_hex(out, bytes, sizeof bytes);
}

static const struct http_header *find(const struct http_head *head, enum http_name id)
{
	for (size_t i = 0; i < head->header_count; i++)
		if (head->headers[i].id == id)
			return &head->headers[i];
	return NULL;
}

/* NULL also when there is more than one. */
static const struct http_header *find_only(const struct http_head *head, enum http_name id)
{
	const struct http_header *found = NULL;
	for (size_t i = 0; i < head->header_count; i++)
		if (head->headers[i].id == id) {
			if (found != NULL)
				return NULL;
			found = &head->headers[i];
		}
	return found;
}

static void note_request_id(struct record *r, const struct http_head *head)
{
	const struct http_header *sent = find(head, HTTP_X_REQUEST_ID);
	if (sent != NULL && http_request_id_sane(sent->value))
		str_copy(r->request_id, sizeof r->request_id, sent->value.at, sent->value.len);
	else
		request_id_new(r->request_id);
}

/* The client's trace goes on under a span of ours, or a new one begins; sampled, as the SDKs' own default would be.
   With two traceparents nobody knows which is meant, so a new one begins then, too (W3C Trace Context). */
static void note_trace(struct exchange *x, const struct http_head *head)
{
	const struct http_header *sent = find_only(head, HTTP_TRACEPARENT);
	struct record *r = x->record;
	char parent_id[17];
	x->trace_continued =
		sent != NULL && http_traceparent_parse(sent->value, r->trace_id, parent_id, x->trace_flags);
	if (!x->trace_continued) {
		random_id(r->trace_id, 16);
		str_copy(x->trace_flags, sizeof x->trace_flags, "01", 2);
	}
	random_id(r->span_id, 8);
}

/* --- the request --- */
static void list_add(struct buf *out, const char *at, size_t len)
{
	if (len == 0)
		return;
	if (out->len != 0)
		buf_add(out, ", ", 2);
	buf_add(out, at, len);
}

/* What the proxies in front said, in one line; empty when nobody is to be believed. Lies in p->forwarded_for. */
static struct slice forwarded_before(struct exchange *x, const struct http_head *head)
{
	struct buf *out = &x->proxy->forwarded_for;
	buf_reset(out);
	for (size_t i = 0; i < head->header_count && x->client->trusted; i++)
		if (head->headers[i].id == HTTP_X_FORWARDED_FOR)
			list_add(out, head->headers[i].value.at, head->headers[i].value.len);
	return (struct slice){ out->data, out->len };
}

/* And the address of who told us. A client on a unix socket has none. */
static struct slice forwarded_for(struct exchange *x, const struct http_head *head)
{
	struct buf *out = &x->proxy->forwarded_for;
	forwarded_before(x, head);
	list_add(out, x->client->address, strlen(x->client->address));
	return (struct slice){ out->data, out->len };
}

void heads_begin_record(struct exchange *x, const struct http_head *head)
{
	struct record *r = x->record;
	uint64_t begin_ns = x->client->begin_ns;
	r->began_wall_ns -= r->timeline.at[MARK_BEGIN] - begin_ns;
	r->timeline.at[MARK_BEGIN] = begin_ns;
	str_copy(r->method, sizeof r->method, head->method.at, head->method.len);
	r->path_cut = !str_copy(r->path, sizeof r->path, head->path.at, head->path.len);
	r->http_minor = head->minor;
	trust_client_address(&x->proxy->trust, forwarded_before(x, head), x->client->address,
		r->client_address, sizeof r->client_address);
	r->threshold_ns = config_slow_threshold_ns(x->proxy->config, r->method, r->path);
	note_request_id(r, head);
	note_trace(x, head);
}

static bool has_value(const struct http_head *head, enum http_name id)
{
	const struct http_header *h = find(head, id);
	return h != NULL && !h->hop_by_hop && h->value.len != 0;
}

static struct slice host_of(const struct upstream *u)
{
	return u->address->is_unix ? SLICE("localhost") : slice_of(u->text);
}

/* RFC 7239 6: an IPv6 address stands in brackets and quotes; who has no address is unknown. A host that holds what a quoted
 * string may not is left out. */
static void add_forwarded(struct buf *out, const char *address, struct slice host)
{
	bool plain = host.len != 0 && memchr(host.at, '"', host.len) == NULL &&
		     memchr(host.at, '\\', host.len) == NULL;
	buf_add_str(out, "Forwarded: for=");
	if (strchr(address, ':') != NULL)
		buf_printf(out, "\"[%s]\"", address);
	else
		buf_add_str(out, address[0] != '\0' ? address : "unknown");
	if (plain)
		buf_printf(out, ";host=\"%.*s\"", (int)host.len, host.at);
	buf_add_str(out, ";proto=http\r\n");
}

/* A further line appends to those of the same name (RFC 9110 5.2), so the client's own pass as they are. */
static struct slice more_lines(struct exchange *x, const struct http_head *head)
{
	const struct config *c = x->proxy->config;
	struct buf *out = &x->proxy->more;
	buf_reset(out);
	if (c->forward.forwarded)
		add_forwarded(out, x->client->address, head->host);
	if (c->forward.via)
		buf_printf(out, "Via: 1.%u slowproxy\r\n", head->minor);
	return (struct slice){ out->data, out->len };
}

static char *put(char *at, const char *text, size_t len)
{
	memcpy(at, text, len);
	return at + len;
}

/* "00-" trace-id "-" span-id "-" flags */
static struct slice traceparent(const struct exchange *x, char out[55])
{
	char *at = put(out, "00-", 3);
	at = put(at, x->record->trace_id, 32);
	at = put(at, "-", 1);
	at = put(at, x->record->span_id, 16);
	at = put(at, "-", 1);
	at = put(at, x->trace_flags, 2);
	return (struct slice){ out, (size_t)(at - out) };
}

/* The port that the client means: after a port mapping only it, and a proxy it came through, know. */
static struct slice port_of(struct slice host, bool secure)
{
	size_t at = host.len;
	while (at > 0 && host.at[at - 1] >= '0' && host.at[at - 1] <= '9')
		at--;
	if (at == 0 || at == host.len || host.at[at - 1] != ':')
		return secure ? SLICE("443") : SLICE("80");
	return (struct slice){ host.at + at, host.len - at };
}

static struct slice forwarded_port(const struct http_head *head, const struct http_forward *add)
{
	struct slice host = add->forwarded_host.len != 0 || !has_value(head, HTTP_X_FORWARDED_HOST)
				    ? head->host
				    : find(head, HTTP_X_FORWARDED_HOST)->value;
	bool secure = add->forwarded_proto.len == 0 &&
		      slice_equal_nocase(find(head, HTTP_X_FORWARDED_PROTO)->value, SLICE("https"));
	return port_of(host, secure);
}

void heads_forward_request(struct exchange *x, const struct http_head *head, struct buf *out)
{
	char trace[55];
	/* A proxy before us knows how its client came; only where nothing is said we say it. */
	struct http_forward add = {
		.host = host_of(x->upstream != NULL ? x->upstream : x->proxy->upstreams),
		.forwarded_for = forwarded_for(x, head),
		.more = more_lines(x, head),
		.request_id = slice_of(x->record->request_id),
		.traceparent = traceparent(x, trace),
		.drop_tracestate = !x->trace_continued,
		.drop_forwarded = !x->client->trusted,
		.drop_underscore_names = x->proxy->config->underscore_headers != CONFIG_UNDERSCORE_PASS,
	};
	if (add.drop_forwarded || !has_value(head, HTTP_X_FORWARDED_PROTO))
		add.forwarded_proto = SLICE("http");
	if (add.drop_forwarded || !has_value(head, HTTP_X_FORWARDED_HOST))
		add.forwarded_host = head->host;
	if (x->proxy->config->forward.port && (add.drop_forwarded || !has_value(head, HTTP_X_FORWARDED_PORT)))
		add.forwarded_port = forwarded_port(head, &add);
	http_write_request_head(out, head, &add);
}

/* --- the answer --- */
static const uint64_t power_of_10[] = { 1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000,
	1000000000 };

static char *put_number(char *at, uint64_t n, unsigned width)
{
	char digits[20], *p = digits + sizeof digits;
	do
		*--p = (char)('0' + n % 10);
	while ((n /= 10) != 0 || (size_t)(digits + sizeof digits - p) < width);
	return put(at, p, (size_t)(digits + sizeof digits - p));
}

enum { TIME_BYTES = 32 }; /* the longest that put_time writes, and a line's end */

/* ns in a unit of 10^unit_power ns, rounded to `digits` decimals: 122600000 -> "0.123" */
static char *put_time(char *at, uint64_t ns, unsigned unit_power, unsigned digits)
{
	digits = MIN(digits, unit_power);
	uint64_t step = power_of_10[unit_power - digits];
	uint64_t steps = (ns + step / 2) / step;
	at = put_number(at, steps / power_of_10[digits], 1);
	if (digits == 0)
		return at;
	*at++ = '.';
	return put_number(at, steps % power_of_10[digits], digits);
}

static void add_time(struct buf *out, uint64_t ns, unsigned unit_power, unsigned digits)
{
	char text[TIME_BYTES];
	buf_add(out, text, (size_t)(put_time(text, ns, unit_power, digits) - text));
}

static bool has_named(const struct http_head *head, struct slice name)
{
	for (size_t i = 0; i < head->header_count; i++)
		if (head->headers[i].name.len == name.len && slice_equal_nocase(head->headers[i].name, name))
			return true;
	return false;
}

/* What was put behind p->extra, whose room was reserved, belongs to it now. */
static void extra_end(struct proxy *p, char *at)
{
	*at = '\0';
	p->extra.len = (size_t)(at - p->extra.data);
}

static void add_response_time(struct proxy *p, uint64_t took_ns)
{
	const struct config *c = p->config;
	struct slice name = p->response_time_name;
	buf_reserve(&p->extra, name.len + 2 + TIME_BYTES);
	char *at = p->extra.data + p->extra.len;
	at = put(at, name.at, name.len);
	at = put(at, ": ", 2);
	at = put_time(at, took_ns, c->response_time.unit == CONFIG_UNIT_MS ? 6 : 9, c->response_time.digits);
	at = put(at, "\r\n", 2);
	extra_end(p, at);
}

/* The phases so far, for the Timing tab of a browser. */
static void add_server_timing(struct proxy *p, const struct record *r, uint64_t took_ns)
{
	buf_add_str(&p->extra, "Server-Timing: ");
	for (enum phase phase = 0; phase < PHASE_DOWNLOAD; phase++) {
		uint64_t ns;
		if (!timeline_phase_ns(&r->timeline, phase, &ns))
			continue;
		buf_add_str(&p->extra, phase_names[phase]);
		buf_add_str(&p->extra, ";dur=");
		add_time(&p->extra, ns, 6, 3);
		buf_add_str(&p->extra, ", ");
	}
	buf_add_str(&p->extra, "total;dur=");
	add_time(&p->extra, took_ns, 6, 3);
	buf_add_str(&p->extra, "\r\n");
}

static void add_request_id(struct proxy *p, const char *request_id)
{
	static const struct slice name = { "X-Request-ID: ", 14 };
	size_t id_len = strlen(request_id);
	buf_reserve(&p->extra, name.len + id_len + 2);
	char *at = p->extra.data + p->extra.len;
	at = put(at, name.at, name.len);
	at = put(at, request_id, id_len);
	at = put(at, "\r\n", 2);
	extra_end(p, at);
}

/* What is too much now may be little in a second. */
static void add_retry_after(struct proxy *p, uint16_t status)
{
	if (status == 503)
		buf_add_str(&p->extra, "Retry-After: 1\r\n");
}

static bool wants_response_time(struct proxy *p, const struct http_head *from, struct slice *drop_name)
{
	enum config_existing existing = p->config->response_time.existing;
	if (p->response_time_name.len == 0)
		return false;
	if (from == NULL || existing == CONFIG_EXISTING_APPEND)
		return true;
	if (existing == CONFIG_EXISTING_REPLACE) {
		*drop_name = p->response_time_name;
		return true;
	}
	return !has_named(from, p->response_time_name);
}

struct slice heads_extra(
	struct proxy *p, const struct record *r, const struct http_head *from, struct slice *drop_name)
{
	uint64_t took_ns = r->timeline.at[MARK_RESPONSE_HEAD] - r->timeline.at[MARK_BEGIN];
	buf_reset(&p->extra);
	*drop_name = (struct slice){ NULL, 0 };
	if (wants_response_time(p, from, drop_name))
		add_response_time(p, took_ns);
	if (p->config->response_time.server_timing)
		add_server_timing(p, r, took_ns);
	if (from == NULL || find(from, HTTP_X_REQUEST_ID) == NULL)
		add_request_id(p, r->request_id);
	if (from == NULL)
		add_retry_after(p, r->status);
	return (struct slice){ p->extra.data, p->extra.len };
}
