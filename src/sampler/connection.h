/* connection.h - from our end of a connection to the inode of the other end. */
#ifndef SLOWPROXY_SAMPLER_CONNECTION_H
#define SLOWPROXY_SAMPLER_CONNECTION_H

#include <slowproxy/ipc.h>

enum peer_result {
	PEER_FOUND,
	PEER_NOT_ACCEPTED, /* connected, but accept(2) was not called on the other side yet */
	PEER_NONE          /* the kernel knows no such connection, or it is closed on the other side */
};

/* The kernel is asked over NETLINK_SOCK_DIAG; fd -1 where that is not allowed, then /proc/net is read. */
struct diag {
	int fd;
	uint32_t sequence;
};

void diag_init(struct diag *d);
void diag_clear(struct diag *d);
MUST_CHECK enum peer_result peer_inode(struct diag *d, const struct ipc_connection *c, uint64_t *inode);
/* The same over /proc/PID/net: the way into another network namespace, and the fallback. pid 0: our own namespace. */
MUST_CHECK enum peer_result peer_inode_from_proc(pid_t pid, const struct ipc_connection *c, uint64_t *inode);

#endif
