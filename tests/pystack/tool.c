/* tool.c - the reader alone, for its tests.
 *
 *   pystack_tool dump --pid PID [--json]      as slowproxy dump
 *   pystack_tool tape PID FILE                records a tape of a process, which stands still meanwhile
 *   pystack_tool replay FILE                  shows what a tape says
 *   pystack_tool lines [lnotab|ranges]        line tables on stdin ("FIRST UNITS HEX"), a line for each unit on stdout
 *   pystack_tool watch PID SECONDS [tasks|blocking]
 *                                             samples as fast as it can; counts, and each distinct stack with its count
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/map.h>

#include "dump.h"
#include "lines.h"
#include "process.h"
#include "tape.h"

static const struct py_wants everything = { .states = true, .tasks = true };

static void print_frames(const struct py_frame *frames, size_t count)
{
	static const char *const others[] = {
		[PY_FRAME_UNREADABLE] = "<unreadable>", [PY_FRAME_TRUNCATED] = "<truncated>"
	};
	for (size_t i = 0; i < count; i++) {
		if (frames[i].kind != PY_FRAME_PYTHON) {
			printf("    %s\n", others[frames[i].kind]);
			continue;
		}
		const char *slash = strrchr(frames[i].code->file, '/');
		printf("    %s %s:%u\n", frames[i].code->function, slash ? slash + 1 : frames[i].code->file,
			frames[i].line);
	}
}

static void print_sample(const struct py_process *p, const struct py_sample *s)
{
	printf("python %s unreadable %u\n", py_process_version(p), s->unreadable);
	for (size_t i = 0; i < s->thread_count; i++) {
		const struct py_thread *t = &s->threads[i];
		printf("thread %s%s%s%s\n", t->name, t->is_main ? " main" : "",
			t->runs_event_loop ? " loop" : "", t->holds_gil ? " gil" : "");
		print_frames(t->frames, t->frame_count);
	}
	for (size_t i = 0; i < s->task_count; i++) {
		printf("task %s\n", s->tasks[i].name);
		print_frames(s->tasks[i].frames, s->tasks[i].frame_count);
	}
}

static bool stopped(pid_t pid)
{
	char path[64], text[512];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "r");
	if (f == NULL)
		return true;
	size_t n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = '\0';
	const char *after = strrchr(text, ')');
	return after != NULL && after[2] == 'T';
}

/* The table of the lists of tasks is searched for in megabytes of data: the tape gets the page it was found on. */
static void tape_tasks(struct py_process *p)
{
	uint8_t page[4096];
	struct py_process *scout;
	struct py_sample sample;
	struct buf why = { 0 };
	if (py_process_open(p->pid, &scout, &why) != PY_OK)
		return;
	if (py_process_sample(scout, &everything, &sample) == PY_OK && scout->tasks.lists.known) {
		struct task_lists found = { .known = true,
			.table = scout->tasks.lists.table,
			.node = scout->tasks.lists.node,
			.interp_head = scout->tasks.lists.interp_head,
			.thread_head = scout->tasks.lists.thread_head,
			.thread_running = scout->tasks.lists.thread_running };
		p->tasks.lists = found;
		for (uint64_t at = found.table & ~4095ull; at < found.table + 104; at += sizeof page)
			if (!mem_read(p->mem, at, page, sizeof page))
				fputs("the table of tasks cannot be read again\n", stderr);
	}
	py_process_close(scout);
}

static int tape_record(pid_t pid, const char *path)
{
	struct mem *live = mem_live(pid);
	struct buf why = { 0 }, tape = { 0 };
	struct py_process *p = NULL;
	struct py_sample sample;
	if (live == NULL)
		return 1;
	kill(pid, SIGSTOP);
	while (!stopped(pid))
		usleep(1000);
	struct mem *recorder = mem_recorder(live);
	bool ok = process_open_memory(recorder, &p, &why) == PY_OK;
	if (ok)
		tape_tasks(p);
	for (unsigned i = 0; ok && i < 2; i++)
		ok = py_process_sample(p, &everything, &sample) == PY_OK;
	if (ok) {
		print_sample(p, &sample);
		mem_recorder_save(recorder, &tape);
	}
	kill(pid, SIGCONT);
	FILE *f = ok ? fopen(path, "wb") : NULL;
	ok = f != NULL && fwrite(tape.data, 1, tape.len, f) == tape.len;
	ok = f != NULL && fclose(f) == 0 && ok;
	fprintf(stderr, "%s: %zu KiB %s\n", path, tape.len >> 10, ok ? "" : why.data ? why.data : "failed");
	py_process_close(p);
	buf_clear(&tape);
	buf_clear(&why);
	return ok ? 0 : 1;
}

static int tape_replay(const char *path)
{
	enum { TAPE_BYTES_MAX = 8 << 20 };
	char *bytes = xmalloc(TAPE_BYTES_MAX);
	FILE *f = fopen(path, "rb");
	size_t len = f ? fread(bytes, 1, TAPE_BYTES_MAX, f) : 0;
	struct mem *tape = mem_tape(bytes, len);
	struct py_process *p = NULL;
	struct py_sample sample;
	struct buf why = { 0 };
	if (f != NULL)
		fclose(f);
	free(bytes);
	bool ok = tape != NULL && process_open_memory(tape, &p, &why) == PY_OK &&
		  py_process_sample(p, &everything, &sample) == PY_OK;
	if (ok)
		print_sample(p, &sample);
	else
		fprintf(stderr, "%s\n", why.data ? why.data : "not a tape");
	py_process_close(p);
	buf_clear(&why);
	return ok ? 0 : 1;
}

