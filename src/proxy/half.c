/* half.c - one direction of an exchange.
 *
 *   a batch:  head | chunk line | data | CRLF | tail        all parts may be empty; written with one sendmsg(2)
 *
 * One batch is on its way at a time. Its data stays in the input's block (pinned) until the next batch begins, so that a
 * request can be written again on another connection. While it cannot be written the source is read until the block is
 * full and no further: that is all the memory a slow reader can take.
 */
#include "proxy_private.h"

#include <assert.h>
#include <string.h>

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

/* The parts of the batch from byte `written` on. */
static int half_parts(const struct half *h, struct iovec parts[5])
{
	const struct slice all[5] = {
		{ h->head.data, h->head.len },
		{ h->chunk_line, h->chunk_line_len },
		h->data,
		{ "\r\n", h->chunk_line_len ? 2 : 0 },
		{ h->tail.data, h->tail.len },
	};
	size_t skip = h->written;
	int count = 0;
	for (int i = 0; i < 5; i++) {
		size_t here = MIN(skip, all[i].len);
		skip -= here;
		if (here == all[i].len)
			continue;
		parts[count++] = (struct iovec){ (char *)all[i].at + here, all[i].len - here };
	}
	return count;
}

enum io_result half_flush(struct half *h, struct stream *to)
{
	struct iovec parts[5];
	while (half_pending(h)) {
		size_t written;
		enum io_result r = stream_write(to, parts, half_parts(h, parts), &written);
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
