/* dump.c - `slowproxy dump --pid N`: one look at a process, written for people or as JSON. */
#include "dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>

#include "arguments.h"
#include "attach.h"
#include "dump_write.h"

enum { DUMP_THREADS_MAX = 4096, DUMP_TASKS_MAX = 100000 };

/* What moved under the look is looked at again, so long. */
static const uint64_t patience_ns = 100 * NS_PER_MS, step_ns = NS_PER_MS;

static const char usage[] =
	"Usage: slowproxy dump --pid PID [options]\n"
	"\n"
	"Shows the stack of every thread, suspended asyncio task and greenlet of a running Python process, without stopping it.\n"
	"\n";

static void usage_print(FILE *out)
{
	fputs(usage, out);
	arguments_print(TOOL_DUMP, out);
}

/* The best of some looks: a thread that moves too fast, or is being made, is whole in the next one most times. */
static enum py_result look(struct py_process *p, bool blocking, bool native, struct py_sample *sample)
{
	const struct py_wants wants = { .states = true,
		.locks = true,
		.tasks = true,
		.greenlets = true,
		.max_greenlets = DUMP_TASKS_MAX,
		.max_threads = DUMP_THREADS_MAX,
		.max_tasks = DUMP_TASKS_MAX,
		.blocking = blocking,
		.native = native };
	const struct timespec step = { .tv_nsec = (long)step_ns };
	uint64_t until_ns = clock_now_ns() + patience_ns;
	enum py_result result;
	for (;;) {
		result = py_process_sample(p, &wants, sample);
		bool whole = result == PY_OK && sample->unreadable == 0;
		if (whole || result == PY_NO_PROCESS || clock_now_ns() >= until_ns)
			return result;
		nanosleep(&step, NULL);
	}
}

static bool coloured(void)
{
	const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");
	return isatty(STDOUT_FILENO) && (no == NULL || no[0] == '\0') &&
	       (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

static bool dump(pid_t pid, bool json, bool blocking, bool native)
{
	struct py_process *p = NULL;
	struct py_sample sample;
	struct buf text = { 0 };
	enum py_result r = attach(pid, &p, &text);
	if (r == PY_OK && blocking && !py_process_stoppable(p, &text))
		r = PY_DENIED;
	if (r == PY_OK && (r = look(p, blocking, native, &sample)) != PY_OK)
		buf_printf(&text, "process %d: %s", (int)pid, py_result_sentences[r]);
	if (r == PY_OK) {
		struct dumped d;
		dumped_init(&d, p, &sample);
		if (json)
			dump_write_json(&d, &text);
		else
			dump_write_text(&d, coloured(), &text);
		dumped_clear(&d);
		fwrite(text.data, 1, text.len, stdout);
	} else {
		fprintf(stderr, "slowproxy dump: %s\n", text.len > 0 ? text.data : py_result_sentences[r]);
	}
	py_process_close(p);
	buf_clear(&text);
	return r == PY_OK && fflush(stdout) == 0;
}

int dump_main(int argc, char **argv)
{
	struct arguments arguments;
	bool understood = arguments_take(TOOL_DUMP, argc, argv, &arguments);
	if (understood && arguments.given[FLAG_HELP] != NULL) {
		usage_print(stdout);
		return EXIT_SUCCESS;
	}
	pid_t pid = understood ? arguments_pid(&arguments, "dump") : 0;
	if (pid == 0) {
		usage_print(stderr);
		return EXIT_USAGE;
	}
	return dump(pid, arguments.given[FLAG_JSON] != NULL, arguments.given[FLAG_BLOCKING] != NULL,
		       arguments.given[FLAG_NATIVE] != NULL)
		       ? EXIT_SUCCESS
		       : EXIT_FAILURE;
}
