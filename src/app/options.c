/* options.c - the command line. Every key of proxy.yaml is a flag too; which keys there are, config knows. */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/mem.h>
#include <slowproxy/config.h>

static const struct subcommand subcommands[] = {
	{ "dump", COMMAND_DUMP, "stacks of every thread and every asyncio task of a process, now" },
	{ "record", COMMAND_RECORD, "where the time of a process goes: flame graph and other formats" },
	{ "top", COMMAND_TOP, "live table of the functions and lines a process spends its time in" },
	{ "doctor", COMMAND_DOCTOR,
		"what this machine or container allows, what is missing, and the lines that add it" },
	{ "healthcheck", COMMAND_HEALTHCHECK,
		"exit 0 if the running proxy is ready; -c and flags say where it is" },
	{ "schema", COMMAND_SCHEMA, "JSON Schema of proxy.yaml" },
	{ "example", COMMAND_EXAMPLE, "an example proxy.yaml with every key" },
	{ "reference", COMMAND_REFERENCE, "all keys explained, as Markdown" },
	{ "manual", COMMAND_MANUAL, "the manual page of the program (8) or of proxy.yaml (5), for man -l" },
	{ "completions", COMMAND_COMPLETIONS, "completions for bash, zsh or fish" },
};

const struct subcommand *options_subcommand(size_t index)
{
	for (size_t i = 0; i < ARRAY_LEN(subcommands); i++)
		if (subcommands[i].help != NULL && index-- == 0)
			return &subcommands[i];
	return NULL;
}

void options_print_help(void)
{
	puts("usage: slowproxy -c proxy.yaml              run the proxy\n"
	     "       slowproxy -c proxy.yaml -- uvicorn app:app --port 8000\n"
	     "                                            the same, and start, supervise and stop the app\n"
	     "       slowproxy -- uvicorn app:app         no file at all: the app gets a free port, we listen on 127.0.0.1:8080\n"
	     "       slowproxy --upstream HOST:PORT       the same without a file\n"
	     "       slowproxy -t -c proxy.yaml           check the configuration and exit: 0 good, 1 with every error\n"
	     "       slowproxy -T -c proxy.yaml           check, and print the effective configuration with origins");
	for (size_t i = 0; i < ARRAY_LEN(subcommands); i++)
		if (subcommands[i].help != NULL)
			printf("       slowproxy %-26s %s\n", subcommands[i].name, subcommands[i].help);
	puts("\n"
	     "Every key of proxy.yaml is a flag (--slow.threshold 200ms) and an environment variable\n"
	     "(SLOWPROXY_SLOW_THRESHOLD=200ms); a flag wins over the environment, the environment over the file.\n"
	     "Signals: TERM drains and exits, INT exits at once.");
}

static enum command unusable(const char *sentence, const char *word)
{
	fprintf(stderr, "slowproxy: %s: %s\n", word, sentence);
	return COMMAND_UNUSABLE;
}

static enum command subcommand(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(subcommands); i++) {
		if (strcmp(name, subcommands[i].name) != 0)
			continue;
		if (subcommands[i].help == NULL)
			return unusable("this command is not built yet in version " SLOWPROXY_VERSION, name);
		return subcommands[i].command;
	}
	return unusable("no such command; slowproxy --help lists them", name);
}

/* "--key value", "--key=value", or "--key" alone for a boolean. Returns how many further arguments were used, -1: error. */
static int key_flag(struct options *o, size_t *capacity, char *arg, const char *next)
{
	char *key = arg + 2, *equals = strchr(key, '=');
	if (equals != NULL)
		*equals = '\0';

	bool is_boolean;
	const char *suggestion = NULL;
	if (!config_key_known(key, &is_boolean, &suggestion)) {
		fprintf(stderr, "slowproxy: --%s: no such option", key);
		if (suggestion != NULL)
			fprintf(stderr, "; did you mean --%s?", suggestion);
		fputc('\n', stderr);
		return -1;
	}
	const char *value = equals != NULL ? equals + 1 : NULL;
	int used = 0;
	if (value == NULL && is_boolean && (next == NULL || next[0] == '-')) {
		value = "true";
	} else if (value == NULL) {
		if (next == NULL) {
			fprintf(stderr, "slowproxy: --%s needs a value\n", key);
			return -1;
		}
		value = next;
		used = 1;
	}
	o->flags = array_grow(o->flags, capacity, o->flag_count * 2 + 1, sizeof *o->flags);
	o->flags[o->flag_count * 2] = key;
	o->flags[o->flag_count * 2 + 1] = value;
	o->flag_count++;
	return used;
}

void options_parse(int argc, char **argv, struct options *o)
{
	size_t capacity = 0;
	*o = (struct options){ .command = COMMAND_RUN };

	for (int i = 1; i < argc; i++) {
		char *arg = argv[i];
		const char *next = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(arg, "-c") == 0 || strcmp(arg, "--config") == 0) {
			if (next == NULL) {
				o->command = unusable("needs the name of a file", arg);
				return;
			}
			o->config_file = next;
			i++;
		} else if (strcmp(arg, "-t") == 0 || strcmp(arg, "--check-config") == 0) {
			o->command = COMMAND_CHECK;
		} else if (strcmp(arg, "-T") == 0 || strcmp(arg, "--print-config") == 0) {
			o->command = COMMAND_PRINT;
		} else if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
			o->command = COMMAND_HELP;
			return;
		} else if (strcmp(arg, "-V") == 0 || strcmp(arg, "--version") == 0) {
			o->command = COMMAND_VERSION;
			return;
		} else if (strncmp(arg, "--role=", 7) == 0) {
			o->role = arg + 7;
		} else if (strcmp(arg, "--") == 0) {
			if (next == NULL)
				o->command = unusable("what is to be started? A command follows it", arg);
			else
				o->backend = argv + i + 1;
			return;
		} else if (strncmp(arg, "--", 2) == 0) {
			int used = key_flag(o, &capacity, arg, next);
			if (used < 0) {
				o->command = COMMAND_UNUSABLE;
				return;
			}
			i += used;
		} else if (arg[0] == '-') {
			o->command = unusable("no such option; slowproxy --help lists them", arg);
			return;
		} else {
			o->command = subcommand(arg);
			o->rest = argv + i;
			o->rest_count = argc - i;
			if (o->command != COMMAND_HEALTHCHECK) /* its flags may stand behind it, too */
				return;
		}
	}
}

void options_clear(struct options *o)
{
	free(o->flags);
	o->flags = NULL;
}
