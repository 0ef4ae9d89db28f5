/* text.c - long texts made short in the middle, where they are least missed. */
#include "lines.h"

#include <inttypes.h>
#include <string.h>

#define ELLIPSIS "…"

static bool continues_utf8(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

void text_add_shortened(struct buf *out, const char *text, size_t max_bytes)
{
	size_t len = strlen(text), mark = sizeof ELLIPSIS - 1;
	if (len <= max_bytes) {
		buf_add(out, text, len);
		return;
	}
	if (max_bytes < mark)
		return;
	size_t head = (max_bytes - mark) / 2, tail = max_bytes - mark - head;
	for (int i = 0; i < 3 && head > 0 && continues_utf8(text[head]); i++)
		head--;
	for (int i = 0; i < 3 && tail > 0 && continues_utf8(text[len - tail]); i++)
		tail--;
	buf_add(out, text, head);
	buf_add_str(out, ELLIPSIS);
	buf_add(out, text + len - tail, tail);
}

void json_str_shortened(struct json *j, const char *text, size_t max_bytes)
{
	struct buf raw = { 0 }, quoted = { 0 };
	size_t allowed = max_bytes;
	for (;;) { /* escaping may make six bytes of one: shrink until the result fits */
		buf_reset(&raw);
		buf_reset(&quoted);
		buf_reserve(&raw, 0);
		text_add_shortened(&raw, text, allowed);
		struct json alone;
		json_init(&alone, &quoted);
		json_strn(&alone, raw.data, raw.len);
		if (quoted.len - 2 <= max_bytes)
			break;
		allowed = MIN(allowed - 1, raw.len * max_bytes / (quoted.len - 2));
	}
	json_raw(j, quoted.data, quoted.len);
	buf_clear(&raw);
	buf_clear(&quoted);
}

const char *file_base(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

static void add_frame_text(struct buf *out, const struct profile_frame *f)
{
	enum { FRAME_NAME_MAX = 120 };
	size_t from = out->len;
	text_add_shortened(out, f->function, FRAME_NAME_MAX);
	if (f->file[0] != '\0') {
		buf_add_str(out, " (");
		text_add_shortened(out, file_base(f->file), FRAME_NAME_MAX);
		if (f->line != 0)
			buf_printf(out, ":%" PRIu32, f->line);
		buf_add_char(out, ')');
	}
	for (size_t i = from; i < out->len; i++)
		if (out->data[i] == ';')
			out->data[i] = ':';
}

/* The leaf's end gets three quarters of the room, for it is what people look for. */
void stack_add_text(
	struct buf *out, const struct profile *p, const struct profile_stack *stack, size_t max_bytes)
{
	struct buf frame = { 0 }, tail = { 0 }, head = { 0 };
	uint32_t first = 0, last = stack->depth;
	size_t room = max_bytes - sizeof(";" ELLIPSIS ";");

	for (; last > 0; last--) {
		buf_reset(&frame);
		add_frame_text(&frame, &p->frames[stack->frames[last - 1]]);
		if (tail.len + frame.len + 1 > room - room / 4)
			break;
		if (tail.len != 0)
			buf_add_char(&frame, ';');
		if (tail.len != 0)
			buf_add(&frame, tail.data, tail.len);
		struct buf longer = frame;
		frame = tail;
		tail = longer;
	}
	for (; first < last; first++) {
		buf_reset(&frame);
		add_frame_text(&frame, &p->frames[stack->frames[first]]);
		if (head.len + frame.len + 1 + tail.len > room)
			break;
		buf_add(&head, frame.data, frame.len);
		buf_add_char(&head, ';');
	}
	if (head.len != 0)
		buf_add(out, head.data, head.len);
	if (first < last)
		buf_add_str(out, ELLIPSIS ";");
	if (tail.len != 0)
		buf_add(out, tail.data, tail.len);
	buf_clear(&frame);
	buf_clear(&tail);
	buf_clear(&head);
}
