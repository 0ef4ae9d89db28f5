/* svg.c - a flame graph as one drawing for a browser, root on top: hover, click to zoom, search.
 *
 * Without a script it still is a drawing; flamegraph_svg.js, taken in by the assembler, makes it move.
 */
#include "svg.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <slowproxy/base/str.h>

#include "tree.h"

extern const char flamegraph_script[], flamegraph_script_end[];
__asm__(".section .rodata\n"
	".global flamegraph_script\n"
	".global flamegraph_script_end\n"
	"flamegraph_script:\n"
	".incbin \"" FLAMEGRAPH_SCRIPT "\"\n"
	"flamegraph_script_end:\n"
	".byte 0\n"
	".previous\n");

enum { BOTTOM = 34, CHAR_TENTHS = 70 };

static const double narrowest = 0.0001; /* of the whole; less cannot be seen, and makes the file large */

/* XML knows no control characters, and no bytes that are not UTF-8. */
void svg_add_escaped(struct buf *out, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_sequence(p + i, len - i);
		bool noncharacter = n == 3 && p[i] == 0xef && p[i + 1] == 0xbf && p[i + 2] >= 0xbe;
		if (n == 0 || noncharacter || p[i] < 0x20 || p[i] == 0x7f)
			buf_add_str(out, "?");
		else if (p[i] == '<')
			buf_add_str(out, "&lt;");
		else if (p[i] == '>')
			buf_add_str(out, "&gt;");
		else if (p[i] == '&')
			buf_add_str(out, "&amp;");
		else if (p[i] == '"')
			buf_add_str(out, "&quot;");
		else
			buf_add(out, p + i, n);
		n = MAX(n, (size_t)1);
	}
}

/* Warm, and the same for all functions of a file, a little different from function to function. */
static void add_colour(struct buf *out, const struct profile *p, uint32_t id)
{
	if (id >= p->frame_count) {
		buf_add_str(out, "#c8c8d4");
		return;
	}
	const struct profile_frame *f = &p->frames[id];
	uint64_t file = hash_bytes(f->file, strlen(f->file)),
		 function = hash_bytes(f->function, strlen(f->function));
	buf_printf(out, "hsl(%u,%u%%,%u%%)", (unsigned)(5 + file % 46), (unsigned)(70 + function % 20),
		(unsigned)(62 + function / 20 % 12));
}

static void node_label(const struct profile *p, const struct profile_view *view, uint32_t id, struct buf *out)
{
	if (id == UINT32_MAX)
		buf_add_str(out, "all");
	else if (id >= p->frame_count)
		buf_add_str(out, p->lanes[id - p->frame_count].name);
	else
		profile_frame_label(&p->frames[id], view->no_lines, out);
}

/* As many bytes of the label as fit, whole characters, with ".." where some are left out. */
void svg_add_fitting(struct buf *out, const struct buf *label, double width)
{
	size_t room = width > 6 ? (size_t)((width - 6) * 10 / CHAR_TENTHS) : 0;
	if (room < 3)
		return;
	size_t len = label->len;
	if (len > room) {
		len = room - 2;
		while (len > 0 && ((unsigned char)label->data[len] & 0xc0) == 0x80)
			len--;
	}
	svg_add_escaped(out, label->data, len);
	if (len < label->len)
		buf_add_str(out, "..");
}

static void add_node(struct buf *out, const struct profile *p, const struct profile_view *view,
	const struct tree_node *n, uint64_t total, struct buf *label)
{
	double scale = (double)(SVG_WIDTH - 2 * SVG_MARGIN) / (double)total,
	       x = SVG_MARGIN + (double)n->begin * scale, width = (double)n->count * scale;
	uint32_t y = SVG_TOP + n->depth * SVG_ROW;
	buf_reset(label);
	node_label(p, view, n->id, label);
	buf_printf(out, "<g data-b=\"%" PRIu64 "\" data-n=\"%" PRIu64 "\"><title>", n->begin, n->count);
	svg_add_escaped(out, label->data, label->len);
	buf_printf(out,
		" (%" PRIu64
		" samples, %.2f%%)</title><rect x=\"%.1f\" y=\"%u\" width=\"%.1f\" height=\"%d\" fill=\"",
		n->count, 100.0 * (double)n->count / (double)total, x, y, width, SVG_ROW - 1);
	if (n->id == UINT32_MAX)
		buf_add_str(out, "#d8d8d8");
	else
		add_colour(out, p, n->id);
	buf_printf(out, "\"/><text x=\"%.1f\" y=\"%u\">", x + 3, y + SVG_ROW - 6);
	svg_add_fitting(out, label, width);
	buf_add_str(out, "</text></g>\n");
}

void svg_begin(struct buf *out, const char *title, uint32_t depth)
{
	unsigned height = SVG_TOP + (depth + 1) * SVG_ROW + BOTTOM;
	buf_printf(out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"%d\" height=\"%u\" "
		"viewBox=\"0 0 %d %u\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\">\n<title>",
		SVG_WIDTH, height, SVG_WIDTH, height);
	svg_add_escaped(out, title, strlen(title));
	buf_printf(out,
		"</title>\n<desc>slowproxy " SLOWPROXY_VERSION "</desc>\n"
		"<style>g[data-n]{cursor:pointer}g[data-n]:hover rect{stroke:#000;stroke-width:.6}"
		"text{pointer-events:none;fill:#000}.button{cursor:pointer;pointer-events:all;fill:#24c}"
		".past rect{opacity:.5}.found rect{fill:#e0e!important}</style>\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
		"<text x=\"%d\" y=\"24\" font-size=\"16\" text-anchor=\"middle\">",
		SVG_WIDTH / 2);
	svg_add_escaped(out, title, strlen(title));
	buf_printf(out,
		"</text>\n<text id=\"reset\" class=\"button\" x=\"%d\" y=\"24\" visibility=\"hidden\">Reset zoom</text>\n"
		"<text id=\"search\" class=\"button\" x=\"%d\" y=\"24\" text-anchor=\"end\">Search (/)</text>\n"
		"<text id=\"details\" x=\"%d\" y=\"48\"></text>\n"
		"<text id=\"matched\" x=\"%d\" y=\"48\" text-anchor=\"end\"></text>\n",
		SVG_MARGIN, SVG_WIDTH - SVG_MARGIN, SVG_MARGIN, SVG_WIDTH - SVG_MARGIN);
	buf_printf(out, "<g id=\"frames\" data-margin=\"%d\" data-width=\"%d\">\n", SVG_MARGIN, SVG_WIDTH);
}

void svg_end(struct buf *out)
{
	buf_add_str(out, "</g>\n<script type=\"text/ecmascript\"><![CDATA[\n");
	buf_add(out, flamegraph_script, (size_t)(flamegraph_script_end - flamegraph_script));
	buf_add_str(out, "]]></script>\n</svg>\n");
}

void profile_write_svg(const struct profile *p, const struct profile_view *view, struct buf *out)
{
	struct tree tree;
	struct buf label = { 0 };
	tree_build(&tree, p, view);
	uint64_t total = tree.nodes[0].count;
	svg_begin(out, view->title != NULL ? view->title : "Flame graph", tree.depth);
	if (total == 0)
		buf_printf(out,
			"<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">There are no samples.</text>\n",
			SVG_WIDTH / 2, SVG_TOP + SVG_ROW);
	for (size_t i = 0; total != 0 && i < tree.count; i++)
		if ((double)tree.nodes[i].count >= narrowest * (double)total)
			add_node(out, p, view, &tree.nodes[i], total, &label);
	svg_end(out);
	buf_clear(&label);
	tree_clear(&tree);
}
