/* record_options.h - what `slowproxy record` is asked for. */
#ifndef APP_RECORD_OPTIONS_H
#define APP_RECORD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "formats.h"
#include "recording.h"

struct record_options {
	pid_t pid;      /* 0: there is a command */
	char **command; /* NULL: none */
	const char *output;
	const struct format *format;
	uint64_t duration_ns; /* 0: until Ctrl-C */
	uint32_t rate_hz;
	bool threads, subprocesses, help;
	struct recording_wants wants;
};

/* false: it has been said what is wrong. */
bool record_options_take(int argc, char **argv, struct record_options *out);
void record_usage_print(FILE *out);

/* "12.5" -> ns; false: that is no number of seconds. */
bool seconds_parse(const char *text, uint64_t *ns);
/* Looks a second; false: not a number, or not one from 1 to 10000. */
bool rate_parse(const char *text, uint32_t *hz);

#endif
