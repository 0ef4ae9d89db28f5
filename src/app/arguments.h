/* arguments.h - what the commands that look at a process take from their command line. */
#ifndef APP_ARGUMENTS_H
#define APP_ARGUMENTS_H

#include <sys/types.h>

enum { EXIT_USAGE = 2 };

/* "123" or "0x7b", as py-spy takes them; 0 when it is neither. */
pid_t pid_parse(const char *text);

#endif
