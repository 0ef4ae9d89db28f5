/* node.c - YAML to nodes, on libyaml's events.
 *
 * The file is untrusted until it was looked at: bytes are checked before libyaml sees them, depth and number of nodes
 * are bounded, and what could make a small file large or one value mean two things (anchors, aliases, tags, further
 * documents) is refused.
 */
#include "node.h"

#include <string.h>
#include <yaml.h>

#include <slowproxy/base/str.h>

enum { FILE_BYTES_MAX = 1 << 20, DEPTH_MAX = 12, NODES_MAX = 5000 };

struct builder {
	struct memory *memory;
	struct problems *problems;
	struct node *root;
	struct node *open[DEPTH_MAX]; /* lists and maps not yet ended, outermost first */
	unsigned depth;
	const char *key[DEPTH_MAX]; /* of a map: the key that waits for its value, or NULL */
	struct place key_at[DEPTH_MAX];
	size_t nodes, documents;
};

struct node *node_new(struct memory *memory, enum node_kind kind, struct place at)
{
	struct node *n = memory_alloc(memory, sizeof *n);
	n->kind = kind;
	n->at = at;
	return n;
}

void node_append(struct node *parent, struct node *child)
{
	if (parent->last != NULL)
		parent->last->next = child;
	else
		parent->first = child;
	parent->last = child;
}

static struct place place_of(yaml_mark_t mark)
{
	return (struct place){ .origin = ORIGIN_FILE, .line = mark.line + 1, .column = mark.column + 1 };
}

/* Bytes that no YAML file may hold (YAML 1.1, 5.1): told by place, since libyaml knows only their offset. */
static bool bytes_check(const struct config_source *source, struct problems *problems)
{
	const unsigned char *p = (const unsigned char *)source->yaml;
	struct place at = { .origin = ORIGIN_FILE, .line = 1, .column = 1 };

	if (source->yaml_len > FILE_BYTES_MAX) {
		at.line = 0;
		problem_add(problems, at, NULL, "the file is larger than 1MiB");
		return false;
	}
	for (size_t i = 0; i < source->yaml_len;) {
		size_t n = utf8_sequence(p + i, source->yaml_len - i);
		if (n == 0) {
			problem_add(problems, at, NULL, "byte 0x%02x is not UTF-8", p[i]);
			return false;
		}
		if ((p[i] < 0x20 && p[i] != '\t' && p[i] != '\n' && p[i] != '\r') || p[i] == 0x7f) {
			problem_add(problems, at, NULL, "control character 0x%02x", p[i]);
			return false;
		}
		at.column++;
		if (p[i] == '\n') {
			at.line++;
			at.column = 1;
		}
		i += n;
	}
	return true;
}

/* The list or map that is being filled, or NULL at the top. */
static struct node *innermost(const struct builder *b)
{
	return b->depth != 0 ? b->open[b->depth - 1] : NULL;
}

/* Puts a finished or just opened node where it belongs. */
static bool builder_place(struct builder *b, struct node *n)
{
	struct node *parent = innermost(b);
	if (++b->nodes > NODES_MAX) {
		problem_add(b->problems, n->at, NULL, "more than %d values in one file", NODES_MAX);
		return false;
	}
	if (parent == NULL) {
		b->root = n;
		return true;
	}
	if (parent->kind == NODE_MAP) {
		n->key = b->key[b->depth - 1];
		n->key_at = b->key_at[b->depth - 1];
		b->key[b->depth - 1] = NULL;
	}
	node_append(parent, n);
	return true;
}

static bool expects_key(const struct builder *b)
{
	const struct node *parent = innermost(b);
	return parent != NULL && parent->kind == NODE_MAP && b->key[b->depth - 1] == NULL;
}

static bool refuse_key(struct builder *b, struct place at)
{
	problem_add(b->problems, at, NULL, "a key must be plain text");
	return false;
}

static bool builder_open(struct builder *b, enum node_kind kind, struct place at)
{
	if (expects_key(b))
		return refuse_key(b, at);
	if (b->depth == DEPTH_MAX) {
		problem_add(b->problems, at, NULL, "nested more than %d levels deep", DEPTH_MAX);
		return false;
	}
	struct node *n = node_new(b->memory, kind, at);
	if (!builder_place(b, n))
		return false;
	b->open[b->depth] = n;
	b->key[b->depth++] = NULL;
	return true;
}

