/* serving.h - whom each thread and task of a worker serves, told by what the server holds in its frames.
 *
 *   lane -> a frame of a known kind -> local variable -> ... -> traceparent -> span id        (the table in serving.c)
 *   pool thread -> the future it works for -> the task that waits for it -> the same
 *
 * Found once per request, then kept by the frame's address and proven at each look: the variable still holds the same
 * object, and the header's text is alive and the same. What cannot be proven is unknown, never a guess.
 */
#ifndef SLOWPROXY_SAMPLER_SERVING_H
#define SLOWPROXY_SAMPLER_SERVING_H

#include <stdbool.h>
#include <stdint.h>

#include <slowproxy/base/map.h>
#include <slowproxy/ipc.h>
#include <slowproxy/pystack.h>

struct anchor;

/* The answer for one lane. */
struct served {
	uint64_t span;
	enum ipc_serves who;
};

struct serving {
	struct map rows;      /* code id -> row of the table and place of its variable; 0: of no interest */
	struct map anchors;   /* frame address -> struct anchor * */
	struct map by_thread; /* native thread id -> span it served at the last look */
	struct map by_task;   /* task address -> address of the frame its anchor was found in */
	struct map jobs;      /* address of a pool thread's frame -> struct job *: the task it works for */
	struct map links;     /* task -> struct link *: what was found by asking who waits for it */
	uint64_t looks;
	struct served *threads, *tasks; /* of the last look, beside its threads and tasks */
	size_t thread_capacity, task_capacity;
	bool hides; /* a server that keeps requests where they cannot be seen (greenlets) */
	bool whole; /* nothing of the last look stayed unsearched for lack of time */
};

/* Fills threads and tasks for this look. */
void serving_look(struct serving *s, struct py_process *p, const struct py_sample *sample, bool tasks);
/* After py_process_forget_code, and at the end. */
void serving_clear(struct serving *s);

/* "00-<trace id>-<span id>-01": the span id as a number; 0: not such a text. */
uint64_t span_of_traceparent(const char *text);

#endif
