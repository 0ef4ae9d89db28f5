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
		break;
	case PROFILE_AWAITING:
		buf_add_str(out, ", awaiting");
		break;
	default:
		break;
	}
}

static void add_line(struct buf *out, const struct record *r, const struct digest *d)
{
	buf_printf(out, "%" PRIu64 " ms in ", whole_ms(MIN(d->frame_ns, record_duration_ns(r))));
	if (d->frame->file[0] != '\0') {
		text_add_shortened(out, file_base(d->frame->file), 96);
		if (d->frame->line != 0)
			buf_printf(out, ":%" PRIu32, d->frame->line);
		buf_add_str(out, " (");
		text_add_shortened(out, d->frame->function, 96);
		buf_add_char(out, ')');
	} else {
		text_add_shortened(out, d->frame->function, 96);
	}
	add_doing(out, d);
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
	if (r->capture.samples != 0 &&
		capture_reason(r)[0] != '\0') /* where there are none, it is said already */
		buf_printf(out, "; %s", capture_reason(r));
	if (r->outcome != OUTCOME_OK && r->outcome != OUTCOME_TUNNEL)
		buf_printf(out, "; %s", outcomes[r->outcome].sentence);
}
