/* ipc.h - two processes talking: start a role, a bounded channel, and the messages on it.
 *
 * A channel is an AF_UNIX SOCK_SEQPACKET socketpair: whole messages, never blocking, bounded by the socket buffer. What does
 * not fit is refused, and the sender counts it. Both ends are the same binary, so structs travel as they are; what is
 * received is still checked (length, ranges), since the other end may have gone mad.
 */
#ifndef SLOWPROXY_IPC_H
#define SLOWPROXY_IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <slowproxy/base/mem.h>

/* --- starting a role --- */
/* A pair of connected channel ends, close-on-exec and non-blocking, with send buffers of about buffer_bytes. false: errno. */
MUST_CHECK bool ipc_pair(int ends[2], size_t buffer_bytes);

/* A descriptor the new process gets, and the number it has there. */
struct ipc_fd {
	int ours, theirs; /* theirs: 3 or above */
};
/* fork and exec of /proc/self/exe with argv (NULL-terminated) and only these descriptors besides 0, 1, 2. Signals
 * that we block stay blocked, so that one which comes before the role can take it waits for it. The descriptors stay ours too. Returns once the exec has happened. -1: errno, also of a failed exec. */
MUST_CHECK pid_t ipc_spawn(char *const argv[], const struct ipc_fd *fds, size_t fd_count);
/* The same for any program (found as the shell finds it), all signals unblocked, from a process of one thread; prepare runs in the child, before. */
MUST_CHECK pid_t ipc_spawn_program(const char *file, char *const argv[], const struct ipc_fd *fds,
	size_t fd_count, void (*prepare)(void *context), void *context);

/* --- sending and receiving whole datagrams --- */
enum ipc_result {
	IPC_OK,
	IPC_FULL,  /* no room now, or nothing to read */
	IPC_CLOSED /* the other end is gone, or what it sent cannot be ours */
};
enum { IPC_DATAGRAM_MAX = 32 * 1024 }; /* the longest we send */

MUST_CHECK enum ipc_result ipc_send(int channel, const void *message, size_t len);
MUST_CHECK enum ipc_result ipc_send_fd(
	int channel, const void *message, size_t len, int fd); /* fd stays ours */
/* *len: room on entry, bytes received on return; longer messages count as IPC_CLOSED (the peer is not ours).
 * *fd: a descriptor that came along, else -1; NULL refuses (closes) any. */
MUST_CHECK enum ipc_result ipc_receive(int channel, void *message, size_t *len, int *fd);

/* --- the messages between proxy and sampler ---
 *
 *   proxy                                        sampler
 *     CAPTURE_START {id, connection} ------------> finds the worker behind the connection, reads it at each tick
 *     <----- TARGET {id, worker, status, reason}   what it found; again when that changes
 *     <----- FRAME, STACK, LANE                    each once per channel: a dictionary both sides keep
 *     <----- TICK {worker, at, samples}            one look at a worker serves all captures on it
 *     CAPTURE_STOP {id} ------------------------->
 *     <----- CAPTURE_END {id, status, reason}      the last word: all ticks of the capture came before it
 *
 * A datagram holds one or more messages, one behind the other. Each begins with a head; its bytes are a multiple of 8.
 * FRAME, STACK and LANE ids are dense and count from 1; RESET empties all three tables on both sides.
 */
enum ipc_type {
	IPC_CAPTURE_START = 1,
	IPC_CAPTURE_STOP,
	IPC_TARGET,
	IPC_FRAME,
	IPC_STACK,
	IPC_LANE,
	IPC_TICK,
	IPC_RESET,
	IPC_SUSPECT,
	IPC_CAPTURE_END,
	IPC_TYPE_END
};

/* Bounds of the dictionary: the sampler resets before it would exceed one, the proxy believes nothing above. */
enum {
	IPC_FRAMES_MAX = 32768,
	IPC_STACKS_MAX = 131072,
	IPC_LANES_MAX = 16384,
	IPC_DEPTH_MAX = 2048,
	IPC_TICK_SAMPLES_MAX = 1000,
	IPC_FUNCTION_MAX = 255, /* bytes of a name; longer ones are cut */
	IPC_FILE_MAX = 1023,
	IPC_REASON_BYTES = 256
};

struct ipc_head {
	uint16_t type;  /* enum ipc_type */
	uint16_t bytes; /* of the whole message, head included */
	uint32_t
		worker; /* key of the worker it speaks of; 0: of none. Never used twice by one sampler process */
};

/* Our socket to the backend, by which the sampler finds who holds the other end. */
struct ipc_connection {
	uint16_t family;              /* AF_INET, AF_INET6, AF_UNIX */
	uint16_t our_port, peer_port; /* as in a sockaddr: network order, the addresses too */
	uint16_t unused;
	uint8_t our_address[16], peer_address[16]; /* AF_INET uses the first four bytes */
	uint64_t our_inode;                        /* AF_UNIX */
};

struct ipc_capture_start {
	struct ipc_head head;
	uint64_t id;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC: forgotten then, should STOP get lost */
	struct ipc_connection connection;
	uint64_t span; /* of the traceparent sent upstream: what the server holds of the request; 0: none */
};

