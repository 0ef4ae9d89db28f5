/* manual.c - the manual pages: slowproxy(8) of the tables of commands and flags, slowproxy.yaml(5) of the table of keys.
 *
 *   tables -> Markdown (as in config/REFERENCE.md) -> roff, man(7)
 *
 * Of Markdown there is what our own texts use: headings, paragraphs, lists, `words as written` and **strong** ones.
 */
#include "manual.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/config.h>

#include "arguments.h"
#include "options.h"

/* --- Markdown -> roff --- */

enum { LINE_COLUMNS = 72 };

struct roff {
	struct buf *out;
	bool in_entry;   /* below a heading of the third level: what follows is indented */
	bool in_text;    /* the line before was text, too */
	bool paragraphs; /* text has come since the heading */
};

static void add_escaped(struct buf *out, char c, bool literal)
{
	if (c == '\\')
		buf_add_str(out, "\\e");
	else if (c == '-' && literal)
		buf_add_str(out, "\\-");
	else
		buf_add_char(out, c);
}

/* A dot or quote at the beginning of a line is no request. */
static void begin_line(struct buf *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		buf_add_str(out, "\\&");
}

/* One line of text, as lines that end soon after LINE_COLUMNS. */
static void add_inline(struct buf *out, const char *text)
{
	bool literal = false, strong = false;
	size_t line_begin = out->len;
	begin_line(out, text);
	for (; *text != '\0'; text++) {
		if (*text == ' ' && out->len - line_begin + strcspn(text + 1, " ") > LINE_COLUMNS) {
			buf_add_char(out, '\n');
			line_begin = out->len;
			begin_line(out, text + 1);
		} else if (*text == '`') {
			literal = !literal;
			buf_add_str(out, literal ? "\\fB" : "\\fR");
		} else if (!literal && text[0] == '*' && text[1] == '*') {
			strong = !strong;
			buf_add_str(out, strong ? "\\fB" : "\\fR");
			text++;
		} else {
			add_escaped(out, *text, literal);
		}
	}
	buf_add_char(out, '\n');
}

static void add_heading(struct roff *r, const char *request, const char *text)
{
	buf_printf(r->out, ".%s ", request);
	add_inline(r->out, text);
	r->in_entry = r->in_text = r->paragraphs = false;
}

static void add_item(struct roff *r, const char *text)
{
	buf_add_str(r->out, r->in_entry ? ".br\n" : ".IP \\(bu 2\n");
	add_inline(r->out, text);
	r->in_text = true;
}

static void add_text(struct roff *r, const char *line)
{
	if (!r->in_text && r->paragraphs)
		buf_add_str(r->out, r->in_entry ? ".IP\n" : ".PP\n");
	add_inline(r->out, line + strspn(line, " "));
	r->in_text = r->paragraphs = true;
}

static void add_line(struct roff *r, const char *line)
{
	if (*line == '\0') {
		r->in_text = false;
	} else if (strncmp(line, "### ", 4) == 0) {
		buf_add_str(r->out, ".TP\n");
		add_inline(r->out, line + 4);
		r->in_entry = true;
		r->in_text = r->paragraphs = false;
	} else if (strncmp(line, "## ", 3) == 0) {
		add_heading(r, "SS", line + 3);
	} else if (strncmp(line, "# ", 2) == 0) {
		add_heading(r, "SH", line + 2);
	} else if (strncmp(line, "- ", 2) == 0) {
		add_item(r, line + 2);
	} else {
		add_text(r, line);
	}
}

/* Cuts markdown in lines. */
static void add_markdown(struct buf *out, char *markdown)
{
	struct roff r = { .out = out };
	for (char *next; markdown != NULL; markdown = next) {
		next = strchr(markdown, '\n');
		if (next != NULL)
			*next++ = '\0';
		add_line(&r, markdown);
	}
}

/* --- slowproxy(8) --- */

static const char introduction[] =
	"# NAME\n"
	"slowproxy - a reverse proxy that explains slow requests of Python web applications\n"
	"# SYNOPSIS\n"
	"`slowproxy -c` proxy.yaml [`--` command ...]\n\n"
	"`slowproxy --upstream` host:port\n\n"
	"`slowproxy -t` | `-T` `-c` proxy.yaml\n\n"
	"`slowproxy` command [options]\n"
	"# DESCRIPTION\n"
	"`slowproxy` stands in front of a Python web application, passes requests on and times them. While a request is slow, it reads\n"
	"the stacks of the very worker process that serves it, from outside, without stopping it. A request that took longer than\n"
	"`slow.threshold` becomes one JSON line on standard output: the route, the worker, the line of code where the time went, and\n"
	"the cause. Nothing is installed into the application.\n\n"
	"With `--` and a command, it starts that application itself, watches over it and ends it after the last request.\n\n"
	"Every key of the configuration, slowproxy.yaml(5), is also a flag (`--slow.threshold 200ms`) and an environment variable\n"
	"(`SLOWPROXY_SLOW_THRESHOLD=200ms`). A flag wins over the environment, the environment over the file.\n"
	"# OPTIONS\n"
	"### `-c`, `--config` FILE\n"
	"the configuration.\n"
	"### `-t`, `--check-config`\n"
	"checks the configuration and ends: status 0 good, 1 with every error as file:line:column.\n"
	"### `-T`, `--print-config`\n"
	"checks, and prints the value of every key and where it comes from.\n"
	"### `-h`, `--help`; `-V`, `--version`\n"
	"what they say.\n"
	"# COMMANDS\n";

