/* record_options.c - what `slowproxy record` is asked for. */
#include "record_options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>

#include "arguments.h"

enum { RATE_DEFAULT = 100, RATE_MAX = 10000 };

static const double seconds_max = 1e8;

static const char usage[] =
	"Usage: slowproxy record --pid PID -o FILE [options]\n"
	"       slowproxy record -o FILE [options] -- python app.py\n"
	"\n"
	"Looks at a running Python process many times a second, without stopping it, and writes down where its time went.\n"
	"\n";

void record_usage_print(FILE *out)
{
	fputs(usage, out);
	arguments_print(TOOL_RECORD, out);
	fputs("\nFormats: ", out);
	formats_list(out);
	fputs(".\n", out);
}

bool seconds_parse(const char *text, uint64_t *ns)
{
	char *end;
	double seconds = strtod(text, &end);
	if (end == text || *end != '\0' || !isfinite(seconds) || seconds <= 0 || seconds > seconds_max)
		return false;
	*ns = (uint64_t)(seconds * (double)NS_PER_S);
	return true;
}

bool rate_parse(const char *text, uint32_t *hz)
{
	char *end;
	long rate = strtol(text, &end, 10);
	if (end == text || *end != '\0' || rate < 1 || rate > RATE_MAX)
		return false;
	*hz = (uint32_t)rate;
	return true;
}

static bool refuse(const char *value, const char *sentence)
{
	fprintf(stderr, "slowproxy record: %s: %s\n", value, sentence);
	return false;
}

/* "unlimited" is py-spy's word for what happens anyway. */
static bool values_take(const struct arguments *a, struct record_options *o)
{
	const char *pid = a->given[FLAG_PID], *format = a->given[FLAG_FORMAT],
		   *duration = a->given[FLAG_DURATION], *rate = a->given[FLAG_RATE];
	if (pid != NULL && (o->pid = pid_parse(pid)) == 0)
		return refuse(pid, "is not a process id");
	if (format != NULL && (o->format = format_of_name(format)) == NULL)
		return refuse(format, "is not a format we write");
	if (duration != NULL && strcmp(duration, "unlimited") != 0 &&
		!seconds_parse(duration, &o->duration_ns))
		return refuse(duration, "is not a number of seconds");
	if (rate != NULL && !rate_parse(rate, &o->rate_hz))
		return refuse(rate, "is not a rate from 1 to 10000 looks a second");
	return true;
}

bool record_options_take(int argc, char **argv, struct record_options *o)
{
	struct arguments a;
	*o = (struct record_options){ .rate_hz = RATE_DEFAULT };
	if (!arguments_take(TOOL_RECORD, argc, argv, &a) || !values_take(&a, o))
		return false;
	o->help = a.given[FLAG_HELP] != NULL;
	if (o->help)
		return true;
	o->output = a.given[FLAG_OUTPUT];
	o->command = a.rest;
	o->threads = a.given[FLAG_THREADS] != NULL;
	o->subprocesses = a.given[FLAG_SUBPROCESSES] != NULL;
	o->wants = (struct recording_wants){
		.idle = a.given[FLAG_IDLE] != NULL,
		.gil = a.given[FLAG_GIL] != NULL,
		.tasks = a.given[FLAG_TASKS] != NULL,
		.functions = a.given[FLAG_FUNCTION] != NULL,
		.no_lines = a.given[FLAG_NOLINENO] != NULL,
		.native = a.given[FLAG_NATIVE] != NULL,
		.blocking = a.given[FLAG_BLOCKING] != NULL,
		.full_filenames = a.given[FLAG_FULL_FILENAMES] != NULL,
	};
	if ((o->pid == 0) == (o->command == NULL)) {
		fputs("slowproxy record: which process? Either --pid PID or -- COMMAND\n", stderr);
		return false;
	}
	if (o->format == NULL)
		o->format = format_of_file(o->output);
	o->wants.full_filenames |= o->format->full_filenames;
	o->wants.functions |= o->format->functions;
	return true;
}
