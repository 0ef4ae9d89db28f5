/* diff.c - slow requests against normal ones: a flame graph of the difference.
 *
 *   both profiles laid over each other, by function         lines differ from look to look
 *   a node: time in a slow request, time in a normal one    red: the slow one spends more there; blue: less
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>

#include "svg.h"

enum side { NORMAL, SLOW, SIDES };
enum { NONE = 0, ROOT = 1, ROWS_SHOWN = 20 };

struct node {
	uint32_t first_child, next, function, depth; /* NONE: there is none */
	uint64_t ns[SIDES], own_ns[SIDES];           /* of all requests together, then for each */
};

struct laid {
	struct profile *names; /* its frames are functions: without lines */
	struct node *nodes;    /* [ROOT] is the root */
	size_t count, capacity;
	uint32_t depth;
};

static uint32_t node_add(struct laid *l, uint32_t function, uint32_t depth)
{
	l->nodes = array_grow(l->nodes, &l->capacity, l->count, sizeof *l->nodes);
	l->nodes[l->count] = (struct node){ .function = function, .depth = depth };
	l->depth = MAX(l->depth, depth);
	return (uint32_t)l->count++;
}

static uint32_t child_of(struct laid *l, uint32_t parent, uint32_t function)
{
	uint32_t at = l->nodes[parent].first_child;
	while (at != NONE && l->nodes[at].function != function)
		at = l->nodes[at].next;
	if (at != NONE)
		return at;
	at = node_add(l, function, l->nodes[parent].depth + 1);
	l->nodes[at].next = l->nodes[parent].first_child;
	l->nodes[parent].first_child = at;
	return at;
}

static void side_lay(struct laid *l, const struct profile *p, enum side side)
{
	for (size_t i = 0; i < p->sample_count; i++) {
		const struct profile_stack *stack = &p->stacks[p->samples[i].stack];
		uint64_t ns = p->samples[i].weight_ns;
		uint32_t at = ROOT, own = ROOT;
		l->nodes[at].ns[side] += ns;
		for (uint32_t d = 0; d < stack->depth; d++) {
			const struct profile_frame *f = &p->frames[stack->frames[d]];
			at = child_of(l, at, profile_add_frame(l->names, f->function, f->file, 0));
			l->nodes[at].ns[side] += ns;
			if (profile_frame_is_user(f))
				own = at;
		}
		l->nodes[own != ROOT ? own : at].own_ns[side] += ns;
	}
}

static void lay(struct laid *l, const struct profile_diff *d)
{
	const uint32_t requests[SIDES] = { [NORMAL] = d->normal_requests, [SLOW] = d->slow_requests };
	*l = (struct laid){ .names = profile_new() };
	node_add(l, 0, 0); /* NONE */
	node_add(l, 0, 0); /* ROOT */
	side_lay(l, d->normal, NORMAL);
	side_lay(l, d->slow, SLOW);
	for (size_t i = 0; i < l->count; i++)
		for (enum side side = NORMAL; side < SIDES; side++) {
			l->nodes[i].ns[side] /= MAX(requests[side], 1u);
			l->nodes[i].own_ns[side] /= MAX(requests[side], 1u);
		}
}

static void laid_clear(struct laid *l)
{
	profile_free(l->names);
	free(l->nodes);
}

static double ms(uint64_t ns)
{
	return (double)ns / (double)NS_PER_MS;
}

static double more_ms(const uint64_t ns[SIDES])
{
	return ms(ns[SLOW]) - ms(ns[NORMAL]);
}

static void add_label(struct buf *out, const struct laid *l, uint32_t at)
{
	const struct profile_frame *f = &l->names->frames[l->nodes[at].function];
	if (at == ROOT)
		buf_add_str(out, "all");
	else if (f->file[0] == '\0')
		buf_add_str(out, f->function);
	else
		buf_printf(out, "%s (%s)", f->function, f->file);
}

/* --- the drawing --- */

