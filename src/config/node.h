/* node.h - what was written, before anybody knows what it means: scalars, lists and maps, each with its place. */
#ifndef CONFIG_NODE_H
#define CONFIG_NODE_H

#include "memory.h"
#include "problem.h"

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
	enum node_kind kind;
	struct place at;
	const char *text; /* of a scalar, as written; variables are not yet expanded */
	bool is_null;     /* nothing was written, or ~ or null without quotes */
	bool is_told;     /* its problem has been told already: readers leave it alone */
	const char *key;  /* in a map: what it is called there */
	struct place key_at;
	struct node *first, *last; /* of a list or map, in order of writing */
	struct node *next;
};

struct node *node_new(struct memory *memory, enum node_kind kind, struct place at);
void node_append(struct node *parent, struct node *child);

/* Reads the one document of source->yaml. NULL when there is nothing in it. *complete is false when reading had to stop
 * early; what was read before is returned all the same, so that its problems can be told too. */
struct node *node_read_yaml(
	const struct config_source *source, struct memory *memory, struct problems *problems, bool *complete);

#endif
