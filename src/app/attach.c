/* attach.c - opening a process to look at it, with a little patience.
 *
 * A process that was born a moment ago, that just exec'ed, or whose first thread is being made, looks for some microseconds (on
 * a busy machine: milliseconds) like one that makes no sense. Only who still says so a little later is believed.
 */
#include "attach.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

#include <slowproxy/base/clock.h>

/* How long an answer is doubted. */
static const struct {
	uint64_t any_ns, child_ns;
} doubts[PY_RESULT_COUNT] = {
	[PY_NO_PROCESS] = { 300 * NS_PER_MS,
		300 * NS_PER_MS },              /* it is there, but became another program meanwhile */
	[PY_NOT_PYTHON] = { 0, 10 * NS_PER_S }, /* a shell that will exec it, or still the loader */
	[PY_UNSUPPORTED] = { 300 * NS_PER_MS,
		2 * NS_PER_S }, /* being loaded, or a thread being made: so looks both */
	[PY_NOT_READY] = { 2 * NS_PER_S, 10 * NS_PER_S },
	[PY_UNREADABLE] = { 1 * NS_PER_S, 2 * NS_PER_S },
};

bool attach_worth_again(enum py_result result, pid_t pid, bool child, uint64_t asked_for_ns)
{
	if (result == PY_NO_PROCESS && kill(pid, 0) != 0)
		return false;
	return asked_for_ns < (child ? doubts[result].child_ns : doubts[result].any_ns);
}

enum py_result attach(pid_t pid, struct launch *child, struct py_process **out, struct buf *why)
{
	const struct timespec step = { .tv_nsec = 2 * NS_PER_MS };
	uint64_t begin_ns = clock_now_ns();
	enum py_result result;
	while ((result = py_process_open(pid, out, why)) != PY_OK &&
		(child == NULL || !launch_ended(child)) &&
		attach_worth_again(result, pid, child != NULL, clock_now_ns() - begin_ns)) {
		buf_reset(why);
		nanosleep(&step, NULL);
	}
	return result;
}

void command_read(pid_t pid, char *out, size_t out_bytes)
{
	char path[48];
	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	FILE *f = fopen(path, "re");
	size_t n = f != NULL ? fread(out, 1, out_bytes - 1, f) : 0;
	if (f != NULL)
		fclose(f);
	out[n] = '\0';
	for (size_t i = 0; i + 1 < n; i++)
		if (out[i] == '\0' || out[i] == '\n')
			out[i] = ' ';
}
