/* locals.c - the variables of a frame as a person sees them: the name, and of the value what is simple and short.
 *
 *   frame -> its code's names -> slot -> object -> "42", "'abc'", "<list of 3>", "<Order>"
 *
 * Nothing of the process is called: an object that is not one of the simple kinds is shown by its type. A value is shown only
 * when its slot held the same object before and after it was read, and only in frames that still run the code they did.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "text.h"

enum {
	NAMES_MAX = 256,
	NAME_TUPLE_MAX = 4096,
	SHOWN_BYTES = 100,
	DIGIT_BITS = 30,
	DIGITS_MAX = 1 << 24,
	TRIES_MAX = 3
};

/* --- names --- */

struct names {
	char (*all)[PY_NAME_BYTES];
	size_t count;
};

static bool names_add(struct py_process *p, uint64_t tuple, struct names *n)
{
	const struct py_layout *l = &p->layout;
	uint64_t count, items[NAMES_MAX];
	struct text texts[NAMES_MAX];
	if (object_kind(p, tuple) != TYPE_TUPLE || !mem_read_u64(p->mem, tuple + l->sequence_count, &count) ||
		count > NAME_TUPLE_MAX)
		return false;
	size_t take = MIN((size_t)count, NAMES_MAX - n->count);
	if (take != 0 && !mem_read(p->mem, tuple + l->tuple_items, items, take * sizeof *items))
		return false;
	for (size_t i = 0; i < take; i++)
		texts[i] = (struct text){ items[i], n->all[n->count + i], PY_NAME_BYTES, false };
	texts_read(p, texts, take);
	n->count += take;
	return true;
}

/* In the order of the slots. */
static bool names_read(struct py_process *p, const struct code *code, struct names *n)
{
	const struct py_layout *l = &p->layout;
	const uint32_t three[] = { l->code_varnames, l->code_cellvars, l->code_freevars };
	bool one = l->code_local_names != PY_NONE;
	uint64_t tuple;
	for (size_t i = 0; i < (one ? 1 : ARRAY_LEN(three)); i++)
		if (!mem_read_u64(p->mem, code->addr + (one ? l->code_local_names : three[i]), &tuple) ||
			!names_add(p, tuple, n))
			return false;
	return true;
}

/* --- values --- */

struct shown {
	char *out;
	size_t room;
};

static bool show_integer(struct py_process *p, uint64_t object, struct shown *s)
{
	const struct py_layout *l = &p->layout;
	uint64_t word, digits;
	uint32_t digit[2] = { 0 };
	if (!mem_read_u64(p->mem, object + l->integer_size, &word))
		return false;
	bool by_sign = l->ints == INT_SIGNED_SIZE, negative = by_sign ? (int64_t)word < 0 : (word & 3) == 2;
	digits = by_sign ? (negative ? -word : word) : word >> 3;
	if (digits > DIGITS_MAX)
		return false;
	if (digits > ARRAY_LEN(digit)) {
		snprintf(s->out, s->room, "<int of more than %" PRIu64 " bits>", (digits - 1) * DIGIT_BITS);
		return true;
	}
	if (digits != 0 && !mem_read(p->mem, object + l->integer_digits, digit, digits * sizeof *digit))
		return false;
	uint64_t value = digit[0] | (uint64_t)digit[1] << DIGIT_BITS;
	snprintf(s->out, s->room, "%s%" PRIu64, negative ? "-" : "", value);
	return true;
}

static bool show_bool(struct py_process *p, uint64_t object, struct shown *s)
{
	uint32_t digit;
	if (!mem_read(p->mem, object + p->layout.integer_digits, &digit, sizeof digit) || digit > 1)
		return false;
	snprintf(s->out, s->room, "%s", digit ? "True" : "False");
	return true;
}

/* The shortest that means the same, near enough. */
static bool show_real(struct py_process *p, uint64_t object, struct shown *s)
{
	double value;
	if (!mem_read(p->mem, object + p->layout.real_value, &value, sizeof value))
		return false;
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(s->out, s->room, "%.*g", digits, value);
		if (strtod(s->out, NULL) == value)
			break;
	}
	if (isfinite(value) && strpbrk(s->out, ".e") == NULL)
		strncat(s->out, ".0", s->room - strlen(s->out) - 1);
	return true;
}

/* As Python writes them between quotes. `letters`: bytes above 127 are part of letters. */
static void quote(const char *prefix, const char *bytes, size_t len, bool letters, struct buf *out)
{
	char mark = memchr(bytes, '\'', len) != NULL && memchr(bytes, '"', len) == NULL ? '"' : '\'';
	buf_printf(out, "%s%c", prefix, mark);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];
		if (c == '\n' || c == '\t' || c == '\r')
			buf_add_str(out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r");
		else if (c < 0x20 || c == 0x7f || (c > 0x7f && !letters))
			buf_printf(out, "\\x%02x", c);
		else if (c == (unsigned char)mark || c == '\\')
			buf_printf(out, "\\%c", c);
		else
			buf_add_char(out, (char)c);
	}
	buf_add_char(out, mark);
}

