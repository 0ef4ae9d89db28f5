/* place.h - one place that is pushed to: its queue, the one request that is on its way, and how it backs off.
 *
 *   place_put (any thread) --> waiting --> flight (a batch, one request) --> sent | rejected | tried again later
 *
 * Owned by struct push. Below the line all belongs to the push thread alone.
 */
#ifndef SLOWPROXY_PUSH_PLACE_H
#define SLOWPROXY_PUSH_PLACE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <slowproxy/base/list.h>

#include "body.h"
#include "libcurl.h"

struct place {
	enum push_place which;
	const struct libcurl *curl;
	const struct config *config;
	const struct config_push *settings;
	char *url, *password;
	bool wanted;

	pthread_mutex_t mutex;
	struct list waiting;   /* struct parcel, the oldest first */
	size_t count;          /* of all that wait or fly */
	size_t bytes;          /* of all that wait or fly */
	uint64_t first_put_ns; /* of what waits: the oldest; 0: nothing waits */
	atomic_uint_fast64_t sent, dropped, rejected, failures;

	/* ---------------------------------------------------------------------------------------------------------- */
	CURL *easy;
	struct curl_slist *headers;
	bool in_request;
	struct list flight;
	size_t flight_count, flight_bytes;
	struct buf body;
	char answer[160]; /* the first words of what the place says */
	char error[CURL_ERROR_SIZE];
	uint64_t not_before_ns, backoff_ns;
	uint64_t failing_since_ns; /* 0: all is well */
	uint64_t dropped_before;   /* when it began to fail */
	uint64_t complained_ns;
};

void place_init(struct place *p, enum push_place which, const struct config *c, const struct libcurl *curl);
void place_clear(struct place *p);

/* Any thread. true: the push thread should look. */
bool place_put(struct place *p, const struct push_item *item);
void place_count(struct place *p, struct push_counts *out);

/* The push thread's. When a request should begin: 0 is now, UINT64_MAX is not before something changes. */
uint64_t place_due_ns(struct place *p, bool at_once);
void place_begin(struct place *p, CURLM *multi);
void place_ended(struct place *p, CURLM *multi, CURLcode result);
/* The end: gives up what flies and what waits. Returns how many items that were. */
size_t place_give_up(struct place *p, CURLM *multi);
bool place_is_empty(struct place *p);

#endif
