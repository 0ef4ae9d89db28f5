/* names.c - compares names of functions and files. */
#include "names.h"

#include <string.h>

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);
	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static bool function_is(const char *function, const char *qualified)
{
	const char *dot = strchr(function, '.') == NULL ? strrchr(qualified, '.') : NULL;
	return strcmp(function, dot != NULL ? dot + 1 : qualified) == 0;
}

bool code_is(const struct py_code *code, const char *file_end, const char *function)
{
	return (file_end == NULL || ends_with(code->file, file_end)) &&
	       (function == NULL || function_is(code->function, function));
}
