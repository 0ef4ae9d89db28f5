/* report.c - the face of the room, and the one thread that writes.
 *
 *   loop threads  report_record --.
 *   any thread    log line -------+--> queue (bounded, never waits) --> writer thread --> slow, access, stderr, profile files
 *
 * A struct report is owned by who made it; everything marked (writer) is touched by the writer thread alone once it runs.
 */
#include <slowproxy/report.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/base/logfmt.h>
#include <slowproxy/base/thread.h>

#include "files.h"
#include "lines.h"
#include "output.h"
#include "page.h"
#include "shown.h"
#include "queue.h"

#define COMPLAIN_EVERY_NS (60 * NS_PER_S)
#define TELL_EVERY_NS     NS_PER_S
#define GRACE_NS          (100 * NS_PER_MS)

enum {
	QUEUED_PROFILE_BYTES_MAX = 64 << 20,
	QUEUE_LINES_MIN = 16,
};

struct report {
	const struct config *config;
	struct queue queue;
	pthread_t writer;
	atomic_uint_fast64_t dropped; /* found no room in the queue */
	atomic_uint_fast64_t failed;  /* could not be written */
	atomic_bool reopen;
	atomic_bool abandoned; /* the writer hangs, and all around it is going */

	struct report_outlet outlet;
	uint64_t profile_wall_ns;  /* (writer) of the last profile for the outlet */
	enum log_form access_form; /* access lines are made by the loop threads */
	bool access_colour;

	struct report_watcher watcher;
	struct output slow, access, log; /* (writer) */
	struct files files;              /* (writer) */
	uint64_t told_dropped;           /* (writer) of dropped, how many were said in a log line */
	uint64_t told_at_ns;             /* (writer) */
	uint64_t file_complaint_ns, output_complaint_ns; /* (writer) when last complained; 0 never */
};

/* --- the writer thread ------------------------------------------------------------------------------------------- */

static bool may_complain(uint64_t *last_ns)
{
	uint64_t now = clock_now_ns();
	if (*last_ns != 0 && now - *last_ns < COMPLAIN_EVERY_NS)
		return false;
	*last_ns = now;
	return true;
}

static bool is_impatient(void *context)
{
	struct report *rep = context;
	return queue_is_late(&rep->queue);
}

static void write_line(struct report *rep, struct output *o, const char *line, size_t len)
{
	if (output_is_off(o->target))
		return;
	enum output_result result = output_write(o, line, len, is_impatient, rep);
	if (result == OUTPUT_WRITTEN)
		return;
	int why = errno;
	atomic_fetch_add(&rep->failed, 1);
	if (result == OUTPUT_FAILED && o != &rep->log && may_complain(&rep->output_complaint_ns))
		log_error("lines cannot be written to %s and are lost: %s", o->target, strerror(why));
}

static void complain_of_file(struct report *rep, const char *name)
{
	int why = errno;
	if (!may_complain(&rep->file_complaint_ns))
		return;
	if (why == EFBIG || why == EDQUOT)
		log_warn(
			"profile file %s/%s was not written: it does not fit below capture.max_bytes (%" PRIu64
			")",
			rep->files.directory, name, rep->files.max_bytes);
	else
		log_warn("profile file %s/%s was not written: %s", rep->files.directory, name, strerror(why));
}

static struct report_copy copy_of(const struct record *r, const struct buf *content)
{
	return (struct report_copy){
		.wall_ns = r->began_wall_ns + record_duration_ns(r),
		.trace_id = r->trace_id,
		.span_id = r->span_id,
		.bytes = content->data,
		.len = content->len,
	};
}

static bool is_all_idle(const struct profile *p)
{
	for (size_t i = 0; i < p->sample_count; i++)
		if (p->samples[i].state != PROFILE_IDLE)
			return false;
	return true;
}

/* Pyroscope takes two profiles of one instant for one: no two are given the same. One that shows nothing but waiting for work
 * is not given at all. */
static void outlet_profile(
	struct report *rep, const struct record *r, const struct digest *d, const struct profile *shown)
{
	if (rep->outlet.profile == NULL || atomic_load(&rep->abandoned) || is_all_idle(shown))
		return;
	const struct profile_fact ids[] = { { "span_id", r->span_id }, { "trace_id", r->trace_id } };
	uint64_t wall_ns = MAX(r->began_wall_ns + record_duration_ns(r), rep->profile_wall_ns + 1);
	struct buf pprof = { 0 };
	profile_write_pprof(shown,
		&(struct profile_view){ .begin_ns = r->timeline.at[MARK_BEGIN],
			.end_ns = r->timeline.at[MARK_END],
			.lanes = true,
			.labels = ids,
			.label_count = ARRAY_LEN(ids),
			.wall_ns = wall_ns },
		&pprof);
	struct report_copy copy = copy_of(r, &pprof);
	copy.wall_ns = rep->profile_wall_ns = wall_ns;
	copy.route = r->route[0] != '\0' && !r->route_guessed ? r->route : NULL; /* guesses have no bound */
	copy.cause = d->cause;
	rep->outlet.profile(rep->outlet.context, &copy);
	buf_clear(&pprof);
}

