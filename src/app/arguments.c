/* arguments.c - what the commands that look at a process take from their command line. */
#include "arguments.h"

#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/mem.h>
#include <slowproxy/pystack.h>

enum { ALL = TOOL_DUMP | TOOL_RECORD | TOOL_TOP, LOOKS = TOOL_RECORD | TOOL_TOP };

const struct flag_row flag_rows[FLAG_COUNT] = {
	[FLAG_PID] = { "pid", 'p', "PID", ALL | TOOL_DOCTOR, "the process" },
	[FLAG_OUTPUT] = { "output", 'o', "FILE", TOOL_RECORD,
		"- is standard output; default: a name made of process and time" },
	[FLAG_FORMAT] = { "format", 'f', "FORMAT", TOOL_RECORD,
		"one of those below; default: as the name of FILE ends, else flamegraph" },
	[FLAG_DURATION] = { "duration", 'd', "SECONDS", TOOL_RECORD,
		"default: until Ctrl-C, or the end of the process" },
	[FLAG_RATE] = { "rate", 'r', "RATE", LOOKS, "looks per second, 1 to 10000; default 100" },
	[FLAG_DELAY] = { "delay", 0, "SECONDS", TOOL_TOP, "the table is drawn anew so often; default 1" },
	[FLAG_THREADS] = { "threads", 't', NULL, TOOL_RECORD, "stacks of each thread apart" },
	[FLAG_GIL] = { "gil", 'g', NULL, LOOKS, "only the thread that holds the GIL" },
	[FLAG_IDLE] = { "idle", 'i', NULL, LOOKS,
		"also threads that wait: for a socket, a lock, the GIL, for work" },
	[FLAG_TASKS] = { "tasks", 0, NULL, TOOL_RECORD,
		"also suspended asyncio tasks, each with what it awaits" },
	[FLAG_SUBPROCESSES] = { "subprocesses", 's', NULL, ALL,
		"also its children and theirs, those that are born meanwhile, too" },
	[FLAG_NATIVE] = { "native", 'n', NULL, ALL,
		"the C functions between the Python ones, too; implies --blocking" },
	[FLAG_LOCALS] = { "locals", 'l', NULL, TOOL_DUMP,
		"the variables of each frame, too: simple values, and the type of all others" },
	[FLAG_FUNCTION] = { "function", 'F', NULL, TOOL_RECORD,
		"a function is one frame, not one for each line" },
	[FLAG_NOLINENO] = { "nolineno", 0, NULL, TOOL_RECORD, "no line numbers" },
	[FLAG_FULL_FILENAMES] = { "full-filenames", 0, NULL, ALL,
		"whole paths; default: from the package on (dump: always whole)" },
	[FLAG_JSON] = { "json", 'j', NULL, TOOL_DUMP | TOOL_DOCTOR, "one JSON document instead of text" },
	[FLAG_CONFIG] = { "config", 'c', "FILE", TOOL_DOCTOR,
		"looks at whoever listens at its upstream; default: /etc/slowproxy/proxy.yaml, if it exists" },
	[FLAG_BLOCKING] = { "blocking", 0, NULL, ALL,
		"stops the Python threads for the moment of each look: exact, and felt by the process" },
	[FLAG_NONBLOCKING] = { "nonblocking", 'b', NULL, ALL,
		"the process is never stopped: so it is anyway, without --blocking" },
	[FLAG_CORE] = { "core", 'c', "FILE", TOOL_DUMP, "py-spy's; refused: only living processes are read" },
	[FLAG_HELP] = { "help", 'h', NULL, ALL | TOOL_DOCTOR, "this text" },
};

enum { LONG_ONLY = 256 };

/* getopt's own tables, made of ours. */
static void getopt_tables(enum tool tool, struct option *longs, char *shorts)
{
	*shorts++ = '+'; /* what follows the first word that is no flag belongs to the command */
	for (int i = 0; i < FLAG_COUNT; i++) {
		const struct flag_row *row = &flag_rows[i];
		if ((row->tools & (unsigned)tool) == 0)
			continue;
		*longs++ = (struct option){ row->name, row->value != NULL ? required_argument : no_argument,
			NULL, LONG_ONLY + i };
		if (row->letter != 0)
			*shorts++ = row->letter;
		if (row->letter != 0 && row->value != NULL)
			*shorts++ = ':';
	}
	*longs = (struct option){ 0 };
	*shorts = '\0';
}

static int flag_of_letter(enum tool tool, int letter)
{
	for (int i = 0; i < FLAG_COUNT; i++)
		if (flag_rows[i].letter == letter && (flag_rows[i].tools & (unsigned)tool) != 0)
			return i;
	return -1;
}

bool arguments_take(enum tool tool, int argc, char **argv, struct arguments *out)
{
	struct option longs[FLAG_COUNT + 1];
	char shorts[2 * FLAG_COUNT + 2];
	getopt_tables(tool, longs, shorts);
	*out = (struct arguments){ 0 };
	optind = 0;
	for (int c; (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
		int flag = c >= LONG_ONLY ? c - LONG_ONLY : flag_of_letter(tool, c);
		if (c == '?' || flag < 0)
			return false;
		out->given[flag] = flag_rows[flag].value != NULL ? optarg : "";
	}
	if (out->given[FLAG_CORE] != NULL) {
		fprintf(stderr,
			"slowproxy %s: --core: %s is of a process that is dead, and slowproxy reads living ones; "
			"py-spy, pystack and gdb read core files\n",
			argv[0], out->given[FLAG_CORE]);
		return false;
	}
	if (out->given[FLAG_NATIVE] != NULL && !py_native_built()) {
		fprintf(stderr,
			"slowproxy %s: --native: this build reads no C functions; one made with cmake "
			"-DSLOWPROXY_NATIVE=ON (libdw-dev) does\n",
			argv[0]);
		return false;
	}
	if (out->given[FLAG_NATIVE] != NULL)
		out->given[FLAG_BLOCKING] = "";
	out->rest = optind < argc ? argv + optind : NULL;
	return true;
}

void arguments_print(enum tool tool, FILE *out)
{
	for (int i = 0; i < FLAG_COUNT; i++) {
		const struct flag_row *row = &flag_rows[i];
		char left[64], letter[8] = "    ";
		if ((row->tools & (unsigned)tool) == 0)
			continue;
		if (row->letter != 0)
			snprintf(letter, sizeof letter, "-%c, ", row->letter);
		snprintf(left, sizeof left, "%s--%s%s%s", letter, row->name, row->value != NULL ? " " : "",
			row->value != NULL ? row->value : "");
		fprintf(out, "  %-24s %s\n", left, row->help);
	}
}

pid_t pid_parse(const char *text)
{
	char *end;
	errno = 0;
	long pid = strtol(text, &end, 0);
	return errno == 0 && end != text && *end == '\0' && pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

pid_t arguments_pid(const struct arguments *a, const char *who)
{
	const char *text = a->given[FLAG_PID];
	pid_t pid = text != NULL ? pid_parse(text) : 0;
	if (text == NULL)
		fprintf(stderr, "slowproxy %s: which process? --pid PID\n", who);
	else if (pid == 0)
		fprintf(stderr, "slowproxy %s: %s is not a process id\n", who, text);
	return pid;
}
