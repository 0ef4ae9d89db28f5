/* output.c - where lines go.
 *
 * stdout and stderr are shared with other processes, so they must not be made non-blocking. Instead a write is only tried when
 * poll(2) says there is room, and is not larger than what a pipe then takes at once (PIPE_BUF).
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>

enum { ASK_EVERY_MS = 20 };
#define TRY_EVERY_NS NS_PER_S

bool output_open(struct output *o, const char *target)
{
	*o = (struct output){ .target = target, .fd = -1, .tried_ns = clock_now_ns() };
	if (output_is_off(target))
		return true;
	if (strcmp(target, "stdout") == 0)
		o->fd = STDOUT_FILENO;
	else if (strcmp(target, "stderr") == 0)
		o->fd = STDERR_FILENO;
	else
		o->fd = open(target, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
	if (o->fd < 0) {
		o->why = errno;
		return false;
	}
	struct stat st;
	o->is_file = fstat(o->fd, &st) == 0 && S_ISREG(st.st_mode);
	o->colour = isatty(o->fd) && getenv("NO_COLOR") == NULL;
	return true;
}

bool output_is_off(const char *target)
{
	return target == NULL || target[0] == '\0' || strcmp(target, "off") == 0;
}

void output_close(struct output *o)
{
	if (o->fd > STDERR_FILENO)
		close(o->fd);
	o->fd = -1;
}

/* What could not be opened may come: a disk that is not mounted yet, a FIFO that nobody reads yet. */
static bool is_open(struct output *o)
{
	if (o->fd >= 0)
		return true;
	if (clock_now_ns() - o->tried_ns >= TRY_EVERY_NS) {
		enum log_form form = o->form;
		bool opened = output_open(o, o->target);
		o->form = form;
		if (opened)
			return true;
	}
	errno = o->why;
	return false;
}

enum output_result output_write(
	struct output *o, const char *bytes, size_t len, output_impatient impatient, void *context)
{
	if (!is_open(o))
		return OUTPUT_FAILED;
	while (len != 0) {
		struct pollfd p = { .fd = o->fd, .events = POLLOUT };
		int ready = poll(&p, 1, ASK_EVERY_MS);
		if (ready <= 0) {
			if (impatient(context))
				return OUTPUT_GAVE_UP;
			continue;
		}
		ssize_t n = write(o->fd, bytes, o->is_file ? len : MIN(len, PIPE_BUF));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return OUTPUT_FAILED;
		bytes += n;
		len -= (size_t)n;
	}
	return OUTPUT_WRITTEN;
}