/* The profile of one slow request, on its way to files and watcher. */
struct given {
	char name[FILES_NAME_BYTES], id[FILES_ID_BYTES];
	struct profile *own;         /* owned; NULL: the whole worker's is shown */
	const struct profile *shown; /* NULL: there is none */
	struct buf page, path, url;  /* path and url: empty when it is not there */
};

static void given_clear(struct given *g)
{
	profile_free(g->own);
	buf_clear(&g->page);
	buf_clear(&g->path);
	buf_clear(&g->url);
}

static void write_files(struct report *rep, struct given *g)
{
	struct buf folded = { 0 };
	if (rep->files.directory[0] == '\0')
		return;
	profile_write_collapsed(g->shown, &(struct profile_view){ .lanes = true, .idle = true }, &folded);
	bool page_written = files_write(&rep->files, g->name, ".html", &g->page);
	if (!page_written || !files_write(&rep->files, g->name, ".collapsed.txt", &folded))
		complain_of_file(rep, g->name);
	buf_clear(&folded);
	if (page_written)
		buf_printf(&g->path, "%s/%s.html", rep->files.directory, g->name);
}

/* The disk comes last: it may be slow. */
static void give_profile(struct report *rep, const struct record *r, const struct digest *d, struct given *g)
{
	const struct profile *p = r->capture.profile;
	const char *url = rep->watcher.profile_url;
	if (p == NULL || p->sample_count == 0)
		return;
	files_name_new(g->name, g->id, r->began_wall_ns);
	g->own = shown_profile(r);
	g->shown = g->own != NULL ? g->own : p;
	outlet_profile(rep, r, d, g->shown);
	if (rep->files.directory[0] == '\0' && !rep->watcher.keeps)
		return;
	page_write(rep->config, r, d, g->shown, g->id, &g->page);
	write_files(rep, g);
	if (url != NULL && url[0] != '\0')
		buf_printf(&g->url, "%s/profiles/%s", url, g->id);
}

static void tell_watcher(
	struct report *rep, struct record *r, const struct digest *d, struct given *g, const struct buf *line)
{
	struct report_slow slow = {
		.record = r,
		.digest = d,
		.line = line,
		.profile_id = g->shown != NULL ? g->id : NULL,
		.page = g->shown != NULL && g->path.len == 0 ? &g->page : NULL,
		.profile = g->own != NULL ? g->own : r->capture.profile,
	};
	if (rep->watcher.slow == NULL || atomic_load(&rep->abandoned))
		return;
	rep->watcher.slow(rep->watcher.context, &slow);
	if (slow.profile != NULL)
		return;
	if (g->own == NULL)
		r->capture.profile = NULL;
	g->own = NULL;
}

/* For what is added up by route. */
static void tell_told(struct report *rep, const struct record *r, bool slow)
{
	struct report_told told = { .record = r, .slow = slow };
	if (rep->watcher.told == NULL || r->capture.profile == NULL || r->still_running ||
		atomic_load(&rep->abandoned))
		return;
	told.profile = told_profile(r);
	if (told.profile != NULL)
		rep->watcher.told(rep->watcher.context, &told);
	profile_free(told.profile);
}

/* From the JSON object to the line that is written. */
static void end_line(struct buf *line, enum log_form form)
{
	if (form == LOG_LOGFMT) {
		struct buf logfmt = { 0 };
		logfmt_add_json(&logfmt, line->data, line->len);
		buf_clear(line);
		*line = logfmt;
	}
	buf_add_char(line, '\n');
}

static void write_slow(struct report *rep, struct record *r)
{
	struct digest d;
	struct given g = { 0 };
	struct buf json = { 0 }, line = { 0 };

	digest_of(r, &d);
	tell_told(rep, r, true);
	give_profile(rep, r, &d, &g);
	bool kept = g.path.len != 0 || (g.shown != NULL && rep->watcher.keeps);
	const struct profile_place place = { kept ? g.id : NULL, g.path.data, g.url.data };
	slow_line_write(rep->config, r, &d, &place, &json);
	if (rep->outlet.line != NULL && !atomic_load(&rep->abandoned)) {
		const struct report_copy copy = copy_of(r, &json);
		rep->outlet.line(rep->outlet.context, &copy);
	}
	if (rep->slow.form == LOG_PLAIN) {
		slow_console_write(r, &d, g.path.data, rep->slow.colour, &line);
	} else {
		buf_add(&line, json.data, json.len);
		end_line(&line, rep->slow.form);
	}
	write_line(rep, &rep->slow, line.data, line.len);
	tell_watcher(rep, r, &d, &g, &json);
	given_clear(&g);
	buf_clear(&json);
	buf_clear(&line);
}