/* The deeper, the larger the part of the whole that the difference is. */
static void add_colour(struct buf *out, const struct laid *l, const struct node *n)
{
	uint64_t whole = MAX(MAX(l->nodes[ROOT].ns[SLOW], l->nodes[ROOT].ns[NORMAL]), UINT64_C(1));
	double more = more_ms(n->ns), part = (more < 0 ? -more : more) / ms(whole);
	if (part < 0.005)
		buf_add_str(out, "#ececec");
	else
		buf_printf(out, "hsl(%d,85%%,%.0f%%)", more > 0 ? 4 : 215, 93 - 40 * MIN(part, 1.0));
}

static void add_node(struct buf *out, const struct laid *l, uint32_t at, uint64_t begin_ns, struct buf *label)
{
	const struct node *n = &l->nodes[at];
	double scale = (double)(SVG_WIDTH - 2 * SVG_MARGIN) / (double)l->nodes[ROOT].ns[SLOW],
	       x = SVG_MARGIN + (double)begin_ns * scale, width = (double)n->ns[SLOW] * scale;
	uint32_t y = SVG_TOP + n->depth * SVG_ROW;
	buf_reset(label);
	add_label(label, l, at);
	buf_printf(out, "<g data-b=\"%" PRIu64 "\" data-n=\"%" PRIu64 "\"><title>", begin_ns, n->ns[SLOW]);
	svg_add_escaped(out, label->data, label->len);
	buf_printf(out,
		": %.1f ms of a slow request, %.1f ms of a normal one (%+.1f ms)</title>"
		"<rect x=\"%.1f\" y=\"%u\" width=\"%.1f\" height=\"%d\" fill=\"",
		ms(n->ns[SLOW]), ms(n->ns[NORMAL]), more_ms(n->ns), x, y, width, SVG_ROW - 1);
	add_colour(out, l, n);
	buf_printf(out, "\"/><text x=\"%.1f\" y=\"%u\">", x + 3, y + SVG_ROW - 6);
	svg_add_fitting(out, label, width);
	buf_add_str(out, "</text></g>\n");
}

/* A node, then its children from the left. Deep stacks are bounded by what the sampler tells (IPC_DEPTH_MAX). */
static void add_nodes(
	struct buf *out, const struct laid *l, uint32_t at, uint64_t begin_ns, struct buf *label)
{
	if (l->nodes[at].ns[SLOW] * 10000 < l->nodes[ROOT].ns[SLOW])
		return; /* cannot be seen */
	add_node(out, l, at, begin_ns, label);
	for (uint32_t c = l->nodes[at].first_child; c != NONE; c = l->nodes[c].next) {
		add_nodes(out, l, c, begin_ns, label);
		begin_ns += l->nodes[c].ns[SLOW];
	}
}

static void add_svg(const struct laid *l, const char *title, struct buf *out)
{
	struct buf label = { 0 };
	svg_begin(out, title, l->depth);
	if (l->nodes[ROOT].ns[SLOW] != 0)
		add_nodes(out, l, ROOT, 0, &label);
	svg_end(out);
	buf_clear(&label);
}

void profile_write_diff_svg(const struct profile_diff *d, struct buf *out)
{
	struct laid l;
	lay(&l, d);
	add_svg(&l, d->title, out);
	laid_clear(&l);
}

/* --- the page --- */

/* A function, wherever it stands in the stacks. */
struct row {
	uint32_t function;
	uint64_t ns[SIDES];
};

static int by_difference(const void *a, const void *b)
{
	double x = more_ms(((const struct row *)a)->ns), y = more_ms(((const struct row *)b)->ns);
	x = x < 0 ? -x : x;
	y = y < 0 ? -y : y;
	return (x < y) - (x > y);
}

