/* layout.c - the table of layouts: x86_64, bytes, one row per minor version.
 *
 * Rows are constants from the installed headers (offsetof), confirmed on living interpreters. Patch levels of a minor
 * version share a row; the self-check at attach (process.c) refuses a build that does not fit.
 */
#include "layout.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char *const task_sets_weak[] = { "_all_tasks", NULL };
/* An eager task joins it when it first waits; until then it runs, and is on its thread. */
static const char *const task_sets_scheduled[] = { "_scheduled_tasks", NULL };

static const struct py_layout layouts[] = {
	{
		.version = 0x030b,
		.source = "headers of 3.11.2 and 3.11.7, offsetof",
		.runtime_interpreters = 40,
		.runtime_current_thread = 576,
		.runtime_gil = 360,
		.runtime_collecting = PY_NONE,
		.gil_size = 208,
		.gil_holder = 8,
		.gil_locked = 16,
		.interp_next = 0,
		.interp_threads = 16,
		.interp_modules = 888,
		.interp_gil = PY_NONE,
		.interp_collecting = 848,
		.tstate_next = 8,
		.tstate_interp = 16,
		.tstate_frame = 56,
		.tstate_pthread = 152,
		.tstate_native_id = 160,
		.tstate_id = 240,
		.pthread_tid = PY_NONE,
		.tstate_chunk = 296,
		.tstate_chunk_top = 304,
		.cframe_frame = 8,
		.chunk_previous = 0,
		.chunk_size = 8,
		.chunk_top = 16,
		.chunk_data = 24,
		.chunk_first_frame = 32,
		.frame_size = 72,
		.frame_code = 32,
		.frame_previous = 48,
		.frame_ip = 56,
		.frame_stack_depth = 64,
		.frame_function = 0,
		.frame_is_entry = 68,
		.frame_owner = 69,
		.frame_locals = 72,
		.frame_generator = PY_NONE,
		.frame_state = PY_NONE,
		.frame_stack = PY_NONE,
		.frame_stack_top = PY_NONE,
		.code_size = 184,
		.code_units = 16,
		.code_filename = 112,
		.code_name = 128,
		.code_line_table = 136,
		.code_first_line = 72,
		.code_local_count = 76,
		.code_stack_size = 68,
		.code_frame_size = PY_NONE,
		.code_instructions = 184,
		.code_bytes = PY_NONE,
		.code_local_names = 96,
		.code_local_kinds = 104,
		.gen_frame = 80,
		.gen_state = 75,
		.object_type = 8,
		.text_length = 16,
		.text_state = 32,
		.text_ascii_data = 48,
		.text_wide_data = 72,
		.bytes_length = 16,
		.bytes_data = 32,
		.integer_size = 16,
		.integer_digits = 24,
		.dict_keys = 32,
		.dict_values = 40,
		.set_mask = 32,
		.set_table = 40,
		.type_name = 24,
		.type_flags = 168,
		.type_dict_offset = 288,
		.type_cached_keys = 872,
		.module_dict = 16,
		.weakref_object = 16,
		.wrapper_wrapped = 16,
		.task_size = 176,
		.task_state = 88,
		.task_coro = 136,
		.task_name = 144,
		.task_waiter = 128,
		.future_callback = 24,
		.future_callbacks = 40,
		.sequence_count = 16,
		.tuple_items = 24,
		.list_items = 24,
		.cell_value = 16,
		.function_closure = 72,
		.method_self = 24,
		.builtin_self = 24,
		.partial_arguments = 24,
		.type_members = 240,
		.type_base = 256,
		.real_value = 16,
		.top = TOP_THROUGH_CFRAME,
		.shape = FRAME_INTERPRETER,
		.extent = EXTENT_LOCALS_AND_STACK,
		.call = CALL_LEAVES_FUNCTION,
		.silent_calls = { { 19, 4 } }, /* BINARY_SUBSCR_GETITEM */
		.lines = LINES_LOCATIONS,
		.stack = STACK_BY_DEPTH,
		.await_slots_down = 1,
		.gil = GIL_CURRENT_THREAD,
		.attrs = ATTRS_VALUES_THEN_DICT,
		.ints = INT_SIGNED_SIZE,
		.dict_values_header = 0,
		.owner_generator = 1,
		.owner_shim = OWNER_NONE,
		.owner_last = 2,
		.gen_suspended_from = -1,
		.gen_suspended_to = -1,
		.gen_created = -2,
		.gen_running = 0,
		.task_sets = task_sets_weak,
	},
	{
		.version = 0x030c,
		.source = "headers of 3.12.1, offsetof",
		.runtime_interpreters = 40,
		.runtime_current_thread = PY_NONE,
		.runtime_gil = PY_NONE,
		.gil_size = 208,
		.gil_holder = 8,
		.gil_locked = 16,
		.interp_next = 0,
		.interp_threads = 72,
		.interp_modules = 944,
		.interp_gil = 384,
		.interp_collecting = 312,
		.tstate_next = 8,
		.tstate_interp = 16,
		.tstate_frame = 56,
		.tstate_pthread = 136,
		.tstate_native_id = 144,
		.tstate_chunk = 232,
		.tstate_chunk_top = 240,
		.cframe_frame = 0,
		.chunk_previous = 0,
		.chunk_size = 8,
		.chunk_top = 16,
		.chunk_data = 24,
		.chunk_first_frame = 32,
		.frame_size = 72,
		.frame_code = 0,
		.frame_previous = 8,
		.frame_ip = 56,
		.frame_stack_depth = 64,
		.frame_function = 16,
		.frame_is_entry = PY_NONE,
		.frame_owner = 70,
		.frame_locals = 72,
		.code_size = 192,
		.code_units = 16,
		.code_filename = 112,
		.code_name = 128,
		.code_line_table = 136,
		.code_first_line = 68,
		.code_local_count = 72,
		.code_stack_size = 64,
		.code_frame_size = 76,
		.code_instructions = 192,
		.code_local_names = 96,
		.code_local_kinds = 104,
		.gen_frame = 72,
		.gen_state = 67,
		.object_type = 8,
		.text_length = 16,
		.text_state = 32,
		.text_ascii_data = 40,
		.text_wide_data = 56,
		.bytes_length = 16,
		.bytes_data = 32,
		.integer_size = 16,
		.integer_digits = 24,
		.dict_keys = 32,
		.dict_values = 40,
		.set_mask = 32,
		.set_table = 40,
		.type_name = 24,
		.type_flags = 168,
		.type_dict_offset = 288,
		.type_cached_keys = 880,
		.module_dict = 16,
		.weakref_object = 16,
		.wrapper_wrapped = 16,
		.task_size = 176,
		.task_state = 88,
		.task_coro = 136,
		.task_name = 144,
		.task_waiter = 128,
		.future_callback = 24,
		.future_callbacks = 40,
		.sequence_count = 16,
		.tuple_items = 24,
		.list_items = 24,
		.cell_value = 16,
		.function_closure = 72,
		.method_self = 24,
		.builtin_self = 24,
		.partial_arguments = 24,
		.type_members = 240,
		.type_base = 256,
		.real_value = 16,
		.runtime_collecting = PY_NONE,
		.tstate_id = 224,
		.pthread_tid = PY_NONE,
		.frame_generator = PY_NONE,
		.frame_state = PY_NONE,
		.frame_stack = PY_NONE,
		.frame_stack_top = PY_NONE,
		.code_bytes = PY_NONE,
		.top = TOP_THROUGH_CFRAME,
		.shape = FRAME_INTERPRETER,
		.extent = EXTENT_STORED,
		.call = CALL_LEAVES_FUNCTION,
		/* BINARY_SUBSCR_GETITEM, LOAD_ATTR_GETATTRIBUTE_OVERRIDDEN, LOAD_ATTR_PROPERTY */
		.silent_calls = { { 20, 1 }, { 72, 9 }, { 77, 9 } },
		.lines = LINES_LOCATIONS,
		.stack = STACK_BY_DEPTH,
		.await_slots_down = 1,
		.gil = GIL_PER_INTERPRETER,
		.attrs = ATTRS_TAGGED_WORD,
		.ints = INT_TAGGED_SIZE,
		.dict_values_header = 0,
		.owner_generator = 1,
		.owner_shim = 3,
		.owner_last = 2,
		.gen_suspended_from = -1,
		.gen_suspended_to = -1,
		.gen_created = -2,
		.gen_running = 0,
		.task_sets = task_sets_scheduled,
	},
};

