/* str.c - small questions about text. */
#include <slowproxy/base/str.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include <slowproxy/base/mem.h>

struct slice slice_of(const char *text)
{
	return (struct slice){ text, strlen(text) };
}

bool slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool slice_equal_nocase(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || strncasecmp(a.at, b.at, a.len) == 0);
}

bool str_copy(char *out, size_t out_bytes, const char *text, size_t len)
{
	size_t fits = MIN(len, out_bytes - 1);
	if (fits != 0)
		memcpy(out, text, fits);
	out[fits] = '\0';
	return fits == len;
}

/* Where to go on when what follows a star did not match: the star takes one byte more. */
struct glob_star {
	const char *pattern; /* behind the star; NULL: there was none */
	const char *text;
};

static bool star_extend(struct glob_star *star, const char **pattern, const char **text)
{
	if (star->pattern == NULL)
		return false;
	*pattern = star->pattern;
	*text = ++star->text;
	return true;
}

/* It is enough to go back to the last star, and from there to the last one that crosses '/': a star before those two
 * could only leave them less to match. */
bool str_glob(const char *pattern, const char *text)
{
	struct glob_star within = { 0 }, across = { 0 };

	while (*text != '\0') {
		if (*pattern == '*') {
			bool crosses = pattern[1] == '*' || pattern[1] == '\0';
			while (*pattern == '*')
				pattern++;
			struct glob_star here = { pattern, text };
			within = crosses ? (struct glob_star){ 0 } : here;
			across = crosses ? here : across;
		} else if (*pattern == *text) {
			pattern++;
			text++;
		} else if (within.pattern != NULL && *within.text != '/') {
			star_extend(&within, &pattern, &text);
		} else {
			within.pattern = NULL;
			if (!star_extend(&across, &pattern, &text))
				return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

unsigned str_distance(const char *a, const char *b)
{
	enum { LONGEST = 63 };
	size_t la = strlen(a), lb = strlen(b);
	if (la > LONGEST || lb > LONGEST)
		return LONGEST;

	unsigned rows[3][LONGEST + 1];
	unsigned *before = rows[0], *above = rows[1], *row = rows[2];
	for (size_t j = 0; j <= lb; j++)
		above[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned replace = above[j - 1] + (a[i - 1] != b[j - 1]);
			unsigned best = MIN(replace, MIN(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = MIN(best, before[j - 2] + 1);
			row[j] = best;
		}
		unsigned *oldest = before;
		before = above;
		above = row;
		row = oldest;
	}
	return above[lb];
}

/* The table in RFC 3629, section 4. */
size_t utf8_sequence(const unsigned char *p, size_t left)
{
	if (p[0] < 0x80)
		return 1;
	size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || left < len)
		return 0;
	unsigned char low = 0x80, high = 0xbf;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

/* Eight bytes, sixteen digits: each nibble in a lane of its own, high before low, then all become digits at once. */
static void hex_of_eight(char *out, const uint8_t *bytes)
{
	typedef uint8_t lanes __attribute__((vector_size(16)));
	lanes both = { 0 };
	memcpy(&both, bytes, 8);
	lanes high = both >> 4, low = both & 15;
	lanes nibbles = { high[0], low[0], high[1], low[1], high[2], low[2], high[3], low[3], high[4], low[4],
		high[5], low[5], high[6], low[6], high[7], low[7] };
	lanes letters = (lanes)(nibbles > 9);
	lanes digits = nibbles + '0' + (letters & ('a' - '0' - 10));
	memcpy(out, &digits, sizeof digits);
}

void str_hex(char *out, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *end = bytes + len;
	for (; end - bytes >= 8; bytes += 8, out += 16)
		hex_of_eight(out, bytes);
	for (; bytes < end; bytes++) {
		*out++ = digits[*bytes >> 4];
		*out++ = digits[*bytes & 15];
	}
	*out = '\0';
}

/* xoshiro256++ (Blackman and Vigna, public domain), one for each thread, begun from the kernel's random bytes. */
static uint64_t rotate_left(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static uint64_t random_next(uint64_t s[4])
{
	uint64_t result = rotate_left(s[0] + s[3], 23) + s[0], shifted = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= shifted;
	s[3] = rotate_left(s[3], 45);
	return result;
}

void random_bytes(void *out, size_t len)
{
	static _Thread_local uint64_t state[4];
	static _Thread_local bool begun;
	uint8_t *to = out;
	uint64_t s[4], word;

	if (!begun && getrandom(state, sizeof state, 0) != (ssize_t)sizeof state)
		abort();
	begun = true;
	memcpy(s, state, sizeof s); /* out may lie anywhere, state included, for all the compiler knows */
	for (; len >= sizeof word; to += sizeof word, len -= sizeof word) {
		word = random_next(s);
		memcpy(to, &word, sizeof word);
	}
	if (len != 0) {
		word = random_next(s);
		memcpy(to, &word, len);
	}
	memcpy(state, s, sizeof s);
}
