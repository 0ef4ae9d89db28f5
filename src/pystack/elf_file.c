/* elf_file.c - where _PyRuntime lies in an image that does not export it: asked of the file, since symbols that are not
 * exported and the names of sections are not in memory.
 *
 *   .symtab says it by name; stripped, the section .PyRuntime holds nothing else
 *
 * The file may lie in another mount namespace, or be deleted or replaced: it is opened through /proc/PID, and believed only
 * when it is the very file that is mapped.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "elf_image.h"

enum { SECTIONS_MAX = 256, NAMES_BYTES_MAX = 1 << 16, SYMBOLS_MAX = 1 << 20, STRINGS_BYTES_MAX = 64 << 20 };

struct file {
	int fd;
	Elf64_Ehdr head;
	Elf64_Shdr sections[SECTIONS_MAX];
	size_t count;
	char *names; /* of sections */
	uint64_t bias;
};

static bool read_at(int fd, void *into, size_t bytes, uint64_t at)
{
	return pread(fd, into, bytes, (off_t)at) == (ssize_t)bytes;
}

/* A part of the file, one byte longer and ended by zero; NULL when it cannot be read. */
static char *read_part(const struct file *f, const Elf64_Shdr *s, size_t max)
{
	if (s->sh_size == 0 || s->sh_size > max)
		return NULL;
	char *bytes = xmalloc(s->sh_size + 1);
	bytes[s->sh_size] = '\0';
	if (read_at(f->fd, bytes, s->sh_size, s->sh_offset))
		return bytes;
	free(bytes);
	return NULL;
}

static int open_image(struct mem *m, const struct image *image)
{
	char name[4200];
	struct stat st;
	snprintf(name, sizeof name, "map_files/%lx-%lx", image->first_lo, image->first_hi);
	int fd = m->ops->open(m, image->is_exe ? "exe" : name);
	if (fd < 0 && !image->is_exe) {
		snprintf(name, sizeof name, "root%s", image->path);
		fd = m->ops->open(m, name);
	}
	if (fd >= 0 && (fstat(fd, &st) != 0 || (!image->is_exe && st.st_ino != image->inode))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool read_headers(struct file *f, uint64_t base)
{
	const Elf64_Ehdr *h = &f->head;
	Elf64_Phdr program;
	if (!read_at(f->fd, &f->head, sizeof f->head, 0) || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 ||
		h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_shentsize != sizeof f->sections[0] ||
		h->e_shnum == 0 || h->e_shnum > SECTIONS_MAX || h->e_shstrndx >= h->e_shnum ||
		h->e_phentsize != sizeof program)
		return false;
	f->count = h->e_shnum;
	for (unsigned i = 0; h->e_type != ET_EXEC && i < h->e_phnum; i++) {
		if (!read_at(f->fd, &program, sizeof program, h->e_phoff + i * sizeof program))
			return false;
		if (program.p_type == PT_LOAD && program.p_offset == 0)
			f->bias = base - program.p_vaddr;
	}
	if (!read_at(f->fd, f->sections, f->count * sizeof f->sections[0], h->e_shoff))
		return false;
	f->names = read_part(f, &f->sections[h->e_shstrndx], NAMES_BYTES_MAX);
	return f->names != NULL;
}

static const Elf64_Shdr *section_named(const struct file *f, const char *name)
{
	uint64_t bytes = f->sections[f->head.e_shstrndx].sh_size;
	for (size_t i = 0; i < f->count; i++) {
		if (f->sections[i].sh_name < bytes && strcmp(f->names + f->sections[i].sh_name, name) == 0)
			return &f->sections[i];
	}
	return NULL;
}

/* The symbol of that name in .symtab. */
static bool find_symbol(const struct file *f, const char *name, struct elf_symbol *out)
{
	const Elf64_Shdr *table = section_named(f, ".symtab");
	if (table == NULL || table->sh_link >= f->count)
		return false;
	const Elf64_Shdr *texts = &f->sections[table->sh_link];
	Elf64_Sym *symbols = (Elf64_Sym *)(void *)read_part(f, table, SYMBOLS_MAX * sizeof *symbols);
	char *strings = read_part(f, texts, STRINGS_BYTES_MAX);
	bool found = false;
	for (size_t i = 0; symbols && strings && !found && i < table->sh_size / sizeof *symbols; i++) {
		found = symbols[i].st_shndx != SHN_UNDEF && symbols[i].st_name < texts->sh_size &&
			strcmp(strings + symbols[i].st_name, name) == 0;
		if (found)
			*out = (struct elf_symbol){ symbols[i].st_value + f->bias, symbols[i].st_size };
	}
	free(strings);
	free(symbols);
	return found;
}

bool elf_file_runtime(struct mem *m, const struct image *image, struct elf_symbol *runtime)
{
	struct file *f = xcalloc(1, sizeof *f);
	const Elf64_Shdr *section;
	f->fd = open_image(m, image);
	bool found = f->fd >= 0 && read_headers(f, image->base);
	if (found && !find_symbol(f, "_PyRuntime", runtime)) {
		section = section_named(f, ".PyRuntime");
		found = section != NULL && section->sh_addr != 0;
		if (found)
			*runtime = (struct elf_symbol){ section->sh_addr + f->bias, section->sh_size };
	}
	if (f->fd >= 0)
		close(f->fd);
	free(f->names);
	free(f);
	return found;
}
