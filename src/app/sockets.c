/* sockets.c - opens listening sockets, or takes over those that are open already. */
#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/log.h>
#include <slowproxy/base/mem.h>
#include <slowproxy/base/str.h>
#include <slowproxy/net.h>

#include "upgrade.h"

enum { FIRST_HANDED_OVER = 3, HANDED_OVER_MAX = 1024 };

size_t sockets_count(const struct sockets *s)
{
	return s->row_count * s->set_count;
}

size_t sockets_lent_from(const struct sockets *s)
{
	size_t row = 0;
	while (row < s->row_count && !s->rows[row].lent)
		row++;
	return row;
}

void sockets_close(struct sockets *s)
{
	for (size_t i = 0; i < sockets_count(s); i++)
		if (s->fds[i] >= 0)
			close(s->fds[i]);
	if (s->admin.open)
		close(s->admin.fd);
	free(s->fds);
	free(s->rows);
	*s = (struct sockets){ 0 };
}

static int descriptor_again(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static struct socket_row *row_add(struct sockets *s, const char *text, bool lent)
{
	s->rows = xrealloc(s->rows, (s->row_count + 1) * sizeof *s->rows);
	struct socket_row *row = &s->rows[s->row_count++];
	*row = (struct socket_row){ .lent = lent };
	str_copy(row->text, sizeof row->text, text, strlen(text));
	return row;
}

/* --- what was handed over --- */

static bool is_listening_stream(int fd)
{
	int listening = 0, type = 0;
	socklen_t len = sizeof listening;
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

static void text_of(int fd, char *out, size_t out_bytes)
{
	struct net_address at = { .len = sizeof at.storage };
	if (getsockname(fd, (struct sockaddr *)&at.storage, &at.len) != 0)
		at.storage.ss_family = AF_UNSPEC;
	net_address_text(&at, out, out_bytes);
}

static size_t row_find(const struct sockets *s, const char *text)
{
	size_t row = 0;
	while (row < s->row_count && strcmp(s->rows[row].text, text) != 0)
		row++;
	return row;
}

/* How many descriptors from first on are ours to take; the environment shall not tell it to our children, too. */
static size_t handed_over_count(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	long n = pid != NULL && count != NULL && strtol(pid, NULL, 10) == getpid() ? strtol(count, NULL, 10)
										   : 0;
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return n > 0 ? (size_t)MIN(n, HANDED_OVER_MAX) : 0;
}

/* Several sockets of one address were one set each. Where there are fewer than of another address, they are shared. */
void sockets_from_environment(struct sockets *s, const struct predecessor *from)
{
	size_t count = handed_over_count(), sets = 0;
	size_t *row_of = xcalloc(count + 1, sizeof *row_of),
	       *sockets_of = xcalloc(count + 1, sizeof *sockets_of);
	*s = (struct sockets){ 0 };
	for (size_t i = 0; i < count; i++) {
		int fd = FIRST_HANDED_OVER + (int)i;
		char text[sizeof s->rows->text];
		row_of[i] = SIZE_MAX;
		if (!is_listening_stream(fd)) {
			log_warn("descriptor %d was handed over, but is no listening stream socket", fd);
			continue;
		}
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		if (predecessor_was_admin(from, i)) {
			s->admin.open = true;
			s->admin.fd = fd;
			continue;
		}
		text_of(fd, text, sizeof text);
		row_of[i] = row_find(s, text);
		if (row_of[i] == s->row_count)
			row_add(s, text, predecessor_lent(from, i));
		sockets_of[row_of[i]]++;
		sets = MAX(sets, sockets_of[row_of[i]]);
	}
	s->set_count = sets;
	s->fds = xcalloc(s->row_count * sets + 1, sizeof *s->fds);
	for (size_t row = 0; row < s->row_count; row++) {
		size_t set = 0;
		for (size_t i = 0; i < count; i++)
			if (row_of[i] == row)
				s->fds[set++ * s->row_count + row] = FIRST_HANDED_OVER + (int)i;
		for (; set < sets; set++)
			s->fds[set * s->row_count + row] =
				descriptor_again(s->fds[set % sockets_of[row] * s->row_count + row]);
	}
	free(row_of);
	free(sockets_of);
}

/* --- what is wanted --- */

/* The row of `before` that listens on this address; row_count: none. A reload names it as before; what was handed over is known
 * by its real address. */
static size_t row_before(const struct sockets *before, const struct config_address *a)
{
	size_t row = row_find(before, a->text);
	if (row < before->row_count)
		return row;
	for (row = 0; row < before->row_count; row++)
		if (net_listens_on(before->fds[row], a->is_unix, a->host, a->port))
			break;
	return row;
}

/* Where each row of s comes from: a row of `before`, an address of config, or both. */
struct origin {
	size_t before; /* SIZE_MAX: nobody has it */
	const struct config_address *wanted;
};

/* The default address stands for "somewhere": sockets handed over say where. */
static bool only_the_default(const struct config *c, const struct sockets *before)
{
	return sockets_lent_from(before) < before->row_count && config_is_default(c, "listen");
}

static struct origin *plan(struct sockets *s, const struct config *c, const struct sockets *before)
{
	size_t wanted = only_the_default(c, before) ? 0 : c->listen.count;
	struct origin *origins = xcalloc(wanted + before->row_count + 1, sizeof *origins);
	bool *taken = xcalloc(before->row_count + 1, sizeof *taken);
	for (int lent = 0; lent < 2; lent++) {
		for (size_t i = 0; i < wanted; i++) {
			const struct config_address *a = &c->listen.items[i];
			size_t row = row_before(before, a);
			bool has = row < before->row_count;
			if ((has && before->rows[row].lent) != lent)
				continue;
			origins[s->row_count] = (struct origin){ has ? row : SIZE_MAX, a };
			row_add(s, a->text, lent);
			taken[row] = has;
		}
		for (size_t row = 0; lent && row < before->row_count; row++) {
			if (taken[row] || !before->rows[row].lent)
				continue;
			origins[s->row_count] = (struct origin){ row, NULL };
			row_add(s, before->rows[row].text, true);
		}
	}
	free(taken);
	return origins;
}

/* The n-th socket of a row. The kernel gives an address to further sockets only if the first one allowed it: where there are too
 * few, loops share them. A path has one socket always. */
static int socket_open(const struct sockets *s, const struct config *c, const struct sockets *before,
	const struct origin *from, size_t row, size_t n, struct buf *why)
{
	size_t fresh = from->wanted != NULL && from->wanted->is_unix ? 1 : MAX(c->workers, 1u);
	if (from->before != SIZE_MAX)
		return descriptor_again(
			before->fds[n % before->set_count * before->row_count + from->before]);
	if (n >= fresh || from->wanted == NULL) /* an origin nobody has is one that is wanted */
		return descriptor_again(s->fds[n % fresh * s->row_count + row]);
	return net_listen(from->wanted->is_unix, from->wanted->host, from->wanted->port, c->workers > 1, why);
}

/* --- the admin listener --- */

/* An address nobody asked for is no reason not to serve. */
static bool admin_failed(const struct config *c, const char *why)
{
	if (!config_is_default(c, "admin.listen")) {
		log_error("admin.listen: cannot listen on %s", why);
		return false;
	}
	log_warn(
		"no pages, metrics and health checks: cannot listen on %s. admin.listen sets another address, or \"off\"",
		why);
	return true;
}

static bool admin_open(struct sockets *s, const struct config *c, const struct sockets *before)
{
	const struct config_address *a = &c->admin.listen;
	struct buf why = { 0 };
	if (strcmp(a->text, "off") == 0)
		return true;
	if (before->admin.open && net_listens_on(before->admin.fd, a->is_unix, a->host, a->port))
		s->admin.fd = descriptor_again(before->admin.fd);
	else
		s->admin.fd = net_listen(a->is_unix, a->host, a->port, false, &why);
	s->admin.open = s->admin.fd >= 0;
	bool good = s->admin.open || admin_failed(c, why.data != NULL ? why.data : strerror(errno));
	buf_clear(&why);
	return good;
}

bool sockets_open(struct sockets *s, const struct config *c, const struct sockets *before)
{
	static const struct sockets none;
	bool good = true;
	*s = (struct sockets){ 0 };
	if (before == NULL)
		before = &none;
	struct origin *origins = plan(s, c, before);
	s->set_count = MAX(c->workers, before->set_count);
	s->fds = xcalloc(sockets_count(s), sizeof *s->fds);
	for (size_t i = 0; i < sockets_count(s); i++)
		s->fds[i] = -1;
	for (size_t i = 0; good && i < sockets_count(s); i++) {
		struct buf why = { 0 };
		size_t row = i % s->row_count;
		s->fds[i] = socket_open(s, c, before, &origins[row], row, i / s->row_count, &why);
		good = s->fds[i] >= 0;
		if (!good)
			log_error("cannot listen on %s", why.data != NULL ? why.data : strerror(errno));
		buf_clear(&why);
	}
	free(origins);
	good = good && admin_open(s, c, before);
	if (!good)
		sockets_close(s);
	return good;
}
