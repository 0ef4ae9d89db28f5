/* healthcheck.h - `slowproxy healthcheck`: is the running proxy ready? For HEALTHCHECK in an image without curl. */
#ifndef APP_HEALTHCHECK_H
#define APP_HEALTHCHECK_H

#include "options.h"

/* Asks /readyz where the configuration says that the admin listener is. Returns the exit status: 0 it is ready, 1 it is not, 2 the
 * command line or the configuration is wrong. */
int healthcheck_main(const struct options *options);

#endif
