/* doctor.c - `slowproxy doctor`: becomes what the sampler will be, and tries.
 *
 *   what we are -> privileges as the sampler's -> who to look at -> for each: find it, open it, look once -> verdict
 *
 * What it says of a process is what a slow line will say as capture_status, for it asks by the same code.
 */
#include "doctor.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <slowproxy/base/log.h>
#include <slowproxy/base/str.h>
#include <slowproxy/sampler.h>

#include "arguments.h"
#include "attach.h"
#include "configuration.h"
#include "privileges.h"

static const char default_config[] = "/etc/slowproxy/proxy.yaml";

struct doctor_options {
	pid_t pid; /* 0: the backend's, or all */
	const char *config_file;
	bool json, help;
};

static const char usage[] =
	"Usage: slowproxy doctor [-c proxy.yaml] [--pid PID] [--json]\n"
	"\n"
	"Tells what this machine or container allows: whether the stacks of the backend can be read, and if not, what is\n"
	"missing and the lines that add it. Without a process or a configuration it looks at every Python process that is\n"
	"visible. Run it where slowproxy runs, as the user that starts it.\n"
	"\n";
static const char usage_end[] =
	"\nExit status: 0 all can be read, 1 something cannot, 2 the command line or the configuration is wrong.\n";

static void usage_print(FILE *out)
{
	fputs(usage, out);
	arguments_print(TOOL_DOCTOR, out);
	fputs(usage_end, out);
}

static bool options_take(const struct options *all, struct doctor_options *o)
{
	struct arguments a;
	*o = (struct doctor_options){ .config_file = all->config_file };
	if (!arguments_take(TOOL_DOCTOR, all->rest_count, all->rest, &a))
		return false;
	o->json = a.given[FLAG_JSON] != NULL;
	o->help = a.given[FLAG_HELP] != NULL;
	if (a.given[FLAG_CONFIG] != NULL)
		o->config_file = a.given[FLAG_CONFIG];
	if (a.given[FLAG_PID] != NULL)
		o->pid = arguments_pid(&a, "doctor");
	return a.given[FLAG_PID] == NULL || o->pid != 0;
}

/* --- the configuration, where there is one --- */

static bool environment_names_upstream(void)
{
	return getenv("SLOWPROXY_UPSTREAM") != NULL;
}

/* false: it has errors, which have been printed. *out is NULL when there is none to read. */
static bool config_find(const struct options *all, const struct doctor_options *o, struct config **out)
{
	struct options options = *all;
	struct buf yaml = { 0 }, errors = { 0 };
	options.config_file = o->config_file;
	*out = NULL;
	if (options.config_file == NULL && access(default_config, R_OK) == 0)
		options.config_file = default_config;
	if (options.config_file == NULL && options.flag_count == 0 && !environment_names_upstream())
		return true;
	*out = configuration_read(&options, &yaml, &errors);
	if (*out == NULL)
		fputs(errors.data ? errors.data : "", stderr);
	buf_clear(&yaml);
	buf_clear(&errors);
	return *out != NULL;
}

/* --- what we are --- */

static bool namespace_is_own(const char *kind, uint64_t of_the_machine)
{
	char path[48], name[64];
	snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
	ssize_t len = readlink(path, name, sizeof name - 1);
	if (len <= 0)
		return false;
	name[len] = '\0';
	const char *bracket = strchr(name, '[');
	return bracket != NULL && strtoull(bracket + 1, NULL, 10) != of_the_machine;
}

/* The option of the mount we look through; "" when there is none. */
static void hidepid_find(char *out, size_t out_bytes)
{
	char line[4096];
	FILE *f = fopen("/proc/self/mountinfo", "re");
	out[0] = '\0';
	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		const char *at = strstr(line, " /proc ") != NULL ? strstr(line, "hidepid=") : NULL;
		if (at != NULL)
			str_copy(out, out_bytes, at + 8, strcspn(at + 8, ", \n"));
	}
	if (f != NULL)
		fclose(f);
}

/* Whether `setcap cap_sys_ptrace=p` (or more) was done to our own file. */
static bool program_is_marked(void)
{
	struct vfs_ns_cap_data data = { 0 };
	ssize_t len = getxattr("/proc/self/exe", "security.capability", &data, sizeof data);
	return len >= (ssize_t)sizeof(struct vfs_cap_data) &&
	       (data.data[0].permitted & 1u << CAP_SYS_PTRACE) != 0;
}

static const char *place_find(void)
{
	if (getenv("KUBERNETES_SERVICE_HOST") != NULL)
		return "kubernetes";
	if (access("/.dockerenv", F_OK) == 0)
		return "docker";
	if (access("/run/.containerenv", F_OK) == 0)
		return "podman";
	return getenv("INVOCATION_ID") != NULL ? "systemd" : NULL;
}

