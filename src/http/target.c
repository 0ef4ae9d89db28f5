/* target.c - the request target in its forms (RFC 9112 3.2), and the authority it or Host names.
 *
 *      /path?query                 origin-form: what everybody sends
 *      http://host:port/path?query absolute-form: meant for a forward proxy, but a server must understand it
 *      *                           asterisk-form: OPTIONS only
 *      host:port                   authority-form: CONNECT only, which is refused before
 */
#include "target.h"

#include <string.h>

#include "chars.h"

/* %00 in a path ends the file name for some programs behind; in a query it is data like any other. */
static const char *path_scan(const char *p)
{
	for (;;) {
		while (char_is(*p, CHAR_PATH))
			p++;
		if (*p != '%' || (p[1] == '0' && p[2] == '0'))
			return p;
		p++;
	}
}

const char *target_scan(const char *p)
{
	p = path_scan(p);
	if (*p != '?')
		return p;
	while (char_is(*p, CHAR_QUERY))
		p++;
	return p;
}

static bool port_is_valid(const char *p, const char *end)
{
	unsigned port = 0;
	for (; p < end; p++) {
		if (!char_is_digit(*p))
			return false;
		port = port * 10 + (unsigned)(*p - '0');
		if (port > 65535)
			return false;
	}
	return true;
}

/* The end of "[...]": an IPv6 address or the IPvFuture of RFC 3986, or NULL. */
static const char *bracketed_scan(const char *p, const char *end)
{
	bool future = ++p < end && (*p | 0x20) == 'v';
	const char *from = p;
	while (p < end &&
		(char_is(*p, CHAR_HEX) || *p == ':' || *p == '.' || (future && char_is(*p, CHAR_HOST))))
		p++;
	return p < end && *p == ']' && p > from ? p + 1 : NULL;
}

static const char *name_scan(const char *p, const char *end)
{
	for (; p < end; p++) {
		if (char_is(*p, CHAR_HOST))
			continue;
		if (*p != '%' || end - p < 3 || !char_is(p[1], CHAR_HEX) || !char_is(p[2], CHAR_HEX))
			break;
		p += 2;
	}
	return p;
}

bool authority_is_valid(struct slice authority)
{
	if (authority.len == 0)
		return false;
	const char *p = authority.at, *end = p + authority.len;
	p = *p == '[' ? bracketed_scan(p, end) : name_scan(p, end);
	if (p == NULL || p == authority.at)
		return false;
	return p == end || (*p == ':' && port_is_valid(p + 1, end));
}

static struct slice path_of(struct slice resource)
{
	const char *query = memchr(resource.at, '?', resource.len);
	return (struct slice){ resource.at, query ? (size_t)(query - resource.at) : resource.len };
}

static bool starts_with_nocase(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && slice_equal_nocase((struct slice){ s.at, prefix.len }, prefix);
}

static enum http_error absolute_parse(struct http_head *head, size_t scheme_len)
{
	const char *from = head->target.at + scheme_len, *end = head->target.at + head->target.len;
	const char *p = from;
	while (p < end && *p != '/' && *p != '?')
		p++;
	head->absolute_form = true;
	head->host = (struct slice){ from, (size_t)(p - from) };
	head->resource = (struct slice){ p, (size_t)(end - p) };
	head->path = path_of(head->resource);
	if (head->path.len == 0)
		head->path = SLICE("/");
	return authority_is_valid(head->host) ? HTTP_OK : HTTP_ERR_TARGET;
}

enum http_error target_parse(struct http_head *head)
{
	static const struct slice http = SLICE("http://"), https = SLICE("https://");

	head->absolute_form = false;
	head->host = (struct slice){ "", 0 };
	head->resource = head->target;
	if (head->target.len == 0)
		return HTTP_ERR_TARGET;
	if (head->target.at[0] == '/') {
		head->path = path_of(head->target);
		return HTTP_OK;
	}
	if (slice_equal(head->target, SLICE("*"))) {
		head->path = head->target;
		return slice_equal(head->method, SLICE("OPTIONS")) ? HTTP_OK : HTTP_ERR_TARGET;
	}
	if (starts_with_nocase(head->target, http))
		return absolute_parse(head, http.len);
	if (starts_with_nocase(head->target, https))
		return absolute_parse(head, https.len);
	return HTTP_ERR_TARGET;
}