static const char conclusion[] =
	"# SIGNALS\n"
	"### `TERM`\n"
	"ends with the last request, after `timeouts.drain` at the latest; a second one ends at once.\n"
	"### `INT`\n"
	"ends at once.\n"
	"### `HUP`\n"
	"reads the configuration anew. With any error in it, the one in use stays. No request fails.\n"
	"### `USR1`\n"
	"opens log files anew, for logrotate(8).\n"
	"### `USR2`\n"
	"hands over to the program file as it is now: an upgrade in which no request fails.\n"
	"# PERMISSIONS\n"
	"The process on the network gives up all privileges. The sampler must be allowed to read the memory of the workers: it runs\n"
	"as the same user as they do, or has CAP_SYS_PTRACE (`setcap cap_sys_ptrace=p`, or AmbientCapabilities= of systemd.exec(5)).\n"
	"`slowproxy doctor` tells what is missing. Without it, traffic and slow lines are as they are, and `capture_status` says why\n"
	"there is no explanation.\n"
	"# EXIT STATUS\n"
	"0 after an end that was asked for, 1 when it could not start or go on, 2 when the command line was wrong. With `--` and a\n"
	"command that ends by itself: the status of that command.\n"
	"# FILES\n"
	"### `/etc/slowproxy/proxy.yaml`\n"
	"the configuration of the service of the Debian package; `slowproxy doctor` looks there, too.\n"
	"### `/var/lib/slowproxy`\n"
	"profiles of slow requests, bounded by `capture.max_bytes`.\n"
	"# SEE ALSO\n"
	"slowproxy.yaml(5), capabilities(7), logrotate(8)\n";

/* Which tool of the table of flags a command is. */
static const struct {
	const char *command;
	enum tool tool;
} tools[] = {
	{ "dump", TOOL_DUMP },
	{ "record", TOOL_RECORD },
	{ "top", TOOL_TOP },
	{ "doctor", TOOL_DOCTOR },
};

static void add_flags(struct buf *md, const char *command)
{
	for (size_t t = 0; t < ARRAY_LEN(tools); t++)
		for (int i = 0; strcmp(tools[t].command, command) == 0 && i < FLAG_COUNT; i++) {
			const struct flag_row *row = &flag_rows[i];
			if ((row->tools & (unsigned)tools[t].tool) == 0)
				continue;
			buf_add_str(md, "- ");
			if (row->letter != 0)
				buf_printf(md, "`-%c`, ", row->letter);
			buf_printf(md, "`--%s`%s%s: %s\n", row->name, row->value != NULL ? " " : "",
				row->value != NULL ? row->value : "", row->help);
		}
}

static void add_program_page(struct buf *md)
{
	buf_add_str(md, introduction);
	const struct subcommand *row;
	for (size_t i = 0; (row = options_subcommand(i)) != NULL; i++) {
		buf_printf(md, "### `slowproxy %s`\n%s.\n", row->name, row->help);
		add_flags(md, row->name);
	}
	buf_add_str(md, conclusion);
}

/* --- slowproxy.yaml(5) --- */

/* The reference has a title and sections of the second level; here they lie under headings of a manual. */
static void add_file_page(struct buf *md)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	if (out == NULL)
		return;
	config_print_reference(out);
	fclose(out);
	buf_add_str(md, "# NAME\nslowproxy.yaml - the configuration of slowproxy\n# DESCRIPTION\n");
	const char *body = strchr(text, '\n'), *keys = strstr(text, "\n## ");
	if (body != NULL && keys != NULL) {
		buf_add(md, body + 1, (size_t)(keys - body));
		buf_printf(md, "# KEYS\n%s", keys + 1);
	}
	buf_add_str(md, "# SEE ALSO\nslowproxy(8)\n");
	free(text);
}

static const struct {
	const char *section, *title;
	void (*add)(struct buf *markdown);
} pages[] = {
	{ "8",
		"SLOWPROXY 8 \"" SLOWPROXY_DATE "\" \"slowproxy " SLOWPROXY_VERSION
		"\" \"System administration\"",
		add_program_page },
	{ "5", "SLOWPROXY.YAML 5 \"" SLOWPROXY_DATE "\" \"slowproxy " SLOWPROXY_VERSION "\" \"File formats\"",
		add_file_page },
};

int manual_main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < ARRAY_LEN(pages); i++) {
		struct buf markdown = { 0 }, roff = { 0 };
		if (strcmp(argv[1], pages[i].section) != 0)
			continue;
		buf_printf(&roff,
			".\\\" Made by slowproxy from its own tables: slowproxy manual %s\n.TH %s\n",
			pages[i].section, pages[i].title);
		pages[i].add(&markdown);
		add_markdown(&roff, markdown.data);
		fwrite(roff.data, 1, roff.len, stdout);
		buf_clear(&markdown);
		buf_clear(&roff);
		return EXIT_SUCCESS;
	}
	fputs("Usage: slowproxy manual 8 | 5\n\n8: the program, 5: its configuration; read it so: slowproxy manual 8 | man -l -\n",
		stderr);
	return EXIT_USAGE;
}
