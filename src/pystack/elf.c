/* elf.c - the dynamic symbol table, walked in the memory of the process.
 *
 *   ELF header -> program headers -> PT_DYNAMIC -> symbol table, string table, hash table -> symbol
 */
#include "elf_image.h"

#include <elf.h>
#include <string.h>

enum { HEADERS_MAX = 64, DYNAMIC_MAX = 256, CHAIN_MAX = 4096, NAME_MAX_BYTES = 64 };

static uint32_t gnu_hash(const char *name)
{
	uint32_t h = 5381;
	for (; *name; name++)
		h = h * 33 + (unsigned char)*name;
	return h;
}

/* The older hash, of System V: where a linker makes no other. */
static uint32_t old_hash(const char *name)
{
	uint32_t h = 0;
	for (; *name; name++) {
		h = (h << 4) + (unsigned char)*name;
		h ^= h >> 24 & 0xf0;
		h &= 0xfffffff;
	}
	return h;
}

/* Where the image was moved to, and its dynamic section. */
static bool find_dynamic(struct mem *m, uint64_t base, struct elf_image *e, uint64_t *at, size_t *bytes)
{
	Elf64_Ehdr h;
	Elf64_Phdr headers[HEADERS_MAX];
	if (!mem_read(m, base, &h, sizeof h) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 ||
		h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_phentsize != sizeof headers[0])
		return false;
	size_t count = MIN(h.e_phnum, (size_t)HEADERS_MAX);
	if (!mem_read(m, base + h.e_phoff, headers, count * sizeof headers[0]))
		return false;
	const Elf64_Phdr *first = NULL, *dynamic = NULL;
	for (size_t i = 0; i < count; i++) {
		if (headers[i].p_type == PT_LOAD && headers[i].p_offset == 0)
			first = &headers[i];
		if (headers[i].p_type == PT_DYNAMIC)
			dynamic = &headers[i];
	}
	if (first == NULL || dynamic == NULL)
		return false;
	e->bias = h.e_type == ET_EXEC ? 0 : base - first->p_vaddr;
	*at = dynamic->p_vaddr + e->bias;
	*bytes = dynamic->p_memsz;
	return true;
}

bool elf_open(struct mem *m, uint64_t base, struct elf_image *e)
{
	uint64_t at, hash = 0, older = 0;
	size_t bytes;
	Elf64_Dyn entries[DYNAMIC_MAX];
	*e = (struct elf_image){ 0 };
	if (!find_dynamic(m, base, e, &at, &bytes))
		return false;
	bytes = MIN(bytes, sizeof entries);
	if (!mem_read(m, at, entries, bytes))
		return false;
	for (size_t i = 0; i < bytes / sizeof entries[0] && entries[i].d_tag != DT_NULL; i++) {
		uint64_t value = entries[i].d_un.d_ptr;
		value += value < e->bias ? e->bias : 0; /* glibc relocates these in place, musl does not */
		if (entries[i].d_tag == DT_SYMTAB)
			e->symbols = value;
		else if (entries[i].d_tag == DT_STRTAB)
			e->strings = value;
		else if (entries[i].d_tag == DT_GNU_HASH)
			hash = value;
		else if (entries[i].d_tag == DT_HASH)
			older = value;
	}
	uint32_t head[4];     /* buckets, index of the first hashed symbol, words of the filter, shift */
	if (!hash && older) { /* buckets, symbols; then the buckets, then the chain */
		e->old_hash = true;
		if (!e->symbols || !e->strings || !mem_read(m, older, head, 8) || head[0] == 0)
			return false;
		e->bucket_count = head[0];
		e->buckets = older + 8;
		e->chain = e->buckets + 4ull * head[0];
		return true;
	}
	if (!hash || !e->symbols || !e->strings || !mem_read(m, hash, head, sizeof head) || head[0] == 0)
		return false;
	e->bucket_count = head[0];
	e->first_hashed = head[1];
	e->buckets = hash + sizeof head + 8ull * head[2];
	e->chain = e->buckets + 4ull * head[0];
	return true;
}

static bool symbol_named(
	struct mem *m, const struct elf_image *e, const char *name, uint32_t index, struct elf_symbol *out)
{
	Elf64_Sym s;
	char text[NAME_MAX_BYTES];
	size_t len = strlen(name) + 1;
	if (len > sizeof text || !mem_read(m, e->symbols + index * sizeof s, &s, sizeof s) ||
		s.st_shndx == SHN_UNDEF || !mem_read(m, e->strings + s.st_name, text, len) ||
		memcmp(text, name, len) != 0)
		return false;
	*out = (struct elf_symbol){ s.st_value + e->bias, s.st_size };
	return true;
}

/* A bucket is the first symbol of a chain that ends with symbol 0. */
static bool find_in_old_hash(
	struct mem *m, const struct elf_image *e, const char *name, struct elf_symbol *out)
{
	uint32_t index;
	uint64_t at = e->buckets + 4ull * (old_hash(name) % e->bucket_count);
	for (unsigned steps = 0; steps < CHAIN_MAX && mem_read(m, at, &index, sizeof index) && index != 0;
		steps++) {
		if (symbol_named(m, e, name, index, out))
			return true;
		at = e->chain + 4ull * index;
	}
	return false;
}

bool elf_find(struct mem *m, const struct elf_image *e, const char *name, struct elf_symbol *out)
{
	if (e->old_hash)
		return find_in_old_hash(m, e, name, out);
	uint32_t hash = gnu_hash(name), index, link;
	if (!mem_read(m, e->buckets + 4ull * (hash % e->bucket_count), &index, sizeof index) ||
		index < e->first_hashed)
		return false;
	for (unsigned steps = 0; steps < CHAIN_MAX; steps++, index++) {
		if (!mem_read(m, e->chain + 4ull * (index - e->first_hashed), &link, sizeof link))
			return false;
		if ((link | 1) == (hash | 1) && symbol_named(m, e, name, index, out))
			return true;
		if (link & 1)
			return false;
	}
	return false;
}

bool elf_is_32_bit(struct mem *m, uint64_t base)
{
	unsigned char ident[EI_NIDENT];
	return mem_read(m, base, ident, sizeof ident) && memcmp(ident, ELFMAG, SELFMAG) == 0 &&
	       ident[EI_CLASS] == ELFCLASS32;
}
