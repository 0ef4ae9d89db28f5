/* place.c - one place that is pushed to. */
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/base/str.h>

#define LINGER_NS         NS_PER_S /* lines that come together go together */
#define BACKOFF_FIRST_NS  (500 * NS_PER_MS)
#define BACKOFF_MAX_NS    (30 * NS_PER_S)
#define OBEY_AT_MOST_NS   (300 * NS_PER_S) /* what a Retry-After may ask for */
#define COMPLAIN_EVERY_NS (60 * NS_PER_S)

enum { CONNECT_TIMEOUT_MS = 5000, REQUEST_TIMEOUT_MS = 20000, PARCEL_COST = sizeof(struct list_node) + 64 };

const char *const push_place_names[PUSH_PLACES] = { [PUSH_LOKI] = "loki", [PUSH_PYROSCOPE] = "pyroscope" };

static const struct place_kind {
	const char *name, *things, *path;
	size_t batch_bytes; /* of a request, before gzip: at most */
	size_t batch_count;
	void (*begin)(struct buf *out, const struct config *c);
	body_item *add;
	const char *end;
} kinds[PUSH_PLACES] = {
	[PUSH_LOKI] = { "Loki", "lines", "/loki/api/v1/push", 1 << 20, 2000, body_begin_loki, body_add_loki,
		body_end_loki },
	[PUSH_PYROSCOPE] = { "Pyroscope", "profiles", "/push.v1.PusherService/Push", 2 << 20, 50,
		body_begin_pyroscope, body_add_pyroscope, body_end_pyroscope },
};

/* An item as it will stand in a request. */
struct parcel {
	struct list_node node;
	size_t len;
	char bytes[];
};

/* --- the queue --------------------------------------------------------------------------------------------------- */

static size_t cost_of(const struct parcel *p)
{
	return p->len + PARCEL_COST;
}

static struct parcel *take_first(struct list *from)
{
	struct parcel *p = LIST_ENTRY(list_first(from), struct parcel, node);
	list_remove(&p->node);
	return p;
}

/* With the mutex held. */
static void drop_oldest(struct place *p)
{
	struct parcel *oldest = take_first(&p->waiting);
	p->count--;
	p->bytes -= cost_of(oldest);
	atomic_fetch_add(&p->dropped, 1);
	free(oldest);
}

/* What flies cannot be dropped, so it is never much of what the queue may hold: the newest always find room. */
static size_t batch_bytes(const struct place *p)
{
	return MIN(kinds[p->which].batch_bytes, p->settings->queue_bytes / 4);
}

static struct parcel *parcel_new(const struct place *p, const struct push_item *item)
{
	struct buf text = { 0 };
	kinds[p->which].add(&text, p->config, item);
	struct parcel *made = xmalloc(sizeof *made + text.len);
	made->node = (struct list_node){ 0 };
	made->len = text.len;
	memcpy(made->bytes, text.data, text.len);
	buf_clear(&text);
	return made;
}

bool place_put(struct place *p, const struct push_item *item)
{
	struct parcel *made = parcel_new(p, item);
	pthread_mutex_lock(&p->mutex);
	while (p->bytes + cost_of(made) > p->settings->queue_bytes && !list_empty(&p->waiting))
		drop_oldest(p);
	bool fits = p->bytes + cost_of(made) <= p->settings->queue_bytes;
	bool fills_batch = p->bytes < batch_bytes(p) && p->bytes + cost_of(made) >= batch_bytes(p);
	bool wake = fits && (p->first_put_ns == 0 || fills_batch);
	if (fits) {
		list_push_back(&p->waiting, &made->node);
		p->count++;
		p->bytes += cost_of(made);
		if (p->first_put_ns == 0)
			p->first_put_ns = clock_now_ns();
	}
	pthread_mutex_unlock(&p->mutex);
	if (!fits) {
		atomic_fetch_add(&p->dropped, 1);
		free(made);
	}
	return wake;
}

void place_count(struct place *p, struct push_counts *out)
{
	pthread_mutex_lock(&p->mutex);
	*out = (struct push_counts){ .waiting = p->count, .waiting_bytes = p->bytes };
	pthread_mutex_unlock(&p->mutex);
	out->sent = atomic_load(&p->sent);
	out->dropped = atomic_load(&p->dropped);
	out->rejected = atomic_load(&p->rejected);
	out->failures = atomic_load(&p->failures);
}

