/* sentence.c - a slow request in one sentence a person understands, saying no more than is known. */
#include "lines.h"

#include <inttypes.h>
#include <string.h>

#include <slowproxy/base/clock.h>

const char *capture_reason(const struct record *r)
{
	if (r->capture.reason[0] != '\0')
		return r->capture.reason;
	return capture_statuses[r->capture.status].advice;
}

static uint64_t whole_ms(uint64_t ns)
{
	return (ns + NS_PER_MS / 2) / NS_PER_MS;
}

static uint64_t phase_ms(const struct record *r, enum phase phase)
{
	uint64_t ns = 0;
	timeline_phase_ns(&r->timeline, phase, &ns);
	return whole_ms(ns);
}

static void add_syscall(struct buf *out, const struct digest *d)
{
	const char *name = profile_syscall_name(d->frame_syscall);
	if (name != NULL)
		buf_printf(out, " (%s)", name);
}

static void add_place(struct buf *out, const struct profile_frame *f)
{
	text_add_shortened(out, f->function, 96);
	if (f->file[0] == '\0')
		return;
	buf_add_str(out, " (");
	text_add_shortened(out, file_base(f->file), 96);
	if (f->line != 0)
		buf_printf(out, ":%" PRIu32, f->line);
	buf_add_char(out, ')');
}

static void add_other(struct buf *out, const struct capture_other *other)
{
	buf_printf(out, "%s ", other->method);
	text_add_shortened(out, other->path, 128);
	buf_printf(out, " (request %.64s)", other->request_id);
}

/* Who had it meanwhile, for the most part. */
static void add_gil_holder(struct buf *out, const struct digest *d)
{
	if (d->gil_holder_ns == 0)
		return;
	buf_add_str(out, ", which ");
	if (d->gil_holder != NULL)
		add_other(out, d->gil_holder);
	else
		buf_printf(out, "thread %.64s", d->gil_holder_thread->name);
	buf_add_str(out, " had");
	if (d->gil_holder_frame != NULL) {
		buf_add_str(out, " in ");
		add_place(out, d->gil_holder_frame);
	}
}

/* What was done in the line, in words; where a thread of a pool does it, the event loop is free meanwhile. */
static void add_doing(struct buf *out, const struct digest *d)
{
	bool loop = d->frame_lane == PROFILE_LANE_LOOP;
	switch (d->frame_state) {
	case PROFILE_RUNNING:
		buf_add_str(out, loop ? ", computing on the event loop" : ", computing in a thread");
		break;
	case PROFILE_BLOCKED:
		buf_add_str(out, loop ? ", blocking the event loop in a system call"
				      : ", blocked in a thread in a system call");
		add_syscall(out, d);
		break;
	case PROFILE_GIL_WAIT:
		buf_add_str(out, ", waiting for the GIL");
		add_gil_holder(out, d);
		break;
	case PROFILE_AWAITING:
		buf_add_str(out, d->unsure_ns > d->await_ns / 4
					 ? ", awaiting, or at last only waiting for the event loop"
					 : ", awaiting");
		break;
	default:
		break;
	}
}

static void add_line(struct buf *out, const struct record *r, const struct digest *d)
{
	buf_printf(out, "%" PRIu64 " ms in ", whole_ms(MIN(d->frame_ns, record_duration_ns(r))));
	add_place(out, d->frame);
	add_doing(out, d);
}

/* Somebody else held the event loop: who, and at which line. */
static void add_blocked_by(struct buf *out, const struct record *r, const struct digest *d)
{
	buf_printf(out, "%" PRIu64 " ms waiting because ",
		whole_ms(MIN(d->blocked_by_ns, record_duration_ns(r))));
	if (d->culprit != NULL) {
		add_other(out, d->culprit);
	} else if (d->culprit_span != 0) {
		buf_add_str(out, "another request");
	} else if (strcmp(d->culprit_kind, "task") == 0) {
		buf_add_str(out, "a task of no request");
	} else {
		buf_add_str(out, "other work");
	}
	buf_add_str(out, " held the event loop");
	if (d->culprit_frame == NULL)
		return;
	buf_add_str(out, " in ");
	add_place(out, d->culprit_frame);
	const char *call =
		d->culprit_state == PROFILE_BLOCKED ? profile_syscall_name(d->culprit_syscall) : NULL;
	if (call != NULL)
		buf_printf(out, ", in a system call (%s)", call);
	else if (d->culprit_state == PROFILE_RUNNING)
		buf_add_str(out, ", computing");
}

