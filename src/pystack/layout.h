/* layout.h - where things lie inside one build of CPython: one list of fields, one row per version.
 *
 * A row is offsets and a few strategies. At attach the row is copied by value into the process, checked, and its
 * strategies become function pointers; from there on nobody knows which version it is. Version numbers live here only.
 */
#ifndef PYSTACK_LAYOUT_H
#define PYSTACK_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/mem.h>

#include "layout_table.h"

#define PY_NONE UINT32_MAX /* this version has no such field */

/* Strategies: 0 is never one of them, so that a row that forgets one is refused. */

/* How the frame a thread runs is found from its thread state. */
enum frame_top { TOP_THROUGH_CFRAME = 1, TOP_IN_THREAD_STATE };
/* What a frame is. */
enum frame_shape { FRAME_INTERPRETER = 1, FRAME_OBJECT };
/* How a frame tells the end of its stack: an address, or a depth. */
enum frame_stack_kind { STACK_BY_ADDRESS = 1, STACK_BY_DEPTH };
/* Where the frame of a coroutine is: inside it, or an object of its own. */
enum coro_shape { CORO_HOLDS_FRAME = 1, CORO_POINTS_TO_FRAME };
/* How the size of a frame on the data stack follows from its code object. */
enum frame_extent { EXTENT_LOCALS_AND_STACK = 1, EXTENT_STORED, EXTENT_NONE };
/* How a caller proves whom it called: frames tell their functions, or not. */
enum call_proof { CALL_UNPROVEN = 1, CALL_LEAVES_FUNCTION };
/* What tells where a line begins. */
enum line_table_kind { LINES_LOCATIONS = 1, LINES_LNOTAB, LINES_RANGES, LINES_KIND_COUNT };
/* Who holds the GIL: the runtime's word, the interpreter's lock, or every thread that may run (there is none, unless enabled). */
enum gil_kind { GIL_CURRENT_THREAD = 1, GIL_PER_INTERPRETER, GIL_NONE };
/* Where the attributes of an instance live. */
enum attrs_kind { ATTRS_VALUES_THEN_DICT = 1, ATTRS_TAGGED_WORD, ATTRS_DICT, ATTRS_INLINE };
/* What the head of a dict's keys says of their place and number. */
enum keys_kind { KEYS_BY_LOGARITHM = 1, KEYS_BY_SIZE };
/* How a suspended generator shows that it awaits: the argument of the instruction it resumes with, its opcode, its state. */
enum await_kind { AWAIT_BY_ARGUMENT = 1, AWAIT_BY_OPCODE, AWAIT_BY_STATE };
enum int_kind { INT_SIGNED_SIZE = 1, INT_TAGGED_SIZE };
/* Where all tasks are found: in weak sets of asyncio.tasks, or in lists of each thread and interpreter. */
enum task_home { TASKS_IN_SETS = 1, TASKS_IN_LISTS };

/* How an object counts its owners: one word, half a word with flags above it, or two counts. */
enum owners_kind { OWNERS_WORD = 1, OWNERS_WITH_FLAGS, OWNERS_SPLIT };

/* What a caller's frame shows while the frame above it runs, by the instruction it stands at. */
enum caller_proof {
	CALLER_SHOWS_FUNCTION = 1, /* the function, just above its stack */
	CALLER_SHOWS_GENERATOR,    /* the generator, on top of its stack */
	CALLER_SILENT, /* nothing: it calls a Python function behind an attribute or a subscript */
	CALLER_UNKNOWN /* any of these: the instruction is overwritten by a tracer or a compiler */
};
/* Instructions that run a Python frame, and how far before the caller's own place they stand. Ends at proof 0. */
struct caller {
	uint8_t first, last, units_back;
	enum caller_proof proof;
};

/* In the order a row is read. NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
struct py_layout {
	uint32_t version;   /* as Py_Version >> 16 */
	bool free_threaded; /* a build without a GIL: another layout of the same version */
	const char *source; /* where the figures come from */