bool place_is_empty(struct place *p)
{
	pthread_mutex_lock(&p->mutex);
	bool empty = list_empty(&p->waiting);
	pthread_mutex_unlock(&p->mutex);
	return empty && p->flight_count == 0;
}

/* --- one request ------------------------------------------------------------------------------------------------- */

uint64_t place_due_ns(struct place *p, bool at_once)
{
	if (!p->wanted || p->in_request)
		return UINT64_MAX;
	if (p->flight_count != 0)
		return at_once ? 0 : p->not_before_ns;
	pthread_mutex_lock(&p->mutex);
	uint64_t due = p->first_put_ns == 0 ? UINT64_MAX : p->first_put_ns + LINGER_NS;
	if (due != UINT64_MAX && (at_once || p->bytes >= batch_bytes(p)))
		due = 0;
	pthread_mutex_unlock(&p->mutex);
	return due;
}

static void load_flight(struct place *p)
{
	const struct place_kind *kind = &kinds[p->which];
	pthread_mutex_lock(&p->mutex);
	while (!list_empty(&p->waiting) && p->flight_count < kind->batch_count) {
		struct parcel *next = LIST_ENTRY(list_first(&p->waiting), struct parcel, node);
		if (p->flight_count != 0 && p->flight_bytes + cost_of(next) > batch_bytes(p))
			break;
		list_remove(&next->node);
		list_push_back(&p->flight, &next->node);
		p->flight_count++;
		p->flight_bytes += cost_of(next);
	}
	p->first_put_ns = list_empty(&p->waiting) ? 0 : clock_now_ns();
	pthread_mutex_unlock(&p->mutex);
}

static void write_body(struct place *p)
{
	const struct place_kind *kind = &kinds[p->which];
	struct buf plain = { 0 };
	kind->begin(&plain, p->config);
	bool first = true;
	list_for_each (node, &p->flight) {
		const struct parcel *parcel = LIST_ENTRY(node, struct parcel, node);
		if (!first)
			buf_add_char(&plain, ',');
		buf_add(&plain, parcel->bytes, parcel->len);
		first = false;
	}
	buf_add_str(&plain, kind->end);
	body_gzip(&p->body, plain.data, plain.len);
	buf_clear(&plain);
}

void place_begin(struct place *p, CURLM *multi)
{
	if (p->flight_count == 0) {
		load_flight(p);
		write_body(p);
	}
	p->answer[0] = p->error[0] = '\0';
	p->curl->easy_setopt(p->easy, CURLOPT_POSTFIELDS, p->body.data);
	p->curl->easy_setopt(p->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)p->body.len);
	p->curl->multi_add_handle(multi, p->easy);
	p->in_request = true;
}

/* What flew has come to its end, whatever that was. */
static size_t unload_flight(struct place *p)
{
	size_t count = p->flight_count;
	pthread_mutex_lock(&p->mutex);
	p->bytes -= p->flight_bytes;
	p->count -= count;
	pthread_mutex_unlock(&p->mutex);
	list_for_each_safe (node, &p->flight)
		free(LIST_ENTRY(node, struct parcel, node));
	list_init(&p->flight);
	p->flight_count = p->flight_bytes = 0;
	buf_clear(&p->body);
	return count;
}

static bool may_complain(struct place *p)
{
	uint64_t now = clock_now_ns();
	if (p->complained_ns != 0 && now - p->complained_ns < COMPLAIN_EVERY_NS)
		return false;
	p->complained_ns = now;
	return true;
}

static void went_well(struct place *p)
{
	const struct place_kind *kind = &kinds[p->which];
	atomic_fetch_add(&p->sent, unload_flight(p));
	if (p->failing_since_ns != 0)
		log_info("%s takes %s again after %.1f s; %" PRIu64 " %s were dropped meanwhile", kind->name,
			kind->things, (double)(clock_now_ns() - p->failing_since_ns) / NS_PER_S,
			(uint64_t)atomic_load(&p->dropped) - p->dropped_before, kind->things);
	p->failing_since_ns = p->complained_ns = p->backoff_ns = 0;
}

