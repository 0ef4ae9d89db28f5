/* configuration.c - from the command line to the configuration: the file it names, the environment, the flags. */
#include "configuration.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

enum { CONFIG_BYTES_MAX = 16 << 20 };

static bool file_read(const char *name, struct buf *out, struct buf *errors)
{
	char chunk[65536];
	size_t n = 0;
	FILE *f = fopen(name, "re");
	while (f != NULL && (n = fread(chunk, 1, sizeof chunk, f)) > 0 && out->len < CONFIG_BYTES_MAX)
		buf_add(out, chunk, n);
	bool good = f != NULL && !ferror(f);
	if (!good)
		buf_printf(errors, "%s: %s\n", name, strerror(errno));
	if (f != NULL)
		fclose(f);
	return good;
}

/* Whoever starts as root names the user the children become: it must exist before anything is started. */
static bool user_exists(const struct config *c, struct buf *errors)
{
	if (geteuid() != 0 || c->user[0] == '\0' || getpwnam(c->user) != NULL)
		return true;
	buf_printf(errors, "user: there is no user called %s on this system\n", c->user);
	return false;
}

struct config *configuration_read(const struct options *options, struct buf *yaml, struct buf *errors)
{
	if (options->config_file != NULL && !file_read(options->config_file, yaml, errors))
		return NULL;
	struct config_source source = {
		.file_name = options->config_file,
		.yaml = yaml->data ? yaml->data : "",
		.yaml_len = yaml->len,
		.environment = environ,
		.flags = options->flags,
		.flag_count = options->flag_count,
	};
	struct config *config = config_load(&source, errors);
	if (config != NULL && !user_exists(config, errors)) {
		config_free(config);
		config = NULL;
	}
	return config;
}
