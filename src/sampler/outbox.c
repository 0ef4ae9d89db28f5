/* outbox.c - what the proxy is told, in order and never twice.
 *
 *   message -> batch (one datagram) -> channel
 *                              `-----> waiting, while the channel has no room
 *
 * A word of the dictionary must not get lost, so what was added stays until it is sent; the bound is kept by not taking
 * samples while anything waits (outbox_ready). Keys are exact, not hashes:
 *
 *   frame  epoch 16 | code id 24 | line 24        stack  caller's stack 32 | frame 32        lane  epoch 16 | task 1 | id 47
 */
#include "outbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slowproxy/base/str.h>

enum {
	WAITING_MAX =
		32 << 20, /* a proxy that starts captures but never reads is mad: then it is left alone */
	CODE_ID_MAX = (1 << 24) - 2,
	CODE_ID_NONE = (1 << 24) - 1, /* the frame has no code: its line is its kind */
	LINE_MAX = (1 << 24) - 1
};

struct waiting {
	struct list_node node;
	size_t len;
	uint64_t bytes[];
};

void outbox_init(struct outbox *o, int channel)
{
	memset(o, 0, sizeof *o);
	o->channel = channel;
	list_init(&o->waiting);
	o->lane_names = xcalloc(IPC_LANES_MAX + 1, sizeof *o->lane_names);
}

static void waiting_free(struct outbox *o, struct waiting *w)
{
	list_remove(&w->node);
	o->waiting_bytes -= w->len;
	free(w);
}

void outbox_clear(struct outbox *o)
{
	list_for_each_safe (node, &o->waiting)
		waiting_free(o, LIST_ENTRY(node, struct waiting, node));
	map_clear(&o->frames);
	map_clear(&o->stacks);
	map_clear(&o->lanes);
	free(o->lane_names);
	o->lane_names = NULL;
	if (o->channel >= 0)
		close(o->channel);
	o->channel = -1;
}

/* --- sending --- */
static void batch_to_waiting(struct outbox *o)
{
	if (o->waiting_bytes + o->batch_bytes > WAITING_MAX) {
		o->closed = true;
		o->batch_bytes = 0;
		return;
	}
	struct waiting *w = xmalloc(sizeof *w + o->batch_bytes);
	w->node = (struct list_node){ 0 };
	w->len = o->batch_bytes;
	memcpy(w->bytes, o->batch.bytes, o->batch_bytes);
	list_push_back(&o->waiting, &w->node);
	o->waiting_bytes += w->len;
	o->batch_bytes = 0;
}

static bool waiting_send(struct outbox *o)
{
	list_for_each_safe (node, &o->waiting) {
		struct waiting *w = LIST_ENTRY(node, struct waiting, node);
		enum ipc_result r = ipc_send(o->channel, w->bytes, w->len);
		o->closed |= r == IPC_CLOSED;
		if (r != IPC_OK)
			return false;
		waiting_free(o, w);
	}
	return true;
}

static void batch_send(struct outbox *o)
{
	if (o->batch_bytes == 0)
		return;
	if (list_empty(&o->waiting)) {
		enum ipc_result r = ipc_send(o->channel, o->batch.bytes, o->batch_bytes);
		o->closed |= r == IPC_CLOSED;
		if (r == IPC_OK) {
			o->batch_bytes = 0;
			return;
		}
	}
	batch_to_waiting(o);
}

void outbox_flush(struct outbox *o)
{
	if (!o->closed && waiting_send(o))
		batch_send(o);
}

bool outbox_ready(const struct outbox *o)
{
	return !o->closed && list_empty(&o->waiting);
}

void outbox_add(struct outbox *o, const void *message)
{
	const struct ipc_head *h = message;
	assert(h->bytes % 8 == 0 && h->bytes <= sizeof o->batch.bytes);
	if (o->closed)
		return;
	if (o->batch_bytes + h->bytes > sizeof o->batch.bytes)
		batch_send(o);
	memcpy(o->batch.bytes + o->batch_bytes, message, h->bytes);
	o->batch_bytes += h->bytes;
}

/* --- the dictionary --- */
static const char *const markers[] = {
	[PY_FRAME_PYTHON] = "<unreadable>",
	[PY_FRAME_UNREADABLE] = "<unreadable>",
	[PY_FRAME_TRUNCATED] = "<truncated>",
};

static void frame_tell(struct outbox *o, uint32_t id, const char *function, const char *file, uint32_t line)
{
	static const char dots[] = "...";
	union {
		struct ipc_frame m;
		char bytes[sizeof(struct ipc_frame) + IPC_FUNCTION_MAX + IPC_FILE_MAX + 8];
	} u;
	size_t function_bytes = strnlen(function, IPC_FUNCTION_MAX);
	size_t file_bytes = slice_of(file).len;
	u.m = (struct ipc_frame){ .head = { .type = IPC_FRAME }, .id = id, .line = line };
	memcpy(u.bytes + sizeof u.m, function, function_bytes);
	char *to = u.bytes + sizeof u.m + function_bytes;
	if (file_bytes > IPC_FILE_MAX) { /* the end of a path says more than its beginning */
		memcpy(to, dots, sizeof dots - 1);
		size_t kept = IPC_FILE_MAX - (sizeof dots - 1);
		memcpy(to + sizeof dots - 1, file + file_bytes - kept, kept);
		file_bytes = IPC_FILE_MAX;
	} else {
		memcpy(to, file, file_bytes);
	}
	u.m.function_bytes = (uint16_t)function_bytes;
	u.m.file_bytes = (uint16_t)file_bytes;
	size_t bytes = sizeof u.m + function_bytes + file_bytes;
	memset(u.bytes + bytes, 0, ipc_padded(bytes) - bytes);
	u.m.head.bytes = (uint16_t)ipc_padded(bytes);
	outbox_add(o, &u);
}

