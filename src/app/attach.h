/* attach.h - opening a process to look at it, with a little patience. */
#ifndef APP_ATTACH_H
#define APP_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

#include <slowproxy/pystack.h>

#include "launch.h"

/* Whether a failure may be only of the moment, and asking again is worth it, when it has been asked for so long.
 * child: we have just started it; it may not be Python yet. */
bool attach_worth_again(enum py_result result, pid_t pid, bool child, uint64_t asked_for_ns);

/* Opens it, and asks again while that is worth it. On failure why holds a sentence. child: it is ours; NULL: it is not. */
MUST_CHECK enum py_result attach(pid_t pid, struct launch *child, struct py_process **out, struct buf *why);

/* Its command line, on one line; empty when it cannot be read. */
void command_read(pid_t pid, char *out, size_t out_bytes);

#endif
