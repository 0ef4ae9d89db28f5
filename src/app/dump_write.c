/* dump_write.c - one look at a process as text for people, or as JSON. */
#include "dump_write.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <slowproxy/base/json.h>

#include "attach.h"

enum { AWAITED_SHOWN_MAX = 8, VARIABLES_MAX = 256 };

void dumped_init(struct dumped *d, struct py_process *process, const struct py_sample *sample)
{
	*d = (struct dumped){ .process = process, .sample = sample };
	command_read(py_process_pid(process), d->command, sizeof d->command);
	d->awaited_by = xcalloc(sample->task_count + 1, sizeof *d->awaited_by);
	d->running = xcalloc(sample->thread_count + 1, sizeof *d->running);
	for (size_t i = 0; i < sample->task_count; i++)
		map_put(&d->task_index, sample->tasks[i].address, i);
	py_waiting_tasks(process, sample->tasks, sample->task_count, d->awaited_by);
	for (size_t i = 0; i < sample->thread_count; i++) {
		const struct py_thread *t = &sample->threads[i];
		d->running[i] = t->runs_event_loop ? py_running_task(process, t->frames, t->frame_count) : 0;
	}
}

void dumped_clear(struct dumped *d)
{
	free(d->awaited_by);
	free(d->running);
	map_clear(&d->task_index);
}

static const struct py_task *task_at(const struct dumped *d, uint64_t address)
{
	uint64_t at;
	return address != 0 && map_get(&d->task_index, address, &at) ? &d->sample->tasks[at] : NULL;
}

static const char *frame_function(const struct py_frame *f)
{
	static const char *const others[] = {
		[PY_FRAME_UNREADABLE] = "<unreadable>", [PY_FRAME_TRUNCATED] = "<truncated>"
	};
	return f->kind == PY_FRAME_PYTHON ? f->code->function : others[f->kind];
}

/* --- text --- */

enum paint { PLAIN, HEAD, NAME, PLACE, RUNS, WAITS, DOUBT, PAINT_COUNT };

struct ink {
	struct buf *out;
	bool coloured;
};

/* What a process calls its threads, tasks and functions must not steer the terminal of who reads it. */
static void put_text(struct ink *ink, const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text, next = (unsigned char)text[1];
		bool high = c == 0xc2 && next >= 0x80 && next < 0xa0; /* U+0080 to U+009F steer, too */
		if (c < 0x20 || c == 0x7f || high)
			buf_printf(ink->out, "\\x%02x", high ? next : c);
		if (high)
			text++;
		else if (c >= 0x20 && c != 0x7f)
			buf_add_char(ink->out, *text);
	}
}

static void put(struct ink *ink, enum paint paint, const char *text)
{
	static const char *const codes[PAINT_COUNT] = {
		[HEAD] = "1", [NAME] = "36", [PLACE] = "2", [RUNS] = "32", [WAITS] = "33", [DOUBT] = "31"
	};
	bool painted = ink->coloured && codes[paint] != NULL;
	if (painted)
		buf_printf(ink->out, "\033[%sm", codes[paint]);
	put_text(ink, text);
	if (painted)
		buf_add_str(ink->out, "\033[0m");
}

static void text_variables(struct ink *ink, const struct dumped *d, const struct py_frame *f)
{
	struct py_variable all[VARIABLES_MAX];
	size_t count = d->locals ? py_variables(d->process, f, all, VARIABLES_MAX) : 0;
	for (size_t i = 0; i < count; i++) {
		buf_add_str(ink->out, "        ");
		put(ink, PLAIN, all[i].name);
		put(ink, PLACE, " = ");
		put(ink, PLAIN, all[i].value);
		buf_add_char(ink->out, '\n');
	}
}

