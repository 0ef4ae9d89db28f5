/* table.c - many templates as a tree of segments, so that a path is matched in as many steps as it has segments.
 *
 *   /items            root ─ items ●
 *   /items/{id}                 └─ {} ●
 *   /items/{id}/tags                  └─ tags ●
 *
 * A template whose segment is text and parameter at once (/{name}.json), or whose parameter says more than its name ({rest:path}),
 * does not fit into the tree: those few are tried one by one.
 */
#include <slowproxy/routes.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/log.h>
#include <slowproxy/base/map.h>
#include <slowproxy/base/mem.h>
#include <slowproxy/base/str.h>

#include "pattern.h"
#include "table.h"

enum { NONE = 0, STEPS_MAX = 2000, ODD_MAX = 200 };

struct edge {
	struct slice segment; /* in the text of a template */
	uint32_t to;
};

struct node {
	struct edge *edges; /* by segment */
	size_t edge_count, edge_capacity;
	uint32_t
		parameter; /* the node behind {anything}; NONE: there is none, for nothing leads to the root */
	const char *template; /* the path may end here; NULL: it may not */
	bool wide;            /* the last parameter of the template may take slashes, too */
};

struct route_table {
	atomic_uint holders;
	struct node *nodes; /* the first is the root */
	size_t node_count, node_capacity;
	char **templates; /* owned */
	size_t count, capacity;
	const char **odd; /* of them those that do not fit into the tree */
	size_t odd_count, odd_capacity;
	uint64_t fingerprint;
};

static uint32_t node_new(struct route_table *t)
{
	t->nodes = array_grow(t->nodes, &t->node_capacity, t->node_count, sizeof *t->nodes);
	t->nodes[t->node_count] = (struct node){ 0 };
	return (uint32_t)t->node_count++;
}

struct route_table *route_table_new(void)
{
	struct route_table *t = xcalloc(1, sizeof *t);
	atomic_init(&t->holders, 1);
	node_new(t);
	return t;
}

struct route_table *route_table_hold(struct route_table *t)
{
	atomic_fetch_add(&t->holders, 1);
	return t;
}

void route_table_release(struct route_table *t)
{
	if (t == NULL || atomic_fetch_sub(&t->holders, 1) != 1)
		return;
	for (size_t i = 0; i < t->node_count; i++)
		free(t->nodes[i].edges);
	for (size_t i = 0; i < t->count; i++)
		free(t->templates[i]);
	free(t->nodes);
	free(t->templates);
	free(t->odd);
	free(t);
}

size_t route_table_count(const struct route_table *t)
{
	return t->count;
}

uint64_t route_table_fingerprint(const struct route_table *t)
{
	return t->fingerprint;
}

/* --- segments --- */

/* *path is behind a slash; afterwards behind the next one, or NULL when this was the last. */
static struct slice segment_take(const char **path)
{
	const char *from = *path, *slash = strchr(from, '/');
	*path = slash != NULL ? slash + 1 : NULL;
	return (struct slice){ from, slash != NULL ? (size_t)(slash - from) : strlen(from) };
}

static int segment_compare(struct slice a, struct slice b)
{
	if (a.len != b.len)
		return a.len < b.len ? -1 : 1;
	return memcmp(a.at, b.at, a.len);
}

/* Where the edge of this segment is, or would be. */
static size_t edge_place(const struct node *n, struct slice segment, bool *found)
{
	size_t low = 0, high = n->edge_count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = segment_compare(segment, n->edges[middle].segment);
		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	*found = false;
	return low;
}

/* --- adding --- */

static bool is_parameter(struct slice segment)
{
	return segment.len >= 3 && segment.at[0] == '{' && memchr(segment.at, ':', segment.len) == NULL &&
	       memchr(segment.at, '}', segment.len) == segment.at + segment.len - 1;
}

/* Every segment is either all text or all parameter. */
static bool fits_the_tree(const char *template)
{
	for (const char *rest = template + 1; rest != NULL;) {
		struct slice segment = segment_take(&rest);
		if (memchr(segment.at, '{', segment.len) != NULL && !is_parameter(segment))
			return false;
	}
	return true;
}

