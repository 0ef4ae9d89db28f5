/* privileges.h - each process keeps what its work needs and nothing else. */
#ifndef SLOWPROXY_APP_PRIVILEGES_H
#define SLOWPROXY_APP_PRIVILEGES_H

#include <stdbool.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/mem.h>

/* The proxy: becomes `user` when it is root, loses every capability, can never gain one. false: why says what failed. */
MUST_CHECK bool privileges_drop_proxy(const char *user, struct buf *why);

/* The sampler: keeps CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH where it has them (and then becomes `user`), nothing else; a file
 * capability that is only permitted is raised here. Root without CAP_SYS_PTRACE stays what it is. The kernel is told to refuse it
 * sockets other than netlink, ptrace, process_vm_writev, signals to others, exec, opening anything for writing, and changing
 * files or its own identity: whatever goes wrong in it, it cannot change another process. */
MUST_CHECK bool privileges_drop_sampler(const char *user, struct buf *why);

/* Dies with its parent: signal is sent when that ends. Call after the last change of uid. */
void privileges_follow_parent(int signal);

#endif