static unsigned processes_count(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc");
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
		count += isdigit((unsigned char)e->d_name[0]) != 0;
	if (dir != NULL)
		closedir(dir);
	return count;
}

static void self_find(struct doctor_self *self)
{
	const uint64_t machine_pid_namespace = 0xEFFFFFFC,
		       machine_user_namespace = 0xEFFFFFFD; /* linux/proc_ns.h */
	self->started = py_credentials_of(0);
	self->marked = program_is_marked();
	self->yama = py_yama_scope();
	self->pid_namespace_own = namespace_is_own("pid", machine_pid_namespace);
	self->user_namespace_own = namespace_is_own("user", machine_user_namespace);
	self->place = place_find();
	self->processes_seen = processes_count();
	hidepid_find(self->hidepid, sizeof self->hidepid);
	self->readv_filtered = py_readv_is_filtered();
}

/* --- the processes --- */

/* Its command line in one row, else its short name; what is not fit for a terminal becomes '?'. */
static void name_find(pid_t pid, char *out, size_t out_bytes)
{
	static const char *const files[] = { "cmdline", "comm" };
	ssize_t len = 0;
	for (size_t i = 0; i < ARRAY_LEN(files) && len <= 0; i++) {
		char path[48];
		snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, files[i]);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		len = fd < 0 ? 0 : read(fd, out, out_bytes - 1);
		if (fd >= 0)
			close(fd);
	}
	len = MAX(len, 0);
	while (len > 0 && (out[len - 1] == '\0' || out[len - 1] == '\n'))
		len--;
	for (ssize_t i = 0; i < len; i++)
		if (out[i] == '\0')
			out[i] = ' ';
		else if (!isprint((unsigned char)out[i]))
			out[i] = '?';
	out[len] = '\0';
}

static const enum capture_status statuses[PY_RESULT_COUNT] = {
	[PY_OK] = CAPTURE_OK,
	[PY_NO_PROCESS] = CAPTURE_GONE,
	[PY_DENIED] = CAPTURE_DENIED,
	[PY_NOT_PYTHON] = CAPTURE_NOT_PYTHON,
	[PY_UNSUPPORTED] = CAPTURE_UNSUPPORTED,
	[PY_NOT_READY] = CAPTURE_PARTIAL,
	[PY_UNREADABLE] = CAPTURE_PARTIAL,
};

static void look(struct patient *p, const struct doctor_self *self)
{
	struct buf why = { 0 };
	struct py_process *python = NULL;
	struct py_sample sample;
	struct py_wants wants = { .states = true };
	p->credentials = py_credentials_of(p->pid);
	name_find(p->pid, p->name, sizeof p->name);
	p->result = attach(p->pid, NULL, &python, &why);
	if (p->result == PY_OK) {
		str_copy(p->version, sizeof p->version, py_process_version(python),
			strlen(py_process_version(python)));
		p->result = py_process_sample(python, &wants, &sample);
	}
	if (p->result == PY_OK && !sampler_may_list(p->pid)) {
		p->result = PY_DENIED;
		buf_printf(
			&why, "its memory may be read, but not its descriptors: no connection leads to it");
	}
	p->status = statuses[p->result];
	if (p->result == PY_DENIED)
		p->advice = advice_for(py_obstacle_find(p->pid), self);
	const char *reason = why.len != 0 ? why.data : py_result_sentences[p->result];
	if (p->result != PY_OK)
		str_copy(p->reason, sizeof p->reason, reason, strlen(reason));
	buf_clear(&why);
	py_process_close(python);
}

static struct patient *patient_add(struct diagnosis *d, pid_t pid)
{
	for (size_t i = 0; i < d->count; i++)
		if (d->patients[i].pid == pid)
			return &d->patients[i];
	if (d->count == DOCTOR_PATIENTS_MAX)
		return NULL;
	struct patient *p = &d->patients[d->count++];
	*p = (struct patient){ .pid = pid };
	look(p, &d->self);
	return p;
}

/* A process that may not be read is taken for Python by its name. */
static bool seems_python(const struct patient *p)
{
	return p->result != PY_NOT_PYTHON && p->result != PY_NO_PROCESS &&
	       (p->result != PY_DENIED || strstr(p->name, "python") != NULL ||
		       strstr(p->name, "uvicorn") != NULL || strstr(p->name, "gunicorn") != NULL);
}

static void problem_set(struct diagnosis *d, enum capture_status status, const char *text)
{
	d->problem_status = status;
	str_copy(d->problem, sizeof d->problem, text, strlen(text));
}