/* Once a second at most, and as soon as there is room: this runs only between two lines. */
static void tell_dropped(struct report *rep)
{
	uint64_t dropped = atomic_load(&rep->dropped), now = clock_now_ns();
	if (dropped == rep->told_dropped || (rep->told_at_ns != 0 && now - rep->told_at_ns < TELL_EVERY_NS))
		return;
	log_warn("%" PRIu64 " lines were dropped because the reader is slow", dropped - rep->told_dropped);
	rep->told_dropped = dropped;
	rep->told_at_ns = now;
}

static void open_output(const struct report *rep, struct output *o, const char *target)
{
	if (!output_open(o, target))
		log_error("%s cannot be opened, its lines are lost: %s", target, strerror(errno));
	o->form = config_log_form(rep->config->logs.format, o->fd);
}

static void reopen_if_asked(struct report *rep)
{
	if (!atomic_exchange(&rep->reopen, false))
		return;
	output_close(&rep->slow);
	output_close(&rep->access);
	open_output(rep, &rep->slow, rep->config->logs.slow);
	open_output(rep, &rep->access, rep->config->logs.access);
}

static void outlet_access(struct report *rep, const struct access_copy *a)
{
	const struct report_copy copy = { .wall_ns = a->wall_ns,
		.trace_id = a->trace_id,
		.span_id = a->span_id,
		.bytes = a->json.data,
		.len = a->json.len };
	rep->outlet.line(rep->outlet.context, &copy);
}

static void write_entry(struct report *rep, struct entry *e)
{
	if (e->copy != NULL && !atomic_load(&rep->abandoned))
		outlet_access(rep, e->copy);
	if (e->kind == ENTRY_SLOW)
		write_slow(rep, e->record);
	else if (e->kind == ENTRY_NORMAL)
		tell_told(rep, e->record, false);
	else
		write_line(
			rep, e->kind == ENTRY_ACCESS ? &rep->access : &rep->log, e->text.data, e->text.len);
}

static void *writer_main(void *context)
{
	struct report *rep = context;
	files_init(&rep->files, rep->config->capture.directory, rep->config->capture.max_bytes);
	while (!queue_ends(&rep->queue)) {
		struct entry *e = queue_take(&rep->queue, TELL_EVERY_NS);
		reopen_if_asked(rep);
		if (e != NULL) {
			write_entry(rep, e);
			entry_free(e);
		}
		tell_dropped(rep);
	}
	record_thread_end();
	queue_set_ended(&rep->queue);
	return NULL;
}

/* --- the face ---------------------------------------------------------------------------------------------------- */

struct report *report_new(const struct config *config)
{
	struct report *rep = xcalloc(1, sizeof *rep);
	rep->config = config;
	queue_init(&rep->queue, MAX(config->logs.queue_lines, QUEUE_LINES_MIN), QUEUED_PROFILE_BYTES_MAX);
	open_output(rep, &rep->slow, config->logs.slow);
	open_output(rep, &rep->access, config->logs.access);
	open_output(rep, &rep->log, "stderr");
	rep->access_form = rep->access.form;
	rep->access_colour = rep->access.colour;
	thread_start(&rep->writer, "writer", writer_main, rep);
	return rep;
}

void report_set_outlet(struct report *rep, const struct report_outlet *outlet)
{
	rep->outlet = *outlet;
}

void report_set_watcher(struct report *rep, const struct report_watcher *watcher)
{
	rep->watcher = *watcher;
}

bool report_profile_read(const struct config *c, const char *id, const char *suffix, struct buf *out)
{
	return files_read(c->capture.directory, id, suffix, out);
}

static void put_or_drop(struct report *rep, struct entry *e)
{
	if (queue_put(&rep->queue, e) == QUEUE_OK)
		return;
	atomic_fetch_add(&rep->dropped, 1);
	entry_free(e);
}

