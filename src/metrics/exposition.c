/* exposition.c - numbers as the text that Prometheus reads: format 0.0.4, or OpenMetrics 1.0. */
#include <slowproxy/metrics.h>

#include <inttypes.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/str.h>

static const char *const type_names[] = { "counter", "gauge", "histogram" };

void exposition_begin(struct exposition *e, struct buf *out, bool openmetrics)
{
	*e = (struct exposition){ .out = out, .openmetrics = openmetrics };
}

void exposition_family(
	struct exposition *e, const char *name, enum exposition_type type, const char *unit, const char *help)
{
	e->name = name;
	e->counter = type == EXPOSITION_COUNTER;
	/* OpenMetrics names the family, the older format the samples. */
	const char *suffix = e->counter && !e->openmetrics ? "_total" : "";
	buf_printf(e->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix,
		type_names[type]);
	if (e->openmetrics && unit[0] != '\0')
		buf_printf(e->out, "# UNIT %s %s\n", name, unit);
}

/* One byte that is no UTF-8 would cost the whole scrape. */
static void add_escaped(struct buf *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t left = strlen(text);
	while (left != 0) {
		size_t n = utf8_sequence(p, left);
		if (n == 0)
			buf_add_str(out, "\xef\xbf\xbd");
		else if (*p == '\n')
			buf_add_str(out, "\\n");
		else if (*p == '\\' || *p == '"')
			buf_printf(out, "\\%c", *p);
		else
			buf_add(out, p, n);
		n = n != 0 ? n : 1;
		p += n;
		left -= n;
	}
}

void exposition_label(struct exposition *e, const char *name, const char *value)
{
	buf_printf(&e->labels, "%s%s=\"", e->labels.len != 0 ? "," : "", name);
	add_escaped(&e->labels, value);
	buf_add_char(&e->labels, '"');
}

static void sample_begin(struct exposition *e)
{
	buf_printf(e->out, "%s%s", e->name, e->counter ? "_total" : "");
	if (e->labels.len != 0)
		buf_printf(e->out, "{%s}", e->labels.data);
	buf_reset(&e->labels);
}

void exposition_u64(struct exposition *e, uint64_t value)
{
	sample_begin(e);
	buf_printf(e->out, " %" PRIu64 "\n", value);
}

void exposition_seconds(struct exposition *e, uint64_t ns)
{
	sample_begin(e);
	buf_printf(e->out, " %" PRIu64 ".%09" PRIu64 "\n", ns / NS_PER_S, ns % NS_PER_S);
}

void exposition_end(struct exposition *e)
{
	if (e->openmetrics)
		buf_add_str(e->out, "# EOF\n");
	buf_clear(&e->labels);
}
