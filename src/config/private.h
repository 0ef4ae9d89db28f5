/* private.h - what struct config keeps to itself. */
#ifndef CONFIG_PRIVATE_H
#define CONFIG_PRIVATE_H

#include "memory.h"
#include "problem.h"

struct value_origin {
	enum origin origin;
	size_t line; /* of ORIGIN_FILE */
};

struct config_private {
	struct memory memory;         /* all strings and lists */
	struct value_origin *origins; /* one for each row of the table */
	const char *file_name;
};

#endif
