/* schema.c - the table as a JSON Schema (draft 2020-12), for editors and other checkers.
 *
 * It accepts what config_load accepts, seen as a YAML 1.1 or 1.2 reader sees it, but for what a schema cannot say: sums
 * over durations, ranges of numbers with units. Any value may also be a text with a ${variable} in it.
 */
#include <slowproxy/config.h>

#include <string.h>

#include <slowproxy/base/json.h>

#include "value.h"

static void add_string(struct json *j, const char *key, const char *value)
{
	json_key(j, key);
	json_str(j, value);
}

static void add_ref(struct json *j, const char *name)
{
	struct buf ref = { 0 };
	buf_printf(&ref, "#/$defs/%s", name);
	json_begin(j, '{');
	add_string(j, "$ref", ref.data);
	json_end(j);
	buf_clear(&ref);
}

/* Patterns of texts; each is used as #/$defs/NAME. */
static const struct {
	const char *name, *pattern, *description;
} texts[] = {
	{ "variable", "\\$\\{[^}]+\\}", "A text with a ${VARIABLE} in it." },
	{ "duration", "^(0|([0-9]+(\\.[0-9]+)?(ns|us|ms|s|m|h))+)$",
		"A number with its unit: 500ms, 1.5s, 2m, 1h30m." },
	{ "size", "^(0|[0-9]+(\\.[0-9]+)?(B|kB|KB|KiB|MB|MiB|GB|GiB|TB|TiB))$",
		"A number with its unit: 64KiB, 10MB." },
	{ "address",
		"^(unix:/.*|\\[[0-9A-Fa-f:.]+(%[^]]+)?\\]:[0-9]{1,5}|[A-Za-z0-9._-]*:[0-9]{1,5}|\\*:[0-9]{1,5})$",
		"host:port, [v6]:port, :port or unix:/path." },
	{ "match", "^(([A-Z-]+|\\*) +)?/[^ ?#]*$",
		"A path, with a method before it or without: POST /reports/*" },
};

static void add_definitions(struct json *j)
{
	json_key(j, "$defs");
	json_begin(j, '{');
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		json_key(j, texts[i].name);
		json_begin(j, '{');
		add_string(j, "type", "string");
		add_string(j, "pattern", texts[i].pattern);
		add_string(j, "description", texts[i].description);
		json_end(j);
	}
	json_end(j);
}

static void add_constant(struct json *j, const char *raw)
{
	json_begin(j, '{');
	json_key(j, "const");
	json_raw(j, raw, strlen(raw));
	json_end(j);
}

/* "off", and false, which is how a YAML 1.1 reader takes off without quotes. */
static void add_off(struct json *j, const struct config_row *row)
{
	if (!(row->flags & ROW_OFF))
		return;
	add_constant(j, "\"off\"");
	add_constant(j, "false");
}

static void add_quantity(struct json *j, const struct config_row *row, const char *definition)
{
	add_ref(j, definition);
	if (row->min == 0)
		add_constant(j, "0");
	add_off(j, row);
}

static void add_number(struct json *j, const struct config_row *row)
{
	json_begin(j, '{');
	add_string(j, "type", "integer");
	json_key(j, "minimum");
	json_u64(j, row->min);
	json_key(j, "maximum");
	json_u64(j, row->max ? row->max : UINT32_MAX);
	json_end(j);
}

static void add_type(struct json *j, const char *type)
{
	json_begin(j, '{');
	add_string(j, "type", type);
	json_end(j);
}

static void add_choice(struct json *j, const struct config_row *row)
{
	json_begin(j, '{');
	json_key(j, "enum");
	json_begin(j, '[');
	for (size_t i = 0; row->choices[i] != NULL; i++)
		json_str(j, row->choices[i]);
	json_end(j);
	json_end(j);
}

static void add_array_of(struct json *j, const char *definition, unsigned min_items)
{
	json_begin(j, '{');
	add_string(j, "type", "array");
	json_key(j, "minItems");
	json_u64(j, min_items);
	json_key(j, "items");
	json_begin(j, '{');
	json_key(j, "anyOf");
	json_begin(j, '[');
	if (definition != NULL)
		add_ref(j, definition);
	else
		add_type(j, "string");
	add_ref(j, "variable");
	json_end(j);
	json_end(j);
	json_end(j);
}

static void add_route_field(
	struct json *j, const struct config_row *row, const char *name, const char *definition)
{
	json_key(j, name);
	json_begin(j, '{');
	json_key(j, "anyOf");
	json_begin(j, '[');
	add_ref(j, definition);
	add_ref(j, "variable");
	if (strcmp(name, "threshold") == 0)
		add_off(j, row);
	json_end(j);
	json_end(j);
}

static void add_slow_routes(struct json *j, const struct config_row *row)
{
	json_begin(j, '{');
	add_string(j, "type", "array");
	json_key(j, "items");
	json_begin(j, '{');
	add_string(j, "type", "object");
	json_key(j, "additionalProperties");
	json_bool(j, false);
	json_key(j, "required");
	json_begin(j, '[');
	json_str(j, "match");
	json_str(j, "threshold");
	json_end(j);
	json_key(j, "properties");
	json_begin(j, '{');
	add_route_field(j, row, "match", "match");
	add_route_field(j, row, "threshold", "duration");
	json_end(j);
	json_end(j);
	json_end(j);
}