static void was_refused(struct place *p, long status)
{
	const struct place_kind *kind = &kinds[p->which];
	size_t count = unload_flight(p);
	atomic_fetch_add(&p->rejected, count);
	p->backoff_ns = 0;
	if (may_complain(p))
		log_warn("%s refused %zu %s with status %ld, they are lost: %s", kind->name, count,
			kind->things, status, p->answer);
}

/* Half of the pause is chance, so that many sidecars do not come back at one instant. */
static uint64_t next_pause_ns(struct place *p)
{
	uint32_t chance;
	p->backoff_ns = p->backoff_ns == 0 ? BACKOFF_FIRST_NS : MIN(2 * p->backoff_ns, BACKOFF_MAX_NS);
	random_bytes(&chance, sizeof chance);
	uint64_t pause = p->backoff_ns / 2 + (p->backoff_ns / 2) * chance / UINT32_MAX;
	curl_off_t asked_s = 0;
	p->curl->easy_getinfo(p->easy, CURLINFO_RETRY_AFTER, &asked_s);
	uint64_t asked_ns = asked_s > 0 ? MIN((uint64_t)asked_s, OBEY_AT_MOST_NS / NS_PER_S) * NS_PER_S : 0;
	return MAX(pause, asked_ns);
}

static void went_wrong(struct place *p, CURLcode result, long status)
{
	const struct place_kind *kind = &kinds[p->which];
	atomic_fetch_add(&p->failures, 1);
	if (p->failing_since_ns == 0) {
		p->failing_since_ns = clock_now_ns();
		p->dropped_before = atomic_load(&p->dropped);
	}
	p->not_before_ns = clock_now_ns() + next_pause_ns(p);
	if (!may_complain(p))
		return;
	if (result != CURLE_OK)
		log_warn("%s at %s does not take %s: %s; they wait, and it is tried again", kind->name,
			p->url, kind->things,
			p->error[0] != '\0' ? p->error : p->curl->easy_strerror(result));
	else
		log_warn("%s at %s does not take %s: status %ld: %s; they wait, and it is tried again",
			kind->name, p->url, kind->things, status, p->answer);
}

void place_ended(struct place *p, CURLM *multi, CURLcode result)
{
	enum { REQUEST_TIMEOUT = 408, TOO_MANY_REQUESTS = 429, SERVER_ERRORS = 500 };
	long status = 0;
	p->curl->easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
	p->curl->multi_remove_handle(multi, p->easy);
	p->in_request = false;
	if (result == CURLE_OK && status / 100 == 2)
		went_well(p);
	else if (result != CURLE_OK || status == REQUEST_TIMEOUT || status == TOO_MANY_REQUESTS ||
		 status >= SERVER_ERRORS)
		went_wrong(p, result, status);
	else
		was_refused(p, status);
}

size_t place_give_up(struct place *p, CURLM *multi)
{
	if (!p->wanted)
		return 0;
	if (p->in_request)
		p->curl->multi_remove_handle(multi, p->easy);
	p->in_request = false;
	size_t count = unload_flight(p);
	atomic_fetch_add(&p->dropped, count);
	pthread_mutex_lock(&p->mutex);
	count += p->count; /* what waits */
	while (!list_empty(&p->waiting))
		drop_oldest(p);
	pthread_mutex_unlock(&p->mutex);
	return count;
}

/* --- settings ---------------------------------------------------------------------------------------------------- */

static char *url_whole(const struct place *p)
{
	struct buf url = { 0 };
	const char *path = strpbrk(strstr(p->settings->url, "://") + 3, "/?");
	buf_add_str(&url, p->settings->url);
	if (path == NULL || strcmp(path, "/") == 0) {
		url.len -= path != NULL;
		buf_add_str(&url, kinds[p->which].path);
	}
	return buf_take(&url);
}