static struct access_copy *access_copy_new(const struct report *rep, const struct record *r)
{
	struct access_copy *copy = xcalloc(1, sizeof *copy);
	copy->wall_ns = r->began_wall_ns + record_duration_ns(r);
	memcpy(copy->trace_id, r->trace_id, sizeof copy->trace_id);
	memcpy(copy->span_id, r->span_id, sizeof copy->span_id);
	access_line_write(rep->config, r, &copy->json);
	return copy;
}

static void access_write(const struct report *rep, const struct record *r, struct buf *out)
{
	if (rep->access_form == LOG_PLAIN) {
		access_console_write(r, rep->access_colour, out);
		return;
	}
	access_line_write(rep->config, r, out);
	end_line(out, rep->access_form);
}

static void report_access(struct report *rep, const struct record *r)
{
	bool written = !output_is_off(rep->config->logs.access),
	     copied = rep->outlet.access && rep->outlet.line != NULL;
	if (!written && !copied)
		return;
	struct entry *e = entry_new(ENTRY_ACCESS);
	if (copied)
		e->copy = access_copy_new(rep, r);
	if (written)
		access_write(rep, r, &e->text);
	put_or_drop(rep, e);
}

static size_t profile_bytes(const struct profile *p)
{
	if (p == NULL)
		return 0;
	return p->sample_count * sizeof *p->samples + p->stack_count * 160 + p->frame_count * 160 +
	       p->lane_count * 64;
}

/* Better a slow line without stacks than none. */
static void let_profile_go(struct entry *e)
{
	struct capture_result *capture = &e->record->capture;
	profile_free(capture->profile);
	capture->profile = NULL;
	capture->samples = 0;
	capture->status = CAPTURE_BUDGET;
	snprintf(
		capture->reason, sizeof capture->reason, "the writer was too far behind to keep the samples");
	e->bytes = 0;
}

static void report_slow(struct report *rep, struct record *r)
{
	struct entry *e = entry_new(ENTRY_SLOW);
	e->record = r;
	e->bytes = profile_bytes(r->capture.profile);
	if (queue_put(&rep->queue, e) == QUEUE_OK)
		return;
	let_profile_go(e);
	put_or_drop(rep, e);
}

/* Of what is normal there is always more: where there is no room, it is let go. */
static void report_normal(struct report *rep, struct record *r)
{
	struct entry *e = entry_new(ENTRY_NORMAL);
	e->record = r;
	e->bytes = profile_bytes(r->capture.profile);
	if (queue_put(&rep->queue, e) != QUEUE_OK)
		entry_free(e);
}

void report_record(struct report *rep, struct record *r)
{
	if (r->timeline.at[MARK_END] == 0) /* it runs on, or nobody stamped it: what is said of it ends now */
		r->timeline.at[MARK_END] = clock_now_ns();
	if (!r->still_running)
		report_access(rep, r);
	if (r->still_running || record_is_slow(r))
		report_slow(rep, r);
	else if (r->sampled_anyway && r->capture.profile != NULL && rep->watcher.told != NULL)
		report_normal(rep, r);
	else
		record_free(r);
}

void report_log_sink(void *report, const char *line, size_t len)
{
	struct report *rep = report;
	if (pthread_equal(pthread_self(), rep->writer)) { /* the writer does not queue behind itself */
		write_line(rep, &rep->log, line, len);
		return;
	}
	struct entry *e = entry_new(ENTRY_LOG);
	buf_add(&e->text, line, len);
	put_or_drop(rep, e);
}

void report_reopen(struct report *rep)
{
	atomic_store(&rep->reopen, true);
}

uint64_t report_lines_dropped(const struct report *rep)
{
	struct report *counted = (struct report *)rep; /* C11 has no atomic_load of a const */
	return atomic_load(&counted->dropped) + atomic_load(&counted->failed);
}

uint64_t report_lines_queued(struct report *rep)
{
	return queue_count(&rep->queue);
}

/* A writer that hangs in the kernel (a dead network disk, or a pipe that another process filled between our poll and our write)
 * cannot be ended: it is left behind with its memory, for the process ends anyway. */
uint64_t report_free(struct report *rep, uint64_t wait_ns)
{
	uint64_t deadline_ns = clock_now_ns() + wait_ns;
	queue_stop(&rep->queue, deadline_ns);
	bool ended = queue_wait_ended(&rep->queue, deadline_ns + GRACE_NS);
	uint64_t lost = report_lines_dropped(rep) + queue_count(&rep->queue);
	if (!ended) {
		atomic_store(&rep->abandoned, true);
		pthread_detach(rep->writer);
		return lost + 1;
	}
	pthread_join(rep->writer, NULL);
	output_close(&rep->slow);
	output_close(&rep->access);
	files_clear(&rep->files);
	queue_clear(&rep->queue);
	free(rep);
	return lost;
}
