/* table.h - the table of keys: one row says all there is to say of a key, and everything else is derived from it. */
#ifndef CONFIG_TABLE_H
#define CONFIG_TABLE_H

#include <slowproxy/config.h>

#include "memory.h"

enum config_type {
	TYPE_BOOL,
	TYPE_NUMBER,
	TYPE_DURATION,
	TYPE_SIZE,
	TYPE_CHOICE,
	TYPE_TEXT,
	TYPE_ADDRESS,
	TYPE_ADDRESSES,
	TYPE_TEXTS,
	TYPE_SLOW_ROUTES,
	TYPE_COUNT
};

enum row_flag {
	ROW_REQUIRED = 1,
	ROW_OFF = 2,     /* "off" is a value too: a duration of 0, an address without a port */
	ROW_PORT_0 = 4,  /* port 0 means any free port */
	ROW_CONNECT = 8, /* an address to connect to: without a host it is this machine */
	ROW_SECRET = 16, /* shown as *** */
};

struct config_row {
	const char *key; /* "capture.rate": the part before the last dot is the section */
	enum config_type type;
	unsigned flags;             /* enum row_flag */
	size_t at;                  /* of its field in struct config */
	const char *def;            /* as on the command line; NULL with ROW_REQUIRED or def_find */
	uint64_t min, max;          /* of a number, a duration in ns, a size in bytes; max 0: unbounded */
	const char *const *choices; /* of TYPE_CHOICE: words in the order of the enum, then NULL */
	const char *(*check)(const char *text); /* of a text: NULL or a sentence */
	/* A default that depends on the machine; def_doc says in words how. */
	const char *(*def_find)(const struct config_source *source, struct memory *memory);
	const char *def_doc;
	const char *example; /* for the example file, as on the command line; NULL: the default */
	const char *doc;     /* whole sentences to the user */
};

struct config_section {
	const char *name;
	const char *doc;
};

extern const struct config_row config_rows[];
extern const size_t config_row_count;
extern const struct config_section
	config_sections[]; /* an inner one follows its outer one; ends with a NULL name */

/* "logs.loki" -> "loki". */
const char *section_leaf(const struct config_section *section);
bool section_within(const struct config_section *section, const char *outer); /* directly; "": at the top */
unsigned section_depth(const struct config_section *section); /* 0: the keys without a section */

/* "slow.threshold" -> "threshold"; a key without a section is its own leaf. */
const char *row_leaf(const struct config_row *row);
bool row_in_section(const struct config_row *row, const char *section); /* "": the keys without a section */
const struct config_row *row_find(const char *key);
const struct config_section *section_find(const char *name);

/* "SLOWPROXY_SLOW_THRESHOLD", in memory. */
char *row_variable(const struct config_row *row, struct memory *memory);
bool row_is_list(const struct config_row *row);
bool row_required(const struct config_row *row);

/* For "did you mean": the nearest of what could have been meant, or NULL when nothing is near. */
struct nearest {
	const char *wanted;
	const char *best;
	unsigned distance;
};
void nearest_begin(struct nearest *n, const char *wanted);
void nearest_offer(struct nearest *n, const char *candidate);
const char *nearest_key(const char *wanted); /* among all whole keys, and by their leaves */

#endif
