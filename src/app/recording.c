/* recording.c - what a Python process does, look by look, gathered in a profile.
 *
 *   look --> threads, tasks --> those wanted --> stack of interned frames --> sample
 *                                                  ^ once a second: is each code object still what it was?
 */
#include "recording.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>

#include "attach.h"

enum { THREADS_MAX = 1024, TASKS_MAX = 10000, CHANGED_MAX = 4096, FILE_BYTES_MAX = 4096 };

static const uint64_t check_every_ns = NS_PER_S;

static const enum profile_state states[] = {
	[PY_STATE_UNKNOWN] = PROFILE_UNKNOWN,
	[PY_STATE_RUNNING] = PROFILE_RUNNING,
	[PY_STATE_BLOCKED] = PROFILE_BLOCKED,
	[PY_STATE_GIL_WAIT] = PROFILE_GIL_WAIT,
	[PY_STATE_IDLE] = PROFILE_IDLE,
};

/* "process 4711: python3 app.py" */
static uint32_t process_frame(struct profile *p, pid_t pid)
{
	char words[256], name[sizeof words + 32];
	command_read(pid, words, sizeof words);
	snprintf(name, sizeof name, "process %d: %s", (int)pid, words);
	return profile_add_frame(p, name, "", 0);
}

void recording_init(struct recording *r, struct profile *profile, struct py_process *python,
	const struct recording_wants *wants, uint64_t period_ns, bool named)
{
	*r = (struct recording){ .profile = profile,
		.python = python,
		.pid = py_process_pid(python),
		.wants = *wants,
		.period_ns = period_ns };
	r->root = named ? process_frame(profile, r->pid) : UINT32_MAX;
	r->checked_ns = clock_now_ns();
	r->checked_until = profile->sample_count;
}

void recording_samples_gone(struct recording *r)
{
	r->checked_until = 0;
}

void recording_clear(struct recording *r)
{
	py_process_close(r->python);
	map_clear(&r->frames);
	free(r->stack);
	*r = (struct recording){ 0 };
}

/* "/usr/lib/python3/dist-packages/fastapi/routing.py" -> "fastapi/routing.py": up to the folder that is no package any more.
 * The folders are looked at as the process sees them. */
static const char *file_from_package(pid_t pid, const char *file)
{
	const char *start = strrchr(file, '/');
	if (file[0] != '/' || strlen(file) > FILE_BYTES_MAX)
		return file;
	while (start > file) {
		char path[FILE_BYTES_MAX + 64];
		snprintf(path, sizeof path, "/proc/%d/root%.*s/__init__.py", (int)pid, (int)(start - file),
			file);
		if (access(path, F_OK) != 0)
			break;
		for (start--; start > file && *start != '/';)
			start--;
	}
	return start + 1;
}

static uint32_t frame_of_code(struct recording *r, const struct py_code *code, uint32_t line)
{
	line = r->wants.no_lines ? 0 : r->wants.functions ? code->first_line : line;
	uint64_t key = (uint64_t)code->id << 32 | line, frame;
	if (map_get(&r->frames, key, &frame))
		return (uint32_t)frame;
	const char *file = r->wants.full_filenames ? code->file
						   : file_from_package(py_process_pid(r->python), code->file);
	frame = profile_add_frame(r->profile, code->function, file, line);
	map_put(&r->frames, key, frame);
	return (uint32_t)frame;
}

static uint32_t frame_of(struct recording *r, const struct py_frame *f)
{
	if (f->kind == PY_FRAME_PYTHON)
		return frame_of_code(r, f->code, f->line);
	return profile_add_frame(
		r->profile, f->kind == PY_FRAME_TRUNCATED ? "<truncated>" : "<unreadable>", "", 0);
}

static uint32_t *stack_room(struct recording *r, size_t depth)
{
	if (depth > r->stack_room) {
		r->stack = xrealloc(r->stack, depth * 2 * sizeof *r->stack);
		r->stack_room = depth * 2;
	}
	return r->stack;
}

/* Of a process the leaf comes first, in a profile the root; C functions stand between. */
static uint32_t stack_of(struct recording *r, const struct py_frame *frames, size_t count,
	const struct py_native *natives, size_t native_count)
{
	size_t below = r->root != UINT32_MAX ? 1 : 0;
	uint32_t *stack = stack_room(r, below + count + native_count);
	if (below != 0)
		stack[0] = r->root;
	uint32_t *at = stack + below + count + native_count;
	for (size_t i = 0, k = 0; i < count || k < native_count;) {
		if (k < native_count && natives[k].depth <= i) {
			*--at = profile_add_frame(r->profile, natives[k].function, natives[k].library, 0);
			k++;
		} else {
			*--at = frame_of(r, &frames[i++]);
		}
	}
	return profile_add_stack(r->profile, stack, (uint32_t)(below + count + native_count));
}

static bool thread_wanted(const struct recording_wants *w, const struct py_thread *t)
{
	if (t->frame_count == 0)
		return false;
	if (w->gil)
		return t->holds_gil;
	return w->idle || t->holds_gil || t->state == PY_STATE_RUNNING || t->state == PY_STATE_UNKNOWN;
}

/* Addresses of tasks, unlike ids of threads, are another process's too: after a fork even the same ones. */
static uint32_t lane_of(struct recording *r, enum profile_lane_kind kind, uint64_t id, const char *name)
{
	uint64_t apart = kind == PROFILE_LANE_TASK ? (uint64_t)(uint32_t)r->pid << 48 : 0;
	uint32_t lane = profile_add_lane(r->profile, kind, id ^ apart, name);
	r->profile->lanes[lane].process = (uint32_t)r->pid;
	return lane;
}

