/* told.c - /profiles?route=...: what requests of one route spent their time on, slow ones, normal ones, and both compared.
 *
 *   route -> the latest slow requests, the latest normal ones        one sample for each look at a request
 *
 * Bounded: 64 routes, of each kind the latest 64 requests and 256 KiB of samples and stacks; so at most 32 MiB.
 */
#include "admin_private.h"

#include <stdlib.h>
#include <string.h>

#include <event2/keyvalq_struct.h>

enum { ROUTES_MAX = 64, REQUESTS_MAX = 64, KIND_BYTES_MAX = 256 << 10 };
enum told_kind { TOLD_NORMAL, TOLD_SLOW, TOLD_KINDS };

struct told_request {
	struct list_node node;
	struct profile *profile; /* owned */
	size_t bytes;
};

struct told_route {
	struct list_node node;
	char *name;
	struct {
		struct list requests; /* the oldest first */
		size_t count, bytes;
	} kinds[TOLD_KINDS];
};

void told_init(struct told *t)
{
	pthread_mutex_init(&t->lock, NULL);
	list_init(&t->routes);
}

static void request_drop(struct told_route *r, enum told_kind kind, struct told_request *q)
{
	list_remove(&q->node);
	r->kinds[kind].count--;
	r->kinds[kind].bytes -= q->bytes;
	profile_free(q->profile);
	free(q);
}

static void route_drop(struct told *t, struct told_route *r)
{
	for (enum told_kind kind = 0; kind < TOLD_KINDS; kind++)
		list_for_each_safe (node, &r->kinds[kind].requests)
			request_drop(r, kind, LIST_ENTRY(node, struct told_request, node));
	list_remove(&r->node);
	t->count--;
	free(r->name);
	free(r);
}

void told_clear(struct told *t)
{
	list_for_each_safe (node, &t->routes)
		route_drop(t, LIST_ENTRY(node, struct told_route, node));
	pthread_mutex_destroy(&t->lock);
}

static struct told_route *route_find(struct told *t, const char *name)
{
	list_for_each (node, &t->routes) {
		struct told_route *r = LIST_ENTRY(node, struct told_route, node);
		if (strcmp(r->name, name) == 0)
			return r;
	}
	return NULL;
}

static struct told_route *route_for(struct told *t, const char *name)
{
	struct told_route *r = route_find(t, name);
	if (r == NULL) {
		r = xcalloc(1, sizeof *r);
		r->name = xstrdup(name);
		for (enum told_kind kind = 0; kind < TOLD_KINDS; kind++)
			list_init(&r->kinds[kind].requests);
		t->count++;
	} else {
		list_remove(&r->node);
	}
	list_push_front(&t->routes, &r->node);
	if (t->count > ROUTES_MAX)
		route_drop(t, LIST_ENTRY(t->routes.head.prev, struct told_route, node));
	return r;
}

void told_add(struct told *t, const char *route, bool slow, struct profile *profile)
{
	enum told_kind kind = slow ? TOLD_SLOW : TOLD_NORMAL;
	struct told_request *q = xcalloc(1, sizeof *q);
	q->profile = profile;
	q->bytes = profile_bytes(profile);
	pthread_mutex_lock(&t->lock);
	struct told_route *r = route_for(t, route);
	list_push_back(&r->kinds[kind].requests, &q->node);
	r->kinds[kind].count++;
	r->kinds[kind].bytes += q->bytes;
	list_for_each_safe (node, &r->kinds[kind].requests) {
		if (r->kinds[kind].count <= REQUESTS_MAX && r->kinds[kind].bytes <= KIND_BYTES_MAX)
			break;
		request_drop(r, kind, LIST_ENTRY(node, struct told_request, node));
	}
	pthread_mutex_unlock(&t->lock);
}

/* All requests of one kind, one behind the other. Owned by the caller. */
static struct profile *sum_of(const struct told_route *r, enum told_kind kind)
{
	struct profile *sum = profile_new();
	list_for_each (node, &r->kinds[kind].requests)
		profile_append(sum, LIST_ENTRY(node, struct told_request, node)->profile);
	return sum;
}

