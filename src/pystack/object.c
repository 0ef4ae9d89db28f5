/* object.c - Python's containers, bounded and checked: every length comes from foreign memory. */
#include "object.h"

#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "text.h"

enum { ENTRIES_MAX = 200000, SET_SLOTS_MAX = 1 << 21, KEY_BYTES = 64, KEYS_HEAD_BYTES = 40 };

/* Types by the name in tp_name: the C types have no other mark that all builds export. */
static const struct {
	const char *name;
	enum type_kind kind;
} type_names[] = {
	{ "coroutine", TYPE_COROUTINE },
	{ "generator", TYPE_GENERATOR },
	{ "async_generator", TYPE_ASYNC_GENERATOR },
	{ "async_generator_asend", TYPE_AWAITS_NEXT },
	{ "async_generator_athrow", TYPE_AWAITS_NEXT },
	{ "coroutine_wrapper", TYPE_AWAITS_NEXT },
	{ "int", TYPE_INT },
	{ "bool", TYPE_BOOL },
	{ "float", TYPE_FLOAT },
	{ "str", TYPE_TEXT },
	{ "code", TYPE_CODE },
	{ "NoneType", TYPE_NONE },
	{ "bytes", TYPE_BYTES },
	{ "dict", TYPE_DICT },
	{ "set", TYPE_SET },
	{ "list", TYPE_LIST },
	{ "tuple", TYPE_TUPLE },
	{ "cell", TYPE_CELL },
	{ "function", TYPE_FUNCTION },
	{ "method", TYPE_METHOD },
	{ "builtin_function_or_method", TYPE_BUILTIN },
	{ "TaskWakeupMethWrapper", TYPE_WAKEUP },
	{ "functools.partial", TYPE_PARTIAL },
	{ "_asyncio.Task", TYPE_TASK },
	{ "_asyncio.Future", TYPE_FUTURE },
	{ "_GatheringFuture", TYPE_FUTURE },
	{ "frame", TYPE_FRAME },
	{ "greenlet.greenlet", TYPE_GREENLET },
	{ "_thread.lock", TYPE_LOCK },
	{ "_thread.RLock", TYPE_RLOCK },
};

bool type_name_read(struct py_process *p, uint64_t type, char *out, size_t out_bytes)
{
	uint64_t name_addr;
	if (!addr_plausible(type) || !mem_read_u64(p->mem, type + p->layout.type_name, &name_addr) ||
		name_addr == 0)
		return false;
	/* A short name may lie at the end of the readable memory. */
	size_t len = 0x1000 - (name_addr & 0xfff);
	if (!mem_read(p->mem, name_addr, out, MIN(len, out_bytes)))
		return false;
	out[MIN(len, out_bytes - 1)] = '\0';
	return true;
}

static enum type_kind read_type_kind(struct py_process *p, uint64_t type)
{
	char name[32];
	if (!type_name_read(p, type, name, sizeof name))
		return TYPE_UNKNOWN;
	for (size_t i = 0; i < ARRAY_LEN(type_names); i++) {
		if (strcmp(type_names[i].name, name) == 0)
			return type_names[i].kind;
	}
	return TYPE_OTHER;
}

enum type_kind type_kind_of(struct py_process *p, uint64_t type)
{
	uint64_t kind;
	if (map_get(&p->type_kinds.kinds, type, &kind))
		return (enum type_kind)kind;
	kind = read_type_kind(p, type);
	if (kind != TYPE_UNKNOWN)
		map_put(&p->type_kinds.kinds, type, kind);
	return (enum type_kind)kind;
}

/* Where no symbol told its address, the first that bears the name does. */
static bool type_is(struct py_process *p, uint64_t *known, uint64_t type, enum type_kind kind)
{
	if (*known == 0 && type_kind_of(p, type) == kind)
		*known = type;
	return type == *known && type != 0;
}

bool type_is_code(struct py_process *p, uint64_t type)
{
	return type_is(p, &p->types.code, type, TYPE_CODE);
}

bool type_is_text(struct py_process *p, uint64_t type)
{
	return type_is(p, &p->types.text, type, TYPE_TEXT);
}

enum type_kind object_kind(struct py_process *p, uint64_t addr)
{
	uint64_t type;
	if (!addr_plausible(addr) || !mem_read_u64(p->mem, addr + p->layout.object_type, &type))
		return TYPE_UNKNOWN;
	return type_kind_of(p, type);
}

void types_clear(struct type_table *t)
{
	map_clear(&t->kinds);
}

/* What the head of a keys object says: where its entries begin, how long each is, how many there are. */
struct keys_shape {
	uint64_t entries;
	uint32_t entry_bytes;
	size_t count;
};

