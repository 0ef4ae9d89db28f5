/* pystack.h - a Python process as read from outside: without its help and, unless asked for, without stopping it or ptrace.
 *
 *   recognise (ELF, version) -> layout (a row of the table) -> target (this pid, this start time)
 *
 * Foreign memory is a rumour: bounded, checked, and named when it disappoints. Nothing here writes to the target.
 */
#ifndef SLOWPROXY_PYSTACK_H
#define SLOWPROXY_PYSTACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/mem.h>

enum py_result {
	PY_OK,
	PY_NO_PROCESS, /* no such pid, or it ended, or the pid is another process by now */
	PY_DENIED,     /* no permission to read it */
	PY_NOT_PYTHON,
	PY_UNSUPPORTED, /* Python, but no row for this version or build */
	PY_NOT_READY,   /* Python is still starting, or ending */
	PY_UNREADABLE,  /* memory did not make sense, twice */
	PY_RESULT_COUNT
};
extern const char *const py_result_sentences[PY_RESULT_COUNT];

/* A code object as cached by the process: lives until py_process_close or py_process_forget_code. */
struct py_code {
	uint32_t id;          /* small, dense, unique in this process's cache */
	const char *function; /* qualified where the version knows it */
	const char *file;
	uint32_t first_line;
};

enum py_frame_kind { PY_FRAME_PYTHON, PY_FRAME_UNREADABLE, PY_FRAME_TRUNCATED };

struct py_frame {
	const struct py_code *code; /* NULL unless PY_FRAME_PYTHON */
	uint32_t line;              /* 0: the code has none here */
	enum py_frame_kind kind;
	uint64_t addr; /* where it lies, for py_local; 0: not known */
};

enum py_state {
	PY_STATE_UNKNOWN,
	PY_STATE_RUNNING,  /* on a CPU or runnable */
	PY_STATE_BLOCKED,  /* in a system call that waits; syscall says which */
	PY_STATE_GIL_WAIT, /* waits for the GIL */
	PY_STATE_IDLE /* waits for work: event loop in epoll_wait/select/poll, pool thread on an empty queue */
};
extern const char *const py_state_names[];

/* What a thread that sleeps waits for, where Python itself makes it wait. */
enum py_wait_kind {
	PY_WAIT_NONE, /* for nothing of Python's, or it cannot be told */
	PY_WAIT_GIL,
	PY_WAIT_LOCK,   /* threading.Lock, which does not know who has it */
	PY_WAIT_RLOCK,  /* threading.RLock, which does */
	PY_WAIT_OBJECT, /* without GIL: another thread is just changing this object */
	PY_WAIT_WORLD /* without GIL: one thread made all others stand still, most times to collect garbage */
};
extern const char *const py_wait_names[];

struct py_wait {
	enum py_wait_kind kind;
	uint64_t object; /* the lock, or the object; 0 for the others */
	uint64_t holder; /* whom it waits for, by tid; 0: cannot be told */
};

/* A C function, where it stands among the Python functions; its texts live as long as the process is open. */
struct py_native {
	const char *function; /* "<native>": its library names none there */
	const char *library;  /* "libc.so.6" */
	uint32_t
		depth; /* how many of the thread's frames lie above it: 0, it was called by the innermost one */
};

struct py_thread {
	uint64_t tid;         /* native id as seen from our pid namespace; 0 unknown */
	char name[32];        /* from /proc/PID/task/TID/comm, or threading's own name where that is read */
	enum py_state state;  /* UNKNOWN unless asked for */
	int syscall;          /* -1 unless blocked or idle */
	struct py_wait waits; /* for the GIL: told with every state; for locks only when asked for */
	bool holds_gil; /* with states; in a build without GIL: it may run Python just now, as others may, too */
	bool is_main;
	bool runs_event_loop;          /* an asyncio loop is running on its stack */
	const struct py_frame *frames; /* leaf first */
	size_t frame_count;
	const struct py_native *natives; /* leaf first; only when asked for */
	size_t native_count;
};

/* A suspended asyncio task: its await chain. */
struct py_task {
	uint64_t address;
	char name[64];
	const struct py_frame *frames; /* innermost awaited line first */
	size_t frame_count;
	uint64_t waits_for; /* the future it awaits, by its address; 0: none, it will run next */
};

