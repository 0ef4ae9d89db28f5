/* admin.c - the admin listener: its thread, and which function answers which path. */
#include "admin_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>

#include <slowproxy/base/log.h>
#include <slowproxy/base/thread.h>
#include <slowproxy/net.h>

enum { HEAD_BYTES_MAX = 16 << 10, BODY_BYTES_MAX = 0, SECONDS_MAX = 10 };

static const struct admin_path {
	const char *path; /* a trailing slash: and all below it */
	void (*answer)(const struct question *q, struct answer *a);
} paths[] = {
	{ "/", page_answer },
	{ "/healthz", healthz_answer },
	{ "/readyz", readyz_answer },
	{ "/metrics", metrics_answer },
	{ "/api/slow", slow_answer },
	{ "/api/inflight", inflight_answer },
	{ "/api/status", status_answer },
	{ "/api/config", config_answer },
	{ "/profiles", routes_answer },
	{ "/profiles/", profile_answer },
};

static const struct admin_path *path_find(const char *path)
{
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		size_t len = strlen(paths[i].path);
		bool below = len > 1 && paths[i].path[len - 1] == '/';
		if (strcmp(path, paths[i].path) == 0 || (below && strncmp(path, paths[i].path, len) == 0))
			return &paths[i];
	}
	return NULL;
}

static void on_request(struct evhttp_request *request, void *context)
{
	struct answer a = { .status = 200, .type = "application/json" };
	struct question q = { .admin = context, .accept = "" };
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	const char *raw = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
	const char *query = uri != NULL ? evhttp_uri_get_query(uri) : NULL;
	const char *accept = evhttp_find_header(evhttp_request_get_input_headers(request), "Accept");
	struct evkeyvalq args;
	TAILQ_INIT(&args);
	if (query != NULL && evhttp_parse_query_str(query, &args) != 0)
		TAILQ_INIT(&args);
	char *path = evhttp_uridecode(raw != NULL && raw[0] != '\0' ? raw : "/", 0, NULL);
	const struct admin_path *row = path != NULL ? path_find(path) : NULL;
	q.path = path;
	q.args = &args;
	if (accept != NULL)
		q.accept = accept;
	if (row != NULL)
		row->answer(&q, &a);
	else
		answer_say(&a, 404,
			"there is no such page; there are /, /healthz, /readyz, /metrics, /api/slow, /api/inflight, "
			"/api/status, /api/config, /profiles?route=ROUTE and /profiles/ID");
	answer_send(&a, request);
	evhttp_clear_headers(&args);
	free(path);
}

/* Somebody wants something of the thread. */
static void on_bell(evutil_socket_t fd, short what, void *context)
{
	struct admin *a = context;
	uint64_t rings;
	(void)what;
	if (read(fd, &rings, sizeof rings) < 0 && errno != EAGAIN)
		return;
	if (atomic_load(&a->ending))
		connections_end(a->connections);
	else if (atomic_load(&a->retiring))
		connections_stop(a->connections);
}

static void ring(struct admin *a)
{
	uint64_t one = 1;
	ssize_t rung = write(a->bell, &one, sizeof one);
	(void)rung; /* EAGAIN: it rings already */
}

static void *thread_main(void *context)
{
	struct admin *a = context;
	event_base_dispatch(a->base);
	return NULL;
}

/* Where a person's browser finds us: the address as bound, which knows the port that 0 became. */
static void url_find(struct admin *a)
{
	struct net_address at = { .len = sizeof at.storage };
	char text[128], host[64] = "";
	const char *told = a->config->admin.url;
	if (told != NULL && told[0] != '\0') {
		size_t len = strlen(told);
		snprintf(a->url, sizeof a->url, "%.*s", (int)(len - (told[len - 1] == '/')), told);
		return;
	}
	if (getsockname(a->fd, (struct sockaddr *)&at.storage, &at.len) != 0 ||
		at.storage.ss_family == AF_UNIX)
		return;
	net_address_text(&at, text, sizeof text);
	const char *port = strrchr(text, ':');
	bool everywhere = strncmp(text, "0.0.0.0:", 8) == 0 || strncmp(text, "[::]:", 5) == 0;
	if (everywhere && gethostname(host, sizeof host - 1) == 0 && port != NULL)
		snprintf(a->url, sizeof a->url, "http://%s%s", host, port);
	else
		snprintf(a->url, sizeof a->url, "http://%s", text);
}

struct admin *admin_new(const struct config *config, int fd, const struct admin_source *source)
{
	struct admin *a = xcalloc(1, sizeof *a);
	a->config = config;
	a->source = *source;
	a->fd = fd;
	store_init(&a->store);
	told_init(&a->told);
	url_find(a);
	a->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	a->base = event_base_new();
	a->http = a->base != NULL ? evhttp_new(a->base) : NULL;
	if (a->http == NULL || a->bell < 0) {
		log_error("the admin listener cannot be started: %s", strerror(errno));
		abort();
	}
	evhttp_set_max_headers_size(a->http, HEAD_BYTES_MAX);
	evhttp_set_max_body_size(a->http, BODY_BYTES_MAX);
	evhttp_set_timeout(a->http, SECONDS_MAX);
	evhttp_set_allowed_methods(a->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_gencb(a->http, on_request, a);
	a->connections = connections_new(a->base, a->http, fd);
	a->bell_event = event_new(a->base, a->bell, EV_READ | EV_PERSIST, on_bell, a);
	event_add(a->bell_event, NULL);
	thread_start(&a->thread, "admin", thread_main, a);
	return a;
}

void admin_set_state(struct admin *a, enum admin_state state)
{
	atomic_store(&a->state, state);
}

void admin_retire(struct admin *a)
{
	atomic_store(&a->retiring, true);
	ring(a);
}

const char *admin_url(const struct admin *a)
{
	return a->url;
}

void admin_slow(struct admin *a, const struct admin_slow *slow)
{
	store_add(&a->store, slow);
}

void admin_told(struct admin *a, const char *route, bool slow, struct profile *profile)
{
	told_add(&a->told, route, slow, profile);
}

void admin_stop(struct admin *a)
{
	if (a == NULL)
		return;
	atomic_store(&a->ending, true);
	ring(a);
	pthread_join(a->thread, NULL);
}

void admin_free(struct admin *a)
{
	if (a == NULL)
		return;
	event_free(a->bell_event);
	evhttp_free(a->http);
	connections_free(a->connections);
	event_base_free(a->base);
	close(a->bell);
	close(a->fd);
	store_clear(&a->store);
	told_clear(&a->told);
	free(a);
}
