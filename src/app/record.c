/* record.c - `slowproxy record`: looks at a process for a while and writes down where its time went.
 *
 *   attach or launch --> look, wait for the next beat, look ... --> write
 *                          until: the time is over, Ctrl-C, or the process ended
 *
 * The process is not stopped and not written to. Whatever ends the recording, what there is is written.
 */
#include "record.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <slowproxy/base/beat.h>
#include <slowproxy/base/clock.h>

#include "arguments.h"
#include "attach.h"
#include "formats.h"
#include "launch.h"
#include "record_options.h"
#include "recordings.h"

static const uint64_t start_step_ns = 2 * NS_PER_MS, progress_every_ns = 250 * NS_PER_MS,
		      absent_ns = 2 * NS_PER_S; /* a program that was exec'ed has so long to become Python */

enum { EXIT_BY_SIGNAL = 128 }; /* and its number, as shells have it */

struct record_run {
	const struct record_options *o;
	struct recordings recordings;
	struct launch launch;
	struct beat beat;
	uint64_t begin_ns, end_ns, worst_late_ns, progress_ns;
	uint64_t seen_ns; /* when there was a Python to look at */
	sigset_t signals; /* blocked, and taken while waiting */
	bool interrupted, target_ended, target_changed;
};

/* "4711-2026-11-23T010203.svg" or "app.py-...". */
static char *output_name(const struct record_options *o)
{
	struct buf name = { 0 };
	char day[32];
	time_t now = time(NULL);
	struct tm utc;
	strftime(day, sizeof day, "%Y-%m-%dT%H%M%S", gmtime_r(&now, &utc));
	const char *slash = o->command != NULL ? strrchr(o->command[0], '/') : NULL;
	if (o->command == NULL)
		buf_printf(&name, "%d", (int)o->pid);
	else
		buf_add_str(&name, slash != NULL ? slash + 1 : o->command[0]);
	buf_printf(&name, "-%s.%s", day, o->format->extension);
	return buf_take(&name);
}

/* Waits until then, or until a signal wants the end. */
static void wait_until(struct record_run *r, uint64_t until_ns)
{
	uint64_t left;
	do {
		uint64_t now = clock_now_ns();
		left = until_ns > now ? until_ns - now : 0; /* who is late looks for signals, too */
		struct timespec rest = { .tv_sec = (time_t)(left / NS_PER_S),
			.tv_nsec = (long)(left % NS_PER_S) };
		int which = sigtimedwait(&r->signals, NULL, &rest);
		r->interrupted = which == SIGINT || which == SIGTERM || which == SIGHUP;
		if (which == SIGCHLD && launch_ended(&r->launch))
			return;
	} while (!r->interrupted && left != 0);
}

/* With --subprocesses the process itself may be a shell, or anything that starts Python. */
static bool descendants_found(struct record_run *r)
{
	if (!r->o->subprocesses)
		return false;
	recordings_search(&r->recordings, clock_now_ns());
	return r->recordings.count > 0;
}

static bool begin(struct record_run *r)
{
	struct buf why = { 0 };
	struct py_process *python = NULL;
	pid_t pid = r->launch.pid != 0 ? r->launch.pid : r->o->pid;
	uint64_t asked_ns = clock_now_ns();
	enum py_result result;
	recordings_init(&r->recordings, pid, r->o->subprocesses, &r->o->wants, NS_PER_S / r->o->rate_hz);
	for (;;) {
		buf_reset(&why);
		result = py_process_open(pid, &python, &why);
		if (result == PY_OK && r->o->wants.blocking && !py_process_stoppable(python, &why)) {
			py_process_close(python);
			result = PY_DENIED;
		} else if (result == PY_OK)
			recordings_add(&r->recordings, python);
		else if (descendants_found(r))
			result = PY_OK;
		if (result == PY_OK || r->interrupted || launch_ended(&r->launch) ||
			!attach_worth_again(result, pid, r->launch.pid != 0, clock_now_ns() - asked_ns))
			break;
		wait_until(r, clock_now_ns() + start_step_ns);
	}
	if (result != PY_OK && launch_ended(&r->launch))
		fprintf(stderr, "slowproxy record: %s ended before its stacks could be read\n",
			r->o->command[0]);
	else if (result != PY_OK)
		fprintf(stderr, "slowproxy record: %s\n",
			why.len > 0 ? why.data : py_result_sentences[result]);
	buf_clear(&why);
	return result == PY_OK;
}

static void look(struct record_run *r)
{
	pid_t root = r->recordings.root;
	enum py_result result = recordings_look(&r->recordings);
	uint64_t now = clock_now_ns();
	if (result != PY_NO_PROCESS)
		r->seen_ns = now;
	r->target_ended = launch_ended(&r->launch) || (result != PY_OK && process_is_gone(root));
	r->target_changed = !r->target_ended && now - r->seen_ns > absent_ns;
}

static void progress(struct record_run *r, uint64_t now_ns)
{
	if (now_ns < r->progress_ns || !isatty(STDERR_FILENO))
		return;
	if (r->progress_ns == 0)
		fprintf(stderr,
			"slowproxy> Sampling process %d %u times a second. Press Control-C to exit.\n",
			(int)r->recordings.root, r->o->rate_hz);
	r->progress_ns = now_ns + progress_every_ns;
	fprintf(stderr, "\rslowproxy> %.1f s, Samples: %zu Errors: %llu%s ",
		(double)(now_ns - r->begin_ns) / (double)NS_PER_S, r->recordings.profile->sample_count,
		(unsigned long long)recordings_activity(&r->recordings).errors,
		r->recordings.count == 0 ? " (no Python there)" : "");
}

