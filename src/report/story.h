/* story.h - what one request was doing at each look at its worker, told by its own threads and tasks. */
#ifndef SLOWPROXY_REPORT_STORY_H
#define SLOWPROXY_REPORT_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/record.h>

enum doing {
	DOING_UNKNOWN,
	DOING_CPU,
	DOING_BLOCKING,   /* in a system call, on the event loop or in a thread of its own */
	DOING_AWAIT,      /* for something that was not there yet */
	DOING_BLOCKED_BY, /* could have gone on, had another not held the event loop */
	DOING_QUEUED,     /* sent, but nobody has begun with it */
	DOING_GIL_WAIT,
	DOING_GC,
	DOING_COUNT
};

struct story_look {
	enum doing doing;
	bool unsure; /* awaiting or blocked: what it awaited may have been there or not */
	uint64_t weight_ns;
	uint64_t from_ns, to_ns;             /* what it stands for; holes in between were seen by nobody */
	const struct profile_sample *own;    /* its most telling sample; NULL: none */
	uint64_t turn_ns;                    /* the present turn of the loop began then; 0: not known */
	uint64_t due_ns;                     /* the last of its sleeps is over then; 0: not known */
	const struct profile_sample *holder; /* another's, on the event loop; NULL: the loop was free */
	const struct profile_sample *gil;    /* of the thread that had the GIL; NULL: none, or its own */
};

struct story {
	struct story_look *looks; /* owned; one per look of the profile */
	size_t count;
	size_t own_looks; /* those with a sample of its own */
	uint64_t ns[DOING_COUNT];
	uint64_t unseen_ns;
	uint64_t unsure_ns; /* of awaiting and being blocked: which of both cannot be told */
	bool ever_whole;    /* at some look everybody was seen: who is not found at others is not hidden */
	bool job_taken;     /* while being told: a thread has worked for what it awaits now */
	bool began_late;    /* it had no task when first looked for, though all were seen */
};

void story_of(const struct record *r, struct story *out);
void story_clear(struct story *s);

#endif
