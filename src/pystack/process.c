/* process.c - from a pid to a process we can read: recognise, take its row, check that the row fits.
 *
 *   maps -> image with _PyRuntime -> version -> row -> self-check on the living interpreter
 *
 * The pid is pinned by an open /proc/PID and its memory file: a pid that is used again, or a process that exec'ed,
 * is another one.
 */
#include "process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "elf_image.h"
#include "look.h"
#include "maps.h"
#include "permission.h"
#include "text.h"

const char *const py_result_sentences[PY_RESULT_COUNT] = {
	[PY_OK] = "it could be read",
	[PY_NO_PROCESS] = "there is no such process (any more)",
	[PY_DENIED] = "we may not read that process",
	[PY_NOT_PYTHON] = "that process is not Python",
	[PY_UNSUPPORTED] = "this version or build of Python is not supported yet",
	[PY_NOT_READY] = "Python is starting or ending in that process",
	[PY_UNREADABLE] = "what was read did not make sense",
};

/* The image that holds Python, with what we need of it. */
struct runtime {
	struct elf_symbol runtime, code_type, text_type;
	uint32_t version_hex; /* 0 unknown */
	bool patch_unknown;   /* and no more than the minor version of it */
	bool contradicted;    /* the name of its file speaks of another one */
};

/* From 3.13 on it begins with words that nothing else has: found by them where it has no name. */
static bool scan_for_runtime(struct mem *m, const struct image *image, struct elf_symbol *out)
{
	enum { PAGE = 4096, DATA_BYTES_MAX = 8 << 20 };
	uint8_t page[PAGE];
	struct own_offsets own;
	uint64_t hi = MIN(image->data_hi, image->data_lo + DATA_BYTES_MAX);
	for (uint64_t at = image->data_lo; at < hi; at += PAGE) {
		if (!mem_read(m, at, page, sizeof page))
			continue;
		for (size_t i = 0; i + OWN_OFFSETS_HEAD_BYTES <= PAGE; i += 8) {
			if (!layout_own_offsets(page + i, &own) || own.version_hex >> 24 != 3)
				continue;
			*out = (struct elf_symbol){ at + i, 0 };
			return true;
		}
	}
	return false;
}

/* An image that exports nothing: a program that was linked with Python in it. */
static bool find_unexported(struct mem *m, const struct image *image, struct runtime *out)
{
	if (!image->is_exe && !image_named_python(image))
		return false;
	return elf_file_runtime(m, image, &out->runtime) || scan_for_runtime(m, image, &out->runtime);
}

static bool find_in_image(struct mem *m, const struct image *image, struct runtime *out)
{
	struct elf_image e;
	struct elf_symbol version = { 0 };
	uint8_t head[OWN_OFFSETS_HEAD_BYTES];
	struct own_offsets own;
	*out = (struct runtime){ 0 };
	if (elf_open(m, image->base, &e) && elf_find(m, &e, "_PyRuntime", &out->runtime)) {
		if (!elf_find(m, &e, "PyCode_Type", &out->code_type) ||
			!elf_find(m, &e, "PyUnicode_Type", &out->text_type))
			return false;
		if (elf_find(m, &e, "Py_Version", &version) &&
			mem_read(m, version.addr, &out->version_hex, 4))
			return true;
	} else if (!find_unexported(m, image, out)) {
		return false;
	}
	if (mem_read(m, out->runtime.addr, head, sizeof head) && layout_own_offsets(head, &own)) {
		out->version_hex = own.version_hex;
		return true;
	}
	out->version_hex = layout_guess_version(out->runtime.size);
	out->patch_unknown = true;
	/* A size alone is thin evidence: where the file bears a version, the two must agree. */
	out->contradicted = layout_path_contradicts(image->path, out->version_hex);
	return true;
}