static int lines_print(enum line_table_kind kind)
{
	char *line = NULL;
	size_t capacity = 0;
	while (getline(&line, &capacity, stdin) > 0) {
		unsigned first, units;
		int hex_at;
		size_t len = 0;
		if (sscanf(line, "%u %u %n", &first, &units, &hex_at) < 2)
			return 1;
		uint8_t *table = xmalloc(strlen(line) + 1);
		for (const char *h = line + hex_at; sscanf(h, "%2hhx", &table[len]) == 1; h += 2)
			len++;
		struct line_map map;
		bool ok = lines_decoder(kind)(table, len, first, &map);
		printf("%s", ok ? "" : "malformed");
		for (unsigned unit = 0; ok && unit < units; unit++)
			printf("%u ", lines_at(&map, unit));
		putchar('\n');
		lines_clear(&map);
		free(table);
	}
	free(line);
	return 0;
}

static enum line_table_kind line_kind(const char *name)
{
	static const char *const names[] = {
		[LINES_LOCATIONS] = "locations", [LINES_LNOTAB] = "lnotab", [LINES_RANGES] = "ranges"
	};
	size_t kind = LINES_LOCATIONS;
	while (kind + 1 < ARRAY_LEN(names) && strcmp(names[kind], name) != 0)
		kind++;
	return (enum line_table_kind)kind;
}

/* A stack as one line of text: root first. */
static void stack_text(const struct py_thread *t, struct buf *out)
{
	static const char *const others[] = {
		[PY_FRAME_UNREADABLE] = "<unreadable>", [PY_FRAME_TRUNCATED] = "<truncated>"
	};
	buf_reset(out);
	for (size_t i = t->frame_count; i-- > 0;) {
		const struct py_frame *f = &t->frames[i];
		buf_printf(out, "%s%s", out->len ? ";" : "",
			f->kind == PY_FRAME_PYTHON ? f->code->function : others[f->kind]);
	}
	buf_add_char(out, '\n');
}

static int watch(pid_t pid, double seconds, const char *how)
{
	struct py_process *p;
	struct py_sample s;
	struct buf text = { 0 };
	struct py_wants wants = { .tasks = strcmp(how, "tasks") == 0,
		.blocking = strcmp(how, "blocking") == 0 };
	struct map counts = { 0 }, texts = { 0 };
	uint64_t taken = 0, degraded = 0, failed = 0, count;
	if (py_process_open(pid, &p, &text) != PY_OK) {
		fprintf(stderr, "%s\n", text.data);
		return 1;
	}
	enum py_result r = PY_OK;
	uint64_t until = clock_now_ns() + (uint64_t)(seconds * (double)NS_PER_S);
	while (clock_now_ns() < until && r != PY_NO_PROCESS) {
		r = py_process_sample(p, &wants, &s);
		if (wants.blocking) /* else it would hardly move */
			usleep(200);
		taken++;
		failed += r != PY_OK;
		degraded += r == PY_OK && s.unreadable > 0;
		for (size_t i = 0; r == PY_OK && i < s.thread_count; i++) {
			stack_text(&s.threads[i], &text);
			uint64_t key = hash_bytes(text.data, text.len);
			if (!map_get(&counts, key, &count)) {
				count = 0;
				map_put(&texts, key, (uint64_t)(uintptr_t)xstrdup(text.data));
			}
			map_put(&counts, key, count + 1);
		}
	}
	printf("taken %llu failed %llu degraded %llu last %s unchanged %d\n", (unsigned long long)taken,
		(unsigned long long)failed, (unsigned long long)degraded, py_result_sentences[r],
		py_process_code_unchanged(p));
	if (wants.blocking)
		fprintf(stderr, "stopped at longest for %.3f ms\n",
			(double)py_process_stopped_ns(p) / (double)NS_PER_MS);
	size_t at = 0;
	uint64_t key, kept;
	while (map_next(&texts, &at, &key, &kept)) {
		count = 0;
		if (map_get(&counts, key, &count))
			printf("%llu %s", (unsigned long long)count, (char *)(uintptr_t)kept);
		free((char *)(uintptr_t)kept);
	}
	map_clear(&texts);
	map_clear(&counts);
	buf_clear(&text);
	py_process_close(p);
	return 0;
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";
	if (strcmp(command, "dump") == 0)
		return dump_main(argc - 1, argv + 1);
	if (strcmp(command, "tape") == 0 && argc == 4)
		return tape_record((pid_t)atoi(argv[2]), argv[3]);
	if (strcmp(command, "replay") == 0 && argc == 3)
		return tape_replay(argv[2]);
	if (strcmp(command, "lines") == 0)
		return lines_print(argc > 2 ? line_kind(argv[2]) : LINES_LOCATIONS);
	if (strcmp(command, "watch") == 0 && argc >= 4)
		return watch((pid_t)atoi(argv[2]), strtod(argv[3], NULL), argc > 4 ? argv[4] : "");
	fputs("pystack_tool dump | tape | replay | lines | watch\n", stderr);
	return 2;
}
