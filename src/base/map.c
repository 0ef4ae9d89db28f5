/* map.c - open addressing with linear probing; the key is mixed, so pointers and counters spread well. */
#include <slowproxy/base/map.h>

#include <stdlib.h>

#include <slowproxy/base/mem.h>

enum { FREE, USED, REMOVED };

static uint64_t mix(uint64_t key)
{
	key ^= key >> 32;
	key *= UINT64_C(0xd6e8feb86659fd93);
	key ^= key >> 32;
	return key;
}

/* The slot that holds key, or the first slot where it may be put; capacity must not be 0. */
static struct map_slot *find(const struct map *m, uint64_t key)
{
	struct map_slot *reusable = NULL;
	for (size_t i = mix(key);; i++) {
		struct map_slot *slot = &m->slots[i & (m->capacity - 1)];
		if (slot->state == FREE)
			return reusable != NULL ? reusable : slot;
		if (slot->state == REMOVED && reusable == NULL)
			reusable = slot;
		if (slot->state == USED && slot->key == key)
			return slot;
	}
}

static void rehash(struct map *m, size_t capacity)
{
	struct map old = *m;
	*m = (struct map){ .slots = xcalloc(capacity, sizeof *m->slots), .capacity = capacity };
	for (size_t i = 0; i < old.capacity; i++)
		if (old.slots[i].state == USED)
			map_put(m, old.slots[i].key, old.slots[i].value);
	free(old.slots);
}

void map_clear(struct map *m)
{
	free(m->slots);
	*m = (struct map){ 0 };
}

void map_put(struct map *m, uint64_t key, uint64_t value)
{
	if (m->filled * 4 >= m->capacity * 3)
		rehash(m, m->used * 2 < m->capacity / 2 + 1 ? MAX(m->capacity, 16) : m->capacity * 2);
	struct map_slot *slot = find(m, key);
	if (slot->state != USED) {
		m->used++;
		m->filled += slot->state == FREE;
	}
	*slot = (struct map_slot){ key, value, USED };
}

bool map_get(const struct map *m, uint64_t key, uint64_t *value)
{
	if (m->capacity == 0)
		return false;
	const struct map_slot *slot = find(m, key);
	if (slot->state != USED)
		return false;
	*value = slot->value;
	return true;
}

bool map_remove(struct map *m, uint64_t key)
{
	if (m->capacity == 0)
		return false;
	struct map_slot *slot = find(m, key);
	if (slot->state != USED)
		return false;
	slot->state = REMOVED;
	m->used--;
	return true;
}

bool map_next(const struct map *m, size_t *at, uint64_t *key, uint64_t *value)
{
	for (; *at < m->capacity; (*at)++) {
		const struct map_slot *slot = &m->slots[*at];
		if (slot->state == USED) {
			*key = slot->key;
			*value = slot->value;
			(*at)++;
			return true;
		}
	}
	return false;
}

uint64_t hash_bytes(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return mix(h);
}