/* Indices are as narrow as the size allows; then come the entries: hash, key, value. */
static bool keys_by_size(uint64_t keys, const uint8_t *head, struct keys_shape *out)
{
	uint64_t size = word_at(head, 8), count = word_at(head, 32);
	unsigned index_bytes = size <= 0xff ? 1 : size <= 0xffff ? 2 : 4;
	if (size > 2 * ENTRIES_MAX || count > size)
		return false;
	*out = (struct keys_shape){ keys + KEYS_HEAD_BYTES + size * index_bytes, 24, (size_t)count };
	return true;
}

static bool keys_shape(struct py_process *p, uint64_t keys, struct keys_shape *out)
{
	uint8_t head[KEYS_HEAD_BYTES];
	if (!addr_plausible(keys) || !mem_read(p->mem, keys, head, sizeof head))
		return false;
	if (p->layout.keys == KEYS_BY_SIZE)
		return keys_by_size(keys, head, out);
	uint8_t index_bytes_log2 = head[9], kind = head[10];
	uint64_t count = word_at(head, 24);
	if (index_bytes_log2 > 24 || kind > 2 || count > ENTRIES_MAX)
		return false;
	*out = (struct keys_shape){ keys + 32 + (UINT64_C(1) << index_bytes_log2), kind == 0 ? 24 : 16,
		(size_t)count };
	return true;
}

/* Reads all entries of keys; with `values` the values lie there, in the order of the keys. */
static bool entries_read(struct py_process *p, uint64_t keys, uint64_t values, struct entries *out)
{
	struct keys_shape s;
	*out = (struct entries){ 0 };
	if (!keys_shape(p, keys, &s))
		return false;
	uint8_t *raw = xmalloc(s.count * s.entry_bytes + 1);
	uint64_t *split = xcalloc(s.count + 1, sizeof *split);
	bool ok = mem_read(p->mem, s.entries, raw, s.count * s.entry_bytes) &&
		  (values == 0 || mem_read(p->mem, values, split, s.count * sizeof *split));
	out->keys = xcalloc(s.count + 1, sizeof *out->keys);
	out->values = xcalloc(s.count + 1, sizeof *out->values);
	for (size_t i = 0; ok && i < s.count; i++) {
		const uint8_t *entry = raw + i * s.entry_bytes + s.entry_bytes - 16;
		uint64_t key = word_at(entry, 0), value = values ? split[i] : word_at(entry, 8);
		if (key == 0 || value == 0)
			continue;
		out->keys[out->count] = key;
		out->values[out->count++] = value;
	}
	free(split);
	free(raw);
	if (!ok)
		entries_clear(out);
	return ok;
}

void entries_clear(struct entries *e)
{
	free(e->keys);
	free(e->values);
	*e = (struct entries){ 0 };
}

bool dict_entries(struct py_process *p, uint64_t dict, struct entries *out)
{
	const struct py_layout *l = &p->layout;
	uint64_t words[2]; /* keys and values are neighbours in every version */
	*out = (struct entries){ 0 };
	if (!addr_plausible(dict) || !mem_read(p->mem, dict + l->dict_keys, words, sizeof words))
		return false;
	return entries_read(p, words[0], words[1] ? words[1] + l->dict_values_header : 0, out);
}

/* All keys are compared as text, read together. */
static bool entries_find(struct py_process *p, const struct entries *e, const char *key, uint64_t *value)
{
	struct text *texts = xcalloc(e->count + 1, sizeof *texts);
	char(*names)[KEY_BYTES] = xcalloc(e->count + 1, KEY_BYTES);
	for (size_t i = 0; i < e->count; i++)
		texts[i] = (struct text){ e->keys[i], names[i], KEY_BYTES, false };
	texts_read(p, texts, e->count);
	bool found = false;
	for (size_t i = 0; i < e->count && !found; i++) {
		found = texts[i].ok && strcmp(names[i], key) == 0;
		if (found)
			*value = e->values[i];
	}
	free(names);
	free(texts);
	return found;
}

bool dict_get(struct py_process *p, uint64_t dict, const char *key, uint64_t *value)
{
	struct entries e;
	bool found = dict_entries(p, dict, &e) && entries_find(p, &e, key, value);
	entries_clear(&e);
	return found;
}

enum { INLINE_VALUES = 1 << 2, MANAGED_DICT = 1 << 4 }; /* of a type's flags */

/* An instance that has no dict yet keeps its values behind itself: capacity, size, embedded, valid, then the values. */
static bool values_inline(struct py_process *p, uint64_t object, uint64_t type, uint64_t *values)
{
	uint64_t size;
	uint8_t head[4];
	if (!mem_read_u64(p->mem, type + p->layout.type_size, &size) || size > INT32_MAX ||
		!mem_read(p->mem, object + size, head, sizeof head) || head[3] != 1)
		return false;
	*values = object + size + p->layout.dict_values_header;
	return true;
}

