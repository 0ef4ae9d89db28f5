/* native.c - the C functions of a thread, between its Python functions, through elfutils' libdw.
 *
 *   clock_nanosleep (libc.so.6)     taken
 *   time_sleep                      taken
 *   _PyEval_EvalFrameDefault        a run of the interpreter: in its place stand the Python functions that it runs
 *   _PyObject_Vectorcall            taken, below those
 *   list_sort                       taken
 *   _PyEval_EvalFrameDefault        the run before
 *   ...
 *
 * Python's frames tell which of them C called: so many runs there must be. Where it is another number, only what lies above the
 * innermost Python function is sure, and shown.
 */
#include "native.h"

#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/map.h>
#include <slowproxy/base/mem.h>

#ifdef SLOWPROXY_NATIVE

#include <elfutils/libdwfl.h>

static const uint64_t report_every_ns = NS_PER_S; /* for libraries that were loaded meanwhile */

/* Functions of the interpreter that run Python code; a name may go on (".cold", ".lto_priv.0"). */
static const char *const runs_python[] = { "_PyEval_EvalFrameDefault", "_TAIL_CALL_" };

struct native {
	Dwfl *dwfl;
	pid_t pid;
	uint64_t reported_ns;
	struct map names; /* hash of a text -> the text, owned: libdw forgets its own with the library */
};

struct walk {
	struct native *native;
	struct py_native *out;
	size_t count, max;
	const struct native_runs *runs;
	size_t met;    /* runs of the interpreter */
	size_t sure;   /* how many of out lie above the last one of these */
	size_t on_top; /* and above the first */
	bool too_many; /* more runs than Python knows of */
};

static const Dwfl_Callbacks callbacks = {
	.find_elf = dwfl_linux_proc_find_elf,
	.find_debuginfo = dwfl_standard_find_debuginfo,
};

static bool report(struct native *n)
{
	n->reported_ns = clock_now_ns();
	dwfl_report_begin(n->dwfl);
	int failed = dwfl_linux_proc_report(n->dwfl, n->pid);
	return dwfl_report_end(n->dwfl, NULL, NULL) == 0 && failed == 0;
}

struct native *native_new(pid_t pid)
{
	struct native *n = xcalloc(1, sizeof *n);
	n->pid = pid;
	n->dwfl = dwfl_begin(&callbacks);
	if (n->dwfl != NULL && report(n) && dwfl_linux_proc_attach(n->dwfl, pid, true) == 0)
		return n;
	native_free(n);
	return NULL;
}

void native_free(struct native *n)
{
	size_t at = 0;
	uint64_t key, text;
	if (n == NULL)
		return;
	if (n->dwfl != NULL)
		dwfl_end(n->dwfl);
	while (map_next(&n->names, &at, &key, &text))
		free((char *)(uintptr_t)text);
	map_clear(&n->names);
	free(n);
}

/* "clock_nanosleep@GLIBC_2.2.5": without the version. */
static const char *keep(struct native *n, const char *text)
{
	size_t bytes = strcspn(text, "@");
	uint64_t key = hash_bytes(text, bytes), kept;
	for (; map_get(&n->names, key, &kept); key++)
		if (strncmp((const char *)(uintptr_t)kept, text, bytes) == 0 &&
			((const char *)(uintptr_t)kept)[bytes] == '\0')
			return (const char *)(uintptr_t)kept;
	char *copy = xstrndup(text, bytes);
	map_put(&n->names, key, (uint64_t)(uintptr_t)copy);
	return copy;
}

/* The nearest symbol before an address is its function only when it reaches that far: of stripped code most have none. */
static const char *function_at(Dwfl_Module *module, Dwarf_Addr pc)
{
	GElf_Off offset = 0;
	GElf_Sym symbol;
	const char *name = dwfl_module_addrinfo(module, pc, &offset, &symbol, NULL, NULL, NULL);
	return name != NULL && offset < symbol.st_size ? name : NULL;
}

static bool is_interpreter(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(runs_python); i++)
		if (strncmp(name, runs_python[i], strlen(runs_python[i])) == 0)
			return true;
	return false;
}

static int on_frame(Dwfl_Frame *frame, void *arg)
{
	struct walk *w = arg;
	Dwarf_Addr pc;
	bool activation; /* else pc is where a call returns to: the call itself lies before */
	if (w->count >= w->max || !dwfl_frame_pc(frame, &pc, &activation))
		return DWARF_CB_ABORT;
	pc -= activation ? 0 : 1;
	Dwfl_Module *module = dwfl_addrmodule(w->native->dwfl, pc);
	const char *name = module != NULL ? function_at(module, pc) : NULL;
	if (name != NULL && is_interpreter(name)) {
		w->too_many = w->met == w->runs->count;
		w->on_top = w->met == 0 ? w->count : w->on_top;
		w->sure = w->count;
		return w->too_many ? DWARF_CB_ABORT : (w->met++, DWARF_CB_OK);
	}
	const char *path =
		module != NULL ? dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, NULL, NULL) : NULL;
	path = path != NULL ? path : "";
	const char *slash = strrchr(path, '/');
	w->out[w->count++] = (struct py_native){
		keep(w->native, name != NULL ? name : "<native>"),
		keep(w->native, slash != NULL ? slash + 1 : path),
		w->met > 0 ? w->runs->ends[w->met - 1] : 0,
	};
	return DWARF_CB_OK;
}

size_t native_stack(
	struct native *n, pid_t tid, const struct native_runs *runs, struct py_native *out, size_t max)
{
	struct walk w = { .native = n, .out = out, .max = max, .runs = runs };
	if (clock_now_ns() - n->reported_ns > report_every_ns)
		(void)report(n);
	bool to_the_root = dwfl_getthread_frames(n->dwfl, tid, on_frame, &w) == 0;
	/* Where Python begins is not known: so neither is which of these run above it. */
	if (w.met == 0 && w.count > 0) {
		out[0] = (struct py_native){ "<native>", "", 0 };
		return 1;
	}
	if (w.too_many || (to_the_root && w.met != runs->count))
		return w.on_top;
	return to_the_root ? w.count : w.sure;
}

bool py_native_built(void)
{
	return true;
}

#else /* built without libdw */

struct native *native_new(pid_t pid)
{
	(void)pid;
	return NULL;
}

void native_free(struct native *n)
{
	(void)n;
}

size_t native_stack(
	struct native *n, pid_t tid, const struct native_runs *runs, struct py_native *out, size_t max)
{
	(void)n;
	(void)tid;
	(void)runs;
	(void)out;
	(void)max;
	return 0;
}

bool py_native_built(void)
{
	return false;
}

#endif
