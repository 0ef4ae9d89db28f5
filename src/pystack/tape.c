/* tape.c - recorded reads. A tape may come from anywhere: nothing in it is believed before it was checked. */
#include "tape.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <slowproxy/base/map.h>
#include <slowproxy/base/str.h>

enum { GRANULE = 256, TAPE_RUNS_MAX = 1 << 20, TAPE_FILES_MAX = 1 << 16 };

static const char magic[] = "PYTAPE2\n";

struct tape_file {
	char *name; /* links and the list of threads are files too: "link:exe", "tids" */
	char *text;
	size_t len;
};

struct tape_run {
	uint64_t addr;
	const uint8_t *bytes;
	uint32_t len;
};

struct tape {
	struct mem mem;
	uint8_t *bytes; /* the tape; the runs point into it */
	struct tape_file *files;
	size_t file_count, file_capacity;
	struct tape_run *runs; /* ascending, apart from each other */
	size_t run_count, run_capacity;
};

struct recorder {
	struct mem mem;
	struct mem *inner;
	struct map granules; /* address -> 1 */
	struct tape_file *files;
	size_t file_count, file_capacity;
};

static void add_file(struct tape_file **files, size_t *capacity, size_t *count, const char *name,
	size_t name_len, const void *text, size_t len)
{
	*files = array_grow(*files, capacity, *count, sizeof **files);
	(*files)[(*count)++] = (struct tape_file){ xstrndup(name, name_len), xmalloc(len + 1), len };
	char *copy = (*files)[*count - 1].text;
	memcpy(copy, text, len);
	copy[len] = '\0';
}

static const struct tape_file *find_file(const struct tape_file *files, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(files[i].name, name) == 0)
			return &files[i];
	}
	return NULL;
}

static void free_files(struct tape_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(files[i].name);
		free(files[i].text);
	}
	free(files);
}

/* ---- replay */