static uint32_t frame_id(struct outbox *o, uint16_t epoch, const struct py_frame *f)
{
	bool is_code = f->kind == PY_FRAME_PYTHON && f->code != NULL && f->code->id <= CODE_ID_MAX;
	enum py_frame_kind kind = f->kind == PY_FRAME_TRUNCATED ? f->kind : PY_FRAME_UNREADABLE;
	uint32_t line = is_code ? (f->line <= LINE_MAX ? f->line : 0) : 0;
	uint64_t key = is_code ? (uint64_t)epoch << 48 | (uint64_t)f->code->id << 24 | line
			       : (uint64_t)CODE_ID_NONE << 24 | kind; /* markers are everybody's: epoch 0 */
	uint64_t id;
	if (map_get(&o->frames, key, &id))
		return (uint32_t)id;
	if (o->frame_count == IPC_FRAMES_MAX) {
		o->dictionary_full = true;
		return 0;
	}
	id = ++o->frame_count;
	map_put(&o->frames, key, id);
	frame_tell(o, (uint32_t)id, is_code ? f->code->function : markers[kind], is_code ? f->code->file : "",
		line);
	return (uint32_t)id;
}

static uint32_t stack_push(struct outbox *o, uint32_t parent, uint32_t frame)
{
	uint64_t key = (uint64_t)parent << 32 | frame, id;
	if (map_get(&o->stacks, key, &id))
		return (uint32_t)id;
	if (o->stack_count == IPC_STACKS_MAX) {
		o->dictionary_full = true;
		return 0;
	}
	id = ++o->stack_count;
	map_put(&o->stacks, key, id);
	struct ipc_stack m = {
		.head = { IPC_STACK, sizeof m, 0 }, .id = (uint32_t)id, .parent = parent, .frame = frame
	};
	outbox_add(o, &m);
	return (uint32_t)id;
}

uint32_t outbox_stack(struct outbox *o, uint16_t epoch, const struct py_frame *frames, size_t count)
{
	uint32_t stack = 0;
	size_t depth = MIN(count, (size_t)IPC_DEPTH_MAX - 1);
	if (depth < count) { /* the roots of an endless recursion say less than its leaves */
		struct py_frame cut = { .kind = PY_FRAME_TRUNCATED };
		uint32_t frame = frame_id(o, epoch, &cut);
		stack = frame != 0 ? stack_push(o, 0, frame) : 0;
	}
	for (size_t i = depth; i-- > 0;) {
		uint32_t frame = frame_id(o, epoch, &frames[i]);
		if (frame == 0)
			return 0;
		stack = stack_push(o, stack, frame);
		if (stack == 0)
			return 0;
	}
	return stack;
}

uint32_t outbox_lane(
	struct outbox *o, uint16_t epoch, enum ipc_lane_kind kind, uint64_t native, const char *name)
{
	const uint64_t low47 = (UINT64_C(1) << 47) - 1;
	uint64_t key = (uint64_t)epoch << 48 | (uint64_t)(kind == IPC_LANE_TASK) << 47 | (native & low47), id;
	uint64_t name_hash = hash_bytes(name, strlen(name)) + kind;
	if (map_get(&o->lanes, key, &id) && o->lane_names[id] == name_hash)
		return (uint32_t)id;
	if (o->lane_count == IPC_LANES_MAX) {
		o->dictionary_full = true;
		return 0;
	}
	id = ++o->lane_count;
	map_put(&o->lanes, key, id);
	o->lane_names[id] = name_hash;
	struct ipc_lane m = {
		.head = { IPC_LANE, sizeof m, 0 }, .id = (uint32_t)id, .kind = kind, .native = native
	};
	memcpy(m.name, name, strnlen(name, sizeof m.name - 1));
	outbox_add(o, &m);
	return (uint32_t)id;
}

void outbox_reset(struct outbox *o)
{
	struct ipc_reset m = { { IPC_RESET, sizeof m, 0 } };
	map_clear(&o->frames);
	map_clear(&o->stacks);
	map_clear(&o->lanes);
	o->frame_count = o->stack_count = o->lane_count = 0;
	o->dictionary_full = false;
	outbox_add(o, &m);
}

static bool id_among(const uint32_t *ids, size_t count, uint64_t id)
{
	for (size_t i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

void outbox_suspect(
	struct outbox *o, const struct ipc_suspect *m, uint16_t epoch, const uint32_t *ids, size_t count)
{
	struct ipc_suspect one = *m;
	size_t at = 0;
	uint64_t key, id;
	while (map_next(&o->frames, &at, &key, &id)) {
		if (key >> 48 != epoch || !id_among(ids, count, key >> 24 & (CODE_ID_NONE)))
			continue;
		one.frame = (uint32_t)id;
		outbox_add(o, &one);
	}
}
