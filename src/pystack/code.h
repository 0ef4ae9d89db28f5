/* code.h - code objects, read once and kept by address: names, file, line map, size of a frame.
 *
 * Owner: the process. An entry lives until codes_clear. A code object that was freed and whose place another one took
 * is noticed by codes_changed, which looks at what no two code objects share.
 */
#ifndef PYSTACK_CODE_H
#define PYSTACK_CODE_H

#include <slowproxy/base/map.h>
#include <slowproxy/pystack.h>

#include "lines.h"
#include "marks.h"

struct code {
	struct py_code face; /* function and file are owned by the table */
	uint64_t addr;
	uint64_t first_instruction;
	uint64_t name_addr, line_table_addr; /* the guard, with face.first_line */
	uint32_t units;                      /* instructions, in units */
	uint32_t frame_bytes;                /* how much of the data stack a frame of it takes */
	enum mark mark;
	struct line_map lines;
};

struct code_table {
	struct map by_addr; /* address -> index in all */
	struct code **all;
	size_t count, capacity;
	struct map files; /* hash of a file name -> its text, shared */
};

/* The code object at addr, from the table or read now; NULL when there is none. */
const struct code *code_at(struct py_process *p, uint64_t addr);
/* The line of an instruction; before the first traceable one, the line the function begins at. */
uint32_t code_line(const struct code *c, int64_t unit);
/* Whether any is not what it was; the ids of the first `room` of those. */
bool codes_changed(struct py_process *p, uint32_t *ids, size_t room, size_t *count);
void codes_clear(struct code_table *t);

#endif