static const struct tape_run *find_run(const struct tape *t, uint64_t addr)
{
	size_t lo = 0, hi = t->run_count;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (t->runs[mid].addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 && addr - t->runs[lo - 1].addr < t->runs[lo - 1].len ? &t->runs[lo - 1] : NULL;
}

static size_t tape_read(struct mem *m, const struct mem_part *parts, size_t count)
{
	const struct tape *t = (const struct tape *)m;
	for (size_t i = 0; i < count; i++) {
		const struct tape_run *run = parts[i].len > 0 ? find_run(t, parts[i].addr) : NULL;
		if (parts[i].len == 0)
			continue;
		uint64_t offset = run ? parts[i].addr - run->addr : 0;
		if (run == NULL || run->len - offset < parts[i].len) {
			errno = EFAULT;
			return i;
		}
		memcpy(parts[i].into, run->bytes + offset, parts[i].len);
	}
	return count;
}

static int tape_open(struct mem *m, const char *name)
{
	const struct tape *t = (const struct tape *)m;
	const struct tape_file *f = find_file(t->files, t->file_count, name);
	int fd = f ? memfd_create("tape", MFD_CLOEXEC) : -1;
	if (f == NULL)
		errno = ENOENT;
	if (fd >= 0 && write(fd, f->text, f->len) != (ssize_t)f->len) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool tape_link(struct mem *m, const char *name, char *out, size_t out_bytes)
{
	const struct tape *t = (const struct tape *)m;
	char key[64];
	snprintf(key, sizeof key, "link:%s", name);
	const struct tape_file *f = find_file(t->files, t->file_count, key);
	out[0] = '\0';
	return f != NULL && str_copy(out, out_bytes, f->text, f->len);
}

static size_t tape_tids(struct mem *m, pid_t *out, size_t max)
{
	const struct tape *t = (const struct tape *)m;
	const struct tape_file *f = find_file(t->files, t->file_count, "tids");
	size_t n = 0;
	char *end;
	for (char *at = f ? f->text : NULL; at != NULL && n < max; at = end) {
		long tid = strtol(at, &end, 10);
		if (end == at)
			break;
		out[n++] = (pid_t)tid;
	}
	return n;
}

static bool tape_same(struct mem *m)
{
	(void)m;
	return true;
}

static void tape_close(struct mem *m)
{
	struct tape *t = (struct tape *)m;
	free_files(t->files, t->file_count);
	free(t->runs);
	free(t->bytes);
	free(t);
}

static const struct mem_ops tape_ops = { tape_read, tape_open, tape_link, tape_tids, tape_same, tape_close };

/* What is left of the tape. */
struct rest {
	const uint8_t *at;
	size_t len;
};

static bool take(struct rest *r, void *into, size_t len)
{
	if (r->len < len)
		return false;
	memcpy(into, r->at, len);
	r->at += len;
	r->len -= len;
	return true;
}

static const uint8_t *take_bytes(struct rest *r, size_t len)
{
	const uint8_t *at = r->at;
	if (r->len < len)
		return NULL;
	r->at += len;
	r->len -= len;
	return at;
}

static bool take_files(struct tape *t, struct rest *r)
{
	uint32_t count, len;
	uint16_t name_len;
	const uint8_t *name, *text;
	if (!take(r, &count, sizeof count) || count > TAPE_FILES_MAX)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		if (!take(r, &name_len, sizeof name_len) || (name = take_bytes(r, name_len)) == NULL ||
			!take(r, &len, sizeof len) || (text = take_bytes(r, len)) == NULL)
			return false;
		add_file(&t->files, &t->file_capacity, &t->file_count, (const char *)name, name_len, text,
			len);
	}
	return true;
}

static bool take_runs(struct tape *t, struct rest *r)
{
	uint32_t count;
	uint64_t free_from = 0;
	if (!take(r, &count, sizeof count) || count > TAPE_RUNS_MAX)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		struct tape_run run;
		if (!take(r, &run.addr, sizeof run.addr) || !take(r, &run.len, sizeof run.len) ||
			(run.bytes = take_bytes(r, run.len)) == NULL || run.addr < free_from ||
			run.addr > UINT64_MAX - run.len)
			return false;
		free_from = run.addr + run.len;
		t->runs = array_grow(t->runs, &t->run_capacity, t->run_count, sizeof *t->runs);
		t->runs[t->run_count++] = run;
	}
	return true;
}

struct mem *mem_tape(const void *bytes, size_t len)
{
	struct tape *t = xcalloc(1, sizeof *t);
	char head[sizeof magic - 1];
	uint32_t pid = 0;
	t->mem.ops = &tape_ops;
	t->bytes = xmalloc(len + 1);
	memcpy(t->bytes, bytes, len);
	struct rest r = { t->bytes, len };
	if (!take(&r, head, sizeof head) || memcmp(head, magic, sizeof head) != 0 ||
		!take(&r, &pid, sizeof pid) || !take_files(t, &r) || !take_runs(t, &r)) {
		tape_close(&t->mem);
		return NULL;
	}
	t->mem.pid = (pid_t)pid;
	return &t->mem;
}

/* ---- recording */

static size_t recorder_read(struct mem *m, const struct mem_part *parts, size_t count)
{
	struct recorder *r = (struct recorder *)m;
	size_t n = mem_read_parts(r->inner, parts, count);
	for (size_t i = 0; i < n; i++) {
		uint64_t end = parts[i].addr + parts[i].len;
		for (uint64_t at = parts[i].addr & ~(uint64_t)(GRANULE - 1); at < end; at += GRANULE)
			map_put(&r->granules, at, 1);
	}
	return n;
}

static void remember_file(struct recorder *r, const char *name, const void *text, size_t len)
{
	if (find_file(r->files, r->file_count, name) == NULL)
		add_file(&r->files, &r->file_capacity, &r->file_count, name, strlen(name), text, len);
}

