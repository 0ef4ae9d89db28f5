/* permission.c - why a process may not be read: the kernel says only EPERM, so we ask what it asked.
 *
 * In the kernel's order: same user (or CAP_SYS_PTRACE), dumpable, no more capabilities than we, then Yama and other
 * security modules; a seccomp filter of ours may refuse the call before all that.
 */
#include "permission.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define ALLOW                                                                                                \
	"give slowproxy CAP_SYS_PTRACE (run it as root, `setcap cap_sys_ptrace=p`, or `--cap-add SYS_PTRACE` for a container)"

static bool read_text(const char *path, char *out, size_t out_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, out_bytes - 1);
	out[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
	return n >= 0;
}

/* The number-th value of a line of status. */
static uint64_t status_value(const char *status, const char *key, int base, unsigned number)
{
	const char *line = strstr(status, key);
	if (line == NULL)
		return 0;
	char *at = (char *)(uintptr_t)line + strlen(key);
	uint64_t value = 0;
	for (unsigned i = 0; i <= number; i++)
		value = strtoull(at, &at, base);
	return value;
}

static void pid_text(pid_t pid, char out[16])
{
	if (pid == 0)
		snprintf(out, 16, "self");
	else
		snprintf(out, 16, "%d", (int)pid);
}

struct py_credentials py_credentials_of(pid_t pid)
{
	char path[64], who[16], status[8192];
	struct py_credentials c = { 0 };
	pid_text(pid, who);
	snprintf(path, sizeof path, "/proc/%s/status", who);
	c.known = read_text(path, status, sizeof status);
	c.uid = (unsigned)status_value(status, "\nUid:", 10, 1);
	c.permitted = status_value(status, "\nCapPrm:", 16, 0);
	c.effective = status_value(status, "\nCapEff:", 16, 0);
	c.bounding = status_value(status, "\nCapBnd:", 16, 0);
	c.no_new_privs = status_value(status, "\nNoNewPrivs:", 10, 0) != 0;
	c.seccomp_filters = (unsigned)status_value(status, "\nSeccomp_filters:", 10, 0);
	return c;
}

static bool same_namespace(const char *pid, const char *kind)
{
	char path[64], ours[64], theirs[64];
	snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
	ssize_t n = readlink(path, ours, sizeof ours);
	snprintf(path, sizeof path, "/proc/%s/ns/%s", pid, kind);
	ssize_t m = readlink(path, theirs, sizeof theirs);
	return m < 0 || (n == m && memcmp(ours, theirs, (size_t)n) == 0);
}

/* /proc/PID belongs to root when the process is not dumpable. */
static bool is_dumpable(const char *pid, unsigned uid)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof path, "/proc/%s/status", pid);
	return stat(path, &st) != 0 || st.st_uid == uid;
}

int py_yama_scope(void)
{
	char text[16];
	return read_text("/proc/sys/kernel/yama/ptrace_scope", text, sizeof text) ? atoi(text) : -1;
}

/* A process may always read itself: only a filter says no. */
bool py_readv_is_filtered(void)
{
	char from = 1, to;
	struct iovec local = { &to, 1 }, remote = { &from, 1 };
	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) < 0 &&
	       (errno == EPERM || errno == ENOSYS);
}

enum py_obstacle obstacle_of(const struct permission_facts *f)
{
	bool capable = f->us.effective & UINT64_C(1) << CAP_SYS_PTRACE;
	if (!f->them.known)
		return PY_OBSTACLE_HIDDEN;
	if (!capable) {
		if (f->us.uid != f->them.uid)
			return PY_OBSTACLE_OTHER_USER;
		if (!f->dumpable)
			return PY_OBSTACLE_NOT_DUMPABLE;
		if (f->them.permitted & ~f->us.permitted)
			return PY_OBSTACLE_CAPABILITIES;
		if (f->yama > 0)
			return f->yama == 3 ? PY_OBSTACLE_YAMA_NEVER : PY_OBSTACLE_YAMA;
	}
	if (!f->same_user_namespace)
		return PY_OBSTACLE_USER_NAMESPACE;
	if (f->yama == 3)
		return PY_OBSTACLE_YAMA_NEVER;
	return f->readv_filtered ? PY_OBSTACLE_SECCOMP : PY_OBSTACLE_SECURITY_MODULE;
}

static struct permission_facts facts_of(pid_t pid)
{
	char target[16];
	pid_text(pid, target);
	struct permission_facts f = { .us = py_credentials_of(0), .them = py_credentials_of(pid) };
	f.dumpable = is_dumpable(target, f.them.uid);
	f.same_user_namespace = same_namespace(target, "user");
	f.yama = py_yama_scope();
	f.readv_filtered = py_readv_is_filtered();
	return f;
}

enum py_obstacle py_obstacle_find(pid_t pid)
{
	struct permission_facts f = facts_of(pid);
	return obstacle_of(&f);
}

static void explain(const struct permission_facts *f, int pid, struct buf *why)
{
	switch (obstacle_of(f)) {
	case PY_OBSTACLE_HIDDEN:
		buf_printf(why, "/proc hides process %d from user %u (hidepid): " ALLOW, pid, f->us.uid);
		break;
	case PY_OBSTACLE_OTHER_USER:
		buf_printf(why,
			"process %d belongs to user %u and we run as user %u: run slowproxy as user %u, or " ALLOW,
			pid, f->them.uid, f->us.uid, f->them.uid);
		break;
	case PY_OBSTACLE_NOT_DUMPABLE:
		buf_printf(why,
			"process %d changed its user after it was started (or is otherwise not dumpable), so only a "
			"privileged process may read it: " ALLOW,
			pid);
		break;
	case PY_OBSTACLE_CAPABILITIES:
		buf_printf(why, "process %d has capabilities that we do not have: " ALLOW, pid);
		break;
	case PY_OBSTACLE_YAMA:
		buf_printf(why,
			"kernel.yama.ptrace_scope is %d, so process %d may be read only by its parent or with "
			"CAP_SYS_PTRACE: `sysctl -w kernel.yama.ptrace_scope=0`, or " ALLOW,
			f->yama, pid);
		break;
	case PY_OBSTACLE_YAMA_NEVER:
		buf_printf(why,
			"kernel.yama.ptrace_scope is 3: nobody may read other processes until the machine is restarted "
			"with another value");
		break;
	case PY_OBSTACLE_USER_NAMESPACE:
		buf_printf(why,
			"process %d lives in another user namespace, where we have no power: run slowproxy in that "
			"namespace, or outside of all as root",
			pid);
		break;
	case PY_OBSTACLE_SECCOMP:
		buf_printf(why,
			"a seccomp filter forbids us to read process %d: allow process_vm_readv in the container's seccomp "
			"profile",
			pid);
		break;
	case PY_OBSTACLE_SECURITY_MODULE:
		buf_printf(why,
			"the kernel refuses to let us read process %d; most likely a security module (AppArmor, SELinux): "
			"look into its log and allow ptrace read access",
			pid);
		break;
	}
}

void permission_explain(pid_t pid, struct buf *why)
{
	struct permission_facts f = facts_of(pid);
	explain(&f, (int)pid, why);
}
