/* maps.c - /proc/PID/maps, read once. */
#include "maps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slowproxy/base/buf.h>

enum { MAPS_BYTES_MAX = 16 << 20 };

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static struct image *image_of(struct maps *maps, uint64_t base, const char *path)
{
	for (size_t i = maps->count; i-- > 0;) {
		if (strcmp(maps->images[i].path, path) == 0)
			return &maps->images[i];
	}
	maps->images = array_grow(maps->images, &maps->capacity, maps->count, sizeof *maps->images);
	maps->images[maps->count] = (struct image){ .base = base, .path = xstrdup(path) };
	return &maps->images[maps->count++];
}

static void take_line(struct maps *maps, char *line)
{
	uint64_t lo, hi, offset, inode;
	char rights[8];
	int path_at = 0;
	if (sscanf(line, "%lx-%lx %7s %lx %*s %lu %n", &lo, &hi, rights, &offset, &inode, &path_at) < 5)
		return;
	if (line[path_at] != '[')
		maps->highest = hi;
	if (line[path_at] != '/')
		return;
	struct image *i = image_of(maps, lo - offset, line + path_at);
	i->executable |= strchr(rights, 'x') != NULL;
	if (i->first_hi == 0) {
		i->first_lo = lo;
		i->first_hi = hi;
		i->inode = inode;
	}
	if (strchr(rights, 'w') == NULL)
		return;
	if (i->data_lo == 0)
		i->data_lo = lo;
	i->data_hi = hi;
}

static bool read_all(struct mem *m, const char *name, struct buf *out)
{
	int fd = m->ops->open(m, name);
	if (fd < 0)
		return false;
	ssize_t n = 0;
	do {
		buf_reserve(out, 65536);
		n = pread(fd, out->data + out->len, 65536, (off_t)out->len);
		if (n > 0)
			out->len += (size_t)n;
	} while (n > 0 && out->len < MAPS_BYTES_MAX);
	int error = errno;
	close(fd);
	errno = error;
	return n >= 0;
}

/* The program's path as maps spells it; a deleted file keeps its name there, with the same ending. */
static void mark_exe(struct mem *m, struct maps *maps)
{
	char exe[4096];
	if (!m->ops->link(m, "exe", exe, sizeof exe))
		return;
	for (size_t i = 0; i < maps->count; i++)
		maps->images[i].is_exe = strcmp(maps->images[i].path, exe) == 0;
}

bool maps_read(struct mem *m, struct maps *out)
{
	*out = (struct maps){ 0 };
	struct buf text = { 0 };
	bool ok = read_all(m, "maps", &text);
	if (ok && text.len > 0) {
		text.data[text.len] = '\0';
		char *rest = NULL;
		for (char *line = strtok_r(text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
			take_line(out, line);
		mark_exe(m, out);
	}
	int error = errno;
	buf_clear(&text);
	errno = error;
	return ok;
}

void maps_clear(struct maps *maps)
{
	for (size_t i = 0; i < maps->count; i++)
		free(maps->images[i].path);
	free(maps->images);
	*maps = (struct maps){ 0 };
}

bool image_named_python(const struct image *i)
{
	const char *name = base_name(i->path);
	return strstr(name, "libpython") != NULL || strncmp(name, "python", 6) == 0;
}

static int rank(const struct image *i)
{
	return strstr(base_name(i->path), "libpython") ? 0 : i->is_exe ? 1 : i->executable ? 2 : 3;
}

static int by_rank(const void *a, const void *b)
{
	const struct image *x = a, *y = b;
	int d = rank(x) - rank(y);
	return d ? d : x->base < y->base ? -1 : x->base > y->base;
}

void maps_sort_by_python(struct maps *maps)
{
	if (maps->count > 1)
		qsort(maps->images, maps->count, sizeof *maps->images, by_rank);
}
