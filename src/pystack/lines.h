/* lines.h - from an instruction to a line: CPython's tables, decoded once into a sorted array and bisected. Pure. */
#ifndef PYSTACK_LINES_H
#define PYSTACK_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

/* From this unit on (a unit is what the version counts instructions in) the line is this; 0: no line. */
struct line_start {
	uint32_t unit;
	uint32_t line;
};

struct line_map {
	struct line_start *starts; /* ascending, adjacent ones differ; owned */
	size_t count;
	uint32_t units; /* how many units the table speaks of */
};

/* Decodes a table. False when it is malformed; what came before the bad byte is kept. */
typedef bool lines_decode_fn(const uint8_t *table, size_t len, uint32_t first_line, struct line_map *out);
lines_decode_fn *lines_decoder(enum line_table_kind kind);
lines_decode_fn lines_decode_lnotab, lines_decode_ranges; /* lines_lnotab.c */

uint32_t lines_at(const struct line_map *m, uint32_t unit);
void lines_clear(struct line_map *m);

#endif
