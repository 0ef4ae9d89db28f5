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
	bool trampoline; /* it only leads from a call to the function: no code of the program */
	enum mark mark;
	struct {
		uint64_t *all; /* where each copy of the instructions begins; 0 not known */
		size_t count;
	} copies;
	bool library; /* not the user's own */
	uint8_t *
		proofs; /* what a caller shows at each instruction (enum caller_proof); NULL not asked for yet */
	struct line_map lines;
};

struct code_table {
	struct map by_addr; /* address -> index in all */
	struct code **all;
	size_t count, capacity;
	uint32_t first_id; /* of all[0] */
	struct map files;  /* hash of a file name -> its text, shared */
};

/* The code object at addr, from the table or read now; NULL when there is none. */
const struct code *code_at(struct py_process *p, uint64_t addr);
/* Where the copy of its instructions begins in which ip lies; the first instruction when none is known. */
uint64_t code_base(struct py_process *p, const struct code *c, int32_t copy, uint64_t ip);
/* What a caller shows at each instruction, as they were when first asked for; NULL when they cannot be read. */
const uint8_t *code_proofs(struct py_process *p, const struct code *c);
/* What it shows at this instruction, which so many others stand before; 0: it calls nothing there. */
enum caller_proof code_proof_at(const struct py_layout *l, const uint8_t *instruction, size_t bytes_before);
/* The line of an instruction; before the first traceable one, the line the function begins at. */
uint32_t code_line(const struct code *c, int64_t unit);
/* Whether any is not what it was; the ids of the first `room` of those. */
bool codes_changed(struct py_process *p, uint32_t *ids, size_t room, size_t *count);
void codes_clear(struct code_table *t);

#endif
