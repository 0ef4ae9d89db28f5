/* configuration.h - from the command line to the configuration: the file it names, the environment, the flags. */
#ifndef APP_CONFIGURATION_H
#define APP_CONFIGURATION_H

#include <slowproxy/base/buf.h>
#include <slowproxy/config.h>

#include "options.h"

/* The bytes of the file go to yaml, every error to errors. NULL: there are errors. */
MUST_CHECK struct config *configuration_read(
	const struct options *options, struct buf *yaml, struct buf *errors);

#endif