static void text_frames(struct ink *ink, const struct dumped *d, const struct py_frame *frames, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct py_frame *f = &frames[i];
		buf_add_str(ink->out, "    ");
		put(ink, f->kind == PY_FRAME_PYTHON ? NAME : DOUBT, frame_function(f));
		if (f->kind == PY_FRAME_PYTHON) {
			char line[24] = "";
			if (f->line > 0)
				snprintf(line, sizeof line, ":%u", f->line);
			buf_add_char(ink->out, ' ');
			buf_add_char(ink->out, '(');
			put(ink, PLACE, f->code->file);
			put(ink, PLACE, line);
			buf_add_char(ink->out, ')');
		}
		buf_add_char(ink->out, '\n');
		text_variables(ink, d, f);
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

/* " on a lock that 4711 has" */
static void text_wait(struct ink *ink, const struct py_wait *w)
{
	static const struct {
		const char *what, *holds;
	} words[] = {
		[PY_WAIT_GIL] = { "", ", which thread %llu holds" },
		[PY_WAIT_LOCK] = { " on a lock", "" },
		[PY_WAIT_RLOCK] = { " on an rlock", ", which thread %llu holds" },
		[PY_WAIT_OBJECT] = { " on an object", ", which thread %llu is changing" },
		[PY_WAIT_WORLD] = { ": all threads stand still", " for thread %llu" },
	};
	char holds[64] = "";
	if (w->kind == PY_WAIT_NONE)
		return;
	if (w->holder != 0)
		snprintf(holds, sizeof holds, words[w->kind].holds, (unsigned long long)w->holder);
	put(ink, WAITS, words[w->kind].what);
	put(ink, WAITS, holds);
}

static enum paint state_paint(const struct py_thread *t)
{
	return t->state == PY_STATE_RUNNING || t->holds_gil ? RUNS
	       : t->state == PY_STATE_IDLE                  ? PLACE
							    : WAITS;
}

static void text_native(struct ink *ink, const struct py_native *n)
{
	buf_add_str(ink->out, "    ");
	put(ink, PLAIN, n->function);
	if (n->library[0] != '\0') {
		buf_add_str(ink->out, " (");
		put(ink, PLACE, n->library);
		buf_add_char(ink->out, ')');
	}
	buf_add_char(ink->out, '\n');
}

static void text_thread(struct ink *ink, const struct dumped *d, const struct py_thread *t)
{
	char head[48];
	size_t shown = 0;
	snprintf(head, sizeof head, "Thread %llu", (unsigned long long)t->tid);
	buf_add_char(ink->out, '\n');
	put(ink, HEAD, head);
	buf_add_str(ink->out, " (");
	put(ink, state_paint(t), state_word(t));
	text_wait(ink, &t->waits);
	buf_add_str(ink->out, "): \"");
	put(ink, HEAD, t->name);
	buf_printf(ink->out, "\"%s\n", t->runs_event_loop ? " runs an event loop" : "");
	for (size_t i = 0; i < t->native_count; i++) {
		text_frames(ink, d, t->frames + shown, t->natives[i].depth - shown);
		shown = t->natives[i].depth;
		text_native(ink, &t->natives[i]);
	}
	text_frames(ink, d, t->frames + shown, t->frame_count - shown);
}

/* Who has to be done before this task goes on. Tasks are in no order of awaiting, so all are asked. */
static void text_awaits(
	struct ink *ink, const struct dumped *d, const size_t *first, const size_t *next, size_t i)
{
	size_t shown = 0, others = 0;
	for (size_t at = first[i]; at != SIZE_MAX; at = next[at]) {
		if (shown == AWAITED_SHOWN_MAX) {
			others++;
			continue;
		}
		buf_add_str(ink->out, shown++ == 0 ? ", awaits \"" : ", \"");
		put(ink, PLAIN, d->sample->tasks[at].name);
		buf_add_char(ink->out, '"');
	}
	if (others != 0)
		buf_printf(ink->out, " and %zu more", others);
}

static void text_task(
	struct ink *ink, const struct dumped *d, const size_t *first, const size_t *next, size_t i)
{
	const struct py_task *t = &d->sample->tasks[i], *waiting = task_at(d, d->awaited_by[i]);
	buf_add_str(ink->out, "\nTask \"");
	put(ink, HEAD, t->name);
	buf_add_str(ink->out, "\" (");
	put(ink, t->waits_for != 0 ? WAITS : PLAIN,
		t->waits_for != 0 ? "suspended" : "suspended, will run next");
	buf_add_char(ink->out, ')');
	text_awaits(ink, d, first, next, i);
	if (waiting != NULL) {
		buf_add_str(ink->out, ", awaited by \"");
		put(ink, PLAIN, waiting->name);
		buf_add_char(ink->out, '"');
	}
	buf_add_char(ink->out, '\n');
	text_frames(ink, d, t->frames, t->frame_count);
}

static void text_tasks(struct ink *ink, const struct dumped *d)
{
	size_t count = d->sample->task_count;
	size_t *first = xmalloc((count + 1) * sizeof *first), *next = xmalloc((count + 1) * sizeof *next);
	for (size_t i = 0; i < count; i++)
		first[i] = SIZE_MAX;
	/* Lists of who is awaited by whom, in the order of the sample. */
	for (size_t i = count; i-- > 0;) {
		uint64_t by = 0;
		next[i] = SIZE_MAX;
		if (d->awaited_by[i] == 0 || !map_get(&d->task_index, d->awaited_by[i], &by))
			continue;
		next[i] = first[by];
		first[by] = i;
	}
	for (size_t i = 0; i < count; i++)
		text_task(ink, d, first, next, i);
	free(first);
	free(next);
}

static void text_greenlets(struct ink *ink, const struct dumped *d)
{
	const struct py_sample *s = d->sample;
	for (size_t i = 0; i < s->greenlet_count; i++) {
		char head[48];
		snprintf(head, sizeof head, "Greenlet 0x%llx", (unsigned long long)s->greenlets[i].address);
		buf_add_char(ink->out, '\n');
		put(ink, HEAD, head);
		buf_add_str(ink->out, " (");
		put(ink, WAITS, "suspended");
		buf_add_str(ink->out, ")\n");
		text_frames(ink, d, s->greenlets[i].frames, s->greenlets[i].frame_count);
	}
	if (s->greenlets_cut)
		buf_printf(ink->out, "\nThere are more than %zu greenlets; the others are not shown.\n",
			s->greenlet_count);
}

void dump_write_text(const struct dumped *d, bool coloured, struct buf *out)
{
	const struct py_sample *s = d->sample;
	struct ink ink = { out, coloured };
	buf_printf(out, "Process %d: Python %s%s\n", (int)py_process_pid(d->process),
		py_process_version(d->process), s->gc_running ? ", collecting garbage" : "");
	put(&ink, PLACE, d->command);
	buf_add_char(out, '\n');
	for (size_t i = 0; i < s->thread_count; i++)
		text_thread(&ink, d, &s->threads[i]);
	text_tasks(&ink, d);
	text_greenlets(&ink, d);
	if (s->tasks_cut)
		buf_printf(
			out, "\nThere are more than %zu tasks; the others are not shown.\n", s->task_count);
	if (s->unreadable)
		buf_printf(out, "\n%u of them could not be read whole: what is not sure is marked.\n",
			s->unreadable);
}

/* --- JSON --- */

static void json_variables(struct json *j, const struct dumped *d, const struct py_frame *f)
{
	struct py_variable all[VARIABLES_MAX];
	size_t count = py_variables(d->process, f, all, VARIABLES_MAX);
	json_key(j, "locals");
	json_begin(j, '[');
	for (size_t i = 0; i < count; i++) {
		json_begin(j, '{');
		json_key(j, "name");
		json_str(j, all[i].name);
		json_key(j, "repr");
		json_str(j, all[i].value);
		json_end(j);
	}
	json_end(j);
}

static void json_frames(struct json *j, const struct dumped *d, const struct py_frame *frames, size_t count)
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
			if (d->locals)
				json_variables(j, d, f);
		}
		json_end(j);
	}
	json_end(j);
}

