/* value.c - from a node to a field of struct config: one small function for each type. */
#include "value.h"

#include <stdlib.h>
#include <string.h>

#include "expand.h"
#include "text.h"
#include <slowproxy/base/str.h>

/* How much of a wrong value is repeated to who wrote it. */
#define SHOWN "%.80s"

static const char *const kind_names[] = {
	[NODE_SCALAR] = "a single value", [NODE_LIST] = "a list", [NODE_MAP] = "a map"
};

static void *field(const struct value_reader *r, const struct config_row *row)
{
	return (char *)r->config + row->at;
}

/* Flags and variables are named by their place already; in a file the key says where we are. */
static const char *shown_key(const struct node *node, const char *key)
{
	return node->at.origin == ORIGIN_FILE ? key : NULL;
}

static void tell(
	struct value_reader *r, const struct node *node, const char *key, const char *text, const char *why)
{
	bool is_unit = why == text_duration_needs_unit || why == text_size_needs_unit;
	problem_add(r->problems, node->at, shown_key(node, key), SHOWN "%s%s", *text ? text : "\"\"",
		is_unit ? ": " : " ", why);
}

static bool has_control(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++)
		if (*p < 0x20 || *p == 0x7f)
			return true;
	return false;
}

static bool is_utf8(const char *text)
{
	size_t len = strlen(text), n;
	for (size_t i = 0; i < len; i += n)
		if ((n = utf8_sequence((const unsigned char *)text + i, len - i)) == 0)
			return false;
	return true;
}

/* The text of a scalar with its variables filled in, or NULL when that was told as a problem. */
static const char *scalar_text(struct value_reader *r, const struct node *node, const char *key)
{
	const char *why = NULL, *text = node->text;
	key = shown_key(node, key);
	if (node->is_told)
		return NULL;
	if (node->kind != NODE_SCALAR) {
		problem_add(r->problems, node->at, key, "%s stands where a single value belongs",
			kind_names[node->kind]);
		return NULL;
	}
	if (node->is_null) {
		problem_add(r->problems, node->at, key, "has no value: write one, or leave out the line");
		return NULL;
	}
	if (node->at.origin == ORIGIN_FILE)
		text = expand(r->scratch, r->source->environment, text, &why);
	if (text == NULL)
		problem_add(r->problems, node->at, key, "%s", why);
	else if (has_control(text) || !is_utf8(text))
		problem_add(r->problems, node->at, key, "the text holds a control character or is not UTF-8");
	else
		return text;
	return NULL;
}

static void check_range(struct value_reader *r, const struct config_row *row, const struct node *node,
	const char *key, const char *text, uint64_t value)
{
	const char *side = value < row->min ? "below the minimum" : "above the maximum";
	if (value >= row->min && (row->max == 0 || value <= row->max))
		return;
	struct buf bound = { 0 };
	value_add_bound(&bound, row, value < row->min ? row->min : row->max);
	problem_add(r->problems, node->at, shown_key(node, key), SHOWN " is %s %s%s", text, side, bound.data,
		value < row->min && (row->flags & ROW_OFF) ? "; off turns it off" : "");
	buf_clear(&bound);
}

static void read_bool(struct value_reader *r, const struct config_row *row, const struct node *node)
{
	const char *text = scalar_text(r, node, row->key);
	if (text == NULL)
		return;
	const char *why = text_parse_bool(text, field(r, row));
	if (why != NULL)
		tell(r, node, row->key, text, why);
}

static void read_number(struct value_reader *r, const struct config_row *row, const struct node *node)
{
	const char *text = scalar_text(r, node, row->key);
	uint32_t *value = field(r, row);
	if (text == NULL)
		return;
	const char *why = text_parse_u32(text, value);
	if (why != NULL)
		tell(r, node, row->key, text, why);
	else
		check_range(r, row, node, row->key, text, *value);
}

static bool is_off(const struct config_row *row, const char *text)
{
	return (row->flags & ROW_OFF) && strcmp(text, "off") == 0;
}

/* Also for the thresholds of slow.routes, whose keys are not rows. */
static bool read_duration_at(struct value_reader *r, const struct config_row *row, const struct node *node,
	const char *key, uint64_t *value)
{
	const char *text = scalar_text(r, node, key);
	if (text == NULL)
		return false;
	if (is_off(row, text)) {
		*value = 0;
		return true;
	}
	const char *why = text_parse_duration(text, value);
	if (why != NULL)
		tell(r, node, key, text, why);
	else
		check_range(r, row, node, key, text, *value);
	return why == NULL;
}

static void read_duration(struct value_reader *r, const struct config_row *row, const struct node *node)
{
	read_duration_at(r, row, node, row->key, field(r, row));
}

static void read_size(struct value_reader *r, const struct config_row *row, const struct node *node)
{
	const char *text = scalar_text(r, node, row->key);
	uint64_t *value = field(r, row);
	if (text == NULL)
		return;
	const char *why = text_parse_size(text, value);
	if (why != NULL)
		tell(r, node, row->key, text, why);
	else
		check_range(r, row, node, row->key, text, *value);
}

