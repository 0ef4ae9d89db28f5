/* pystack_test.c - the reader without any Python: line tables by hand, tapes of real processes, memory that misbehaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <slowproxy/base/clock.h>

#include "elf_image.h"
#include "faulty.h"
#include "layout.h"
#include "lines.h"
#include "marks.h"
#include "process.h"
#include "tape.h"

#define TAPES TEST_DATA "/pystack/tapes/"

static const char *const tapes[] = { "3.11.2", "3.11.7", "3.8.18", "3.9.18", "3.10.13", "3.12.1", "3.13.0",
	"3.14.10", "3.15.2", "3.13.5t", "3.13.5-musl" };
static const struct py_wants everything = { .states = true, .tasks = true };

static void load(const char *name, const char *ending, struct buf *out)
{
	char path[512];
	snprintf(path, sizeof path, TAPES "%s.%s", name, ending);
	FILE *f = fopen(path, "rb");
	if (f == NULL)
		fail_msg("%s is missing", path);
	char chunk[65536];
	for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;)
		buf_add(out, chunk, n);
	fclose(f);
}

static void frames_text(const struct py_frame *frames, size_t count, struct buf *out)
{
	static const char *const others[] = {
		[PY_FRAME_UNREADABLE] = "<unreadable>", [PY_FRAME_TRUNCATED] = "<truncated>"
	};
	for (size_t i = 0; i < count; i++) {
		if (frames[i].kind != PY_FRAME_PYTHON) {
			buf_printf(out, "    %s\n", others[frames[i].kind]);
			continue;
		}
		const char *slash = strrchr(frames[i].code->file, '/');
		buf_printf(out, "    %s %s:%u\n", frames[i].code->function,
			slash ? slash + 1 : frames[i].code->file, frames[i].line);
	}
}

/* The same text as `pystack_tool replay` writes. */
static void sample_text(const struct py_process *p, const struct py_sample *s, struct buf *out)
{
	buf_printf(out, "python %s unreadable %u\n", py_process_version(p), s->unreadable);
	for (size_t i = 0; i < s->thread_count; i++) {
		const struct py_thread *t = &s->threads[i];
		buf_printf(out, "thread %s%s%s%s\n", t->name, t->is_main ? " main" : "",
			t->runs_event_loop ? " loop" : "", t->holds_gil ? " gil" : "");
		frames_text(t->frames, t->frame_count, out);
	}
	for (size_t i = 0; i < s->task_count; i++) {
		buf_printf(out, "task %s\n", s->tasks[i].name);
		frames_text(s->tasks[i].frames, s->tasks[i].frame_count, out);
	}
}

static struct py_process *open_tape(const struct buf *tape, enum fault fault, uint64_t at, uint64_t seed)
{
	struct py_process *p = NULL;
	struct buf why = { 0 };
	struct mem *mem = mem_tape(tape->data, tape->len);
	assert_non_null(mem);
	enum py_result r =
		process_open_memory(fault == FAULT_NONE ? mem : mem_faulty(mem, fault, at, seed), &p, &why);
	assert_true((r == PY_OK) == (p != NULL));
	assert_true(r == PY_OK || why.len > 0);
	buf_clear(&why);
	return p;
}

/* "what was recorded of a real process is read in the same way again, with every look" */
static void tape_replays(void **state)
{
	const char *name = *state;
	struct buf tape = { 0 }, expected = { 0 }, text = { 0 };
	struct py_sample s;
	load(name, "tape", &tape);
	load(name, "txt", &expected);
	struct py_process *p = open_tape(&tape, FAULT_NONE, 0, 0);
	assert_non_null(p);
	assert_int_equal(strlen(py_process_version(p)), strcspn(name, "-")); /* "-musl": another libc */
	assert_memory_equal(py_process_version(p), name, strcspn(name, "-"));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(py_process_sample(p, &everything, &s), PY_OK);
		buf_reset(&text);
		sample_text(p, &s, &text);
		assert_string_equal(text.data, expected.data);
	}
	assert_true(py_process_code_unchanged(p));
	py_process_forget_code(p);
	assert_int_equal(py_process_sample(p, &everything, &s), PY_OK);
	buf_reset(&text);
	sample_text(p, &s, &text);
	assert_string_equal(text.data, expected.data);
	py_process_close(p);
	buf_clear(&text);
	buf_clear(&expected);
	buf_clear(&tape);
}

