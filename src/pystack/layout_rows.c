/* layout_rows.c - one row per version: how things are found there. Where they lie is the table's (layout_table.h).
 *
 * frame.state of 3.8 and 3.9 tells whether a frame executes, that of 3.10 what it does. pthread.tid is glibc's; where
 * another libc has something else there, the number is no thread of the process and is not believed.
 */
#include "layout.h"

#include <stddef.h>

static const char *const task_sets_weak[] = { "_all_tasks", NULL };
/* An eager task joins it when it first waits; until then it runs, and is on its thread. */
static const char *const task_sets_scheduled[] = { "_scheduled_tasks", NULL };

/* Opcodes from opcode.h, pycore_opcode_metadata.h: an instruction and its specialised forms. In 3.11 and 3.12 a caller
 * stands at the last cache of its instruction, later at the instruction itself. */
static const struct caller callers_311[] = {
	{ 171, 171, 4, CALLER_SHOWS_FUNCTION }, /* CALL */
	{ 22, 24, 4, CALLER_SHOWS_FUNCTION },   /* CALL_ADAPTIVE, CALL_PY_... */
	{ 25, 25, 4, CALLER_SILENT },           /* BINARY_SUBSCR */
	{ 17, 21, 4, CALLER_SILENT },           /* BINARY_SUBSCR_... */
	{ 0 },
};
static const struct caller callers_312[] = {
	{ 171, 171, 3, CALLER_SHOWS_FUNCTION }, /* CALL */
	{ 23, 24, 3, CALLER_SHOWS_FUNCTION },   /* CALL_PY_... */
	{ 28, 29, 3, CALLER_SHOWS_FUNCTION },   /* the other CALL_... */
	{ 34, 34, 3, CALLER_SHOWS_FUNCTION },
	{ 38, 48, 3, CALLER_SHOWS_FUNCTION },
	{ 56, 56, 3, CALLER_SHOWS_FUNCTION },
	{ 142, 142, 0, CALLER_SHOWS_FUNCTION },  /* CALL_FUNCTION_EX */
	{ 241, 241, 3, CALLER_SHOWS_FUNCTION },  /* INSTRUMENTED_CALL */
	{ 244, 244, 0, CALLER_SHOWS_FUNCTION },  /* INSTRUMENTED_CALL_FUNCTION_EX */
	{ 93, 93, 1, CALLER_SHOWS_GENERATOR },   /* FOR_ITER */
	{ 62, 65, 1, CALLER_SHOWS_GENERATOR },   /* FOR_ITER_... */
	{ 123, 123, 1, CALLER_SHOWS_GENERATOR }, /* SEND */
	{ 168, 168, 1, CALLER_SHOWS_GENERATOR }, /* SEND_GEN */
	{ 248, 248, 1, CALLER_SHOWS_GENERATOR }, /* INSTRUMENTED_FOR_ITER */
	{ 25, 25, 1, CALLER_SILENT },            /* BINARY_SUBSCR */
	{ 19, 22, 1, CALLER_SILENT },            /* BINARY_SUBSCR_... */
	{ 106, 106, 9, CALLER_SILENT },          /* LOAD_ATTR */
	{ 70, 82, 9, CALLER_SILENT },            /* LOAD_ATTR_... */
	{ 253, 254, 0, CALLER_UNKNOWN },         /* INSTRUMENTED_INSTRUCTION, _LINE */
	{ 253, 254, 1, CALLER_UNKNOWN },
	{ 253, 254, 3, CALLER_UNKNOWN },
	{ 0 },
};
static const struct caller callers_313[] = {
	{ 53, 54, 0, CALLER_SHOWS_FUNCTION },    /* CALL, CALL_FUNCTION_EX */
	{ 57, 57, 0, CALLER_SHOWS_FUNCTION },    /* CALL_KW */
	{ 162, 181, 0, CALLER_SHOWS_FUNCTION },  /* CALL_... */
	{ 72, 72, 0, CALLER_SHOWS_GENERATOR },   /* FOR_ITER */
	{ 187, 190, 0, CALLER_SHOWS_GENERATOR }, /* FOR_ITER_... */
	{ 104, 104, 0, CALLER_SHOWS_GENERATOR }, /* SEND */
	{ 208, 208, 0, CALLER_SHOWS_GENERATOR }, /* SEND_GEN */
	{ 5, 5, 0, CALLER_SILENT },              /* BINARY_SUBSCR */
	{ 157, 161, 0, CALLER_SILENT },          /* BINARY_SUBSCR_... */
	{ 82, 82, 0, CALLER_SILENT },            /* LOAD_ATTR */
	{ 191, 202, 0, CALLER_SILENT },          /* LOAD_ATTR_... */
	{ 70, 70, 0, CALLER_UNKNOWN },           /* ENTER_EXECUTOR */
	{ 236, 254, 0, CALLER_UNKNOWN },         /* INSTRUMENTED_... */
	{ 0 },
};
static const struct caller callers_314[] = {
	{ 52, 52, 0, CALLER_SHOWS_FUNCTION },    /* CALL */
	{ 4, 4, 0, CALLER_SHOWS_FUNCTION },      /* CALL_FUNCTION_EX */
	{ 55, 55, 0, CALLER_SHOWS_FUNCTION },    /* CALL_KW */
	{ 143, 165, 0, CALLER_SHOWS_FUNCTION },  /* CALL_... */
	{ 70, 70, 0, CALLER_SHOWS_GENERATOR },   /* FOR_ITER */
	{ 171, 174, 0, CALLER_SHOWS_GENERATOR }, /* FOR_ITER_... */
	{ 106, 106, 0, CALLER_SHOWS_GENERATOR }, /* SEND */
	{ 197, 197, 0, CALLER_SHOWS_GENERATOR }, /* SEND_GEN */
	{ 44, 44, 0, CALLER_SILENT },            /* BINARY_OP */
	{ 129, 142, 0, CALLER_SILENT },          /* BINARY_OP_... */
	{ 80, 80, 0, CALLER_SILENT },            /* LOAD_ATTR */
	{ 177, 189, 0, CALLER_SILENT },          /* LOAD_ATTR_... */
	{ 234, 255, 0, CALLER_UNKNOWN },         /* INSTRUMENTED_..., ENTER_EXECUTOR */
	{ 0 },
};
static const struct caller callers_315[] = {
	{ 50, 50, 0, CALLER_SHOWS_FUNCTION },    /* CALL */
	{ 4, 4, 0, CALLER_SHOWS_FUNCTION },      /* CALL_FUNCTION_EX */
	{ 53, 53, 0, CALLER_SHOWS_FUNCTION },    /* CALL_KW */
	{ 144, 168, 0, CALLER_SHOWS_FUNCTION },  /* CALL_... */
	{ 68, 68, 0, CALLER_SHOWS_GENERATOR },   /* FOR_ITER */
	{ 174, 178, 0, CALLER_SHOWS_GENERATOR }, /* FOR_ITER_... */
	{ 105, 105, 0, CALLER_SHOWS_GENERATOR }, /* SEND */
	{ 203, 204, 0, CALLER_SHOWS_GENERATOR }, /* SEND_GEN, SEND_VIRTUAL */
	{ 42, 42, 0, CALLER_SILENT },            /* BINARY_OP */
	{ 129, 143, 0, CALLER_SILENT },          /* BINARY_OP_... */
	{ 79, 79, 0, CALLER_SILENT },            /* LOAD_ATTR */
	{ 183, 195, 0, CALLER_SILENT },          /* LOAD_ATTR_... */
	{ 202, 202, 0, CALLER_UNKNOWN },         /* SEND_ASYNC_GEN: what it shows is a wrapper */
	{ 233, 254, 0, CALLER_UNKNOWN },         /* INSTRUMENTED_..., ENTER_EXECUTOR */
	{ 0 },
};

