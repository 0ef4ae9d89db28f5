/* expand.h - variables inside a value: ${VAR}, ${VAR:-default}, ${VAR:?message}, ${env:VAR}, and $$ for a dollar sign. */
#ifndef CONFIG_EXPAND_H
#define CONFIG_EXPAND_H

#include <stdbool.h>
#include <slowproxy/config.h>

#include "memory.h"

/* The value of a variable in an environment like environ (which may be NULL), or NULL. */
const char *environment_get(char *const *environment, const char *name, size_t name_len);

/* The expanded text, which belongs to memory. It is never read as YAML again, so a value cannot bring structure along.
 * NULL: *why is a sentence that belongs to memory. */
const char *expand(struct memory *memory, char *const *environment, const char *text, const char **why);

#endif