/* "the second look reads all threads in one call: more only for files and tasks that were asked for" */
static void second_look_is_one_read(void **state)
{
	struct buf tape = { 0 };
	struct py_sample s;
	struct py_wants threads_only = { 0 };
	load(*state, "tape", &tape);
	struct py_process *p = open_tape(&tape, FAULT_NONE, 0, 0);
	assert_non_null(p);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(py_process_sample(p, &threads_only, &s), PY_OK);
	uint64_t before = p->mem->calls;
	assert_int_equal(py_process_sample(p, &threads_only, &s), PY_OK);
	assert_int_equal(p->mem->calls - before, 1);
	py_process_close(p);
	buf_clear(&tape);
}

/* "no more threads and tasks are shown than asked for, the oldest threads first, and it is said that tasks were cut" */
static void limits_hold(void **state)
{
	struct buf tape = { 0 };
	struct py_sample s;
	struct py_wants few = { .tasks = true, .max_threads = 2, .max_tasks = 3 };
	load(*state, "tape", &tape);
	struct py_process *p = open_tape(&tape, FAULT_NONE, 0, 0);
	assert_non_null(p);
	assert_int_equal(py_process_sample(p, &few, &s), PY_OK);
	assert_int_equal(s.thread_count, 2);
	assert_true(s.threads[0].is_main);
	assert_int_equal(s.task_count, 3);
	assert_true(s.tasks_cut);
	py_process_close(p);
	buf_clear(&tape);
}

/* Everything a sample holds is looked at, so that the sanitizers see what we would show. */
static void look_at_all(struct py_process *p, uint64_t *frames)
{
	struct py_sample s;
	struct buf text = { 0 };
	if (py_process_sample(p, &everything, &s) == PY_OK) {
		sample_text(p, &s, &text);
		for (size_t i = 0; i < s.thread_count; i++) {
			assert_true(s.threads[i].frame_count <= 1024);
			*frames += s.threads[i].frame_count;
		}
	}
	buf_clear(&text);
}

static void misbehave(const struct buf *tape, enum fault fault, uint64_t at, uint64_t seed, uint64_t *frames)
{
	uint64_t began = clock_now_ns();
	struct py_process *p = open_tape(tape, fault, at, seed);
	for (unsigned looks = 0; p != NULL && looks < 3; looks++)
		look_at_all(p, frames);
	if (p != NULL)
		(void)py_process_code_unchanged(p);
	py_process_close(p);
	assert_true(clock_now_ns() - began < 20 * NS_PER_S);
}

static uint64_t reads_of(const struct buf *tape)
{
	uint64_t frames = 0;
	struct py_process *p = open_tape(tape, FAULT_NONE, 0, 0);
	assert_non_null(p);
	for (unsigned looks = 0; looks < 3; looks++)
		look_at_all(p, &frames);
	uint64_t reads = p->mem->calls;
	py_process_close(p);
	return reads;
}

/* "whichever read fails, or brings noise or zeroes, there is no crash and no hang" */
static void any_read_may_fail(void **state)
{
	static const enum fault faults[] = { FAULT_FAIL_AT, FAULT_FAIL_FROM, FAULT_NOISE_AT, FAULT_ZERO_AT };
	struct buf tape = { 0 };
	uint64_t frames = 0;
	load(*state, "tape", &tape);
	uint64_t reads = reads_of(&tape);
	assert_true(reads > 50);
	uint64_t step = 1 + reads / 200; /* a page of data looked through is like the one before it */
	for (size_t f = 0; f < ARRAY_LEN(faults); f++) {
		for (uint64_t n = f % step; n < reads; n += step)
			misbehave(&tape, faults[f], n, n + 1, &frames);
	}
	assert_true(frames > 0);
	buf_clear(&tape);
}

/* "words that are another's now and then do not crash us either, whatever they hit" */
static void words_may_flip(void **state)
{
	struct buf tape = { 0 };
	uint64_t frames = 0;
	load(*state, "tape", &tape);
	for (uint64_t seed = 1; seed <= 150; seed++)
		misbehave(&tape, FAULT_FLIPS, 30 + seed * 97 % 4000, seed, &frames);
	assert_true(frames > 0);
	buf_clear(&tape);
}

