/* config.c - what a loaded configuration answers. */
#include <slowproxy/config.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slowproxy/base/str.h>

#include "private.h"

void config_free(struct config *c)
{
	if (c == NULL)
		return;
	struct config_private *own = c->private_;
	memory_clear(&own->memory);
	free(own);
	free(c);
}

enum log_form config_log_form(enum config_log_format format, int fd)
{
	switch (format) {
	case CONFIG_LOG_LOGFMT:
		return LOG_LOGFMT;
	case CONFIG_LOG_CONSOLE:
		return LOG_PLAIN;
	case CONFIG_LOG_AUTO:
		return isatty(fd) ? LOG_PLAIN : LOG_JSON;
	case CONFIG_LOG_JSON:
		break;
	}
	return LOG_JSON;
}

uint64_t config_slow_threshold_ns(const struct config *c, const char *method, const char *path)
{
	for (size_t i = 0; i < c->slow.routes.count; i++) {
		const struct config_slow_route *route = &c->slow.routes.items[i];
		if ((route->method == NULL || strcmp(route->method, method) == 0) &&
			str_glob(route->path, path))
			return route->threshold_ns;
	}
	return c->slow.threshold_ns;
}
