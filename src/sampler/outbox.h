/* outbox.h - one channel to the proxy: what waits to be sent on it, and the dictionary of what it was told already. */
#ifndef SLOWPROXY_SAMPLER_OUTBOX_H
#define SLOWPROXY_SAMPLER_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include <slowproxy/base/list.h>
#include <slowproxy/base/map.h>
#include <slowproxy/ipc.h>
#include <slowproxy/pystack.h>

struct outbox {
	int channel;
	bool closed;
	/* The datagram being filled, and full ones behind each other that the channel had no room for. */
	union {
		uint64_t align;
		char bytes[IPC_DATAGRAM_MAX];
	} batch;
	size_t batch_bytes;
	struct list waiting;
	size_t waiting_bytes;
	/* What the proxy knows: key -> id. */
	struct map frames, stacks, lanes;
	uint32_t frame_count, stack_count, lane_count;
	uint64_t *lane_names; /* [lane id]: hash of the name told; a task's address may be used again */
	bool dictionary_full; /* RESET before the next tick */
};

void outbox_init(struct outbox *o, int channel); /* takes channel */
void outbox_clear(struct outbox *o);

/* Appends a whole message; its head's bytes say how long. */
void outbox_add(struct outbox *o, const void *message);
/* Sends what the channel has room for. */
void outbox_flush(struct outbox *o);
/* Nothing waits: a tick may be told. While the proxy does not read, ticks are skipped rather than piled up. */
bool outbox_ready(const struct outbox *o);

/* Each returns the id by which the proxy knows the thing, telling it first when it is new; 0: the dictionary is full.
 * epoch (1..65535) stands for one life of a process' code cache. */
uint32_t outbox_stack(
	struct outbox *o, uint16_t epoch, const struct py_frame *frames, size_t count); /* leaf first */
uint32_t outbox_lane(
	struct outbox *o, uint16_t epoch, enum ipc_lane_kind kind, uint64_t native, const char *name);
void outbox_reset(struct outbox *o);
/* Tells that frames of these code objects are suspect. */
void outbox_suspect(
	struct outbox *o, const struct ipc_suspect *m, uint16_t epoch, const uint32_t *ids, size_t count);

#endif
