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
	int fd;             /* -1: off */
	bool is_file;       /* a regular one: takes any line at once */
	bool colour;        /* a terminal that wants colours */
	enum log_form form; /* of its lines; LOG_PLAIN: for a person */
};

/* false: the file could not be opened, errno says why; the output is then off. */
MUST_CHECK bool output_open(struct output *o, const char *target);
void output_close(struct output *o);

/* Asked while a reader keeps us waiting; true: give up. */
typedef bool (*output_impatient)(void *context);

enum output_result { OUTPUT_WRITTEN, OUTPUT_FAILED, OUTPUT_GAVE_UP };
/* Writes all of it. Waits for a slow reader, but asks now and then whether to go on waiting. errno says why it failed. */
MUST_CHECK enum output_result output_write(
	struct output *o, const char *bytes, size_t len, output_impatient impatient, void *context);

#endif
