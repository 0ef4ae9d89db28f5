/* doctor_show.c - the diagnosis, for people and for programs. */
#include "doctor.h"

#include <linux/capability.h>

#include <slowproxy/base/json.h>

/* Those that matter here; the others are counted. */
static const struct {
	unsigned number;
	const char *name;
} named_capabilities[] = {
	{ CAP_SYS_PTRACE, "sys_ptrace" },
	{ CAP_DAC_READ_SEARCH, "dac_read_search" },
	{ CAP_SETUID, "setuid" },
	{ CAP_SYS_ADMIN, "sys_admin" },
};

void capabilities_text(uint64_t set, struct buf *out)
{
	size_t before = out->len;
	if (set == 0) {
		buf_add_str(out, "none");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(named_capabilities); i++) {
		uint64_t bit = UINT64_C(1) << named_capabilities[i].number;
		if ((set & bit) != 0)
			buf_printf(out, "%s%s", out->len > before ? ", " : "", named_capabilities[i].name);
		set &= ~bit;
	}
	int others = __builtin_popcountll(set);
	if (others != 0)
		buf_printf(
			out, "%s%d other%s", out->len > before ? " and " : "", others, others > 1 ? "s" : "");
}

/* --- text --- */

static void row(struct buf *out, const char *name, const char *text)
{
	buf_printf(out, "  %-22s %s\n", name, text);
}

static void capabilities_row(struct buf *out, const char *name, uint64_t set)
{
	struct buf text = { 0 };
	capabilities_text(set, &text);
	row(out, name, text.data);
	buf_clear(&text);
}

static const char *yama_text(int scope)
{
	static const char *const texts[] = { "0: processes of one user may read each other",
		"1: only a parent may read, or CAP_SYS_PTRACE", "2: only CAP_SYS_PTRACE may read",
		"3: nobody may read" };
	if (scope < 0 || (size_t)scope >= ARRAY_LEN(texts))
		return "this kernel has none: processes of one user may read each other";
	return texts[scope];
}

static void self_show(const struct doctor_self *s, struct buf *out)
{
	buf_printf(out, "slowproxy here%s%s\n", s->place != NULL ? ", in " : "",
		s->place != NULL ? s->place : "");
	buf_printf(out, "  %-22s %u", "user", s->started.uid);
	if (s->sampling.uid != s->started.uid)
		buf_printf(out, ", the sampler becomes %u", s->sampling.uid);
	buf_add_char(out, '\n');
	capabilities_row(out, "capabilities", s->started.permitted);
	capabilities_row(out, "  of the sampler", s->sampling.effective);
	capabilities_row(out, "  that can be had", s->started.bounding);
	row(out, "program file", s->marked ? "marked with cap_sys_ptrace" : "not marked with cap_sys_ptrace");
	row(out, "no_new_privs",
		s->started.no_new_privs ? "set: marks of the program file do not count" : "not set");
	row(out, "seccomp",
		s->readv_filtered
			? "a filter refuses process_vm_readv; /proc/PID/mem is read instead, where that may be opened"
		: s->started.seccomp_filters != 0 ? "a filter, which allows process_vm_readv"
						  : "no filter");
	row(out, "yama ptrace_scope", yama_text(s->yama));
	row(out, "pid namespace", s->pid_namespace_own ? "of a container" : "of the machine");
	row(out, "user namespace",
		s->user_namespace_own ? "of a container: root here is not root of the machine"
				      : "of the machine");
	row(out, "/proc hidepid", s->hidepid[0] != '\0' ? s->hidepid : "off");
	buf_printf(out, "  %-22s %u\n", "processes visible", s->processes_seen);
}

static void advice_show(const struct advice *a, unsigned uid, struct buf *out)
{
	struct buf text = { 0 };
	for (size_t i = 0; i < a->count; i++) {
		const struct remedy *r = &remedies[a->kinds[i]];
		buf_printf(out, "  %s %s\n",
			a->count == 1 ? "do this:"
			: i == 0      ? "either:"
				      : "or:",
			remedy_line(r, NULL, uid, &text));
		for (size_t k = 0; k < remedy_place_count; k++) {
			const char *line = remedy_line(r, &remedy_places[k], uid, &text);
			if (line != NULL)
				buf_printf(out, "      %-12s %s\n", remedy_places[k].name, line);
		}
	}
	buf_clear(&text);
}