static void add_table(const struct laid *l, struct buf *out)
{
	struct row *rows = xcalloc(l->names->frame_count + 1, sizeof *rows);
	struct buf label = { 0 };
	for (size_t i = ROOT + 1; i < l->count; i++) {
		struct row *row = &rows[l->nodes[i].function];
		row->function = (uint32_t)i;
		for (enum side side = NORMAL; side < SIDES; side++)
			row->ns[side] += l->nodes[i].own_ns[side];
	}
	qsort(rows, l->names->frame_count, sizeof *rows, by_difference);
	buf_add_str(out, "<table><tr><th>function<th>slow request<th>normal request<th>difference\n");
	for (size_t i = 0; i < MIN(l->names->frame_count, (size_t)ROWS_SHOWN); i++) {
		if (rows[i].ns[SLOW] == 0 && rows[i].ns[NORMAL] == 0)
			continue;
		buf_reset(&label);
		add_label(&label, l, rows[i].function);
		buf_printf(out, "<tr class=\"%s\"><td>",
			rows[i].ns[SLOW] > rows[i].ns[NORMAL] ? "more" : "less");
		svg_add_escaped(out, label.data, label.len);
		buf_printf(out, "<td>%.1f ms<td>%.1f ms<td>%+.1f ms\n", ms(rows[i].ns[SLOW]),
			ms(rows[i].ns[NORMAL]), more_ms(rows[i].ns));
	}
	buf_add_str(out, "</table>\n");
	buf_clear(&label);
	free(rows);
}

void profile_write_diff_html(const struct profile_diff *d, struct buf *out)
{
	struct laid l;
	struct buf svg = { 0 };
	lay(&l, d);
	buf_add_str(out, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>");
	svg_add_escaped(out, d->title, strlen(d->title));
	buf_add_str(out,
		"</title>\n<style>body{font:14px sans-serif;margin:1em}table{border-collapse:collapse;margin:1em 0}"
		"td,th{padding:.15em .7em;text-align:right}td:first-child,th:first-child{text-align:left}"
		".more td:last-child{color:#b00020}.less td:last-child{color:#0b57d0}svg{max-width:100%;height:auto}"
		"</style>\n<h1>");
	svg_add_escaped(out, d->title, strlen(d->title));
	buf_printf(out,
		"</h1>\n<p>%" PRIu32 " slow requests against %" PRIu32
		" normal ones, %.1f ms against %.1f ms seen in each on average. "
		"In the drawing, red is what a slow request spends more time on, blue what it spends less on; "
		"its width is the time of a slow request.</p>\n<p>Time by the innermost function of the "
		"application's own code:</p>\n",
		d->slow_requests, d->normal_requests, ms(l.nodes[ROOT].ns[SLOW]),
		ms(l.nodes[ROOT].ns[NORMAL]));
	add_table(&l, out);
	add_svg(&l, d->title, &svg);
	buf_add_str(out, strstr(svg.data, "<svg")); /* without the XML head */
	buf_add_str(out, "</html>\n");
	buf_clear(&svg);
	laid_clear(&l);
}

/* --- for tools --- */
static void add_lines(struct buf *out, const struct laid *l, uint32_t at, struct buf *path)
{
	const struct node *n = &l->nodes[at];
	size_t before = path->len;
	uint64_t own[SIDES] = { n->ns[NORMAL], n->ns[SLOW] };
	if (at != ROOT) {
		if (before != 0)
			buf_add_char(path, ';');
		size_t from = path->len;
		add_label(path, l, at);
		for (size_t i = from; i < path->len; i++)
			if (path->data[i] == ';' || path->data[i] == '\n')
				path->data[i] = '_';
	}
	for (uint32_t c = n->first_child; c != NONE; c = l->nodes[c].next)
		for (enum side side = NORMAL; side < SIDES; side++)
			own[side] -= MIN(own[side], l->nodes[c].ns[side]);
	if (at != ROOT && (own[NORMAL] >= NS_PER_US || own[SLOW] >= NS_PER_US))
		buf_printf(out, "%s %" PRIu64 " %" PRIu64 "\n", path->data, own[NORMAL] / NS_PER_US,
			own[SLOW] / NS_PER_US);
	for (uint32_t c = n->first_child; c != NONE; c = l->nodes[c].next)
		add_lines(out, l, c, path);
	buf_truncate(path, before);
}

void profile_write_diff_collapsed(const struct profile_diff *d, struct buf *out)
{
	struct laid l;
	struct buf path = { 0 };
	lay(&l, d);
	add_lines(out, &l, ROOT, &path);
	buf_clear(&path);
	laid_clear(&l);
}
