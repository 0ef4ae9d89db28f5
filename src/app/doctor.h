/* doctor.h - `slowproxy doctor`: what this machine or container allows the sampler, and what is missing.
 *
 *   doctor.c         becomes what the sampler will be, and tries
 *   doctor_advice.c  from an obstacle to the lines that take it away
 *   doctor_show.c    tells it to people or programs
 */
#ifndef APP_DOCTOR_H
#define APP_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include <slowproxy/config.h>
#include <slowproxy/pystack.h>
#include <slowproxy/record.h>

#include "options.h"

/* argv[0] of options->rest is the name of the command. Returns the exit status: 0 all that was looked at can be read, 1 something
 * cannot, 2 the command line or the configuration is wrong. */
int doctor_main(const struct options *options);

enum { DOCTOR_PATIENTS_MAX = 256, DOCTOR_ADVICE_MAX = 4 };

/* What can be done. Where it may be written differs: see struct remedy. */
enum remedy_kind {
	REMEDY_SAME_USER,
	REMEDY_CAPABILITY,
	REMEDY_FILE_CAPABILITY, /* allowed here, but a program of a plain user has to be marked for it */
	REMEDY_ESCALATION,      /* marked, but no_new_privs takes no notice of marks */
	REMEDY_SHARE_PIDS,
	REMEDY_SHOW_PROCESSES,
	REMEDY_SECCOMP,
	REMEDY_YAMA,
	REMEDY_USER_NAMESPACE,
	REMEDY_APP_USER,
	REMEDY_SECURITY_MODULE,
	REMEDY_COUNT
};

/* "@" in a line is the worker's uid. NULL: there it cannot be done. */
struct remedy {
	const char *what;
	const char *docker, *compose, *kubernetes, *systemd, *command;
};
extern const struct remedy remedies[REMEDY_COUNT];
/* The places of a remedy, in the order they are shown. */
struct remedy_place {
	const char *name, *key;
	size_t offset;
};
extern const struct remedy_place remedy_places[];
extern const size_t remedy_place_count;
/* The line with the uid in its place; NULL: none. */
const char *remedy_line(
	const struct remedy *r, const struct remedy_place *place, unsigned uid, struct buf *out);

/* Any one of them helps. */
struct advice {
	enum remedy_kind kinds[DOCTOR_ADVICE_MAX];
	size_t count;
};

/* What we are ourselves, when we look as the sampler will. */
struct doctor_self {
	struct py_credentials started, sampling; /* before and after privileges were dropped */
	int yama;
	bool readv_filtered;
	bool pid_namespace_own, user_namespace_own; /* not those of the machine */
	char hidepid[16];
	bool marked;       /* the program file has cap_sys_ptrace among its permitted ones */
	const char *place; /* "docker", "kubernetes", "systemd", "podman"; NULL: nothing known */
	unsigned processes_seen;
};

/* One process that was looked at. */
struct patient {
	pid_t pid;
	struct py_credentials credentials;
	char name[128];
	bool listens; /* at an upstream address */
	enum py_result result;
	enum capture_status status; /* of a slow line whose request it serves */
	char version[32];
	char reason[512];
	struct advice advice;
};

struct diagnosis {
	struct doctor_self self;
	const struct config *config; /* NULL: none was given */
	struct patient *patients;    /* owned */
	size_t count;
	char problem[512]; /* no process to look at; "": there is one */
	enum capture_status problem_status;
	struct advice problem_advice;
};

/* What helps against this obstacle, given what we are. */
struct advice advice_for(enum py_obstacle obstacle, const struct doctor_self *self);
bool diagnosis_good(const struct diagnosis *d);
void diagnosis_show(const struct diagnosis *d, struct buf *out);
void diagnosis_json(const struct diagnosis *d, struct buf *out);
/* "cap_sys_ptrace, cap_chown"; "none" */
void capabilities_text(uint64_t set, struct buf *out);

#endif