static void patient_show(const struct patient *p, struct buf *out)
{
	buf_printf(out, "\nprocess %d%s: %s\n", (int)p->pid, p->listens ? ", the backend" : "", p->name);
	if (p->credentials.known) {
		buf_printf(out, "  %-22s %u\n", "user", p->credentials.uid);
		capabilities_row(out, "capabilities", p->credentials.permitted);
	}
	if (p->version[0] != '\0')
		row(out, "python", p->version);
	row(out, "stacks can be read", p->result == PY_OK ? "yes" : "no");
	row(out, "capture_status", capture_statuses[p->status].name);
	if (p->result != PY_OK)
		row(out, "because", p->reason);
	advice_show(&p->advice, p->credentials.uid, out);
}

void diagnosis_show(const struct diagnosis *d, struct buf *out)
{
	self_show(&d->self, out);
	for (size_t i = 0; i < d->count; i++)
		patient_show(&d->patients[i], out);
	if (d->problem[0] != '\0') {
		buf_printf(out, "\n%s\n", d->problem);
		row(out, "capture_status", capture_statuses[d->problem_status].name);
		advice_show(&d->problem_advice, 0, out);
	}
	buf_printf(out, "\n%s\n",
		diagnosis_good(d) ? "All is well: slow requests will be explained."
				  : "Traffic and slow lines work as they are; their explanation is missing.");
}

/* --- JSON --- */

static void key_text(struct json *j, const char *key, const char *text)
{
	json_key(j, key);
	json_str(j, text);
}

static void key_number(struct json *j, const char *key, int64_t number)
{
	json_key(j, key);
	json_i64(j, number);
}

static void key_bool(struct json *j, const char *key, bool value)
{
	json_key(j, key);
	json_bool(j, value);
}

static void key_capabilities(struct json *j, const char *key, uint64_t set)
{
	struct buf text = { 0 };
	buf_printf(&text, "%016llx", (unsigned long long)set);
	key_text(j, key, text.data);
	buf_clear(&text);
}

static void self_json(struct json *j, const struct doctor_self *s)
{
	json_key(j, "self");
	json_begin(j, '{');
	key_number(j, "uid", s->started.uid);
	key_number(j, "sampler_uid", s->sampling.uid);
	key_capabilities(j, "capabilities_permitted", s->started.permitted);
	key_capabilities(j, "capabilities_bounding", s->started.bounding);
	key_capabilities(j, "sampler_capabilities", s->sampling.effective);
	key_bool(j, "file_capability", s->marked);
	key_bool(j, "no_new_privs", s->started.no_new_privs);
	key_bool(j, "process_vm_readv_filtered", s->readv_filtered);
	key_number(j, "yama_ptrace_scope", s->yama);
	key_bool(j, "own_pid_namespace", s->pid_namespace_own);
	key_bool(j, "own_user_namespace", s->user_namespace_own);
	key_text(j, "hidepid", s->hidepid);
	key_text(j, "place", s->place != NULL ? s->place : "");
	json_end(j);
}

static void advice_json(struct json *j, const struct advice *a, unsigned uid)
{
	struct buf text = { 0 };
	json_key(j, "remedies");
	json_begin(j, '[');
	for (size_t i = 0; i < a->count; i++) {
		const struct remedy *r = &remedies[a->kinds[i]];
		json_begin(j, '{');
		key_text(j, "what", remedy_line(r, NULL, uid, &text));
		for (size_t k = 0; k < remedy_place_count; k++) {
			const char *line = remedy_line(r, &remedy_places[k], uid, &text);
			if (line != NULL)
				key_text(j, remedy_places[k].key, line);
		}
		json_end(j);
	}
	json_end(j);
	buf_clear(&text);
}

static void patient_json(struct json *j, const struct patient *p)
{
	json_begin(j, '{');
	key_number(j, "pid", p->pid);
	key_text(j, "command", p->name);
	key_bool(j, "backend", p->listens);
	key_number(j, "uid", p->credentials.uid);
	key_text(j, "python_version", p->version);
	key_bool(j, "readable", p->result == PY_OK);
	key_text(j, "capture_status", capture_statuses[p->status].name);
	key_text(j, "reason", p->reason);
	advice_json(j, &p->advice, p->credentials.uid);
	json_end(j);
}

void diagnosis_json(const struct diagnosis *d, struct buf *out)
{
	struct json j;
	json_init(&j, out);
	json_begin(&j, '{');
	key_bool(&j, "ok", diagnosis_good(d));
	self_json(&j, &d->self);
	json_key(&j, "processes");
	json_begin(&j, '[');
	for (size_t i = 0; i < d->count; i++)
		patient_json(&j, &d->patients[i]);
	json_end(&j);
	if (d->problem[0] != '\0') {
		json_key(&j, "problem");
		json_begin(&j, '{');
		key_text(&j, "reason", d->problem);
		key_text(&j, "capture_status", capture_statuses[d->problem_status].name);
		advice_json(&j, &d->problem_advice, 0);
		json_end(&j);
	}
	json_end(&j);
	buf_add_char(out, '\n');
}