static void look_until_the_end(struct record_run *r)
{
	r->begin_ns = r->seen_ns = clock_now_ns();
	uint64_t until_ns = r->o->duration_ns != 0 ? r->begin_ns + r->o->duration_ns : UINT64_MAX;
	beat_init(&r->beat, NS_PER_S / r->o->rate_hz);
	beat_begin(&r->beat, r->begin_ns);
	while (!r->interrupted && !r->target_ended && !r->target_changed) {
		wait_until(r, MIN(r->beat.due_ns, until_ns));
		uint64_t now = clock_now_ns();
		if (r->interrupted || now >= until_ns)
			break;
		if (now > r->beat.due_ns)
			r->worst_late_ns = MAX(r->worst_late_ns, now - r->beat.due_ns);
		look(r);
		now = clock_now_ns();
		progress(r, now);
		beat_next(&r->beat, r->beat.period_ns, now);
	}
	r->end_ns = clock_now_ns();
	recordings_end(&r->recordings);
	if (r->progress_ns != 0)
		fputc('\n', stderr);
}

static void summary_print(const struct record_run *r, const char *output)
{
	const struct recordings *all = &r->recordings;
	fprintf(stderr, "slowproxy> Wrote %s to '%s'. Samples: %zu Errors: %llu\n", r->o->format->title,
		strcmp(output, "-") == 0 ? "standard output" : output, all->profile->sample_count,
		(unsigned long long)all->failed_looks);
	fprintf(stderr, "slowproxy> %llu looks in %.1f s, %llu missed, latest %.1f ms late\n",
		(unsigned long long)all->looks, (double)(r->end_ns - r->begin_ns) / (double)NS_PER_S,
		(unsigned long long)r->beat.missed, (double)r->worst_late_ns / (double)NS_PER_MS);
	if (r->o->subprocesses)
		fprintf(stderr, "slowproxy> %zu Python processes\n", all->processes);
	if (all->degraded != 0)
		fprintf(stderr,
			"slowproxy> %llu stacks could not be read whole; what is not sure is marked in them\n",
			(unsigned long long)all->degraded);
	if (all->replaced != 0)
		fprintf(stderr,
			"slowproxy> In %llu samples a function is <replaced>: its code was exchanged meanwhile\n",
			(unsigned long long)all->replaced);
	if (all->profile->sample_count == 0)
		fprintf(stderr, "slowproxy> No thread was %s; --idle includes those that wait\n",
			r->o->wants.gil ? "seen holding the GIL" : "seen running");
	if (r->target_ended)
		fputs("slowproxy> The process ended before the recording did\n", stderr);
	if (r->target_changed)
		fputs("slowproxy> The process became another program, which is not Python\n", stderr);
}

static bool profile_to_file(const struct record_run *r, const char *output)
{
	char title[64], seconds[32], rate[32];
	snprintf(title, sizeof title, "Python process %d", (int)r->recordings.root);
	snprintf(seconds, sizeof seconds, "%.1f s", (double)(r->end_ns - r->begin_ns) / (double)NS_PER_S);
	snprintf(rate, sizeof rate, "%u a second", r->o->rate_hz);
	const struct profile_fact facts[] = {
		{ "Process", title + sizeof "Python process" },
		{ "Python", r->recordings.version },
		{ "Recorded", seconds },
		{ "Looks", rate },
	};
	const struct profile_view view = {
		.title = title,
		.facts = facts,
		.fact_count = ARRAY_LEN(facts),
		.begin_ns = r->begin_ns,
		.end_ns = r->end_ns,
		.lanes = r->o->threads,
		.idle = true, /* what was not wanted was not kept */
		.no_lines = r->o->wants.no_lines,
		.period_ns = NS_PER_S / r->o->rate_hz,
	};
	struct buf text = { 0 };
	r->o->format->write(r->recordings.profile, &view, &text);
	bool good = format_write_file(output, &text, "record");
	buf_clear(&text);
	return good;
}

static void signals_block(struct record_run *r)
{
	sigemptyset(&r->signals);
	sigaddset(&r->signals, SIGINT);
	sigaddset(&r->signals, SIGTERM);
	sigaddset(&r->signals, SIGHUP);
	sigaddset(&r->signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &r->signals, NULL);
}

/* What the command ended with, when it did so by itself; else 0. */
static int command_status(const struct record_run *r)
{
	int status = r->launch.status;
	if (r->o->command == NULL || !r->target_ended || status == 0)
		return EXIT_SUCCESS;
	bool killed = WIFSIGNALED(status);
	fprintf(stderr, "slowproxy> %s ended with %s %d\n", r->o->command[0], killed ? "signal" : "status",
		killed ? WTERMSIG(status) : WEXITSTATUS(status));
	return killed ? EXIT_BY_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

static int record(const struct record_options *o, const char *output)
{
	struct record_run r = { .o = o };
	if (!format_file_possible(output, "record"))
		return EXIT_FAILURE;
	signals_block(&r);
	if (o->command != NULL && !launch_start(&r.launch, o->command, "record"))
		return r.launch.status;
	bool good = begin(&r);
	if (good) {
		look_until_the_end(&r);
		good = profile_to_file(&r, output);
	}
	if (good)
		summary_print(&r, output);
	launch_stop(&r.launch);
	int status = good ? command_status(&r) : EXIT_FAILURE;
	recordings_clear(&r.recordings);
	return status;
}

int record_main(int argc, char **argv)
{
	struct record_options options;
	if (!record_options_take(argc, argv, &options)) {
		record_usage_print(stderr);
		return EXIT_USAGE;
	}
	if (options.help) {
		record_usage_print(stdout);
		return EXIT_SUCCESS;
	}
	char *output = options.output != NULL ? xstrdup(options.output) : output_name(&options);
	int status = record(&options, output);
	free(output);
	return status;
}