/* --- the answers --- */
static void list_answer(struct told *t, struct answer *a)
{
	struct json j;
	json_init(&j, &a->body);
	json_begin(&j, '[');
	pthread_mutex_lock(&t->lock);
	list_for_each (node, &t->routes) {
		const struct told_route *r = LIST_ENTRY(node, struct told_route, node);
		json_begin(&j, '{');
		json_key(&j, "http_route");
		json_str(&j, r->name);
		json_key(&j, "slow_requests");
		json_u64(&j, r->kinds[TOLD_SLOW].count);
		json_key(&j, "normal_requests");
		json_u64(&j, r->kinds[TOLD_NORMAL].count);
		json_end(&j);
	}
	pthread_mutex_unlock(&t->lock);
	json_end(&j);
	buf_add_char(&a->body, '\n');
}

static const struct {
	const char *name, *type;
	void (*write)(const struct profile_diff *d, struct buf *out);
} diff_forms[] = {
	{ "html", "text/html; charset=utf-8", profile_write_diff_html },
	{ "svg", "image/svg+xml", profile_write_diff_svg },
	{ "collapsed", "text/plain; charset=utf-8", profile_write_diff_collapsed },
};

static void diff_answer(const struct told_route *r, const char *wanted, struct answer *a)
{
	size_t i = 0;
	while (i < ARRAY_LEN(diff_forms) && strcmp(wanted, diff_forms[i].name) != 0)
		i++;
	if (i == ARRAY_LEN(diff_forms)) {
		answer_say(a, 400, "a difference comes as html, svg and collapsed");
		return;
	}
	if (r->kinds[TOLD_SLOW].count == 0 || r->kinds[TOLD_NORMAL].count == 0) {
		answer_say(a, 404,
			r->kinds[TOLD_SLOW].count == 0
				? "no slow request of this route was seen yet"
				: "no normal request of this route was looked at yet: capture.normal_requests says how many "
				  "a second are");
		return;
	}
	struct profile *slow = sum_of(r, TOLD_SLOW), *normal = sum_of(r, TOLD_NORMAL);
	struct buf title = { 0 };
	buf_printf(&title, "%s: slow requests against normal ones", r->name);
	diff_forms[i].write(&(struct profile_diff){ .title = title.data,
				    .slow = slow,
				    .normal = normal,
				    .slow_requests = (uint32_t)r->kinds[TOLD_SLOW].count,
				    .normal_requests = (uint32_t)r->kinds[TOLD_NORMAL].count },
		&a->body);
	a->type = diff_forms[i].type;
	buf_clear(&title);
	profile_free(slow);
	profile_free(normal);
}

static void sum_answer(const struct told_route *r, enum told_kind kind, const char *wanted, struct answer *a)
{
	static const char *const names[] = { [TOLD_NORMAL] = "normal", [TOLD_SLOW] = "slow" };
	const struct form html = { "html", profile_write_html, "text/html; charset=utf-8", NULL, false };
	const struct form *form = strcmp(wanted, "html") == 0 ? &html : form_find(wanted);
	if (form == NULL) {
		answer_say(a, 400,
			"there is no such format; there are html, speedscope, collapsed, pprof, svg, pstats and grafana");
		return;
	}
	struct profile *sum = sum_of(r, kind);
	struct buf title = { 0 };
	buf_printf(&title, "%s: the latest %zu %s requests", r->name, r->kinds[kind].count, names[kind]);
	const struct profile_view view = { .title = title.data, .idle = true, .no_lines = form->functions };
	form_answer(form, sum, &view, names[kind], a);
	buf_clear(&title);
	profile_free(sum);
}

/* /profiles: which routes there are. ?route=R: its slow requests, or kind=normal, or kind=diff; format= as for one profile. */
void routes_answer(const struct question *q, struct answer *a)
{
	const char *route = evhttp_find_header(q->args, "route"), *kind = evhttp_find_header(q->args, "kind"),
		   *wanted = evhttp_find_header(q->args, "format");
	struct told *t = &q->admin->told;
	if (route == NULL) {
		list_answer(t, a);
		return;
	}
	wanted = wanted != NULL ? wanted : "html";
	kind = kind != NULL ? kind : "slow";
	pthread_mutex_lock(&t->lock);
	const struct told_route *r = route_find(t, route);
	if (r == NULL)
		answer_say(a, 404, "no request of this route was looked at yet: /profiles lists the routes");
	else if (strcmp(kind, "diff") == 0)
		diff_answer(r, wanted, a);
	else if (strcmp(kind, "slow") == 0 || strcmp(kind, "normal") == 0)
		sum_answer(r, kind[0] == 's' ? TOLD_SLOW : TOLD_NORMAL, wanted, a);
	else
		answer_say(a, 400, "there is no such kind; there are slow, normal and diff");
	pthread_mutex_unlock(&t->lock);
}
