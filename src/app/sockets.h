/* sockets.h - the listening sockets of a family, and how they come to it.
 *
 *   listen in proxy.yaml ──┬─ the family before has them (reload)          shared
 *                          ├─ handed over at our start (LISTEN_FDS)        taken: by systemd, or by the binary before us
 *                          └─ nobody has                                   opened
 *
 *   admin.listen ───────────── likewise, but it is one socket, and only an address somebody asked for must be had
 *
 *   fds[set * rows + row]      one set for each loop; after a reload that takes loops away as many as before, because
 *                              connections wait in each of them
 */
#ifndef SLOWPROXY_APP_SOCKETS_H
#define SLOWPROXY_APP_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>

#include <slowproxy/config.h>

struct socket_row {
	char text[128]; /* the address, as config or the kernel writes it */
	bool lent;      /* a service manager holds it too: connections may wait in it when we are gone */
};

struct sockets {
	struct socket_row *rows; /* those that are lent come last */
	size_t row_count, set_count;
	int *fds; /* owned, [set_count][row_count] */
	struct {
		bool open;
		int fd; /* owned */
	} admin;
};

struct predecessor;
/* What was handed over at the start, if anything was: the environment's word is taken out of it. */
void sockets_from_environment(struct sockets *s, const struct predecessor *from);
/* All that c wants, from `before` where that has it. What is lent in `before` and not wanted by its address is kept all the same:
 * it was put there to be served. The admin listener's default address may be in use: that is a warning. false: *s is empty, and the reason is logged. */
bool sockets_open(struct sockets *s, const struct config *c, const struct sockets *before);
void sockets_close(struct sockets *s);

size_t sockets_count(const struct sockets *s);
size_t sockets_lent_from(const struct sockets *s); /* the first row that is lent; row_count: none */

#endif
