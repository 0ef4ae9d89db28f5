/* backend_command.c - a command that starts a server: where it will listen, and how it is told to.
 *
 *   uvicorn app:app                   -> uvicorn app:app --port 34567
 *   python3 -m gunicorn app:app       -> python3 -m gunicorn app:app --bind 127.0.0.1:34567
 *   uvicorn app:app --port 8000       -> as it is; it listens on 127.0.0.1:8000
 *   anything else                     -> as it is; PORT in its environment says where it should
 */
#include "backend_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct server {
	const char *name;
	const char *flag, *letter; /* of the port, or of the address where `whole` */
	const char *host_flag;     /* NULL: none */
	const char *unix_flag;     /* NULL: none, or part of the address */
	bool whole;                /* flag takes host:port, not a port */
} servers[] = {
	{ "uvicorn", "--port", NULL, "--host", "--uds", false },
	{ "gunicorn", "--bind", "-b", NULL, NULL, true },
	{ "hypercorn", "--bind", "-b", NULL, NULL, true },
	{ "daphne", "--port", "-p", "--bind", "--unix-socket", false },
	{ "waitress-serve", "--port", NULL, "--host", "--unix-socket", false },
	{ "waitress", "--port", NULL, "--host", "--unix-socket", false }, /* python -m waitress */
	{ "granian", "--port", NULL, "--host", NULL, false },
	{ "flask", "--port", "-p", "--host", NULL, false },
	{ "fastapi", "--port", NULL, "--host", NULL, false },
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

static const struct server *server_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(servers); i++)
		if (strcmp(servers[i].name, name) == 0)
			return &servers[i];
	return NULL;
}

/* "uvicorn ...", "/venv/bin/uvicorn ...", "python3 -X dev -m uvicorn ...", "python3 /venv/bin/uvicorn ...". */
static const struct server *server_of(char *const *command)
{
	const struct server *s = server_named(base_name(command[0]));
	if (s != NULL || strncmp(base_name(command[0]), "python", 6) != 0)
		return s;
	for (size_t i = 1; command[i] != NULL; i++) {
		if (strcmp(command[i], "-m") == 0)
			return command[i + 1] != NULL ? server_named(command[i + 1]) : NULL;
		if (strcmp(command[i], "-X") == 0 || strcmp(command[i], "-W") == 0)
			i++;
		else if (command[i][0] != '-')
			return server_named(base_name(command[i]));
		if (command[i] == NULL)
			break;
	}
	return NULL;
}

/* The value of "--port 8000", "--port=8000", "-p 8000" or "-p8000"; NULL: it is not given. */
static const char *value_of(char *const *command, const char *flag, const char *letter)
{
	size_t flag_bytes = flag != NULL ? strlen(flag) : 0;
	for (size_t i = 1; flag != NULL && command[i] != NULL; i++) {
		const char *word = command[i];
		if (strcmp(word, flag) == 0 || (letter != NULL && strcmp(word, letter) == 0))
			return command[i + 1];
		if (strncmp(word, flag, flag_bytes) == 0 && word[flag_bytes] == '=')
			return word + flag_bytes + 1;
		if (letter != NULL && strncmp(word, letter, 2) == 0)
			return word + 2;
	}
	return NULL;
}

/* Who listens everywhere is reached here. */
static void add_reachable(struct buf *address, const char *host, size_t host_bytes, const char *port)
{
	static const char *const everywhere[] = { "", "0.0.0.0", "[::]", "::", "*" };
	for (size_t i = 0; i < ARRAY_LEN(everywhere); i++)
		if (strlen(everywhere[i]) == host_bytes && strncmp(everywhere[i], host, host_bytes) == 0) {
			buf_printf(address, "127.0.0.1:%s", port);
			return;
		}
	bool v6 = memchr(host, ':', host_bytes) != NULL && host[0] != '[';
	buf_printf(address, v6 ? "[%.*s]:%s" : "%.*s:%s", (int)host_bytes, host, port);
}

static bool whole_address(const char *text, struct buf *address)
{
	const char *colon = strrchr(text, ':');
	if (strncmp(text, "unix:", 5) == 0)
		buf_add_str(address, text);
	else if (colon != NULL)
		add_reachable(address, text, (size_t)(colon - text), colon + 1);
	else
		return false;
	return true;
}

bool command_address(char *const *command, struct buf *address)
{
	const struct server *s = server_of(command);
	if (s == NULL)
		return false;
	const char *path = value_of(command, s->unix_flag, NULL),
		   *port = value_of(command, s->flag, s->letter),
		   *host = value_of(command, s->host_flag, NULL);
	if (path != NULL)
		buf_printf(address, "unix:%s", path);
	else if (port != NULL && s->whole)
		return whole_address(port, address);
	else if (port != NULL)
		add_reachable(address, host != NULL ? host : "127.0.0.1",
			strlen(host != NULL ? host : "127.0.0.1"), port);
	else
		return false;
	return true;
}

bool command_is_known(char *const *command)
{
	return server_of(command) != NULL;
}

char **command_with_port(char *const *command, uint16_t port, struct buf *word)
{
	const struct server *s = server_of(command);
	size_t count = 0;
	while (command[count] != NULL)
		count++;
	char **copy = xcalloc(count + 3, sizeof *copy);
	memcpy(copy, command, count * sizeof *copy);
	if (s == NULL || value_of(command, s->flag, s->letter) != NULL ||
		value_of(command, s->unix_flag, NULL) != NULL)
		return copy;
	buf_printf(word, s->whole ? "127.0.0.1:%u" : "%u", port);
	copy[count] = (char *)(uintptr_t)s->flag;
	copy[count + 1] = word->data;
	return copy;
}
