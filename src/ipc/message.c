/* message.c - what a well-formed message is, in one table. */
#include <slowproxy/ipc.h>

#include <assert.h>
#include <string.h>

/* least: the fixed part. text..: a char array in it that must hold a NUL. */
struct message_form {
	uint16_t least;
	struct {
		uint16_t at, bytes;
	} texts[3];
};

#define TEXT(type, member)                                                                                   \
	{                                                                                                    \
		offsetof(struct type, member), sizeof(((struct type *)0)->member)                            \
	}

static const struct message_form forms[IPC_TYPE_END] = {
	[IPC_CAPTURE_START] = { sizeof(struct ipc_capture_start), { { 0 } } },
	[IPC_CAPTURE_STOP] = { sizeof(struct ipc_capture_stop), { { 0 } } },
	[IPC_TARGET] = { sizeof(struct ipc_target),
		{ TEXT(ipc_target, python), TEXT(ipc_target, server), TEXT(ipc_target, reason) } },
	[IPC_FRAME] = { sizeof(struct ipc_frame), { { 0 } } },
	[IPC_STACK] = { sizeof(struct ipc_stack), { { 0 } } },
	[IPC_LANE] = { sizeof(struct ipc_lane), { TEXT(ipc_lane, name) } },
	[IPC_TICK] = { sizeof(struct ipc_tick), { { 0 } } },
	[IPC_RESET] = { sizeof(struct ipc_reset), { { 0 } } },
	[IPC_SUSPECT] = { sizeof(struct ipc_suspect), { { 0 } } },
	[IPC_CAPTURE_END] = { sizeof(struct ipc_capture_end), { TEXT(ipc_capture_end, reason) } },
};

static_assert(sizeof(struct ipc_head) == 8, "messages are counted in eights");
static_assert(sizeof(struct ipc_capture_start) % 8 == 0, "messages are counted in eights");
static_assert(sizeof(struct ipc_target) % 8 == 0, "messages are counted in eights");
static_assert(sizeof(struct ipc_frame) % 8 == 0, "messages are counted in eights");
static_assert(sizeof(struct ipc_lane) % 8 == 0, "messages are counted in eights");
static_assert(sizeof(struct ipc_tick) % 8 == 0, "messages are counted in eights");
static_assert(sizeof(struct ipc_capture_end) % 8 == 0, "messages are counted in eights");
static_assert(sizeof(struct ipc_sample) == 32, "a tick counts its samples");
static_assert(sizeof(struct ipc_tick) + IPC_TICK_SAMPLES_MAX * sizeof(struct ipc_sample) < IPC_DATAGRAM_MAX,
	"the longest tick fits");

/* The bytes a message of this kind has, its variable part included; 0: a count in it is out of range. */
static size_t bytes_due(const struct ipc_head *h)
{
	if (h->type == IPC_FRAME) {
		const struct ipc_frame *f = (const void *)h;
		if (f->function_bytes > IPC_FUNCTION_MAX || f->file_bytes > IPC_FILE_MAX)
			return 0;
		return ipc_padded(sizeof *f + f->function_bytes + f->file_bytes);
	}
	if (h->type == IPC_TICK) {
		const struct ipc_tick *t = (const void *)h;
		if (t->sample_count > IPC_TICK_SAMPLES_MAX)
			return 0;
		return ipc_padded(sizeof *t + t->sample_count * sizeof(struct ipc_sample));
	}
	return forms[h->type].least;
}

static bool well_formed(const struct ipc_head *h, size_t left)
{
	if (left < sizeof *h || h->type >= IPC_TYPE_END || forms[h->type].least == 0)
		return false;
	const struct message_form *form = &forms[h->type];
	if (h->bytes > left || h->bytes < form->least || h->bytes != bytes_due(h))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(form->texts) && form->texts[i].bytes != 0; i++) {
		if (memchr((const char *)h + form->texts[i].at, '\0', form->texts[i].bytes) == NULL)
			return false;
	}
	return true;
}

const struct ipc_head *ipc_message_next(const void *datagram, size_t len, size_t *at, bool *garbage)
{
	*garbage = false;
	if (*at == len)
		return NULL;
	const struct ipc_head *h = (const void *)((const char *)datagram + *at);
	if (!well_formed(h, len - *at)) {
		*garbage = true;
		return NULL;
	}
	*at += h->bytes;
	return h;
}
