/* admin.h - the listener for people and monitoring: pages, metrics, health, profiles.
 *
 *   writer thread --admin_slow--> store (bounded) --.
 *   any thread ----admin_set_state------------------+--> the admin's own thread: a small HTTP server (libevent's evhttp)
 *   loops <--- admin_source asks them, and waits ---'
 *
 * Its thread may wait; nobody waits for it. Connections, their time, what they may send and what is kept are bounded.
 */
#ifndef SLOWPROXY_ADMIN_H
#define SLOWPROXY_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include <slowproxy/base/json.h>
#include <slowproxy/config.h>
#include <slowproxy/metrics.h>
#include <slowproxy/profile.h>
#include <slowproxy/record.h>

struct admin;

enum admin_state {
	ADMIN_STARTING, /* /readyz: 503 */
	ADMIN_READY,
	ADMIN_DRAINING /* 503 again: whoever sends traffic should send it elsewhere */
};

/* Where answers come from. All are called on the admin's thread; context is passed. */
struct admin_source {
	void (*metrics)(void *context, struct exposition *e);
	/* Requests that are under way now, as members of a JSON array that is open. */
	void (*inflight)(void *context, struct json *j);
	/* Members of a JSON object that is open: numbers of the whole, for the page. */
	void (*status)(void *context, struct json *j);
	void *context;
};

/* Takes fd, a listening socket, and starts the thread. config outlives it. */
struct admin *admin_new(const struct config *config, int fd, const struct admin_source *source);
/* Any thread. */
void admin_set_state(struct admin *a, enum admin_state state);
/* Somebody else answers at this address from now on: no new connections. Any thread. */
void admin_retire(struct admin *a);
/* What profile_url begins with, "http://127.0.0.1:9180"; "" when it cannot be told. Valid while a is. */
const char *admin_url(const struct admin *a);

/* A slow request. Called by the writer thread. line: its JSON object; page: its flame graph page, or NULL when that lies in
 * capture.directory; profile: taken, may be NULL as id then is. */
struct admin_slow {
	const char *id;
	const char *line;
	size_t line_len;
	const char *page;
	size_t page_len;
	struct profile *profile;
};
void admin_slow(struct admin *a, const struct admin_slow *slow);

/* What one request of this route ("": of none) spent its time on; added up by route. Takes the profile. Called by the writer thread. */
void admin_told(struct admin *a, const char *route, bool slow, struct profile *profile);

/* Gives the last answers, for half a second at most, and ends the thread: from here on the source is not asked. NULL is fine. */
void admin_stop(struct admin *a);
void admin_free(struct admin *a); /* after admin_stop; NULL is fine */

#endif
