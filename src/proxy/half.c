/* half.c - one direction of an exchange.
 *
 *   a batch:  head | chunk line | data | CRLF | tail        all parts may be empty; written with one call
 *
 * One batch is on its way at a time. Its data stays in the input's block (pinned) until the next batch begins, so that a
 * request can be written again on another connection. While it cannot be written the source is read until the block is
 * full and no further: that is all the memory a slow reader can take.
 */
#include "proxy_private.h"

#include <assert.h>
#include <string.h>

enum { ONE_PIECE_BYTES = 2048 };

void half_begin(struct half *h, struct input *input)
{
	buf_reset(&h->head);
	buf_reset(&h->tail);
	*h = (struct half){ .head = h->head, .tail = h->tail, .input = input, .framing = HTTP_NO_BODY };
}

void half_next_batch(struct half *h)
{
	buf_reset(&h->head);
	buf_reset(&h->tail);
	h->data = (struct slice){ NULL, 0 };
	h->chunk_line_len = 0;
	h->total = h->written = 0;
	h->input->pinned = false;
}

/* Pieces of one batch become contiguous: the second moves down to the end of the first, over framing already parsed. */
void half_add_body(struct half *h, struct slice body)
{
	h->body_bytes += body.len;
	h->input->pinned = true;
	if (h->data.len == 0) {
		h->data = body;
		return;
	}
	char *end = (char *)h->data.at + h->data.len;
	if (end != body.at)
		memmove(end, body.at, body.len);
	h->data.len += body.len;
}

void half_seal(struct half *h, const struct slice *trailers)
{
	bool chunked = h->framing == HTTP_CHUNKED;
	h->chunk_line_len =
		chunked && h->data.len != 0 ? http_write_chunk_size(h->chunk_line, h->data.len) : 0;
	if (chunked && trailers != NULL)
		http_write_last_chunk(&h->tail, *trailers);
	h->written = 0;
	h->total = h->head.len + h->chunk_line_len + h->data.len + (h->chunk_line_len ? 2 : 0) + h->tail.len;
	if (h->total != 0)
		h->batches++;
}

/* A part of the batch, but for the bytes of it that were written already. */
static void part_add(struct iovec *parts, int *count, size_t *written, const char *at, size_t len)
{
	if (*written >= len) {
		*written -= len;
		return;
	}
	parts[(*count)++] = (struct iovec){ (char *)at + *written, len - *written };
	*written = 0;
}

/* The parts of the batch from byte `written` on. */
static int half_parts(const struct half *h, struct iovec parts[5])
{
	size_t written = h->written;
	int count = 0;
	part_add(parts, &count, &written, h->head.data, h->head.len);
	part_add(parts, &count, &written, h->chunk_line, h->chunk_line_len);
	part_add(parts, &count, &written, h->data.at, h->data.len);
	part_add(parts, &count, &written, "\r\n", h->chunk_line_len ? 2 : 0);
	part_add(parts, &count, &written, h->tail.data, h->tail.len);
	return count;
}

/* Several parts become one, in piece. Copying what is small takes less time than the kernel needs to gather it. */
static int half_join(char *piece, struct iovec *parts, int count)
{
	char *end = piece;
	for (int i = 0; i < count; i++) {
		memcpy(end, parts[i].iov_base, parts[i].iov_len);
		end += parts[i].iov_len;
	}
	parts[0] = (struct iovec){ piece, (size_t)(end - piece) };
	return 1;
}

enum io_result half_flush(struct half *h, struct stream *to)
{
	struct iovec parts[5];
	char piece[ONE_PIECE_BYTES];
	while (half_pending(h)) {
		size_t written;
		int count = half_parts(h, parts);
		if (count > 1 && h->total - h->written <= sizeof piece)
			count = half_join(piece, parts, count);
		enum io_result r = stream_write(to, parts, count, &written);
		h->written += written;
		if (r != IO_OK)
			return r;
	}
	return IO_OK;
}

void half_clear(struct half *h)
{
	buf_clear(&h->head);
	buf_clear(&h->tail);
}
