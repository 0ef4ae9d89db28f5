/* privileges.c - each process keeps what its work needs and nothing else. */
#include "privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <slowproxy/base/log.h>

static bool failed(struct buf *why, const char *what)
{
	buf_printf(why, "%s: %s", what, strerror(errno));
	return false;
}

static uint64_t capabilities_permitted(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = { 0 };
	if (syscall(SYS_capget, &head, data) != 0)
		return 0;
	return (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

static bool capabilities_set(uint64_t keep)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = (uint32_t)keep, .permitted = (uint32_t)keep },
		{ .effective = (uint32_t)(keep >> 32), .permitted = (uint32_t)(keep >> 32) },
	};
	return syscall(SYS_capset, &head, data) == 0;
}

static bool has_capability(uint64_t set, unsigned capability)
{
	return (set & UINT64_C(1) << capability) != 0;
}

/* Only root can change its uid, and only root needs to. Root in a container that drops all capabilities cannot: it stays, as
 * powerless as it is. */
static bool become(const char *user, struct buf *why)
{
	if (geteuid() != 0 || user[0] == '\0' || strcmp(user, "root") == 0)
		return true;
	if (!has_capability(capabilities_permitted(), CAP_SETUID)) {
		log_info("root without CAP_SETUID cannot become %s: stays user 0", user);
		return true;
	}
	struct passwd *pw = getpwnam(user);
	if (pw == NULL) {
		buf_printf(why, "user: there is no user called %s on this system", user);
		return false;
	}
	if (setgroups(0, NULL) != 0 && errno != EPERM)
		return failed(why, "setgroups");
	if (setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0)
		return failed(why, "setresgid");
	if (setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0)
		return failed(why, "setresuid");
	return true;
}

bool privileges_drop_proxy(const char *user, struct buf *why)
{
	if (!become(user, why))
		return false;
	if (!capabilities_set(0))
		return failed(why, "capset");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return failed(why, "PR_SET_NO_NEW_PRIVS");
	return true;
}

/* --- the sampler's filter: a short list of what it may not do, everything else is allowed --- */

#define LOAD(field)              BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define SKIP_UNLESS(v, n)        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (v), 0, (n))
#define SKIP_IF(v, n)            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (v), (n), 0)
#define SKIP_UNLESS_ANY(mask, n) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (mask), 0, (n))
#define ALLOW                    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
#define NEVER(call)              SKIP_UNLESS(SYS_##call, 1), REFUSE

static const struct sock_filter sampler_filter[] = {
	LOAD(arch),
#if defined(__x86_64__)
	SKIP_IF(AUDIT_ARCH_X86_64, 1),
#elif defined(__aarch64__)
	SKIP_IF(AUDIT_ARCH_AARCH64, 1),
#else
#error "name this architecture's AUDIT_ARCH value here"
#endif
	REFUSE,
	LOAD(nr),
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1), /* the x32 names of the same calls */
	REFUSE,
	NEVER(process_vm_writev),
#if !defined(__SANITIZE_ADDRESS__) &&                                                                        \
	!defined(__SANITIZE_THREAD__) /* the leak checker traces its own threads */
	NEVER(ptrace),
#endif
	NEVER(kill),
	NEVER(pidfd_send_signal),
	NEVER(execve),
	NEVER(execveat),
	NEVER(connect),
	NEVER(listen),
	NEVER(accept),
	NEVER(accept4),
	NEVER(openat2), /* its flags lie where no filter sees them */
	NEVER(truncate),
	NEVER(unlinkat),
	NEVER(renameat2),
	NEVER(linkat),
	NEVER(symlinkat),
	NEVER(mkdirat),
	NEVER(mknodat),
	NEVER(fchmod),
	NEVER(fchmodat),
	NEVER(fchown),
	NEVER(fchownat),
	NEVER(mount),
	NEVER(setns),
	NEVER(unshare),
	NEVER(chroot),
	NEVER(setuid),
	NEVER(setresuid),
	NEVER(bpf),
	SKIP_UNLESS(SYS_socket, 3),
	LOAD(args[0]),
	SKIP_IF(AF_NETLINK, 1),
	REFUSE,
	LOAD(nr),
	SKIP_UNLESS(SYS_openat, 3),
	LOAD(args[2]),
	SKIP_UNLESS_ANY(O_WRONLY | O_RDWR | O_CREAT, 1),
	REFUSE,
	LOAD(nr),
#ifdef SYS_open /* the older names of the same, where an architecture has them */
	NEVER(creat),
	NEVER(unlink),
	NEVER(rename),
	NEVER(renameat),
	NEVER(link),
	NEVER(symlink),
	NEVER(mkdir),
	NEVER(rmdir),
	NEVER(mknod),
	NEVER(chmod),
	NEVER(chown),
	NEVER(lchown),
	SKIP_UNLESS(SYS_open, 3),
	LOAD(args[1]),
	SKIP_UNLESS_ANY(O_WRONLY | O_RDWR | O_CREAT, 1),
	REFUSE,
#endif
	ALLOW,
};

/* What the sampler keeps. Root without CAP_SYS_PTRACE (in a container, as engines start them) may still read processes of
 * uid 0 that are allowed no more than it is itself: it stays root and keeps what it was given. The filter above is what
 * keeps it from using any of that. */
static bool sampler_stays_root(uint64_t permitted)
{
	return geteuid() == 0 && !has_capability(permitted, CAP_SYS_PTRACE);
}

bool privileges_drop_sampler(const char *user, struct buf *why)
{
	const uint64_t wanted = UINT64_C(1) << CAP_SYS_PTRACE | UINT64_C(1) << CAP_DAC_READ_SEARCH;
	uint64_t permitted = capabilities_permitted();
	uint64_t kept = sampler_stays_root(permitted) ? permitted : permitted & wanted;

	if (has_capability(permitted, CAP_SYS_PTRACE)) {
		if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
			return failed(why, "PR_SET_KEEPCAPS");
		if (!become(user, why))
			return false;
	}
	if (!capabilities_set(kept))
		return failed(why, "capset");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return failed(why, "PR_SET_NO_NEW_PRIVS");
	struct sock_fprog program = { ARRAY_LEN(sampler_filter), (struct sock_filter *)sampler_filter };
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		log_warn("the kernel has no seccomp filters (%s): the sampler runs without that second fence",
			strerror(errno));
	return true;
}

void privileges_follow_parent(int signal)
{
	pid_t parent = getppid();
	prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0);
	if (getppid() != parent) /* it ended in between */
		raise(signal);
}
