/* role.c - what the two children do alike at birth. */
#include "roles.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <slowproxy/base/log.h>

extern char **environ;

struct config *role_config_load(const struct options *options)
{
	struct stat st;
	const char *yaml = "";
	size_t len = 0;
	if (fstat(FD_CONFIG, &st) == 0 && st.st_size > 0) {
		void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, FD_CONFIG, 0);
		if (map != MAP_FAILED) {
			yaml = map;
			len = (size_t)st.st_size;
		}
	}
	struct config_source source = {
		.file_name = options->config_file,
		.yaml = yaml,
		.yaml_len = len,
		.environment = environ,
		.flags = options->flags,
		.flag_count = options->flag_count,
		.quiet = true, /* the parent has warned already */
	};
	struct buf errors = { 0 };
	struct config *config = config_load(&source, &errors);
	if (config == NULL) {
		fprintf(stderr,
			"slowproxy: the configuration that the parent had accepted does not load in its child:\n%s",
			errors.data ? errors.data : "");
		exit(2);
	}
	if (len != 0)
		munmap((void *)yaml, len);
	close(FD_CONFIG);
	return config;
}

void role_begin(const char *name, const struct config *config)
{
	signal(SIGPIPE, SIG_IGN);

	char title[16];
	snprintf(title, sizeof title, "slow:%s", name);
	prctl(PR_SET_NAME, title);

	struct log_settings settings = {
		.level = config->logs.level,
		.form = config_log_form(config->logs.format, STDERR_FILENO),
		.role = name,
		.service = config->service,
	};
	log_setup(&settings);
}
