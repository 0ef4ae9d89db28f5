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

#define PY_NONE UINT32_MAX /* this version has no such field */

/* F(object, field): its offset in bytes from the object's start, or PY_NONE. `size` is the size of the part we read. */
#define PY_LAYOUT_FIELDS(F)                                                                                  \
	F(runtime, interpreters)                                                                             \
	F(runtime, current_thread)                                                                           \
	F(runtime, gil)                                                                                      \
	F(runtime, collecting)                                                                               \
	F(gil, size)                                                                                         \
	F(gil, holder)                                                                                       \
	F(gil, locked)                                                                                       \
	F(interp, next)                                                                                      \
	F(interp, threads)                                                                                   \
	F(interp, modules)                                                                                   \
	F(interp, gil)                                                                                       \
	F(interp, collecting)                                                                                \
	F(tstate, next)                                                                                      \
	F(tstate, interp)                                                                                    \
	F(tstate, frame)                                                                                     \
	F(tstate, pthread)                                                                                   \
	F(tstate, native_id)                                                                                 \
	F(tstate, id)                                                                                        \
	F(tstate, chunk)                                                                                     \
	F(tstate, chunk_top)                                                                                 \
	F(pthread, tid)                                                                                      \
	F(cframe, frame)                                                                                     \
	F(chunk, previous)                                                                                   \
	F(chunk, size)                                                                                       \
	F(chunk, top)                                                                                        \
	F(chunk, data)                                                                                       \
	F(chunk, first_frame)                                                                                \
	F(frame, size)                                                                                       \
	F(frame, code)                                                                                       \
	F(frame, previous)                                                                                   \
	F(frame, ip)                                                                                         \
	F(frame, stack_depth)                                                                                \
	F(frame, function)                                                                                   \
	F(frame, is_entry)                                                                                   \
	F(frame, owner)                                                                                      \
	F(frame, locals)                                                                                     \
	F(frame, generator)                                                                                  \
	F(frame, state)                                                                                      \
	F(frame, stack)                                                                                      \
	F(frame, stack_top)                                                                                  \
	F(code, size)                                                                                        \
	F(code, units)                                                                                       \
	F(code, filename)                                                                                    \
	F(code, name)                                                                                        \
	F(code, line_table)                                                                                  \
	F(code, first_line)                                                                                  \
	F(code, local_count)                                                                                 \
	F(code, stack_size)                                                                                  \
	F(code, frame_size)                                                                                  \
	F(code, instructions)                                                                                \
	F(code, bytes)                                                                                       \
	F(code, local_names)                                                                                 \
	F(code, local_kinds)                                                                                 \
	F(gen, frame)                                                                                        \
	F(gen, state)                                                                                        \
	F(object, type)                                                                                      \
	F(text, length)                                                                                      \
	F(text, state)                                                                                       \
	F(text, ascii_data)                                                                                  \
	F(text, wide_data)                                                                                   \
	F(bytes, length)                                                                                     \
	F(bytes, data)                                                                                       \
	F(integer, size)                                                                                     \
	F(integer, digits)                                                                                   \
	F(dict, keys)                                                                                        \
	F(dict, values)                                                                                      \
	F(set, mask)                                                                                         \
	F(set, table)                                                                                        \
	F(type, name)                                                                                        \
	F(type, flags)                                                                                       \
	F(type, dict_offset)                                                                                 \
	F(type, cached_keys)                                                                                 \
	F(module, dict)                                                                                      \
	F(weakref, object)                                                                                   \
	F(wrapper, wrapped)                                                                                  \
	F(task, size)                                                                                        \
	F(task, state)                                                                                       \
	F(task, coro)                                                                                        \
	F(task, name)                                                                                        \
	F(task, waiter)                                                                                      \
	F(future, callback)                                                                                  \
	F(future, callbacks)                                                                                 \
	F(sequence, count)                                                                                   \
	F(tuple, items)                                                                                      \
	F(list, items)                                                                                       \
	F(cell, value)                                                                                       \
	F(function, closure)                                                                                 \
	F(method, self)                                                                                      \
	F(builtin, self)                                                                                     \
	F(partial, arguments)                                                                                \
	F(type, members)                                                                                     \
	F(type, base)                                                                                        \
	F(real, value)

