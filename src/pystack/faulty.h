/* faulty.h - another memory that misbehaves: what a dying or racing process does to us, made repeatable. */
#ifndef PYSTACK_FAULTY_H
#define PYSTACK_FAULTY_H

#include "memory.h"

enum fault {
	FAULT_NONE,
	FAULT_FAIL_AT,   /* read number `at` fails */
	FAULT_FAIL_FROM, /* it and all after it: the process ended */
	FAULT_NOISE_AT,  /* read number `at` is all noise */
	FAULT_ZERO_AT,   /* or all zeroes */
	FAULT_FLIPS      /* every so often (1 in `at`) a word of what was read is another one */
};

/* Takes inner. Reads are counted from 0. */
struct mem *mem_faulty(struct mem *inner, enum fault fault, uint64_t at, uint64_t seed);

#endif
