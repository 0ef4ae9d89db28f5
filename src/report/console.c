/* console.c - one exchange for a person at a terminal.
 *
 *   SLOW  GET /report  200  1532 ms  (threshold 500 ms)
 *         1490 ms in render (app.py:88), blocking the event loop in a system call (clock_nanosleep)
 *           │ app (starlette/routing.py:77)
 *           └ render (app.py:88)
 *         flame graph  /var/lib/slowproxy/....html
 */
#include "lines.h"

#include <inttypes.h>
#include <string.h>

#include <slowproxy/base/clock.h>

enum { LAST_FRAMES = 8 };

struct palette {
	const char *alarm, *strong, *dim, *user, *off;
};

static const struct palette colours = { "\033[1;41;97m", "\033[1m", "\033[2m", "\033[1;33m", "\033[0m" };
static const struct palette plain = { "", "", "", "", "" };

static uint64_t whole_ms(uint64_t ns)
{
	return (ns + NS_PER_MS / 2) / NS_PER_MS;
}

/* Texts from outside must not steer the terminal: control bytes are shown as '?'. */
static void add_harmless(struct buf *out, const char *text, size_t max_bytes)
{
	size_t from = out->len;
	text_add_shortened(out, text, max_bytes);
	for (size_t i = from; i < out->len; i++) {
		unsigned char c = (unsigned char)out->data[i];
		if (c < 0x20 || c == 0x7f)
			out->data[i] = '?';
	}
}

static void add_title(const struct record *r, const struct palette *p, struct buf *out)
{
	buf_printf(out, "%s SLOW %s %s", p->alarm, p->off, p->strong);
	add_harmless(out, r->method, sizeof r->method);
	buf_add_char(out, ' ');
	add_harmless(out, r->path, 120);
	buf_add_str(out, p->off);
	if (r->route[0] != '\0' && strcmp(r->route, r->path) != 0) {
		buf_printf(out, " %s", p->dim);
		add_harmless(out, r->route, sizeof r->route);
		buf_add_str(out, p->off);
	}
	if (r->status != 0)
		buf_printf(out, "  %u", r->status);
	buf_printf(out, "  %s%" PRIu64 " ms%s", p->strong, whole_ms(record_duration_ns(r)), p->off);
	buf_printf(out, "  %s(threshold %" PRIu64 " ms)%s\n", p->dim, whole_ms(r->threshold_ns), p->off);
}

static void add_stack(
	const struct record *r, const struct digest *d, const struct palette *p, struct buf *out)
{
	uint32_t first = d->stack->depth > LAST_FRAMES ? d->stack->depth - LAST_FRAMES : 0;
	if (first != 0)
		buf_printf(out, "        %s┆ %" PRIu32 " more%s\n", p->dim, first, p->off);
	for (uint32_t i = first; i < d->stack->depth; i++) {
		const struct profile_frame *f = &r->capture.profile->frames[d->stack->frames[i]];
		buf_printf(out, "        %s%s %s", p->dim, i + 1 == d->stack->depth ? "└" : "│", p->off);
		buf_add_str(out, profile_frame_is_user(f) ? p->user : p->dim);
		add_harmless(out, f->function, 100);
		buf_add_str(out, p->off);
		buf_printf(out, " %s", p->dim);
		add_harmless(out, f->file, 120);
		buf_printf(out, ":%" PRIu32 "%s%s\n", f->line, p->off, f == d->frame ? "  <- here" : "");
	}
}

void slow_console_write(const struct record *r, const struct digest *d, const char *profile_file, bool colour,
	struct buf *out)
{
	const struct palette *p = colour ? &colours : &plain;
	struct buf sentence = { 0 };

	add_title(r, p, out);
	sentence_add(&sentence, r, d);
	buf_add_str(out, "       ");
	add_harmless(out, sentence.data, SENTENCE_MAX_BYTES);
	buf_add_char(out, '\n');
	if (d->stack != NULL)
		add_stack(r, d, p, out);
	if (r->capture.worker_pid > 0)
		buf_printf(out, "       %sworker%s %" PRId32 " %s %s, %" PRIu32 " samples, cause %s\n",
			p->dim, p->off, r->capture.worker_pid, r->capture.worker_server,
			r->capture.worker_python, r->capture.samples, d->cause);
	if (profile_file != NULL)
		buf_printf(out, "       %sflame graph%s %s\n", p->dim, p->off, profile_file);
	buf_clear(&sentence);
}

void access_console_write(const struct record *r, bool colour, struct buf *out)
{
	const struct palette *p = colour ? &colours : &plain;
	char now[CLOCK_RFC3339_BYTES];
	clock_format_rfc3339(r->began_wall_ns, now);
	buf_printf(out, "%s%.12s%s ", p->dim, now + 11, p->off);
	add_harmless(out, r->method, sizeof r->method);
	buf_add_char(out, ' ');
	add_harmless(out, r->path, 200);
	buf_printf(
		out, " %u %s%" PRIu64 " ms%s", r->status, p->strong, whole_ms(record_duration_ns(r)), p->off);
	if (r->outcome != OUTCOME_OK)
		buf_printf(out, " %s", outcomes[r->outcome].name);
	buf_add_char(out, '\n');
}
