/* main.c - one binary: the proxy, its helpers, and the tools. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slowproxy/config.h>

#include "doctor.h"
#include "completions.h"
#include "dump.h"
#include "healthcheck.h"
#include "manual.h"
#include "options.h"
#include "record.h"
#include "roles.h"
#include "top.h"

extern char **environ;

static int role_run(const struct options *options)
{
	struct config *config = role_config_load(options);
	int status = 2;
	role_begin(options->role, config);
	if (strcmp(options->role, "proxy") == 0)
		status = proxy_role_run(config);
	else if (strcmp(options->role, "sampler") == 0)
		status = sampler_role_run(config);
	config_free(config);
	return status;
}

static int command_run(struct options *options, char **argv)
{
	switch (options->command) {
	case COMMAND_HELP:
		options_print_help();
		return 0;
	case COMMAND_VERSION:
		puts("slowproxy " SLOWPROXY_VERSION);
		return 0;
	case COMMAND_DUMP:
		return dump_main(options->rest_count, options->rest);
	case COMMAND_RECORD:
		return record_main(options->rest_count, options->rest);
	case COMMAND_TOP:
		return top_main(options->rest_count, options->rest);
	case COMMAND_DOCTOR:
		return doctor_main(options);
	case COMMAND_HEALTHCHECK:
		return healthcheck_main(options);
	case COMMAND_COMPLETIONS:
		return completions_main(options->rest_count, options->rest);
	case COMMAND_SCHEMA:
		config_print_schema(stdout);
		return 0;
	case COMMAND_EXAMPLE:
		config_print_example(stdout);
		return 0;
	case COMMAND_REFERENCE:
		config_print_reference(stdout);
		return 0;
	case COMMAND_MANUAL:
		return manual_main(options->rest_count, options->rest);
	case COMMAND_UNUSABLE:
		return 2;
	case COMMAND_RUN:
	case COMMAND_CHECK:
	case COMMAND_PRINT:
		break;
	}
	return parent_run(options, argv);
}

int main(int argc, char **argv)
{
	struct options options;
	char **arguments =
		malloc(((size_t)argc + 1) * sizeof *arguments); /* options_parse cuts "--key=value" in two */
	if (arguments == NULL)
		return 2;
	for (int i = 0; i <= argc; i++)
		arguments[i] = argv[i] ? strdup(argv[i]) : NULL;

	options_parse(argc, arguments, &options);
	int status = options.role != NULL ? role_run(&options) : command_run(&options, argv);
	if (fflush(stdout) != 0)
		status = status ? status : 1;

	options_clear(&options);
	for (int i = 0; i < argc; i++)
		free(arguments[i]);
	free(arguments);
	return status;
}