/* Before 3.11 no symbol carries the version, but the size of _PyRuntime does (x86_64). */
static const struct {
	uint64_t runtime_size;
	uint32_t version_hex;
} runtime_sizes[] = {
	{ 1520, 0x03070000 },
	{ 1464, 0x03080000 },
	{ 656, 0x03090000 },
	{ 672, 0x030a0000 },
};

/* For messages and bounds: every field, with its object. */
static const struct field {
	const char *object, *name;
	size_t at;
} fields[] = {
#define F(object, field) { #object, #field, offsetof(struct py_layout, object##_##field) },
	PY_LAYOUT_FIELDS(F)
#undef F
};

/* How far a field of an object may reach. Interpreter and runtime are read in windows, not whole. */
static const struct reach {
	const char *object;
	uint32_t bytes;
} reaches[] = {
	{ "runtime", 8192 },
	{ "gil", 1024 },
	{ "interp", 512 * 1024 },
	{ "tstate", TSTATE_BYTES_MAX },
	{ "cframe", 64 },
	{ "chunk", 64 },
	{ "frame", FRAME_BYTES_MAX },
	{ "code", CODE_BYTES_MAX },
	{ "task", TASK_BYTES_MAX },
	{ "pthread", 2048 },
	{ NULL, 1024 },
};

