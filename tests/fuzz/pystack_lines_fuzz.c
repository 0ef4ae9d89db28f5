/* pystack_lines_fuzz.c - a line table is foreign memory: whatever its bytes, decoding ends, and the map is in order. */
#include <stdlib.h>

#include "lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_kind(enum line_table_kind kind, const uint8_t *table, size_t len, uint32_t first_line)
{
	struct line_map map;
	lines_decoder(kind)(table, len, first_line, &map);
	for (size_t i = 0; i < map.count; i++) {
		if (map.starts[i].unit >= map.units ||
			(i > 0 && map.starts[i].unit <= map.starts[i - 1].unit))
			abort();
		if (lines_at(&map, map.starts[i].unit) != map.starts[i].line)
			abort();
	}
	if (lines_at(&map, map.units) != 0)
		abort();
	lines_clear(&map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t first_line = size > 0 ? data[0] * 257u : 0;
	for (int kind = LINES_LOCATIONS; kind < LINES_KIND_COUNT; kind++)
		try_kind((enum line_table_kind)kind, size > 0 ? data + 1 : data, size > 0 ? size - 1 : 0,
			first_line);
	return 0;
}
