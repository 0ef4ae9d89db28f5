/* lookup.c - finding rows, by name and by what somebody may have meant. */
#include <ctype.h>
#include <string.h>

#include <slowproxy/base/str.h>

#include "table.h"

const char *row_leaf(const struct config_row *row)
{
	const char *dot = strrchr(row->key, '.');
	return dot != NULL ? dot + 1 : row->key;
}

bool row_in_section(const struct config_row *row, const char *section)
{
	const char *leaf = row_leaf(row);
	struct slice name = { row->key, leaf == row->key ? 0 : (size_t)(leaf - row->key) - 1 };
	return slice_equal(name, slice_of(section));
}

const struct config_row *row_find(const char *key)
{
	for (size_t i = 0; i < config_row_count; i++)
		if (strcmp(config_rows[i].key, key) == 0)
			return &config_rows[i];
	return NULL;
}

const struct config_section *section_find(const char *name)
{
	for (const struct config_section *s = config_sections; s->name != NULL; s++)
		if (*name != '\0' && strcmp(s->name, name) == 0)
			return s;
	return NULL;
}

const char *section_leaf(const struct config_section *section)
{
	const char *dot = strrchr(section->name, '.');
	return dot != NULL ? dot + 1 : section->name;
}

bool section_within(const struct config_section *section, const char *outer)
{
	const char *leaf = section_leaf(section);
	struct slice name = { section->name, leaf == section->name ? 0 : (size_t)(leaf - section->name) - 1 };
	return *section->name != '\0' && slice_equal(name, slice_of(outer));
}

unsigned section_depth(const struct config_section *section)
{
	unsigned depth = *section->name != '\0';
	for (const char *p = section->name; *p != '\0'; p++)
		depth += *p == '.';
	return depth;
}

char *row_variable(const struct config_row *row, struct memory *memory)
{
	char *name = memory_printf(memory, "SLOWPROXY_%s", row->key);
	for (char *p = name; *p != '\0'; p++)
		*p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
	return name;
}

bool row_is_list(const struct config_row *row)
{
	return row->type == TYPE_ADDRESSES || row->type == TYPE_TEXTS || row->type == TYPE_SLOW_ROUTES;
}

bool row_required(const struct config_row *row)
{
	return row->flags & ROW_REQUIRED;
}

/* A third of the letters may be wrong, but never more than three. */
void nearest_begin(struct nearest *n, const char *wanted)
{
	unsigned tolerance = (unsigned)MIN(strlen(wanted) / 3, 3);
	*n = (struct nearest){ .wanted = wanted, .distance = MAX(tolerance, 1) + 1 };
}

void nearest_offer(struct nearest *n, const char *candidate)
{
	unsigned distance = str_distance(n->wanted, candidate);
	if (distance >= n->distance)
		return;
	n->distance = distance;
	n->best = candidate;
}

const char *nearest_key(const char *wanted)
{
	struct nearest whole;
	nearest_begin(&whole, wanted);
	for (size_t i = 0; i < config_row_count; i++)
		nearest_offer(&whole, config_rows[i].key);
	if (whole.best != NULL)
		return whole.best;

	const char *best = NULL;
	struct nearest leaf;
	nearest_begin(&leaf, wanted);
	for (size_t i = 0; i < config_row_count; i++) {
		const char *before = leaf.best;
		nearest_offer(&leaf, row_leaf(&config_rows[i]));
		if (leaf.best != before)
			best = config_rows[i].key;
	}
	return best;
}

bool config_key_known(const char *name, bool *is_boolean, const char **suggestion)
{
	const struct config_row *row = row_find(name);
	*is_boolean = row != NULL && row->type == TYPE_BOOL;
	*suggestion = row != NULL ? NULL : nearest_key(name);
	return row != NULL;
}

bool config_key_at(size_t index, struct config_key *out)
{
	if (index >= config_row_count)
		return false;
	const struct config_row *row = &config_rows[index];
	*out = (struct config_key){ row->key, row->doc, row->choices, row->type == TYPE_BOOL };
	return true;
}
