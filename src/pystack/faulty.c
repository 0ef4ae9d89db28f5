/* faulty.c - another memory that misbehaves on purpose. For tests; the same seed misbehaves in the same way. */
#include "faulty.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct faulty {
	struct mem mem;
	struct mem *inner;
	enum fault fault;
	uint64_t at, random, reads;
};

/* xorshift64: any odd sequence will do. */
static uint64_t next_random(struct faulty *f)
{
	f->random ^= f->random << 13;
	f->random ^= f->random >> 7;
	f->random ^= f->random << 17;
	return f->random;
}

static void make_noise(struct faulty *f, const struct mem_part *part)
{
	uint8_t *bytes = part->into;
	for (size_t i = 0; i < part->len; i++)
		bytes[i] = (uint8_t)next_random(f);
}

/* A plausible wrong word: a pointer that is another one nearby, or nothing at all. */
static void flip_words(struct faulty *f, const struct mem_part *part)
{
	uint8_t *bytes = part->into;
	for (size_t i = 0; i + 8 <= part->len; i += 8) {
		if (next_random(f) % f->at != 0)
			continue;
		uint64_t word;
		memcpy(&word, bytes + i, sizeof word);
		switch (next_random(f) % 4) {
		case 0:
			word = 0;
			break;
		case 1:
			word += (next_random(f) % 64) * 8;
			break;
		case 2:
			word = next_random(f);
			break;
		default:
			memcpy(&word, bytes + next_random(f) % (part->len / 8) * 8, sizeof word);
		}
		memcpy(bytes + i, &word, sizeof word);
	}
}

static size_t faulty_read(struct mem *m, const struct mem_part *parts, size_t count)
{
	struct faulty *f = (struct faulty *)m;
	uint64_t number = f->reads++;
	if ((f->fault == FAULT_FAIL_AT && number == f->at) ||
		(f->fault == FAULT_FAIL_FROM && number >= f->at)) {
		errno = EFAULT;
		return 0;
	}
	size_t n = mem_read_parts(f->inner, parts, count);
	for (size_t i = 0; i < n; i++) {
		if (f->fault == FAULT_NOISE_AT && number == f->at)
			make_noise(f, &parts[i]);
		else if (f->fault == FAULT_ZERO_AT && number == f->at)
			memset(parts[i].into, 0, parts[i].len);
		else if (f->fault == FAULT_FLIPS)
			flip_words(f, &parts[i]);
	}
	return n;
}

static int faulty_open(struct mem *m, const char *name)
{
	struct faulty *f = (struct faulty *)m;
	return f->inner->ops->open(f->inner, name);
}

static bool faulty_link(struct mem *m, const char *name, char *out, size_t out_bytes)
{
	struct faulty *f = (struct faulty *)m;
	return f->inner->ops->link(f->inner, name, out, out_bytes);
}

static size_t faulty_tids(struct mem *m, pid_t *out, size_t max)
{
	struct faulty *f = (struct faulty *)m;
	return f->inner->ops->tids(f->inner, out, max);
}

static bool faulty_same(struct mem *m)
{
	struct faulty *f = (struct faulty *)m;
	return !(f->fault == FAULT_FAIL_FROM && f->reads > f->at) && f->inner->ops->same(f->inner);
}

static void faulty_close(struct mem *m)
{
	struct faulty *f = (struct faulty *)m;
	f->inner->ops->close(f->inner);
	free(f);
}

static const struct mem_ops faulty_ops = { faulty_read, faulty_open, faulty_link, faulty_tids, faulty_same,
	faulty_close };

struct mem *mem_faulty(struct mem *inner, enum fault fault, uint64_t at, uint64_t seed)
{
	struct faulty *f = xcalloc(1, sizeof *f);
	f->mem.ops = &faulty_ops;
	f->mem.pid = inner->pid;
	f->inner = inner;
	f->fault = fault;
	f->at = at;
	f->random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	return &f->mem;
}
