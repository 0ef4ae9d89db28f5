/* top_screen.h - the terminal `slowproxy top` draws on, through ncurses. */
#ifndef APP_TOP_SCREEN_H
#define APP_TOP_SCREEN_H

#include <stdbool.h>

#include "top_table.h"

enum top_key {
	TOP_NOTHING,
	TOP_QUIT,
	TOP_PAUSE,
	TOP_RESET,
	TOP_LINES,
	TOP_HELP,
	TOP_MORE,
	TOP_LESS,
	TOP_SORT,
	TOP_REDRAW
};

/* Everything to be drawn. Lent. */
struct top_view {
	const struct profile *profile;
	const struct top_table *table;
	const char *title; /* "Process 4711: Python 3.11.2" */
	const char *command;
	const char *notice; /* NULL: none */
	double seconds_per_sample;
	double gil, active; /* of the looks of the last interval: 1.0 is all the time, of one thread */
	unsigned threads;
	uint32_t rate_hz;
	uint64_t errors;
	bool lines, paused, help, idle;
	enum top_sort sort;
	unsigned first; /* row shown on top */
};

/* false: it has been said why not. */
bool top_screen_open(void);
void top_screen_close(void);
void top_screen_draw(const struct top_view *view);
/* What was typed, without waiting; *sort is set for TOP_SORT. */
enum top_key top_screen_key(enum top_sort *sort);

#endif
