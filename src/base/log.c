/* log.c - one line a call. */
#include <slowproxy/base/log.h>

#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/clock.h>
#include <slowproxy/base/json.h>
#include <slowproxy/base/logfmt.h>

const char *const log_level_names[] = { "error", "warn", "info", "debug", NULL };

/* The one mutable global of the house: set once at start, only read afterwards. */
static struct log_settings settings = { .level = LOG_INFO, .role = "slowproxy" };

void log_setup(const struct log_settings *s)
{
	settings = *s;
}

bool log_enabled(enum log_level level)
{
	return level <= settings.level;
}

static void add_json_line(struct buf *line, enum log_level level, const char *text)
{
	char now[CLOCK_RFC3339_BYTES];
	clock_format_rfc3339(clock_wall_ns(), now);
	struct json j;
	json_init(&j, line);
	json_begin(&j, '{');
	json_key(&j, "ts");
	json_str(&j, now);
	json_key(&j, "level");
	json_str(&j, log_level_names[level]);
	json_key(&j, "msg");
	json_str(&j, text);
	json_key(&j, "event");
	json_str(&j, "log");
	if (settings.service != NULL) {
		json_key(&j, "service_name");
		json_str(&j, settings.service);
	}
	json_key(&j, "role");
	json_str(&j, settings.role);
	json_end(&j);
}

static void add_plain_line(struct buf *line, enum log_level level, const char *text)
{
	buf_printf(line, "slowproxy[%s] %s: ", settings.role, log_level_names[level]);
	for (const char *p = text; *p != '\0'; p++) /* a control byte from a peer must not forge a line */
		buf_add_char(line, (unsigned char)*p < 0x20 ? '?' : *p);
}

static void make_logfmt(struct buf *line)
{
	struct buf made = { 0 };
	logfmt_add_json(&made, line->data, line->len);
	buf_clear(line);
	*line = made;
}

static void log_line(enum log_level level, const char *fmt, va_list args)
{
	if (!log_enabled(level))
		return;
	int saved_errno = errno;
	struct buf text = { 0 }, line = { 0 };
	buf_vprintf(&text, fmt, args);
	if (settings.form == LOG_PLAIN)
		add_plain_line(&line, level, text.data);
	else
		add_json_line(&line, level, text.data);
	if (settings.form == LOG_LOGFMT)
		make_logfmt(&line);
	buf_add_char(&line, '\n');
	if (settings.sink != NULL)
		settings.sink(settings.context, line.data, line.len);
	else if (write(STDERR_FILENO, line.data, line.len) < 0)
		errno = 0; /* nobody is left to be told */
	buf_clear(&text);
	buf_clear(&line);
	errno = saved_errno;
}

#define LOG_FUNCTION(name, level)                                                                            \
	void name(const char *fmt, ...)                                                                      \
	{                                                                                                    \
		va_list args;                                                                                \
		va_start(args, fmt);                                                                         \
		log_line(level, fmt, args);                                                                  \
		va_end(args);                                                                                \
	}

LOG_FUNCTION(log_error, LOG_ERROR)
LOG_FUNCTION(log_warn, LOG_WARN)
LOG_FUNCTION(log_info, LOG_INFO)
LOG_FUNCTION(log_debug, LOG_DEBUG)
