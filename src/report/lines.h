/* lines.h - the texts of the report room: one exchange as JSON, as a sentence, as a few lines for a terminal. All pure. */
#ifndef SLOWPROXY_REPORT_LINES_H
#define SLOWPROXY_REPORT_LINES_H

#include <slowproxy/base/json.h>
#include <slowproxy/report.h>

enum {
	SLOW_LINE_MAX_BYTES = 12 * 1024 - 1,
	PATH_MAX_BYTES =
		1024, /* all as escaped in JSON; where together they would be too long, each gets less */
	FILE_MAX_BYTES = 768,
	STACK_MAX_BYTES = 2560,
	CULPRIT_STACK_MAX_BYTES = 1280,
	SENTENCE_MAX_BYTES = 768,
	NAME_MAX_BYTES = 512,
	REASON_MAX_BYTES = 384,
	WORD_MAX_BYTES = 192,
	URL_MAX_BYTES = 320,
};

/* Appends text, cut in the middle to at most max_bytes, the cut shown as "…"; UTF-8 sequences stay whole. */
void text_add_shortened(struct buf *out, const char *text, size_t max_bytes);
/* A JSON string that is at most max_bytes long between its quotes, cut in the middle. */
void json_str_shortened(struct json *j, const char *text, size_t max_bytes);

/* "root;…;leaf", functions with file and line. */
void stack_add_text(
	struct buf *out, const struct profile *p, const struct profile_stack *stack, size_t max_bytes);
/* "GET /report took 1532 ms: 1490 ms in render (app.py:88), blocking the event loop in a system call" */
void sentence_add(struct buf *out, const struct record *r, const struct digest *d);
/* What to say of the capture, "" when all went well. */
const char *capture_reason(const struct record *r);
/* The last part of a path. */
const char *file_base(const char *path);

void access_line_write(const struct config *c, const struct record *r, struct buf *out);
/* For a person at a terminal; several lines, each ended by a newline. */
void slow_console_write(const struct record *r, const struct digest *d, const char *profile_file, bool colour,
	struct buf *out);
void access_console_write(const struct record *r, bool colour, struct buf *out);

#endif