/* The values of an instance beside the keys its class shares; *values 0 when it has a dict instead. */
static bool instance_storage(struct py_process *p, uint64_t object, uint64_t type, uint64_t flags,
	uint64_t *values, uint64_t *dict)
{
	const struct py_layout *l = &p->layout;
	uint64_t words[2]; /* at -32 and -24 */
	*values = *dict = 0;
	if (l->attrs == ATTRS_INLINE) {
		if (!mem_read_u64(p->mem, object - l->dict_before, dict))
			return false;
		return *dict != 0 || ((flags & INLINE_VALUES) && values_inline(p, object, type, values));
	}
	if (!mem_read(p->mem, object - 32, words, sizeof words))
		return false;
	if (l->attrs == ATTRS_VALUES_THEN_DICT) {
		*values = words[0];
		*dict = words[1];
	} else if (words[1] & 1) {
		*values = words[1] + 1;
	} else {
		*dict = words[1];
	}
	return true;
}

bool attr_get(struct py_process *p, uint64_t object, const char *name, uint64_t *value)
{
	const struct py_layout *l = &p->layout;
	uint64_t type, flags, keys = 0, values = 0, dict = 0;
	int64_t dict_offset;
	if (!addr_plausible(object) || !mem_read_u64(p->mem, object + l->object_type, &type) ||
		!addr_plausible(type) || !mem_read_u64(p->mem, type + l->type_flags, &flags) ||
		!mem_read_u64(p->mem, type + l->type_dict_offset, (uint64_t *)&dict_offset))
		return false;
	if (l->attrs != ATTRS_DICT && flags & MANAGED_DICT) {
		if (!instance_storage(p, object, type, flags, &values, &dict))
			return false;
	} else if (dict_offset <= 0 || !mem_read_u64(p->mem, object + (uint64_t)dict_offset, &dict)) {
		return false;
	}
	if (values == 0)
		return dict_get(p, dict, name, value);
	struct entries e;
	bool found =
		mem_read_u64(p->mem, type + l->type_cached_keys, &keys) && entries_read(p, keys, values, &e);
	if (found) {
		found = entries_find(p, &e, name, value);
		entries_clear(&e);
	}
	return found;
}

bool set_members(struct py_process *p, uint64_t set, size_t max, uint64_t **members, size_t *count)
{
	const struct py_layout *l = &p->layout;
	uint64_t mask, table;
	*members = NULL;
	*count = 0;
	if (!addr_plausible(set) || !mem_read_u64(p->mem, set + l->set_mask, &mask) ||
		!mem_read_u64(p->mem, set + l->set_table, &table) || mask >= SET_SLOTS_MAX ||
		!addr_plausible(table))
		return false;
	size_t slots = (size_t)mask + 1;
	uint64_t(*entries)[2] = xcalloc(slots, sizeof *entries); /* key, hash */
	bool ok = mem_read(p->mem, table, entries, slots * sizeof *entries);
	*members = xcalloc(MIN(slots, max) + 1, sizeof **members);
	for (size_t i = 0; ok && i < slots && *count < max; i++) {
		bool removed = entries[i][1] == UINT64_MAX; /* the mark of a deleted entry: hash -1 */
		if (entries[i][0] != 0 && !removed)
			(*members)[(*count)++] = entries[i][0];
	}
	free(entries);
	return ok;
}

bool int_read(struct py_process *p, uint64_t addr, uint64_t *value)
{
	const struct py_layout *l = &p->layout;
	uint64_t size;
	uint32_t digits[3] = { 0 };
	if (object_kind(p, addr) != TYPE_INT || !mem_read_u64(p->mem, addr + l->integer_size, &size))
		return false;
	uint64_t count = l->ints == INT_SIGNED_SIZE ? size : size >> 3;
	bool negative = l->ints == INT_TAGGED_SIZE && (size & 3) == 2;
	if (count > ARRAY_LEN(digits) || negative ||
		!mem_read(p->mem, addr + l->integer_digits, digits, count * 4))
		return false;
	*value = digits[0] | (uint64_t)digits[1] << 30 | (uint64_t)digits[2] << 60;
	return digits[2] < 16;
}

bool module_dict(struct py_process *p, uint64_t interp, const char *name, uint64_t *dict)
{
	uint64_t modules, module;
	return mem_read_u64(p->mem, interp + p->layout.interp_modules, &modules) &&
	       dict_get(p, modules, name, &module) && addr_plausible(module) &&
	       mem_read_u64(p->mem, module + p->layout.module_dict, dict) && addr_plausible(*dict);
}