/* A suspended greenlet: a stack that no thread has. One that runs is on its thread. */
struct py_greenlet {
	uint64_t address;              /* of the object: what it is known by while it lives */
	const struct py_frame *frames; /* innermost first; py_local works on them */
	size_t frame_count;
};

/* Everything of one look; arrays belong to the process and are reused by the next look. */
struct py_sample {
	uint64_t at_ns;
	const struct py_thread *threads;
	size_t thread_count;
	const struct py_task *tasks;
	size_t task_count;
	bool tasks_cut; /* there were more than max_tasks */
	const struct py_greenlet *greenlets;
	size_t greenlet_count;
	bool greenlets_cut;  /* there were more than max_greenlets */
	bool gc_running;     /* with states */
	uint32_t unreadable; /* threads and tasks that were given up, or degraded */
};

struct py_wants {
	bool states; /* thread states from /proc: a few us a thread; who holds the GIL, whether garbage is collected */
	bool locks; /* with `states`: what blocked threads wait for, some reads for each */
	bool tasks; /* suspended asyncio tasks */
	bool greenlets; /* suspended greenlets, where the process uses them: new ones are searched for every 200 ms, among all
			   objects every 5 s (some ms each) */
	uint32_t max_threads;   /* 0: 64 */
	uint32_t max_tasks;     /* 0: 1000 */
	uint32_t max_greenlets; /* 0: 1000 */
	bool blocking;          /* the Python threads are stopped meanwhile: exact, and felt. Needs ptrace */
	bool native;            /* with `blocking`: the C functions, too. Needs py_native_built */
};

struct py_process;

/* Recognises and attaches. On failure *out is NULL and why holds a sentence that says what to do about it. */
MUST_CHECK enum py_result py_process_open(pid_t pid, struct py_process **out, struct buf *why);
void py_process_close(struct py_process *p);
pid_t py_process_pid(const struct py_process *p);
const char *py_process_version(const struct py_process *p); /* "3.11.2" */
/* One look at all threads (and tasks). PY_OK also when single threads were degraded: see unreadable. */
MUST_CHECK enum py_result py_process_sample(
	struct py_process *p, const struct py_wants *wants, struct py_sample *out);
/* Whether a look may be `blocking`; else why holds a sentence. */
MUST_CHECK bool py_process_stoppable(struct py_process *p, struct buf *why);
/* Whether this build reads C functions (libdw). */
bool py_native_built(void);
/* The longest time, so far, that threads stood still for a look. */
uint64_t py_process_stopped_ns(const struct py_process *p);
/* Looks whether cached code objects still are what they were (before a report is made of them): true when none changed. */
bool py_process_code_unchanged(struct py_process *p);
/* How many cached code objects are not what they were, and the ids of the first `room` of those. */
size_t py_process_code_changed(struct py_process *p, uint32_t *ids, size_t room);
void py_process_forget_code(struct py_process *p);

/* --- permissions, for those who want to know what is missing --- */

/* What /proc/PID/status tells of one process. */
struct py_credentials {
	bool known;
	unsigned uid; /* effective */
	uint64_t permitted, effective, bounding;
	bool no_new_privs;
	unsigned seccomp_filters;
};
struct py_credentials py_credentials_of(pid_t pid); /* 0: ours */

/* What keeps us from reading a process, in the order in which the kernel asks. */
enum py_obstacle {
	PY_OBSTACLE_HIDDEN,       /* /proc does not show it to us */
	PY_OBSTACLE_OTHER_USER,   /* and we have no CAP_SYS_PTRACE; so for the next ones */
	PY_OBSTACLE_NOT_DUMPABLE, /* it changed its user, or was started with a file capability */
	PY_OBSTACLE_CAPABILITIES, /* it may do more than we */
	PY_OBSTACLE_YAMA,         /* kernel.yama.ptrace_scope */
	PY_OBSTACLE_YAMA_NEVER,   /* its value 3: not even with the capability */
	PY_OBSTACLE_USER_NAMESPACE,
	PY_OBSTACLE_SECCOMP, /* a filter of ours refuses the call */
	PY_OBSTACLE_SECURITY_MODULE
};
enum py_obstacle py_obstacle_find(pid_t pid); /* of a process that could not be read */
int py_yama_scope(void);                      /* -1: this kernel has no Yama */
bool py_readv_is_filtered(void);

