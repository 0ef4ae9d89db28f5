/* text.h - single words a user writes, and what they mean: durations, sizes, numbers, addresses, matches.
 *
 * A text_parse_ function returns NULL when all is well, else a static sentence that says what is expected. What it makes
 * belongs to memory. Each text_add_ function writes what its twin reads.
 */
#ifndef CONFIG_TEXT_H
#define CONFIG_TEXT_H

#include <slowproxy/config.h>

#include "memory.h"

MUST_CHECK const char *text_parse_bool(const char *text, bool *value);
MUST_CHECK const char *text_parse_u32(const char *text, uint32_t *value);
MUST_CHECK const char *text_parse_duration(const char *text, uint64_t *ns);
MUST_CHECK const char *text_parse_size(const char *text, uint64_t *bytes);
MUST_CHECK const char *text_parse_address(
	struct memory *memory, const char *text, struct config_address *address);
MUST_CHECK const char *text_parse_match(
	struct memory *memory, const char *text, struct config_slow_route *route);

void text_add_duration(struct buf *out, uint64_t ns);
void text_add_size(struct buf *out, uint64_t bytes);

/* Sentences of text_parse_duration and text_parse_size for a number without its unit. */
extern const char text_duration_needs_unit[], text_size_needs_unit[];

#endif
