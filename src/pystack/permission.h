/* permission.h - why a process may not be read, in one sentence that says what to do about it. */
#ifndef PYSTACK_PERMISSION_H
#define PYSTACK_PERMISSION_H

#include <sys/types.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/pystack.h>

/* All that the kernel looks at. */
struct permission_facts {
	struct py_credentials us, them;
	bool dumpable; /* they */
	bool same_user_namespace;
	bool readv_filtered; /* a seccomp filter of ours refuses process_vm_readv */
	int yama;            /* -1: the kernel has none */
};

/* Of a process that could not be read. */
enum py_obstacle obstacle_of(const struct permission_facts *f);
void permission_explain(pid_t pid, struct buf *why);

#endif
