/* value.h - from a node to a field of struct config, and from the field back to text. */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include <slowproxy/config.h>

#include "node.h"
#include "problem.h"
#include "table.h"

struct value_reader {
	struct config *config;
	const struct config_source *source;
	struct memory *memory; /* of the configuration: strings and lists live there */
	struct memory *scratch;
	struct problems *problems;
};

/* Reads the value of a row; every reason why it cannot be is told. */
void value_read(struct value_reader *r, const struct config_row *row, const struct node *node);

/* A flag, an environment variable or a default as a node: lists are divided by commas. */
struct node *value_node(
	struct memory *memory, const struct config_row *row, const char *text, struct place at);

/* Writes the value as YAML: on the same line behind ": ", or as a list indented by `indent` on the lines below. Ends
 * without a newline. comment may be NULL. */
void value_add_yaml(struct buf *out, const struct config *config, const struct config_row *row,
	unsigned indent, const char *comment);

/* The text of a bound of the row: "500ms", "64KiB", "12". */
void value_add_bound(struct buf *out, const struct config_row *row, uint64_t bound);

/* Text as a YAML scalar: plain where that is safe, else in quotes; dollar signs doubled. */
void value_add_scalar(struct buf *out, const char *text);

#endif