static bool is_denied_python(const struct patient *p)
{
	return p->result == PY_DENIED && seems_python(p);
}

/* Looks at every visible process; those of this kind stay. */
static void everybody_look(struct diagnosis *d, bool (*stays)(const struct patient *))
{
	DIR *dir = opendir("/proc");
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		pid_t pid = isdigit((unsigned char)e->d_name[0]) ? (pid_t)strtol(e->d_name, NULL, 10) : 0;
		size_t before = d->count;
		if (pid == 0 || pid == getpid() || patient_add(d, pid) == NULL || d->count == before)
			continue;
		if (!stays(&d->patients[before]))
			d->count = before;
	}
	if (dir != NULL)
		closedir(dir);
}

static void pythons_look(struct diagnosis *d)
{
	everybody_look(d, seems_python);
	if (d->count != 0)
		return;
	problem_set(d, CAPTURE_NO_WORKER, "no Python process is visible here");
	d->problem_advice = (struct advice){ { REMEDY_SHARE_PIDS }, 1 };
}

/* An address whose listeners are out of sight. */
static void backend_unseen(
	struct diagnosis *d, const struct config_address *a, const struct sampler_listeners *found)
{
	char text[400];
	if (found->socket_seen && found->saw_denied) {
		snprintf(text, sizeof text,
			"who listens at %s cannot be seen: there are processes whose descriptors we may not list",
			a->text);
		problem_set(d, CAPTURE_DENIED, text);
		return;
	}
	snprintf(text, sizeof text,
		found->socket_seen
			? "a socket listens at %s, but no process that we can see holds it: it lives in another pid namespace"
			: "nothing that we can see listens at %s: it is not started, lives in another pid namespace, or on "
			  "another machine (whose processes cannot be read from here)",
		a->text);
	problem_set(d, CAPTURE_NO_WORKER, text);
	d->problem_advice = (struct advice){ { REMEDY_SHARE_PIDS }, 1 };
}

static void backend_look(struct diagnosis *d)
{
	for (size_t i = 0; i < d->config->upstream.count; i++) {
		const struct config_address *a = &d->config->upstream.items[i];
		struct sampler_listeners found;
		sampler_find_listeners(a->is_unix ? a->host : NULL, a->port, &found);
		for (size_t k = 0; k < found.count; k++) {
			struct patient *p = patient_add(d, found.pids[k]);
			if (p != NULL)
				p->listens = true;
		}
		if (found.count == 0)
			backend_unseen(d, a, &found);
	}
	if (d->problem_status != CAPTURE_DENIED)
		return;
	size_t before = d->count;
	everybody_look(d, is_denied_python); /* the backend may be among them */
	if (d->count == before)
		d->problem_advice = advice_for(PY_OBSTACLE_CAPABILITIES, &d->self);
}

bool diagnosis_good(const struct diagnosis *d)
{
	for (size_t i = 0; i < d->count; i++)
		if (d->patients[i].result != PY_OK)
			return false;
	return d->problem[0] == '\0';
}

static void examine(struct diagnosis *d, pid_t pid)
{
	d->patients = xcalloc(DOCTOR_PATIENTS_MAX, sizeof *d->patients);
	if (pid != 0)
		(void)patient_add(d, pid);
	else if (d->config != NULL)
		backend_look(d);
	else
		pythons_look(d);
}

int doctor_main(const struct options *options)
{
	struct doctor_options o;
	struct diagnosis d = { 0 };
	struct config *config;
	struct buf why = { 0 }, text = { 0 };
	if (!options_take(options, &o)) {
		usage_print(stderr);
		return EXIT_USAGE;
	}
	if (o.help) {
		usage_print(stdout);
		return EXIT_SUCCESS;
	}
	if (!config_find(options, &o, &config))
		return EXIT_USAGE;
	struct log_settings quiet = { .level = LOG_ERROR, .role = "doctor" };
	log_setup(&quiet);
	d.config = config;
	self_find(&d.self);
	bool dropped = privileges_drop_sampler(config != NULL ? config->user : "nobody", &why);
	if (!dropped) {
		fprintf(stderr, "slowproxy doctor: a sampler cannot start here: %s\n", why.data);
	} else {
		d.self.sampling = py_credentials_of(0);
		examine(&d, o.pid);
		(o.json ? diagnosis_json : diagnosis_show)(&d, &text);
		fwrite(text.data, 1, text.len, stdout);
	}
	int status = dropped && diagnosis_good(&d) ? EXIT_SUCCESS : EXIT_FAILURE;
	free(d.patients);
	buf_clear(&why);
	buf_clear(&text);
	config_free(config);
	return status;
}
