/* profile.h - many stacks become one profile, and a profile becomes a file.
 *
 * A profile owns everything it names. Frames and stacks are interned: equal ones have one index. It is plain data,
 * built by one thread, then handed on whole; reading it needs no functions.
 */
#ifndef SLOWPROXY_PROFILE_H
#define SLOWPROXY_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/map.h>
#include <slowproxy/base/mem.h>

/* What a thread or task was doing when it was looked at. */
enum profile_state {
	PROFILE_UNKNOWN,  /* could not be read */
	PROFILE_RUNNING,  /* on a CPU, or ready to be */
	PROFILE_BLOCKED,  /* in a system call that waits: sleep, socket, file, lock */
	PROFILE_GIL_WAIT, /* waits for the GIL */
	PROFILE_IDLE,     /* waits for work: an event loop in epoll_wait, a pool thread without a job */
	PROFILE_AWAITING, /* a suspended asyncio task */
	PROFILE_STATE_COUNT
};
extern const char *const profile_state_names[PROFILE_STATE_COUNT]; /* "running", "blocked" ... */

enum profile_lane_kind { PROFILE_LANE_LOOP, PROFILE_LANE_THREAD, PROFILE_LANE_TASK };
extern const char *const profile_lane_kind_names[]; /* "loop", "thread", "task" */

struct profile_frame {
	const char *function; /* qualified where the interpreter knows it: "Report.render" */
	const char *file;     /* as the code object says; "" when unknown */
	uint32_t line;        /* 0: unknown */
};

struct profile_stack {
	const uint32_t *frames; /* indexes into frames[], root first */
	uint32_t depth;
};

/* One thread or one asyncio task. The lane of the event loop comes first where it is known. */
struct profile_lane {
	enum profile_lane_kind kind;
	uint64_t id; /* native thread id, or the task's address */
	const char *name;
	uint32_t process; /* its pid; 0: not told (profile_add_lane sets none) */
	bool culprit; /* another's stacks, while they held up what the profile is of (profile_add_lane says no) */
};

/* Whom a thread or task worked for when it was looked at. */
enum profile_serves {
	PROFILE_SERVES_UNKNOWN,
	PROFILE_SERVES_NOBODY,
	PROFILE_SERVES_TASK,   /* a task that belongs to no request we know of */
	PROFILE_SERVES_REQUEST /* proven: the one with this span */
};

struct profile_sample {
	uint64_t at_ns;     /* CLOCK_MONOTONIC */
	uint64_t weight_ns; /* the time this sample stands for */
	uint32_t lane;
	uint32_t stack;
	uint8_t state; /* enum profile_state */
	bool holds_gil;
	int16_t syscall; /* the system call it is blocked in, -1 none or unknown */
	uint8_t serves;  /* enum profile_serves */
	uint32_t
		awaits; /* a task: stands for what it awaits; while it stays the same the task has not gone on */
	uint64_t span;      /* of the request it serves */
	uint64_t due_ns;    /* a task that sleeps: until then; 0: not known */
	bool due_at_latest; /* or earlier */
	uint64_t turn_ns;   /* an event loop: when its present turn began; 0: not known */
	bool ready;         /* a task that could go on, had it the event loop */
};

/* One look at the worker, which its samples belong to: they have the same instant. */
struct profile_look {
	uint64_t at_ns;
	bool tasks; /* it went over the tasks too */
	bool whole; /* a request that none of its samples serves has no thread and no task */
	bool gc;    /* the garbage collector ran */
};

struct profile {
	struct profile_frame *frames;
	size_t frame_count, frame_capacity;
	struct profile_stack *stacks;
	size_t stack_count, stack_capacity;
	struct profile_lane *lanes;
	size_t lane_count, lane_capacity;
	struct profile_sample *samples; /* in time order */
	size_t sample_count, sample_capacity;
	struct profile_look *looks; /* in time order; may be none */
	size_t look_count, look_capacity;
	struct map frame_index, stack_index, lane_index; /* private: interning */
};

struct profile *profile_new(void);
void profile_free(struct profile *p);
/* Each returns the index of the equal one when there is one (a lane: of the same kind and id). Texts and frames are copied. */
uint32_t profile_add_frame(struct profile *p, const char *function, const char *file, uint32_t line);
uint32_t profile_add_stack(struct profile *p, const uint32_t *frames, uint32_t depth);
uint32_t profile_add_lane(struct profile *p, enum profile_lane_kind kind, uint64_t id, const char *name);
void profile_add_sample(struct profile *p, const struct profile_sample *s);
void profile_add_look(struct profile *p, const struct profile_look *l);

