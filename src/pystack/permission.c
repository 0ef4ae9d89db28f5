/* permission.c - why a process may not be read: the kernel says only EPERM, so we ask what it asked.
 *
 * In the kernel's order: same user (or CAP_SYS_PTRACE), dumpable, no more capabilities than we, then Yama and other
 * security modules; a seccomp filter of ours may refuse the call before all that.
 */
#include "permission.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALLOW                                                                                                \
	"give slowproxy CAP_SYS_PTRACE (run it as root, `setcap cap_sys_ptrace+ep`, or `--cap-add SYS_PTRACE` for a container)"

/* What /proc/PID/status tells of one process. */
struct credentials {
	bool known;
	unsigned uid;                  /* effective */
	uint64_t permitted, effective; /* capabilities */
	unsigned seccomp;              /* 0 none, 2 a filter */
};

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

static struct credentials credentials_of(const char *who)
{
	char path[64], status[8192];
	struct credentials c = { 0 };
	snprintf(path, sizeof path, "/proc/%s/status", who);
	c.known = read_text(path, status, sizeof status);
	c.uid = (unsigned)status_value(status, "\nUid:", 10, 1);
	c.permitted = status_value(status, "\nCapPrm:", 16, 0);
	c.effective = status_value(status, "\nCapEff:", 16, 0);
	c.seccomp = (unsigned)status_value(status, "\nSeccomp:", 10, 0);
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

static int yama_scope(void)
{
	char text[16];
	return read_text("/proc/sys/kernel/yama/ptrace_scope", text, sizeof text) ? atoi(text) : 0;
}

static void explain_with_capability(const char *pid, const struct credentials *us, struct buf *why)
{
	if (!same_namespace(pid, "user"))
		buf_printf(why,
			"process %s lives in another user namespace, where our CAP_SYS_PTRACE does not count: run slowproxy "
			"in that namespace, or outside of all as root",
			pid);
	else if (yama_scope() == 3)
		buf_printf(why,
			"kernel.yama.ptrace_scope is 3: nobody may read other processes until the machine is restarted "
			"with another value");
	else if (us->seccomp != 0)
		buf_printf(why,
			"a seccomp filter forbids us to read process %s: allow process_vm_readv in the container's seccomp "
			"profile",
			pid);
	else
		buf_printf(why,
			"a security module (AppArmor, SELinux) forbids us to read process %s: look into its log and allow "
			"ptrace read access",
			pid);
}

void permission_explain(pid_t pid, struct buf *why)
{
	char target[16];
	snprintf(target, sizeof target, "%d", (int)pid);
	struct credentials us = credentials_of("self"), them = credentials_of(target);
	if (!them.known)
		buf_printf(why, "/proc hides process %s from user %u (hidepid): " ALLOW, target, us.uid);
	else if (us.effective & UINT64_C(1) << CAP_SYS_PTRACE)
		explain_with_capability(target, &us, why);
	else if (us.uid != them.uid)
		buf_printf(why,
			"process %s belongs to user %u and we run as user %u: run slowproxy as user %u, or " ALLOW,
			target, them.uid, us.uid, them.uid);
	else if (!is_dumpable(target, them.uid))
		buf_printf(why,
			"process %s changed its user after it was started (or is otherwise not dumpable), so only a "
			"privileged process may read it: " ALLOW,
			target);
	else if (them.permitted & ~us.permitted)
		buf_printf(why, "process %s has capabilities that we do not have: " ALLOW, target);
	else if (yama_scope() > 0)
		buf_printf(why,
			"kernel.yama.ptrace_scope is %d, so process %s may be read only by its parent or with "
			"CAP_SYS_PTRACE: `sysctl -w kernel.yama.ptrace_scope=0`, or " ALLOW,
			yama_scope(), target);
	else if (us.seccomp != 0)
		buf_printf(why,
			"a seccomp filter forbids us to read process %s: allow process_vm_readv in the container's seccomp "
			"profile, or " ALLOW,
			target);
	else if (!same_namespace(target, "user"))
		buf_printf(why,
			"process %s lives in another user namespace: run slowproxy in that namespace, or " ALLOW,
			target);
	else
		buf_printf(why, "the kernel refuses to let us read process %s: " ALLOW, target);
}
