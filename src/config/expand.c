/* expand.c - variables inside a value. */
#include "expand.h"

#include <ctype.h>
#include <string.h>

enum { EXPANDED_BYTES_MAX = 64 * 1024 };

/* "${NAME", then an optional ":-word" or ":?word", then "}". */
struct variable {
	const char *name;
	size_t name_len;
	char operator; /* '-', '?', or NUL for none */
	const char *word;
	size_t word_len;
};

const char *environment_get(char *const *environment, const char *name, size_t name_len)
{
	for (; environment != NULL && *environment != NULL; environment++)
		if (strncmp(*environment, name, name_len) == 0 && (*environment)[name_len] == '=')
			return *environment + name_len + 1;
	return NULL;
}

static size_t name_length(const char *p)
{
	size_t len = 0;
	if (isdigit((unsigned char)*p))
		return 0;
	while (isalnum((unsigned char)p[len]) || p[len] == '_')
		len++;
	return len;
}

/* p stands behind "${". Returns where the text goes on, or NULL with *why. */
static const char *variable_parse(const char *p, struct variable *v, const char **why)
{
	*v = (struct variable){ 0 };
	const char *end = strchr(p, '}');
	if (end == NULL) {
		*why = "${ has no closing }";
		return NULL;
	}
	if (strncmp(p, "env:", 4) == 0)
		p += 4;
	v->name = p;
	v->name_len = name_length(p);
	p += v->name_len;
	if (v->name_len == 0) {
		*why = "after ${ comes the name of a variable; write $$ for a dollar sign";
		return NULL;
	}
	if (p == end)
		return end + 1;
	if (p[0] != ':' || (p[1] != '-' && p[1] != '?')) {
		*why = "write ${VAR}, ${VAR:-default} or ${VAR:?message}";
		return NULL;
	}
	v->operator= p[1];
	v->word = p + 2;
	v->word_len = (size_t)(end - v->word);
	if (memchr(v->word, '$', v->word_len) != NULL) {
		*why = "variables cannot be nested";
		return NULL;
	}
	return end + 1;
}

static bool add_variable(struct memory *memory, struct buf *out, char *const *environment,
	const struct variable *v, const char **why)
{
	const char *value = environment_get(environment, v->name, v->name_len);
	if (value != NULL && strpbrk(value, "\r\n") != NULL) {
		*why = memory_printf(memory, "the variable %.*s holds a line break, which is refused",
			(int)v->name_len, v->name);
		return false;
	}
	if (value != NULL && (*value != '\0' || v->operator== '\0')) {
		buf_add_str(out, value);
		return true;
	}
	if (v->operator== '-') {
		buf_add(out, v->word, v->word_len);
		return true;
	}
	if (v->operator== '?' && v->word_len != 0)
		*why = memory_printf(memory, "the variable %.*s is not set: %.*s", (int)v->name_len, v->name,
			(int)v->word_len, v->word);
	else
		*why = memory_printf(memory,
			"the variable %.*s is not set; ${%.*s:-default} gives it a default", (int)v->name_len,
			v->name, (int)v->name_len, v->name);
	return false;
}

/* One step at a dollar sign. Returns where the text goes on, or NULL with *why. */
static const char *expand_dollar(
	struct memory *memory, struct buf *out, char *const *environment, const char *p, const char **why)
{
	struct variable v;
	if (p[1] == '$') {
		buf_add_char(out, '$');
		return p + 2;
	}
	if (p[1] != '{') {
		*why = "a lone $: write $$ for a dollar sign, ${VAR} for a variable (in quotes inside { })";
		return NULL;
	}
	p = variable_parse(p + 2, &v, why);
	if (p == NULL || !add_variable(memory, out, environment, &v, why))
		return NULL;
	if (out->len > EXPANDED_BYTES_MAX) {
		*why = "the value is larger than 64KiB after its variables were filled in";
		return NULL;
	}
	return p;
}

const char *expand(struct memory *memory, char *const *environment, const char *text, const char **why)
{
	struct buf out = { 0 };
	const char *result = NULL;
	while (text != NULL && *text != '\0') {
		size_t plain = strcspn(text, "$");
		buf_add(&out, text, plain);
		text += plain;
		if (*text == '$')
			text = expand_dollar(memory, &out, environment, text, why);
	}
	if (text != NULL)
		result = memory_strndup(memory, out.data ? out.data : "", out.len);
	buf_clear(&out);
	return result;
}
