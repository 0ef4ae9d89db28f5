/* defaults.h - what a row asks of its text, and defaults that depend on the machine. */
#ifndef CONFIG_DEFAULTS_H
#define CONFIG_DEFAULTS_H

#include <slowproxy/config.h>

#include "memory.h"

const char *default_service(const struct config_source *source, struct memory *memory);
const char *default_directory(const struct config_source *source, struct memory *memory);

/* NULL, or a sentence that continues "`value` ...". */
const char *check_service(const char *text);
const char *check_word(const char *text);
const char *check_header(const char *text);
const char *check_directory(const char *text);
const char *check_destination(const char *text);
const char *check_openapi(const char *text);
const char *check_trusted(const char *text);
const char *check_url(const char *text);
const char *check_admin_url(const char *text);
const char *check_label(const char *text);
const char *check_header_line(const char *text);
const char *check_line(const char *text);
const char *check_file(const char *text);

#endif
