/* guess.c - a name for a path nobody told us about: what looks like a value becomes a parameter. */
#include <slowproxy/routes.h>

#include <ctype.h>
#include <string.h>

#include <slowproxy/base/str.h>

enum { TOKEN_MIN = 16, SEGMENTS_MAX = 12 };

static bool all(struct slice s, int (*is)(int))
{
	for (size_t i = 0; i < s.len; i++)
		if (!is((unsigned char)s.at[i]))
			return false;
	return s.len != 0;
}

static bool has(struct slice s, int (*is)(int))
{
	for (size_t i = 0; i < s.len; i++)
		if (is((unsigned char)s.at[i]))
			return true;
	return false;
}

static int is_number_part(int c)
{
	return isdigit(c) || c == '.' || c == '-' || c == ',';
}

static int is_token_part(int c)
{
	return isalnum(c) || c == '_' || c == '-' || c == '=' || c == '%' || c == '.' || c == '~';
}

/* 8-4-4-4-12 hex digits (RFC 9562). */
static bool is_uuid(struct slice s)
{
	if (s.len != 36)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
		if (hyphen ? s.at[i] != '-' : !isxdigit((unsigned char)s.at[i]))
			return false;
	}
	return true;
}

/* What the segment is a value of, or NULL: it is a word. */
static const char *parameter_for(struct slice s)
{
	if (is_uuid(s))
		return "{uuid}";
	if (all(s, is_number_part) && has(s, isdigit))
		return "{id}";
	bool long_enough = s.len >= TOKEN_MIN && has(s, isdigit) && has(s, isalpha);
	return long_enough && all(s, is_token_part) ? "{token}" : NULL;
}

bool route_guess(const char *path, char out[ROUTE_BYTES])
{
	size_t len = 0, segments = 0;
	if (path[0] != '/')
		return false;
	for (const char *from = path; *from == '/'; segments++) {
		const char *end = from + 1 + strcspn(from + 1, "/");
		struct slice segment = { from + 1, (size_t)(end - from - 1) };
		const char *parameter = parameter_for(segment);
		if (parameter != NULL)
			segment = slice_of(parameter);
		if (segments == SEGMENTS_MAX || len + 1 + segment.len >= ROUTE_BYTES)
			return false;
		out[len++] = '/';
		memcpy(out + len, segment.at, segment.len);
		len += segment.len;
		from = end;
	}
	out[len] = '\0';
	return true;
}

/* A path that was not found is no route, but where nobody has told any. */
static bool is_refusal(unsigned status)
{
	return status == 404 || status == 405;
}

void route_name(const struct route_table *t, bool may_guess, const char *path, unsigned status,
	char out[ROUTE_BYTES], bool *guessed)
{
	const char *template = route_table_match(t, path, !is_refusal(status));
	bool some_are_known = route_table_count(t) != 0;
	*guessed = false;
	out[0] = '\0';
	if (template != NULL)
		str_copy(out, ROUTE_BYTES, template, strlen(template));
	else if (may_guess && !(some_are_known && is_refusal(status)))
		*guessed = route_guess(path, out);
	if (template == NULL && !*guessed)
		out[0] = '\0';
}
