/* chars.c - which byte may stand where. */
#include "chars.h"

#include <string.h>

enum {
	T = CHAR_TOKEN,
	P = CHAR_PATH,
	Q = CHAR_QUERY,
	H = CHAR_HOST,
	X = CHAR_HEX,
};

/* Targets: RFC 3986, and what browsers send unescaped by the WHATWG URL rules although RFC 3986 does not have it: [ ] ^ |
 * in paths, and also \ ` { } in queries. Refusing those would refuse real traffic. Nobody sends " < > # or bytes over 0x7e. */
const uint8_t char_classes[256] = {
	['0' ... '9'] = T | P | Q | H | X,
	['A' ... 'F'] = T | P | Q | H | X,
	['G' ... 'Z'] = T | P | Q | H,
	['a' ... 'f'] = T | P | Q | H | X,
	['g' ... 'z'] = T | P | Q | H,
	['!'] = T | P | Q | H,
	['#'] = T,
	['$'] = T | P | Q | H,
	['%'] = T | Q,
	['&'] = T | P | Q | H,
	['\''] = T | P | Q | H,
	['('] = P | Q | H,
	[')'] = P | Q | H,
	['*'] = T | P | Q | H,
	['+'] = T | P | Q | H,
	[','] = P | Q,
	['-'] = T | P | Q | H,
	['.'] = T | P | Q | H,
	['/'] = P | Q,
	[':'] = P | Q,
	[';'] = P | Q | H,
	['='] = P | Q | H,
	['?'] = Q,
	['@'] = P | Q,
	['['] = P | Q,
	['\\'] = Q,
	[']'] = P | Q,
	['^'] = T | P | Q,
	['_'] = T | P | Q | H | CHAR_UNDERSCORE,
	['`'] = T | Q,
	['{'] = Q,
	['|'] = T | P | Q,
	['}'] = Q,
	['~'] = T | P | Q | H,
};

#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* Whether one of eight bytes is below 0x20 or is 0x7f. May say yes wrongly, never no wrongly. */
static bool may_hold_control(uint64_t eight)
{
	uint64_t del = eight ^ EACH_BYTE(0x7f);
	uint64_t below = (eight - EACH_BYTE(0x20)) & ~eight;
	uint64_t is_del = (del - EACH_BYTE(0x01)) & ~del;
	return (below | is_del) & EACH_BYTE(0x80);
}

const char *text_scan(const char *p, const char *end)
{
	for (;;) {
		uint64_t eight;
		while (end - p >= (ptrdiff_t)sizeof eight) {
			memcpy(&eight, p, sizeof eight);
			if (may_hold_control(eight))
				break;
			p += sizeof eight;
		}
		while (!char_is_control(*p))
			p++;
		if (*p != '\t')
			return p;
		p++;
	}
}

struct slice slice_trim(const char *from, const char *to)
{
	while (from < to && char_is_blank(*from))
		from++;
	while (from < to && char_is_blank(to[-1]))
		to--;
	return (struct slice){ from, (size_t)(to - from) };
}

bool list_next(struct slice *rest, struct slice *item)
{
	while (rest->len != 0) {
		const char *end = rest->at + rest->len;
		const char *comma = memchr(rest->at, ',', rest->len);
		*item = slice_trim(rest->at, comma ? comma : end);
		const char *next = comma ? comma + 1 : end;
		*rest = (struct slice){ next, (size_t)(end - next) };
		if (item->len != 0)
			return true;
	}
	return false;
}

bool is_token(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!char_is(s.at[i], CHAR_TOKEN))
			return false;
	return s.len != 0;
}
