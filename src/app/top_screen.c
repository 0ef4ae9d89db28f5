/* top_screen.c - the terminal `slowproxy top` draws on, through ncurses. */
#include "top_screen.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef SLOWPROXY_NCURSES

#include <ncurses.h>

enum { HEADER_ROWS = 5, PAIR_HEAD = 1, PAIR_HOT, PAIR_NOTICE, COLUMNS_BYTES = 44 };

static SCREEN *screen;
static bool wide; /* the terminal takes UTF-8 */

static const struct {
	int key;
	enum top_key means;
	enum top_sort sort;
	const char *help;
} keys[] = {
	{ '1', TOP_SORT, TOP_BY_OWN, "1   sort by %Own: on top of the stack, in the last interval" },
	{ '2', TOP_SORT, TOP_BY_ALL, "2   sort by %Total: anywhere in the stack, in the last interval" },
	{ '3', TOP_SORT, TOP_BY_OWN_TIME, "3   sort by OwnTime: on top of the stack, since the beginning" },
	{ '4', TOP_SORT, TOP_BY_ALL_TIME,
		"4   sort by TotalTime: anywhere in the stack, since the beginning" },
	{ 'l', TOP_LINES, 0, "l   functions, or lines" },
	{ 'p', TOP_PAUSE, 0, "p   pause, and go on" },
	{ ' ', TOP_PAUSE, 0, NULL },
	{ 'r', TOP_RESET, 0, "r   all times to zero" },
	{ KEY_DOWN, TOP_MORE, 0, "up, down   the rows that do not fit" },
	{ 'j', TOP_MORE, 0, NULL },
	{ KEY_UP, TOP_LESS, 0, NULL },
	{ 'k', TOP_LESS, 0, NULL },
	{ '?', TOP_HELP, 0, "?   this help" },
	{ 'h', TOP_HELP, 0, NULL },
	{ 'q', TOP_QUIT, 0, "q   quit" },
	{ 3, TOP_QUIT, 0, NULL }, /* Ctrl-C, where it comes as a character */
	{ KEY_RESIZE, TOP_REDRAW, 0, NULL },
};

bool top_screen_open(void)
{
	const char *no_colour = getenv("NO_COLOR");
	setlocale(LC_CTYPE, "");
	wide = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	screen = newterm(NULL, stdout, stdin);
	if (screen == NULL) {
		fprintf(stderr, "slowproxy top: the terminal %s is not known here; TERM names it\n",
			getenv("TERM") != NULL ? getenv("TERM") : "(without a name)");
		return false;
	}
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	curs_set(0);
	if (has_colors() && (no_colour == NULL || no_colour[0] == '\0')) {
		start_color();
		use_default_colors();
		init_pair(PAIR_HEAD, COLOR_CYAN, -1);
		init_pair(PAIR_HOT, COLOR_RED, -1);
		init_pair(PAIR_NOTICE, COLOR_YELLOW, -1);
	}
	return true;
}

void top_screen_close(void)
{
	if (screen == NULL)
		return;
	endwin();
	delscreen(screen);
	screen = NULL;
}

/* What a process calls its functions must not steer the terminal, nor be more than it can show. */
static void add_clean(int row, int column, int columns, const char *text)
{
	char clean[1024];
	size_t n = 0;
	for (; *text != '\0' && n + 1 < sizeof clean; text++) {
		unsigned char c = (unsigned char)*text;
		clean[n++] = c < 0x20 || c == 0x7f || (c >= 0x80 && !wide) ? '?' : (char)c;
	}
	clean[n] = '\0';
	if (columns > 0)
		mvaddnstr(row, column, clean, columns);
}

static void draw_header(const struct top_view *v)
{
	char text[512];
	attron(A_BOLD);
	add_clean(0, 0, COLS, v->title);
	attroff(A_BOLD);
	add_clean(1, 0, COLS, v->command);
	snprintf(text, sizeof text,
		"GIL: %.2f%%, Active: %.2f%%, Threads: %u, Rate: %u/s, Samples: %llu, Errors: %llu%s",
		v->gil * 100, v->active * 100, v->threads, v->rate_hz, (unsigned long long)v->table->samples,
		(unsigned long long)v->errors, v->idle ? ", with idle threads" : "");
	add_clean(2, 0, COLS, text);
	if (v->notice != NULL || v->paused) {
		attron(COLOR_PAIR(PAIR_NOTICE) | A_BOLD);
		add_clean(3, 0, COLS, v->notice != NULL ? v->notice : "PAUSED: p goes on");
		attroff(COLOR_PAIR(PAIR_NOTICE) | A_BOLD);
	} else {
		add_clean(3, 0, COLS, "q quit  p pause  l lines  1-4 sort  r reset  ? help");
	}
}

