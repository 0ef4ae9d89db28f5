/* record.h - what we know of one exchange: instants, phases, sizes, how it ended, and the samples taken of it.
 *
 * The proxy makes a record when a request's first byte is read, fills it, and hands it on when the exchange has ended.
 * From then on it belongs to whoever took it. A record never points into the proxy, but for upstream_fd, see there.
 */
#ifndef SLOWPROXY_RECORD_H
#define SLOWPROXY_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/list.h>
#include <slowproxy/base/mem.h>
#include <slowproxy/profile.h>

/* Instants of an exchange in their natural order. Stamped on state entry, CLOCK_MONOTONIC ns, 0 = never happened. */
enum mark {
	MARK_BEGIN,          /* first byte of the request read */
	MARK_REQUEST_HEAD,   /* request head complete and checked */
	MARK_CONNECT_BEGIN,  /* an upstream connection is wanted and none was idle: connect(2) called */
	MARK_UPSTREAM,       /* an upstream connection is ours: connected, or taken from the pool */
	MARK_REQUEST_SENT,   /* last byte of the request written upstream */
	MARK_RESPONSE_BEGIN, /* first byte of the final response read */
	MARK_RESPONSE_HEAD,  /* response head ready for the client: X-Response-Time is BEGIN .. here */
	MARK_RESPONSE_END,   /* last byte of the response read from upstream (or the error answer made) */
	MARK_END,            /* the exchange is over: last byte written, or given up */
	MARK_COUNT
};

struct timeline {
	uint64_t at[MARK_COUNT];
};

/* Where the wall time went, as seen by the proxy. The phases that happened add up to the duration exactly. */
enum phase { PHASE_UPLOAD, PHASE_QUEUE, PHASE_CONNECT, PHASE_APP, PHASE_DOWNLOAD, PHASE_COUNT };
extern const char *const phase_names[PHASE_COUNT]; /* "upload", "queue", "connect", "app", "download" */

/* From mark to mark, in time order: what the exchange was in. Their number; fewer than MARK_COUNT. */
struct stretch {
	enum phase phase;
	uint64_t from_ns, to_ns;
};
size_t timeline_stretches(const struct timeline *t, struct stretch out[MARK_COUNT]);
/* false: the phase never happened. */
bool timeline_phase_ns(const struct timeline *t, enum phase phase, uint64_t *ns);
/* Time between two marks; false when either never happened. */
bool timeline_between_ns(const struct timeline *t, enum mark from, enum mark to, uint64_t *ns);

/* Every end of an exchange has one outcome, one sentence and one counter. */
enum outcome {
	OUTCOME_OK,
	OUTCOME_CLIENT_ABORT,
	OUTCOME_CLIENT_TIMEOUT,      /* 408: the request did not arrive in time */
	OUTCOME_BAD_REQUEST,         /* 400 and its kin: refused before the backend saw it */
	OUTCOME_TOO_LARGE,           /* 413, 414, 431 */
	OUTCOME_OVERLOAD,            /* 503: a limit of the proxy */
	OUTCOME_UPSTREAM_UNRESOLVED, /* 502: the name has no address */
	OUTCOME_UPSTREAM_REFUSED,    /* 502: connect failed */
	OUTCOME_UPSTREAM_RESET,      /* 502: closed or reset before a response */
	OUTCOME_UPSTREAM_INVALID,    /* 502: what came back is not HTTP */
	OUTCOME_UPSTREAM_TRUNCATED,  /* closed in mid-body */
	OUTCOME_TIMEOUT_CONNECT,     /* 504 */
	OUTCOME_TIMEOUT_RESPONSE,    /* 504 */
	OUTCOME_TIMEOUT_STREAM,      /* a body stood still for too long */
	OUTCOME_TUNNEL,              /* upgraded, then closed by either side */
	OUTCOME_SHUTDOWN,            /* cut by our own end */
	OUTCOME_COUNT
};
struct outcome_row {
	const char *name;     /* "client_abort": the word in the log */
	const char *sentence; /* "the client closed the connection before the answer was complete" */
	uint16_t status;      /* the status sent when nothing of a response was sent yet; 0: none */
};
extern const struct outcome_row outcomes[OUTCOME_COUNT];

