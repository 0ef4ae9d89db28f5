/* code.c - code objects, read once and kept by address.
 *
 *   code object -> qualified name, file name, line table        one read, then their heads, then their bytes
 */
#include "code.h"

#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "text.h"

enum {
	CODES_MAX = 1 << 16,
	LINE_TABLE_BYTES_MAX = 4 << 20,
	NAME_BYTES = 512,
	FILE_BYTES = 1024,
	WORD_BYTES = 8,
	UNIT_BYTES = 2,
	COPIES_MAX = 4096,
	KEPT_BYTES_MAX = 1 << 16 /* of the instructions of one code object */
};

static bool read_line_map(struct py_process *p, uint64_t table, uint32_t first_line, struct line_map *out)
{
	uint64_t length;
	if (!addr_plausible(table) || !mem_read_u64(p->mem, table + p->layout.bytes_length, &length) ||
		length > LINE_TABLE_BYTES_MAX)
		return false;
	uint8_t *bytes = xmalloc(length + 1);
	bool ok = mem_read(p->mem, table + p->layout.bytes_data, bytes, length) &&
		  p->ops.lines_decode(bytes, length, first_line, out);
	free(bytes);
	return ok;
}

/* File names repeat a hundredfold: one copy each. */
static const char *share_file(struct code_table *t, const char *name)
{
	uint64_t kept, key = hash_bytes(name, strlen(name));
	for (; map_get(&t->files, key, &kept); key++) {
		if (strcmp((const char *)(uintptr_t)kept, name) == 0)
			return (const char *)(uintptr_t)kept;
	}
	char *copy = xstrdup(name);
	map_put(&t->files, key, (uint64_t)(uintptr_t)copy);
	return copy;
}

static uint32_t frame_bytes_of(const struct py_layout *l, const uint8_t *head)
{
	if (l->extent == EXTENT_NONE)
		return 0;
	if (l->extent == EXTENT_STORED)
		return (uint32_t)int_at(head, l->code_frame_size) * WORD_BYTES;
	return l->frame_locals +
	       WORD_BYTES * (uint32_t)(int_at(head, l->code_local_count) + int_at(head, l->code_stack_size));
}

static void code_free(struct code *c)
{
	lines_clear(&c->lines);
	free((char *)(uintptr_t)c->face.function);
	free(c->copies.all);
	free(c->proofs);
	free(c);
}

/* Fills c from the head of the code object; false when it does not look like one. */
static bool take_head(struct py_process *p, const uint8_t *head, struct code *c)
{
	const struct py_layout *l = &p->layout;
	int64_t units = l->code_units != PY_NONE ? (int64_t)word_at(head, l->code_units) : 1;
	int32_t first_line = int_at(head, l->code_first_line);
	if (!type_is_code(p, word_at(head, l->object_type)) || units <= 0 || units > INT32_MAX ||
		first_line < 0)
		return false;
	c->units = (uint32_t)units;
	c->face.first_line = (uint32_t)first_line;
	c->first_instruction = l->code_bytes == PY_NONE ? c->addr + l->code_instructions
							: word_at(head, l->code_bytes) + l->bytes_data;
	c->name_addr = word_at(head, l->code_name);
	c->line_table_addr = word_at(head, l->code_line_table);
	c->frame_bytes = frame_bytes_of(l, head);
	/* Nothing of it can be traced. */
	c->trampoline = l->code_first_traceable != PY_NONE && int_at(head, l->code_first_traceable) >= units;
	return true;
}

/* Instructions that are an object of their own have their number there. */
static bool count_units(struct py_process *p, const uint8_t *head, struct code *c)
{
	const struct py_layout *l = &p->layout;
	uint64_t bytes, length;
	if (l->code_bytes == PY_NONE)
		return true;
	bytes = word_at(head, l->code_bytes);
	if (!addr_plausible(bytes) || !mem_read_u64(p->mem, bytes + l->bytes_length, &length) ||
		length == 0 || length > INT32_MAX)
		return false;
	c->units = (uint32_t)(length / UNIT_BYTES);
	return true;
}

static struct code *code_read(struct py_process *p, uint64_t addr)
{
	const struct py_layout *l = &p->layout;
	uint8_t head[CODE_BYTES_MAX], again[CODE_BYTES_MAX];
	char name[NAME_BYTES], file[FILE_BYTES];
	if (!addr_plausible(addr) || !mem_read(p->mem, addr, head, l->code_size))
		return NULL;
	struct code *c = xcalloc(1, sizeof *c);
	c->addr = addr;
	if (!take_head(p, head, c) || !count_units(p, head, c))
		goto bad;
	struct text texts[] = {
		{ c->name_addr, name, sizeof name, false },
		{ word_at(head, l->code_filename), file, sizeof file, false },
	};
	texts_read(p, texts, ARRAY_LEN(texts));
	if (!texts[0].ok || !texts[1].ok ||
		!read_line_map(p, c->line_table_addr, c->face.first_line, &c->lines))
		goto bad;
	/* Freed and reused while we read it? Then what we hold is half of two. */
	struct code now = { .addr = addr };
	if (!mem_read(p->mem, addr, again, l->code_size) || !take_head(p, again, &now) ||
		now.name_addr != c->name_addr || now.line_table_addr != c->line_table_addr ||
		now.face.first_line != c->face.first_line)
		goto bad;
	c->face.function = xstrdup(name);
	c->face.file = share_file(&p->codes, file);
	c->mark = mark_of(file, name, l->plain_names);
	c->library = mark_library(file);
	return c;
bad:
	code_free(c);
	return NULL;
}

