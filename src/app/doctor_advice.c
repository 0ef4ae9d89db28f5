/* doctor_advice.c - from what stands in the way to the exact lines that take it away.
 *
 * The lines are tables: one row for each remedy, one column for each place where people write such things down.
 */
#include "doctor.h"

#include <linux/capability.h>
#include <string.h>

/* "@" is the worker's uid. */
const struct remedy remedies[REMEDY_COUNT] = {
	[REMEDY_SAME_USER] = {
		.what = "run slowproxy as the worker's user (@); no capability is needed then",
		.docker = "--user @",
		.compose = "user: \"@\"",
		.kubernetes = "securityContext: { runAsUser: @ }",
		.systemd = "User=@",
		.command = "setpriv --reuid @ --regid @ --clear-groups slowproxy -c proxy.yaml",
	},
	[REMEDY_CAPABILITY] = {
		.what = "give slowproxy CAP_SYS_PTRACE",
		.docker = "--cap-add SYS_PTRACE",
		.compose = "cap_add: [SYS_PTRACE]",
		.kubernetes = "securityContext: { capabilities: { add: [SYS_PTRACE] }, allowPrivilegeEscalation: true }",
		.systemd = "AmbientCapabilities=CAP_SYS_PTRACE",
		.command = "setcap cap_sys_ptrace=p /usr/bin/slowproxy",
	},
	[REMEDY_FILE_CAPABILITY] = {
		.what = "CAP_SYS_PTRACE is allowed here, but a plain user has it only from a marked program: mark it in the image",
		.docker = "RUN setcap cap_sys_ptrace=p /usr/bin/slowproxy",
		.compose = "user: \"0\"",
		.kubernetes = "securityContext: { runAsUser: 0 }",
		.systemd = "AmbientCapabilities=CAP_SYS_PTRACE",
		.command = "setcap cap_sys_ptrace=p /usr/bin/slowproxy",
	},
	[REMEDY_ESCALATION] = {
		.what = "no_new_privs takes CAP_SYS_PTRACE from a program of a plain user: leave it out for slowproxy",
		.docker = "--security-opt no-new-privileges=false",
		.compose = "security_opt: [\"no-new-privileges:false\"]",
		.kubernetes = "securityContext: { allowPrivilegeEscalation: true }",
		.systemd = "AmbientCapabilities=CAP_SYS_PTRACE",
	},
	[REMEDY_SHARE_PIDS] = {
		.what = "let slowproxy see the backend's processes: share the pid namespace (the app joins slowproxy's, so that it "
			"may be restarted alone)",
		.docker = "--pid container:slowproxy   (for the app's container)",
		.compose = "pid: \"service:slowproxy\"   (for the app's service)",
		.kubernetes = "shareProcessNamespace: true   (for the pod)",
		.systemd = "PrivatePIDs=no",
	},
	[REMEDY_SHOW_PROCESSES] = {
		.what = "let /proc show processes of other users",
		.systemd = "ProtectProc=default",
		.command = "mount -o remount,hidepid=0 /proc",
	},
	[REMEDY_SECCOMP] = {
		.what = "allow process_vm_readv in the seccomp profile (those of Docker and containerd do)",
		.docker = "--security-opt seccomp=PROFILE.json",
		.compose = "security_opt: [\"seccomp:PROFILE.json\"]",
		.kubernetes = "securityContext: { seccompProfile: { type: RuntimeDefault } }",
		.systemd = "SystemCallFilter=process_vm_readv",
	},
	[REMEDY_YAMA] = {
		.what = "let processes of one user read each other (on the machine, for all containers)",
		.command = "sysctl -w kernel.yama.ptrace_scope=0",
	},
	[REMEDY_USER_NAMESPACE] = {
		.what = "run slowproxy and the app in one user namespace",
		.docker = "--userns host",
		.compose = "userns_mode: host",
		.kubernetes = "hostUsers: true   (for the pod)",
		.systemd = "PrivateUsers=no",
	},
	[REMEDY_APP_USER] = {
		.what = "start the app as the user it runs as, instead of letting it change its user itself",
		.docker = "--user @   (for the app's container)",
		.compose = "user: \"@\"   (for the app's service)",
		.kubernetes = "securityContext: { runAsUser: @ }   (for the app's container)",
		.systemd = "User=@   (in the app's unit)",
	},
	[REMEDY_SECURITY_MODULE] = {
		.what = "a security module (AppArmor, SELinux) says no: one profile for both containers, which allows them to trace "
			"each other, as docker-default does",
		.docker = "--security-opt apparmor=docker-default",
		.compose = "security_opt: [\"apparmor:docker-default\"]",
		.kubernetes = "securityContext: { appArmorProfile: { type: RuntimeDefault } }",
	},
};

