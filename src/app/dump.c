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
#include "recordings.h"

enum { DUMP_THREADS_MAX = 4096, DUMP_TASKS_MAX = 100000 };

/* What moved under the look is looked at again, so long. */
static const uint64_t patience_ns = 100 * NS_PER_MS, step_ns = NS_PER_MS;

static const char usage[] =
	"Usage: slowproxy dump --pid PID [options]\n"
	"\n"
	"Shows the stack of every thread, suspended asyncio task and greenlet of a running Python process, without stopping it.\n"
	"\n";

struct dump_options {
	pid_t pid;
	bool json, blocking, native, locals, subprocesses;
};

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

static void complain(enum py_result r, const struct buf *why)
{
	fprintf(stderr, "slowproxy dump: %s\n", why->len > 0 ? why->data : py_result_sentences[r]);
}

/* Adds one process to what is told. */
static bool dump_one(struct py_process *p, const struct dump_options *o, struct buf *out)
{
	struct py_sample sample;
	struct buf why = { 0 };
	struct dumped d;
	enum py_result r = o->blocking && !py_process_stoppable(p, &why) ? PY_DENIED : PY_OK;
	if (r == PY_OK && (r = look(p, o->blocking, o->native, &sample)) != PY_OK)
		buf_printf(&why, "process %d: %s", (int)py_process_pid(p), py_result_sentences[r]);
	if (r != PY_OK) {
		complain(r, &why);
		buf_clear(&why);
		return false;
	}
	dumped_init(&d, p, &sample);
	d.locals = o->locals;
	if (out->len != 0)
		buf_add_str(out, o->json ? ",\n" : "\n");
	if (o->json)
		dump_write_json(&d, out);
	else
		dump_write_text(&d, coloured(), out);
	dumped_clear(&d);
	return true;
}

static bool dump_process(const struct dump_options *o, struct buf *out)
{
	struct py_process *p = NULL;
	struct buf why = { 0 };
	enum py_result r = attach(o->pid, NULL, &p, &why);
	if (r != PY_OK)
		complain(r, &why);
	bool good = r == PY_OK && dump_one(p, o, out);
	py_process_close(p);
	buf_clear(&why);
	return good;
}

/* The process, which may be a shell, and all Pythons among its descendants: good when there is one. */
static bool dump_family(const struct dump_options *o, struct buf *out)
{
	struct recordings family;
	struct py_process *root;
	struct buf why = { 0 };
	size_t before, shown = 0;
	recordings_init(&family, o->pid, true, &(struct recording_wants){ 0 }, NS_PER_S);
	enum py_result r = attach(o->pid, NULL, &root, &why);
	if (r == PY_OK)
		recordings_add(&family, root);
	do { /* a pid may be lower than its parent's, which is seen later then */
		before = family.count;
		family.searched_ns = 0;
		recordings_search(&family, clock_now_ns());
	} while (family.count > before);
	if (family.count == 0)
		complain(r, &why);
	for (size_t i = 0; i < family.count; i++)
		shown += dump_one(family.all[i]->python, o, out);
	recordings_clear(&family);
	buf_clear(&why);
	return shown != 0;
}

static bool dump(const struct dump_options *o)
{
	struct buf out = { 0 };
	bool array = o->subprocesses && o->json;
	bool good = o->subprocesses ? dump_family(o, &out) : dump_process(o, &out);
	if (good)
		printf("%s%s%s", array ? "[" : "", out.data, array ? "]" : "");
	if (good && o->json)
		putchar('\n');
	buf_clear(&out);
	return good && fflush(stdout) == 0;
}

int dump_main(int argc, char **argv)
{
	struct arguments arguments;
	bool understood = arguments_take(TOOL_DUMP, argc, argv, &arguments);
	if (understood && arguments.given[FLAG_HELP] != NULL) {
		usage_print(stdout);
		return EXIT_SUCCESS;
	}
	const struct dump_options o = {
		.pid = understood ? arguments_pid(&arguments, "dump") : 0,
		.json = arguments.given[FLAG_JSON] != NULL,
		.blocking = arguments.given[FLAG_BLOCKING] != NULL,
		.native = arguments.given[FLAG_NATIVE] != NULL,
		.locals = arguments.given[FLAG_LOCALS] != NULL,
		.subprocesses = arguments.given[FLAG_SUBPROCESSES] != NULL,
	};
	if (o.pid == 0) {
		usage_print(stderr);
		return EXIT_USAGE;
	}
	return dump(&o) ? EXIT_SUCCESS : EXIT_FAILURE;
}
