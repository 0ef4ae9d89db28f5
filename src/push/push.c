/* push.c - the thread that pushes.
 *
 * It sleeps in curl_multi_poll until an answer comes, a batch is due, or somebody put the first item into an empty queue.
 */
#include <slowproxy/push.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/base/thread.h>

#include "place.h"

enum { SLEEP_AT_MOST_MS = 60000 };

struct push {
	struct libcurl curl;
	struct place places[PUSH_PLACES];
	CURLM *multi;
	pthread_t thread;
	bool started;
	atomic_bool stopping;
	atomic_uint_fast64_t deadline_ns; /* counts while stopping */
};

/* --- the thread -------------------------------------------------------------------------------------------------- */

/* Begins what is due, and says how long nothing else will be. */
static int begin_due(struct push *p, bool stopping)
{
	uint64_t now = clock_now_ns(), next = now + SLEEP_AT_MOST_MS * NS_PER_MS;
	if (stopping)
		next = MIN(next, atomic_load(&p->deadline_ns));
	for (int i = 0; i < PUSH_PLACES; i++) {
		uint64_t due = place_due_ns(&p->places[i], false);
		if (due <= now)
			place_begin(&p->places[i], p->multi);
		else
			next = MIN(next, due);
	}
	return next > now ? (int)((next - now) / NS_PER_MS) + 1 : 0;
}

static void take_answers(struct push *p)
{
	int left;
	for (const CURLMsg *m; (m = p->curl.multi_info_read(p->multi, &left)) != NULL;) {
		struct place *place;
		if (m->msg != CURLMSG_DONE)
			continue;
		CURLcode result = m->data.result;
		p->curl.easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &place);
		place_ended(place, p->multi, result);
	}
}

static bool all_empty(struct push *p)
{
	for (int i = 0; i < PUSH_PLACES; i++)
		if (!place_is_empty(&p->places[i]))
			return false;
	return true;
}

/* At the end pauses do not count: what waits is tried at once, again only as a place's pauses have it. */
static void hurry(struct push *p)
{
	for (int i = 0; i < PUSH_PLACES; i++)
		if (place_due_ns(&p->places[i], true) == 0)
			place_begin(&p->places[i], p->multi);
}

static void *push_main(void *context)
{
	struct push *p = context;
	bool hurried = false;
	for (;;) {
		bool stopping = atomic_load(&p->stopping);
		if (stopping && (all_empty(p) || clock_now_ns() >= atomic_load(&p->deadline_ns)))
			return NULL;
		if (stopping && !hurried)
			hurry(p);
		hurried = stopping;
		int running;
		p->curl.multi_perform(p->multi, &running);
		take_answers(p);
		p->curl.multi_poll(
			p->multi, NULL, 0, begin_due(p, stopping), NULL); /* not at all, when one began */
	}
}

/* --- the face ---------------------------------------------------------------------------------------------------- */

struct push *push_new(const struct config *config)
{
	if (config->logs.loki.url[0] == '\0' && config->capture.pyroscope.url[0] == '\0')
		return NULL;
	struct push *p = xcalloc(1, sizeof *p);
	const char *why;
	if (!libcurl_load(&p->curl, &why)) {
		log_error("nothing is pushed to Loki or Pyroscope: %s", why);
		free(p);
		return NULL;
	}
	p->curl.global_init(CURL_GLOBAL_DEFAULT);
	for (int i = 0; i < PUSH_PLACES; i++)
		place_init(&p->places[i], (enum push_place)i, config, &p->curl);
	if (push_wants(p, PUSH_LOKI) || push_wants(p, PUSH_PYROSCOPE)) {
		p->multi = p->curl.multi_init();
		return p;
	}
	push_free(p, 0);
	return NULL;
}

void push_start(struct push *p)
{
	thread_start(&p->thread, "push", push_main, p);
	p->started = true;
}

bool push_wants(const struct push *p, enum push_place place)
{
	return p != NULL && p->places[place].wanted;
}

void push_put(struct push *p, enum push_place place, const struct push_item *item)
{
	if (push_wants(p, place) && place_put(&p->places[place], item))
		p->curl.multi_wakeup(p->multi);
}

void push_count(struct push *p, enum push_place place, struct push_counts *out)
{
	place_count(&p->places[place], out);
}

static void thread_end(struct push *p, uint64_t wait_ns)
{
	atomic_store(&p->deadline_ns, clock_now_ns() + wait_ns);
	atomic_store(&p->stopping, true);
	p->curl.multi_wakeup(p->multi);
	pthread_join(p->thread, NULL);
}

void push_free(struct push *p, uint64_t wait_ns)
{
	if (p == NULL)
		return;
	if (p->started)
		thread_end(p, wait_ns);
	for (int i = 0; i < PUSH_PLACES; i++) {
		size_t lost = place_give_up(&p->places[i], p->multi);
		if (lost != 0)
			log_warn("%zu items for %s were not sent before the end", lost, push_place_names[i]);
		place_clear(&p->places[i]);
	}
	if (p->multi != NULL)
		p->curl.multi_cleanup(p->multi);
	p->curl.global_cleanup();
	free(p);
}
