/* completions.c - `slowproxy completions bash|zsh|fish`: what a shell may offer, from the tables of commands, flags and keys. */
#include "completions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/config.h>

#include "arguments.h"
#include "formats.h"
#include "options.h"

static const struct {
	const char *command;
	enum tool tool;
} tools[] = { { "dump", TOOL_DUMP }, { "record", TOOL_RECORD }, { "top", TOOL_TOP } };

static const char shells[] = "bash zsh fish";

static const struct {
	const char *name;
	char letter;
	const char *value, *help;
} options[] = {
	{ "config", 'c', "FILE", "the configuration" },
	{ "check-config", 't', NULL, "check the configuration and exit" },
	{ "print-config", 'T', NULL, "check, and print what is in effect, with origins" },
	{ "help", 'h', NULL, "what there is" },
	{ "version", 'V', NULL, "which version this is" },
};

static char *formats_words(void)
{
	char *words = NULL;
	size_t bytes = 0;
	FILE *f = open_memstream(&words, &bytes);
	if (f == NULL)
		abort();
	formats_list(f);
	fclose(f);
	for (char *c = words; *c != '\0'; c++)
		*c = *c == ',' ? ' ' : *c;
	return words;
}

/* The first sentence, within single quotes of a shell; `bare` are characters that must not be in it. */
static char *quoted(const char *text, const char *bare)
{
	struct buf b = { 0 };
	for (; *text != '\0' && !(text[0] == '.' && (text[1] == ' ' || text[1] == '\0')); text++) {
		if (*text == '\'')
			buf_add_str(&b, "\xe2\x80\x99");
		else if (*text == '\\' || strchr(bare, *text) != NULL)
			buf_add_char(&b, ' ');
		else
			buf_add_char(&b, *text);
	}
	return buf_take(&b);
}

static bool tool_has(enum tool tool, int flag)
{
	return (flag_rows[flag].tools & (unsigned)tool) != 0;
}

/* --- bash --- */

static void bash_tool(enum tool tool, const char *command)
{
	printf("    %s) words=\"", command);
	for (int i = 0; i < FLAG_COUNT; i++)
		if (tool_has(tool, i))
			printf("--%s ", flag_rows[i].name);
	puts("\";;");
}

static void bash_choices(void)
{
	struct config_key key;
	for (size_t i = 0; config_key_at(i, &key); i++) {
		if (key.choices == NULL && !key.is_boolean)
			continue;
		printf("    :--%s) words=\"", key.name);
		for (size_t c = 0; key.choices != NULL && key.choices[c] != NULL; c++)
			printf("%s ", key.choices[c]);
		printf("%s\";;\n", key.is_boolean ? "true false" : "");
	}
}

static void write_bash(void)
{
	char *formats = formats_words();
	struct config_key key;
	puts("# bash completion of slowproxy; made by `slowproxy completions bash`\n"
	     "_slowproxy() {\n"
	     "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= words= i\n"
	     "    COMPREPLY=()\n"
	     "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
	     "        case ${COMP_WORDS[i]} in\n"
	     "        --) # a command of its own follows\n"
	     "            if ((i + 1 == COMP_CWORD)); then COMPREPLY=($(compgen -c -- \"$cur\")); else COMPREPLY=($(compgen -f -- \"$cur\")); fi\n"
	     "            return;;");
	printf("        ");
	for (size_t i = 0; options_subcommand(i) != NULL; i++)
		printf("%s%s", i != 0 ? "|" : "", options_subcommand(i)->name);
	puts(") [ -n \"$command\" ] || command=${COMP_WORDS[i]};;\n"
	     "        esac\n"
	     "    done\n"
	     "    case $command:$prev in\n"
	     "    :-c|:--config|record:-o|record:--output) COMPREPLY=($(compgen -f -- \"$cur\")); return;;\n"
	     "    *:-p|*:--pid) words=$(pgrep -f '[p]ython' 2>/dev/null);;");
	printf("    record:-f|record:--format) words=\"%s\";;\n    completions:completions) words=\"%s\";;\n",
		formats, shells);
	bash_choices();
	puts("    esac\n"
	     "    if [ -n \"$words\" ]; then COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")); return; fi\n"
	     "    case $command in");
	for (size_t i = 0; i < ARRAY_LEN(tools); i++)
		bash_tool(tools[i].tool, tools[i].command);
	printf("    '') words=\"");
	for (size_t i = 0; options_subcommand(i) != NULL; i++)
		printf("%s ", options_subcommand(i)->name);
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		printf("--%s ", options[i].name);
	for (size_t i = 0; config_key_at(i, &key); i++)
		printf("--%s ", key.name);
	puts("\";;\n"
	     "    esac\n"
	     "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	     "}\n"
	     "complete -F _slowproxy slowproxy");
	free(formats);
}

/* --- zsh --- */

static const char zsh_bare[] = "[]:";

static void zsh_flag(const char *name, char letter, const char *value, const char *help, const char *offers)
{
	char *text = quoted(help, zsh_bare);
	if (letter != 0)
		printf("        '-%c[%s]%s%s%s%s' \\\n", letter, text, value != NULL ? ":" : "",
			value != NULL ? value : "", value != NULL ? ":" : "", value != NULL ? offers : "");
	printf("        '--%s[%s]%s%s%s%s' \\\n", name, text, value != NULL ? ":" : "",
		value != NULL ? value : "", value != NULL ? ":" : "", value != NULL ? offers : "");
	free(text);
}

