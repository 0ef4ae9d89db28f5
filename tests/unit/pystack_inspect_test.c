/* Objects of a living process are looked at by steps; and whatever its memory says, the look ends and nothing breaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faulty.h"
#include "process.h"

/* Prints a letter once its task is suspended and its thread waits. */
static const char program[] =
	"import asyncio, sys, threading\n"
	"class Protocol:\n"
	"    def __init__(self): self.scope = {'type': 'http', 'headers': [(b'host', b'x'), (b'Traceparent', b'00-key-01')]}\n"
	"class Slotted:\n"
	"    __slots__ = ('first', 'when')\n"
	"def serve(self, environ, shared, timer):\n"
	"    inner = lambda: shared\n"
	"    sys.stdout.write('x'); sys.stdout.flush()\n"
	"    sys.stdin.read()\n"
	"def plain(number, minus, zero, big, half, no, yes, nothing, quoted, raw, long, three, pair, mapping, bag, own):\n"
	"    shared = number\n"
	"    inner = lambda: shared\n"
	"    unset = 1; del unset\n"
	"    serve(own, {'HTTP_TRACEPARENT': '00-other-01'}, {'deep': [7.5]}, slotted())\n"
	"def slotted():\n"
	"    timer = Slotted(); timer.when = 12.5\n"
	"    return timer\n"
	"async def child(): await asyncio.sleep(1000)\n"
	"async def parent(): await asyncio.gather(child(), child())\n"
	"async def main():\n"
	"    waiting = asyncio.create_task(parent())\n"
	"    await asyncio.sleep(0.05)\n"
	"    plain(4711, -12345678901, 0, 1 << 100, 0.5, False, True, None, \"it's \\n\\xe9\", b'a\\x00\\xff', 'x' * 5000, [1, 2, 3],\n"
	"          (1, 2), {1: 2}, {1, 2, 3, 4}, Protocol())\n"
	"asyncio.run(main())\n";

struct child {
	pid_t pid;
	int in, out;
	bool ready;
};

/* An interpreter to look at: its path, and the folder it takes for the root. */
struct python {
	char path[256], root[256];
};
enum { PYTHONS_MAX = 24 };
static struct python pythons[PYTHONS_MAX];
static size_t python_count;