/* "one unreadable thread is marked, and the others are shown as they are" */
static void one_bad_frame_degrades(void **state)
{
	struct buf tape = { 0 }, text = { 0 };
	struct py_sample s;
	struct py_wants wants = { 0 };
	load(*state, "tape", &tape);
	struct py_process *p = open_tape(&tape, FAULT_NONE, 0, 0);
	assert_non_null(p);
	assert_int_equal(py_process_sample(p, &wants, &s), PY_OK);
	size_t threads = s.thread_count;
	struct mem *whole = p->mem;
	p->mem = mem_faulty(whole, FAULT_FLIPS, p->layout.tstate_chunk == PY_NONE ? 15 : 40, 7);
	unsigned marked = 0, others_whole = 0;
	for (unsigned i = 0; i < 1000; i++) {
		if (py_process_sample(p, &wants, &s) != PY_OK || s.unreadable == 0 ||
			s.thread_count != threads)
			continue;
		buf_reset(&text);
		sample_text(p, &s, &text);
		marked +=
			strstr(text.data, "<unreadable>") != NULL || strstr(text.data, "<truncated>") != NULL;
		others_whole += strstr(text.data, "_bootstrap threading.py") != NULL;
	}
	assert_true(marked > 20);
	assert_true(others_whole > 20);
	py_process_close(p);
	buf_clear(&text);
	buf_clear(&tape);
}

/* "a tape that was cut anywhere, or is none, is refused or read without harm" */
static void broken_tapes_are_refused(void **state)
{
	struct buf tape = { 0 };
	load(*state, "tape", &tape);
	assert_null(mem_tape("", 0));
	assert_null(mem_tape("PYTAPE1\n", 8));
	for (size_t len = 0; len < tape.len; len += 1 + tape.len / 97)
		assert_null(mem_tape(tape.data, len));
	buf_clear(&tape);
}

/* ---- line tables */

struct table_case {
	const char *what;
	uint8_t bytes[16];
	size_t len;
	uint32_t first_line;
	bool ok;
	uint32_t lines[12]; /* of the units 0, 1, ... */
};

static const struct table_case table_cases[] = {
	{ "nothing", { 0 }, 0, 7, true, { 0 } },
	{ "short forms stay on the line", { 0x80, 0x00, 0x89, 0x00 }, 4, 7, true, { 7, 7, 7, 0 } },
	{ "one-line forms move by 0, 1, 2", { 0xd0, 0, 0, 0xd8, 0, 0, 0xe0, 0, 0 }, 9, 7, true,
		{ 7, 8, 10, 0 } },
	{ "no columns: a signed move, here -3", { 0xe8, 0x07 }, 2, 7, true, { 4, 0 } },
	{ "the long form: +33 needs two groups", { 0xf0, 0x42, 0x01, 0, 1, 1 }, 6, 7, true, { 40, 0 } },
	{ "no line at all, then the line goes on", { 0xf9, 0x80, 0x00 }, 3, 7, true, { 0, 0, 7 } },
	{ "an entry without its head bit", { 0x00, 0x00 }, 2, 7, false, { 0 } },
	{ "an entry that ends too early", { 0xf0, 0x42 }, 2, 7, false, { 0 } },
	{ "a varint without end", { 0xe8, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f }, 8, 7, false, { 0 } },
	{ "a line below zero", { 0xe8, 0x3f }, 2, 7, false, { 0 } },
};

/* "each kind of entry of a location table moves the line as CPython says, and malformed ones are refused" */
static void location_tables(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table_cases); i++) {
		const struct table_case *c = &table_cases[i];
		struct line_map map;
		bool ok = lines_decoder(LINES_LOCATIONS)(c->bytes, c->len, c->first_line, &map);
		if (ok != c->ok)
			fail_msg("%s: %s", c->what, ok ? "accepted" : "refused");
		for (uint32_t unit = 0; ok && unit < ARRAY_LEN(c->lines); unit++) {
			if (lines_at(&map, unit) != c->lines[unit])
				fail_msg("%s: unit %u is line %u, not %u", c->what, unit,
					lines_at(&map, unit), c->lines[unit]);
		}
		lines_clear(&map);
	}
}

