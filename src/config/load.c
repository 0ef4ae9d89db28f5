/* load.c - defaults, file, environment, flags: the strongest value of each key, and every error of all of them.
 *
 * Values are read in that order into the same struct, so that a wrong line in the file is told even where a flag
 * overrides it.
 */
#include <slowproxy/config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/str.h>

#include "expand.h"
#include "node.h"
#include "private.h"
#include "value.h"

struct loader {
	struct value_reader reader;
	struct config_private *own;
	struct problems problems;
	struct memory scratch;
};

static bool has_file(const struct loader *l)
{
	return l->reader.source->file_name != NULL && l->reader.source->yaml != NULL;
}

static void take(struct loader *l, const struct config_row *row, const struct node *node)
{
	l->own->origins[row - config_rows] = (struct value_origin){ node->at.origin, node->at.line };
	value_read(&l->reader, row, node);
}

static void load_defaults(struct loader *l)
{
	struct place at = { .origin = ORIGIN_DEFAULT };
	for (size_t i = 0; i < config_row_count; i++) {
		const struct config_row *row = &config_rows[i];
		const char *text = row->def_find ? row->def_find(l->reader.source, &l->scratch) : row->def;
		if (text != NULL)
			take(l, row, value_node(&l->scratch, row, text, at));
	}
}

/* What could have been meant in this section ("" is the top), then anywhere. */
static const char *meant_key(struct loader *l, const char *section, const char *name)
{
	struct nearest nearest;
	nearest_begin(&nearest, name);
	for (size_t i = 0; i < config_row_count; i++)
		if (row_in_section(&config_rows[i], section))
			nearest_offer(&nearest, row_leaf(&config_rows[i]));
	for (const struct config_section *s = config_sections; s->name != NULL; s++)
		if (section_within(s, section))
			nearest_offer(&nearest, section_leaf(s));
	if (nearest.best != NULL)
		return nearest.best;

	const struct config_row *row = row_find(name);
	const char *elsewhere = row != NULL ? row->key : nearest_key(name);
	if (elsewhere == NULL || strchr(elsewhere, '.') == NULL)
		return elsewhere;
	return memory_printf(&l->scratch, "%s (%s under %s:)", elsewhere, row_leaf(row_find(elsewhere)),
		memory_strndup(&l->scratch, elsewhere, (size_t)(strrchr(elsewhere, '.') - elsewhere)));
}

static const char *dotted(struct loader *l, const char *section, const char *name)
{
	return memory_printf(&l->scratch, "%s%s%.80s", section, *section ? "." : "", name);
}

static void tell_unknown(struct loader *l, const char *section, const struct node *n)
{
	const char *meant = meant_key(l, section, n->key);
	if (meant != NULL)
		problem_add(&l->problems, n->key_at, dotted(l, section, n->key),
			"unknown key; did you mean %s?", meant);
	else
		problem_add(&l->problems, n->key_at, dotted(l, section, n->key), "unknown key");
}

/* Maps are small: a walk over what came before is enough. */
static bool tell_duplicate(
	struct loader *l, const char *section, const struct node *map, const struct node *n)
{
	for (const struct node *before = map->first; before != n; before = before->next) {
		if (strcmp(before->key, n->key) == 0) {
			problem_add(&l->problems, n->key_at, dotted(l, section, n->key),
				"is here twice; the first is on line %zu", before->key_at.line);
			return true;
		}
	}
	return false;
}

static void load_section(struct loader *l, const struct config_section *section, const struct node *map);

static void load_key(struct loader *l, const char *section, const struct node *n)
{
	const char *name = dotted(l, section, n->key);
	bool is_one_word = strchr(n->key, '.') == NULL;
	const struct config_section *inner = is_one_word ? section_find(name) : NULL;
	const struct config_row *row = is_one_word ? row_find(name) : NULL;

	if (inner != NULL)
		load_section(l, inner, n);
	else if (row != NULL)
		take(l, row, n);
	else
		tell_unknown(l, section, n);
}

static const char *sample_key(const struct config_section *section)
{
	for (size_t i = 0; i < config_row_count; i++)
		if (*section->name != '\0' && row_in_section(&config_rows[i], section->name))
			return row_leaf(&config_rows[i]);
	return "upstream: 127.0.0.1:8000";
}

/* A section whose keys are all commented out is empty, not wrong. */
static void load_section(struct loader *l, const struct config_section *section, const struct node *map)
{
	if (map->is_told || map->is_null)
		return;
	if (map->kind != NODE_MAP) {
		problem_add(&l->problems, map->at, *section->name ? section->name : NULL,
			"%s stands where a map belongs, with keys such as %s",
			map->kind == NODE_LIST ? "a list" : "a single value", sample_key(section));
		return;
	}
	for (const struct node *n = map->first; n != NULL; n = n->next)
		if (!tell_duplicate(l, section->name, map, n))
			load_key(l, section->name, n);
}

/* false: the file could not be read as meant, so what seems to be missing may be there. */
static bool load_file(struct loader *l)
{
	bool complete;
	if (!has_file(l))
		return true;
	const struct node *root = node_read_yaml(l->reader.source, &l->scratch, &l->problems, &complete);
	if (root != NULL)
		load_section(l, &config_sections[0], root);
	return complete && (root == NULL || root->kind == NODE_MAP || root->is_null);
}

