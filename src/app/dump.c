/* dump.c - `slowproxy dump --pid N`: one look at a process, written for people or as JSON. */
#include "dump.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/json.h>
#include <slowproxy/pystack.h>

#include "arguments.h"

enum { DUMP_THREADS_MAX = 4096, DUMP_TASKS_MAX = 100000 };

struct dump_options {
	pid_t pid;
	bool json, help;
};

static const char usage[] =
	"Usage: slowproxy dump --pid PID [--json]\n"
	"\n"
	"Shows the stack of every thread and every suspended asyncio task of a running Python process, without stopping it.\n"
	"\n"
	"  -p, --pid PID   the process\n"
	"  -j, --json      one JSON document instead of text\n";

static bool options_take(int argc, char **argv, struct dump_options *o)
{
	static const struct option known[] = {
		{ "pid", required_argument, NULL, 'p' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	*o = (struct dump_options){ 0 };
	optind = 0;
	for (int c; (c = getopt_long(argc, argv, "p:jh", known, NULL)) != -1;) {
		switch (c) {
		case 'p':
			o->pid = pid_parse(optarg);
			if (o->pid == 0) {
				fprintf(stderr, "slowproxy dump: %s is not a process id\n", optarg);
				return false;
			}
			break;
		case 'j':
			o->json = true;
			break;
		case 'h':
			o->help = true;
			break;
		default:
			return false;
		}
	}
	if (o->pid == 0 && !o->help)
		fputs("slowproxy dump: which process? --pid PID\n", stderr);
	return o->pid != 0 || o->help;
}

static const char *frame_function(const struct py_frame *f)
{
	static const char *const others[] = {
		[PY_FRAME_UNREADABLE] = "<unreadable>", [PY_FRAME_TRUNCATED] = "<truncated>"
	};
	return f->kind == PY_FRAME_PYTHON ? f->code->function : others[f->kind];
}

static void text_frames(struct buf *out, const struct py_frame *frames, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct py_frame *f = &frames[i];
		buf_printf(out, "    %s", frame_function(f));
		if (f->kind == PY_FRAME_PYTHON && f->line > 0)
			buf_printf(out, " (%s:%u)", f->code->file, f->line);
		else if (f->kind == PY_FRAME_PYTHON)
			buf_printf(out, " (%s)", f->code->file);
		buf_add_char(out, '\n');
	}
}

static const char *state_word(const struct py_thread *t)
{
	switch (t->state) {
	case PY_STATE_RUNNING:
		return t->holds_gil ? "active+gil" : "active";
	case PY_STATE_GIL_WAIT:
		return "waits for the gil";
	case PY_STATE_BLOCKED:
		return "blocked";
	case PY_STATE_IDLE:
		return "idle";
	case PY_STATE_UNKNOWN:
		break;
	}
	return t->holds_gil ? "gil" : "unknown";
}

static void text_write(struct py_process *p, const struct py_sample *s, struct buf *out)
{
	buf_printf(out, "Process %d: Python %s%s\n", (int)py_process_pid(p), py_process_version(p),
		s->gc_running ? ", collecting garbage" : "");
	for (size_t i = 0; i < s->thread_count; i++) {
		const struct py_thread *t = &s->threads[i];
		buf_printf(out, "\nThread %llu (%s): \"%s\"%s\n", (unsigned long long)t->tid, state_word(t),
			t->name, t->runs_event_loop ? " runs an event loop" : "");
		text_frames(out, t->frames, t->frame_count);
	}
	for (size_t i = 0; i < s->task_count; i++) {
		buf_printf(out, "\nTask \"%s\" (suspended)\n", s->tasks[i].name);
		text_frames(out, s->tasks[i].frames, s->tasks[i].frame_count);
	}
	if (s->tasks_cut)
		buf_printf(
			out, "\nThere are more than %d tasks; the others are not shown.\n", DUMP_TASKS_MAX);
	if (s->unreadable)
		buf_printf(out, "\n%u of them could not be read whole: what is not sure is marked.\n",
			s->unreadable);
}

static void json_frames(struct json *j, const struct py_frame *frames, size_t count)
{
	json_key(j, "frames");
	json_begin(j, '[');
	for (size_t i = 0; i < count; i++) {
		const struct py_frame *f = &frames[i];
		json_begin(j, '{');
		json_key(j, "name");
		json_str(j, frame_function(f));
		if (f->kind == PY_FRAME_PYTHON) {
			json_key(j, "filename");
			json_str(j, f->code->file);
			json_key(j, "line");
			json_u64(j, f->line);
		}
		json_end(j);
	}
	json_end(j);
}

static void json_thread(struct json *j, const struct py_thread *t)
{
	json_begin(j, '{');
	json_key(j, "os_thread_id");
	json_u64(j, t->tid);
	json_key(j, "thread_name");
	json_str(j, t->name);
	json_key(j, "state");
	json_str(j, py_state_names[t->state]);
	json_key(j, "active");
	json_bool(j, t->state == PY_STATE_RUNNING);
	json_key(j, "owns_gil");
	json_bool(j, t->holds_gil);
	json_key(j, "is_main");
	json_bool(j, t->is_main);
	json_key(j, "runs_event_loop");
	json_bool(j, t->runs_event_loop);
	json_key(j, "syscall");
	if (t->syscall >= 0)
		json_i64(j, t->syscall);
	else
		json_null(j);
	json_frames(j, t->frames, t->frame_count);
	json_end(j);
}

static void json_write(struct py_process *p, const struct py_sample *s, struct buf *out)
{
	struct json j;
	json_init(&j, out);
	json_begin(&j, '{');
	json_key(&j, "pid");
	json_i64(&j, py_process_pid(p));
	json_key(&j, "python_version");
	json_str(&j, py_process_version(p));
	json_key(&j, "gc_running");
	json_bool(&j, s->gc_running);
	json_key(&j, "unreadable");
	json_u64(&j, s->unreadable);
	json_key(&j, "threads");
	json_begin(&j, '[');
	for (size_t i = 0; i < s->thread_count; i++)
		json_thread(&j, &s->threads[i]);
	json_end(&j);
	json_key(&j, "tasks");
	json_begin(&j, '[');
	for (size_t i = 0; i < s->task_count; i++) {
		json_begin(&j, '{');
		json_key(&j, "name");
		json_str(&j, s->tasks[i].name);
		json_frames(&j, s->tasks[i].frames, s->tasks[i].frame_count);
		json_end(&j);
	}
	json_end(&j);
	json_key(&j, "tasks_cut");
	json_bool(&j, s->tasks_cut);
	json_end(&j);
	buf_add_char(out, '\n');
}

int dump_main(int argc, char **argv)
{
	struct dump_options options;
	if (!options_take(argc, argv, &options)) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (options.help) {
		fputs(usage, stdout);
		return EXIT_SUCCESS;
	}
	struct py_process *p = NULL;
	struct py_sample sample;
	struct py_wants wants = {
		.states = true, .tasks = true, .max_threads = DUMP_THREADS_MAX, .max_tasks = DUMP_TASKS_MAX
	};
	struct buf text = { 0 };
	enum py_result r = py_process_open(options.pid, &p, &text);
	if (r == PY_OK && (r = py_process_sample(p, &wants, &sample)) != PY_OK)
		buf_printf(&text, "process %d: %s", (int)options.pid, py_result_sentences[r]);
	if (r == PY_OK)
		(options.json ? json_write : text_write)(p, &sample, &text);
	if (r == PY_OK)
		fwrite(text.data, 1, text.len, stdout);
	else
		fprintf(stderr, "slowproxy dump: %s\n", text.len > 0 ? text.data : py_result_sentences[r]);
	py_process_close(p);
	buf_clear(&text);
	return r == PY_OK && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
