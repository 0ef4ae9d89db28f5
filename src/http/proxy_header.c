/* proxy_header.c - the PROXY protocol, versions 1 and 2: what a load balancer says of a connection before its first byte.
 *
 *   v1   PROXY TCP4 192.0.2.1 203.0.113.7 56324 443 CRLF          at most 107 bytes
 *   v2   signature (12) | version, command | family, transport | length (2) | addresses | TLVs
 *
 * Read strictly: whatever is not exactly one of these ends the connection, since a guess would give a client another's address.
 * TLVs must be well-formed, and say nothing to us.
 */
#include <slowproxy/http.h>

#include <arpa/inet.h>
#include <string.h>

enum { V1_BYTES_MAX = 107, V1_FIELDS = 4, V2_HEAD_BYTES = 16, V2_REST_MAX = 8192 };

static const char v1_begin[] = "PROXY ";
static const char v2_signature[12] = { '\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n' };

/* --- version 1 --- */

static bool ip_read(int family, struct slice text, struct ip *out)
{
	char copy[INET6_ADDRSTRLEN];
	if (!str_copy(copy, sizeof copy, text.at, text.len) || strlen(copy) != text.len)
		return false;
	*out = (struct ip){ .bytes = { [10] = 0xff, [11] = 0xff } };
	return inet_pton(family, copy, family == AF_INET ? out->bytes + 12 : out->bytes) == 1;
}

/* 0 to 65535, without a sign or leading zeros. */
static bool port_read(struct slice text, uint16_t *out)
{
	uint32_t port = 0;
	if (text.len == 0 || text.len > 5 || (text.at[0] == '0' && text.len > 1))
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
		port = port * 10 + (uint32_t)(text.at[i] - '0');
	}
	*out = (uint16_t)port;
	return port <= UINT16_MAX;
}

/* Exactly as many fields, each behind one blank. */
static bool fields_split(struct slice rest, struct slice fields[V1_FIELDS])
{
	for (int i = 0; i < V1_FIELDS; i++) {
		const char *blank = memchr(rest.at, ' ', rest.len);
		size_t len = blank != NULL ? (size_t)(blank - rest.at) : rest.len;
		if ((blank == NULL) != (i == V1_FIELDS - 1) || len == 0)
			return false;
		fields[i] = (struct slice){ rest.at, len };
		if (blank != NULL)
			rest = (struct slice){ blank + 1, rest.len - len - 1 };
	}
	return true;
}

/* What stands between "PROXY " and CRLF. */
static bool v1_line_read(struct slice line, struct http_proxy_header *out)
{
	static const struct slice unknown = { "UNKNOWN", 7 };
	struct slice fields[V1_FIELDS];
	if (line.len >= unknown.len && memcmp(line.at, unknown.at, unknown.len) == 0)
		return line.len == unknown.len || line.at[unknown.len] == ' ';
	if (line.len < 5 || (memcmp(line.at, "TCP4 ", 5) != 0 && memcmp(line.at, "TCP6 ", 5) != 0))
		return false;
	int family = line.at[3] == '4' ? AF_INET : AF_INET6;
	out->told = true;
	return fields_split((struct slice){ line.at + 5, line.len - 5 }, fields) &&
	       ip_read(family, fields[0], &out->source) && ip_read(family, fields[1], &out->destination) &&
	       port_read(fields[2], &out->source_port) && port_read(fields[3], &out->destination_port);
}

static enum http_proxy_header_event v1_read(
	const char *bytes, size_t len, size_t *used, struct http_proxy_header *out)
{
	const size_t begin = sizeof v1_begin - 1;
	const char *lf = memchr(bytes, '\n', MIN(len, (size_t)V1_BYTES_MAX));
	if (lf == NULL)
		return len < V1_BYTES_MAX ? HTTP_PROXY_HEADER_MORE : HTTP_PROXY_HEADER_INVALID;
	size_t line_len = (size_t)(lf - bytes);
	if (line_len < begin + 1 || lf[-1] != '\r')
		return HTTP_PROXY_HEADER_INVALID;
	struct slice line = { bytes + begin, line_len - 1 - begin };
	if (memchr(line.at, '\r', line.len) != NULL || !v1_line_read(line, out))
		return HTTP_PROXY_HEADER_INVALID;
	*used = line_len + 1;
	return HTTP_PROXY_HEADER_DONE;
}

