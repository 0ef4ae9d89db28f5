/* admin_private.h - what the files of this room share and nobody else sees. */
#ifndef SLOWPROXY_ADMIN_PRIVATE_H
#define SLOWPROXY_ADMIN_PRIVATE_H

#include <event2/event.h>
#include <event2/http.h>
#include <pthread.h>
#include <stdatomic.h>

#include <slowproxy/admin.h>
#include <slowproxy/base/buf.h>
#include <slowproxy/base/list.h>

/* --- connections.c: no more than so many at one time --- */
struct connections;
/* Accepts on fd, which stays the caller's to close. */
struct connections *connections_new(struct event_base *base, struct evhttp *http, int fd);
void connections_stop(struct connections *c); /* accepts no more */
/* And breaks the base's loop once all that were accepted have had their answer, or half a second is over. */
void connections_end(struct connections *c);
void connections_free(struct connections *c); /* after the server */

/* --- store.c: the latest slow requests --- */
enum { STORE_LINES_MAX = 200, STORE_ID_BYTES = 33 };
extern const size_t store_bytes_max;

struct kept {
	struct list_node node; /* newest first */
	char id[STORE_ID_BYTES];
	char *line; /* owned JSON */
	size_t line_len;
	char *page; /* owned; NULL: none */
	size_t page_len;
	struct profile *profile; /* owned; NULL: none, or it was the oldest and there was no room */
	size_t bytes;
};

struct store {
	pthread_mutex_t lock;
	struct list kept;
	size_t count, bytes;
};

void store_init(struct store *s);
void store_clear(struct store *s);
void store_add(struct store *s, const struct admin_slow *slow);
/* A JSON array of lines, the newest first, at most max; of one route or cause only where those are given. */
void store_lines(struct store *s, size_t max, struct buf *out);
/* With the lock held; NULL: not here. */
struct kept *store_find(struct store *s, const char *id);

size_t profile_bytes(const struct profile *p);

/* --- told.c: what requests of each route spent their time on --- */
struct told {
	pthread_mutex_t lock;
	struct list routes; /* the one that was heard of last comes first */
	size_t count;
};
void told_init(struct told *t);
void told_clear(struct told *t);
/* Takes the profile. */
void told_add(struct told *t, const char *route, bool slow, struct profile *profile);

/* --- admin.c --- */
struct admin {
	const struct config *config;
	struct admin_source source;
	struct event_base *base;
	struct evhttp *http;
	struct connections *connections;
	struct event *bell_event;
	int fd, bell;
	pthread_t thread;
	atomic_int state;
	atomic_bool retiring, ending;
	char url[256];
	struct store store;
	struct told told;
};

/* --- answer.c: one answer --- */
struct answer {
	int status;
	const char *type;
	const char *file_name; /* "": shown, not saved */
	char file_name_space[96];
	struct buf body;
};
/* A sentence for a person or a script. */
void answer_say(struct answer *a, int status, const char *sentence);
void answer_send(struct answer *a, struct evhttp_request *request);

/* --- profiles.c: the forms a profile has --- */
struct form {
	const char *name;
	void (*write)(const struct profile *p, const struct profile_view *view, struct buf *out);
	const char *type, *extension; /* extension NULL: it is shown, not saved */
	bool functions;
};
/* NULL: there is none of this name. */
const struct form *form_find(const char *name);
void form_answer(const struct form *form, const struct profile *p, const struct profile_view *view,
	const char *id, struct answer *a);

/* --- one function for each path --- */
struct question {
	struct admin *admin;
	const char *path;             /* decoded */
	const struct evkeyvalq *args; /* of the query */
	const char *accept;           /* "" when not said */
};
void page_answer(const struct question *q, struct answer *a);
void healthz_answer(const struct question *q, struct answer *a);
void readyz_answer(const struct question *q, struct answer *a);
void metrics_answer(const struct question *q, struct answer *a);
void slow_answer(const struct question *q, struct answer *a);
void inflight_answer(const struct question *q, struct answer *a);
void status_answer(const struct question *q, struct answer *a);
void config_answer(const struct question *q, struct answer *a);
void routes_answer(const struct question *q, struct answer *a);  /* /profiles?route=... */
void profile_answer(const struct question *q, struct answer *a); /* /profiles/ID */

#endif