/* Addresses are the ids of tasks: names may be given twice. */
static void json_id(struct json *j, const char *key, uint64_t address)
{
	char text[24];
	json_key(j, key);
	if (address == 0) {
		json_null(j);
		return;
	}
	snprintf(text, sizeof text, "0x%llx", (unsigned long long)address);
	json_str(j, text);
}

static void json_natives(struct json *j, const struct py_native *natives, size_t count)
{
	json_key(j, "native_frames");
	json_begin(j, '[');
	for (size_t i = 0; i < count; i++) {
		json_begin(j, '{');
		json_key(j, "name");
		json_str(j, natives[i].function);
		json_key(j, "library");
		json_str(j, natives[i].library);
		json_key(j, "depth");
		json_u64(j, natives[i].depth);
		json_end(j);
	}
	json_end(j);
}

static void json_wait(struct json *j, const struct py_wait *w)
{
	if (w->kind == PY_WAIT_NONE) {
		json_null(j);
		return;
	}
	json_begin(j, '{');
	json_key(j, "kind");
	json_str(j, py_wait_names[w->kind]);
	json_id(j, "object", w->object);
	json_key(j, "held_by");
	if (w->holder != 0)
		json_u64(j, w->holder);
	else
		json_null(j);
	json_end(j);
}

static void json_thread(struct json *j, const struct dumped *d, const struct py_thread *t, uint64_t running)
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
	json_id(j, "runs_task", running);
	json_key(j, "syscall");
	if (t->syscall >= 0)
		json_i64(j, t->syscall);
	else
		json_null(j);
	json_key(j, "waits_for");
	json_wait(j, &t->waits);
	if (t->native_count != 0)
		json_natives(j, t->natives, t->native_count);
	json_frames(j, d, t->frames, t->frame_count);
	json_end(j);
}

