/* server.c - a command line says who serves: "python3 -m uvicorn app:app", "gunicorn: worker [app]". */
#include "server.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slowproxy/base/mem.h>
#include <slowproxy/base/str.h>

/* The word of the command line, and the server behind it. */
static const struct {
	const char *word, *server;
} servers[] = {
	{ "uvicorn", "uvicorn" },
	{ "gunicorn", "gunicorn" },
	{ "hypercorn", "hypercorn" },
	{ "daphne", "daphne" },
	{ "granian", "granian" },
	{ "uwsgi", "uwsgi" },
	{ "waitress-serve", "waitress" },
	{ "waitress", "waitress" },
	{ "fastapi", "uvicorn" }, /* `fastapi run` runs uvicorn */
	{ "flask", "werkzeug" },
	{ "manage.py", "django" },
};

static const char *server_of_word(const char *word, size_t len)
{
	const char *slash = memrchr(word, '/', len);
	if (slash != NULL) {
		len -= (size_t)(slash + 1 - word);
		word = slash + 1;
	}
	const char *colon =
		memchr(word, ':', len); /* a title set by the program itself: "gunicorn: worker [app]" */
	if (colon != NULL && colon + 1 < word + len && colon[1] == ' ')
		len = (size_t)(colon - word);
	for (size_t i = 0; i < ARRAY_LEN(servers); i++)
		if (strlen(servers[i].word) == len && memcmp(servers[i].word, word, len) == 0)
			return servers[i].server;
	return NULL;
}

const char *server_of_cmdline(const char *cmdline, size_t len)
{
	const char *end = cmdline + len;
	for (const char *word = cmdline; word < end;) {
		size_t word_len = strnlen(word, (size_t)(end - word));
		const char *server = server_of_word(word, word_len);
		if (server != NULL)
			return server;
		word += word_len + 1;
	}
	return NULL;
}

static ssize_t proc_read(pid_t pid, const char *name, char *out, size_t out_bytes)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t got = read(fd, out, out_bytes);
	close(fd);
	return got;
}

static pid_t parent_of(pid_t pid)
{
	char text[512];
	ssize_t got = proc_read(pid, "stat", text, sizeof text - 1);
	if (got <= 0)
		return 0;
	text[got] = '\0';
	const char *at = strrchr(text, ')');
	return at != NULL && strlen(at) > 4 ? (pid_t)strtol(at + 4, NULL, 10) : 0;
}

void server_name(pid_t pid, char *out, size_t out_bytes)
{
	out[0] = '\0';
	for (unsigned generation = 0; generation < 2 && pid > 1; generation++) {
		char cmdline[4096];
		ssize_t got = proc_read(pid, "cmdline", cmdline, sizeof cmdline);
		const char *server = got > 0 ? server_of_cmdline(cmdline, (size_t)got) : NULL;
		if (server != NULL) {
			str_copy(out, out_bytes, server, strlen(server));
			return;
		}
		pid = parent_of(pid);
	}
}
