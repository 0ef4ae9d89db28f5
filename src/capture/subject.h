/* subject.h - an exchange that grew older than capture.arm_after, and the desk all of them lie on.
 *
 *   began ──> young list ──arm_after──> WAITING ──START sent──> STARTED ──ended, slow──> ENDING ──END, or 250 ms──> finished
 *                                          ^                       |  `──max_duration──> SHOWN ──ended──> finished
 *                                          `──the sampler is gone──'
 *   A fast one leaves from any state at once.
 */
#ifndef SLOWPROXY_CAPTURE_SUBJECT_H
#define SLOWPROXY_CAPTURE_SUBJECT_H

#include <slowproxy/capture.h>
#include <slowproxy/ipc.h>

#include "board.h"
#include "dictionary.h"
#include "history.h"

enum subject_state {
	SUBJECT_NEW,
	SUBJECT_WAITING, /* START could not be sent yet: no upstream connection, no sampler, no room in the channel */
	SUBJECT_STARTED,
	SUBJECT_ENDING, /* ended slow; the sampler's last word is awaited */
	SUBJECT_SHOWN,  /* captured up to capture.max_duration, no longer since */
	SUBJECT_STATE_COUNT
};

struct subject {
	struct list_node node;   /* among those of its state */
	struct list_node by_age; /* among all that may still be cut, oldest first */
	enum subject_state state;
	struct record *record;
	uint64_t id;
	uint64_t armed_ns;
	uint64_t give_up_ns; /* ENDING: waits no longer than this */
	bool asked;          /* ENDING: STOP was sent */
	bool answered;       /* ENDING: the last word has come */
	/* What the sampler said of it. */
	struct history *history; /* counted in users; NULL: no worker is known */
	bool heard;              /* TARGET came */
	enum ipc_status status;
	uint64_t found_ns;            /* when a readable worker was known */
	bool was_queued;              /* NOT_ACCEPTED was said meanwhile */
	struct capture_result target; /* pid, python, server, reason */
};

struct capture {
	struct loop *loop;
	const struct config *config;
	struct capture_sink sink;
	struct capture_counters counters;

	int channel; /* -1: none */
	struct watch *watch;
	bool silent; /* did not answer in time; nothing is awaited from it until it speaks again */
	struct dictionary *dictionary;
	struct map histories; /* worker key -> struct history * */
	uint64_t garbage;

	uint64_t normal_next_ns; /* the next request from then on is looked at though it may not be slow */
	struct list young;       /* records, in the order they began */
	struct timer arm_timer;
	struct list subjects[SUBJECT_STATE_COUNT];
	size_t ending_count;
	struct list by_age;
	struct map by_id;
	struct capture_board *board; /* lent */
	uint64_t next_id;
	struct timer chores_timer;
};

/* --- subject.c --- */
struct subject *subject_new(struct capture *c, struct record *r);
void subject_free(struct capture *c, struct subject *s);
/* The one place where a subject changes its state. */
void subject_enter(struct capture *c, struct subject *s, enum subject_state next);
void subject_history_set(struct capture *c, struct subject *s, struct history *h);
/* The backend may have begun with it here. */
uint64_t subject_from_ns(const struct subject *s);
/* Fills result from what is known, with the profile of [from .. until]. */
void subject_result(struct capture *c, struct subject *s, uint64_t until_ns, struct capture_result *result);
/* Sends START. false: not possible now. */
MUST_CHECK bool subject_start(struct capture *c, struct subject *s);
MUST_CHECK bool subject_stop(struct capture *c, struct subject *s, bool wants_end);

/* --- others.c --- */
/* Names the requests that held up this one, as far as we know them. */
void others_fill(struct capture *c, const struct subject *s, struct capture_result *result);
/* Its worker is known now: the other loops may ask for it. */
void others_armed(struct capture *c, const struct subject *s);
/* A request ends: it may be asked for a little later. */
void others_ended(struct capture *c, const struct record *r);
/* What was not counted as a slow request's time on a worker's event loop. */
void others_loop_blocked(struct capture *c, int32_t pid, uint64_t ns);
/* The backend was sent the request; 0: not yet. */
uint64_t record_sent_ns(const struct record *r);

/* --- victims.c --- */
/* Counts the requests that waited while this one held the event loop; after its profile was cut with this window. */
void victims_count(
	struct capture *c, const struct subject *s, const struct window *w, struct capture_result *result);

/* --- hear.c --- */
void capture_hear(void *capture); /* the channel is readable */
/* true: nothing more is there to be heard now. */
bool capture_hear_some(struct capture *c);
void capture_channel_lost(struct capture *c);
/* Keeps what histories hold in bounds. */
void capture_trim(struct capture *c);

#endif
