/* lines_lnotab.c - the two older tables: pairs of a step in the instructions (in bytes) and a step in the lines (signed).
 *
 *   lnotab   step on, and from there the line is another one; the last goes on to the end of the code
 *   ranges   the line is another one for so many bytes; -128 says that these have none
 */
#include <stdlib.h>

#include <slowproxy/base/mem.h>

#include "lines.h"

enum { UNIT_BYTES = 2, NO_LINE = -128 };

/* From this byte on the line is this; what was said of the same place before is taken back. */
static void start_line(struct line_map *m, size_t *capacity, uint64_t byte, uint32_t line)
{
	uint32_t unit = (uint32_t)((byte + UNIT_BYTES - 1) / UNIT_BYTES);
	if (m->count > 0 && m->starts[m->count - 1].unit == unit)
		m->count--;
	if (m->count > 0 && m->starts[m->count - 1].line == line)
		return;
	m->starts = array_grow(m->starts, capacity, m->count, sizeof *m->starts);
	m->starts[m->count++] = (struct line_start){ unit, line };
}

bool lines_decode_lnotab(const uint8_t *table, size_t len, uint32_t first_line, struct line_map *out)
{
	size_t capacity = 0;
	uint64_t byte = 0;
	int64_t line = first_line;
	*out = (struct line_map){ .units = UINT32_MAX };
	start_line(out, &capacity, 0, first_line);
	for (size_t i = 0; i + 1 < len; i += 2) {
		byte += table[i];
		line += (int8_t)table[i + 1];
		if (line < 0 || line > INT32_MAX)
			return false;
		start_line(out, &capacity, byte, (uint32_t)line);
	}
	return len % 2 == 0;
}

bool lines_decode_ranges(const uint8_t *table, size_t len, uint32_t first_line, struct line_map *out)
{
	size_t capacity = 0;
	uint64_t byte = 0;
	int64_t line = first_line;
	*out = (struct line_map){ 0 };
	for (size_t i = 0; i + 1 < len; i += 2) {
		int8_t step = (int8_t)table[i + 1];
		uint64_t end = byte + table[i];
		if (step != NO_LINE)
			line += step;
		if (line < 0 || line > INT32_MAX)
			return false;
		uint32_t units = (uint32_t)((end + UNIT_BYTES - 1) / UNIT_BYTES);
		if (units > out->units)
			start_line(out, &capacity, byte, step == NO_LINE ? 0 : (uint32_t)line);
		out->units = units;
		byte = end;
	}
	return len % 2 == 0;
}
