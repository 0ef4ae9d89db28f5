/* base/str.h - small questions about text. */
#ifndef SLOWPROXY_BASE_STR_H
#define SLOWPROXY_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes lent by somebody: not owned, not terminated. */
struct slice {
	const char *at;
	size_t len;
};

#define SLICE(literal) ((struct slice){ (literal), sizeof(literal) - 1 })
struct slice slice_of(const char *text);
bool slice_equal(struct slice a, struct slice b);
bool slice_equal_nocase(struct slice a, struct slice b); /* ASCII only */

/* Copies as much as fits and always terminates; returns whether all of it fitted. */
bool str_copy(char *out, size_t out_bytes, const char *text, size_t len);

/* Glob over a path: `*` is any run of bytes except '/', a `**` any run of bytes; a trailing `*` also crosses '/'. */
bool str_glob(const char *pattern, const char *text);

/* Edits (insert, delete, replace, swap) between two words; for "did you mean". Words over 63 bytes count as far apart. */
unsigned str_distance(const char *a, const char *b);

/* Length of the well-formed UTF-8 sequence at p, or 0; left must not be 0. */
size_t utf8_sequence(const unsigned char *p, size_t left);

/* Writes 2 * len lower-case hex digits and a NUL. */
void str_hex(char *out, const uint8_t *bytes, size_t len);

/* Fills with random bytes for ids that nobody else has: quick, and begun from getrandom(2); not for secrets. */
void random_bytes(void *out, size_t len);

#endif
