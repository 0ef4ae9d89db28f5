/* layout_offsets.c - the table of offsets that a process carries itself, at the beginning of _PyRuntime, from 3.13 on.
 *
 *   "xdebugpy"  u64 version  u64 free-threaded  u64 ...        its order changes with every minor version
 *
 * It is foreign memory like all else: it must be of the version that Python says it is, and what it says is checked.
 */
#include "layout.h"

#include <stddef.h>
#include <string.h>

#include "memory.h"

static const char cookie[] = "xdebugpy";
enum { WORD_BYTES = 8, COLUMNS = 3 };

/* How many words follow the cookie, in each version that has them; the columns of the table below. */
static const struct {
	uint32_t version;
	uint16_t words;
	uint16_t collecting; /* the word that is added to where the interpreter keeps its collector */
} columns[COLUMNS] = {
	{ 0x030d, 72, 71 },
	{ 0x030e, 94, 81 },
	{ 0x030f, 110, 94 },
};

#undef NO
#define NO 0 /* no such word; the first is the version */

/* clang-format off */
static const struct place {
	size_t at;
	uint16_t word[COLUMNS];
} places[] = {
#define P(object, field, c0, c1, c2) { offsetof(struct py_layout, object##_##field), { c0, c1, c2 } },
	/*                       3.13 3.14 3.15 */
	P(runtime,  interpreters,   4,   4,   4) /* runtime_state.interpreters_head */
	P(interp,   size,           5,   5,   5) /* interpreter_state.size */
	P(interp,   next,           7,   7,   7) /* interpreter_state.next */
	P(interp,   threads,        8,   8,   8) /* interpreter_state.threads_head */
	P(interp,   modules,       10,  11,  11) /* interpreter_state.imports_modules */
	P(interp,   gil,           13,  14,  14) /* interpreter_state.ceval_gil */
	P(interp,   collecting,     9,  10,  10) /* interpreter_state.gc */
	P(tstate,   prev,          19,  22,  22) /* thread_state.prev */
	P(tstate,   next,          20,  23,  23) /* thread_state.next */
	P(tstate,   interp,        21,  24,  24) /* thread_state.interp */
	P(tstate,   frame,         22,  25,  25) /* thread_state.current_frame */
	P(tstate,   pthread,       23,  26,  29) /* thread_state.thread_id */
	P(tstate,   native_id,     24,  27,  30) /* thread_state.native_thread_id */
	P(tstate,   chunk,         25,  28,  31) /* thread_state.datastack_chunk */
	P(frame,    previous,      28,  31,  39) /* interpreter_frame.previous */
	P(frame,    code,          29,  32,  40) /* interpreter_frame.executable */
	P(frame,    ip,            30,  33,  41) /* interpreter_frame.instr_ptr */
	P(frame,    locals,        31,  34,  42) /* interpreter_frame.localsplus */
	P(frame,    owner,         32,  35,  43) /* interpreter_frame.owner */
	P(frame,    stack_top,     NO,  36,  44) /* interpreter_frame.stackpointer */
	P(code,     filename,      34,  39,  47) /* code_object.filename */
	P(code,     name,          36,  41,  49) /* code_object.qualname */
	P(code,     line_table,    37,  42,  50) /* code_object.linetable */
	P(code,     first_line,    38,  43,  51) /* code_object.firstlineno */
	P(code,     local_names,   40,  45,  53) /* code_object.localsplusnames */
	P(code,     local_kinds,   41,  46,  54) /* code_object.localspluskinds */
	P(code,     instructions,  42,  47,  55) /* code_object.co_code_adaptive */
	P(object,   type,          44,  50,  58) /* pyobject.ob_type */
	P(type,     name,          46,  52,  60) /* type_object.tp_name */
	P(type,     flags,         48,  54,  62) /* type_object.tp_flags */
	P(tuple,    items,         50,  56,  68) /* tuple_object.ob_item */
	P(list,     items,         53,  59,  71) /* list_object.ob_item */
	P(dict,     keys,          56,  66,  78) /* dict_object.ma_keys */
	P(dict,     values,        57,  67,  79) /* dict_object.ma_values */
	P(real,     value,         59,  69,  81) /* float_object.ob_fval */
	P(integer,  size,          61,  71,  83) /* long_object.lv_tag */
	P(integer,  digits,        62,  72,  84) /* long_object.ob_digit */
	P(bytes,    length,        64,  74,  86) /* bytes_object.ob_size */
	P(bytes,    data,          65,  75,  87) /* bytes_object.ob_sval */
	P(text,     state,         67,  77,  89) /* unicode_object.state */
	P(text,     length,        68,  78,  90) /* unicode_object.length */
	P(text,     ascii_data,    69,  79,  91) /* unicode_object.asciiobject_size */
	P(gen,      frame,         NO,  84, 100) /* gen_object.gi_iframe */
	P(gen,      state,         NO,  85, 101) /* gen_object.gi_frame_state */
	P(set,      table,         NO,  63,  75) /* set_object.table */
	P(set,      mask,          NO,  64,  76) /* set_object.mask */
#undef P
};
/* clang-format on */

static size_t column_of(const struct py_layout *l)
{
	size_t column = 0;
	while (column < COLUMNS && columns[column].version != l->version)
		column++;
	return column;
}

static uint64_t word_of(const uint8_t *table, unsigned word)
{
	return word_at(table, sizeof cookie - 1 + WORD_BYTES * word);
}

bool layout_own_offsets(const uint8_t *head, struct own_offsets *out)
{
	if (memcmp(head, cookie, sizeof cookie - 1) != 0)
		return false;
	*out = (struct own_offsets){ (uint32_t)word_of(head, 0), word_of(head, 1) != 0 };
	return true;
}

size_t layout_own_offsets_bytes(const struct py_layout *l)
{
	size_t column = column_of(l);
	return column < COLUMNS ? sizeof cookie - 1 + WORD_BYTES * columns[column].words : 0;
}

void layout_apply_offsets(struct py_layout *l, const uint8_t *table)
{
	size_t column = column_of(l);
	if (column >= COLUMNS)
		return;
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		unsigned word = places[i].word[column];
		uint64_t said = word ? word_of(table, word) : 0;
		/* What does not fit is beyond every reach, and refused by layout_check. */
		uint32_t offset = said < PY_NONE ? (uint32_t)said : PY_NONE - 8;
		if (word != 0)
			memcpy((char *)l + places[i].at, &offset, sizeof offset);
	}
	l->interp_collecting += (uint32_t)word_of(table, columns[column].collecting);
}