static void take_thread(struct recording *r, const struct py_thread *t, uint64_t at_ns)
{
	char name[64];
	snprintf(name, sizeof name, "%s (%llu)", t->name, (unsigned long long)t->tid);
	struct profile_sample s = {
		.at_ns = at_ns,
		.weight_ns = r->period_ns,
		.lane = lane_of(r, PROFILE_LANE_THREAD, t->tid, name),
		.stack = stack_of(r, t->frames, t->frame_count, t->natives, t->native_count),
		.state = (uint8_t)states[t->state],
		.holds_gil = t->holds_gil,
		.syscall = (int16_t)t->syscall,
	};
	profile_add_sample(r->profile, &s);
}

static void take_task(struct recording *r, const struct py_task *t, uint64_t at_ns)
{
	struct profile_sample s = {
		.at_ns = at_ns,
		.weight_ns = r->period_ns,
		.lane = lane_of(r, PROFILE_LANE_TASK, t->address, t->name),
		.stack = stack_of(r, t->frames, t->frame_count, NULL, 0),
		.state = PROFILE_AWAITING,
		.syscall = -1,
	};
	profile_add_sample(r->profile, &s);
}

/* Marks the frames that came from these code objects. */
static bool *frames_of_codes(const struct recording *r, const uint32_t *ids, size_t count)
{
	bool *marked = xcalloc(r->profile->frame_count + 1, sizeof *marked);
	uint64_t key, frame;
	if (count > CHANGED_MAX) /* an exec, most likely: nothing is what it was */
		memset(marked, true, r->profile->frame_count);
	for (size_t at = 0; map_next(&r->frames, &at, &key, &frame);)
		for (size_t i = 0; !marked[frame] && i < count; i++)
			marked[frame] = ids[i] == key >> 32;
	return marked;
}

/* The callers stay; in place of what is not sure any more stands that it was replaced. */
static void withdraw_frames(
	struct recording *r, struct profile_sample *s, const bool *marked, uint32_t instead)
{
	const struct profile_stack *old = &r->profile->stacks[s->stack];
	uint32_t *stack = stack_room(r, old->depth);
	bool changed = false;
	if (r->profile->lanes[s->lane].process != (uint32_t)r->pid)
		return;
	for (uint32_t d = 0; d < old->depth; d++) {
		bool gone = old->frames[d] != instead && marked[old->frames[d]];
		stack[d] = gone ? instead : old->frames[d];
		changed |= gone;
	}
	if (!changed)
		return;
	s->stack = profile_add_stack(r->profile, stack, old->depth);
	r->replaced++;
}

/* A code object may be freed, and its memory be another one's: then samples since the last check may tell the wrong name. */
static void check_codes(struct recording *r, uint64_t now_ns)
{
	uint32_t ids[CHANGED_MAX];
	size_t count = py_process_code_changed(r->python, ids, CHANGED_MAX);
	if (count != 0) {
		uint32_t instead = profile_add_frame(r->profile, "<replaced>", "", 0);
		bool *marked = frames_of_codes(r, ids, count);
		for (size_t i = r->checked_until; i < r->profile->sample_count; i++)
			withdraw_frames(r, &r->profile->samples[i], marked, instead);
		free(marked);
		py_process_forget_code(r->python);
		map_clear(&r->frames);
	}
	r->checked_until = r->profile->sample_count;
	r->checked_ns = now_ns;
}

static void note_activity(struct activity *a, const struct py_sample *s)
{
	bool held = false;
	for (size_t i = 0; i < s->thread_count; i++) {
		held |= s->threads[i].holds_gil;
		a->active += s->threads[i].state == PY_STATE_RUNNING;
	}
	a->looks++;
	a->gil += held;
	a->threads = (unsigned)s->thread_count;
}

enum py_result recording_look(struct recording *r)
{
	struct py_wants wants = { .states = true,
		.tasks = r->wants.tasks,
		.max_threads = THREADS_MAX,
		.max_tasks = TASKS_MAX,
		.blocking = r->wants.blocking,
		.native = r->wants.native };
	struct py_sample sample;
	enum py_result result = py_process_sample(r->python, &wants, &sample);
	if (result == PY_NO_PROCESS)
		return result; /* nothing to look at: no failure of a look */
	r->looks++;
	if (result != PY_OK) {
		r->failed_looks++;
		return result;
	}
	r->degraded += sample.unreadable;
	note_activity(&r->activity, &sample);
	for (size_t i = 0; i < sample.thread_count; i++)
		if (thread_wanted(&r->wants, &sample.threads[i]))
			take_thread(r, &sample.threads[i], sample.at_ns);
	for (size_t i = 0; i < sample.task_count; i++)
		take_task(r, &sample.tasks[i], sample.at_ns);
	if (sample.at_ns - r->checked_ns >= check_every_ns)
		check_codes(r, sample.at_ns);
	return PY_OK;
}

/* Of a process that is gone nothing can be checked: its last second is taken as it was read. */
void recording_end(struct recording *r)
{
	struct py_wants nothing = { .max_threads = 1 };
	struct py_sample sample;
	if (py_process_sample(r->python, &nothing, &sample) == PY_OK)
		check_codes(r, clock_now_ns());
}
