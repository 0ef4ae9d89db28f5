/* channel.c - whole datagrams between two processes: never waits, never more than fits, never a signal. */
#include <slowproxy/ipc.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The privileged option goes beyond net.core.wmem_max; without the privilege the kernel's bound is enough. */
static void send_buffer_set(int fd, size_t bytes)
{
	int wanted = (int)MIN(bytes, (size_t)1 << 28);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) != 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
}

bool ipc_pair(int ends[2], size_t buffer_bytes)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
		return false;
	size_t least = 2 * (size_t)IPC_DATAGRAM_MAX;
	for (int i = 0; i < 2; i++)
		send_buffer_set(ends[i], MAX(buffer_bytes, least));
	return true;
}

static enum ipc_result send_result(ssize_t sent)
{
	if (sent >= 0)
		return IPC_OK;
	switch (errno) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
	case EMSGSIZE: /* longer than the buffer: refused like any other that does not fit */
	case EINTR:
		return IPC_FULL;
	default:
		return IPC_CLOSED;
	}
}

enum ipc_result ipc_send(int channel, const void *message, size_t len)
{
	assert(len != 0); /* an empty datagram would read as the end */
	return send_result(send(channel, message, len, MSG_NOSIGNAL | MSG_DONTWAIT));
}

union fd_control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

enum ipc_result ipc_send_fd(int channel, const void *message, size_t len, int fd)
{
	assert(len != 0);
	union fd_control control = { .bytes = { 0 } };
	struct iovec part = { .iov_base = (void *)message, .iov_len = len };
	struct msghdr m = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	return send_result(sendmsg(channel, &m, MSG_NOSIGNAL | MSG_DONTWAIT));
}

/* Keeps the first descriptor that came along, closes all others: an unasked gift must not pile up. */
static int descriptors_take(struct msghdr *m, bool wanted)
{
	int kept = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (wanted && kept < 0)
				kept = fd;
			else
				close(fd);
		}
	}
	return kept;
}

enum ipc_result ipc_receive(int channel, void *message, size_t *len, int *fd)
{
	union fd_control control;
	struct iovec part = { .iov_base = message, .iov_len = *len };
	struct msghdr m = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes };
	*len = 0;
	if (fd != NULL)
		*fd = -1;
	ssize_t got = recvmsg(channel, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? IPC_FULL : IPC_CLOSED;
	int came = descriptors_take(&m, fd != NULL);
	if (got == 0 || (m.msg_flags & MSG_TRUNC) != 0) {
		if (came >= 0)
			close(came);
		return IPC_CLOSED;
	}
	if (fd != NULL)
		*fd = came;
	*len = (size_t)got;
	return IPC_OK;
}
