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
#include "recording.h"

static const uint64_t start_step_ns = 2 * NS_PER_MS, progress_every_ns = 250 * NS_PER_MS;

struct record_run {
	const struct record_options *o;
	struct recording recording;
	struct launch launch;
	struct beat beat;
	uint64_t begin_ns, end_ns, worst_late_ns, progress_ns;
	sigset_t signals; /* blocked, and taken while waiting */
	bool interrupted, target_ended;
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

static bool begin(struct record_run *r)
{
	struct buf why = { 0 };
	struct py_process *python = NULL;
	pid_t pid = r->launch.pid != 0 ? r->launch.pid : r->o->pid;
	uint64_t asked_ns = clock_now_ns();
	enum py_result result;
	for (;;) {
		buf_reset(&why);
		result = py_process_open(pid, &python, &why);
		if (result == PY_OK || r->interrupted || launch_ended(&r->launch) ||
			!attach_worth_again(result, pid, r->launch.pid != 0, clock_now_ns() - asked_ns))
			break;
		wait_until(r, clock_now_ns() + start_step_ns);
	}
	if (result == PY_OK)
		recording_init(&r->recording, python, &r->o->wants, NS_PER_S / r->o->rate_hz);
	else if (launch_ended(&r->launch))
		fprintf(stderr, "slowproxy record: %s ended before its stacks could be read\n",
			r->o->command[0]);
	else
		fprintf(stderr, "slowproxy record: %s\n",
			why.len > 0 ? why.data : py_result_sentences[result]);
	buf_clear(&why);
	return result == PY_OK;
}

/* A process that ended and was not waited for by its parent is still there, without memory. */
static bool target_is_gone(struct record_run *r)
{
	if (launch_ended(&r->launch))
		return true;
	char path[64], line[512] = "";
	snprintf(path, sizeof path, "/proc/%d/stat", (int)py_process_pid(r->recording.python));
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return true;
	const char *name_end = fgets(line, sizeof line, f) != NULL ? strrchr(line, ')') : NULL;
	fclose(f);
	return name_end == NULL || (name_end[1] == ' ' && strchr("ZXx", name_end[2]) != NULL);
}

static void progress(struct record_run *r, uint64_t now_ns)
{
	if (now_ns < r->progress_ns || !isatty(STDERR_FILENO))
		return;
	r->progress_ns = now_ns + progress_every_ns;
	fprintf(stderr, "\rRecording process %d: %.1f s, %zu samples, %llu errors; Ctrl-C ends it ",
		(int)py_process_pid(r->recording.python), (double)(now_ns - r->begin_ns) / (double)NS_PER_S,
		r->recording.profile->sample_count, (unsigned long long)r->recording.failed_looks);
}

static void look_until_the_end(struct record_run *r)
{
	r->begin_ns = clock_now_ns();
	uint64_t until_ns = r->o->duration_ns != 0 ? r->begin_ns + r->o->duration_ns : UINT64_MAX;
	beat_init(&r->beat, NS_PER_S / r->o->rate_hz);
	beat_begin(&r->beat, r->begin_ns);
	while (!r->interrupted && !r->target_ended) {
		wait_until(r, MIN(r->beat.due_ns, until_ns));
		uint64_t now = clock_now_ns();
		if (r->interrupted || now >= until_ns)
			break;
		if (now > r->beat.due_ns)
			r->worst_late_ns = MAX(r->worst_late_ns, now - r->beat.due_ns);
		enum py_result result = recording_look(&r->recording);
		r->target_ended = result == PY_NO_PROCESS || (result != PY_OK && target_is_gone(r)) ||
				  launch_ended(&r->launch);
		now = clock_now_ns();
		progress(r, now);
		beat_next(&r->beat, r->beat.period_ns, now);
	}
	r->end_ns = clock_now_ns();
	if (!r->target_ended)
		recording_end(&r->recording);
	if (r->progress_ns != 0)
		fputc('\n', stderr);
}

static void summary_print(const struct record_run *r, const char *output)
{
	const struct recording *rec = &r->recording;
	fprintf(stderr,
		"slowproxy record: wrote %s to %s: %zu samples of %llu looks in %.1f s, %llu errors, "
		"%llu looks missed, latest %.1f ms late\n",
		r->o->format->title, strcmp(output, "-") == 0 ? "standard output" : output,
		rec->profile->sample_count, (unsigned long long)rec->looks,
		(double)(r->end_ns - r->begin_ns) / (double)NS_PER_S, (unsigned long long)rec->failed_looks,
		(unsigned long long)r->beat.missed, (double)r->worst_late_ns / (double)NS_PER_MS);
	if (rec->degraded != 0)
		fprintf(stderr, "  %llu stacks could not be read whole; what is not sure is marked in them\n",
			(unsigned long long)rec->degraded);
	if (rec->replaced != 0)
		fprintf(stderr,
			"  in %llu samples a function is <replaced>: its code was exchanged meanwhile\n",
			(unsigned long long)rec->replaced);
	if (rec->profile->sample_count == 0)
		fprintf(stderr, "  no thread was %s; --idle includes those that wait\n",
			r->o->wants.gil ? "seen holding the GIL" : "seen running");
	if (r->target_ended)
		fputs("  the process ended before the recording did\n", stderr);
}

static bool profile_to_file(const struct record_run *r, const char *output)
{
	char title[64], seconds[32], rate[32];
	snprintf(title, sizeof title, "Python process %d", (int)py_process_pid(r->recording.python));
	snprintf(seconds, sizeof seconds, "%.1f s", (double)(r->end_ns - r->begin_ns) / (double)NS_PER_S);
	snprintf(rate, sizeof rate, "%u a second", r->o->rate_hz);
	const struct profile_fact facts[] = {
		{ "Process", title + sizeof "Python process" },
		{ "Python", py_process_version(r->recording.python) },
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
	};
	struct buf text = { 0 };
	r->o->format->write(r->recording.profile, &view, &text);
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

static bool record(const struct record_options *o, const char *output)
{
	struct record_run r = { .o = o };
	if (!format_file_possible(output, "record"))
		return false;
	signals_block(&r);
	if (o->command != NULL && !launch_start(&r.launch, o->command, "record"))
		return false;
	bool good = begin(&r);
	if (good) {
		look_until_the_end(&r);
		good = profile_to_file(&r, output);
	}
	if (good)
		summary_print(&r, output);
	launch_stop(&r.launch);
	if (good && o->command != NULL && r.target_ended && r.launch.ended && r.launch.status != 0)
		fprintf(stderr, "  %s ended with %s %d\n", o->command[0],
			WIFSIGNALED(r.launch.status) ? "signal" : "status",
			WIFSIGNALED(r.launch.status) ? WTERMSIG(r.launch.status)
						     : WEXITSTATUS(r.launch.status));
	recording_clear(&r.recording);
	return good;
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
	bool good = record(&options, output);
	free(output);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
