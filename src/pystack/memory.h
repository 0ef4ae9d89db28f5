/* memory.h - how the bytes of a process and the files of its /proc are read; a small table of functions with twins.
 *
 *   live    process_vm_readv, or /proc/PID/mem where that is refused
 *   tape    recorded reads, replayed without any process          (tape.h)
 *   faulty  another memory that fails or tears at read n          (faulty.h)
 *
 * Foreign memory is a rumour: a read may fail at any time, and what it says may be half of two truths.
 */
#ifndef PYSTACK_MEMORY_H
#define PYSTACK_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <slowproxy/base/mem.h>

struct mem_part {
	uint64_t addr;
	void *into;
	size_t len;
};

struct mem;
struct mem_ops {
	/* Reads the parts in order; returns how many, from the first, were read whole. errno says why the next was not. */
	size_t (*read)(struct mem *m, const struct mem_part *parts, size_t count);
	/* Opens a file of /proc/PID ("maps", "task/12/stat") for pread; -1 and errno. */
	int (*open)(struct mem *m, const char *name);
	/* Reads a link of /proc/PID ("exe") as text; false and errno. */
	bool (*link)(struct mem *m, const char *name, char *out, size_t out_bytes);
	/* The native threads, as our pid namespace knows them; returns how many were written. */
	size_t (*tids)(struct mem *m, pid_t *out, size_t max);
	/* Is it still the same program image: not ended, not exec'ed, not another process under this pid? */
	bool (*same)(struct mem *m);
	void (*close)(struct mem *m);
};

struct mem {
	const struct mem_ops *ops;
	pid_t pid;
	uint64_t calls; /* reads made so far; a batch counts once */
};

/* Opens the memory of a living process; NULL and errno (ESRCH, EACCES, EPERM) when it may not be read. */
struct mem *mem_live(pid_t pid);

size_t mem_read_parts(struct mem *m, const struct mem_part *parts, size_t count);
MUST_CHECK bool mem_read(struct mem *m, uint64_t addr, void *into, size_t len);
MUST_CHECK bool mem_read_u64(struct mem *m, uint64_t addr, uint64_t *value);
/* Reads what can be read: a part that fails is filled with zeroes and its len becomes 0. Returns how many were read. */
size_t mem_read_each(struct mem *m, struct mem_part *parts, size_t count);
/* Reads a whole small file of /proc/PID as text; false and errno. out is always terminated. */
MUST_CHECK bool mem_file(struct mem *m, const char *name, char *out, size_t out_bytes);

/* Could this be an object's address at all? */
static inline bool addr_plausible(uint64_t addr)
{
	return (addr & 7) == 0 && addr > 0xffff && addr < UINT64_C(1) << 47;
}

static inline uint64_t word_at(const void *bytes, size_t offset)
{
	uint64_t w;
	__builtin_memcpy(&w, (const char *)bytes + offset, sizeof w);
	return w;
}

static inline int32_t int_at(const void *bytes, size_t offset)
{
	int32_t i;
	__builtin_memcpy(&i, (const char *)bytes + offset, sizeof i);
	return i;
}

#endif