/* --- objects, for those who know what to look for ---
 *
 * Everything is bounded, and nothing is believed before its type was looked at. What a running thread holds may change between
 * two reads: whoever draws conclusions reads once more what they hang on (py_peek). */

/* The local variable of that name: its place in the frames of this code; -1: there is none, or locals cannot be read. */
int py_code_local(struct py_process *p, const struct py_code *code, const char *name);
/* The address of that slot in a frame, and what it holds now; a variable shared with inner functions is looked up in its
 * cell. false: nothing. */
MUST_CHECK bool py_local(
	struct py_process *p, const struct py_frame *f, int local, uint64_t *slot, uint64_t *object);

/* A local variable for people. */
enum { PY_NAME_BYTES = 64 };
struct py_variable {
	char name[PY_NAME_BYTES];
	char value
		[480]; /* as Python writes it, where that is simple and short; else its type: "<list of 3>", "<Order>" */
};
/* Those of a frame that are set, in the order of its code, at most `max`; none when the frame runs other code by now. They are
 * read now, a moment after the frame was: it may have gone on. */
size_t py_variables(struct py_process *p, const struct py_frame *f, struct py_variable *out, size_t max);

/* Does this head of an object, its first PY_HEAD_BYTES, belong to one that lives? Freed memory keeps a type for a while. */
enum { PY_HEAD_BYTES = 32 };
bool py_alive(const struct py_process *p, const void *head);

enum py_step_kind {
	PY_STEP_END,
	PY_STEP_ATTR, /* an attribute of an instance of a Python class */
	PY_STEP_SLOT, /* an attribute that the class keeps in a slot */
	PY_STEP_ITEM, /* the value of a dict under this str key */
	PY_STEP_PAIR, /* the second of the pair in a list whose first is this name, in bytes; capitals do not matter */
	PY_STEP_FLOAT, /* the only float that an instance of this compiled class holds, whose attributes have no names */
	PY_STEP_FIRST, /* the first of a list or tuple */
	PY_STEP_SELF   /* of a bound method */
};
/* A way from one object to another, as a table of steps ended by PY_STEP_END. */
struct py_step {
	enum py_step_kind kind;
	const char *name;
};
MUST_CHECK bool py_follow(struct py_process *p, uint64_t from, const struct py_step *steps, uint64_t *to);
/* The text of a bytes object or of an ASCII str; data: where the text itself lies. */
MUST_CHECK bool py_text(struct py_process *p, uint64_t object, char *out, size_t out_bytes, uint64_t *data);
/* A float, or an int that is not negative. */
MUST_CHECK bool py_number(struct py_process *p, uint64_t object, double *value);
/* The asyncio task that goes on when this future or task is done: directly, or through gather, wait_for, TaskGroup,
 * run_in_executor. 0: cannot be told. */
uint64_t py_waiting_task(struct py_process *p, uint64_t future);
/* The same of many: waiting[i] for tasks[i]. */
void py_waiting_tasks(struct py_process *p, const struct py_task *tasks, size_t count, uint64_t *waiting);

/* Where an asyncio task keeps what it awaits; 0: this version's is not known. */
uint64_t py_task_awaits_slot(const struct py_process *p, uint64_t task);
/* Of each of these asyncio futures or tasks: is it done? What cannot be read is not. All in one call. */
void py_futures_done(struct py_process *p, const uint64_t *futures, size_t count, bool *done);

/* The asyncio task whose coroutine is among these frames of a running thread; 0: none, or cannot be told. */
uint64_t py_running_task(struct py_process *p, const struct py_frame *frames, size_t count);

struct py_part {
	uint64_t addr;
	void *into;
	size_t len; /* 0 afterwards: it could not be read */
};
/* Reads what can be read of all these, in as few calls as possible. */
void py_peek(struct py_process *p, struct py_part *parts, size_t count);

#endif
