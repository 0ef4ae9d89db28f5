/* top.c - `slowproxy top`: where the time of a process goes, on the terminal, as it goes.
 *
 *   look, look, look ... (a second) --> counted into the table --> drawn; samples are forgotten, names stay
 *     └── between two looks: keys
 */
#include "top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <slowproxy/base/beat.h>
#include <slowproxy/base/clock.h>

#include "arguments.h"
#include "attach.h"
#include "launch.h"
#include "record_options.h"
#include "recordings.h"
#include "top_screen.h"

enum { RATE_DEFAULT = 100, OUTPUT_SHOWN_MAX = 64 << 10 };

static const char usage[] =
	"Usage: slowproxy top --pid PID [options]\n"
	"       slowproxy top [options] -- python app.py\n"
	"\n"
	"Shows, as it goes, in which functions and lines a running Python process spends its time, without stopping it.\n"
	"\n";

struct top {
	struct recordings recordings;
	struct launch launch; /* the command, when it is ours */
	int output;           /* what it wrote; 0: it is not ours */
	struct top_table table;
	struct top_view view;
	struct beat beat;
	uint64_t delay_ns, drawn_ns;
	struct activity at_drawing; /* of all looks until then */
	char title[96], command[512];
	bool ended, quit;
};

static volatile sig_atomic_t told_to_end;

static void on_end(int signal)
{
	(void)signal;
	told_to_end = 1;
}

/* --- options --- */

static bool refuse(const char *value, const char *sentence)
{
	fprintf(stderr, "slowproxy top: %s: %s\n", value, sentence);
	return false;
}

static bool values_take(const struct arguments *a, uint32_t *rate_hz, uint64_t *delay_ns)
{
	const char *rate = a->given[FLAG_RATE], *delay = a->given[FLAG_DELAY];
	*rate_hz = RATE_DEFAULT;
	*delay_ns = NS_PER_S;
	if (rate != NULL && !rate_parse(rate, rate_hz))
		return refuse(rate, "is not a rate from 1 to 10000 looks a second");
	if (delay != NULL && !seconds_parse(delay, delay_ns))
		return refuse(delay, "is not a number of seconds");
	return true;
}

static void usage_print(FILE *out)
{
	fputs(usage, out);
	arguments_print(TOOL_TOP, out);
}

/* --- looking and drawing --- */

static void draw(struct top *t)
{
	t->view.profile = t->recordings.profile;
	t->view.table = &t->table;
	t->view.notice = t->ended ? "The process has ended: q quits" : NULL;
	top_screen_draw(&t->view);
}

/* An interval is over: its samples become numbers. */
static void count(struct top *t, uint64_t now_ns)
{
	struct activity now = recordings_activity(&t->recordings), *then = &t->at_drawing;
	double looks = (double)(now.looks - then->looks);
	t->drawn_ns = now_ns;
	if (now.looks > then->looks) {
		top_table_take(&t->table, t->recordings.profile, now.looks - then->looks);
		t->view.gil = (double)(now.gil - then->gil) / looks;
		t->view.active = (double)(now.active - then->active) / looks;
	}
	t->view.threads = now.threads;
	t->view.errors = now.errors;
	*then = now;
	recordings_samples_drop(&t->recordings);
	draw(t);
}

static void look(struct top *t)
{
	if ((recordings_look(&t->recordings) != PY_OK && process_is_gone(t->recordings.root)) ||
		launch_ended(&t->launch)) {
		t->ended = true;
		count(t, clock_now_ns());
	}
}

static void obey(struct top *t, enum top_key key)
{
	struct top_view *v = &t->view;
	bool helped = v->help;
	v->help = false;
	switch (key) {
	case TOP_QUIT:
		t->quit = true;
		break;
	case TOP_PAUSE:
		v->paused = !v->paused;
		beat_begin(&t->beat, clock_now_ns());
		break;
	case TOP_RESET:
		top_table_reset(&t->table);
		break;
	case TOP_LINES:
		v->lines = !v->lines;
		v->first = 0;
		break;
	case TOP_HELP:
		v->help = !helped;
		break;
	case TOP_MORE:
		v->first += v->first + 1 < t->table.frames;
		break;
	case TOP_LESS:
		v->first -= v->first > 0;
		break;
	case TOP_SORT:
	case TOP_REDRAW:
	case TOP_NOTHING:
		break;
	}
	draw(t);
}

/* Until then, or until a key or a signal. */
static void wait_for(uint64_t until_ns)
{
	struct pollfd keys = { STDIN_FILENO, POLLIN, 0 };
	uint64_t now = clock_now_ns(), left = until_ns > now ? until_ns - now : 0;
	const struct timespec rest = { .tv_sec = (time_t)(left / NS_PER_S),
		.tv_nsec = (long)(left % NS_PER_S) };
	if (ppoll(&keys, 1, &rest, NULL) > 0 && (keys.revents & (POLLHUP | POLLERR)) != 0)
		told_to_end = 1; /* the terminal is gone */
}