#define F(object, field, ...) uint32_t object##_##field;
	PY_LAYOUT_FIELDS(F)
#undef F
	enum frame_top top;
	enum frame_shape shape;
	enum frame_extent extent;
	enum call_proof call;
	enum line_table_kind lines;
	enum gil_kind gil;
	enum attrs_kind attrs;
	enum int_kind ints;
	enum keys_kind keys;
	enum await_kind awaits;
	enum coro_shape coro;
	enum frame_stack_kind stack;
	enum task_home tasks;
	enum owners_kind owners;
	uint8_t await_opcode;
	uint8_t lasti_bytes; /* what a frame object counts instructions in */
	bool plain_names;    /* functions have no qualified names: `wait`, not `Condition.wait` */
	bool own_offsets;    /* the process carries a table of offsets itself (layout_offsets.c) */
	uint8_t ref_tags;    /* bits of a reference in a frame that are not address */
	uint8_t await_slots_down; /* how far from the end of a suspended stack the awaited lies: 1 is the last value */
	uint8_t text_kind_shift;     /* where the kind of a str begins in its state */
	uint8_t dict_before;         /* how far before an instance the pointer to its dict lies */
	uint32_t dict_values_header; /* bytes before the first value of a split dict */
	const struct caller *callers;
	uint8_t owner_generator; /* frame.owner of a frame inside a generator or coroutine */
	uint8_t owner_shim;      /* of a frame that is not Python's; OWNER_NONE when there is none */
	uint8_t owner_last;      /* the greatest that makes sense */
	int8_t gen_suspended_from, gen_suspended_to; /* gen.state while suspended */
	int8_t gen_awaits_from, gen_awaits_to;       /* and in an await, where the state tells */
	int8_t gen_created, gen_running;
	const char *const *task_sets; /* names in asyncio.tasks that hold all tasks, NULL-terminated */
};

enum { OWNER_NONE = 0xff };

/* The rows, oldest version first; their offsets come from the table (layout_take). */
enum { LAYOUT_COUNT = 11 };
extern const struct py_layout layout_rows[LAYOUT_COUNT];

/* Buffers that hold the part of an object we read; layout_check holds each row to them. */
enum {
	TSTATE_BYTES_MAX = 1024,
	FRAME_BYTES_MAX = 128,
	CODE_BYTES_MAX = 320,
	TASK_BYTES_MAX = 320,
	TEXT_HEAD_BYTES_MAX = 80
};

/* The layout of a version (PY_VERSION_HEX); false when there is none. */
MUST_CHECK bool layout_take(uint32_t version_hex, bool free_threaded, struct py_layout *out);
/* What the process says of itself at the beginning of _PyRuntime, from 3.13 on. */
struct own_offsets {
	uint32_t version_hex;
	bool free_threaded;
};
enum { OWN_OFFSETS_HEAD_BYTES = 24, OWN_OFFSETS_BYTES_MAX = 1024 };
/* From the first OWN_OFFSETS_HEAD_BYTES of it; false: it carries no such table. */
MUST_CHECK bool layout_own_offsets(const uint8_t *head, struct own_offsets *out);
/* How long the table of this version is. */
size_t layout_own_offsets_bytes(const struct py_layout *l);
/* Replaces the offsets that the table knows. They are as foreign as anything: layout_check comes after. */
void layout_apply_offsets(struct py_layout *l, const uint8_t *table);
/* The version from the size of _PyRuntime, for those that do not carry it as a symbol; 0 unknown. */
uint32_t layout_guess_version(uint64_t runtime_size);
/* Does the name of the image of Python contradict that version? "libpython3.8.so" is no 3.9. */
bool layout_path_contradicts(const char *path, uint32_t version_hex);
/* Does every field lie inside its object, and every object inside our buffers? Otherwise why names the field. */
MUST_CHECK bool layout_check(const struct py_layout *l, struct buf *why);
/* The versions that have a row: "3.11". */
void layout_list(struct buf *out);

#endif
