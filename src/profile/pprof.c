/* pprof.c - a profile as Google's pprof and Pyroscope read it: protocol buffers (perftools.profiles.Profile) within gzip.
 *
 * Numbers of fields are those of pprof's profile.proto. Two values a stack: samples, and wall time in nanoseconds. The gzip
 * is of stored blocks: valid for every reader, and no library is needed for a file this small.
 */
#include "fold.h"

#include <stdlib.h>

enum {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE = 2,
	PROFILE_LOCATION = 4,
	PROFILE_FUNCTION = 5,
	PROFILE_STRINGS = 6,
	PROFILE_TIME_NS = 9,
	PROFILE_DURATION_NS = 10,
	PROFILE_PERIOD_TYPE = 11,
	PROFILE_PERIOD = 12,
	PROFILE_DEFAULT_TYPE = 14
};
enum { TYPE_TYPE = 1, TYPE_UNIT = 2 };
enum { SAMPLE_LOCATIONS = 1, SAMPLE_VALUES = 2, SAMPLE_LABEL = 3, LABEL_KEY = 1, LABEL_TEXT = 2 };
enum { LOCATION_ID = 1, LOCATION_LINE = 4, LINE_FUNCTION = 1, LINE_LINE = 2 };
enum { FUNCTION_ID = 1, FUNCTION_NAME = 2, FUNCTION_SYSTEM_NAME = 3, FUNCTION_FILE = 4 };
enum { WIRE_NUMBER = 0, WIRE_BYTES = 2 };

/* The table of texts; its first is "". */
enum { TEXT_SAMPLES = 1, TEXT_COUNT, TEXT_WALL, TEXT_NANOSECONDS, TEXT_THREAD, TEXT_FIXED };
static const char *const fixed_texts[TEXT_FIXED] = {
	[0] = "",
	[TEXT_SAMPLES] = "samples",
	[TEXT_COUNT] = "count",
	[TEXT_WALL] = "wall",
	[TEXT_NANOSECONDS] = "nanoseconds",
	[TEXT_THREAD] = "thread",
};

static void put_varint(struct buf *out, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		buf_add_char(out, (char)(value | 0x80));
	buf_add_char(out, (char)value);
}

static void put_number(struct buf *out, unsigned field, uint64_t value)
{
	put_varint(out, field << 3 | WIRE_NUMBER);
	put_varint(out, value);
}

static void put_bytes(struct buf *out, unsigned field, const char *bytes, size_t len)
{
	put_varint(out, field << 3 | WIRE_BYTES);
	put_varint(out, len);
	if (len != 0)
		buf_add(out, bytes, len);
}

/* Writes the message that was built, and makes room for the next. */
static void put_message(struct buf *out, unsigned field, struct buf *message)
{
	put_bytes(out, field, message->data, message->len);
	buf_reset(message);
}

static void put_type(struct buf *out, unsigned field, uint64_t type, uint64_t unit)
{
	struct buf message = { 0 };
	put_number(&message, TYPE_TYPE, type);
	put_number(&message, TYPE_UNIT, unit);
	put_message(out, field, &message);
	buf_clear(&message);
}

/* Leaf first, as pprof has it; identifiers begin with 1. */
static void put_sample(
	struct buf *out, const struct profile *p, const struct profile_view *view, const struct folded *f)
{
	struct buf sample = { 0 }, part = { 0 };
	const struct profile_stack *s = &p->stacks[f->stack];
	for (uint32_t d = s->depth; d > 0; d--)
		put_varint(&part, s->frames[d - 1] + 1);
	put_message(&sample, SAMPLE_LOCATIONS, &part);
	put_varint(&part, f->count);
	put_varint(&part, f->weight_ns);
	put_message(&sample, SAMPLE_VALUES, &part);
	uint64_t text = TEXT_FIXED + 2 * p->frame_count;
	if (view->lanes) {
		put_number(&part, LABEL_KEY, TEXT_THREAD);
		put_number(&part, LABEL_TEXT, text + f->lane);
		put_message(&sample, SAMPLE_LABEL, &part);
		text += p->lane_count;
	}
	for (size_t i = 0; i < view->label_count; i++, text += 2) {
		put_number(&part, LABEL_KEY, text);
		put_number(&part, LABEL_TEXT, text + 1);
		put_message(&sample, SAMPLE_LABEL, &part);
	}
	put_message(out, PROFILE_SAMPLE, &sample);
	buf_clear(&part);
	buf_clear(&sample);
}

