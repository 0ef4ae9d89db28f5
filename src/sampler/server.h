/* server.h - which web server a process is, by its command line. */
#ifndef SLOWPROXY_SAMPLER_SERVER_H
#define SLOWPROXY_SAMPLER_SERVER_H

#include <stddef.h>
#include <sys/types.h>

/* "uvicorn", "gunicorn" ...; "" when nothing tells. Also looks at the parent: workers are often started by their server. */
void server_name(pid_t pid, char *out, size_t out_bytes);
/* The same for a command line as in /proc/PID/cmdline; NULL: nothing tells. */
const char *server_of_cmdline(const char *cmdline, size_t len);

#endif
