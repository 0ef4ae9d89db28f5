/* lines.c - from an instruction to a line.
 *
 * The location table (CPython Objects/locations.md): entries of one head byte and what its code asks for,
 *
 *   1 | code (4 bits) | length - 1 (3 bits)
 *   code 0-9    same line, one byte of columns        10-12  line + (code - 10), two bytes of columns
 *   code 13     line + svarint                        14     line + svarint, then three varints
 *   code 15     no line
 *
 * A varint is groups of six bits, lowest first, bit 6 says that more follow; an svarint keeps its sign in bit 0.
 */
#include "lines.h"

#include <stdlib.h>

#include <slowproxy/base/mem.h>

enum { VARINT_GROUPS_MAX = 6 };

struct reader {
	const uint8_t *at, *end;
	bool bad;
};

static uint8_t take_byte(struct reader *r)
{
	if (r->at < r->end)
		return *r->at++;
	r->bad = true;
	return 0;
}

static uint32_t take_varint(struct reader *r)
{
	uint32_t value = 0;
	for (unsigned group = 0; group < VARINT_GROUPS_MAX; group++) {
		uint8_t b = take_byte(r);
		value |= (uint32_t)(b & 63) << (6 * group);
		if (!(b & 64))
			return value;
	}
	r->bad = true;
	return 0;
}

static int64_t take_svarint(struct reader *r)
{
	uint32_t v = take_varint(r);
	return v & 1 ? -(int64_t)(v >> 1) : (int64_t)(v >> 1);
}

static void add_start(struct line_map *m, size_t *capacity, uint32_t line)
{
	if (m->count > 0 && m->starts[m->count - 1].line == line)
		return;
	m->starts = array_grow(m->starts, capacity, m->count, sizeof *m->starts);
	m->starts[m->count++] = (struct line_start){ m->units, line };
}

/* Moves the line on by what one entry says; returns the line of the entry itself. */
static uint32_t take_entry(struct reader *r, unsigned code, int64_t *line)
{
	if (code == 15)
		return 0;
	if (code == 14 || code == 13)
		*line += take_svarint(r);
	else if (code >= 10)
		*line += code - 10;
	unsigned varints = code == 14 ? 3 : 0, columns = code >= 13 ? 0 : code >= 10 ? 2 : 1;
	while (varints-- > 0)
		take_varint(r);
	while (columns-- > 0)
		take_byte(r);
	if (*line < 0 || *line > INT32_MAX)
		r->bad = true;
	return (uint32_t)*line;
}

static bool decode_locations(const uint8_t *table, size_t len, uint32_t first_line, struct line_map *out)
{
	struct reader r = { table, table + len, false };
	size_t capacity = 0;
	int64_t line = first_line;
	*out = (struct line_map){ 0 };
	while (r.at < r.end) {
		uint8_t head = take_byte(&r);
		uint32_t here = take_entry(&r, head >> 3 & 15, &line);
		if (r.bad || !(head & 128))
			return false;
		add_start(out, &capacity, here);
		out->units += (head & 7) + 1u;
	}
	return true;
}

lines_decode_fn *lines_decoder(enum line_table_kind kind)
{
	static lines_decode_fn *const decoders[] = {
		[LINES_LOCATIONS] = decode_locations,
		[LINES_LNOTAB] = lines_decode_lnotab,
		[LINES_RANGES] = lines_decode_ranges,
	};
	return decoders[kind];
}

uint32_t lines_at(const struct line_map *m, uint32_t unit)
{
	if (unit >= m->units)
		return 0;
	size_t lo = 0, hi = m->count; /* the answer lies in [lo, hi) */
	while (hi - lo > 1) {
		size_t mid = (lo + hi) / 2;
		if (m->starts[mid].unit <= unit)
			lo = mid;
		else
			hi = mid;
	}
	return m->starts[lo].line;
}

void lines_clear(struct line_map *m)
{
	free(m->starts);
	*m = (struct line_map){ 0 };
}
