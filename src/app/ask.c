/* ask.c - one question to all loops. It is counted: a loop that answers late finds it still there, and the last one frees it. */
#include "ask.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/str.h>

enum { WAIT_MS = 500 };

struct question {
	struct ask *ask;
	struct console_loop *loop;
	struct ask_answer answer; /* the loop's until told */
};

struct ask {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned holders;
	uint32_t unanswered, count;
	bool wants_running;
	struct question *questions;
	struct ask_answer *answers; /* the asker's copies: those that came in time */
};

static void release(struct ask *a)
{
	pthread_mutex_lock(&a->lock);
	bool last = --a->holders == 0;
	pthread_mutex_unlock(&a->lock);
	if (!last)
		return;
	for (uint32_t i = 0; i < a->count; i++)
		free(a->questions[i].answer.running);
	pthread_mutex_destroy(&a->lock);
	pthread_cond_destroy(&a->changed);
	free(a->questions);
	free(a->answers);
	free(a);
}

static const char *phase_now(const struct timeline *t)
{
	if (t->at[MARK_RESPONSE_HEAD] != 0)
		return phase_names[PHASE_DOWNLOAD];
	if (t->at[MARK_REQUEST_SENT] != 0)
		return phase_names[PHASE_APP];
	if (t->at[MARK_UPSTREAM] != 0)
		return phase_names[PHASE_UPLOAD];
	return phase_names[t->at[MARK_CONNECT_BEGIN] != 0 ? PHASE_CONNECT : PHASE_QUEUE];
}

static void copy_text(char *out, size_t out_bytes, const char *text)
{
	str_copy(out, out_bytes, text, strlen(text));
}

static void running_copy(const struct naming *n, const struct record *r, struct ask_running *out)
{
	copy_text(out->request_id, sizeof out->request_id, r->request_id);
	copy_text(out->trace_id, sizeof out->trace_id, r->trace_id);
	copy_text(out->method, sizeof out->method, r->method);
	copy_text(out->path, sizeof out->path, r->path);
	copy_text(out->client_address, sizeof out->client_address, r->client_address);
	copy_text(out->upstream_address, sizeof out->upstream_address, r->upstream_address);
	naming_route(n, r, out->route, &out->route_guessed);
	out->phase = phase_now(&r->timeline);
	out->age_ns = record_duration_ns(r);
	out->threshold_ns = r->threshold_ns;
}

/* On the loop's thread. */
static void tell(void *context)
{
	struct question *q = context;
	struct ask *a = q->ask;
	struct ask_answer *answer = &q->answer;
	answer->proxy = *proxy_counters(q->loop->proxy);
	answer->capture = *capture_counters(q->loop->capture);
	answer->sampler_silent = capture_sampler_silent(q->loop->capture);
	if (a->wants_running) {
		answer->running = xcalloc(ASK_RUNNING_MAX, sizeof *answer->running);
		list_for_each (node, &q->loop->running) {
			if (answer->running_count == ASK_RUNNING_MAX)
				break;
			running_copy(q->loop->naming, LIST_ENTRY(node, struct record, running),
				&answer->running[answer->running_count++]);
		}
	}
	pthread_mutex_lock(&a->lock);
	answer->told = true;
	a->unanswered--;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
	release(a);
}

static void wait_for_answers(struct ask *a)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += WAIT_MS * (long)NS_PER_MS;
	until.tv_sec += until.tv_nsec / (long)NS_PER_S;
	until.tv_nsec %= (long)NS_PER_S;
	pthread_mutex_lock(&a->lock);
	while (a->unanswered != 0 && pthread_cond_timedwait(&a->changed, &a->lock, &until) == 0)
		;
	for (uint32_t i = 0; i < a->count; i++)
		if (a->questions[i].answer.told)
			a->answers[i] = a->questions[i].answer;
	pthread_mutex_unlock(&a->lock);
}

struct ask *ask_loops(struct console *console, bool wants_running)
{
	struct ask *a = xcalloc(1, sizeof *a);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&a->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_mutex_init(&a->lock, NULL);
	a->wants_running = wants_running;
	a->count = a->unanswered = console->loop_count;
	a->holders = a->count + 1;
	a->questions = xcalloc(a->count, sizeof *a->questions);
	a->answers = xcalloc(a->count, sizeof *a->answers);
	pthread_mutex_lock(&console->asking);
	bool asked = !console->closed;
	for (uint32_t i = 0; i < a->count && asked; i++) {
		a->questions[i].ask = a;
		a->questions[i].loop = console->loops[i];
		loop_post(console->loops[i]->loop, tell, &a->questions[i]);
	}
	pthread_mutex_unlock(&console->asking);
	if (asked)
		wait_for_answers(a);
	else
		a->holders = 1;
	return a;
}

const struct ask_answer *ask_answer(const struct ask *a, uint32_t loop)
{
	return &a->answers[loop];
}

void ask_free(struct ask *a)
{
	release(a);
}
