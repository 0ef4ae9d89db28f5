/* value_show.c - from a field of struct config back to YAML that reads as the same value. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include <slowproxy/base/json.h>

#include "text.h"
#include "value.h"

static const void *field(const struct config *config, const struct config_row *row)
{
	return (const char *)config + row->at;
}

/* Plain where no YAML reader of any version takes it for something else. */
static bool is_plain(const char *text)
{
	static const char *const special[] = { "true", "false", "yes", "no", "on", "off", "null", "y", "n" };
	if (!isalpha((unsigned char)text[0]) && text[0] != '/')
		return false;
	for (size_t i = 0; i < ARRAY_LEN(special); i++)
		if (strcasecmp(text, special[i]) == 0)
			return false;
	for (const char *p = text; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("/._-", *p) == NULL && !(*p == ':' && p[1] > ' '))
			return false;
	return true;
}

void value_add_scalar(struct buf *out, const char *text)
{
	struct buf doubled = { 0 };
	struct json j;
	if (is_plain(text)) {
		buf_add_str(out, text);
		return;
	}
	for (const char *p = text; *p != '\0'; p++) {
		buf_add_char(&doubled, *p);
		if (*p == '$')
			buf_add_char(&doubled, '$');
	}
	json_init(&j, out); /* a JSON string is a YAML string */
	json_strn(&j, doubled.data ? doubled.data : "", doubled.len);
	buf_clear(&doubled);
}

/* 127.0.0.1:8000 would need no quotes, and is known to everybody without them. */
static void add_address(struct buf *out, const struct config_address *address)
{
	if (isdigit((unsigned char)address->text[0]) &&
		strspn(address->text, "0123456789.:") == strlen(address->text) &&
		strchr(address->text, '.') != NULL)
		buf_add_str(out, address->text);
	else
		value_add_scalar(out, address->text);
}

static void add_duration(struct buf *out, const struct config_row *row, uint64_t ns)
{
	if (ns == 0 && (row->flags & ROW_OFF))
		value_add_scalar(out, "off");
	else
		text_add_duration(out, ns);
}

static void add_item_start(struct buf *out, unsigned indent)
{
	buf_printf(out, "\n%*s- ", (int)indent, "");
}

static void add_comment(struct buf *out, const char *comment)
{
	if (comment != NULL)
		buf_printf(out, " # %s", comment);
}

static void add_addresses(
	struct buf *out, const struct config_addresses *list, unsigned indent, const char *comment)
{
	if (list->count == 1) {
		buf_add_char(out, ' ');
		add_address(out, &list->items[0]);
	}
	add_comment(out, comment);
	for (size_t i = 0; list->count > 1 && i < list->count; i++) {
		add_item_start(out, indent);
		add_address(out, &list->items[i]);
	}
}

static void add_texts(
	struct buf *out, const struct config_strings *list, unsigned indent, const char *comment)
{
	if (list->count == 0)
		buf_add_str(out, " []");
	add_comment(out, comment);
	for (size_t i = 0; i < list->count; i++) {
		add_item_start(out, indent);
		value_add_scalar(out, list->items[i]);
	}
}

static void add_slow_routes(struct buf *out, const struct config_row *row,
	const struct config_slow_routes *list, unsigned indent, const char *comment)
{
	if (list->count == 0)
		buf_add_str(out, " []");
	add_comment(out, comment);
	for (size_t i = 0; i < list->count; i++) {
		add_item_start(out, indent);
		buf_add_str(out, "{ match: ");
		value_add_scalar(out, list->items[i].match);
		buf_add_str(out, ", threshold: ");
		add_duration(out, row, list->items[i].threshold_ns);
		buf_add_str(out, " }");
	}
}

static void add_single(struct buf *out, const struct config *config, const struct config_row *row)
{
	const void *at = field(config, row);
	switch (row->type) {
	case TYPE_BOOL:
		buf_add_str(out, *(const bool *)at ? "true" : "false");
		break;
	case TYPE_NUMBER:
		buf_printf(out, "%" PRIu32, *(const uint32_t *)at);
		break;
	case TYPE_DURATION:
		add_duration(out, row, *(const uint64_t *)at);
		break;
	case TYPE_SIZE:
		text_add_size(out, *(const uint64_t *)at);
		break;
	case TYPE_CHOICE:
		value_add_scalar(out, row->choices[*(const unsigned *)at]);
		break;
	case TYPE_TEXT:
		value_add_scalar(out, *(const char *const *)at);
		break;
	default:
		add_address(out, at);
		break;
	}
}

/* Of a secret, a text or a list of them. */
static bool is_given(const void *at, const struct config_row *row)
{
	return row->type == TYPE_TEXTS ? ((const struct config_strings *)at)->count != 0
				       : **(const char *const *)at != '\0';
}

void value_add_yaml(struct buf *out, const struct config *config, const struct config_row *row,
	unsigned indent, const char *comment)
{
	const void *at = field(config, row);
	if (row->flags & ROW_SECRET && is_given(at, row)) {
		buf_add_str(out, row->type == TYPE_TEXTS ? " [\"***\"]" : " \"***\"");
		add_comment(out, comment);
		return;
	}
	switch (row->type) {
	case TYPE_ADDRESSES:
		add_addresses(out, at, indent, comment);
		break;
	case TYPE_TEXTS:
		add_texts(out, at, indent, comment);
		break;
	case TYPE_SLOW_ROUTES:
		add_slow_routes(out, row, at, indent, comment);
		break;
	default:
		buf_add_char(out, ' ');
		add_single(out, config, row);
		add_comment(out, comment);
		break;
	}
}

void value_add_bound(struct buf *out, const struct config_row *row, uint64_t bound)
{
	if (row->type == TYPE_DURATION || row->type == TYPE_SLOW_ROUTES)
		text_add_duration(out, bound);
	else if (row->type == TYPE_SIZE)
		text_add_size(out, bound);
	else
		buf_printf(out, "%" PRIu64, bound);
}
