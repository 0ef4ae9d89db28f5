/* address.c - between what people write and what the kernel takes. */
#include <slowproxy/net.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <slowproxy/base/str.h>

enum { BACKLOG = 4096 };

/* An IPv4 client on a v6 socket is shown as the IPv4 address it is. */
static bool ip_text(const struct net_address *a, char *out, size_t out_bytes, unsigned *port)
{
	if (a->storage.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)&a->storage;
		*port = ntohs(in->sin_port);
		return inet_ntop(AF_INET, &in->sin_addr, out, (socklen_t)out_bytes) != NULL;
	}
	const struct sockaddr_in6 *in6 = (const void *)&a->storage;
	*port = ntohs(in6->sin6_port);
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		return inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], out, (socklen_t)out_bytes) != NULL;
	return inet_ntop(AF_INET6, &in6->sin6_addr, out, (socklen_t)out_bytes) != NULL;
}

static bool is_ip(const struct net_address *a)
{
	return a->storage.ss_family == AF_INET || a->storage.ss_family == AF_INET6;
}

void net_address_host_text(const struct net_address *a, char *out, size_t out_bytes)
{
	unsigned port;
	if (!is_ip(a) || !ip_text(a, out, out_bytes, &port))
		snprintf(out, out_bytes, "%s", "");
}

void net_address_text(const struct net_address *a, char *out, size_t out_bytes)
{
	char ip[INET6_ADDRSTRLEN];
	unsigned port;
	if (a->storage.ss_family == AF_UNIX) {
		const struct sockaddr_un *un = (const void *)&a->storage;
		size_t head = offsetof(struct sockaddr_un, sun_path);
		int len = a->len > head ? (int)strnlen(un->sun_path, a->len - head) : 0;
		snprintf(out, out_bytes, "unix:%.*s", len, un->sun_path);
	} else if (is_ip(a) && ip_text(a, ip, sizeof ip, &port)) {
		snprintf(out, out_bytes, strchr(ip, ':') ? "[%s]:%u" : "%s:%u", ip, port);
	} else {
		snprintf(out, out_bytes, "unknown");
	}
}

static bool unix_address(const char *path, struct net_address *out, struct buf *why)
{
	struct sockaddr_un *un = (void *)&out->storage;
	memset(out, 0, sizeof *out);
	un->sun_family = AF_UNIX;
	if (!str_copy(un->sun_path, sizeof un->sun_path, path, strlen(path))) {
		buf_printf(why, "unix:%s: the path is longer than %zu bytes", path, sizeof un->sun_path - 1);
		return false;
	}
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
	return true;
}

static struct addrinfo *lookup(const char *host, uint16_t port, bool passive, struct buf *why)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0) };
	struct addrinfo *found = NULL;
	char service[8];
	snprintf(service, sizeof service, "%u", port);
	int r = getaddrinfo(host, service, &hints, &found);
	if (r == 0)
		return found;
	buf_printf(why, "%s: %s", host, r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
	return NULL;
}

size_t net_resolve(
	bool is_unix, const char *host, uint16_t port, struct net_address *out, size_t max, struct buf *why)
{
	size_t count = 0;
	if (is_unix)
		return max != 0 && unix_address(host, out, why) ? 1 : 0;
	struct addrinfo *found = lookup(host, port, false, why);
	for (struct addrinfo *a = found; a != NULL && count < max; a = a->ai_next) {
		memset(&out[count], 0, sizeof out[count]);
		memcpy(&out[count].storage, a->ai_addr, a->ai_addrlen);
		out[count++].len = a->ai_addrlen;
	}
	if (found != NULL)
		freeaddrinfo(found);
	return count;
}

static int listen_at(const struct net_address *a, bool reuse_port, int *error)
{
	int on = 1, off = 0;
	int fd = socket(a->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		*error = errno;
		return -1;
	}
	if (a->storage.ss_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (reuse_port && a->storage.ss_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	if (a->storage.ss_family == AF_INET6 &&
		IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&a->storage)->sin6_addr))
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(fd, (const struct sockaddr *)&a->storage, a->len) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	*error = errno;
	close(fd);
	return -1;
}

/* A socket file that nobody listens on was left by a process that is gone. One that answers stays, and bind says so. */
static void remove_stale_socket(const char *path, const struct net_address *a)
{
	struct stat st;
	if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)&a->storage, a->len) != 0 && errno == ECONNREFUSED)
		unlink(path);
	close(fd);
}

static int listen_unix(const char *path, struct buf *why)
{
	struct net_address a;
	int error = 0;
	if (!unix_address(path, &a, why))
		return -1;
	remove_stale_socket(path, &a);
	int fd = listen_at(&a, false, &error);
	if (fd < 0)
		buf_printf(why, "unix:%s: %s", path, strerror(error));
	else
		chmod(path, 0666); /* as nginx does: who may connect is decided by the folder */
	return fd;
}

/* Every address: one v6 socket that also takes v4, or v4 alone on a machine without v6. */
static int listen_everywhere(uint16_t port, bool reuse_port, int *error)
{
	struct net_address a = { .len = sizeof(struct sockaddr_in6) };
	struct sockaddr_in6 *in6 = (void *)&a.storage;
	*in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = listen_at(&a, reuse_port, error);
	if (fd >= 0 || (*error != EAFNOSUPPORT && *error != EADDRNOTAVAIL))
		return fd;
	struct sockaddr_in *in = (void *)&a.storage;
	*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
	a.len = sizeof *in;
	return listen_at(&a, reuse_port, error);
}

int net_listen(bool is_unix, const char *host, uint16_t port, bool reuse_port, struct buf *why)
{
	int fd = -1, error = 0;
	if (is_unix)
		return listen_unix(host, why);
	if (host[0] == '\0') {
		fd = listen_everywhere(port, reuse_port, &error);
	} else {
		struct addrinfo *found = lookup(host, port, true, why);
		if (found == NULL)
			return -1;
		struct net_address a = { .len = found->ai_addrlen };
		memcpy(&a.storage, found->ai_addr, found->ai_addrlen);
		freeaddrinfo(found);
		fd = listen_at(&a, reuse_port, &error);
	}
	if (fd < 0)
		buf_printf(why, "%s:%u: %s", host, port, strerror(error));
	return fd;
}

static bool same_ip(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;
	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET)
		return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	return IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr) && a6->sin6_scope_id == b6->sin6_scope_id;
}

static bool every_ip(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET)
		return ((const struct sockaddr_in *)a)->sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

bool net_listens_on(int fd, bool is_unix, const char *host, uint16_t port)
{
	struct net_address at = { .len = sizeof at.storage }, wanted[1];
	struct buf why = { 0 };
	if (getsockname(fd, (struct sockaddr *)&at.storage, &at.len) != 0)
		return false;
	if (is_unix) {
		const struct sockaddr_un *un = (const void *)&at.storage;
		return at.storage.ss_family == AF_UNIX && at.len > offsetof(struct sockaddr_un, sun_path) &&
		       strncmp(un->sun_path, host, sizeof un->sun_path) == 0;
	}
	if (!is_ip(&at) || (port != 0 && ((const struct sockaddr_in *)&at.storage)->sin_port != htons(port)))
		return false; /* the port lies at the same place in both families */
	if (host[0] == '\0')
		return every_ip(&at.storage);
	bool found = net_resolve(false, host, port, wanted, 1, &why) == 1;
	buf_clear(&why);
	return found && same_ip(&at.storage, &wanted[0].storage);
}
