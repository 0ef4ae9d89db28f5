/* backend_command.h - a command that starts a server: where it will listen, and how it is told to. */
#ifndef APP_BACKEND_COMMAND_H
#define APP_BACKEND_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include <slowproxy/base/buf.h>

/* The address its own options name, as `upstream` takes it ("127.0.0.1:8000", "unix:/run/app.sock"). false: they name none. */
bool command_address(char *const *command, struct buf *address);
/* Whether it is a server whose options we know. */
bool command_is_known(char *const *command);
/* A copy of the command that listens on this port of 127.0.0.1, where it is a server we know; else as it is. The array is owned,
 * and the word added at its end is in `word`. */
char **command_with_port(char *const *command, uint16_t port, struct buf *word);

#endif
