/* beat.c - regular instants with a little jitter. */
#include <slowproxy/base/beat.h>

void beat_init(struct beat *b, uint64_t period_ns)
{
	*b = (struct beat){ .period_ns = period_ns, .random = 2463534242u };
}

void beat_begin(struct beat *b, uint64_t now_ns)
{
	b->at_ns = b->due_ns = now_ns;
}

/* xorshift: against aliasing, not against people. */
static uint32_t random_next(struct beat *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 17;
	b->random ^= b->random << 5;
	return b->random;
}

void beat_next(struct beat *b, uint64_t period_ns, uint64_t now_ns)
{
	b->period_ns = period_ns;
	b->at_ns += period_ns;
	if (b->at_ns <= now_ns) {
		uint64_t missed = (now_ns - b->at_ns) / period_ns + 1;
		b->missed += missed;
		b->at_ns += missed * period_ns;
	}
	uint64_t jitter = period_ns / 5;
	b->due_ns = b->at_ns - jitter / 2 + (jitter != 0 ? random_next(b) % jitter : 0);
}
