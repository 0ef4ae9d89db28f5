/* permission.h - why a process may not be read, in one sentence that says what to do about it. */
#ifndef PYSTACK_PERMISSION_H
#define PYSTACK_PERMISSION_H

#include <sys/types.h>

#include <slowproxy/base/buf.h>

void permission_explain(pid_t pid, struct buf *why);

#endif
