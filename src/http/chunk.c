/* chunk.c - the line before a chunk.
 *
 *      chunk-size *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) CRLF         RFC 9112 7.1
 *
 * Only this grammar passes: no "0x", sign, blank before CRLF, bare ";" or control (gunicorn before 22 and others read
 * such lines in their own ways). The extensions are dropped: nobody behind us sees them.
 */
#include "chunk.h"

#include "chars.h"

enum {
	SIZE_DIGITS_MAX = 16,            /* leading zeros included */
	EXTENSION_BYTES_MAX = 16 * 1024, /* in one body, as Node has it (CVE-2024-22019) */
};

enum state {
	SIZE,
	GAP,
	NAME_BEGIN,
	NAME,
	NAME_GAP,
	VALUE_BEGIN,
	VALUE,
	QUOTED,
	ESCAPED,
	UNQUOTED,
	LF,
	DONE,
	BAD,
	STATES
};

enum kind { K_TOKEN, K_BLANK, K_SEMICOLON, K_EQUALS, K_QUOTE, K_BACKSLASH, K_CR, K_TEXT, K_CONTROL, KINDS };

/* clang-format off */
static const uint8_t next_state[STATES][KINDS] = {
	/*                token    blank        ;           =            "         \        CR   text    control */
	[SIZE]        = { BAD,     GAP,         NAME_BEGIN, BAD,         BAD,      BAD,     LF,  BAD,    BAD },
	[GAP]         = { BAD,     GAP,         NAME_BEGIN, BAD,         BAD,      BAD,     BAD, BAD,    BAD },
	[NAME_BEGIN]  = { NAME,    NAME_BEGIN,  BAD,        BAD,         BAD,      BAD,     BAD, BAD,    BAD },
	[NAME]        = { NAME,    NAME_GAP,    NAME_BEGIN, VALUE_BEGIN, BAD,      BAD,     LF,  BAD,    BAD },
	[NAME_GAP]    = { BAD,     NAME_GAP,    NAME_BEGIN, VALUE_BEGIN, BAD,      BAD,     BAD, BAD,    BAD },
	[VALUE_BEGIN] = { VALUE,   VALUE_BEGIN, BAD,        BAD,         QUOTED,   BAD,     BAD, BAD,    BAD },
	[VALUE]       = { VALUE,   GAP,         NAME_BEGIN, BAD,         BAD,      BAD,     LF,  BAD,    BAD },
	[QUOTED]      = { QUOTED,  QUOTED,      QUOTED,     QUOTED,      UNQUOTED, ESCAPED, BAD, QUOTED, BAD },
	[ESCAPED]     = { QUOTED,  QUOTED,      QUOTED,     QUOTED,      QUOTED,   QUOTED,  BAD, QUOTED, BAD },
	[UNQUOTED]    = { BAD,     GAP,         NAME_BEGIN, BAD,         BAD,      BAD,     LF,  BAD,    BAD },
	[LF]          = { BAD,     BAD,         BAD,        BAD,         BAD,      BAD,     BAD, BAD,    BAD },
};
/* clang-format on */

static enum kind kind_of(char c)
{
	switch (c) {
	case ' ':
	case '\t':
		return K_BLANK;
	case ';':
		return K_SEMICOLON;
	case '=':
		return K_EQUALS;
	case '"':
		return K_QUOTE;
	case '\\':
		return K_BACKSLASH;
	case '\r':
		return K_CR;
	default:
		return char_is(c, CHAR_TOKEN) ? K_TOKEN : char_is_control(c) ? K_CONTROL : K_TEXT;
	}
}

void chunk_line_begin(struct chunk_line *line)
{
	line->state = SIZE;
	line->digits = 0;
	line->size = 0;
}

static enum http_error add_digit(struct chunk_line *line, char c)
{
	if (++line->digits > SIZE_DIGITS_MAX)
		return HTTP_ERR_CHUNK;
	line->size = line->size << 4 | char_hex_value(c);
	return line->size > INT64_MAX ? HTTP_ERR_CHUNK : HTTP_OK;
}

static enum http_error step(struct chunk_line *line, char c)
{
	if (line->state == LF) {
		line->state = c == '\n' ? DONE : BAD;
		return c == '\n' ? HTTP_OK : HTTP_ERR_LINE_END;
	}
	if (line->state == SIZE && line->digits == 0)
		return HTTP_ERR_CHUNK; /* whatever c is, a digit was due */
	enum kind kind = kind_of(c);
	line->state = next_state[line->state][kind];
	if (line->state == BAD)
		return c == '\n' ? HTTP_ERR_LINE_END : HTTP_ERR_CHUNK;
	if (line->state != LF && ++line->extension_bytes > EXTENSION_BYTES_MAX)
		return HTTP_ERR_CHUNK;
	return HTTP_OK;
}

enum http_error chunk_line_read(struct chunk_line *line, const char *bytes, size_t len, size_t *used,
	struct slice *digits, bool *complete)
{
	enum http_error error = HTTP_OK;
	size_t i = 0;
	if (line->state == SIZE)
		for (; i < len && char_is(bytes[i], CHAR_HEX) && error == HTTP_OK; i++)
			error = add_digit(line, bytes[i]);
	*digits = (struct slice){ bytes, i };
	for (; i < len && line->state != DONE && error == HTTP_OK; i++)
		error = step(line, bytes[i]);
	*used = i;
	*complete = line->state == DONE;
	return error;
}
