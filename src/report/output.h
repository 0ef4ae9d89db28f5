/* output.h - where lines go: stdout, stderr, a file that is only appended to, or nowhere. Used by the writer thread alone. */
#ifndef SLOWPROXY_REPORT_OUTPUT_H
#define SLOWPROXY_REPORT_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/log.h>
#include <slowproxy/base/mem.h>

struct output {
	const char *target; /* as configured; lent */
	int fd;             /* -1: off, or it could not be opened */
	int why;            /* errno of that */
	uint64_t tried_ns;  /* when it was */
	bool is_file;       /* a regular one: takes any line at once */
	bool colour;        /* a terminal that wants colours */
	enum log_form form; /* of its lines; LOG_PLAIN: for a person */
};

/* false: the file could not be opened, errno says why. Each second in which lines come it is tried again. */
MUST_CHECK bool output_open(struct output *o, const char *target);
void output_close(struct output *o);
bool output_is_off(const char *target); /* nobody wants its lines */

/* Asked while a reader keeps us waiting; true: give up. */
typedef bool (*output_impatient)(void *context);

enum output_result { OUTPUT_WRITTEN, OUTPUT_FAILED, OUTPUT_GAVE_UP };
/* Writes all of it. Waits for a slow reader, but asks now and then whether to go on waiting. errno says why it failed. */
MUST_CHECK enum output_result output_write(
	struct output *o, const char *bytes, size_t len, output_impatient impatient, void *context);

#endif