static void draw_heads(const struct top_view *v)
{
	static const char *const heads[TOP_SORT_COUNT] = { [TOP_BY_OWN] = "%Own",
		[TOP_BY_ALL] = "%Total",
		[TOP_BY_OWN_TIME] = "OwnTime",
		[TOP_BY_ALL_TIME] = "TotalTime" };
	char text[64];
	attron(A_REVERSE);
	mvhline(HEADER_ROWS - 1, 0, ' ', COLS);
	for (int i = 0; i < TOP_SORT_COUNT; i++) {
		snprintf(text, sizeof text, "%10s", heads[i]);
		attrset(A_REVERSE | (i == (int)v->sort ? A_BOLD | A_UNDERLINE : 0));
		add_clean(HEADER_ROWS - 1, i * 11, COLS - i * 11, text);
	}
	attrset(A_REVERSE);
	add_clean(HEADER_ROWS - 1, COLUMNS_BYTES + 1, COLS - COLUMNS_BYTES - 1,
		v->lines ? "Line (file:line)" : "Function (file)");
	attrset(A_NORMAL);
}

static void draw_row(const struct top_view *v, const struct top_row *row, int at)
{
	const struct profile_frame *f = &v->profile->frames[row->frame];
	double looks = v->table->looks != 0 ? (double)v->table->looks : 1;
	double own = 100 * (double)row->own / looks, all = 100 * (double)row->all / looks;
	char numbers[64], name[768];
	snprintf(numbers, sizeof numbers, "%9.2f%% %9.2f%% %9.2fs %9.2fs", own, all,
		(double)row->own_sum * v->seconds_per_sample, (double)row->all_sum * v->seconds_per_sample);
	if (v->lines && f->line != 0)
		snprintf(name, sizeof name, "%s (%s:%u)", f->function, f->file, f->line);
	else if (f->file[0] != '\0')
		snprintf(name, sizeof name, "%s (%s)", f->function, f->file);
	else
		snprintf(name, sizeof name, "%s", f->function);
	int paint = own >= 50 ? COLOR_PAIR(PAIR_HOT) | A_BOLD : own > 0 ? A_BOLD : all > 0 ? A_NORMAL : A_DIM;
	attron(paint);
	add_clean(at, 0, COLS, numbers);
	attroff(paint);
	attron(COLOR_PAIR(PAIR_HEAD));
	add_clean(at, COLUMNS_BYTES + 1, COLS - COLUMNS_BYTES - 1, name);
	attroff(COLOR_PAIR(PAIR_HEAD));
}

static void draw_help(void)
{
	int row = HEADER_ROWS;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (keys[i].help != NULL && row < LINES)
			add_clean(row++, 2, COLS - 2, keys[i].help);
	if (row + 1 < LINES)
		add_clean(row + 1, 2, COLS - 2, "100 % is one thread, all the time. Any other key: back.");
}

void top_screen_draw(const struct top_view *v)
{
	size_t count;
	struct top_row *rows = top_table_sorted(v->table, v->lines, v->sort, &count);
	erase();
	draw_header(v);
	if (v->help) {
		draw_help();
	} else {
		draw_heads(v);
		for (size_t i = v->first; i < count && HEADER_ROWS + (int)(i - v->first) < LINES; i++)
			draw_row(v, &rows[i], HEADER_ROWS + (int)(i - v->first));
	}
	refresh();
	free(rows);
}

enum top_key top_screen_key(enum top_sort *sort)
{
	int c = getch();
	if (c == ERR)
		return TOP_NOTHING;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (keys[i].key != c)
			continue;
		*sort = keys[i].means == TOP_SORT ? keys[i].sort : *sort;
		return keys[i].means;
	}
	return TOP_REDRAW;
}

#else /* built without ncurses */

bool top_screen_open(void)
{
	fputs("slowproxy top: this build has no ncurses: it was not there when it was built (libncurses-dev)\n",
		stderr);
	return false;
}

void top_screen_close(void)
{
}

void top_screen_draw(const struct top_view *view)
{
	(void)view;
}

enum top_key top_screen_key(enum top_sort *sort)
{
	(void)sort;
	return TOP_QUIT;
}

#endif