static const struct old_table_case {
	const char *what;
	enum line_table_kind kind;
	uint8_t bytes[12];
	size_t len;
	bool ok;
	uint32_t lines[8]; /* of the units 0, 1, ... of a function that begins at line 7 */
} old_table_cases[] = {
	{ "lnotab: nothing is one line", LINES_LNOTAB, { 0 }, 0, true, { 7, 7, 7, 7, 7, 7, 7, 7 } },
	{ "lnotab: forth and back", LINES_LNOTAB, { 2, 3, 4, 0xfe }, 4, true, { 7, 10, 10, 8, 8, 8, 8, 8 } },
	{ "lnotab: a big step is two pairs", LINES_LNOTAB, { 2, 127, 0, 3, 4, 1 }, 6, true,
		{ 7, 137, 137, 138, 138, 138, 138, 138 } },
	{ "lnotab: a pair for the first unit", LINES_LNOTAB, { 0, 1, 2, 1 }, 4, true,
		{ 8, 9, 9, 9, 9, 9, 9, 9 } },
	{ "lnotab: half a pair", LINES_LNOTAB, { 2 }, 1, false, { 0 } },
	{ "lnotab: a line below zero", LINES_LNOTAB, { 2, 0x80 }, 2, false, { 0 } },
	{ "ranges: each for its bytes, then no more", LINES_RANGES, { 2, 0, 4, 1 }, 4, true,
		{ 7, 8, 8, 0, 0, 0, 0, 0 } },
	{ "ranges: none in the middle", LINES_RANGES, { 2, 1, 2, 0x80, 2, 1 }, 6, true,
		{ 8, 0, 9, 0, 0, 0, 0, 0 } },
	{ "ranges: a big step has an empty range", LINES_RANGES, { 0, 127, 4, 3 }, 4, true,
		{ 137, 137, 0, 0, 0, 0, 0, 0 } },
	{ "ranges: half a pair", LINES_RANGES, { 2, 0, 4 }, 3, false, { 0 } },
};

/* "the two older tables are read as CPython reads them, pair by pair" */
static void older_tables(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(old_table_cases); i++) {
		const struct old_table_case *c = &old_table_cases[i];
		struct line_map map;
		bool ok = lines_decoder(c->kind)(c->bytes, c->len, 7, &map);
		if (ok != c->ok)
			fail_msg("%s: %s", c->what, ok ? "accepted" : "refused");
		for (uint32_t unit = 0; ok && unit < ARRAY_LEN(c->lines); unit++) {
			if (lines_at(&map, unit) != c->lines[unit])
				fail_msg("%s: unit %u is line %u", c->what, unit, lines_at(&map, unit));
		}
		lines_clear(&map);
	}
}

/* "where the size of _PyRuntime and the name of its file speak of different versions, neither is believed" */
static void versions_must_agree(void **state)
{
	(void)state;
	uint32_t guess = layout_guess_version(1464);
	assert_int_equal(guess >> 16, 0x308);
	assert_int_equal(layout_guess_version(1465), 0);
	assert_false(layout_path_contradicts("/usr/lib/libpython3.8.so.1.0", guess));
	assert_false(layout_path_contradicts("/opt/python3.9/bin/python3.8", guess));
	assert_false(layout_path_contradicts("/usr/bin/uwsgi", guess));
	assert_false(layout_path_contradicts("/usr/bin/python3", guess));
	assert_true(layout_path_contradicts("/usr/lib/libpython3.9.so.1.0", guess));
	assert_true(layout_path_contradicts("/usr/bin/python3.10", guess));
}

/* "a layout is found for its version only, it says how everything is read, and its offsets are checked" */
static void layouts(void **state)
{
	(void)state;
	struct buf why = { 0 };
	struct py_layout l;
	assert_false(layout_take(0x03ff0000, false, &l));
	assert_false(layout_take(0, false, &l));
	assert_false(layout_take(0x030b02f0, true, &l));
	for (size_t row = 0; row < LAYOUT_COUNT; row++) {
		const struct py_layout *r = &layout_rows[row];
		assert_true(layout_take(r->version << 16, r->free_threaded, &l));
		assert_true(layout_check(&l, &why));
		assert_true(r->own_offsets == (layout_own_offsets_bytes(r) > 0));
	}
	assert_true(layout_take(0x030b02f0, false, &l));
	struct py_layout bad = l;
	bad.tstate_frame = 4000;
	assert_false(layout_check(&bad, &why));
	assert_non_null(strstr(why.data, "tstate.frame"));
	bad = l;
	bad.attrs = 0;
	assert_false(layout_check(&bad, &why));
	bad = l;
	bad.frame_owner = bad.frame_size;
	assert_false(layout_check(&bad, &why));
	/* A fuzzer's debug offsets: a str's head longer than the one we have room for. */
	bad = l;
	bad.text_ascii_data = 744;
	assert_false(layout_check(&bad, &why));
	assert_non_null(strstr(why.data, "text.ascii_data"));
	buf_clear(&why);
}