/* Asked of code objects that the table owns: what is learned of them later is added. */
static struct code *own(const struct code *c)
{
	return (struct code *)(uintptr_t)c;
}

static bool within(const struct code *c, uint64_t base, uint64_t ip)
{
	return base != 0 && ip + UNIT_BYTES >= base && ip < base + (uint64_t)UNIT_BYTES * c->units;
}

/* Copies appear one by one, and the array is replaced when it grows: read again whenever what is known does not fit. */
static bool read_copies(struct py_process *p, struct code *c)
{
	uint64_t array, count;
	if (!mem_read_u64(p->mem, c->addr + p->layout.code_tlbc, &array) || !addr_plausible(array) ||
		!mem_read_u64(p->mem, array, &count) || count > COPIES_MAX)
		return false;
	c->copies.all = xrealloc(c->copies.all, (count + 1) * sizeof *c->copies.all);
	c->copies.count =
		mem_read(p->mem, array + 8, c->copies.all, count * sizeof *c->copies.all) ? count : 0;
	return c->copies.count > 0;
}

uint64_t code_base(struct py_process *p, const struct code *c, int32_t copy, uint64_t ip)
{
	size_t i = (size_t)copy;
	if (copy <= 0 || copy >= COPIES_MAX)
		return c->first_instruction;
	for (unsigned tries = 0; tries < 2; tries++) {
		if (i < c->copies.count && within(c, c->copies.all[i], ip))
			return c->copies.all[i];
		if (within(c, c->first_instruction, ip) || !read_copies(p, own(c)))
			break;
	}
	return c->first_instruction; /* it has not begun: its first step makes the copy */
}

enum caller_proof code_proof_at(const struct py_layout *l, const uint8_t *instruction, size_t bytes_before)
{
	for (const struct caller *c = l->callers; c->proof != 0; c++) {
		size_t back = (size_t)c->units_back * UNIT_BYTES;
		if (back <= bytes_before && *(instruction - back) >= c->first &&
			*(instruction - back) <= c->last)
			return c->proof;
	}
	return 0;
}

const uint8_t *code_proofs(struct py_process *p, const struct code *c)
{
	size_t len = (size_t)c->units * UNIT_BYTES;
	if (c->proofs != NULL || len > KEPT_BYTES_MAX)
		return c->proofs;
	uint8_t *bytes = xmalloc(len);
	if (mem_read(p->mem, c->first_instruction, bytes, len)) {
		own(c)->proofs = xmalloc(c->units);
		for (size_t unit = 0; unit < c->units; unit++)
			own(c)->proofs[unit] = (uint8_t)code_proof_at(
				&p->layout, bytes + unit * UNIT_BYTES, unit * UNIT_BYTES);
	}
	free(bytes);
	return c->proofs;
}

const struct code *code_at(struct py_process *p, uint64_t addr)
{
	struct code_table *t = &p->codes;
	uint64_t index;
	if (map_get(&t->by_addr, addr, &index))
		return t->all[index];
	if (t->count >= CODES_MAX)
		return NULL;
	struct code *c = code_read(p, addr);
	if (c == NULL)
		return NULL;
	t->all = array_grow(t->all, &t->capacity, t->count, sizeof(void *));
	c->face.id = t->first_id + (uint32_t)t->count;
	map_put(&t->by_addr, addr, t->count);
	t->all[t->count++] = c;
	return c;
}

uint32_t code_line(const struct code *c, int64_t unit)
{
	if (unit < 0)
		return c->face.first_line;
	uint32_t line = lines_at(&c->lines, (uint32_t)unit);
	/* The function's preparations come before its first line; they belong to where it begins. */
	bool nothing_before = c->lines.count < 2 || (uint64_t)unit < c->lines.starts[1].unit;
	return line == 0 && nothing_before ? c->face.first_line : line;
}

/* Of a code object that cannot be read any more, too, nothing is left of what it was. */
static bool code_unchanged(struct py_process *p, const struct code *c, const uint8_t *head)
{
	struct code now = { .addr = c->addr };
	return take_head(p, head, &now) && now.name_addr == c->name_addr &&
	       now.line_table_addr == c->line_table_addr && now.face.first_line == c->face.first_line;
}

bool codes_changed(struct py_process *p, uint32_t *ids, size_t room, size_t *count)
{
	const struct code_table *t = &p->codes;
	struct mem_part *parts = xcalloc(t->count + 1, sizeof *parts);
	uint8_t *heads = xcalloc(t->count + 1, CODE_BYTES_MAX);
	for (size_t i = 0; i < t->count; i++)
		parts[i] =
			(struct mem_part){ t->all[i]->addr, heads + i * CODE_BYTES_MAX, p->layout.code_size };
	size_t readable = mem_read_parts(p->mem, parts, t->count);
	*count = 0;
	for (size_t i = 0; i < t->count; i++) {
		/* Behind one that was unmapped nothing was read in the batch: asked one by one. */
		bool read =
			i < readable || mem_read(p->mem, t->all[i]->addr, parts[i].into, p->layout.code_size);
		if (read && code_unchanged(p, t->all[i], parts[i].into))
			continue;
		if (*count < room)
			ids[*count] = t->all[i]->face.id;
		++*count;
	}
	free(heads);
	free(parts);
	return *count != 0;
}

void codes_clear(struct code_table *t)
{
	size_t at = 0;
	uint64_t key, name;
	while (map_next(&t->files, &at, &key, &name))
		free((char *)(uintptr_t)name);
	for (size_t i = 0; i < t->count; i++)
		code_free(t->all[i]);
	free(t->all);
	map_clear(&t->files);
	map_clear(&t->by_addr);
	*t = (struct code_table){ 0 };
}
