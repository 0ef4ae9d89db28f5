/* files.c - profile files come and, oldest first, go.
 *
 * A file is written under a temporary name and then renamed: who sees a name sees a whole file. Only names of our own form
 * are ever removed. Another slowproxy may share the directory: a file that is gone already is no error.
 */
#include "files.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/str.h>

#define TEMPORARY ".tmp"

/* Each letter of the form stands for a class of bytes: d digit, x hex digit, others for themselves. */
static const char name_form[] = "ddddddddTdddddd.dddZ-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
static const char *const suffixes[] = { ".html", ".collapsed.txt" };

static bool is_ours(const char *name, bool *temporary)
{
	for (const char *form = name_form; *form != '\0'; form++, name++) {
		unsigned char c = (unsigned char)*name;
		bool fits = *form == 'd'   ? isdigit(c)
			    : *form == 'x' ? isxdigit(c)
					   : c == (unsigned char)*form;
		if (!fits)
			return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		size_t len = strlen(suffixes[i]);
		if (strncmp(name, suffixes[i], len) != 0)
			continue;
		*temporary = strcmp(name + len, TEMPORARY) == 0;
		return *temporary || name[len] == '\0';
	}
	return false;
}

static int by_name(const void *a, const void *b)
{
	const struct kept_file *x = a, *y = b;
	return strcmp(x->name, y->name);
}

static void keep(struct files *f, const char *name, uint64_t bytes)
{
	f->kept = array_grow(f->kept, &f->capacity, f->count, sizeof *f->kept);
	struct kept_file *file = &f->kept[f->count++];
	str_copy(file->name, sizeof file->name, name, strlen(name));
	file->bytes = bytes;
	f->bytes += bytes;
}

static void scan(struct files *f, DIR *dir)
{
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		struct stat st;
		bool temporary;
		if (!is_ours(e->d_name, &temporary) ||
			fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
			continue;
		if (temporary) /* of a writer that was killed */
			unlinkat(dirfd(dir), e->d_name, 0);
		else
			keep(f, e->d_name, (uint64_t)st.st_size);
	}
	if (f->count != 0)
		qsort(f->kept, f->count, sizeof *f->kept, by_name);
}

void files_init(struct files *f, const char *directory, uint64_t max_bytes)
{
	*f = (struct files){ .directory = directory != NULL ? directory : "", .max_bytes = max_bytes };
	if (f->directory[0] == '\0')
		return;
	mkdir(f->directory, 0750); /* its parent is there, or the first file says what is missing */
	DIR *dir = opendir(f->directory);
	if (dir == NULL)
		return;
	scan(f, dir);
	closedir(dir);
}

void files_clear(struct files *f)
{
	free(f->kept);
	*f = (struct files){ 0 };
}

void files_name_new(char name[FILES_NAME_BYTES], char id[FILES_ID_BYTES], uint64_t wall_ns)
{
	uint8_t random[16];
	random_bytes(random, sizeof random);
	random[6] = (uint8_t)((random[6] & 0x0f) | 0x40); /* a UUID of version 4, without its hyphens */
	random[8] = (uint8_t)((random[8] & 0x3f) | 0x80);
	str_hex(id, random, sizeof random);

	time_t seconds = (time_t)(wall_ns / NS_PER_S);
	struct tm utc;
	gmtime_r(&seconds, &utc);
	char stamp[32];
	strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%S", &utc);
	snprintf(name, FILES_NAME_BYTES, "%s.%03uZ-%s", stamp, (unsigned)(wall_ns / NS_PER_MS % 1000), id);
}

/* Removes the oldest until `more` bytes fit below the bound. */
static void make_room(struct files *f, int dir, uint64_t more)
{
	size_t gone = 0;
	for (; gone < f->count && f->bytes + more > f->max_bytes; gone++) {
		if (unlinkat(dir, f->kept[gone].name, 0) != 0 && errno != ENOENT)
			break; /* may not be removed: better no new file than no bound */
		f->bytes -= f->kept[gone].bytes;
	}
	f->count -= gone;
	if (gone != 0)
		memmove(f->kept, f->kept + gone, f->count * sizeof *f->kept);
}

static bool write_all(int fd, const char *bytes, size_t len)
{
	while (len != 0) {
		ssize_t n = write(fd, bytes, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

static bool write_new(int dir, const char *final, const struct buf *content)
{
	char temporary[FILES_NAME_BYTES + sizeof TEMPORARY];
	snprintf(temporary, sizeof temporary, "%s" TEMPORARY, final);
	int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return false;
	bool whole = write_all(fd, content->data, content->len);
	int why = errno;
	if (close(fd) != 0 && whole) { /* a network disk may tell only now that it is full */
		whole = false;
		why = errno;
	}
	if (whole && renameat(dir, temporary, dir, final) == 0)
		return true;
	if (whole)
		why = errno;
	unlinkat(dir, temporary, 0);
	errno = why;
	return false;
}

bool files_write(struct files *f, const char *name, const char *suffix, const struct buf *content)
{
	char final[FILES_NAME_BYTES];
	snprintf(final, sizeof final, "%s%s", name, suffix);
	if (content->len > f->max_bytes) {
		errno = EFBIG;
		return false;
	}
	int dir = open(f->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return false;
	make_room(f, dir, content->len);
	bool fits = f->bytes + content->len <= f->max_bytes;
	if (!fits)
		errno = EDQUOT;
	bool written = fits && write_new(dir, final, content);
	int why = errno;
	close(dir);
	errno = why;
	if (written)
		keep(f, final, content->len);
	return written;
}

/* --- reading --- */

static bool read_all(int fd, struct buf *out)
{
	enum { CHUNK_BYTES = 65536 };
	for (;;) {
		buf_reserve(out, CHUNK_BYTES);
		ssize_t n = read(fd, out->data + out->len, CHUNK_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
	}
}

/* Whether the name ends in "-id" and suffix. */
static bool is_of(const char *name, const char *id, const char *suffix)
{
	bool temporary;
	char end[FILES_NAME_BYTES];
	snprintf(end, sizeof end, "-%s%s", id, suffix);
	size_t len = strlen(name), end_len = strlen(end);
	return is_ours(name, &temporary) && !temporary && len > end_len &&
	       strcmp(name + len - end_len, end) == 0;
}

bool files_read(const char *directory, const char *id, const char *suffix, struct buf *out)
{
	DIR *dir = directory[0] != '\0' ? opendir(directory) : NULL;
	int fd = -1;
	if (dir == NULL)
		return false;
	for (struct dirent *e; fd < 0 && (e = readdir(dir)) != NULL;)
		if (is_of(e->d_name, id, suffix))
			fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	closedir(dir);
	bool good = fd >= 0 && read_all(fd, out);
	if (fd >= 0)
		close(fd);
	return good;
}
