/* show.c - the table as a person reads it: the effective configuration (-T), the example file, the reference. */
#include <slowproxy/config.h>

#include <assert.h>
#include <string.h>

#include <slowproxy/base/json.h>

#include "private.h"
#include "value.h"

/* What asks for each key of the table in turn; a section opens before its first key. */
struct visitor {
	struct buf out;
	void (*section)(struct visitor *v, const struct config_section *section);
	void (*row)(struct visitor *v, const struct config_row *row, unsigned indent);
	const struct config *config;
	struct memory scratch;
};

static void visit_table(struct visitor *v, FILE *out)
{
	for (const struct config_section *s = config_sections; s->name != NULL; s++) {
		v->section(v, s);
		for (size_t i = 0; i < config_row_count; i++)
			if (row_in_section(&config_rows[i], s->name))
				v->row(v, &config_rows[i], 2 * section_depth(s));
	}
	fwrite(v->out.data, 1, v->out.len, out);
	buf_clear(&v->out);
	memory_clear(&v->scratch);
}

/* --- the effective configuration --- */

static const char *origin_text(struct visitor *v, const struct config_row *row)
{
	const struct config_private *own = v->config->private_;
	const struct value_origin *o = &own->origins[row - config_rows];
	switch (o->origin) {
	case ORIGIN_FILE:
		return memory_printf(&v->scratch, "%s:%zu", own->file_name, o->line);
	case ORIGIN_ENVIRONMENT:
		return memory_printf(&v->scratch, "environment: %s", row_variable(row, &v->scratch));
	case ORIGIN_FLAG:
		return memory_printf(&v->scratch, "flag: --%s", row->key);
	default:
		return "default";
	}
}

static void effective_section(struct visitor *v, const struct config_section *section)
{
	if (*section->name != '\0')
		buf_printf(&v->out, "%*s%s:\n", (int)(2 * section_depth(section) - 2), "",
			section_leaf(section));
}

static void effective_row(struct visitor *v, const struct config_row *row, unsigned indent)
{
	buf_printf(&v->out, "%*s%s:", (int)indent, "", row_leaf(row));
	value_add_yaml(&v->out, v->config, row, indent + 2, origin_text(v, row));
	buf_add_char(&v->out, '\n');
}

void config_print_effective(const struct config *c, FILE *out)
{
	struct visitor v = { .config = c, .section = effective_section, .row = effective_row };
	visit_table(&v, out);
}

void config_write_json(const struct config *c, struct buf *out)
{
	struct visitor v = { .config = c };
	struct json j;
	json_init(&j, out);
	json_begin(&j, '{');
	for (size_t i = 0; i < config_row_count; i++) {
		struct buf value = { 0 };
		value_add_yaml(&value, c, &config_rows[i], 0, NULL);
		size_t spaces = strspn(value.data, " \n");
		json_key(&j, config_rows[i].key);
		json_begin(&j, '{');
		json_key(&j, "value");
		json_strn(&j, value.data + spaces, value.len - spaces);
		json_key(&j, "origin");
		json_str(&j, origin_text(&v, &config_rows[i]));
		json_end(&j);
		buf_clear(&value);
	}
	json_end(&j);
	memory_clear(&v.scratch);
}

/* --- the example file --- */

enum { PAGE_COLUMNS = 100 };

/* Words of text in comment lines of at most PAGE_COLUMNS. */
static void add_wrapped(struct buf *out, unsigned indent, const char *text)
{
	size_t column = 0;
	while (*text != '\0') {
		size_t word = strcspn(text, " ");
		if (column == 0 || column + 1 + word > PAGE_COLUMNS) {
			buf_printf(out, "%s%*s#", column ? "\n" : "", (int)indent, "");
			column = indent + 1;
		}
		buf_add_char(out, ' ');
		buf_add(out, text, word);
		column += 1 + word;
		text += word;
		text += strspn(text, " ");
	}
	buf_add_char(out, '\n');
}

static void example_section(struct visitor *v, const struct config_section *section)
{
	buf_add_char(&v->out, '\n');
	add_wrapped(&v->out, MAX(section_depth(section), 1) * 2 - 2, section->doc);
	effective_section(v, section);
}

/* A default that depends on the machine is shown as a comment, so that a copied file keeps it. */
static void example_row(struct visitor *v, const struct config_row *row, unsigned indent)
{
	add_wrapped(&v->out, indent, row->doc);
	if (row->def_doc != NULL)
		add_wrapped(&v->out, indent, memory_printf(&v->scratch, "Default: %s.", row->def_doc));
	buf_printf(&v->out, "%*s%s%s:", (int)indent, "", row->def_find ? "# " : "", row_leaf(row));
	value_add_yaml(&v->out, v->config, row, indent + 2, NULL);
	buf_add_char(&v->out, '\n');
}

/* The configuration the example shows: the defaults, and the examples of rows that have one. */
static struct config *example_config(struct memory *scratch)
{
	const char **flags = memory_alloc(scratch, config_row_count * 2 * sizeof *flags);
	struct config_source source = { .flags = flags };
	struct buf errors = { 0 };
	for (size_t i = 0; i < config_row_count; i++) {
		if (config_rows[i].example == NULL)
			continue;
		flags[2 * source.flag_count] = config_rows[i].key;
		flags[2 * source.flag_count++ + 1] = config_rows[i].example;
	}
	struct config *c = config_load(&source, &errors);
	assert(c != NULL); /* a row's own example is wrong */
	buf_clear(&errors);
	return c;
}