/* It waited only for the event loop, and that for the GIL. */
static void add_loop_without_gil(struct buf *out, const struct record *r, const struct digest *d)
{
	buf_printf(out, "%" PRIu64 " ms waiting because the event loop did not get the GIL",
		whole_ms(MIN(d->gil_wait_ns, record_duration_ns(r))));
	add_gil_holder(out, d);
}

/* The proxy's own view, for a cause that lies outside the backend's code. */
static bool add_phase(struct buf *out, const struct record *r, const struct digest *d)
{
	uint64_t upload = phase_ms(r, PHASE_UPLOAD), download = phase_ms(r, PHASE_DOWNLOAD);
	if (strcmp(d->cause, "queued") == 0 && r->capture.status == CAPTURE_NOT_ACCEPTED)
		buf_printf(out, "%" PRIu64 " ms in which no worker accepted the connection",
			phase_ms(r, PHASE_APP));
	else if (strcmp(d->cause, "connect") == 0)
		buf_printf(out, "%" PRIu64 " ms to connect to the backend", phase_ms(r, PHASE_CONNECT));
	else if (strcmp(d->cause, "queued") == 0 && d->queued_ns != 0)
		buf_printf(out, "%" PRIu64 " ms queued in the worker, which had not begun with it",
			whole_ms(d->queued_ns));
	else if (strcmp(d->cause, "blocked_by") == 0)
		add_blocked_by(out, r, d);
	else if (strcmp(d->cause, "gil_wait") == 0 && d->frame_state != PROFILE_GIL_WAIT)
		add_loop_without_gil(out, r, d);
	else if (strcmp(d->cause, "queued") == 0)
		buf_printf(out, "%" PRIu64 " ms waiting for a connection to the backend",
			phase_ms(r, PHASE_QUEUE));
	else if (strcmp(d->cause, "client_slow") == 0 && upload > download)
		buf_printf(out, "%" PRIu64 " ms until the client had sent its request", upload);
	else if (strcmp(d->cause, "client_slow") == 0)
		buf_printf(out, "%" PRIu64 " ms until the client had taken the answer", download);
	else
		return false;
	return true;
}

static void add_no_line(struct buf *out, const struct record *r)
{
	buf_printf(out, "%" PRIu64 " ms in the backend", phase_ms(r, PHASE_APP));
	if (r->capture.samples != 0) {
		buf_add_str(out, ", where nothing of the user's code was seen at work");
		return;
	}
	buf_printf(out, "; no stacks (%s)", capture_statuses[r->capture.status].name);
	if (capture_reason(r)[0] != '\0')
		buf_printf(out, ": %s", capture_reason(r));
}

void sentence_add(struct buf *out, const struct record *r, const struct digest *d)
{
	buf_printf(out, "%s ", r->method[0] != '\0' ? r->method : "a request");
	text_add_shortened(out, r->path, 160);
	buf_printf(out, "%s %" PRIu64 " ms: ", r->still_running ? " is still running after" : " took",
		whole_ms(record_duration_ns(r)));
	if (!add_phase(out, r, d)) {
		if (d->frame != NULL)
			add_line(out, r, d);
		else
			add_no_line(out, r);
	}
	if (r->capture.blocked_others != 0)
		buf_printf(out, "; %" PRIu32 " other request%s waited", r->capture.blocked_others,
			r->capture.blocked_others == 1 ? "" : "s");
	if (r->capture.samples != 0 &&
		capture_reason(r)[0] != '\0') /* where there are none, it is said already */
		buf_printf(out, "; %s", capture_reason(r));
	if (r->outcome != OUTCOME_OK && r->outcome != OUTCOME_TUNNEL)
		buf_printf(out, "; %s", outcomes[r->outcome].sentence);
}