/* "the offsets a process tells itself replace ours, and are refused when they cannot be" */
static void own_offsets(void **state)
{
	(void)state;
	struct buf why = { 0 };
	struct py_layout l;
	struct own_offsets own;
	uint8_t table[OWN_OFFSETS_BYTES_MAX];
	assert_true(layout_take(0x030d0000, false, &l));
	memset(table, 0xff, sizeof table);
	assert_false(layout_own_offsets(table, &own));
	memcpy(table, "xdebugpy\0\0\x0d\x03\0\0\0\0\1\0\0\0\0\0\0\0", OWN_OFFSETS_HEAD_BYTES);
	assert_true(layout_own_offsets(table, &own));
	assert_true(own.free_threaded && own.version_hex == 0x030d0000);
	layout_apply_offsets(&l, table);
	assert_false(layout_check(&l, &why));
	assert_true(layout_take(0x030d0000, false, &l));
	memset(table + OWN_OFFSETS_HEAD_BYTES, 0x30, sizeof table - OWN_OFFSETS_HEAD_BYTES);
	layout_apply_offsets(&l, table);
	assert_false(layout_check(&l, &why));
	buf_clear(&why);
}

/* "functions that mean something are known by their file as well" */
static void marks_need_file_and_function(void **state)
{
	(void)state;
	assert_int_equal(mark_of("/usr/lib/python3/asyncio/base_events.py", "BaseEventLoop._run_once", false),
		MARK_LOOP);
	assert_int_equal(mark_of("/srv/app/my_base_events.py", "BaseEventLoop._run_once", false), MARK_NONE);
	assert_int_equal(mark_of("/usr/lib/python3/asyncio/base_events.py", "something", false), MARK_NONE);
	assert_int_equal(mark_of("/usr/lib/python3/threading.py", "wait", true), MARK_WAITING);
	assert_int_equal(mark_of("/usr/lib/python3/threading.py", "wait", false), MARK_NONE);
}

/* ---- living processes that are not Python */

/* "no such process, and one that is not Python, are told apart, each in a sentence with the pid" */
static void not_python(void **state)
{
	(void)state;
	struct py_process *p;
	struct buf why = { 0 };
	assert_int_equal(py_process_open((pid_t)0x3fffff, &p, &why), PY_NO_PROCESS);
	assert_null(p);
	assert_non_null(strstr(why.data, "4194303"));
	assert_int_equal(py_process_open(0, &p, &why), PY_NO_PROCESS);
	assert_int_equal(py_process_open(getpid(), &p, &why), PY_NOT_PYTHON);
	assert_non_null(strstr(why.data, "is not Python"));
	buf_clear(&why);
}

/* "a symbol is found in the memory of a living process: here in libc, in ours" */
static void symbols_in_memory(void **state)
{
	(void)state;
	struct mem *mem = mem_live(getpid());
	struct elf_image image;
	struct elf_symbol symbol;
	assert_non_null(mem);
	uint64_t libc = 0;
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	while (libc == 0 && fgets(line, sizeof line, maps) != NULL) {
		if (strstr(line, "libc.so") != NULL)
			libc = strtoull(line, NULL, 16);
	}
	fclose(maps);
	assert_true(libc != 0);
	assert_true(elf_open(mem, libc, &image));
	assert_true(elf_find(mem, &image, "environ", &symbol));
	assert_true(symbol.addr > libc);
	assert_false(elf_find(mem, &image, "no_such_symbol_anywhere", &symbol));
	assert_true(mem->ops->same(mem));
	mem->ops->close(mem);
}

#define ON_TAPE(test, n)                                                                                     \
	{                                                                                                    \
#test, test, NULL, NULL, (void *)(uintptr_t)tapes[n]                                         \
	}
#define ON_TAPES(test)                                                                                       \
	ON_TAPE(test, 0), ON_TAPE(test, 1), ON_TAPE(test, 2), ON_TAPE(test, 3), ON_TAPE(test, 4),            \
		ON_TAPE(test, 5), ON_TAPE(test, 6), ON_TAPE(test, 7), ON_TAPE(test, 8), ON_TAPE(test, 9)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(location_tables),
		cmocka_unit_test(older_tables),
		cmocka_unit_test(versions_must_agree),
		cmocka_unit_test(layouts),
		cmocka_unit_test(own_offsets),
		cmocka_unit_test(marks_need_file_and_function),
		ON_TAPES(tape_replays),
		ON_TAPE(tape_replays, 10),
		ON_TAPES(second_look_is_one_read),
		ON_TAPES(limits_hold),
		ON_TAPES(any_read_may_fail),
		ON_TAPES(words_may_flip),
		ON_TAPES(one_bad_frame_degrades),
		ON_TAPES(broken_tapes_are_refused),
		cmocka_unit_test(not_python),
		cmocka_unit_test(symbols_in_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