static void pythons_add(const char *root, const char *pattern)
{
	char whole[600];
	glob_t found;
	snprintf(whole, sizeof whole, "%s%s", root, pattern);
	if (glob(whole, 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc && python_count < PYTHONS_MAX; i++) {
		struct python *p = &pythons[python_count++];
		snprintf(p->path, sizeof p->path, "%s", found.gl_pathv[i] + strlen(root));
		snprintf(p->root, sizeof p->root, "%s", root);
	}
	globfree(&found);
}

/* The system's, pyenv's, and those of other Debians in folders, as tests/pystack finds them. */
static void pythons_find(void)
{
	glob_t roots;
	char pattern[512];
	const char *more = getenv("SLOWPROXY_PYTHONS");
	const char *pyenv = getenv("PYENV_ROOT"), *others = getenv("SLOWPROXY_PYTHON_ROOTS");
	pythons_add("", "/usr/bin/python3");
	snprintf(pattern, sizeof pattern, "%s/versions/3.*/bin/python3", pyenv ? pyenv : "/root/.pyenv");
	pythons_add("", pattern);
	for (const char *at = more; at != NULL && *at != '\0'; at += strspn(at, ":")) {
		snprintf(pattern, sizeof pattern, "%.*s", (int)strcspn(at, ":"), at);
		pythons_add("", pattern);
		at += strcspn(at, ":");
	}
	snprintf(pattern, sizeof pattern, "%s/*", others ? others : "/var/lib/slowproxy-pythons");
	if (geteuid() == 0 && glob(pattern, 0, NULL, &roots) == 0) {
		for (size_t i = 0; i < roots.gl_pathc; i++)
			pythons_add(roots.gl_pathv[i], "/usr/bin/python3.[0-9][0-9]");
		globfree(&roots);
	}
}

static struct child child_start(const struct python *python)
{
	int in[2], out[2];
	char letter;
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	struct child c = { .pid = fork(), .in = in[1], .out = out[0] };
	if (c.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		if (python->root[0] != '\0' && (chroot(python->root) != 0 || chdir("/") != 0))
			_exit(127);
		execl(python->path, "python3", "-c", program, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	c.ready = read(c.out, &letter, 1) == 1;
	return c;
}

/* Python before 3.8 cannot run the program, or is refused. */
static struct py_process *process_of(const struct child *c, const struct python *python)
{
	struct py_process *p = NULL;
	struct buf why = { 0 };
	if (!c->ready || py_process_open(c->pid, &p, &why) != PY_OK)
		print_message("SKIPPED %s%s: %s\n", python->root, python->path,
			why.len ? why.data : "it does not run the program");
	else
		print_message("%s%s is %s\n", python->root, python->path, py_process_version(p));
	buf_clear(&why);
	return p;
}

static void child_end(struct child *c)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	close(c->in);
	close(c->out);
}

static const struct py_wants wants = { .tasks = true };

static const struct py_frame *frame_find(const struct py_frame *frames, size_t count, const char *function)
{
	for (size_t i = 0; i < count; i++)
		if (frames[i].code != NULL && strcmp(frames[i].code->function, function) == 0)
			return &frames[i];
	return NULL;
}

/* Follows the steps from a variable of serve(); the text it leads to. */
static bool text_of(struct py_process *p, const struct py_frame *f, const char *local,
	const struct py_step *steps, char *out, size_t out_bytes)
{
	uint64_t slot, object, data;
	int place = py_code_local(p, f->code, local);
	return py_local(p, f, place, &slot, &object) && py_follow(p, object, steps, &object) &&
	       py_text(p, object, out, out_bytes, &data);
}

static const struct py_step to_header[] = { { PY_STEP_ATTR, "scope" }, { PY_STEP_ITEM, "headers" },
	{ PY_STEP_PAIR, "traceparent" }, { 0 } };
static const struct py_step to_environ[] = { { PY_STEP_ITEM, "HTTP_TRACEPARENT" }, { 0 } };
static const struct py_step to_slot[] = { { PY_STEP_SLOT, "when" }, { 0 } };
static const struct py_step to_first[] = { { PY_STEP_ITEM, "deep" }, { PY_STEP_FIRST, NULL }, { 0 } };
static const struct py_step to_nowhere[] = { { PY_STEP_ATTR, "scope" }, { PY_STEP_ITEM, "absent" }, { 0 } };

static void steps_of(struct py_process *p)
{
	struct py_sample s;
	char text[64];
	uint64_t slot, object;
	double number;
	uint8_t head[PY_HEAD_BYTES];
	struct py_part part = { .into = head, .len = sizeof head };
	assert_int_equal(py_process_sample(p, &wants, &s), PY_OK);
	const struct py_frame *f = frame_find(s.threads[0].frames, s.threads[0].frame_count, "serve");
	assert_non_null(f);
	assert_true(text_of(p, f, "self", to_header, text, sizeof text));
	assert_string_equal(text, "00-key-01");
	assert_true(text_of(p, f, "environ", to_environ, text, sizeof text));
	assert_string_equal(text, "00-other-01");
	assert_true(text_of(p, f, "environ", to_environ, text, 5)); /* cut, not overrun */
	assert_string_equal(text, "00-o");
	assert_false(text_of(p, f, "self", to_nowhere, text, sizeof text));
	assert_false(text_of(p, f, "environ", to_header, text, sizeof text));
	assert_int_equal(py_code_local(p, f->code, "absent"), -1);
	assert_true(
		py_local(p, f, py_code_local(p, f->code, "shared"), &slot, &object)); /* through its cell */
	assert_true(py_follow(p, object, to_first, &object) && py_number(p, object, &number));
	assert_true(number == 7.5);
	part.addr = object;
	py_peek(p, &part, 1);
	assert_int_equal(part.len, sizeof head);
	assert_true(py_alive(p, head));
	memset(head, 0, sizeof head);
	assert_false(py_alive(p, head));
	assert_true(py_local(p, f, py_code_local(p, f->code, "timer"), &slot, &object));
	assert_true(py_follow(p, object, to_slot, &object) && py_number(p, object, &number));
	assert_true(number == 12.5);
}

/* With every interpreter at hand, what is asked of a process that waits. */
static void with_each(void (*ask)(struct py_process *))
{
	for (size_t i = 0; i < python_count; i++) {
		struct child c = child_start(&pythons[i]);
		struct py_process *p = process_of(&c, &pythons[i]);
		if (p != NULL)
			ask(p);
		py_process_close(p);
		child_end(&c);
	}
}

/* Attributes, items, pairs, slots and variables that are shared with inner functions lead to what the program put there. */
static void steps_lead_to_objects(void **state)
{
	(void)state;
	with_each(steps_of);
}

static const struct py_variable *variable_find(const struct py_variable *v, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(v[i].name, name) == 0)
			return &v[i];
	return NULL;
}

static void variables_of(struct py_process *p)
{
	static const struct {
		const char *name, *value;
	} expected[] = {
		{ "number", "4711" },
		{ "minus", "-12345678901" },
		{ "zero", "0" },
		{ "big", "<int of more than 90 bits>" },
		{ "half", "0.5" },
		{ "no", "False" },
		{ "yes", "True" },
		{ "nothing", "None" },
		{ "quoted", "\"it's \\n\xc3\xa9\"" },
		{ "raw", "b'a\\x00\\xff'" },
		{ "three", "<list of 3>" },
		{ "pair", "<tuple of 2>" },
		{ "mapping", "<dict of 1>" },
		{ "bag", "<set of 4>" },
		{ "own", "<Protocol>" },
		{ "shared", "4711" },
		{ "inner", "<function>" },
	};
	struct py_sample s;
	struct py_variable v[32];
	assert_int_equal(py_process_sample(p, &wants, &s), PY_OK);
	const struct py_frame *f = frame_find(s.threads[0].frames, s.threads[0].frame_count, "plain");
	assert_non_null(f);
	size_t count = py_variables(p, f, v, ARRAY_LEN(v));
	for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
		const struct py_variable *found = variable_find(v, count, expected[i].name);
		assert_non_null(found);
		assert_string_equal(found->value, expected[i].value);
	}
	assert_null(variable_find(v, count, "unset"));
	const char *text = variable_find(v, count, "long")->value;
	assert_memory_equal(text, "'xxxx", 5);
	assert_non_null(strstr(text, "x'... (5000 characters)"));
	assert_int_equal(py_variables(p, f, v, 3), 3);
	f = NULL;
	for (size_t i = 0; i < s.task_count && f == NULL; i++) /* one of the children */
		f = frame_find(s.tasks[i].frames, s.tasks[i].frame_count, "sleep");
	assert_non_null(f);
	count = py_variables(p, f, v, ARRAY_LEN(v));
	assert_string_equal(variable_find(v, count, "delay")->value, "1000");
}

