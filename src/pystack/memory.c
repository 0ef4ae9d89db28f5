/* memory.c - the memory of a living process, read from outside while it runs.
 *
 * /proc/PID/mem is opened once and kept: it is bound to the program image, not to the pid. After exec or exit a read
 * of it gives nothing, which is how we know that what we read is still the process we attached to.
 *
 * That file belongs to the process' user: CAP_SYS_PTRACE alone does not open it for another one. /proc/PID/maps is for
 * everybody who may trace, and is bound to the same image: it takes the place of the proof, and process_vm_readv reads.
 */
#include "memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PARTS_PER_CALL = 256 };

struct live {
	struct mem mem;
	int proc_fd;       /* the folder /proc/PID: bound to this process, so its files are never another's */
	int mem_fd;        /* -1: only process_vm_readv reads, and maps_fd is the proof */
	int maps_fd;       /* -1: not needed */
	bool through_file; /* process_vm_readv is refused here, pread of mem_fd is not */
	uint64_t proof;    /* an address that was readable once; 0 none yet */
};

size_t mem_read_parts(struct mem *m, const struct mem_part *parts, size_t count)
{
	m->calls++;
	return m->ops->read(m, parts, count);
}

bool mem_read(struct mem *m, uint64_t addr, void *into, size_t len)
{
	struct mem_part part = { addr, into, len };
	return mem_read_parts(m, &part, 1) == 1;
}

bool mem_read_u64(struct mem *m, uint64_t addr, uint64_t *value)
{
	return mem_read(m, addr, value, sizeof *value);
}

size_t mem_read_each(struct mem *m, struct mem_part *parts, size_t count)
{
	size_t good = 0;
	for (size_t at = 0; at < count;) {
		size_t n = mem_read_parts(m, parts + at, count - at);
		good += n;
		at += n;
		if (at < count) {
			memset(parts[at].into, 0, parts[at].len);
			parts[at++].len = 0;
		}
	}
	return good;
}

bool mem_file(struct mem *m, const char *name, char *out, size_t out_bytes)
{
	out[0] = '\0';
	int fd = m->ops->open(m, name);
	if (fd < 0)
		return false;
	size_t len = 0;
	ssize_t n = 0;
	while (len + 1 < out_bytes && (n = pread(fd, out + len, out_bytes - 1 - len, (off_t)len)) > 0)
		len += (size_t)n;
	out[len] = '\0';
	int error = errno;
	close(fd);
	errno = error;
	return n >= 0;
}

static bool pread_whole(int fd, const struct mem_part *part)
{
	size_t len = 0;
	while (len < part->len) {
		ssize_t n = pread(fd, (char *)part->into + len, part->len - len, (off_t)(part->addr + len));
		if (n <= 0) {
			if (n == 0)
				errno = ESRCH;
			return false;
		}
		len += (size_t)n;
	}
	return true;
}

static size_t read_through_file(struct live *l, const struct mem_part *parts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!pread_whole(l->mem_fd, &parts[i]))
			return i;
	}
	return count;
}

/* One system call; returns whole parts read. */
static size_t read_some(struct live *l, const struct mem_part *parts, size_t count)
{
	struct iovec local[PARTS_PER_CALL], remote[PARTS_PER_CALL];
	for (size_t i = 0; i < count; i++) {
		local[i] = (struct iovec){ parts[i].into, parts[i].len };
		remote[i] = (struct iovec){ (void *)(uintptr_t)parts[i].addr, parts[i].len };
	}
	ssize_t got = process_vm_readv(l->mem.pid, local, count, remote, count, 0);
	if (got < 0)
		return 0;
	size_t whole = 0;
	for (size_t left = (size_t)got; whole < count && parts[whole].len <= left; whole++)
		left -= parts[whole].len;
	if (whole < count)
		errno = EFAULT;
	return whole;
}

static size_t live_read(struct mem *m, const struct mem_part *parts, size_t count)
{
	struct live *l = (struct live *)m;
	size_t done = 0;
	while (done < count && !l->through_file) {
		size_t want = MIN(count - done, (size_t)PARTS_PER_CALL);
		errno = 0;
		size_t n = read_some(l, parts + done, want);
		done += n;
		if (n == want)
			continue;
		/* Refused as such (seccomp, a kernel without the call): the file may still be allowed. */
		if (l->mem_fd < 0 || (errno != EPERM && errno != ENOSYS && errno != EACCES))
			break;
		l->through_file = true;
	}
	if (done < count && l->through_file)
		done += read_through_file(l, parts + done, count - done);
	if (l->proof == 0 && done > 0)
		l->proof = parts[0].addr;
	return done;
}

static int live_open(struct mem *m, const char *name)
{
	return openat(((struct live *)m)->proc_fd, name, O_RDONLY | O_CLOEXEC);
}

static bool live_link(struct mem *m, const char *name, char *out, size_t out_bytes)
{
	ssize_t n = readlinkat(((struct live *)m)->proc_fd, name, out, out_bytes - 1);
	out[n < 0 ? 0 : n] = '\0';
	return n >= 0;
}

static size_t live_tids(struct mem *m, pid_t *out, size_t max)
{
	int fd = openat(((struct live *)m)->proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	DIR *dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return 0;
	}
	size_t n = 0;
	for (struct dirent *e; n < max && (e = readdir(dir)) != NULL;) {
		if (e->d_name[0] >= '0' && e->d_name[0] <= '9')
			out[n++] = (pid_t)strtol(e->d_name, NULL, 10);
	}
	closedir(dir);
	return n;
}

static bool live_same(struct mem *m)
{
	struct live *l = (struct live *)m;
	char byte;
	if (l->mem_fd < 0)
		return pread(l->maps_fd, &byte, 1, 0) == 1;
	return l->proof == 0 || pread(l->mem_fd, &byte, 1, (off_t)l->proof) == 1;
}

static void live_close(struct mem *m)
{
	struct live *l = (struct live *)m;
	if (l->mem_fd >= 0)
		close(l->mem_fd);
	if (l->maps_fd >= 0)
		close(l->maps_fd);
	if (l->proc_fd >= 0)
		close(l->proc_fd);
	free(l);
}

static const struct mem_ops live_ops = { live_read, live_open, live_link, live_tids, live_same, live_close };

/* Asks for a byte that no process has: EFAULT says that the question itself was allowed. */
static bool may_call_readv(pid_t pid)
{
	char byte;
	struct iovec local = { &byte, 1 }, remote = { (void *)(uintptr_t)1, 1 };
	return process_vm_readv(pid, &local, 1, &remote, 1, 0) >= 0 || errno == EFAULT;
}

/* errno says why not. */
static bool open_proof(struct live *l)
{
	l->mem_fd = openat(l->proc_fd, "mem", O_RDONLY | O_CLOEXEC);
	if (l->mem_fd >= 0)
		return true;
	int error = errno;
	if (error == EACCES && may_call_readv(l->mem.pid))
		l->maps_fd = openat(l->proc_fd, "maps", O_RDONLY | O_CLOEXEC);
	errno = error;
	return l->maps_fd >= 0;
}

struct mem *mem_live(pid_t pid)
{
	char path[32];
	snprintf(path, sizeof path, "/proc/%d", (int)pid);
	struct live *l = xcalloc(1, sizeof *l);
	l->mem.ops = &live_ops;
	l->mem.pid = pid;
	l->mem_fd = l->maps_fd = -1;
	l->proc_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l->proc_fd >= 0 && open_proof(l))
		return &l->mem;
	int error = errno == ENOENT ? ESRCH : errno;
	live_close(&l->mem);
	errno = error;
	return NULL;
}