/* What the versions of an era have in common. */
#define FRAME_OBJECTS                                                                                        \
	.top = TOP_IN_THREAD_STATE, .shape = FRAME_OBJECT, .extent = EXTENT_NONE, .call = CALL_UNPROVEN,     \
	.gil = GIL_CURRENT_THREAD, .attrs = ATTRS_DICT, .ints = INT_SIGNED_SIZE, .keys = KEYS_BY_SIZE,       \
	.awaits = AWAIT_BY_OPCODE, .await_opcode = 72, .coro = CORO_POINTS_TO_FRAME, .plain_names = true,    \
	.owner_generator = 1, .owner_shim = OWNER_NONE, .owner_last = 1, .tasks = TASKS_IN_SETS,             \
	.task_sets = task_sets_weak, .text_kind_shift = 2, .await_slots_down = 1, .owners = OWNERS_WORD
#define INTERPRETER_FRAMES                                                                                   \
	.shape = FRAME_INTERPRETER, .call = CALL_LEAVES_FUNCTION, .lines = LINES_LOCATIONS,                  \
	.keys = KEYS_BY_LOGARITHM, .coro = CORO_HOLDS_FRAME, .owner_generator = 1
#define OWN_OFFSETS                                                                                          \
	INTERPRETER_FRAMES, .own_offsets = true, .top = TOP_IN_THREAD_STATE, .extent = EXTENT_STORED,        \
			    .attrs = ATTRS_INLINE, .ints = INT_TAGGED_SIZE, .awaits = AWAIT_BY_STATE,        \
			    .dict_values_header = 8, .owner_shim = 3, .owner_last = 2
#define LIKE_313                                                                                             \
	OWN_OFFSETS, .version = 0x030d, .stack = STACK_BY_DEPTH, .await_slots_down = 1,                      \
		     .callers = callers_313, .tasks = TASKS_IN_SETS, .task_sets = task_sets_scheduled,       \
		     .gen_suspended_from = -2, .gen_suspended_to = -1, .gen_awaits_from = -1,                \
		     .gen_awaits_to = -1, .gen_created = -3, .gen_running = 0, .text_kind_shift = 2
