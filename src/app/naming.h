/* naming.h - gives each exchange the name of its route, on the loop's own thread with the loop's own table. */
#ifndef SLOWPROXY_APP_NAMING_H
#define SLOWPROXY_APP_NAMING_H

#include <stdatomic.h>

#include <slowproxy/config.h>
#include <slowproxy/net.h>
#include <slowproxy/record.h>
#include <slowproxy/routes.h>

struct naming {
	struct loop *loop;
	const struct config *config;
	struct route_table *table;          /* held */
	_Atomic(struct route_table *) next; /* held; NULL: none waits to take its place */
	struct routes *routes; /* lent, is told what the traffic shows; NULL: nobody asks the application */
};

void naming_init(struct naming *n, struct loop *l, const struct config *c);
void naming_clear(struct naming *n); /* the loop has ended, and nobody replaces any more */

/* The name of the exchange's route by what is known now, on the loop's thread; "": it has none. */
void naming_route(const struct naming *n, const struct record *r, char route[ROUTE_BYTES], bool *guessed);
/* The exchange has ended. */
void naming_ended(struct naming *n, struct record *r);
/* It is about to be told: those who held it up get their names, too; and itself, when it still runs. */
void naming_finished(struct naming *n, struct record *r);

/* From any thread, while the loop exists: the table is another one from soon on. */
void naming_replace(struct naming *n, struct route_table *table);

#endif