static void zsh_tool(enum tool tool, const char *command, const char *formats)
{
	char choice[256];
	snprintf(choice, sizeof choice, "(%s)", formats);
	printf("    %s) shift words; (( CURRENT -= 1 )); _arguments \\\n", command);
	for (int i = 0; i < FLAG_COUNT; i++)
		if (tool_has(tool, i))
			zsh_flag(flag_rows[i].name, flag_rows[i].letter, flag_rows[i].value,
				flag_rows[i].help,
				i == FLAG_PID      ? "_pids"
				: i == FLAG_FORMAT ? choice
				: i == FLAG_OUTPUT ? "_files"
						   : "");
	puts("        '*:: :_normal';;");
}

static void zsh_keys(void)
{
	struct config_key key;
	for (size_t i = 0; config_key_at(i, &key); i++) {
		struct buf choices = { 0 };
		for (size_t c = 0; key.choices != NULL && key.choices[c] != NULL; c++)
			buf_printf(&choices, "%s%s", c != 0 ? " " : "(", key.choices[c]);
		if (choices.len != 0)
			buf_add_char(&choices, ')');
		zsh_flag(key.name, 0, "value", key.doc,
			choices.len != 0 ? choices.data
			: key.is_boolean ? "(true false)"
					 : "");
		buf_clear(&choices);
	}
}

static void write_zsh(void)
{
	char *formats = formats_words();
	puts("#compdef slowproxy\n# zsh completion of slowproxy; made by `slowproxy completions zsh`\n"
	     "_slowproxy() {\n"
	     "    local -a commands\n"
	     "    commands=(");
	for (size_t i = 0; options_subcommand(i) != NULL; i++) {
		char *text = quoted(options_subcommand(i)->help, ":");
		printf("        '%s:%s'\n", options_subcommand(i)->name, text);
		free(text);
	}
	puts("    )\n"
	     "    case ${words[2]} in");
	for (size_t i = 0; i < ARRAY_LEN(tools); i++)
		zsh_tool(tools[i].tool, tools[i].command, formats);
	printf("    completions) _values shell %s;;\n", shells);
	puts("    *) _describe command commands\n"
	     "       _arguments \\");
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		zsh_flag(options[i].name, options[i].letter, options[i].value, options[i].help, "_files");
	zsh_keys();
	puts("        '*:: :_normal';;\n"
	     "    esac\n"
	     "}\n"
	     "compdef _slowproxy slowproxy");
	free(formats);
}

/* --- fish --- */

static void fish_flag(const char *when, const char *name, char letter, const char *value, const char *help,
	const char *offers)
{
	char *text = quoted(help, "");
	printf("complete -c slowproxy -n '%s' -l %s", when, name);
	if (letter != 0)
		printf(" -s %c", letter);
	if (value != NULL && offers == NULL)
		printf(" -r -F");
	else if (value != NULL)
		printf(" -x -a '%s'", offers);
	printf(" -d '%s'\n", text);
	free(text);
}

static void fish_tool(enum tool tool, const char *command, const char *formats)
{
	char when[64];
	snprintf(when, sizeof when, "__fish_seen_subcommand_from %s", command);
	for (int i = 0; i < FLAG_COUNT; i++)
		if (tool_has(tool, i))
			fish_flag(when, flag_rows[i].name, flag_rows[i].letter, flag_rows[i].value,
				flag_rows[i].help,
				i == FLAG_PID      ? "(__fish_complete_pids)"
				: i == FLAG_FORMAT ? formats
				: i == FLAG_OUTPUT ? NULL
						   : "");
}

static void fish_keys(void)
{
	struct config_key key;
	for (size_t i = 0; config_key_at(i, &key); i++) {
		struct buf choices = { 0 };
		buf_add_str(&choices, key.is_boolean ? "true false" : "");
		for (size_t c = 0; key.choices != NULL && key.choices[c] != NULL; c++)
			buf_printf(&choices, "%s ", key.choices[c]);
		fish_flag("__fish_use_subcommand", key.name, 0, "value", key.doc,
			choices.data != NULL ? choices.data : "");
		buf_clear(&choices);
	}
}

static void write_fish(void)
{
	char *formats = formats_words();
	puts("# fish completion of slowproxy; made by `slowproxy completions fish`\n"
	     "complete -c slowproxy -f");
	for (size_t i = 0; options_subcommand(i) != NULL; i++) {
		char *text = quoted(options_subcommand(i)->help, "");
		printf("complete -c slowproxy -n '__fish_use_subcommand' -a %s -d '%s'\n",
			options_subcommand(i)->name, text);
		free(text);
	}
	printf("complete -c slowproxy -n '__fish_seen_subcommand_from completions' -a '%s'\n", shells);
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		fish_flag("__fish_use_subcommand", options[i].name, options[i].letter, options[i].value,
			options[i].help, NULL);
	for (size_t i = 0; i < ARRAY_LEN(tools); i++)
		fish_tool(tools[i].tool, tools[i].command, formats);
	fish_keys();
	free(formats);
}

int completions_main(int argc, char **argv)
{
	static const struct {
		const char *shell;
		void (*write)(void);
	} writers[] = { { "bash", write_bash }, { "zsh", write_zsh }, { "fish", write_fish } };
	for (size_t i = 0; argc == 2 && i < ARRAY_LEN(writers); i++) {
		if (strcmp(argv[1], writers[i].shell) != 0)
			continue;
		writers[i].write();
		return EXIT_SUCCESS;
	}
	fputs("Usage: slowproxy completions bash|zsh|fish\n"
	      "\n"
	      "  bash   slowproxy completions bash > /etc/bash_completion.d/slowproxy\n"
	      "  zsh    slowproxy completions zsh > /usr/local/share/zsh/site-functions/_slowproxy\n"
	      "  fish   slowproxy completions fish > ~/.config/fish/completions/slowproxy.fish\n",
		argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) ? stdout
											    : stderr);
	return argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) ? EXIT_SUCCESS
											   : EXIT_USAGE;
}