/* What is simple and short is shown as Python writes it, all else by its type; a variable that is not set is not shown. */
static void variables_are_shown(void **state)
{
	(void)state;
	with_each(variables_of);
}

static void waiters_of(struct py_process *p)
{
	struct py_sample s;
	uint64_t parent = 0, children[2];
	size_t count = 0;
	assert_int_equal(py_process_sample(p, &wants, &s), PY_OK);
	for (size_t i = 0; i < s.task_count; i++) {
		const struct py_task *t = &s.tasks[i];
		if (frame_find(t->frames, t->frame_count, "parent") != NULL)
			parent = t->address;
		else if (frame_find(t->frames, t->frame_count, "child") != NULL && count < 2)
			children[count++] = t->address;
	}
	assert_int_equal(count, 2);
	assert_int_not_equal(parent, 0);
	assert_int_equal(py_waiting_task(p, children[0]), parent);
	assert_int_equal(py_waiting_task(p, children[1]), parent);
	assert_int_equal(py_waiting_task(p, parent), 0); /* nobody */
	uint64_t running = py_running_task(p, s.threads[0].frames, s.threads[0].frame_count);
	assert_int_not_equal(running, 0);
	assert_int_not_equal(running, parent);
}

/* A task that gather() waits for leads to the task that waits; the one that runs is found by its frames. */
static void tasks_lead_to_who_waits(void **state)
{
	(void)state;
	with_each(waiters_of);
}

/* Everything that looks at objects, once. */
static void inspect_all(struct py_process *p, const struct py_sample *s)
{
	static const struct py_step *const ways[] = { to_header, to_environ, to_slot, to_first, to_nowhere };
	static const char *const locals[] = { "self", "environ", "shared", "timer", "delay" };
	struct py_variable variables[32];
	char text[64];
	double number;
	uint64_t slot, object, data;
	for (size_t i = 0; i < s->thread_count; i++)
		for (size_t k = 0; k < s->threads[i].frame_count; k++) {
			const struct py_frame *f = &s->threads[i].frames[k];
			(void)py_variables(p, f, variables, ARRAY_LEN(variables));
			for (size_t n = 0; f->code != NULL && n < ARRAY_LEN(locals); n++)
				if (py_local(p, f, py_code_local(p, f->code, locals[n]), &slot, &object) &&
					py_follow(p, object, ways[n], &object)) {
					(void)(py_text(p, object, text, sizeof text, &data) &&
						py_number(p, object, &number));
					(void)py_waiting_task(p, object);
				}
		}
	for (size_t i = 0; i < s->task_count; i++)
		(void)py_waiting_task(p, s->tasks[i].address);
	if (s->thread_count != 0)
		(void)py_running_task(p, s->threads[0].frames, s->threads[0].frame_count);
}

/* Words may be any others, reads may fail from any point on: what is found may be nothing, but the look comes to its end. */
static void hostile_memory_is_survived(void **state)
{
	(void)state;
	static const enum fault faults[] = { FAULT_FLIPS, FAULT_FAIL_FROM, FAULT_NOISE_AT, FAULT_ZERO_AT };
	struct child c = child_start(&pythons[0]);
	assert_true(c.ready);
	struct buf why = { 0 };
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct py_process *p;
		struct py_sample s;
		struct mem *mem = mem_live(c.pid);
		assert_non_null(mem);
		buf_reset(&why);
		assert_int_equal(process_open_memory(mem, &p, &why), PY_OK);
		assert_int_equal(py_process_sample(p, &wants, &s), PY_OK);
		struct mem *whole = p->mem;
		enum fault fault = faults[seed % ARRAY_LEN(faults)];
		p->mem = mem_faulty(whole, fault, fault == FAULT_FLIPS ? 3 + seed % 40 : seed / 2, seed);
		inspect_all(p, &s);
		py_process_close(p);
	}
	buf_clear(&why);
	child_end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_lead_to_objects),
		cmocka_unit_test(variables_are_shown),
		cmocka_unit_test(tasks_lead_to_who_waits),
		cmocka_unit_test(hostile_memory_is_survived),
	};
	pythons_find();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