static void read_choice(struct value_reader *r, const struct config_row *row, const struct node *node)
{
	const char *text = scalar_text(r, node, row->key);
	struct buf all = { 0 };
	struct nearest nearest;
	if (text == NULL)
		return;
	nearest_begin(&nearest, text);
	for (unsigned i = 0; row->choices[i] != NULL; i++) {
		if (strcmp(row->choices[i], text) == 0) {
			*(unsigned *)field(r, row) = i;
			buf_clear(&all);
			return;
		}
		nearest_offer(&nearest, row->choices[i]);
		buf_printf(&all, "%s%s", i == 0 ? "" : row->choices[i + 1] ? ", " : " or ", row->choices[i]);
	}
	problem_add(r->problems, node->at, shown_key(node, row->key), SHOWN " is not one of %s%s%s%s", text,
		all.data, nearest.best ? "; did you mean " : "", nearest.best ? nearest.best : "",
		nearest.best ? "?" : "");
	buf_clear(&all);
}

static const char *read_checked_text(
	struct value_reader *r, const struct config_row *row, const struct node *node, const char *key)
{
	const char *text = scalar_text(r, node, key);
	const char *why = text != NULL && row->check != NULL ? row->check(text) : NULL;
	if (why != NULL)
		tell(r, node, key, text, why);
	return text == NULL || why != NULL ? NULL : memory_strdup(r->memory, text);
}

static void read_text(struct value_reader *r, const struct config_row *row, const struct node *node)
{
	const char *text = read_checked_text(r, row, node, row->key);
	if (text != NULL)
		*(const char **)field(r, row) = text;
}

static const char *address_fits(const struct config_row *row, struct config_address *address)
{
	if (address->is_unix)
		return NULL;
	if (address->port == 0 && !(row->flags & ROW_PORT_0))
		return "has port 0, which nothing can be reached at";
	if (address->host[0] == '\0' && (row->flags & ROW_CONNECT))
		address->host = "127.0.0.1";
	return NULL;
}

static void read_address_at(struct value_reader *r, const struct config_row *row, const struct node *node,
	const char *key, struct config_address *address)
{
	const char *text = scalar_text(r, node, key);
	if (text == NULL)
		return;
	if (is_off(row, text)) {
		*address = (struct config_address){ .text = "off", .host = "" };
		return;
	}
	const char *why = text_parse_address(r->memory, text, address);
	if (why == NULL)
		why = address_fits(row, address);
	if (why != NULL)
		tell(r, node, key, text, why);
}

static void read_address(struct value_reader *r, const struct config_row *row, const struct node *node)
{
	read_address_at(r, row, node, row->key, field(r, row));
}

/* The items of a list, where a single value counts as a list of one. Sets *count; false when told. */
static const struct node *list_items(
	struct value_reader *r, const struct config_row *row, const struct node *node, size_t *count)
{
	const struct node *first = node->kind == NODE_LIST ? node->first : node;
	*count = 0;
	if (node->is_told)
		return NULL;
	if (node->kind == NODE_MAP) {
		problem_add(r->problems, node->at, shown_key(node, row->key),
			"a map stands where a list belongs");
		return NULL;
	}
	for (const struct node *n = first; n != NULL; n = node->kind == NODE_LIST ? n->next : NULL)
		++*count;
	return first;
}

static const char *item_key(
	struct value_reader *r, const struct config_row *row, const struct node *list, size_t index)
{
	return list->kind == NODE_LIST ? memory_printf(r->scratch, "%s[%zu]", row->key, index) : row->key;
}

static void read_addresses(struct value_reader *r, const struct config_row *row, const struct node *node)
{
	struct config_addresses *list = field(r, row);
	size_t count;
	const struct node *item = list_items(r, row, node, &count);
	if (item == NULL && node->kind == NODE_LIST && !node->is_told)
		problem_add(r->problems, node->at, shown_key(node, row->key),
			"is empty: at least one address is needed");

	list->items = memory_alloc(r->memory, count * sizeof *list->items);
	list->count = count;
	for (size_t i = 0; i < count && item != NULL; i++, item = item->next)
		read_address_at(r, row, item, item_key(r, row, node, i), &list->items[i]);
}

static void read_texts(struct value_reader *r, const struct config_row *row, const struct node *node)
{
	struct config_strings *list = field(r, row);
	size_t count;
	const struct node *item = list_items(r, row, node, &count);

	list->items = memory_alloc(r->memory, count * sizeof *list->items);
	list->count = count;
	for (size_t i = 0; i < count && item != NULL; i++, item = item->next)
		list->items[i] = read_checked_text(r, row, item, item_key(r, row, node, i));
}

struct route_nodes {
	const struct node *match, *threshold;
};

static void tell_route_key(struct value_reader *r, const struct node *n, const char *key)
{
	struct nearest nearest;
	nearest_begin(&nearest, n->key);
	nearest_offer(&nearest, "match");
	nearest_offer(&nearest, "threshold");
	if (nearest.best != NULL)
		problem_add(r->problems, n->key_at, key, "unknown key " SHOWN "; did you mean %s?", n->key,
			nearest.best);
	else
		problem_add(r->problems, n->key_at, key,
			"unknown key " SHOWN "; a row has match and threshold", n->key);
}