static void run(struct top *t)
{
	beat_init(&t->beat, t->recordings.period_ns);
	beat_begin(&t->beat, clock_now_ns());
	t->drawn_ns = clock_now_ns();
	draw(t);
	while (!t->quit && !told_to_end) {
		bool idle = t->view.paused || t->ended;
		wait_for(idle ? clock_now_ns() + NS_PER_S : t->beat.due_ns);
		enum top_key key = top_screen_key(&t->view.sort);
		if (key != TOP_NOTHING)
			obey(t, key);
		uint64_t now = clock_now_ns();
		if (idle || now < t->beat.due_ns)
			continue;
		look(t);
		now = clock_now_ns();
		beat_next(&t->beat, t->beat.period_ns, now);
		if (!t->ended && now - t->drawn_ns >= t->delay_ns)
			count(t, now);
	}
}

static void listen_to_signals(void)
{
	const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = on_end };
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		sigaction(ends[i], &action, NULL);
}

/* A command of ours writes to a file without a name while the screen is ours; it is shown when that is given back. */
static bool command_start(struct top *t, char **command)
{
	t->output = memfd_create("output", MFD_CLOEXEC);
	if (t->output <= 0) {
		fprintf(stderr, "slowproxy top: no room for what %s writes: %s\n", command[0],
			strerror(errno));
		t->launch.status = EXIT_FAILURE;
		return false;
	}
	return launch_start_as(
		&t->launch, command, &(struct launch_wants){ .who = "top", .output = t->output });
}

static void command_end(struct top *t)
{
	char part[4096];
	if (t->output <= 0)
		return;
	launch_stop(&t->launch);
	off_t end = lseek(t->output, 0, SEEK_END), at = MAX(end - OUTPUT_SHOWN_MAX, (off_t)0);
	if (at > 0)
		fputs("slowproxy top: the last of what it wrote:\n", stderr);
	for (ssize_t n; (n = pread(t->output, part, sizeof part, at)) > 0; at += n)
		fwrite(part, 1, (size_t)n, stderr);
	close(t->output);
}

static bool begin(struct top *t, pid_t pid, const struct arguments *a, uint32_t rate_hz)
{
	struct buf why = { 0 };
	struct py_process *python;
	const struct recording_wants wants = {
		.idle = a->given[FLAG_IDLE] != NULL,
		.gil = a->given[FLAG_GIL] != NULL,
		.full_filenames = a->given[FLAG_FULL_FILENAMES] != NULL,
		.native = a->given[FLAG_NATIVE] != NULL,
		.blocking = a->given[FLAG_BLOCKING] != NULL,
	};
	bool ours = t->launch.pid != 0;
	enum py_result result = attach(pid, ours ? &t->launch : NULL, &python, &why);
	if (result == PY_OK && wants.blocking && !py_process_stoppable(python, &why)) {
		py_process_close(python);
		result = PY_DENIED;
	}
	if (result != PY_OK && ours && launch_ended(&t->launch))
		fprintf(stderr, "slowproxy top: %s ended before its stacks could be read\n", a->rest[0]);
	else if (result != PY_OK)
		fprintf(stderr, "slowproxy top: %s\n", why.len > 0 ? why.data : py_result_sentences[result]);
	buf_clear(&why);
	if (result != PY_OK)
		return false;
	recordings_init(&t->recordings, pid, a->given[FLAG_SUBPROCESSES] != NULL, &wants, NS_PER_S / rate_hz);
	recordings_add(&t->recordings, python);
	snprintf(t->title, sizeof t->title, "Process %d: Python %s", (int)pid, t->recordings.version);
	command_read(pid, t->command, sizeof t->command);
	t->view = (struct top_view){ .title = t->title,
		.command = t->command,
		.seconds_per_sample = 1.0 / rate_hz,
		.rate_hz = rate_hz,
		.idle = wants.idle };
	return true;
}

static int top(pid_t pid, const struct arguments *a, uint32_t rate_hz, uint64_t delay_ns)
{
	struct top t = { .delay_ns = delay_ns };
	if (a->rest != NULL && !command_start(&t, a->rest))
		return t.launch.status;
	listen_to_signals();
	bool good = begin(&t, a->rest != NULL ? t.launch.pid : pid, a, rate_hz);
	if (good) {
		good = top_screen_open();
		if (good)
			run(&t);
		top_screen_close();
		recordings_clear(&t.recordings);
	}
	top_table_clear(&t.table);
	command_end(&t);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

int top_main(int argc, char **argv)
{
	struct arguments a;
	uint32_t rate_hz;
	uint64_t delay_ns;
	bool understood = arguments_take(TOOL_TOP, argc, argv, &a) && values_take(&a, &rate_hz, &delay_ns);
	if (understood && a.given[FLAG_HELP] != NULL) {
		usage_print(stdout);
		return EXIT_SUCCESS;
	}
	bool command = understood && a.rest != NULL && a.given[FLAG_PID] == NULL;
	pid_t pid = understood && !command ? arguments_pid(&a, "top") : 0;
	if (pid == 0 && !command) {
		usage_print(stderr);
		return EXIT_USAGE;
	}
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		fputs("slowproxy top: it draws on a terminal, and this is none; `slowproxy record -f raw -o -` writes the same as text\n",
			stderr);
		return EXIT_FAILURE;
	}
	return top(pid, &a, rate_hz, delay_ns);
}
