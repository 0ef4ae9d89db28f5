/* maps.h - /proc/PID/maps, read once: which files are mapped, and where each begins. */
#ifndef PYSTACK_MAPS_H
#define PYSTACK_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"

/* One mapped file. */
struct image {
	uint64_t base;                      /* where its first byte lies, or would lie */
	uint64_t first_lo, first_hi, inode; /* its first mapping, and which file it is */
	uint64_t data_lo, data_hi;          /* from the first to the last byte that may be written; 0: none */
	char *path;
	bool executable; /* some part of it may be run */
	bool is_exe;     /* the program itself */
};

struct maps {
	struct image *images; /* in the order of addresses */
	size_t count, capacity;
	uint64_t highest; /* end of the last mapping: 0 for a kernel thread, or a process that just ended */
};

/* False and errno when the file cannot be read. */
MUST_CHECK bool maps_read(struct mem *m, struct maps *out);
void maps_clear(struct maps *maps);
/* Likeliest to hold Python first: libpython, then the program, then everything else that can be run. */
void maps_sort_by_python(struct maps *maps);
bool image_named_python(const struct image *i);

#endif
