/* page.c - the facts of an exchange above its flame graph. */
#include "page.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>

#include "lines.h"
#include "story.h"

enum { FACTS_MAX = 24 };

struct facts {
	struct profile_fact items[FACTS_MAX]; /* the values are ours */
	size_t count;
};

static void add_fact(struct facts *f, const char *name, const char *fmt, ...) PRINTF(3, 4);

/* An empty value is no fact. */
static void add_fact(struct facts *f, const char *name, const char *fmt, ...)
{
	struct buf value = { 0 };
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&value, fmt, args);
	va_end(args);
	if (value.len == 0 || f->count == FACTS_MAX) {
		buf_clear(&value);
		return;
	}
	f->items[f->count++] = (struct profile_fact){ name, buf_take(&value) };
}

static double ms(uint64_t ns)
{
	return (double)ns / (double)NS_PER_MS;
}

static void add_request_facts(struct facts *f, const struct record *r, const struct digest *d)
{
	char when[CLOCK_RFC3339_BYTES];
	clock_format_rfc3339(r->began_wall_ns, when);

	add_fact(f, "Duration", "%.1f ms", ms(record_duration_ns(r)));
	if (r->threshold_ns != 0)
		add_fact(f, "Threshold", "%.0f ms", ms(r->threshold_ns));
	add_fact(f, "Cause", "%s", d->cause);
	if (d->frame != NULL)
		add_fact(f, "Line", "%s:%" PRIu32, d->frame->file, d->frame->line);
	if (d->frame != NULL)
		add_fact(f, "Function", "%s", d->frame->function);
	add_fact(f, "Route", "%s%s", r->route, r->route_guessed ? " (guessed)" : "");
	if (r->status != 0)
		add_fact(f, "Status", "%u", r->status);
	add_fact(f, "Outcome", "%s", outcomes[r->outcome].name);
	add_fact(f, "Began", "%s", when);
}

static void add_worker_facts(
	struct facts *f, const struct config *c, const struct record *r, const struct digest *d)
{
	const struct capture_result *capture = &r->capture;
	if (capture->worker_pid > 0)
		add_fact(f, "Worker", "pid %" PRId32 "%s%s%s%s", capture->worker_pid,
			capture->worker_server[0] ? ", " : "", capture->worker_server,
			capture->worker_python[0] ? ", Python " : "", capture->worker_python);
	add_fact(f, "Service", "%s", c->service != NULL ? c->service : "");
	add_fact(f, "Client", "%s", r->client_address);
	add_fact(f, "Backend", "%s%s", r->upstream_address, r->upstream_reused ? " (reused connection)" : "");
	add_fact(f, "Samples", "%" PRIu32 " of %" PRIu32 "%s%s", capture->samples, capture->samples_expected,
		capture->status != CAPTURE_OK ? ", " : "",
		capture->status != CAPTURE_OK ? capture_reason(r) : "");
	if (d->culprit_ns != 0)
		add_fact(f, "Held up by", "%s%s%s%s%s, %.0f ms", d->culprit != NULL ? d->culprit->method : "",
			d->culprit != NULL ? " " : "",
			d->culprit != NULL ? d->culprit->path : d->culprit_kind,
			d->culprit != NULL ? ", request " : "",
			d->culprit != NULL ? d->culprit->request_id : "", ms(d->culprit_ns));
	if (d->gil_holder_ns != 0)
		add_fact(f, "Had the GIL meanwhile", "%s%s%s%s%s, %.0f ms", d->gil_holder_thread->name,
			d->gil_holder != NULL ? ", " : "", d->gil_holder != NULL ? d->gil_holder->method : "",
			d->gil_holder != NULL ? " " : "", d->gil_holder != NULL ? d->gil_holder->path : "",
			ms(d->gil_holder_ns));
	if (r->capture.blocked_others != 0)
		add_fact(f, "Held up", "%" PRIu32 " other requests, %.0f ms together",
			r->capture.blocked_others, ms(r->capture.blocked_others_ns));
	add_fact(f, "Attribution", "%s%s%s", d->attribution, d->attribution_reason != NULL ? ": " : "",
		d->attribution_reason != NULL ? d->attribution_reason : "");
	add_fact(f, "Request", "%s", r->request_id);
	add_fact(f, "Trace", "%s", r->trace_id);
}