/* libpython first, the program next, then every other image that can be run (Python inside another program). */
static enum py_result find_runtime(struct mem *m, struct runtime *out, struct buf *why)
{
	struct maps maps;
	enum py_result r = PY_NOT_PYTHON;
	bool looks_like_python = false, old_program = false;
	if (!maps_read(m, &maps)) {
		maps_clear(&maps);
		return errno == EACCES || errno == EPERM ? PY_DENIED : PY_NO_PROCESS;
	}
	if (maps.highest == 0) {
		buf_printf(why, "process %d has no memory of its own: it just ended, or is a kernel thread",
			(int)m->pid);
		maps_clear(&maps);
		return PY_NO_PROCESS;
	}
	maps_sort_by_python(&maps);
	for (size_t i = 0; i < maps.count && r != PY_OK; i++) {
		looks_like_python |= image_named_python(&maps.images[i]);
		old_program |= maps.images[i].is_exe && elf_is_32_bit(m, maps.images[i].base);
		if (maps.images[i].executable && find_in_image(m, &maps.images[i], out))
			r = PY_OK;
	}
	maps_clear(&maps);
	if (r == PY_OK)
		return r;
	if (old_program)
		buf_printf(why, "process %d is a 32-bit program; only 64-bit ones can be read", (int)m->pid);
	else if (looks_like_python)
		buf_printf(why,
			"process %d looks like Python, but shows no _PyRuntime: a version before 3.7, or still being loaded",
			(int)m->pid);
	else
		buf_printf(why, "process %d is not Python: none of its images holds _PyRuntime", (int)m->pid);
	return looks_like_python && !old_program ? PY_UNSUPPORTED : PY_NOT_PYTHON;
}

/* "3.11.2", "3.14.0rc1", "3.14.7t" from the five bytes of PY_VERSION_HEX. */
static void version_text(uint32_t hex, bool free_threaded, char *out, size_t out_bytes)
{
	static const char *const levels[16] = { [0xa] = "a", [0xb] = "b", [0xc] = "rc" };
	const char *level = levels[hex >> 4 & 15];
	char stage[8] = "";
	if (level != NULL)
		snprintf(stage, sizeof stage, "%s%u", level, hex & 15);
	snprintf(out, out_bytes, "%u.%u.%u%s%s", hex >> 24, hex >> 16 & 255, hex >> 8 & 255, stage,
		free_threaded ? "t" : "");
}

static enum py_result unknown_version(
	const struct py_process *p, uint32_t version_hex, bool free_threaded, struct buf *why)
{
	if (version_hex == 0)
		buf_printf(why, "process %d is a Python of unknown version", (int)p->pid);
	else
		buf_printf(why, "process %d is Python %u.%u%s", (int)p->pid, version_hex >> 24,
			version_hex >> 16 & 255, free_threaded ? "t" : "");
	buf_add_str(why, ", which slowproxy cannot read yet; it reads ");
	layout_list(why);
	return PY_UNSUPPORTED;
}

/* Where the process carries its own table of offsets, that is what counts: it must be there, and of this version. */
static bool apply_own_offsets(struct py_process *p, const struct runtime *runtime, struct buf *why)
{
	uint8_t table[OWN_OFFSETS_BYTES_MAX];
	size_t bytes = layout_own_offsets_bytes(&p->layout);
	struct own_offsets own;
	if (bytes > 0 && bytes <= sizeof table && mem_read(p->mem, runtime->runtime.addr, table, bytes) &&
		layout_own_offsets(table, &own) && own.version_hex >> 16 == p->layout.version) {
		layout_apply_offsets(&p->layout, table);
		return true;
	}
	buf_printf(why,
		"process %d says it is Python %u.%u, but its table of offsets does not: an unknown build",
		(int)p->pid, p->layout.version >> 8, p->layout.version & 255);
	return false;
}

static enum py_result take_layout(struct py_process *p, const struct runtime *runtime, struct buf *why)
{
	uint32_t version_hex = runtime->version_hex;
	uint8_t head[OWN_OFFSETS_HEAD_BYTES] = { 0 };
	struct own_offsets own = { 0 };
	if (!mem_read(p->mem, runtime->runtime.addr, head, sizeof head) || !layout_own_offsets(head, &own))
		own.free_threaded = false;
	if (!layout_take(version_hex, own.free_threaded, &p->layout))
		return unknown_version(p, version_hex, own.free_threaded, why);
	if (runtime->contradicted) {
		buf_printf(why,
			"process %d looks like Python %u.%u, but its file has the name of another version: an unknown build",
			(int)p->pid, version_hex >> 24, version_hex >> 16 & 255);
		return PY_UNSUPPORTED;
	}
	if (p->layout.own_offsets && !apply_own_offsets(p, runtime, why))
		return PY_UNSUPPORTED;
	if (!layout_check(&p->layout, why))
		return PY_UNSUPPORTED;
	if (runtime->patch_unknown)
		snprintf(p->version, sizeof p->version, "%u.%u", version_hex >> 24, version_hex >> 16 & 255);
	else
		version_text(version_hex, own.free_threaded, p->version, sizeof p->version);
	p->ops.frame_top = frame_top_finder(p->layout.top);
	p->ops.frame_decode = frame_decoder(p->layout.shape);
	p->ops.lines_decode = lines_decoder(p->layout.lines);
	p->ops.coro_look = coro_looker(p->layout.coro);
	return PY_OK;
}

