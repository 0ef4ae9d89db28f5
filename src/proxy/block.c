/* block.c - traffic lies in blocks of one size, lent to a connection while it has bytes and given back at once.
 *
 *   at[ ....written.... | start ...not parsed... end | ...room... bytes ]
 *        pinned: a half still has to write these
 */
#include "proxy_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { RESTING_MAX = 64 }; /* last in, first out: a quiet proxy touches few of them */

struct block *block_take(struct blocks *pool)
{
	struct block *b = pool->resting;
	pool->in_use++;
	if (b == NULL)
		return xmalloc(sizeof *b + pool->bytes);
	pool->resting = b->next;
	pool->resting_count--;
	return b;
}

void block_give(struct blocks *pool, struct block *b)
{
	assert(pool->in_use > 0);
	pool->in_use--;
	if (pool->resting_count >= RESTING_MAX) {
		free(b);
		return;
	}
	b->next = pool->resting;
	pool->resting = b;
	pool->resting_count++;
}

void blocks_clear(struct blocks *pool)
{
	while (pool->resting != NULL) {
		struct block *b = pool->resting;
		pool->resting = b->next;
		free(b);
	}
	pool->resting_count = 0;
}

/* Moves what is not parsed to the front, unless bytes before it are still to be written. */
static void input_compact(struct input *in)
{
	if (in->pinned || in->start == 0)
		return;
	memmove(in->block->at, in->block->at + in->start, input_len(in));
	in->end -= in->start;
	in->start = 0;
}

enum io_result input_fill(struct input *in, struct blocks *pool, struct stream *from, bool *full)
{
	size_t got;
	if (in->block == NULL) {
		in->block = block_take(pool);
		in->start = in->end = 0;
	}
	input_compact(in);
	*full = in->end == pool->bytes;
	if (*full)
		return IO_AGAIN;
	enum io_result r = stream_read(from, in->block->at + in->end, pool->bytes - in->end, &got);
	in->end += got;
	input_rest(in, pool);
	return r;
}

void input_drop(struct input *in, size_t len)
{
	assert(len <= input_len(in));
	in->start += len;
}

void input_rest(struct input *in, struct blocks *pool)
{
	if (in->block == NULL || in->pinned || input_len(in) != 0)
		return;
	block_give(pool, in->block);
	in->block = NULL;
	in->start = in->end = 0;
}

void input_clear(struct input *in, struct blocks *pool)
{
	if (in->block != NULL)
		block_give(pool, in->block);
	*in = (struct input){ 0 };
}