static void json_task(struct json *j, const struct dumped *d, const struct py_task *t, uint64_t awaited_by)
{
	json_begin(j, '{');
	json_id(j, "id", t->address);
	json_key(j, "name");
	json_str(j, t->name);
	json_id(j, "awaited_by", awaited_by);
	json_key(j, "will_run_next");
	json_bool(j, t->waits_for == 0);
	json_frames(j, d, t->frames, t->frame_count);
	json_end(j);
}

void dump_write_json(const struct dumped *d, struct buf *out)
{
	const struct py_sample *s = d->sample;
	struct json j;
	json_init(&j, out);
	json_begin(&j, '{');
	json_key(&j, "pid");
	json_i64(&j, py_process_pid(d->process));
	json_key(&j, "python_version");
	json_str(&j, py_process_version(d->process));
	json_key(&j, "command_line");
	json_str(&j, d->command);
	json_key(&j, "gc_running");
	json_bool(&j, s->gc_running);
	json_key(&j, "unreadable");
	json_u64(&j, s->unreadable);
	json_key(&j, "threads");
	json_begin(&j, '[');
	for (size_t i = 0; i < s->thread_count; i++)
		json_thread(&j, d, &s->threads[i], d->running[i]);
	json_end(&j);
	json_key(&j, "tasks");
	json_begin(&j, '[');
	for (size_t i = 0; i < s->task_count; i++)
		json_task(&j, d, &s->tasks[i], d->awaited_by[i]);
	json_end(&j);
	json_key(&j, "tasks_cut");
	json_bool(&j, s->tasks_cut);
	json_key(&j, "greenlets");
	json_begin(&j, '[');
	for (size_t i = 0; i < s->greenlet_count; i++) {
		json_begin(&j, '{');
		json_id(&j, "id", s->greenlets[i].address);
		json_frames(&j, d, s->greenlets[i].frames, s->greenlets[i].frame_count);
		json_end(&j);
	}
	json_end(&j);
	json_key(&j, "greenlets_cut");
	json_bool(&j, s->greenlets_cut);
	json_end(&j);
}