static void route_nodes_find(
	struct value_reader *r, const struct node *row_node, const char *key, struct route_nodes *found)
{
	*found = (struct route_nodes){ 0 };
	for (const struct node *n = row_node->first; n != NULL; n = n->next) {
		bool is_match = strcmp(n->key, "match") == 0;
		const struct node **slot = is_match ? &found->match : &found->threshold;
		if (!is_match && strcmp(n->key, "threshold") != 0)
			tell_route_key(r, n, key);
		else if (*slot != NULL)
			problem_add(r->problems, n->key_at, key, "%s is here twice; the first is on line %zu",
				n->key, (*slot)->key_at.line);
		else
			*slot = n;
	}
}

static void read_route_match(
	struct value_reader *r, const struct node *node, const char *key, struct config_slow_route *route)
{
	const char *text = scalar_text(r, node, key);
	const char *why = text != NULL ? text_parse_match(r->memory, text, route) : NULL;
	if (why != NULL)
		tell(r, node, key, text, why);
}

static void read_route(struct value_reader *r, const struct config_row *row, const struct node *node,
	const char *key, struct config_slow_route *route)
{
	struct route_nodes nodes;
	if (node->is_told)
		return;
	if (node->kind != NODE_MAP) {
		problem_add(r->problems, node->at, shown_key(node, key),
			"%s stands where a row belongs, such as { match: \"POST /reports/*\", threshold: 5s }",
			kind_names[node->kind]);
		return;
	}
	route_nodes_find(r, node, key, &nodes);
	if (nodes.match == NULL || nodes.threshold == NULL)
		problem_add(r->problems, node->at, shown_key(node, key), "the row has no %s",
			nodes.match == NULL ? "match" : "threshold");
	if (nodes.match != NULL)
		read_route_match(r, nodes.match, memory_printf(r->scratch, "%s.match", key), route);
	if (nodes.threshold != NULL)
		read_duration_at(r, row, nodes.threshold, memory_printf(r->scratch, "%s.threshold", key),
			&route->threshold_ns);
}

static void read_slow_routes(struct value_reader *r, const struct config_row *row, const struct node *node)
{
	struct config_slow_routes *list = field(r, row);
	size_t count;
	if (node->kind == NODE_SCALAR && !node->is_told) {
		problem_add(r->problems, node->at, shown_key(node, row->key),
			"a single value stands where a list belongs");
		return;
	}
	const struct node *item = list_items(r, row, node, &count);
	list->items = memory_alloc(r->memory, count * sizeof *list->items);
	list->count = count;
	for (size_t i = 0; i < count && item != NULL; i++, item = item->next)
		read_route(r, row, item, item_key(r, row, node, i), &list->items[i]);
}

void value_read(struct value_reader *r, const struct config_row *row, const struct node *node)
{
	static void (*const readers[TYPE_COUNT])(
		struct value_reader *, const struct config_row *, const struct node *) = {
		[TYPE_BOOL] = read_bool,
		[TYPE_NUMBER] = read_number,
		[TYPE_DURATION] = read_duration,
		[TYPE_SIZE] = read_size,
		[TYPE_CHOICE] = read_choice,
		[TYPE_TEXT] = read_text,
		[TYPE_ADDRESS] = read_address,
		[TYPE_ADDRESSES] = read_addresses,
		[TYPE_TEXTS] = read_texts,
		[TYPE_SLOW_ROUTES] = read_slow_routes,
	};
	readers[row->type](r, row, node);
}

static struct node *text_node(struct memory *memory, const char *text, size_t len, struct place at)
{
	struct node *n = node_new(memory, NODE_SCALAR, at);
	n->text = memory_strndup(memory, text, len);
	return n;
}

/* MATCH=THRESHOLD: the last = divides. Without one, the row has no threshold, which its reader tells. */
static struct node *route_node(struct memory *memory, const char *text, size_t len, struct place at)
{
	struct node *row = node_new(memory, NODE_MAP, at);
	const char *equals = memrchr(text, '=', len);
	size_t match_len = equals != NULL ? (size_t)(equals - text) : len;

	struct node *match = text_node(memory, text, match_len, at);
	match->key = "match";
	node_append(row, match);
	if (equals != NULL) {
		struct node *threshold = text_node(memory, equals + 1, len - match_len - 1, at);
		threshold->key = "threshold";
		node_append(row, threshold);
	}
	return row;
}

struct node *value_node(
	struct memory *memory, const struct config_row *row, const char *text, struct place at)
{
	if (!row_is_list(row))
		return text_node(memory, text, strlen(text), at);

	struct node *list = node_new(memory, NODE_LIST, at);
	while (*text != '\0') {
		text += strspn(text, " ");
		size_t len = strcspn(text, ","), trimmed = len;
		while (trimmed != 0 && text[trimmed - 1] == ' ')
			trimmed--;
		node_append(list, row->type == TYPE_SLOW_ROUTES ? route_node(memory, text, trimmed, at)
								: text_node(memory, text, trimmed, at));
		text += len + (text[len] == ',');
	}
	return list;
}