/* The part of an object that holds all of these fields. */
static struct window window_over(const uint32_t *offsets, size_t count)
{
	struct window w = { UINT32_MAX, 0 };
	for (size_t i = 0; i < count; i++) {
		if (offsets[i] == PY_NONE)
			continue;
		w.lo = MIN(w.lo, offsets[i]);
		w.hi = MAX(w.hi, offsets[i] + 8);
	}
	return w;
}

static bool set_windows(struct py_process *p)
{
	const struct py_layout *l = &p->layout;
	uint32_t runtime[] = { l->runtime_interpreters, l->runtime_current_thread, l->runtime_collecting };
	uint32_t interp[] = { l->interp_next, l->interp_threads, l->interp_collecting };
	uint32_t gil[] = { l->gil_enabled, l->gil_holder, l->gil_locked };
	uint32_t tstate[] = { l->tstate_next, l->tstate_interp, l->tstate_frame, l->tstate_pthread,
		l->tstate_native_id, l->tstate_id, l->tstate_chunk, l->tstate_chunk_top, l->tstate_state };
	p->runtime_window = window_over(runtime, ARRAY_LEN(runtime));
	p->interp_window = window_over(interp, ARRAY_LEN(interp));
	p->tstate_window = window_over(tstate, ARRAY_LEN(tstate));
	p->gil_window = window_over(gil, ARRAY_LEN(gil));
	return p->runtime_window.hi - p->runtime_window.lo <= RUNTIME_BYTES_MAX &&
	       p->interp_window.hi - p->interp_window.lo <= INTERP_BYTES_MAX &&
	       p->gil_window.hi - p->gil_window.lo <= GIL_BYTES_MAX;
}

/* Does the living interpreter look as the row says? */
static enum py_result self_check(struct py_process *p, struct buf *why)
{
	const struct py_layout *l = &p->layout;
	uint64_t interp, thread, owner;
	if (!mem_read_u64(p->mem, p->runtime + l->runtime_interpreters, &interp)) {
		buf_printf(why, "process %d ended while it was looked at", (int)p->pid);
		return p->mem->ops->same(p->mem) ? PY_UNREADABLE : PY_NO_PROCESS;
	}
	if (interp == 0 || !mem_read_u64(p->mem, interp + l->interp_threads, &thread) || thread == 0) {
		buf_printf(why,
			"Python in process %d is just starting or ending: it has no interpreter yet; try again",
			(int)p->pid);
		return PY_NOT_READY;
	}
	for (unsigned i = 0; i < 3; i++) { /* a thread may end between two reads */
		if (mem_read_u64(p->mem, interp + l->interp_threads, &thread) && addr_plausible(thread) &&
			mem_read_u64(p->mem, thread + l->tstate_interp, &owner) && owner == interp)
			return PY_OK;
	}
	buf_printf(why,
		"process %d says it is Python %s, but its threads do not lie where that version has them: an unknown build",
		(int)p->pid, p->version);
	return PY_UNSUPPORTED;
}

/* Where no symbol bears the version, sys.version tells it whole, and must agree with what was guessed. */
static enum py_result ask_version(struct py_process *p, struct buf *why)
{
	uint64_t interp, sys, version;
	char text[sizeof p->version];
	size_t known = strlen(p->version);
	if (!mem_read_u64(p->mem, p->runtime + p->layout.runtime_interpreters, &interp) ||
		!addr_plausible(interp) || !module_dict(p, interp, "sys", &sys) ||
		!dict_get(p, sys, "version", &version) || !text_read(p, version, text, sizeof text))
		return PY_OK; /* still starting: the minor version is known all the same */
	text[strcspn(text, " +")] = '\0';
	if (strncmp(text, p->version, known) == 0 && text[known] == '.') {
		memcpy(p->version, text, sizeof text);
		return PY_OK;
	}
	buf_printf(why, "process %d looks like Python %s, but calls itself another version: an unknown build",
		(int)p->pid, p->version);
	return PY_UNSUPPORTED;
}