/* --- version 2 --- */

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21 };

static const struct family_row {
	uint8_t byte; /* family and transport */
	uint8_t ip_bytes;
	uint8_t address_bytes;
} families[] = {
	{ 0x00, 0, 0 },                     /* unspecified */
	{ 0x11, 4, 12 }, { 0x12, 4, 12 },   /* IPv4: stream, datagram */
	{ 0x21, 16, 36 }, { 0x22, 16, 36 }, /* IPv6 */
	{ 0x31, 0, 216 }, { 0x32, 0, 216 }, /* unix sockets: paths, which tell us nothing */
};

static const struct family_row *family_find(uint8_t byte)
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		if (families[i].byte == byte)
			return &families[i];
	return NULL;
}

static uint16_t big_endian(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static struct ip ip_of(const uint8_t *at, size_t ip_bytes)
{
	struct ip ip = { .bytes = { [10] = 0xff, [11] = 0xff } };
	memcpy(ip.bytes + 16 - ip_bytes, at, ip_bytes);
	return ip;
}

/* Type, length, value, until the end. */
static bool tlvs_well_formed(const uint8_t *at, size_t len)
{
	while (len != 0) {
		if (len < 3 || len - 3 < big_endian(at + 1))
			return false;
		size_t whole = 3u + big_endian(at + 1);
		at += whole;
		len -= whole;
	}
	return true;
}

static bool v2_rest_read(
	const struct family_row *family, const uint8_t *at, size_t len, struct http_proxy_header *out)
{
	if (family->byte == 0)
		return true; /* nothing of it is to be read */
	if (len < family->address_bytes ||
		!tlvs_well_formed(at + family->address_bytes, len - family->address_bytes))
		return false;
	if (family->ip_bytes == 0)
		return true;
	const uint8_t *ports = at + 2 * family->ip_bytes;
	*out = (struct http_proxy_header){ .told = true,
		.source = ip_of(at, family->ip_bytes),
		.destination = ip_of(at + family->ip_bytes, family->ip_bytes),
		.source_port = big_endian(ports),
		.destination_port = big_endian(ports + 2) };
	return true;
}

static enum http_proxy_header_event v2_read(
	const char *bytes, size_t len, size_t *used, struct http_proxy_header *out)
{
	const uint8_t *head = (const uint8_t *)bytes;
	if (len < V2_HEAD_BYTES)
		return HTTP_PROXY_HEADER_MORE;
	const struct family_row *family = family_find(head[13]);
	size_t rest = big_endian(head + 14);
	if ((head[12] != V2_LOCAL && head[12] != V2_PROXY) || rest > V2_REST_MAX)
		return HTTP_PROXY_HEADER_INVALID;
	if (head[12] == V2_PROXY && family == NULL)
		return HTTP_PROXY_HEADER_INVALID;
	if (len < V2_HEAD_BYTES + rest)
		return HTTP_PROXY_HEADER_MORE;
	/* LOCAL: the balancer's own connection, such as a health check. */
	if (head[12] == V2_PROXY && !v2_rest_read(family, head + V2_HEAD_BYTES, rest, out))
		return HTTP_PROXY_HEADER_INVALID;
	*used = V2_HEAD_BYTES + rest;
	return HTTP_PROXY_HEADER_DONE;
}

enum http_proxy_header_event http_proxy_header_read(
	const char *bytes, size_t len, size_t *used, struct http_proxy_header *out)
{
	const size_t v1_len = sizeof v1_begin - 1;
	*used = 0;
	*out = (struct http_proxy_header){ 0 };
	if (memcmp(bytes, v1_begin, MIN(len, v1_len)) == 0)
		return len < v1_len ? HTTP_PROXY_HEADER_MORE : v1_read(bytes, len, used, out);
	if (memcmp(bytes, v2_signature, MIN(len, sizeof v2_signature)) == 0)
		return v2_read(bytes, len, used, out);
	return HTTP_PROXY_HEADER_INVALID;
}
