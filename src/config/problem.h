/* problem.h - what is wrong with a configuration and where, collected so that all of it can be told at once. */
#ifndef CONFIG_PROBLEM_H
#define CONFIG_PROBLEM_H

#include <slowproxy/config.h>

#include "memory.h"

/* Strongest last. */
enum origin { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENVIRONMENT, ORIGIN_FLAG };

/* Where a value was written. */
struct place {
	enum origin origin;
	size_t line, column; /* of a file, from 1, in characters; 0: the file as a whole */
	const char *label;   /* else: "SLOWPROXY_WORKERS" or "--workers" */
};

struct problem {
	struct place at;
	size_t order;     /* of discovery: decides between equal places */
	const char *text; /* "capture.rate: 50000 is above the maximum 10000" */
};

struct problems {
	const struct config_source *source; /* lent: the text that carets point into */
	struct problem *items;
	size_t count, capacity;
	size_t untold; /* found beyond the bound */
	struct memory memory;
};

/* key may be NULL. The sentence starts in lower case, has no full stop, and may hold foreign text: it is made printable. */
void problem_add(struct problems *p, struct place at, const char *key, const char *fmt, ...) PRINTF(4, 5);
void problems_print(struct problems *p, struct buf *out); /* sorted by place */
void problems_clear(struct problems *p);

#endif