static size_t parts_of(const struct record *r, struct profile_part parts[PHASE_COUNT])
{
	size_t count = 0;
	for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
		uint64_t ns;
		if (timeline_phase_ns(&r->timeline, phase, &ns))
			parts[count++] = (struct profile_part){ phase_names[phase], ns };
	}
	return count;
}

/* --- the bands above the timeline: where the proxy had the request, and what it was doing at each look --- */

static const char *const doing_words[DOING_COUNT] = {
	[DOING_UNKNOWN] = "unknown",
	[DOING_CPU] = "computing",
	[DOING_BLOCKING] = "blocking call",
	[DOING_AWAIT] = "awaiting",
	[DOING_BLOCKED_BY] = "held up",
	[DOING_QUEUED] = "queued",
	[DOING_GIL_WAIT] = "waiting for the GIL",
	[DOING_GC] = "collecting garbage",
};

struct stretches {
	struct profile_stretch *all; /* owned */
	size_t count, capacity;
};

/* What goes on is made longer. */
static void add_stretch(
	struct stretches *s, const char *band, const char *name, uint64_t from_ns, uint64_t to_ns)
{
	struct profile_stretch *last = s->count != 0 ? &s->all[s->count - 1] : NULL;
	if (to_ns <= from_ns)
		return;
	if (last != NULL && last->band == band && last->name == name && last->to_ns + NS_PER_US >= from_ns) {
		last->to_ns = to_ns;
		return;
	}
	s->all = array_grow(s->all, &s->capacity, s->count, sizeof *s->all);
	s->all[s->count++] = (struct profile_stretch){ band, name, from_ns, to_ns };
}

static void add_stretches(struct stretches *s, const struct record *r)
{
	static const char proxy[] = "proxy", request[] = "request";
	struct stretch phases[MARK_COUNT];
	struct story story;
	for (size_t i = 0, count = timeline_stretches(&r->timeline, phases); i < count; i++)
		add_stretch(s, proxy, phase_names[phases[i].phase], phases[i].from_ns, phases[i].to_ns);
	story_of(r, &story);
	uint64_t queued_ns = r->capture.queued_until_ns,
		 first = story.count != 0 ? story.looks[0].from_ns : 0;
	add_stretch(s, request, doing_words[DOING_QUEUED], r->capture.from_ns, MIN(queued_ns, first));
	for (size_t i = 0; i < story.count; i++)
		add_stretch(s, request, doing_words[story.looks[i].doing], story.looks[i].from_ns,
			story.looks[i].to_ns);
	story_clear(&story);
}

void page_write(const struct config *c, const struct record *r, const struct digest *d,
	const struct profile *p, const char *profile_id, struct buf *out)
{
	struct facts facts = { .count = 0 };
	struct profile_part parts[PHASE_COUNT];
	struct stretches stretches = { 0 };
	struct buf title = { 0 }, summary = { 0 };

	buf_printf(&title, "%s %s", r->method, r->path);
	sentence_add(&summary, r, d);
	add_request_facts(&facts, r, d);
	add_worker_facts(&facts, c, r, d);
	add_fact(&facts, "Profile", "%s", profile_id);
	add_stretches(&stretches, r);
	struct profile_view view = {
		.title = title.data,
		.summary = summary.data,
		.facts = facts.items,
		.fact_count = facts.count,
		.parts = parts,
		.part_count = parts_of(r, parts),
		.stretches = stretches.all,
		.stretch_count = stretches.count,
		.line = d->frame,
		.begin_ns = r->timeline.at[MARK_BEGIN],
		.end_ns = r->timeline.at[MARK_END],
	};
	profile_write_html(p, &view, out);
	for (size_t i = 0; i < facts.count; i++)
		free((void *)facts.items[i].value);
	free(stretches.all);
	buf_clear(&title);
	buf_clear(&summary);
}
