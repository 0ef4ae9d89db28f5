/* arguments.h - what the commands that look at a process take from their command line: one table, from which come the
 * parser, the help and the completions. Flags that py-spy has, too, mean what they mean there. */
#ifndef APP_ARGUMENTS_H
#define APP_ARGUMENTS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

enum tool { TOOL_DUMP = 1, TOOL_RECORD = 2, TOOL_TOP = 4, TOOL_DOCTOR = 8 };

enum flag {
	FLAG_PID,
	FLAG_OUTPUT,
	FLAG_FORMAT,
	FLAG_DURATION,
	FLAG_RATE,
	FLAG_DELAY,
	FLAG_THREADS,
	FLAG_GIL,
	FLAG_IDLE,
	FLAG_TASKS,
	FLAG_SUBPROCESSES,
	FLAG_NATIVE,
	FLAG_LOCALS,
	FLAG_FUNCTION,
	FLAG_NOLINENO,
	FLAG_FULL_FILENAMES,
	FLAG_JSON,
	FLAG_CONFIG,
	FLAG_BLOCKING,
	FLAG_NONBLOCKING,
	FLAG_CORE,
	FLAG_HELP,
	FLAG_COUNT
};

/* In the order its table is read. NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
struct flag_row {
	const char *name;
	char letter;       /* 0: none */
	const char *value; /* "PID"; NULL: it takes none */
	unsigned tools;    /* who knows it: bits of enum tool */
	const char *help;
};
extern const struct flag_row flag_rows[FLAG_COUNT];

struct arguments {
	const char
		*given[FLAG_COUNT]; /* the value, "" where there is none; NULL: not given. Lent from argv */
	char **rest;                /* what follows the flags; NULL: nothing */
};

/* false: it has been said what is wrong. */
bool arguments_take(enum tool tool, int argc, char **argv, struct arguments *out);
/* One line for each flag the tool knows. */
void arguments_print(enum tool tool, FILE *out);

/* 0: that is no process id. Decimal, or as strtol reads it ("0x1f"). */
pid_t pid_parse(const char *text);
/* Takes --pid; 0 and a sentence when it is missing or no process id. */
pid_t arguments_pid(const struct arguments *a, const char *who);

/* A command line that was not understood. */
enum { EXIT_USAGE = 2 };

#endif
