/* recordings.c - the processes that are looked at together.
 *
 *   root ──fork──> child ──spawn──> grandchild       all of them, with --subprocesses, from their first moments on
 *     └─exec──> another program                      is opened anew when that is Python
 */
#include "recordings.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>

enum { PROCESSES_MAX = 1000, TRIES_MAX = 100 };

static const uint64_t search_every_ns = 50 * NS_PER_MS;

void recordings_init(struct recordings *r, pid_t root, bool follow, const struct recording_wants *wants,
	uint64_t period_ns)
{
	*r = (struct recordings){ .profile = profile_new(),
		.wants = *wants,
		.period_ns = period_ns,
		.root = root,
		.follow = follow };
}

/* The fields of /proc/PID/stat we want; false: it is gone. */
static bool stat_read(pid_t pid, char *state, pid_t *parent, uint64_t *started)
{
	char path[32], line[1024] = "";
	unsigned long long ticks = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	const char *after = f != NULL && fgets(line, sizeof line, f) != NULL ? strrchr(line, ')') : NULL;
	if (f != NULL)
		fclose(f);
	if (after == NULL ||
		sscanf(after,
			") %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			state, parent, &ticks) != 3)
		return false;
	*started = ticks;
	return true;
}

bool process_is_gone(pid_t pid)
{
	char state;
	pid_t parent;
	uint64_t started;
	return !stat_read(pid, &state, &parent, &started) || strchr("ZXx", state) != NULL;
}

void recordings_add(struct recordings *r, struct py_process *python)
{
	struct recording *one = xcalloc(1, sizeof *one);
	char state;
	pid_t parent;
	uint64_t started = 0;
	recording_init(one, r->profile, python, &r->wants, r->period_ns, r->follow);
	r->all = array_grow(r->all, &r->capacity, r->count, sizeof(void *));
	r->all[r->count++] = one;
	if (r->processes++ == 0)
		snprintf(r->version, sizeof r->version, "%s", py_process_version(python));
	if (stat_read(one->pid, &state, &parent, &started))
		map_put(&r->family, (uint64_t)one->pid, started);
}

static void totals_add(struct recordings *r, const struct recording *one)
{
	r->looks += one->looks;
	r->failed_looks += one->failed_looks;
	r->degraded += one->degraded;
	r->replaced += one->replaced;
	r->ended.gil += one->activity.gil;
	r->ended.active += one->activity.active;
}

struct activity recordings_activity(const struct recordings *r)
{
	struct activity sum = r->ended;
	sum.errors = r->failed_looks;
	sum.looks = r->rounds;
	for (size_t i = 0; i < r->count; i++) {
		const struct recording *one = r->all[i];
		sum.gil += one->activity.gil;
		sum.active += one->activity.active;
		sum.threads += one->activity.threads;
		sum.errors += one->failed_looks;
	}
	return sum;
}

static void drop(struct recordings *r, size_t at)
{
	totals_add(r, r->all[at]);
	recording_clear(r->all[at]);
	free(r->all[at]);
	r->all[at] = r->all[--r->count];
}

/* --- the family --- */

static bool is_looked_at(const struct recordings *r, pid_t pid)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->all[i]->pid == pid)
			return true;
	return false;
}

/* A pid may be used again: by another process, which is no relative because this one was. */
static bool is_family(const struct recordings *r, pid_t pid, pid_t parent, uint64_t started)
{
	uint64_t then;
	if (map_get(&r->family, (uint64_t)pid, &then) && then == started)
		return true;
	return pid == r->root || parent == r->root || map_get(&r->family, (uint64_t)parent, &then);
}

static void try_to_open(struct recordings *r, pid_t pid)
{
	struct py_process *python;
	struct buf why = { 0 };
	uint64_t tries = 0;
	if (is_looked_at(r, pid) || r->count >= PROCESSES_MAX ||
		(map_get(&r->tries, (uint64_t)pid, &tries) && tries >= TRIES_MAX))
		return;
	if (py_process_open(pid, &python, &why) == PY_OK)
		recordings_add(r, python);
	else
		map_put(&r->tries, (uint64_t)pid, tries + 1);
	buf_clear(&why);
}

void recordings_search(struct recordings *r, uint64_t now_ns)
{
	if (r->searched_ns != 0 && now_ns - r->searched_ns < search_every_ns)
		return;
	r->searched_ns = now_ns;
	if (!r->follow) {
		try_to_open(r, r->root);
		return;
	}
	DIR *proc = opendir("/proc");
	for (struct dirent *e; proc != NULL && (e = readdir(proc)) != NULL;) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10), parent;
		char state;
		uint64_t started;
		if (pid <= 0 || !stat_read(pid, &state, &parent, &started) ||
			!is_family(r, pid, parent, started) || strchr("ZXx", state) != NULL)
			continue;
		map_put(&r->family, (uint64_t)pid, started);
		try_to_open(r, pid);
	}
	if (proc != NULL)
		closedir(proc);
}

/* --- looking --- */

enum py_result recordings_look(struct recordings *r)
{
	enum py_result worst = PY_OK;
	r->rounds += r->count > 0;
	for (size_t i = r->count; i-- > 0;) {
		pid_t pid = r->all[i]->pid;
		enum py_result result = recording_look(r->all[i]);
		if (result == PY_NO_PROCESS || (result != PY_OK && process_is_gone(pid)))
			drop(r, i);
		else if (result != PY_OK)
			worst = result;
	}
	if (r->follow || (r->count == 0 && !process_is_gone(r->root)))
		recordings_search(r, clock_now_ns());
	return r->count > 0 ? worst : PY_NO_PROCESS;
}

void recordings_end(struct recordings *r)
{
	for (size_t i = 0; i < r->count; i++)
		recording_end(r->all[i]);
	while (r->count > 0)
		drop(r, r->count - 1);
}

void recordings_samples_drop(struct recordings *r)
{
	r->profile->sample_count = 0;
	for (size_t i = 0; i < r->count; i++)
		recording_samples_gone(r->all[i]);
}

void recordings_clear(struct recordings *r)
{
	while (r->count > 0)
		drop(r, r->count - 1);
	free(r->all);
	profile_free(r->profile);
	map_clear(&r->family);
	map_clear(&r->tries);
	*r = (struct recordings){ 0 };
}