const struct remedy_place remedy_places[] = {
	{ "docker run", "docker_run", offsetof(struct remedy, docker) },
	{ "compose", "compose", offsetof(struct remedy, compose) },
	{ "kubernetes", "kubernetes", offsetof(struct remedy, kubernetes) },
	{ "systemd", "systemd", offsetof(struct remedy, systemd) },
	{ "command", "command", offsetof(struct remedy, command) },
};
const size_t remedy_place_count = ARRAY_LEN(remedy_places);

static const char *with_uid(const char *text, unsigned uid, struct buf *out)
{
	buf_reset(out);
	for (; *text != '\0'; text++)
		if (*text == '@')
			buf_printf(out, "%u", uid);
		else
			buf_add_char(out, *text);
	return out->data;
}

const char *remedy_line(
	const struct remedy *r, const struct remedy_place *place, unsigned uid, struct buf *out)
{
	const char *text = place == NULL ? r->what : *(const char *const *)((const char *)r + place->offset);
	return text != NULL ? with_uid(text, uid, out) : NULL;
}

static void add(struct advice *a, enum remedy_kind kind)
{
	if (a->count < DOCTOR_ADVICE_MAX)
		a->kinds[a->count++] = kind;
}

/* On which of the steps from the container's settings to the process does the capability get lost? */
static enum remedy_kind capability_remedy(const struct doctor_self *self)
{
	if ((self->started.bounding & UINT64_C(1) << CAP_SYS_PTRACE) == 0 || self->started.uid == 0)
		return REMEDY_CAPABILITY;
	if (!self->marked)
		return REMEDY_FILE_CAPABILITY;
	return self->started.no_new_privs ? REMEDY_ESCALATION : REMEDY_CAPABILITY;
}

struct advice advice_for(enum py_obstacle obstacle, const struct doctor_self *self)
{
	struct advice a = { .count = 0 };
	switch (obstacle) {
	case PY_OBSTACLE_HIDDEN:
		add(&a, REMEDY_SHOW_PROCESSES);
		add(&a, capability_remedy(self));
		break;
	case PY_OBSTACLE_OTHER_USER:
		add(&a, REMEDY_SAME_USER);
		add(&a, capability_remedy(self));
		break;
	case PY_OBSTACLE_NOT_DUMPABLE:
		add(&a, REMEDY_APP_USER);
		add(&a, capability_remedy(self));
		break;
	case PY_OBSTACLE_YAMA:
		add(&a, REMEDY_YAMA);
		add(&a, capability_remedy(self));
		break;
	case PY_OBSTACLE_CAPABILITIES:
		add(&a, capability_remedy(self));
		break;
	case PY_OBSTACLE_YAMA_NEVER:
		add(&a, REMEDY_YAMA);
		break;
	case PY_OBSTACLE_USER_NAMESPACE:
		add(&a, REMEDY_USER_NAMESPACE);
		break;
	case PY_OBSTACLE_SECCOMP:
		add(&a, REMEDY_SECCOMP);
		break;
	case PY_OBSTACLE_SECURITY_MODULE:
		add(&a, REMEDY_SECURITY_MODULE);
		break;
	}
	return a;
}
