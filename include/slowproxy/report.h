/* report.h - tells people: slow line, access line, profile files. Owns the writer thread.
 *
 *   loop threads --report_record--> bounded queue --> writer thread: digest, line, profile file, write(2)
 *
 * No function here blocks the caller on a file, a pipe or a disk. When the queue is full the line is counted as dropped,
 * and the count is said in a log line as soon as there is room.
 */
#ifndef SLOWPROXY_REPORT_H
#define SLOWPROXY_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/config.h>
#include <slowproxy/record.h>

struct report;

/* Starts the writer thread. config outlives the report. Outputs that cannot be opened are said in a log line and are off. */
struct report *report_new(const struct config *config);

/* A line or a profile that goes to other places besides; see report_set_outlet. Texts may be NULL or "". */
struct report_copy {
	uint64_t wall_ns; /* a line's instant; of profiles no two are equal */
	const char *trace_id, *span_id, *route, *cause;
	const char *bytes; /* a JSON line without its newline, or a gzipped pprof */
	size_t len;
};
struct report_outlet {
	void (*line)(void *context, const struct report_copy *copy);    /* NULL: not wanted */
	void (*profile)(void *context, const struct report_copy *copy); /* NULL: not wanted */
	bool access;                                                    /* access lines, too */
	void *context;
};
/* Where copies of slow lines and of their profiles go, called by the writer thread; copied. Before the first record. */
void report_set_outlet(struct report *rep, const struct report_outlet *outlet);

/* What somebody else is told of each slow request, on the writer thread, after its line. */
struct report_slow {
	const struct record *record;
	const struct digest *digest;
	const struct buf *line;  /* the JSON object, whatever logs.format is */
	const char *profile_id;  /* NULL: there is no profile */
	const struct buf *page;  /* its flame graph page; NULL: that is in the file, or there is no profile */
	struct profile *profile; /* taken by whoever is told; may be NULL */
};

/* What a request that was looked at spent its time on, one sample for each look: its own stack, or that of whoever held it up. */
struct report_told {
	const struct record *record;
	bool slow;
	struct profile *profile; /* taken by whoever is told */
};
struct report_watcher {
	void (*slow)(void *context, struct report_slow *slow); /* sets what it takes to NULL */
	/* Of slow requests, and of those that were looked at anyway (capture.normal_requests), where their tasks or threads are
	 * known. May be NULL; sets what it takes to NULL. */
	void (*told)(void *context, struct report_told *told);
	bool keeps;              /* the profiles, so that they can be asked for */
	const char *profile_url; /* what profile_url in lines begins with; "": there is no such place */
	void *context;
};
/* Before the first record; copied, the url is lent. */
void report_set_watcher(struct report *rep, const struct report_watcher *watcher);

/* Takes the record: a slow one is queued whole, a fast one becomes an access line (when asked for) and is freed here. */
void report_record(struct report *rep, struct record *r);
/* A log sink (base/log.h): context is the report. */
void report_log_sink(void *report, const char *line, size_t len);
/* Opens the files anew (after a logrotate). Any thread; done before the next line is written. */
void report_reopen(struct report *rep);
/* Lines lost since start: the queue was full, or a write failed. Any thread. */
uint64_t report_lines_dropped(const struct report *rep);
uint64_t report_lines_queued(struct report *rep); /* now; any thread */
/* Writes what is queued, for at most wait_ns, ends the thread and frees. Returns the lines lost since start, now with those
 * that nobody read in time. Set the log's sink to something else before. */
uint64_t report_free(struct report *rep, uint64_t wait_ns);

/* The file of a profile of this id, .html or .collapsed.txt. Any thread. false: it is not there. */
bool report_profile_read(const struct config *c, const char *id, const char *suffix, struct buf *out);

/* Where the time of one exchange went, as its samples tell. Derived; pure; for the slow line and the profile page. */
struct digest {
	/* cpu | blocking_call | await | blocked_by | gil_wait | gc | queued | client_slow | connect | unknown */
	const char *cause;
	const char *attribution;        /* task | thread | process | none */
	const char *attribution_reason; /* NULL when it is one of the first two */

	const struct profile_frame
		*frame; /* the line most of the time was spent at, user's code first; NULL: none */
	const struct profile_stack *stack; /* the commonest stack with that frame */
	uint64_t frame_ns;                 /* time in that frame's function */
	enum profile_state frame_state;    /* what was mostly done there */
	enum profile_lane_kind frame_lane; /* and where */
	int16_t frame_syscall;             /* -1: none or unknown */

	uint64_t cpu_ns, blocking_ns, await_ns, gil_wait_ns; /* wall time by samples; 0 = none seen */
	/* The rest of it, where the request's own tasks and threads are known. */
	uint64_t blocked_by_ns, queued_ns, gc_ns;
	uint64_t unsure_ns;    /* of awaiting and being blocked: which of both cannot be told */
	uint64_t held_loop_ns; /* of it: on the event loop, where nothing else could go on meanwhile */
	uint64_t unseen_ns;    /* before the first look, and in holes: taken as what was seen next to it */

	/* Who held the event loop while this request could not go on. */
	uint64_t culprit_ns;                 /* 0: nobody */
	uint64_t culprit_span;               /* 0: no request that we can name */
	const struct capture_other *culprit; /* NULL: at most its span is known */
	const char *culprit_kind;            /* request | task | unknown */
	const struct profile_frame *culprit_frame;
	const struct profile_stack *culprit_stack;
	enum profile_state culprit_state;
	int16_t culprit_syscall;

	/* Which thread had the GIL while this request waited for it. */
	uint64_t gil_holder_ns;                       /* 0: it did not wait, or nobody was seen with it */
	const struct profile_lane *gil_holder_thread; /* of the longest */
	const struct capture_other *gil_holder; /* the request it worked for; NULL: none that is known */
	const struct profile_frame *gil_holder_frame;
	const struct profile_stack *gil_holder_stack;
};
void digest_of(const struct record *r, struct digest *out);

/* Where the profile of a slow request is found; "" or NULL: nowhere. */
struct profile_place {
	const char *id, *file, *url; /* url: of its page */
};
/* The slow line as one JSON object without newline, always valid JSON, always under 12 KiB. */
void slow_line_write(const struct config *c, const struct record *r, const struct digest *d,
	const struct profile_place *place, struct buf *out);

#endif