/* How the frame a thread runs is found from its thread state. */
enum frame_top { TOP_THROUGH_CFRAME, TOP_IN_THREAD_STATE };
/* What a frame is. */
enum frame_shape { FRAME_INTERPRETER, FRAME_OBJECT };
/* How a suspended frame tells the top of its stack: an address, or a depth. */
enum frame_stack_kind { STACK_BY_ADDRESS, STACK_BY_DEPTH };
/* Where the frame of a coroutine is: inside it, or an object of its own. */
enum coro_shape { CORO_HOLDS_FRAME, CORO_POINTS_TO_FRAME };
/* How the size of a frame on the data stack follows from its code object. */
enum frame_extent { EXTENT_LOCALS_AND_STACK, EXTENT_STORED, EXTENT_NONE };
/* How a caller proves whom it called. */
enum call_proof { CALL_UNPROVEN, CALL_LEAVES_FUNCTION };
/* What tells where a line begins. */
enum line_table_kind { LINES_LOCATIONS, LINES_LNOTAB, LINES_RANGES, LINES_KIND_COUNT };
/* Who holds the GIL. */
enum gil_kind { GIL_CURRENT_THREAD, GIL_PER_INTERPRETER };
/* Where the attributes of an instance live. */
enum attrs_kind { ATTRS_VALUES_THEN_DICT, ATTRS_TAGGED_WORD, ATTRS_DICT };
/* What the head of a dict's keys says of their place and number. */
enum keys_kind { KEYS_BY_LOGARITHM, KEYS_BY_SIZE };
/* How a suspended generator shows that it awaits: by the argument of the instruction it resumes with, or its opcode. */
enum await_kind { AWAIT_BY_ARGUMENT, AWAIT_BY_OPCODE };
enum int_kind { INT_SIGNED_SIZE, INT_TAGGED_SIZE };

enum { SILENT_CALLS_MAX = 3 };

struct py_layout {
	uint32_t version;   /* as Py_Version >> 16 */
	const char *source; /* where the row's figures come from */
#define F(object, field) uint32_t object##_##field;
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
	uint8_t await_opcode;
	uint8_t lasti_bytes; /* what a frame object counts instructions in */
	bool plain_names;    /* functions have no qualified names: `wait`, not `Condition.wait` */
	uint64_t ref_tags;   /* bits of a reference in a frame that are not address */
	uint8_t await_slots_down; /* how far from the end of a suspended stack the awaited lies: 1 is the last value */
	uint32_t dict_values_header; /* bytes before the first value of a split dict */
	/* Calls without such proof: the instruction, and how far before the frame's own it stands. Ends at opcode 0. */
	struct silent_call {
		uint8_t opcode, units_back;
	} silent_calls[SILENT_CALLS_MAX + 1];
	uint8_t owner_generator; /* frame.owner of a frame inside a generator or coroutine */
	uint8_t owner_shim;      /* of a frame that is not Python's; OWNER_NONE when there is none */
	uint8_t owner_last;      /* the greatest that makes sense */
	int8_t gen_suspended_from, gen_suspended_to; /* gen.state while suspended */
	int8_t gen_created, gen_running;
	const char *const *task_sets; /* names in asyncio.tasks that hold all tasks, NULL-terminated */
};

enum { OWNER_NONE = 0xff };

extern const struct py_layout layouts_frame_object[]; /* those whose frames are objects on the heap */
extern const size_t layouts_frame_object_count;

/* Buffers that hold the part of an object we read; layout_check holds each row to them. */
enum { TSTATE_BYTES_MAX = 1024, FRAME_BYTES_MAX = 128, CODE_BYTES_MAX = 320, TASK_BYTES_MAX = 320 };

/* The row of a version (PY_VERSION_HEX), or NULL. */
const struct py_layout *layout_find(uint32_t version_hex);
/* The version from the size of _PyRuntime, for those that do not carry it as a symbol; 0 unknown. */
uint32_t layout_guess_version(uint64_t runtime_size);
/* Does the name of the image of Python contradict that version? "libpython3.8.so" is no 3.9. */
bool layout_path_contradicts(const char *path, uint32_t version_hex);
/* Does every field lie inside its object, and every object inside our buffers? Otherwise why names the field. */
MUST_CHECK bool layout_check(const struct py_layout *l, struct buf *why);
/* The versions that have a row: "3.11". */
void layout_list(struct buf *out);

#endif
