/* json.c - a JSON writer that cannot write invalid JSON strings. */
#include <slowproxy/base/json.h>

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/str.h>

void json_init(struct json *j, struct buf *out)
{
	*j = (struct json){ .out = out };
}

static void value_begins(struct json *j)
{
	if (j->need_comma)
		buf_add_char(j->out, ',');
	j->need_comma = true;
}

void json_begin(struct json *j, char opener)
{
	assert(j->depth < sizeof j->closers);
	value_begins(j);
	buf_add_char(j->out, opener);
	j->closers[j->depth++] = opener == '{' ? '}' : ']';
	j->need_comma = false;
}

void json_end(struct json *j)
{
	assert(j->depth > 0);
	buf_add_char(j->out, j->closers[--j->depth]);
	j->need_comma = true;
}

static void add_quoted(struct buf *out, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	buf_add_char(out, '"');
	for (size_t i = 0; i < len;) {
		size_t plain = i;
		while (plain < len && p[plain] >= 0x20 && p[plain] < 0x7f && p[plain] != '"' &&
			p[plain] != '\\')
			plain++;
		buf_add(out, p + i, plain - i);
		i = plain;
		if (i == len)
			break;
		size_t sequence = utf8_sequence(p + i, len - i);
		if (sequence > 1)
			buf_add(out, p + i, sequence);
		else if (sequence == 0)
			buf_add_str(out, "\\ufffd");
		else if (p[i] == '"' || p[i] == '\\')
			buf_printf(out, "\\%c", p[i]);
		else if (p[i] == '\n')
			buf_add_str(out, "\\n");
		else if (p[i] == '\t')
			buf_add_str(out, "\\t");
		else
			buf_printf(out, "\\u%04x", p[i]);
		i += sequence ? sequence : 1;
	}
	buf_add_char(out, '"');
}

void json_key(struct json *j, const char *key)
{
	value_begins(j);
	add_quoted(j->out, key, strlen(key));
	buf_add_char(j->out, ':');
	j->need_comma = false;
}

void json_str(struct json *j, const char *text)
{
	json_strn(j, text, strlen(text));
}

void json_strn(struct json *j, const char *text, size_t len)
{
	value_begins(j);
	add_quoted(j->out, text, len);
}

void json_u64(struct json *j, uint64_t value)
{
	value_begins(j);
	buf_printf(j->out, "%" PRIu64, value);
}

void json_i64(struct json *j, int64_t value)
{
	value_begins(j);
	buf_printf(j->out, "%" PRId64, value);
}

void json_bool(struct json *j, bool value)
{
	json_raw(j, value ? "true" : "false", value ? 4 : 5);
}

void json_null(struct json *j)
{
	json_raw(j, "null", 4);
}

void json_ms(struct json *j, uint64_t ns)
{
	value_begins(j);
	uint64_t us = (ns + 500) / NS_PER_US;
	buf_printf(j->out, "%" PRIu64 ".%03" PRIu64, us / 1000, us % 1000);
}

void json_raw(struct json *j, const char *text, size_t len)
{
	value_begins(j);
	buf_add(j->out, text, len);
}
