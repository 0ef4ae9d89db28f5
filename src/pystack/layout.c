/* layout.c - from a version to its layout: a row of strategies and a column of offsets, copied by value and checked.
 *
 * Patch levels of a minor version share a row; the self-check at attach (process.c) refuses a build that does not fit.
 */
#include "layout.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Before 3.11 no symbol carries the version, and in a stripped program none does, but the size of _PyRuntime (x86_64). */
static const struct {
	uint64_t runtime_size;
	uint32_t version_hex;
} runtime_sizes[] = {
	{ 1520, 0x03070000 },
	{ 1464, 0x03080000 },
	{ 656, 0x03090000 },
	{ 672, 0x030a0000 },
	{ 166688, 0x030b0000 },
	{ 459944, 0x030c0000 },
};

/* The table, a line for each field. */
static const struct field {
	const char *object, *name;
	size_t at;
	uint32_t offsets[LAYOUT_COUNT];
} fields[] = {
#define F(object, field, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10)                                        \
	{ #object, #field, offsetof(struct py_layout, object##_##field),                                     \
		{ c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10 } },
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
	{ "frame", 512 },
	{ "code", CODE_BYTES_MAX },
	{ "task", TASK_BYTES_MAX },
	{ "text", TEXT_HEAD_BYTES_MAX },
	{ "pthread", 2048 },
	{ NULL, 1024 },
};

bool layout_take(uint32_t version_hex, bool free_threaded, struct py_layout *out)
{
	for (size_t row = 0; row < LAYOUT_COUNT; row++) {
		if (layout_rows[row].version != version_hex >> 16 ||
			layout_rows[row].free_threaded != free_threaded)
			continue;
		*out = layout_rows[row];
		for (size_t i = 0; i < ARRAY_LEN(fields); i++)
			memcpy((char *)out + fields[i].at, &fields[i].offsets[row],
				sizeof fields[i].offsets[row]);
		return true;
	}
	return false;
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

/* A strategy that a row does not name. */
static bool strategy_missing(const struct py_layout *l)
{
	return !l->top || !l->shape || !l->extent || !l->call || !l->lines || !l->gil || !l->attrs ||
	       !l->ints || !l->keys || !l->awaits || !l->coro || !l->stack || !l->tasks || !l->owners ||
	       !l->text_kind_shift || (l->call == CALL_LEAVES_FUNCTION && l->callers == NULL);
}

/* Fields that are read as part of their object, and must lie in the part that is read. */
static bool outside_its_object(const struct py_layout *l)
{
	const struct {
		uint32_t size, field, bytes;
	} inside[] = {
		{ l->frame_size, l->frame_owner, 1 },
		{ l->frame_size, l->frame_state, 1 },
		{ l->frame_size, l->frame_ip, 4 },
		{ l->frame_size, l->frame_code, 8 },
		{ l->frame_size, l->frame_previous, 8 },
		{ l->frame_size, l->frame_function, 8 },
		{ l->frame_size, l->frame_stack_top, 8 },
		{ l->frame_size, l->frame_tlbc, 4 },
		{ l->code_size, l->code_line_table, 8 },
		{ l->code_size, l->code_name, 8 },
		{ l->code_size, l->code_filename, 8 },
		{ l->code_size, l->code_first_line, 4 },
		{ l->code_size, l->object_type, 8 },
		{ l->task_size, l->task_name, 8 },
		{ l->task_size, l->object_type, 8 },
	};
	for (size_t i = 0; i < ARRAY_LEN(inside); i++) {
		if (inside[i].field != PY_NONE && inside[i].field + inside[i].bytes > inside[i].size)
			return true;
	}
	/* The state of a coroutine is read with its frame. */
	return l->coro == CORO_HOLDS_FRAME &&
	       (l->gen_state >= l->gen_frame || l->gen_frame - l->gen_state > 8);
}

bool layout_check(const struct py_layout *l, struct buf *why)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		uint32_t offset = *(const uint32_t *)(const void *)((const char *)l + fields[i].at);
		uint32_t reach = reach_of(fields[i].object);
		if (offset == PY_NONE || (offset <= reach && reach - offset >= 8))
			continue;
		buf_printf(why, "the layout says that %s.%s is at byte %u, beyond the %u we read",
			fields[i].object, fields[i].name, offset, reach);
		return false;
	}
	if (strategy_missing(l)) {
		buf_add_str(why, "the layout does not say how everything is to be read");
		return false;
	}
	if (outside_its_object(l)) {
		buf_add_str(why, "the layout has a field outside its own object");
		return false;
	}
	return true;
}

void layout_list(struct buf *out)
{
	for (size_t i = 0; i < LAYOUT_COUNT; i++)
		buf_printf(out, "%s%u.%u%s", i ? ", " : "", layout_rows[i].version >> 8,
			layout_rows[i].version & 0xff, layout_rows[i].free_threaded ? "t" : "");
}
