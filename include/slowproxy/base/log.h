/* base/log.h - what the program says of itself, for the person on call. Request lines are not this: see report.h.
 *
 * One call, one line, one sentence with the id of what it speaks of ("x=8f21 upstream waiting -> relaying").
 * The line goes to the sink; until one is set, to stderr. A process sets its sink once, at start: in the proxy it
 * is the writer thread's queue, so logging never blocks an event loop.
 */
#ifndef SLOWPROXY_BASE_LOG_H
#define SLOWPROXY_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include <slowproxy/base/mem.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

extern const char *const log_level_names[]; /* "error", "warn", "info", "debug", NULL */

enum log_form { LOG_PLAIN, LOG_JSON, LOG_LOGFMT };

struct log_settings {
	enum log_level level;
	enum log_form form; /* JSON or logfmt as in the slow log; else "level role: sentence" */
	const char *role;   /* "parent", "proxy", "sampler"; a literal, kept by address */
	const char *service;
	/* Takes a whole line, newline included; lent for the call. NULL: write(2) to stderr. */
	void (*sink)(void *context, const char *line, size_t len);
	void *context;
};

void log_setup(const struct log_settings *settings); /* copies; before any thread starts */
bool log_enabled(enum log_level level);

void log_error(const char *fmt, ...) PRINTF(1, 2);
void log_warn(const char *fmt, ...) PRINTF(1, 2);
void log_info(const char *fmt, ...) PRINTF(1, 2);
void log_debug(const char *fmt, ...) PRINTF(1, 2);

#endif