struct ipc_capture_stop {
	struct ipc_head head;
	uint64_t id;
	uint64_t wants_end; /* 0: no CAPTURE_END is awaited */
};

/* What the sampler can say of a capture. */
enum ipc_status {
	IPC_STATUS_OK,
	IPC_STATUS_PARTIAL,
	IPC_STATUS_DENIED,
	IPC_STATUS_UNSUPPORTED,
	IPC_STATUS_NOT_PYTHON,
	IPC_STATUS_NO_WORKER,    /* nobody we can see owns the other end */
	IPC_STATUS_NOT_ACCEPTED, /* still in the backlog */
	IPC_STATUS_GONE,         /* the worker ended */
	IPC_STATUS_BUDGET,       /* a bound of the sampler was reached */
	IPC_STATUS_END
};

struct ipc_target {
	struct ipc_head head; /* worker: 0 while there is none */
	uint64_t id;
	int32_t pid;
	uint32_t status; /* enum ipc_status */
	char python[32];
	char server[32];
	char reason[IPC_REASON_BYTES];
};

struct ipc_frame { /* followed by function and file, not terminated */
	struct ipc_head head;
	uint32_t id;
	uint32_t line;
	uint16_t function_bytes, file_bytes;
	uint32_t unused;
};

/* A stack is its caller's stack and one frame more: parent 0 is the empty one. */
struct ipc_stack {
	struct ipc_head head;
	uint32_t id;
	uint32_t parent;
	uint32_t frame;
	uint32_t unused;
};

enum ipc_lane_kind { IPC_LANE_LOOP, IPC_LANE_THREAD, IPC_LANE_TASK, IPC_LANE_KIND_END };

struct ipc_lane {
	struct ipc_head head;
	uint32_t id;
	uint32_t kind; /* enum ipc_lane_kind */
	uint64_t native;
	char name[64];
};

enum ipc_state {
	IPC_STATE_UNKNOWN,
	IPC_STATE_RUNNING,
	IPC_STATE_BLOCKED,
	IPC_STATE_GIL_WAIT,
	IPC_STATE_IDLE,
	IPC_STATE_AWAITING,
	IPC_STATE_END
};

/* Whom a thread or task worked for when it was looked at. */
enum ipc_serves {
	IPC_SERVES_UNKNOWN,
	IPC_SERVES_NOBODY,  /* the plumbing of an event loop */
	IPC_SERVES_TASK,    /* a task with its own frames, of no request that we can see */
	IPC_SERVES_REQUEST, /* that of `span`, proven */
	IPC_SERVES_END
};

struct ipc_sample {
	uint64_t
		due_ns; /* CLOCK_MONOTONIC, 0: not known. A task that sleeps: when that will be over. The thread of an event
			  * loop: when its present turn began, in which it sees what was ready before, and nothing else */
	uint64_t span; /* the request it serves, ours or another's; 0: see serves */
	uint32_t lane;
	uint32_t stack;  /* 0: nothing was readable */
	uint32_t awaits; /* a task: stands for what it awaits; another value: it went on meanwhile */
	int16_t syscall;
	uint8_t state; /* enum ipc_state */
	uint8_t holds_gil : 1;
	uint8_t due_at_latest : 1; /* or it is over earlier: it had begun before it was first seen */
	uint8_t ready : 1;         /* a task that could go on: what it awaits is there, or it has not begun */
	uint8_t serves : 5;        /* enum ipc_serves */
};

enum {
	IPC_TICK_FAILED = 1, /* the worker could not be read */
	IPC_TICK_TASKS =
		2, /* the look went over asyncio tasks too; not every one does, when there are many */
	IPC_TICK_WHOLE = 4, /* and found each that serves a captured request: who is not there has no task */
	IPC_TICK_GC = 8,    /* the garbage collector ran */
	IPC_TICK_THRIFTY = 16 /* looks come less often than asked for: they would cost too much */
};

struct ipc_tick { /* followed by sample_count samples */
	struct ipc_head head;
	uint64_t at_ns;
	uint32_t sample_count;
	uint32_t flags;
};

struct ipc_reset {
	struct ipc_head head;
};

/* Code objects were replaced in the worker between two checks: what ticks (from .. to] say of this frame may be wrong. */
struct ipc_suspect {
	struct ipc_head head;
	uint64_t from_ns, to_ns;
	uint32_t frame; /* 0: of everything */
	uint32_t unused;
};

struct ipc_capture_end {
	struct ipc_head head;
	uint64_t id;
	uint32_t status;
	uint32_t unused;
	char reason[IPC_REASON_BYTES];
};

/* The message at *at of a datagram, or NULL at its end or when the rest is not a message; then *garbage tells which.
 * What is returned has a known type, its full length, terminated texts and counts that fit: no more checks of form are
 * needed. Moves *at on. The datagram must be 8-aligned. */
const struct ipc_head *ipc_message_next(const void *datagram, size_t len, size_t *at, bool *garbage);

/* Rounds up to the multiple of 8 a message must have. */
static inline size_t ipc_padded(size_t bytes)
{
	return (bytes + 7) & ~(size_t)7;
}

#endif