#define LIKE_314                                                                                             \
	OWN_OFFSETS, .version = 0x030e, .stack = STACK_BY_ADDRESS, .ref_tags = 3, .await_slots_down = 1,     \
		     .callers = callers_314, .tasks = TASKS_IN_LISTS, .gen_suspended_from = -2,              \
		     .gen_suspended_to = -1, .gen_awaits_from = -1, .gen_awaits_to = -1, .gen_created = -3,  \
		     .gen_running = 0
#define LIKE_315                                                                                             \
	OWN_OFFSETS, .version = 0x030f, .stack = STACK_BY_ADDRESS, .ref_tags = 3, .await_slots_down = 2,     \
		     .callers = callers_315, .tasks = TASKS_IN_LISTS, .gen_suspended_from = 1,               \
		     .gen_suspended_to = 3, .gen_awaits_from = 2, .gen_awaits_to = 3, .gen_created = 0,      \
		     .gen_running = 4
#define WITH_GIL    .gil = GIL_PER_INTERPRETER, .dict_before = 24
#define WITHOUT_GIL .gil = GIL_NONE, .dict_before = 8, .free_threaded = true, .owners = OWNERS_SPLIT

const struct py_layout layout_rows[LAYOUT_COUNT] = {
	{
		FRAME_OBJECTS,
		.version = 0x0308,
		.source = "headers of 3.8.18",
		.lines = LINES_LNOTAB,
		.stack = STACK_BY_ADDRESS,
		.lasti_bytes = 1,
		.gen_running = 1,
	},
	{
		FRAME_OBJECTS,
		.version = 0x0309,
		.source = "headers of 3.9.18",
		.lines = LINES_LNOTAB,
		.stack = STACK_BY_ADDRESS,
		.lasti_bytes = 1,
		.gen_running = 1,
	},
	{
		FRAME_OBJECTS,
		.version = 0x030a,
		.source = "headers of 3.10.13",
		.lines = LINES_RANGES,
		.stack = STACK_BY_DEPTH,
		.lasti_bytes = 2,
		.gen_suspended_from = -1,
		.gen_suspended_to = -1,
		.gen_created = -2,
		.gen_running = 0,
	},
	{
		INTERPRETER_FRAMES,
		.version = 0x030b,
		.source = "headers of 3.11.2 and 3.11.7",
		.top = TOP_THROUGH_CFRAME,
		.extent = EXTENT_LOCALS_AND_STACK,
		.callers = callers_311,
		.stack = STACK_BY_DEPTH,
		.await_slots_down = 1,
		.awaits = AWAIT_BY_ARGUMENT,
		.gil = GIL_CURRENT_THREAD,
		.attrs = ATTRS_VALUES_THEN_DICT,
		.ints = INT_SIGNED_SIZE,
		.owner_shim = OWNER_NONE,
		.owner_last = 2,
		.gen_suspended_from = -1,
		.gen_suspended_to = -1,
		.gen_created = -2,
		.gen_running = 0,
		.tasks = TASKS_IN_SETS,
		.task_sets = task_sets_weak,
		.text_kind_shift = 2,
		.owners = OWNERS_WORD,
	},
	{
		INTERPRETER_FRAMES,
		.version = 0x030c,
		.source = "headers of 3.12.1",
		.top = TOP_THROUGH_CFRAME,
		.extent = EXTENT_STORED,
		.callers = callers_312,
		.stack = STACK_BY_DEPTH,
		.await_slots_down = 1,
		.awaits = AWAIT_BY_ARGUMENT,
		.gil = GIL_PER_INTERPRETER,
		.attrs = ATTRS_TAGGED_WORD,
		.ints = INT_TAGGED_SIZE,
		.owner_shim = 3,
		.owner_last = 2,
		.gen_suspended_from = -1,
		.gen_suspended_to = -1,
		.gen_created = -2,
		.gen_running = 0,
		.tasks = TASKS_IN_SETS,
		.task_sets = task_sets_scheduled,
		.text_kind_shift = 2,
		.owners = OWNERS_WORD,
	},
	{ LIKE_313, WITH_GIL, .source = "headers of 3.13.18", .owners = OWNERS_WORD },
	{ LIKE_314, WITH_GIL, .source = "headers of 3.14.10", .owners = OWNERS_WITH_FLAGS,
		.text_kind_shift = 2 },
	{ LIKE_315, WITH_GIL, .source = "headers of 3.15.2", .owners = OWNERS_WITH_FLAGS,
		.text_kind_shift = 2 },
	{ LIKE_313, WITHOUT_GIL, .source = "headers of 3.13.18t", .ref_tags = 1 },
	{ LIKE_314, WITHOUT_GIL, .source = "headers of 3.14.10t", .text_kind_shift = 8 },
	{ LIKE_315, WITHOUT_GIL, .source = "headers of 3.15.2t", .text_kind_shift = 8 },
};
