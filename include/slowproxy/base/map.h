/* base/map.h - from a 64-bit key to a 64-bit value: open addressing, grows by doubling. Key 0 is a key like any other. */
#ifndef SLOWPROXY_BASE_MAP_H
#define SLOWPROXY_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
	uint64_t key;
	uint64_t value;
	uint8_t state; /* 0 free, 1 used, 2 removed */
};

/* Zero-initialise to begin. */
struct map {
	struct map_slot *slots;
	size_t capacity; /* 0 or a power of two */
	size_t used;     /* live entries */
	size_t filled;   /* live and removed entries */
};

void map_clear(struct map *m); /* frees all; m can be used again */
void map_put(struct map *m, uint64_t key, uint64_t value);
bool map_get(const struct map *m, uint64_t key, uint64_t *value);
bool map_remove(struct map *m, uint64_t key);
/* Iterates: start with *at = 0; false when there are no more. The map must not change meanwhile. */
bool map_next(const struct map *m, size_t *at, uint64_t *key, uint64_t *value);

/* A good hash of bytes into 64 bits, for keys that are not numbers (FNV-1a and a final mix; not for hostile input
 * without a compare of the real bytes). */
uint64_t hash_bytes(const void *bytes, size_t len);

#endif
