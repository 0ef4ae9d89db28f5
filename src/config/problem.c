/* problem.c - problems, collected, sorted by place, and shown with the line they are in:
 *
 *   proxy.yaml:12:9: capture.rate: 50000 is above the maximum 10000
 *      12 |   rate: 50000
 *         |         ^
 */
#include "problem.h"

#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/str.h>

enum { PROBLEMS_MAX = 500, SHOWN_LINE_MAX = 160 };

/* What a peer or a file wrote must not steer the terminal of who reads the error. */
static void add_printable(struct buf *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = utf8_sequence((const unsigned char *)text + i, len - i);
		if (n == 0 || (n == 1 && ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)))
			buf_add_char(out, text[i] == '\t' ? '\t' : '?');
		else
			buf_add(out, text + i, n);
		i += n ? n : 1;
	}
}

void problem_add(struct problems *p, struct place at, const char *key, const char *fmt, ...)
{
	if (p->count == PROBLEMS_MAX) {
		p->untold++;
		return;
	}
	struct buf raw = { 0 }, text = { 0 };
	if (key != NULL)
		buf_printf(&raw, "%s: ", key);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&raw, fmt, args);
	va_end(args);
	add_printable(&text, raw.data, raw.len);

	p->items = array_grow(p->items, &p->capacity, p->count, sizeof *p->items);
	p->items[p->count] = (struct problem){ .at = at, .order = p->count };
	p->items[p->count++].text = memory_strdup(&p->memory, text.data ? text.data : "");
	buf_clear(&raw);
	buf_clear(&text);
}

static int by_size(size_t a, size_t b)
{
	return (a > b) - (a < b);
}

static int compare_places(const void *a, const void *b)
{
	const struct problem *left = a, *right = b;
	int order = by_size(left->at.origin, right->at.origin);
	if (order == 0)
		order = by_size(left->at.line, right->at.line);
	if (order == 0)
		order = by_size(left->at.column, right->at.column);
	return order != 0 ? order : by_size(left->order, right->order);
}

/* Bytes of the YAML line break at p, as libyaml counts them (CR, LF, CRLF, NEL, LS, PS), or 0. */
static size_t break_at(const char *p, size_t left)
{
	if (left >= 2 && memcmp(p, "\r\n", 2) == 0)
		return 2;
	if (left >= 1 && (*p == '\n' || *p == '\r'))
		return 1;
	if (left >= 2 && memcmp(p, "\xc2\x85", 2) == 0)
		return 2;
	if (left >= 3 && (memcmp(p, "\xe2\x80\xa8", 3) == 0 || memcmp(p, "\xe2\x80\xa9", 3) == 0))
		return 3;
	return 0;
}

static struct slice source_line(const struct config_source *source, size_t number)
{
	size_t line = 1, at = 0;
	while (at < source->yaml_len && line < number) {
		size_t skip = break_at(source->yaml + at, source->yaml_len - at);
		line += skip != 0;
		at += skip ? skip : 1;
	}
	size_t end = at;
	while (end < source->yaml_len && break_at(source->yaml + end, source->yaml_len - end) == 0)
		end++;
	return (struct slice){ source->yaml + at, end - at };
}

/* A caret stands under its character: tabs stay tabs, and a character of several bytes takes one column. */
static void add_caret(struct buf *out, struct slice line, size_t column)
{
	size_t at = 0;
	for (size_t c = 1; c < column && at < line.len; c++) {
		buf_add_char(out, line.at[at] == '\t' ? '\t' : ' ');
		size_t n = utf8_sequence((const unsigned char *)line.at + at, line.len - at);
		at += n ? n : 1;
	}
	buf_add_str(out, "^\n");
}

static void add_excerpt(struct buf *out, const struct config_source *source, const struct place *at)
{
	struct slice line = source_line(source, at->line);
	if (line.len == 0 || line.len > SHOWN_LINE_MAX)
		return;
	buf_printf(out, "%5zu | ", at->line);
	add_printable(out, line.at, line.len);
	buf_add_str(out, "\n      | ");
	add_caret(out, line, at->column);
}

static void add_problem(struct buf *out, const struct config_source *source, const struct problem *problem)
{
	const struct place *at = &problem->at;
	if (at->origin == ORIGIN_FILE && at->line != 0) {
		buf_printf(out, "%s:%zu:%zu: %s\n", source->file_name, at->line, at->column, problem->text);
		add_excerpt(out, source, at);
	} else if (at->origin == ORIGIN_FILE) {
		buf_printf(out, "%s: %s\n", source->file_name, problem->text);
	} else if (at->label != NULL) {
		buf_printf(out, "%s: %s\n", at->label, problem->text);
	} else {
		buf_printf(out, "%s\n", problem->text);
	}
}

void problems_print(struct problems *p, struct buf *out)
{
	if (p->count != 0)
		qsort(p->items, p->count, sizeof *p->items, compare_places);
	for (size_t i = 0; i < p->count; i++)
		add_problem(out, p->source, &p->items[i]);
	if (p->untold != 0)
		buf_printf(out, "and %zu more errors\n", p->untold);
}

void problems_clear(struct problems *p)
{
	free(p->items);
	memory_clear(&p->memory);
	p->items = NULL;
	p->count = p->capacity = p->untold = 0;
}
