/* naming.c - gives each exchange the name of its route. */
#include "naming.h"

#include <assert.h>

static_assert((int)RECORD_ROUTE_BYTES == (int)ROUTE_BYTES, "a route fits into a record");

void naming_init(struct naming *n, struct loop *l, const struct config *c)
{
	*n = (struct naming){ .loop = l, .config = c, .table = route_table_new() };
	route_table_add_configured(n->table, c);
}

void naming_clear(struct naming *n)
{
	route_table_release(n->table);
	route_table_release(n->next);
}

void naming_route(const struct naming *n, const struct record *r, char route[ROUTE_BYTES], bool *guessed)
{
	route[0] = '\0';
	*guessed = false;
	if (!r->path_cut && r->path[0] != '\0')
		route_name(n->table, n->config->routes.guess, r->path, r->status, route, guessed);
}

static void name_it(struct naming *n, struct record *r)
{
	naming_route(n, r, r->route, &r->route_guessed);
}

/* A backend that could not be reached comes back with other routes, perhaps. */
static void tell_routes(struct naming *n, const struct record *r)
{
	bool nobody_knows_it = r->route[0] == '\0' || r->route_guessed;
	if (r->outcome == OUTCOME_UPSTREAM_REFUSED)
		routes_note_reachable(n->routes, false);
	else if (r->outcome == OUTCOME_OK && r->timeline.at[MARK_RESPONSE_BEGIN] != 0) {
		routes_note_reachable(n->routes, true);
		if (nobody_knows_it)
			routes_note_unknown(n->routes);
	}
}

void naming_ended(struct naming *n, struct record *r)
{
	name_it(n, r);
	if (n->routes != NULL)
		tell_routes(n, r);
}

void naming_finished(struct naming *n, struct record *r)
{
	bool guessed;
	if (r->still_running)
		name_it(n, r);
	for (size_t i = 0; i < r->capture.other_count; i++) {
		struct capture_other *o = &r->capture.others[i];
		if (o->path[0] != '\0')
			route_name(n->table, n->config->routes.guess, o->path, 0, o->route, &guessed);
	}
}

static void replace(void *context)
{
	struct naming *n = context;
	struct route_table *next = atomic_exchange(&n->next, NULL);
	if (next == NULL)
		return;
	route_table_release(n->table);
	n->table = next;
}

void naming_replace(struct naming *n, struct route_table *table)
{
	route_table_release(atomic_exchange(&n->next, route_table_hold(table)));
	loop_post(n->loop, replace, n);
}
