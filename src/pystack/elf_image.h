/* elf_image.h - finds exported symbols of a mapped ELF image in the memory of the process, without opening any file.
 *
 * So it does not matter whether the file was deleted, replaced, stripped, or lies in another mount namespace.
 */
#ifndef PYSTACK_ELF_IMAGE_H
#define PYSTACK_ELF_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "maps.h"
#include "memory.h"

struct elf_image {
	uint64_t bias; /* add it to an address of the file */
	uint64_t symbols, strings, buckets, chain;
	uint32_t bucket_count, first_hashed;
	bool old_hash; /* the table of System V, where there is no GNU one */
};

struct elf_symbol {
	uint64_t addr, size;
};

/* Reads the tables of the image at base; false when it is not a 64-bit ELF image with a hash table. */
MUST_CHECK bool elf_open(struct mem *m, uint64_t base, struct elf_image *out);
MUST_CHECK bool elf_find(struct mem *m, const struct elf_image *e, const char *name, struct elf_symbol *out);
/* _PyRuntime of an image that does not export it, from the file (elf_file.c). */
MUST_CHECK bool elf_file_runtime(struct mem *m, const struct image *image, struct elf_symbol *runtime);
/* Is it a 32-bit program? (Only to say so.) */
bool elf_is_32_bit(struct mem *m, uint64_t base);

#endif