static bool looks_null(const yaml_event_t *e)
{
	const char *text = (const char *)e->data.scalar.value;
	return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (*text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static bool builder_scalar(struct builder *b, const yaml_event_t *e)
{
	struct place at = place_of(e->start_mark);
	const char *text = (const char *)e->data.scalar.value;
	size_t len = e->data.scalar.length;
	bool has_nul = memchr(text, '\0', len) != NULL;

	if (has_nul)
		problem_add(b->problems, at, NULL, "the text holds a NUL character");
	if (expects_key(b)) {
		b->key[b->depth - 1] = memory_strndup(b->memory, text, len);
		b->key_at[b->depth - 1] = at;
		return !has_nul;
	}
	struct node *n = node_new(b->memory, NODE_SCALAR, at);
	n->text = memory_strndup(b->memory, text, len);
	n->is_null = looks_null(e);
	n->is_told = has_nul;
	return builder_place(b, n);
}

static bool builder_alias(struct builder *b, struct place at)
{
	problem_add(b->problems, at, NULL, "anchors and aliases are not supported: write the value again");
	if (expects_key(b))
		return false;
	struct node *n = node_new(b->memory, NODE_SCALAR, at);
	n->is_told = true;
	n->text = "";
	return builder_place(b, n);
}

static void refuse_properties(struct builder *b, struct place at, const void *anchor, const void *tag)
{
	if (anchor != NULL)
		problem_add(b->problems, at, NULL,
			"anchors and aliases are not supported: write the value again");
	if (tag != NULL)
		problem_add(b->problems, at, NULL, "tags are not supported: leave out the !");
}

static bool builder_document(struct builder *b, struct place at)
{
	if (b->documents++ == 0)
		return true;
	problem_add(b->problems, at, NULL, "a second document begins here: one file holds one configuration");
	return false;
}

/* false: reading must stop. */
static bool builder_take(struct builder *b, const yaml_event_t *e)
{
	struct place at = place_of(e->start_mark);
	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		return builder_document(b, at);
	case YAML_ALIAS_EVENT:
		return builder_alias(b, at);
	case YAML_SCALAR_EVENT:
		refuse_properties(b, at, e->data.scalar.anchor, e->data.scalar.tag);
		return builder_scalar(b, e);
	case YAML_SEQUENCE_START_EVENT:
		refuse_properties(b, at, e->data.sequence_start.anchor, e->data.sequence_start.tag);
		return builder_open(b, NODE_LIST, at);
	case YAML_MAPPING_START_EVENT:
		refuse_properties(b, at, e->data.mapping_start.anchor, e->data.mapping_start.tag);
		return builder_open(b, NODE_MAP, at);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		b->depth--;
		return true;
	default:
		return true;
	}
}

static void tell_syntax(struct builder *b, const yaml_parser_t *parser)
{
	struct place at = place_of(parser->problem_mark);
	const char *problem = parser->problem ? parser->problem : "cannot be read";
	if (parser->error == YAML_READER_ERROR)
		at.line = 0; /* its mark is not set; bytes_check should have come first */
	if (parser->context != NULL)
		problem_add(b->problems, at, NULL, "not valid YAML: %s (%s which begins on line %zu)",
			problem, parser->context, parser->context_mark.line + 1);
	else
		problem_add(b->problems, at, NULL, "not valid YAML: %s", problem);
}

/* true: the stream was read to its end. */
static bool builder_run(struct builder *b, yaml_parser_t *parser)
{
	for (bool more = true; more;) {
		yaml_event_t event;
		if (!yaml_parser_parse(parser, &event)) {
			tell_syntax(b, parser);
			return false;
		}
		bool ended = event.type == YAML_STREAM_END_EVENT;
		more = builder_take(b, &event);
		yaml_event_delete(&event);
		if (ended)
			return true;
	}
	return false;
}

struct node *node_read_yaml(
	const struct config_source *source, struct memory *memory, struct problems *problems, bool *complete)
{
	struct builder b = { .memory = memory, .problems = problems };
	*complete = false;
	if (!bytes_check(source, problems))
		return NULL;

	yaml_parser_t parser;
	if (!yaml_parser_initialize(&parser)) {
		problem_add(problems, (struct place){ .origin = ORIGIN_FILE }, NULL, "libyaml has no memory");
		return NULL;
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)source->yaml, source->yaml_len);
	*complete = builder_run(&b, &parser);
	yaml_parser_delete(&parser);
	return b.root;
}