static void quoted(struct buf *text, uint64_t length, const char *unit, bool cut, struct shown *s)
{
	if (cut)
		buf_printf(text, "... (%" PRIu64 " %s)", length, unit);
	snprintf(s->out, s->room, "%s", text->data);
	buf_clear(text);
}

static bool show_text(struct py_process *p, uint64_t object, struct shown *s)
{
	char letters[SHOWN_BYTES];
	struct buf text = { 0 };
	uint64_t length;
	if (!mem_read_u64(p->mem, object + p->layout.text_length, &length) ||
		!text_read(p, object, letters, sizeof letters))
		return false;
	size_t len = strnlen(letters, sizeof letters), shown = 0;
	for (size_t i = 0; i < len; i++)
		shown += ((unsigned char)letters[i] & 0xc0) != 0x80; /* a letter begins */
	quote("", letters, len, true, &text);
	quoted(&text, length, "characters", shown < length, s);
	return true;
}

static bool show_bytes(struct py_process *p, uint64_t object, struct shown *s)
{
	char bytes[SHOWN_BYTES / 2];
	struct buf text = { 0 };
	uint64_t length;
	if (!mem_read_u64(p->mem, object + p->layout.bytes_length, &length))
		return false;
	size_t take = MIN((size_t)length, sizeof bytes);
	if (take != 0 && !mem_read(p->mem, object + p->layout.bytes_data, bytes, take))
		return false;
	quote("b", bytes, take, false, &text);
	quoted(&text, length, "bytes", take < length, s);
	return true;
}

/* A dict counts where a list does; a set a word before its mask. */
static bool show_length(struct py_process *p, uint64_t object, const char *what, uint64_t at, struct shown *s)
{
	uint64_t count;
	if (!mem_read_u64(p->mem, object + at, &count) || count > INT64_MAX)
		return false;
	snprintf(s->out, s->room, "<%s of %" PRIu64 ">", what, count);
	return true;
}

static bool show_type(struct py_process *p, uint64_t object, struct shown *s)
{
	uint64_t type;
	char name[PY_NAME_BYTES];
	if (!mem_read_u64(p->mem, object + p->layout.object_type, &type) ||
		!type_name_read(p, type, name, sizeof name))
		return false;
	snprintf(s->out, s->room, "<%s>", name);
	return true;
}

static bool show(struct py_process *p, uint64_t object, struct shown *s)
{
	const struct py_layout *l = &p->layout;
	switch (object_kind(p, object)) {
	case TYPE_UNKNOWN:
		return false;
	case TYPE_NONE:
		snprintf(s->out, s->room, "None");
		return true;
	case TYPE_BOOL:
		return show_bool(p, object, s);
	case TYPE_INT:
		return show_integer(p, object, s);
	case TYPE_FLOAT:
		return show_real(p, object, s);
	case TYPE_TEXT:
		return show_text(p, object, s);
	case TYPE_BYTES:
		return show_bytes(p, object, s);
	case TYPE_LIST:
		return show_length(p, object, "list", l->sequence_count, s);
	case TYPE_TUPLE:
		return show_length(p, object, "tuple", l->sequence_count, s);
	case TYPE_DICT:
		return show_length(p, object, "dict", l->sequence_count, s);
	case TYPE_SET:
		return show_length(p, object, "set", l->set_mask - 8, s);
	default:
		return show_type(p, object, s);
	}
}

/* --- frames --- */

/* false: it is not set. */
static bool variable_read(struct py_process *p, const struct py_frame *f, int local, struct py_variable *v)
{
	uint64_t slot, object, after;
	struct shown shown = { v->value, sizeof v->value };
	for (unsigned i = 0; i < TRIES_MAX; i++) {
		if (!py_local(p, f, local, &slot, &object))
			return false;
		v->value[0] = '\0';
		bool whole = show(p, object, &shown);
		if (whole && py_local(p, f, local, &slot, &after) && after == object)
			return true;
	}
	snprintf(v->value, sizeof v->value, "<unreadable>");
	return true;
}

static bool still_runs(struct py_process *p, const struct py_frame *f, const struct code *code)
{
	uint64_t now;
	return mem_read_u64(p->mem, f->addr + p->layout.frame_code, &now) &&
	       (now & ~(uint64_t)p->layout.ref_tags) == code->addr;
}

size_t py_variables(struct py_process *p, const struct py_frame *f, struct py_variable *out, size_t max)
{
	const struct code *code = (const void *)f->code; /* its face is its first member */
	char all[NAMES_MAX][PY_NAME_BYTES];
	struct names names = { .all = all };
	size_t count = 0;
	if (code == NULL || f->addr == 0 || !still_runs(p, f, code) || !names_read(p, code, &names))
		return 0;
	for (size_t i = 0; i < names.count && count < max; i++) {
		struct py_variable *v = &out[count];
		memcpy(v->name, names.all[i], sizeof v->name);
		count += names.all[i][0] != '\0' && variable_read(p, f, (int)i, v);
	}
	return still_runs(p, f, code) ? count : 0;
}
