/* chars.h - which byte may stand where: one table of classes, and the two scans that are worth being fast. */
#ifndef SLOWPROXY_HTTP_CHARS_H
#define SLOWPROXY_HTTP_CHARS_H

#include <stdbool.h>
#include <stdint.h>

#include <slowproxy/base/str.h>

enum char_class {
	CHAR_TOKEN = 1 << 0,      /* tchar, RFC 9110 5.6.2 */
	CHAR_UNDERSCORE = 1 << 1, /* '_' alone */
	CHAR_PATH = 1 << 2,       /* before the '?' of a target; '%' is looked at apart */
	CHAR_QUERY = 1 << 3,      /* after it */
	CHAR_HOST = 1 << 4,       /* reg-name, RFC 3986 3.2.2, without ',' and '%' */
	CHAR_HEX = 1 << 5,
};

extern const uint8_t char_classes[256];

static inline bool char_is(char c, enum char_class wanted)
{
	return char_classes[(unsigned char)c] & wanted;
}

/* Controls may stand nowhere in a message, but for HTAB in values. */
static inline bool char_is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static inline bool char_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool char_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static inline unsigned char_hex_value(char c)
{
	return char_is_digit(c) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* The first byte at or after p that is a control other than HTAB. There must be one before end. */
const char *text_scan(const char *p, const char *end);

struct slice slice_trim(const char *from, const char *to); /* without blanks at both ends */

/* The next element of a comma-separated list, trimmed; empty elements are skipped (RFC 9110 5.6.1.2). */
bool list_next(struct slice *rest, struct slice *item);

bool is_token(struct slice s);

#endif
