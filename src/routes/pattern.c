/* pattern.c - one template against one path, written as in FastAPI: /items/{id}, /items/{id:int}, /files/{rest:path}. */
#include "pattern.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

enum { STEPS_MAX = 20000 }; /* a hostile path must not make a template with many parameters expensive */

enum parameter { PARAMETER_TEXT, PARAMETER_INT, PARAMETER_PATH };

/* template is at '{'; *after is what follows the '}'. Without one, the rest is the parameter. */
static enum parameter parameter_read(const char *template, const char **after)
{
	const char *close = strchr(template, '}');
	size_t len = close != NULL ? (size_t)(close - template) : strlen(template);
	*after = template + len + (close != NULL);
	if (len >= 5 && strncmp(template + len - 5, ":path", 5) == 0)
		return PARAMETER_PATH;
	if (len >= 4 && strncmp(template + len - 4, ":int", 4) == 0)
		return PARAMETER_INT;
	return PARAMETER_TEXT;
}

static bool parameter_takes(enum parameter kind, char c)
{
	if (kind == PARAMETER_INT)
		return isdigit((unsigned char)c);
	return kind == PARAMETER_PATH || c != '/';
}

static bool matches(const char *template, const char *path, unsigned *steps)
{
	for (; *template != '{'; template ++, path++) {
		if (*template != *path)
			return false;
		if (*template == '\0')
			return true;
	}
	const char *after;
	enum parameter kind = parameter_read(template, &after);
	if (kind != PARAMETER_PATH) {
		if (*path == '\0' || !parameter_takes(kind, *path))
			return false;
		path++;
	}
	for (;; path++) {
		if (--*steps == 0)
			return false;
		if (matches(after, path, steps))
			return true;
		if (*steps == 0 || *path == '\0' || !parameter_takes(kind, *path))
			return false;
	}
}

bool pattern_is_nearer(const char *a, const char *b)
{
	while (*a != '\0' && *b != '\0') {
		if (*a != '{' || *b != '{') {
			if (*a != *b)
				return *b == '{';
			a++;
			b++;
			continue;
		}
		enum parameter kind_a = parameter_read(a, &a), kind_b = parameter_read(b, &b);
		if (kind_a != kind_b)
			return kind_a == PARAMETER_INT || kind_b == PARAMETER_PATH;
	}
	return false;
}

bool pattern_matches(const char *template, const char *path)
{
	unsigned steps = STEPS_MAX;
	return matches(template, path, &steps);
}
