/* text.c - Python str to UTF-8: one, two or four bytes a character, by its kind. */
#include "text.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD_BYTES = TEXT_HEAD_BYTES_MAX, CHARS_MAX = 4096 };

/* A str as its head tells it. */
struct shape {
	uint64_t data;
	uint32_t chars, width; /* bytes a character: 1, 2, 4 */
};

static bool shape_of(struct py_process *p, uint64_t addr, const uint8_t *head, struct shape *out)
{
	const struct py_layout *l = &p->layout;
	if (!type_is_text(p, word_at(head, l->object_type)))
		return false;
	int64_t length = (int64_t)word_at(head, l->text_length);
	uint32_t state = (uint32_t)int_at(head, l->text_state);
	state >>= l->text_kind_shift;
	uint32_t kind = state & 7, compact = state >> 3 & 1, ascii = state >> 4 & 1;
	if (!compact || length < 0 || length > INT32_MAX || (kind != 1 && kind != 2 && kind != 4))
		return false;
	*out = (struct shape){ addr + (ascii ? l->text_ascii_data : l->text_wide_data),
		(uint32_t)MIN(length, CHARS_MAX), kind };
	return true;
}

static size_t utf8_put(char *out, uint32_t c)
{
	if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		c = 0xfffd;
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	static const uint8_t lead[] = { 0, 0xc0, 0xe0, 0xf0 };
	for (size_t i = more; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 63));
	out[0] = (char)(lead[more] | c);
	return more + 1;
}

static uint32_t char_at(const uint8_t *data, uint32_t width, uint32_t i)
{
	uint16_t half;
	uint32_t whole;
	if (width == 1)
		return data[i];
	if (width == 2) {
		memcpy(&half, data + 2ul * i, sizeof half);
		return half;
	}
	memcpy(&whole, data + 4ul * i, sizeof whole);
	return whole;
}

static void to_utf8(const uint8_t *data, const struct shape *s, char *out, size_t out_bytes)
{
	size_t len = 0;
	char one[4];
	for (uint32_t i = 0; i < s->chars; i++) {
		size_t n = utf8_put(one, char_at(data, s->width, i));
		if (len + n + 1 > out_bytes)
			break;
		memcpy(out + len, one, n);
		len += n;
	}
	out[len] = '\0';
}

void texts_read(struct py_process *p, struct text *texts, size_t count)
{
	struct mem_part *parts = xcalloc(count + 1, sizeof *parts);
	struct shape *shapes = xcalloc(count + 1, sizeof *shapes);
	uint8_t *heads = xcalloc(count + 1, HEAD_BYTES);
	size_t bytes = 0;
	/* Every str is at least as long as the head of an ASCII one; the fields we need lie in it. */
	for (size_t i = 0; i < count; i++) {
		bool sane = addr_plausible(texts[i].addr);
		parts[i] = (struct mem_part){ sane ? texts[i].addr : 0, heads + i * HEAD_BYTES,
			p->layout.text_ascii_data };
	}
	mem_read_each(p->mem, parts, count);
	for (size_t i = 0; i < count; i++) {
		texts[i].out[0] = '\0';
		texts[i].ok = shape_of(p, texts[i].addr, heads + i * HEAD_BYTES, &shapes[i]);
		bytes += (size_t)shapes[i].chars * shapes[i].width;
	}
	uint8_t *data = xmalloc(bytes + 1);
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		parts[i] = (struct mem_part){ shapes[i].data, data + at,
			(size_t)shapes[i].chars * shapes[i].width };
		at += parts[i].len;
	}
	mem_read_each(p->mem, parts, count);
	for (size_t i = 0; i < count; i++) {
		texts[i].ok &= parts[i].len > 0 || shapes[i].chars == 0;
		if (texts[i].ok)
			to_utf8(parts[i].into, &shapes[i], texts[i].out, texts[i].out_bytes);
	}
	free(data);
	free(heads);
	free(shapes);
	free(parts);
}

bool text_read(struct py_process *p, uint64_t addr, char *out, size_t out_bytes)
{
	struct text t = { addr, out, out_bytes, false };
	texts_read(p, &t, 1);
	return t.ok;
}
