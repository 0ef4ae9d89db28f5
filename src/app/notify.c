/* notify.c - one datagram to the socket that NOTIFY_SOCKET names: a path, or "@name" in the abstract namespace. */
#include "notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>

/* 0: there is nobody to tell. */
static socklen_t manager_address(struct sockaddr_un *at)
{
	const char *name = getenv("NOTIFY_SOCKET");
	size_t len = name != NULL ? strlen(name) : 0;
	*at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (len < 2 || len >= sizeof at->sun_path || (name[0] != '/' && name[0] != '@'))
		return 0;
	memcpy(at->sun_path, name, len);
	if (name[0] == '@')
		at->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

void notify(const char *format, ...)
{
	struct sockaddr_un at;
	socklen_t at_len = manager_address(&at);
	char text[512];
	va_list arguments;
	if (at_len == 0)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&at,
			      at_len) < 0)
		log_warn("the service manager could not be told \"%.40s\": %s", text, strerror(errno));
	if (fd >= 0)
		close(fd);
}

void notify_reloading(void)
{
	notify("RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reading the configuration",
		(unsigned long long)(clock_now_ns() / NS_PER_US));
}