/* Each frame is a location with a function of its own: names and files of frame i are texts 2i and 2i + 1 after the fixed. */
static void put_frame(struct buf *out, const struct profile *p, size_t i, bool no_lines)
{
	struct buf message = { 0 }, line = { 0 };
	put_number(&line, LINE_FUNCTION, i + 1);
	if (!no_lines)
		put_number(&line, LINE_LINE, p->frames[i].line);
	put_number(&message, LOCATION_ID, i + 1);
	put_message(&message, LOCATION_LINE, &line);
	put_message(out, PROFILE_LOCATION, &message);

	put_number(&message, FUNCTION_ID, i + 1);
	put_number(&message, FUNCTION_NAME, TEXT_FIXED + 2 * i);
	put_number(&message, FUNCTION_SYSTEM_NAME, TEXT_FIXED + 2 * i);
	put_number(&message, FUNCTION_FILE, TEXT_FIXED + 2 * i + 1);
	put_message(out, PROFILE_FUNCTION, &message);
	buf_clear(&line);
	buf_clear(&message);
}

/* Readers of protocol buffers refuse a text that is not UTF-8. */
static void put_text(struct buf *out, const char *text)
{
	struct buf good = { 0 };
	profile_add_utf8(text, &good);
	put_message(out, PROFILE_STRINGS, &good);
	buf_clear(&good);
}

static void put_texts(struct buf *out, const struct profile *p, const struct profile_view *view)
{
	for (size_t i = 0; i < ARRAY_LEN(fixed_texts); i++)
		put_text(out, fixed_texts[i]);
	for (size_t i = 0; i < p->frame_count; i++) {
		put_text(out, p->frames[i].function);
		put_text(out, p->frames[i].file);
	}
	for (size_t i = 0; view->lanes && i < p->lane_count; i++)
		put_text(out, p->lanes[i].name);
	for (size_t i = 0; i < view->label_count; i++) {
		put_text(out, view->labels[i].name);
		put_text(out, view->labels[i].value);
	}
}

static void put_profile(struct buf *out, const struct profile *p, const struct profile_view *view)
{
	size_t count;
	struct folded *all = profile_fold(p, view, &count);
	put_type(out, PROFILE_SAMPLE_TYPE, TEXT_SAMPLES, TEXT_COUNT);
	put_type(out, PROFILE_SAMPLE_TYPE, TEXT_WALL, TEXT_NANOSECONDS);
	for (size_t i = 0; i < count; i++)
		put_sample(out, p, view, &all[i]);
	for (size_t i = 0; i < p->frame_count; i++)
		put_frame(out, p, i, view->no_lines);
	put_texts(out, p, view);
	if (view->wall_ns != 0)
		put_number(out, PROFILE_TIME_NS, view->wall_ns);
	if (view->end_ns > view->begin_ns)
		put_number(out, PROFILE_DURATION_NS, view->end_ns - view->begin_ns);
	put_type(out, PROFILE_PERIOD_TYPE, TEXT_WALL, TEXT_NANOSECONDS);
	if (p->sample_count != 0)
		put_number(out, PROFILE_PERIOD, p->samples[0].weight_ns);
	put_number(out, PROFILE_DEFAULT_TYPE, TEXT_WALL);
	free(all);
}

/* --- gzip (RFC 1952) of stored blocks (RFC 1951, 3.2.4) --- */

static uint32_t crc32_of(const char *bytes, size_t len)
{
	uint32_t crc = UINT32_MAX;
	for (size_t i = 0; i < len; i++) {
		crc ^= (unsigned char)bytes[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static void put_little_endian(struct buf *out, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		buf_add_char(out, (char)(value >> 8 * i));
}

static void put_gzip(struct buf *out, const struct buf *content)
{
	static const char head[10] = { 0x1f, (char)0x8b, 8, 0, 0, 0, 0, 0, 0, (char)255 };
	enum { BLOCK_MAX = 65535 };
	buf_add(out, head, sizeof head);
	for (size_t at = 0, len; at < content->len; at += len) {
		len = MIN(content->len - at, (size_t)BLOCK_MAX);
		buf_add_char(out, at + len == content->len); /* the last block? */
		put_little_endian(out, (uint32_t)len, 2);
		put_little_endian(out, ~(uint32_t)len, 2);
		buf_add(out, content->data + at, len);
	}
	put_little_endian(out, crc32_of(content->data, content->len), 4);
	put_little_endian(out, (uint32_t)content->len, 4);
}

void profile_write_pprof(const struct profile *p, const struct profile_view *view, struct buf *out)
{
	struct buf content = { 0 };
	put_profile(&content, p, view);
	put_gzip(out, &content);
	buf_clear(&content);
}
