/* ipc.h - two processes talking: start a role, a bounded channel, and the messages on it.
 *
 * A channel is an AF_UNIX SOCK_SEQPACKET socketpair: whole messages, never blocking, bounded by the socket buffer. What does
 * not fit is refused, and the sender counts it. Both ends are the same binary, so structs travel as they are; what is received
 * is still checked (length, ranges), since the other end may have gone mad.
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
	int ours, theirs;
};
/* fork and exec of /proc/self/exe with argv (NULL-terminated) and only these descriptors besides 0, 1, 2. -1: errno. */
MUST_CHECK pid_t ipc_spawn(char *const argv[], const struct ipc_fd *fds, size_t fd_count);

/* --- sending and receiving --- */
enum ipc_result { IPC_OK, IPC_FULL /* or nothing to read */, IPC_CLOSED };
MUST_CHECK enum ipc_result ipc_send(int channel, const void *message, size_t len);
MUST_CHECK enum ipc_result ipc_send_fd(int channel, const void *message, size_t len, int fd); /* fd stays ours */
/* *len: room on entry, bytes received on return; longer messages count as IPC_CLOSED (the peer is not ours).
 * *fd: a descriptor that came along, else -1; NULL refuses (closes) any. */
MUST_CHECK enum ipc_result ipc_receive(int channel, void *message, size_t *len, int *fd);

#endif