/* An empty variable counts as unset, as compose files and the OpenTelemetry specification have it. */
static void load_environment(struct loader *l)
{
	for (size_t i = 0; i < config_row_count; i++) {
		const char *name = row_variable(&config_rows[i], &l->scratch);
		const char *text = environment_get(l->reader.source->environment, name, strlen(name));
		struct place at = { .origin = ORIGIN_ENVIRONMENT, .label = name };
		if (text != NULL && *text != '\0')
			take(l, &config_rows[i], value_node(&l->scratch, &config_rows[i], text, at));
	}
}

static void list_join(struct node *list, struct node *more)
{
	if (more->first == NULL)
		return;
	node_append(list, more->first);
	list->last = more->last;
}

/* A list may be given in several flags; of any other key the last flag counts. */
static void load_flags(struct loader *l)
{
	const struct config_source *source = l->reader.source;
	struct node **nodes = memory_alloc(&l->scratch, config_row_count * sizeof(struct node *));
	for (size_t i = 0; i < source->flag_count; i++) {
		const char *name = source->flags[2 * i], *text = source->flags[2 * i + 1];
		const struct config_row *row = row_find(name);
		struct place at = { .origin = ORIGIN_FLAG,
			.label = memory_printf(&l->scratch, "--%s", name) };
		if (row == NULL) {
			const char *meant = nearest_key(name);
			problem_add(&l->problems, at, NULL, "unknown flag%s%s%s",
				meant ? "; did you mean --" : "", meant ? meant : "", meant ? "?" : "");
			continue;
		}
		struct node **slot = &nodes[row - config_rows];
		struct node *node = value_node(&l->scratch, row, text, at);
		if (!row_is_list(row) || *slot == NULL)
			*slot = node;
		else
			list_join(*slot, node);
	}
	for (size_t i = 0; i < config_row_count; i++)
		if (nodes[i] != NULL)
			take(l, &config_rows[i], nodes[i]);
}

static void check_required(struct loader *l)
{
	struct place at = { .origin = has_file(l) ? ORIGIN_FILE : ORIGIN_FLAG };
	for (size_t i = 0; i < config_row_count; i++) {
		const struct config_row *row = &config_rows[i];
		if (!row_required(row) || l->own->origins[i].origin != ORIGIN_DEFAULT)
			continue;
		problem_add(&l->problems, at, row->key,
			"is missing: write %s: %s in the file, or give --%s or %s", row->key, row->example,
			row->key, row_variable(row, &l->scratch));
	}
}

static uint64_t smallest_threshold_ns(const struct config *c)
{
	uint64_t smallest = c->slow.threshold_ns ? c->slow.threshold_ns : UINT64_MAX;
	for (size_t i = 0; i < c->slow.routes.count; i++)
		if (c->slow.routes.items[i].threshold_ns != 0)
			smallest = MIN(smallest, c->slow.routes.items[i].threshold_ns);
	return smallest;
}

/* Not wrong, but most likely not what was wanted. */
static void warn(struct loader *l)
{
	const struct config *c = l->reader.config;
	if (c->capture.enabled && c->capture.arm_after_ns >= smallest_threshold_ns(c))
		log_warn(
			"capture.arm_after is not below the smallest threshold: stacks of the time before a request became "
			"slow will be missing");
	for (char *const *e = l->reader.source->environment; e != NULL && *e != NULL; e++) {
		if (strncmp(*e, "SLOWPROXY_", 10) != 0)
			continue;
		const char *name = memory_strndup(&l->scratch, *e, strcspn(*e, "="));
		struct nearest nearest;
		nearest_begin(&nearest, name + 10);
		for (size_t i = 0; i < config_row_count; i++)
			nearest_offer(&nearest, row_variable(&config_rows[i], &l->scratch) + 10);
		if (nearest.best != NULL && nearest.distance != 0)
			log_warn(
				"the environment variable %s is no key of slowproxy; did you mean SLOWPROXY_%s?",
				name, nearest.best);
	}
}

/* Some editors begin a file with a byte order mark, which says nothing in UTF-8. */
static struct config_source without_mark(const struct config_source *given)
{
	struct config_source source = *given;
	if (source.yaml != NULL && source.yaml_len >= 3 && memcmp(source.yaml, "\xef\xbb\xbf", 3) == 0) {
		source.yaml += 3;
		source.yaml_len -= 3;
	}
	return source;
}

struct config *config_load(const struct config_source *given, struct buf *errors)
{
	const struct config_source unmarked = without_mark(given), *source = &unmarked;
	struct config *c = xcalloc(1, sizeof *c);
	struct config_private *own = xcalloc(1, sizeof *own);
	struct loader l = { .own = own, .problems = { .source = source } };
	c->private_ = own;
	own->origins = memory_alloc(&own->memory, config_row_count * sizeof *own->origins);
	own->file_name = memory_strdup(&own->memory, source->file_name ? source->file_name : "");
	l.reader = (struct value_reader){ c, source, &own->memory, &l.scratch, &l.problems };

	load_defaults(&l);
	bool complete = load_file(&l);
	load_environment(&l);
	load_flags(&l);
	if (complete)
		check_required(&l);

	bool good = l.problems.count == 0;
	if (!good)
		problems_print(&l.problems, errors);
	else if (!source->quiet)
		warn(&l);
	problems_clear(&l.problems);
	memory_clear(&l.scratch);
	if (good)
		return c;
	config_free(c);
	return NULL;
}