static int recorder_open(struct mem *m, const char *name)
{
	struct recorder *r = (struct recorder *)m;
	enum { FILE_BYTES_MAX = 1 << 20 };
	char *text = xmalloc(FILE_BYTES_MAX);
	if (mem_file(r->inner, name, text, FILE_BYTES_MAX))
		remember_file(r, name, text, strlen(text));
	free(text);
	return r->inner->ops->open(r->inner, name);
}

static bool recorder_link(struct mem *m, const char *name, char *out, size_t out_bytes)
{
	struct recorder *r = (struct recorder *)m;
	char key[64];
	bool ok = r->inner->ops->link(r->inner, name, out, out_bytes);
	snprintf(key, sizeof key, "link:%s", name);
	if (ok)
		remember_file(r, key, out, strlen(out));
	return ok;
}

static size_t recorder_tids(struct mem *m, pid_t *out, size_t max)
{
	struct recorder *r = (struct recorder *)m;
	struct buf text = { 0 };
	size_t n = r->inner->ops->tids(r->inner, out, max);
	for (size_t i = 0; i < n; i++)
		buf_printf(&text, "%d ", (int)out[i]);
	if (n > 0)
		remember_file(r, "tids", text.data, text.len);
	buf_clear(&text);
	return n;
}

static bool recorder_same(struct mem *m)
{
	struct recorder *r = (struct recorder *)m;
	return r->inner->ops->same(r->inner);
}

static void recorder_close(struct mem *m)
{
	struct recorder *r = (struct recorder *)m;
	r->inner->ops->close(r->inner);
	map_clear(&r->granules);
	free_files(r->files, r->file_count);
	free(r);
}

static const struct mem_ops recorder_ops = { recorder_read, recorder_open, recorder_link, recorder_tids,
	recorder_same, recorder_close };

struct mem *mem_recorder(struct mem *inner)
{
	struct recorder *r = xcalloc(1, sizeof *r);
	r->mem.ops = &recorder_ops;
	r->mem.pid = inner->pid;
	r->inner = inner;
	return &r->mem;
}

static int by_address(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void save_files(const struct recorder *r, struct buf *out)
{
	uint32_t count = (uint32_t)r->file_count;
	buf_add(out, &count, sizeof count);
	for (size_t i = 0; i < r->file_count; i++) {
		uint16_t name_len = (uint16_t)strlen(r->files[i].name);
		uint32_t len = (uint32_t)r->files[i].len;
		buf_add(out, &name_len, sizeof name_len);
		buf_add(out, r->files[i].name, name_len);
		buf_add(out, &len, sizeof len);
		buf_add(out, r->files[i].text, len);
	}
}

void mem_recorder_save(struct mem *recorder, struct buf *out)
{
	struct recorder *r = (struct recorder *)recorder;
	uint64_t *granules = xcalloc(r->granules.used + 1, sizeof *granules), value;
	uint32_t pid = (uint32_t)r->mem.pid, runs = 0;
	size_t count = 0, slot = 0;
	while (map_next(&r->granules, &slot, &granules[count], &value))
		count++;
	qsort(granules, count, sizeof *granules, by_address);
	buf_add(out, magic, sizeof magic - 1);
	buf_add(out, &pid, sizeof pid);
	save_files(r, out);
	size_t runs_at = out->len;
	buf_add(out, &runs, sizeof runs);
	for (size_t i = 0, end; i < count; i = end) {
		for (end = i + 1; end < count && granules[end] == granules[end - 1] + GRANULE;)
			end++;
		uint32_t len = (uint32_t)((end - i) * GRANULE);
		uint8_t *bytes = xcalloc(1, len);
		if (mem_read(r->inner, granules[i], bytes, len)) {
			buf_add(out, &granules[i], sizeof granules[i]);
			buf_add(out, &len, sizeof len);
			buf_add(out, bytes, len);
			runs++;
		}
		free(bytes);
	}
	memcpy(out->data + runs_at, &runs, sizeof runs);
	free(granules);
}