static uint32_t edge_add(struct route_table *t, uint32_t from, size_t place, struct slice segment)
{
	uint32_t to = node_new(t);
	struct node *n = &t->nodes[from];
	n->edges = array_grow(n->edges, &n->edge_capacity, n->edge_count, sizeof *n->edges);
	memmove(n->edges + place + 1, n->edges + place, (n->edge_count - place) * sizeof *n->edges);
	n->edges[place] = (struct edge){ segment, to };
	n->edge_count++;
	return to;
}

static uint32_t node_below(struct route_table *t, uint32_t at, struct slice segment)
{
	bool found;
	if (is_parameter(segment)) {
		if (t->nodes[at].parameter == NONE) {
			uint32_t to = node_new(t);
			t->nodes[at].parameter = to;
		}
		return t->nodes[at].parameter;
	}
	size_t place = edge_place(&t->nodes[at], segment, &found);
	return found ? t->nodes[at].edges[place].to : edge_add(t, at, place, segment);
}

/* The first of two that differ only in the names of their parameters stays. */
static void tree_add(struct route_table *t, const char *template, bool wide)
{
	uint32_t at = 0;
	for (const char *rest = template + 1; rest != NULL;)
		at = node_below(t, at, segment_take(&rest));
	if (t->nodes[at].template != NULL)
		return;
	t->nodes[at].template = template;
	t->nodes[at].wide = wide;
}

bool table_add(struct route_table *t, const char *template, bool last_may_be_wide)
{
	size_t len = strlen(template);
	if (config_template_problem(template) != NULL || t->count == ROUTE_TABLE_MAX)
		return false;
	bool odd = !fits_the_tree(template);
	if (odd && t->odd_count == ODD_MAX)
		return false;
	t->templates = array_grow(t->templates, &t->capacity, t->count, sizeof *t->templates);
	char *kept = t->templates[t->count++] = xstrdup(template);
	t->fingerprint += hash_bytes(kept, len); /* whatever their order */
	if (odd) {
		t->odd = array_grow(t->odd, &t->odd_capacity, t->odd_count, sizeof *t->odd);
		t->odd[t->odd_count++] = kept;
	} else {
		tree_add(t, kept, last_may_be_wide);
	}
	return true;
}

bool route_table_add(struct route_table *t, const char *template)
{
	return table_add(t, template, false);
}

void route_table_add_configured(struct route_table *t, const struct config *c)
{
	for (size_t i = 0; i < c->routes.templates.count; i++)
		if (!route_table_add(t, c->routes.templates.items[i]))
			log_warn("routes.templates: there is no room for %s", c->routes.templates.items[i]);
}

/* --- matching --- */

struct search {
	const struct route_table *t;
	bool generous;
	unsigned steps; /* that are left: a hostile path must not make a tree of parameters expensive */
};

static const char *tree_match(struct search *s, uint32_t at, const char *rest)
{
	const struct node *n = &s->t->nodes[at];
	if (rest == NULL)
		return n->template;
	if (s->steps == 0)
		return NULL;
	s->steps--;
	bool found;
	struct slice segment = segment_take(&rest);
	size_t place = edge_place(n, segment, &found);
	const char *template = found ? tree_match(s, n->edges[place].to, rest) : NULL;
	if (template != NULL || n->parameter == NONE || segment.len == 0)
		return template;
	template = tree_match(s, n->parameter, rest);
	const struct node *behind = &s->t->nodes[n->parameter];
	return template == NULL && s->generous && behind->wide ? behind->template : template;
}

const char *route_table_match(const struct route_table *t, const char *path, bool generous)
{
	if (path[0] != '/')
		return NULL;
	struct search exact = { t, false, STEPS_MAX };
	const char *best = tree_match(&exact, 0, path + 1);
	for (size_t i = 0; i < t->odd_count; i++)
		if (pattern_matches(t->odd[i], path) && (best == NULL || pattern_is_nearer(t->odd[i], best)))
			best = t->odd[i];
	if (best != NULL || !generous)
		return best;
	struct search wide = { t, true, STEPS_MAX };
	return tree_match(&wide, 0, path + 1);
}
