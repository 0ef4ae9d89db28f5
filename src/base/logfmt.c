/* logfmt.c - from one flat JSON object to logfmt.
 *
 * It reads only what base/json.h has written, so there is nothing to check: no white space, every text closed.
 */
#include <slowproxy/base/logfmt.h>

#include <slowproxy/base/json.h>

/* The end of the text that opens at p. */
static const char *text_end(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\')
			p++;
	return p < end ? p + 1 : end;
}

/* The end of any value that begins at p: a text, a word, or brackets with what they hold. */
static const char *value_end(const char *p, const char *end)
{
	unsigned depth = 0;
	while (p < end) {
		if (*p == '"') {
			p = text_end(p, end);
			if (depth == 0)
				return p;
			continue;
		}
		if (depth == 0 && (*p == ',' || *p == '}'))
			return p;
		if (*p == '{' || *p == '[')
			depth++;
		else if (*p == '}' || *p == ']')
			depth--;
		p++;
		if (depth == 0 && (p[-1] == '}' || p[-1] == ']'))
			return p;
	}
	return end;
}

/* What stands between the quotes can go without them when no reader could take it for anything else. */
static bool is_bare(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
			return false;
	}
	return len != 0;
}

static void add_value(struct buf *out, const char *value, size_t len)
{
	if (value[0] == '"' && is_bare(value + 1, len - 2)) {
		buf_add(out, value + 1, len - 2);
	} else if (value[0] == '{' || value[0] == '[') {
		struct json quoted;
		json_init(&quoted, out);
		json_strn(&quoted, value, len);
	} else {
		buf_add(out, value, len);
	}
}

void logfmt_add_json(struct buf *out, const char *json, size_t len)
{
	const char *end = json + len;
	for (const char *p = json + 1; p < end && *p == '"'; p++) {
		const char *key_end = text_end(p, end), *value = key_end + 1;
		if (value >= end)
			return;
		const char *after = value_end(value, end);
		if (p != json + 1)
			buf_add_char(out, ' ');
		buf_add(out, p + 1, (size_t)(key_end - p) - 2);
		buf_add_char(out, '=');
		add_value(out, value, (size_t)(after - value));
		p = after; /* a comma, or the closing brace */
	}
}
