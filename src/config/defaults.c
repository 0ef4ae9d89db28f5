/* defaults.c - defaults that depend on the machine, and checks of single texts. */
#include "defaults.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <slowproxy/base/network.h>

#include "expand.h"

static const char *variable_set(const struct config_source *source, const char *name)
{
	const char *value = environment_get(source->environment, name, strlen(name));
	return value != NULL && *value != '\0' ? value : NULL;
}

const char *default_service(const struct config_source *source, struct memory *memory)
{
	const char *name = variable_set(source, "OTEL_SERVICE_NAME");
	if (name == NULL || check_service(name) != NULL)
		name = "slowproxy";
	return memory_strdup(memory, name);
}

/* Whether the directory is there and writable, or could be made: its nearest ancestor that exists decides. */
static bool can_be_written(const char *directory)
{
	struct memory memory = { 0 };
	char *path = memory_strdup(&memory, directory);
	bool writable = false;
	for (;;) {
		writable = access(*path ? path : "/", W_OK | X_OK) == 0;
		char *slash = strrchr(path, '/');
		if (writable || errno != ENOENT || slash == NULL || *path == '\0')
			break;
		*slash = '\0';
	}
	memory_clear(&memory);
	return writable;
}

const char *default_directory(const struct config_source *source, struct memory *memory)
{
	const char *system = "/var/lib/slowproxy";
	const char *state = variable_set(source, "XDG_STATE_HOME"), *home = variable_set(source, "HOME");
	const char *own = "";

	if (can_be_written(system))
		return memory_strdup(memory, system);
	if (state != NULL && state[0] == '/')
		own = memory_printf(memory, "%s/slowproxy", state);
	else if (home != NULL && home[0] == '/')
		own = memory_printf(memory, "%s/.local/state/slowproxy", home);
	return *own != '\0' && can_be_written(own) ? own : memory_strdup(memory, "");
}

const char *check_service(const char *text)
{
	if (*text == '\0')
		return "is empty: leave out the line for the default";
	return strlen(text) > 255 ? "is longer than 255 bytes" : NULL;
}

const char *check_word(const char *text)
{
	if (*text == '\0')
		return "is empty: leave out the line for the default";
	for (const char *p = text; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("._-$", *p) == NULL)
			return "is not the name of a system user";
	return strlen(text) > 32 ? "is longer than the name of a system user can be" : NULL;
}

/* RFC 9110, section 5.6.2: a token. */
const char *check_header(const char *text)
{
	if (strlen(text) > 64)
		return "is longer than 64 bytes";
	for (const char *p = text; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("!#$%&'*+-.^_`|~", *p) == NULL)
			return "is not the name of a header";
	return NULL;
}

const char *check_directory(const char *text)
{
	if (*text != '\0' && text[0] != '/')
		return "is not an absolute path";
	return strlen(text) > 1024 ? "is longer than 1024 bytes" : NULL;
}

const char *check_destination(const char *text)
{
	static const char *const words[] = { "stdout", "stderr", "off" };
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(text, words[i]) == 0)
			return NULL;
	if (strchr(text, '/') == NULL)
		return "is none of stdout, stderr, off, nor the path of a file (which has a / in it)";
	if (text[strlen(text) - 1] == '/')
		return "is a directory: write the path of a file";
	return strlen(text) > 1024 ? "is longer than 1024 bytes" : NULL;
}

const char *check_openapi(const char *text)
{
	if (strcmp(text, "off") == 0 || *text == '\0')
		return NULL;
	if (text[0] != '/')
		return "is neither off nor a path that starts with /";
	return strpbrk(text, " \t") != NULL ? "has a space in it" : NULL;
}

const char *config_template_problem(const char *text)
{
	bool inside = false;
	if (text[0] != '/')
		return "does not start with /";
	if (strlen(text) >= CONFIG_TEMPLATE_BYTES)
		return "is longer than 255 bytes";
	for (const char *p = text; *p != '\0'; p++) {
		if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '?' || *p == '#')
			return "has a space, a control character, ? or # in it: a template is a path";
		if ((*p == '{' && inside) || (*p == '}' && !inside) || (*p == '/' && inside))
			return "has a { without its }, as in /items/{id}";
		if (*p == '{' && p[1] == '}')
			return "has a parameter without a name: write /items/{id}";
		inside = *p == '{' || (inside && *p != '}');
	}
	return inside ? "has a { without its }, as in /items/{id}" : NULL;
}

const char *check_trusted(const char *text)
{
	struct network network;
	return strcmp(text, "unix:") == 0 ? NULL : network_parse(text, &network);
}

/* --- where lines and profiles are pushed --- */

const char *check_url(const char *text)
{
	if (*text == '\0')
		return NULL;
	if (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0)
		return "is not a URL that begins with http:// or https://";
	const char *host = strstr(text, "://") + 3;
	size_t host_len = strcspn(host, "/?#");
	if (host_len == 0)
		return "names no host";
	if (memchr(host, '@', host_len) != NULL)
		return "holds a user or a password: they have keys of their own";
	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
			return "holds a byte that no URL has";
	return strlen(text) > 1024 ? "is longer than 1024 bytes" : NULL;
}

/* It stands in each slow line. */
const char *check_admin_url(const char *text)
{
	const char *why = check_url(text);
	if (why == NULL && strlen(text) > 200)
		why = "is longer than 200 bytes";
	return why;
}

/* As Prometheus and Loki name labels. */
const char *check_label(const char *text)
{
	size_t len = strcspn(text, "=");
	if (text[len] == '\0' || text[len + 1] == '\0')
		return "is not of the form name=value";
	for (size_t i = 0; i < len; i++)
		if (!isalpha((unsigned char)text[i]) && text[i] != '_' &&
			(i == 0 || !isdigit((unsigned char)text[i])))
			return "has a name with other bytes than letters, digits and _";
	if (len == 0 || strncmp(text, "__", 2) == 0 || strncmp(text, "service_name=", 13) == 0)
		return "has a name that is taken";
	return strlen(text) > 512 ? "is longer than 512 bytes" : NULL;
}

const char *check_line(const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return "holds a control byte";
	return strlen(text) > 4096 ? "is longer than 4096 bytes" : NULL;
}

const char *check_header_line(const char *text)
{
	char name[65];
	size_t len = strcspn(text, ":");
	if (text[len] == '\0' || len == 0 || len >= sizeof name)
		return "is not of the form Name: value";
	memcpy(name, text, len);
	name[len] = '\0';
	return check_header(name) != NULL ? "is not of the form Name: value" : check_line(text);
}

const char *check_file(const char *text)
{
	return check_directory(text);
}
