/* routes.h - the name of a path: /items/42 is told as /items/{id}, because the application or its operator says so.
 *
 *   routes.templates ──────────┐
 *   /openapi.json ──(thread)───┴─> route table, immutable and counted ──> each loop holds one, and matches without a lock
 *   neither knows the path ──────> a guess: numbers, UUIDs and tokens become parameters
 */
#ifndef SLOWPROXY_ROUTES_H
#define SLOWPROXY_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/config.h>

enum { ROUTE_BYTES = CONFIG_TEMPLATE_BYTES }; /* a template, terminated; longer ones are not kept */

/* --- the table ---------------------------------------------------------------------------------------------------- */
struct route_table;

/* One holder, the caller. Never NULL; may be empty. */
struct route_table *route_table_new(void);
struct route_table *route_table_hold(struct route_table *t); /* one holder more, any thread */
void route_table_release(struct route_table *t); /* any thread; the last one frees. NULL is nobody's */

/* While nobody else holds it. false: it is no template, is too long, or the table is full (ROUTE_TABLE_MAX).
 * A template is written as in FastAPI: /items/{id}, /items/{id:int}, /files/{rest:path}, /files/{name}.json */
enum { ROUTE_TABLE_MAX = 20000 };
bool route_table_add(struct route_table *t, const char *template);
/* Adds routes.templates; what finds no room is told. */
void route_table_add_configured(struct route_table *t, const struct config *c);
/* Adds the paths of an OpenAPI 3 or Swagger 2 document. document_path is where it was found: one that lies below its own server
 * path (/v2/openapi.json, servers: /v2) is a mounted application's. 0 with a sentence in why: it was refused, and nothing added. */
size_t route_table_add_openapi(
	struct route_table *t, const char *document_path, const char *json, size_t len, struct buf *why);
size_t route_table_count(const struct route_table *t);
/* Equal for tables of equal templates. */
uint64_t route_table_fingerprint(const struct route_table *t);

/* The template of the path (raw, without query); it lives as long as the table is held. Literal text wins over parameters. NULL: none.
 * generous: the last parameter of an OpenAPI path may also take slashes, if nothing else matches, for that document does not tell
 * such parameters (Starlette's {rest:path}) from others. */
const char *route_table_match(const struct route_table *t, const char *path, bool generous);

/* Numbers, UUIDs and long tokens become {id}, {uuid} and {token}. false: not even that makes a name of it. */
bool route_guess(const char *path, char out[ROUTE_BYTES]);

/* The name of an exchange's route, "" when it has none. status 0: not known yet. *guessed: nobody told us this route. */
void route_name(const struct route_table *t, bool may_guess, const char *path, unsigned status,
	char out[ROUTE_BYTES], bool *guessed);

/* --- the thread that asks the application ------------------------------------------------------------------------- */
struct routes;

/* Starts to read config->routes.openapi from the first upstream that answers, until one does. changed(context, table) comes on the
 * thread of this room each time the table is another one; the table is lent, so hold it. config outlives it. NULL: that is off. */
struct routes *routes_new(const struct config *config,
	void (*changed)(void *context, struct route_table *table), void *context);
/* What the traffic tells, from any thread, without a lock or system call but when a new look is wanted. The application may have
 * other routes now: it was not reachable and is again, or answers paths that nobody knows. */
void routes_note_unknown(struct routes *r);
void routes_note_reachable(struct routes *r, bool reachable);
void routes_free(struct routes *r); /* NULL is fine */

#endif