void config_print_example(FILE *out)
{
	struct visitor v = { .section = example_section, .row = example_row };
	struct config *c = example_config(&v.scratch);
	v.config = c;
	buf_add_str(&v.out,
		"# yaml-language-server: $schema=proxy.schema.json\n"
		"#\n"
		"# proxy.example.yaml - every key of slowproxy. Only `upstream` is required: any other line may be deleted.\n"
		"# Values are the defaults, but for upstream and the rows of slow.routes and routes.templates.\n"
		"# Generated from the table in src/config/table.c; to change it, change the table.\n");
	visit_table(&v, out);
	config_free(c);
}

/* --- the reference --- */

static void reference_section(struct visitor *v, const struct config_section *section)
{
	if (*section->name != '\0')
		buf_printf(&v->out, "\n## %s\n\n%s\n", section->name, section->doc);
	else
		buf_printf(&v->out, "\n## Keys without a section\n\n%s\n", section->doc);
}

static void add_kind(struct buf *out, const struct config_row *row)
{
	static const char *const kinds[TYPE_COUNT] = {
		[TYPE_BOOL] = "true or false",
		[TYPE_NUMBER] = "a whole number",
		[TYPE_DURATION] = "a duration",
		[TYPE_SIZE] = "a size",
		[TYPE_CHOICE] = "one of",
		[TYPE_TEXT] = "a text",
		[TYPE_ADDRESS] = "an address",
		[TYPE_ADDRESSES] = "an address, or a list of addresses",
		[TYPE_TEXTS] = "a list of texts",
		[TYPE_SLOW_ROUTES] = "a list of rows `{ match, threshold }`, each threshold a duration",
	};
	buf_add_str(out, kinds[row->type]);
	for (size_t i = 0; row->choices != NULL && row->choices[i] != NULL; i++)
		buf_printf(out, "%s `%s`", i ? "," : "", row->choices[i]);
	if (row->max != 0) {
		buf_add_str(out, " from ");
		value_add_bound(out, row, row->min);
		buf_add_str(out, " to ");
		value_add_bound(out, row, row->max);
	}
	if (row->flags & ROW_OFF)
		buf_add_str(out, ", or `off`");
}

static void add_default(struct buf *out, const struct config_row *row)
{
	if (row->def_doc != NULL)
		buf_printf(out, "default: %s", row->def_doc);
	else if (row_required(row))
		buf_add_str(out, "required");
	else if (*row->def == '\0')
		buf_add_str(out, "default: none");
	else
		buf_printf(out, "default: `%s`", row->def);
}

static void reference_row(struct visitor *v, const struct config_row *row, unsigned indent)
{
	const char *sample = row->example != NULL ? row->example : row->def;
	(void)indent;
	buf_printf(&v->out, "\n### `%s`\n\n%s\n\n- ", row->key, row->doc);
	add_kind(&v->out, row);
	buf_add_str(&v->out, "; ");
	add_default(&v->out, row);
	buf_printf(&v->out, "\n- flag `--%s %s`, environment `%s`\n", row->key,
		memory_printf(&v->scratch, strpbrk(sample, " *") ? "'%s'" : "%s", sample),
		row_variable(row, &v->scratch));
}

static const char reference_head[] =
	"# Configuration reference\n"
	"\n"
	"Generated from the table in `src/config/table.c`; to change it, change the table.\n"
	"\n"
	"Every key can be set in the YAML file (`-c proxy.yaml`), by an environment variable and by a flag.\n"
	"A flag is stronger than the environment, the environment than the file, the file than the default.\n"
	"An empty environment variable counts as unset. Only `upstream` is required.\n"
	"`slowproxy -t -c proxy.yaml` tells every error of a file at once;\n"
	"`slowproxy -T -c proxy.yaml` prints the value of every key, and where it comes from.\n"
	"\n"
	"- **Durations** have a unit: `500ms`, `1.5s`, `2m`, `1h30m` (`ns` `us` `ms` `s` `m` `h`). `0` needs none.\n"
	"- **Sizes** have a unit: `64KiB`, `10MB` (`B` `kB` `KiB` `MB` `MiB` `GB` `GiB` `TB` `TiB`). `0` needs none.\n"
	"- **Addresses** are `host:port`, `[v6]:port`, `:port` or `unix:/path`.\n"
	"- **Variables** in values of the file: `${VAR}` (an error when unset), `${VAR:-default}`, `${VAR:?message}`,\n"
	"  `${env:VAR}`; `$$` is a dollar sign. They are filled in after the file was parsed, so a value can bring no\n"
	"  structure along. Inside `{ }` and `[ ]`, YAML wants quotes around them.\n"
	"- Unknown and duplicate keys are errors. YAML anchors, aliases and tags are not supported.\n";

void config_print_reference(FILE *out)
{
	struct visitor v = { .section = reference_section, .row = reference_row };
	buf_add_str(&v.out, reference_head);
	visit_table(&v, out);
}

bool config_is_default(const struct config *c, const char *key)
{
	const struct config_private *own = c->private_;
	const struct config_row *row = row_find(key);
	return row != NULL && own->origins[row - config_rows].origin == ORIGIN_DEFAULT;
}
