/* options.h - the command line, understood but not yet obeyed. */
#ifndef SLOWPROXY_APP_OPTIONS_H
#define SLOWPROXY_APP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum command {
	COMMAND_RUN,
	COMMAND_CHECK, /* -t */
	COMMAND_PRINT, /* -T */
	COMMAND_HELP,
	COMMAND_VERSION,
	COMMAND_DUMP,
	COMMAND_RECORD,
	COMMAND_TOP,
	COMMAND_DOCTOR,
	COMMAND_HEALTHCHECK,
	COMMAND_COMPLETIONS,
	COMMAND_SCHEMA,
	COMMAND_EXAMPLE,
	COMMAND_REFERENCE,
	COMMAND_MANUAL,
	COMMAND_UNUSABLE /* the reason has been printed */
};

struct subcommand {
	const char *name;
	enum command command;
	const char *help; /* NULL: known to the contract, not built yet */
};
/* Those that work, one after the other; NULL: there are no more. */
const struct subcommand *options_subcommand(size_t index);

struct options {
	enum command command;
	const char *config_file; /* NULL: none */
	const char *role;        /* private: "proxy" or "sampler", see roles.h */
	const char *
		*flags;    /* pairs of key and value, for struct config_source; owned array of lent strings */
	size_t flag_count; /* pairs */
	char **rest;       /* what follows a subcommand, its name included; lent from argv */
	int rest_count;
	char **backend; /* what follows "--": the command that starts the app; NULL: none. Lent from argv */
};

/* Cuts "--key=value" in argv in two; argv must outlive the result. */
void options_parse(int argc, char **argv, struct options *out);
void options_clear(struct options *o);
void options_print_help(void);

#endif