/* NULL: the file cannot be read. */
static char *password_read(const struct config_push *settings)
{
	char text[4096];
	if (settings->password_file[0] == '\0')
		return xstrdup(settings->password);
	int fd = open(settings->password_file, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	if (len < 0)
		return NULL;
	text[len] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	return xstrdup(text);
}

/* Keeps the first words of the answer, for the log. */
static size_t keep_answer(char *bytes, size_t one, size_t len, void *context)
{
	struct place *p = context;
	size_t have = strlen(p->answer), more = MIN(one * len, sizeof p->answer - 1 - have);
	memcpy(p->answer + have, bytes, more);
	p->answer[have + more] = '\0';
	return one * len;
}

static void add_header(struct place *p, const char *name, const char *value)
{
	struct buf line = { 0 };
	buf_printf(&line, "%s: %s", name, value);
	p->headers = p->curl->slist_append(p->headers, line.data);
	buf_clear(&line);
}

static void make_headers(struct place *p)
{
	add_header(p, "Content-Type", "application/json");
	add_header(p, "Content-Encoding", "gzip");
	p->headers =
		p->curl->slist_append(p->headers, "Expect:"); /* no round trip of its own for a large body */
	if (p->settings->tenant[0] != '\0')
		add_header(p, "X-Scope-OrgID", p->settings->tenant);
	for (size_t i = 0; i < p->settings->headers.count; i++)
		p->headers = p->curl->slist_append(p->headers, p->settings->headers.items[i]);
}

static void set_credentials(struct place *p)
{
	if (p->settings->user[0] != '\0') {
		p->curl->easy_setopt(p->easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
		p->curl->easy_setopt(p->easy, CURLOPT_USERNAME, p->settings->user);
		p->curl->easy_setopt(p->easy, CURLOPT_PASSWORD, p->password);
	} else if (p->password[0] != '\0') {
		p->curl->easy_setopt(p->easy, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
		p->curl->easy_setopt(p->easy, CURLOPT_XOAUTH2_BEARER, p->password);
	}
}

static void make_request(struct place *p)
{
	p->easy = p->curl->easy_init();
	make_headers(p);
	set_credentials(p);
	p->curl->easy_setopt(p->easy, CURLOPT_URL, p->url);
	p->curl->easy_setopt(p->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	p->curl->easy_setopt(p->easy, CURLOPT_HTTPHEADER, p->headers);
	p->curl->easy_setopt(p->easy, CURLOPT_USERAGENT, "slowproxy/" SLOWPROXY_VERSION);
	p->curl->easy_setopt(p->easy, CURLOPT_POST, 1L);
	p->curl->easy_setopt(p->easy, CURLOPT_NOSIGNAL, 1L);
	p->curl->easy_setopt(
		p->easy, CURLOPT_QUICK_EXIT, 1L); /* a name lookup that hangs does not hold up our end */
	p->curl->easy_setopt(p->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
	p->curl->easy_setopt(p->easy, CURLOPT_TIMEOUT_MS, (long)REQUEST_TIMEOUT_MS);
	p->curl->easy_setopt(p->easy, CURLOPT_WRITEFUNCTION, keep_answer);
	p->curl->easy_setopt(p->easy, CURLOPT_WRITEDATA, p);
	p->curl->easy_setopt(p->easy, CURLOPT_ERRORBUFFER, p->error);
	p->curl->easy_setopt(p->easy, CURLOPT_PRIVATE, p);
	if (p->settings->ca_file[0] != '\0')
		p->curl->easy_setopt(p->easy, CURLOPT_CAINFO, p->settings->ca_file);
}

void place_init(struct place *p, enum push_place which, const struct config *c, const struct libcurl *curl)
{
	*p = (struct place){ .which = which, .config = c, .curl = curl };
	p->settings = which == PUSH_LOKI ? &c->logs.loki : &c->capture.pyroscope;
	list_init(&p->waiting);
	list_init(&p->flight);
	pthread_mutex_init(&p->mutex, NULL);
	if (p->settings->url == NULL || p->settings->url[0] == '\0')
		return;
	p->password = password_read(p->settings);
	if (p->password == NULL) {
		log_error("%s cannot be read, nothing is pushed to %s: %s", p->settings->password_file,
			kinds[which].name, strerror(errno));
		return;
	}
	p->wanted = true;
	p->url = url_whole(p);
	make_request(p);
}

void place_clear(struct place *p)
{
	if (p->easy != NULL)
		p->curl->easy_cleanup(p->easy);
	p->curl->slist_free_all(p->headers);
	free(p->url);
	free(p->password);
	pthread_mutex_destroy(&p->mutex);
}
