/* connection.c - asks the kernel who sits at the other end: sock_diag(7), one exact question, about 5 us.
 *
 * The socket of the server has our peer address as its own, and our address as its peer. Inode 0 there means that no
 * process has it yet: the connection still lies in the listener's queue.
 */
#include "connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <slowproxy/base/log.h>

/* The kernel's own state of a request socket that has no name in netinet/tcp.h. */
enum { STATE_NEW_SYN_RECV = 12 };

void diag_init(struct diag *d)
{
	d->sequence = 0;
	d->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (d->fd < 0) {
		log_warn("sock_diag is not available (%s): connections are looked up in /proc/net, slower",
			strerror(errno));
		return;
	}
	/* The kernel answers within the send call; the bound is for the day it does not. */
	struct timeval patience = { .tv_usec = 100 * 1000 };
	(void)setsockopt(d->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

void diag_clear(struct diag *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

/* A socket without inode: is somebody still to accept it, or has it been closed? */
static enum peer_result orphan_result(unsigned state)
{
	switch (state) {
	case TCP_ESTABLISHED:
	case TCP_SYN_RECV:
	case TCP_CLOSE_WAIT:
	case STATE_NEW_SYN_RECV:
		return PEER_NOT_ACCEPTED;
	default:
		return PEER_NONE;
	}
}

static enum peer_result result_of(uint64_t found, unsigned state, uint64_t *inode)
{
	if (found == 0)
		return orphan_result(state);
	*inode = found;
	return PEER_FOUND;
}

/* --- netlink --- */
union diag_buffer {
	struct nlmsghdr head;
	char bytes[8192];
};

/* One question, its answer: the message behind the head in buffer, of at least `least` bytes; NULL: none. */
static const void *diag_ask(struct diag *d, const void *request, size_t request_len,
	union diag_buffer *buffer, size_t least, size_t *len)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct nlmsghdr head = { .nlmsg_len = (uint32_t)(NLMSG_LENGTH(request_len)),
		.nlmsg_type = SOCK_DIAG_BY_FAMILY,
		.nlmsg_flags = NLM_F_REQUEST,
		.nlmsg_seq = ++d->sequence };
	struct iovec parts[] = { { &head, sizeof head }, { (void *)request, request_len } };
	struct msghdr m = {
		.msg_name = &kernel, .msg_namelen = sizeof kernel, .msg_iov = parts, .msg_iovlen = 2
	};
	if (sendmsg(d->fd, &m, MSG_NOSIGNAL) < 0)
		return NULL;
	for (unsigned tries = 0; tries < 16;
		tries++) { /* answers to questions given up earlier are skipped */
		ssize_t got = recv(d->fd, buffer, sizeof *buffer, 0);
		if (got < 0)
			return NULL;
		if ((size_t)got < sizeof buffer->head || buffer->head.nlmsg_len > (size_t)got ||
			buffer->head.nlmsg_seq != d->sequence)
			continue;
		if (buffer->head.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
			buffer->head.nlmsg_len < NLMSG_LENGTH(least))
			return NULL;
		*len = buffer->head.nlmsg_len - NLMSG_HDRLEN;
		return NLMSG_DATA(&buffer->head);
	}
	return NULL;
}

static enum peer_result tcp_peer(struct diag *d, const struct ipc_connection *c, uint64_t *inode)
{
	struct inet_diag_req_v2 q = {
		.sdiag_family = (uint8_t)c->family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0U
	};
	q.id.idiag_sport = c->peer_port;
	q.id.idiag_dport = c->our_port;
	memcpy(q.id.idiag_src, c->peer_address, sizeof q.id.idiag_src);
	memcpy(q.id.idiag_dst, c->our_address, sizeof q.id.idiag_dst);
	q.id.idiag_cookie[0] = q.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;

	union diag_buffer buffer;
	size_t len;
	const struct inet_diag_msg *a = diag_ask(d, &q, sizeof q, &buffer, sizeof *a, &len);
	/* Without an exact match the kernel offers the listener instead. */
	if (a == NULL || a->idiag_state == TCP_LISTEN || a->id.idiag_dport != c->our_port ||
		a->id.idiag_sport != c->peer_port)
		return PEER_NONE;
	return result_of(a->idiag_inode, a->idiag_state, inode);
}

static enum peer_result unix_peer(struct diag *d, const struct ipc_connection *c, uint64_t *inode)
{
	struct unix_diag_req q = { .sdiag_family = AF_UNIX,
		.udiag_states = ~0U,
		.udiag_ino = (uint32_t)c->our_inode,
		.udiag_show = UDIAG_SHOW_PEER,
		.udiag_cookie = { ~0U, ~0U } };
	union diag_buffer buffer;
	size_t len;
	const struct unix_diag_msg *a = diag_ask(d, &q, sizeof q, &buffer, sizeof *a, &len);
	if (a == NULL)
		return PEER_NONE;
	len -= MIN(len, NLMSG_ALIGN(sizeof *a));
	const char *at = (const char *)a + NLMSG_ALIGN(sizeof *a);
	for (const struct rtattr *attribute = (const void *)at; RTA_OK(attribute, len);
		attribute = RTA_NEXT(attribute, len)) {
		if (attribute->rta_type != UNIX_DIAG_PEER || RTA_PAYLOAD(attribute) < sizeof(uint32_t))
			continue;
		uint32_t peer;
		memcpy(&peer, RTA_DATA(attribute), sizeof peer);
		return result_of(peer, TCP_ESTABLISHED, inode);
	}
	return PEER_NONE; /* the other end is closed */
}

enum peer_result peer_inode(struct diag *d, const struct ipc_connection *c, uint64_t *inode)
{
	if (d->fd < 0)
		return peer_inode_from_proc(0, c, inode);
	if (c->family == AF_UNIX)
		return unix_peer(d, c, inode);
	if (c->family == AF_INET || c->family == AF_INET6)
		return tcp_peer(d, c, inode);
	return PEER_NONE;
}

/* --- /proc/net/tcp --- */

/* An address as /proc/net shows it: each 32-bit word as a number of the machine's own byte order. */
static void address_text(const uint8_t *address, size_t bytes, uint16_t port, char *out, size_t out_bytes)
{
	size_t at = 0;
	for (size_t i = 0; i < bytes; i += 4) {
		uint32_t word;
		memcpy(&word, address + i, sizeof word);
		at += (size_t)snprintf(out + at, out_bytes - at, "%08X", word);
	}
	(void)snprintf(out + at, out_bytes - at, ":%04X", ntohs(port));
}

static enum peer_result proc_table_find(
	const char *path, const char *local, const char *remote, uint64_t *inode)
{
	char line[512];
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return PEER_NONE;
	enum peer_result result = PEER_NONE;
	while (fgets(line, sizeof line, f) != NULL) {
		char has_local[48], has_remote[48];
		unsigned state;
		uint64_t found;
		if (sscanf(line, " %*u: %47s %47s %x %*s %*s %*s %*u %*u %" SCNu64, has_local, has_remote,
			    &state, &found) != 4)
			continue;
		if (strcmp(has_local, local) != 0 || strcmp(has_remote, remote) != 0)
			continue;
		result = result_of(found, state, inode);
		break;
	}
	fclose(f);
	return result;
}

/* A server that listens on [::] sees an IPv4 client in the other table, as ::ffff:a.b.c.d. */
static void address_mapped(const uint8_t v4[4], uint8_t out[16])
{
	memset(out, 0, 10);
	out[10] = out[11] = 0xff;
	memcpy(out + 12, v4, 4);
}

static enum peer_result proc_find(const char *root, const char *table, const uint8_t *peer,
	const uint8_t *our, size_t bytes, const struct ipc_connection *c, uint64_t *inode)
{
	char path[64], local[48], remote[48];
	snprintf(path, sizeof path, "%s/net/%s", root, table);
	address_text(peer, bytes, c->peer_port, local, sizeof local);
	address_text(our, bytes, c->our_port, remote, sizeof remote);
	return proc_table_find(path, local, remote, inode);
}

enum peer_result peer_inode_from_proc(pid_t pid, const struct ipc_connection *c, uint64_t *inode)
{
	static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };
	char root[32] = "/proc";
	uint8_t peer[16], our[16];

	if (pid != 0)
		snprintf(root, sizeof root, "/proc/%d", (int)pid);
	if (c->family == AF_INET) {
		enum peer_result r = proc_find(root, "tcp", c->peer_address, c->our_address, 4, c, inode);
		if (r != PEER_NONE)
			return r;
		address_mapped(c->peer_address, peer);
		address_mapped(c->our_address, our);
		return proc_find(root, "tcp6", peer, our, 16, c, inode);
	}
	if (c->family != AF_INET6)
		return PEER_NONE; /* /proc/net/unix does not tell peers */
	enum peer_result r = proc_find(root, "tcp6", c->peer_address, c->our_address, 16, c, inode);
	if (r != PEER_NONE || memcmp(c->peer_address, mapped_prefix, sizeof mapped_prefix) != 0)
		return r;
	return proc_find(root, "tcp", c->peer_address + 12, c->our_address + 12, 4, c, inode);
}