/* A text that a YAML 1.1 reader may take for a boolean: off. */
static void add_text(struct json *j, const struct config_row *row)
{
	add_type(j, "string");
	if (row->check != NULL && row->check("off") == NULL && row->check("yes") != NULL)
		add_constant(j, "false");
}

static void add_alternatives(struct json *j, const struct config_row *row)
{
	switch (row->type) {
	case TYPE_BOOL:
		add_type(j, "boolean");
		break;
	case TYPE_NUMBER:
		add_number(j, row);
		break;
	case TYPE_DURATION:
		add_quantity(j, row, "duration");
		break;
	case TYPE_SIZE:
		add_quantity(j, row, "size");
		break;
	case TYPE_CHOICE:
		add_choice(j, row);
		break;
	case TYPE_TEXT:
		add_text(j, row);
		break;
	case TYPE_ADDRESS:
		add_ref(j, "address");
		add_off(j, row);
		break;
	case TYPE_ADDRESSES:
		add_ref(j, "address");
		add_array_of(j, "address", 1);
		break;
	case TYPE_TEXTS:
		add_text(j, row);
		add_array_of(j, NULL, 0);
		break;
	case TYPE_SLOW_ROUTES:
		add_slow_routes(j, row);
		return;
	case TYPE_COUNT:
		break;
	}
	add_ref(j, "variable");
}

static void add_default(struct json *j, const struct config_row *row)
{
	if (row->def == NULL)
		return;
	json_key(j, "default");
	if (row->type == TYPE_BOOL || row->type == TYPE_NUMBER)
		json_raw(j, row->def, strlen(row->def));
	else if (row_is_list(row) && *row->def == '\0')
		json_raw(j, "[]", 2);
	else
		json_str(j, row->def);
}

static void add_row(struct json *j, const struct config_row *row)
{
	json_key(j, row_leaf(row));
	json_begin(j, '{');
	add_string(j, "description", row->doc);
	add_default(j, row);
	json_key(j, "anyOf");
	json_begin(j, '[');
	add_alternatives(j, row);
	json_end(j);
	json_end(j);
}

static void add_rows(struct json *j, const char *section)
{
	for (size_t i = 0; i < config_row_count; i++)
		if (row_in_section(&config_rows[i], section))
			add_row(j, &config_rows[i]);
}

static void add_section(struct json *j, const struct config_section *section)
{
	json_key(j, section_leaf(section));
	json_begin(j, '{');
	add_string(j, "description", section->doc);
	json_key(j, "type");
	json_raw(j, "[\"object\",\"null\"]", strlen("[\"object\",\"null\"]"));
	json_key(j, "additionalProperties");
	json_bool(j, false);
	json_key(j, "properties");
	json_begin(j, '{');
	add_rows(j, section->name);
	for (const struct config_section *s = config_sections; s->name != NULL; s++)
		if (section_within(s, section->name))
			add_section(j, s);
	json_end(j);
	json_end(j);
}

static void add_required(struct json *j)
{
	json_key(j, "required");
	json_begin(j, '[');
	for (size_t i = 0; i < config_row_count; i++)
		if (row_required(&config_rows[i]))
			json_str(j, config_rows[i].key);
	json_end(j);
}

static void add_schema(struct json *j)
{
	json_begin(j, '{');
	add_string(j, "$schema", "https://json-schema.org/draft/2020-12/schema");
	add_string(j, "title", "proxy.yaml");
	add_string(j, "description",
		"The configuration of slowproxy. Generated from the table in src/config/table.c.");
	add_string(j, "type", "object");
	json_key(j, "additionalProperties");
	json_bool(j, false);
	add_required(j);
	json_key(j, "properties");
	json_begin(j, '{');
	for (const struct config_section *s = config_sections; s->name != NULL; s++) {
		if (*s->name == '\0')
			add_rows(j, s->name);
		else if (section_within(s, ""))
			add_section(j, s);
	}
	json_end(j);
	add_definitions(j);
	json_end(j);
}

/* Compact JSON, laid out for people: two spaces a level. */
static void print_indented(const char *json, FILE *out)
{
	int depth = 0;
	bool in_string = false;
	for (const char *p = json; *p != '\0'; p++) {
		if (in_string) {
			fputc(*p, out);
			if (*p == '\\')
				fputc(*++p, out);
			else if (*p == '"')
				in_string = false;
			continue;
		}
		in_string = *p == '"';
		if ((*p == '{' || *p == '[') &&
			p[1] == *p + 2) { /* empty: ']' and '}' come two after their openers */
			fprintf(out, "%c%c", p[0], p[1]);
			p++;
			continue;
		}
		if (*p == '}' || *p == ']')
			fprintf(out, "\n%*s", --depth * 2, "");
		fputc(*p, out);
		if (*p == ':')
			fputc(' ', out);
		if (*p == '{' || *p == '[')
			depth++;
		if (*p == '{' || *p == '[' || *p == ',')
			fprintf(out, "\n%*s", depth * 2, "");
	}
	fputc('\n', out);
}

void config_print_schema(FILE *out)
{
	struct buf text = { 0 };
	struct json j;
	json_init(&j, &text);
	add_schema(&j);
	print_indented(text.data, out);
	buf_clear(&text);
}