/* Whether the frame is the user's own code: not the standard library, not site-packages/dist-packages, not <frozen ...> or
 * other code without a file, not the script in bin/ that starts uvicorn. */
bool profile_frame_is_user(const struct profile_frame *f);

/* "clock_nanosleep"; NULL when the number is not one of the calls that wait. */
const char *profile_syscall_name(int16_t number);

/* A line of facts shown above a rendered profile: "Route" "GET /report". Lent. */
struct profile_fact {
	const char *name, *value;
};

/* A part of the whole time, in order: "app", 1490 ms. Lent. */
struct profile_part {
	const char *name;
	uint64_t ns;
};

/* How a profile is to be shown. Everything is lent, and may be left zero. */
/* What was going on from then to then: the bands above the timeline. */
struct profile_stretch {
	const char *band, *name;
	uint64_t from_ns, to_ns; /* CLOCK_MONOTONIC */
};

struct profile_view {
	const char *title;
	const char *summary; /* one sentence under the title */
	const struct profile_fact *facts;
	size_t fact_count;
	const struct profile_part *parts; /* a bar under the facts */
	size_t part_count;
	const struct profile_stretch *stretches; /* of each band in time order */
	size_t stretch_count;
	const struct profile_frame *line; /* the frame to point at */
	uint64_t begin_ns,
		end_ns;     /* CLOCK_MONOTONIC: the axis of time; 0: from the first sample to the last */
	bool lanes;         /* root each stack in its thread or task */
	bool idle;          /* include idle samples */
	bool no_lines;      /* functions only */
	uint64_t period_ns; /* between two looks; 0: not known */
	/* For pprof: labels of each sample, and when the profile was taken (CLOCK_REALTIME). */
	const struct profile_fact *labels;
	size_t label_count;
	uint64_t wall_ns;
};

/* Collapsed stacks: "root (file:line);...;leaf (file:line) N" a line, root first, N samples; ';' and newlines in names are
 * replaced. Read by flamegraph.pl, inferno, speedscope. */
void profile_write_collapsed(const struct profile *p, const struct profile_view *view, struct buf *out);
/* A drawing for a browser, self-contained, with search and zoom: what users of flamegraph.pl and py-spy know. */
void profile_write_svg(const struct profile *p, const struct profile_view *view, struct buf *out);
/* For speedscope.app: each thread and each task is a profile of its own, in time order. */
void profile_write_speedscope(const struct profile *p, const struct profile_view *view, struct buf *out);
/* For chrome://tracing and Perfetto: the Trace Event format, a slice for each call that was seen, in its thread. */
void profile_write_chrometrace(const struct profile *p, const struct profile_view *view, struct buf *out);
/* For profiler.firefox.com: its processed format, a thread for each lane. */
void profile_write_gecko(const struct profile *p, const struct profile_view *view, struct buf *out);
/* For Python's pstats, and what is built on it (snakeviz): the table of cProfile, sampled. Wants frames that are functions. */
void profile_write_pstats(const struct profile *p, const struct profile_view *view, struct buf *out);
/* For pprof and Pyroscope, gzipped; two values, samples and wall time. */
void profile_write_pprof(const struct profile *p, const struct profile_view *view, struct buf *out);
/* For Grafana's flame graph panel: a JSON array of {level, value, self, label}, depth-first, times in ns. */
void profile_write_rows(const struct profile *p, const struct profile_view *view, struct buf *out);
/* One self-contained page, no network, works from file://: flame graph and timeline with search, zoom and details, facts on
 * top. The page holds every sample; view->idle and view->lanes only set its switches. */
void profile_write_html(const struct profile *p, const struct profile_view *view, struct buf *out);

/* Behind what is there already; both stay the caller's. */
void profile_append(struct profile *to, const struct profile *from);

/* What requests of one kind spent their time on, against those of another: slow ones against normal ones. Lent. */
struct profile_diff {
	const char *title;
	const struct profile *slow, *normal;
	uint32_t slow_requests, normal_requests; /* none of them 0 */
};
/* As wide as a slow request's time; red is what a normal one spends less on, blue what it spends more on. */
void profile_write_diff_svg(const struct profile_diff *d, struct buf *out);
/* The same, below a table of functions. */
void profile_write_diff_html(const struct profile_diff *d, struct buf *out);
/* "root;...;leaf NORMAL SLOW" a line, in microseconds for each request: read by flamegraph.pl after difffolded.pl, and by inferno. */
void profile_write_diff_collapsed(const struct profile_diff *d, struct buf *out);

/* Back from a page of ours, the order in time included. Owned; NULL: it is none. */
struct profile *profile_read_html(const char *page);

#endif
