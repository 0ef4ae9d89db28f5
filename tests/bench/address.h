/* address.h - "8000" is a port on the loopback, "/run/app.sock" a unix socket. */
#ifndef SLOWPROXY_BENCH_ADDRESS_H
#define SLOWPROXY_BENCH_ADDRESS_H

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct bench_address {
	struct sockaddr_storage any;
	socklen_t len;
};

static inline struct bench_address bench_address(const char *where)
{
	struct bench_address at;
	memset(&at, 0, sizeof at);
	if (where[0] == '/') {
		struct sockaddr_un *un = (struct sockaddr_un *)&at.any;
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path, sizeof un->sun_path, "%s", where);
		at.len = sizeof *un;
	} else {
		struct sockaddr_in *in = (struct sockaddr_in *)&at.any;
		in->sin_family = AF_INET;
		in->sin_port = htons((unsigned short)atoi(where));
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		at.len = sizeof *in;
	}
	return at;
}

#endif