enum py_result process_open_memory(struct mem *mem, struct py_process **out, struct buf *why)
{
	struct runtime runtime;
	struct py_process *p = xcalloc(1, sizeof *p);
	*out = NULL;
	p->mem = mem;
	p->pid = mem->pid;
	enum py_result r = find_runtime(mem, &runtime, why);
	if (r == PY_OK)
		r = take_layout(p, &runtime, why);
	if (r == PY_OK) {
		p->runtime = runtime.runtime.addr;
		p->types.code = runtime.code_type.addr;
		p->types.text = runtime.text_type.addr;
		p->gil = p->layout.runtime_gil != PY_NONE ? p->runtime + p->layout.runtime_gil : 0;
		r = set_windows(p) ? self_check(p, why) : PY_UNSUPPORTED;
	}
	if (r == PY_OK && runtime.patch_unknown)
		r = ask_version(p, why);
	/* What was found may be half of two programs, when it exec'ed meanwhile. */
	if (r != PY_OK && r != PY_DENIED && !mem->ops->same(mem)) {
		buf_reset(why);
		r = PY_NO_PROCESS;
	}
	if (r == PY_OK) {
		*out = p;
		return r;
	}
	if (r == PY_DENIED)
		permission_explain(p->pid, why);
	else if (why->len == 0)
		buf_printf(why, "process %d ended, or became another program, while it was looked at",
			(int)p->pid);
	py_process_close(p);
	return r;
}

enum py_result py_process_open(pid_t pid, struct py_process **out, struct buf *why)
{
	*out = NULL;
	buf_reset(why);
	errno = 0;
	struct mem *mem = pid > 0 ? mem_live(pid) : NULL;
	if (mem != NULL)
		return process_open_memory(mem, out, why);
	if (errno == EACCES || errno == EPERM) {
		permission_explain(pid, why);
		return PY_DENIED;
	}
	if (errno == EMFILE || errno == ENFILE) {
		buf_printf(why, "too many files are open to look at process %d", (int)pid);
		return PY_UNREADABLE;
	}
	buf_printf(why, "there is no process %d", (int)pid);
	return PY_NO_PROCESS;
}

void py_process_close(struct py_process *p)
{
	if (p == NULL)
		return;
	stops_clear(&p->stops);
	native_free(p->native);
	free(p->natives);
	threads_clear(&p->threads);
	tasks_clear(&p->tasks);
	greenlets_clear(&p->greenlets);
	codes_clear(&p->codes);
	types_clear(&p->type_kinds);
	tids_clear(&p->tids);
	free(p->parts);
	free(p->out_threads);
	p->mem->ops->close(p->mem);
	free(p);
}

pid_t py_process_pid(const struct py_process *p)
{
	return p->pid;
}

const char *py_process_version(const struct py_process *p)
{
	return p->version;
}

bool py_process_stoppable(struct py_process *p, struct buf *why)
{
	return stops_possible(p->pid, why);
}

uint64_t py_process_stopped_ns(const struct py_process *p)
{
	return p->stops.longest_ns;
}

bool py_process_code_unchanged(struct py_process *p)
{
	size_t count;
	return !codes_changed(p, NULL, 0, &count) && p->mem->ops->same(p->mem);
}

size_t py_process_code_changed(struct py_process *p, uint32_t *ids, size_t room)
{
	size_t count;
	(void)codes_changed(p, ids, room, &count);
	return count;
}

void py_process_forget_code(struct py_process *p)
{
	for (size_t i = 0; i < p->threads.count; i++) {
		struct thread *t = p->threads.all[i];
		t->chain.raw_count = t->frame_count = 0;
		tail_forget(t);
	}
	tasks_forget(&p->tasks);
	greenlets_forget(&p->greenlets);
	codes_clear(&p->codes);
	types_clear(&p->type_kinds);
}