/* How the capture of this exchange went. */
enum capture_status {
	CAPTURE_NONE, /* too fast to be armed */
	CAPTURE_OFF,  /* capture.enabled: false */
	CAPTURE_OK,
	CAPTURE_PARTIAL,     /* some samples failed or came late */
	CAPTURE_DENIED,      /* no permission to read the worker */
	CAPTURE_UNSUPPORTED, /* a Python we cannot read */
	CAPTURE_NOT_PYTHON,
	CAPTURE_NO_WORKER,    /* nobody we can see owns the other end of the connection */
	CAPTURE_NOT_ACCEPTED, /* still in the backlog: no worker has accepted the connection */
	CAPTURE_GONE,         /* the worker ended meanwhile */
	CAPTURE_NO_SAMPLER,   /* the sampler process is down or does not answer */
	CAPTURE_BUDGET,       /* a bound of ours was reached */
	CAPTURE_STATUS_COUNT
};
struct capture_status_row {
	const char *name;   /* "denied": the word in the log */
	const char *advice; /* what to do, when the sampler gave no better reason */
};
extern const struct capture_status_row capture_statuses[CAPTURE_STATUS_COUNT];

/* Another request that worked in the same worker meanwhile. */
enum { CAPTURE_OTHERS_MAX = 8, CAPTURE_OTHER_PATH_BYTES = 256, RECORD_ROUTE_BYTES = 256 };
struct capture_other {
	uint64_t span;
	char request_id[129];
	char method[32];
	char path[CAPTURE_OTHER_PATH_BYTES]; /* without the query; "" when nothing is known but the span */
	char route[RECORD_ROUTE_BYTES];      /* "" when it has no name */
};

struct capture_result {
	enum capture_status status;
	int32_t worker_pid;        /* in our pid namespace; 0 unknown */
	char worker_python[32];    /* "3.11.2" */
	char worker_server[32];    /* "uvicorn", "gunicorn"; "" unknown */
	uint32_t samples;          /* ticks at which the worker was read while this request was armed */
	uint32_t samples_expected; /* ticks that should have been */
	uint32_t samples_failed;
	struct profile *profile;    /* owned; NULL when there are none */
	uint64_t from_ns, until_ns; /* the stretch that the profile speaks of */
	uint64_t
		queued_until_ns; /* no worker had accepted the connection before; 0: it was never asked, or had been */
	uint64_t armed_ns;            /* looks were possible from here on */
	struct capture_other *others; /* owned; those that held event loops or the GIL, the longest first */
	size_t other_count;
	uint32_t
		blocked_others; /* requests that waited while this one held the event loop, as far as was seen */
	uint64_t blocked_others_ns; /* all of them together */
	char reason[256];           /* a sentence; "" when status says it all */
};

enum {
	RECORD_PATH_BYTES = 2048, /* longer paths are cut, and say so in path_cut */
	RECORD_ADDRESS_BYTES = 128
};

struct record {
	struct list_node node; /* for the list of whoever holds it */
	uint64_t id;           /* unique in this process; log lines say x=ID in hex */
	struct timeline timeline;
	uint64_t began_wall_ns;
	uint64_t threshold_ns; /* 0: this exchange cannot be slow */
	bool path_cut;
	bool route_guessed; /* from the look of the path alone */
	uint8_t http_minor;
	uint16_t status; /* sent to the client; 0: none */
	bool upstream_reused;
	uint64_t request_bytes;  /* body bytes read from the client */
	uint64_t response_bytes; /* body bytes written to the client */
	enum outcome outcome;

	/* The upstream socket while the exchange holds one, else -1. Lent to the observer for getsockname(2) and its like between
	 * began and ended; never read, written, kept or closed by it. */
	int upstream_fd;

	bool sampled_anyway; /* chosen to be looked at from its beginning, though it may not be slow */
	bool still_running;  /* the line is written while the request runs: event = slow_request_running */
	void *armed;         /* capture's own; NULL when it has none */
	struct list_node
		running; /* the observer's own: among all that it was told of and that have not ended */
	struct capture_result capture;

	/* Texts come last: a record that serves again has its texts emptied, not cleared to the last byte. */
	char request_id[129];
	char trace_id[33], span_id[17];
	char method[32];
	char client_address[RECORD_ADDRESS_BYTES];
	char upstream_address[RECORD_ADDRESS_BYTES];
	char reason[128];               /* of an outcome other than ok: "connect: Connection refused" */
	char path[RECORD_PATH_BYTES];   /* raw, without the query */
	char route[RECORD_ROUTE_BYTES]; /* "/items/{id}", known at the end; "": it has no name */
};

/* Zeroed but for id, upstream_fd, BEGIN and began_wall_ns, which is now, as begin_ns should be. Kept on a small per-thread list when freed, so a
 * steady loop allocates nothing. May be freed by another thread than made it. */
struct record *record_new(uint64_t begin_ns);
void record_free(struct record *r);
/* Gives back the freed records that the calling thread keeps. Before a thread ends. */
void record_thread_end(void);
/* An owned copy for a report while the exchange runs on: same id, no profile, still_running set. */
struct record *record_copy_running(const struct record *r);

/* BEGIN .. END, or BEGIN .. now while it runs. */
uint64_t record_duration_ns(const struct record *r);
bool record_is_slow(const struct record *r);

#endif
