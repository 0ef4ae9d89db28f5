/* show.c - the table as a person reads it: the effective configuration (-T), the example file, the reference. */
#include <slowproxy/config.h>

#include <string.h>

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
				v->row(v, &config_rows[i], *s->name ? 2 : 0);
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
		buf_printf(&v->out, "%s:\n", section->name);
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
