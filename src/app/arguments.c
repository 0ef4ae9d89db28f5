/* arguments.c - what the commands that look at a process take from their command line. */
#include "arguments.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

pid_t pid_parse(const char *text)
{
	char *end;
	errno = 0;
	long pid = strtol(text, &end, 0);
	return errno == 0 && end != text && *end == '\0' && pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}