const struct py_layout *layout_find(uint32_t version_hex)
{
	for (size_t i = 0; i < ARRAY_LEN(layouts); i++) {
		if (layouts[i].version == version_hex >> 16)
			return &layouts[i];
	}
	for (size_t i = 0; i < layouts_frame_object_count; i++) {
		if (layouts_frame_object[i].version == version_hex >> 16)
			return &layouts_frame_object[i];
	}
	return NULL;
}

bool layout_path_contradicts(const char *path, uint32_t version_hex)
{
	const char *name = strrchr(path, '/');
	unsigned major, minor;
	name = strstr(name != NULL ? name : path, "python");
	return name != NULL && sscanf(name, "python%u.%u", &major, &minor) == 2 &&
	       (major << 8 | minor) != version_hex >> 16;
}

uint32_t layout_guess_version(uint64_t runtime_size)
{
	for (size_t i = 0; i < ARRAY_LEN(runtime_sizes); i++) {
		if (runtime_sizes[i].runtime_size == runtime_size)
			return runtime_sizes[i].version_hex;
	}
	return 0;
}

static uint32_t reach_of(const char *object)
{
	const struct reach *r = reaches;
	while (r->object != NULL && __builtin_strcmp(r->object, object) != 0)
		r++;
	return r->bytes;
}

bool layout_check(const struct py_layout *l, struct buf *why)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		uint32_t offset = *(const uint32_t *)(const void *)((const char *)l + fields[i].at);
		uint32_t reach = reach_of(fields[i].object);
		if (offset == PY_NONE || offset + 8 <= reach)
			continue;
		buf_printf(why, "the layout says that %s.%s is at byte %u, beyond the %u we read",
			fields[i].object, fields[i].name, offset, reach);
		return false;
	}
	if ((l->frame_owner != PY_NONE && l->frame_size <= l->frame_owner) ||
		(l->frame_state != PY_NONE && l->frame_size <= l->frame_state) ||
		l->frame_size < l->frame_ip + 4 || l->code_size < l->code_line_table + 8 ||
		l->task_size < l->task_name + 8) {
		buf_add_str(why, "the layout has a field outside its own object");
		return false;
	}
	return true;
}

void layout_list(struct buf *out)
{
	for (size_t i = 0; i < layouts_frame_object_count; i++)
		buf_printf(out, "%u.%u, ", layouts_frame_object[i].version >> 8,
			layouts_frame_object[i].version & 0xff);
	for (size_t i = 0; i < ARRAY_LEN(layouts); i++)
		buf_printf(out, "%s%u.%u", i ? ", " : "", layouts[i].version >> 8, layouts[i].version & 0xff);
}
