/* text_address.c - addresses (host:port, [v6]:port, :port, unix:/path), and matches: a method and a path. */
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <slowproxy/base/str.h>

#include "text.h"

enum { HOST_BYTES_MAX = 253 };

static const char *parse_unix(struct memory *memory, const char *path, struct config_address *address)
{
	if (path[0] != '/')
		return "is not unix:/path: the path of a socket starts with /";
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return "is too long for the path of a unix socket (107 bytes at most)";
	address->is_unix = true;
	address->host = memory_strdup(memory, path);
	return NULL;
}

static const char *parse_port(const char *text, uint16_t *port)
{
	uint32_t number;
	if (*text == '\0' || strlen(text) > 5 || text_parse_u32(text, &number) != NULL || number > UINT16_MAX)
		return "does not end in a port from 1 to 65535";
	*port = (uint16_t)number;
	return NULL;
}

static bool is_v4(const char *host)
{
	struct in_addr parsed;
	return inet_pton(AF_INET, host, &parsed) == 1;
}

/* "fe80::1%eth0" names the link behind the percent sign. */
static bool is_v6(const char *host)
{
	struct in6_addr parsed;
	char bare[INET6_ADDRSTRLEN];
	return str_copy(bare, sizeof bare, host, strcspn(host, "%")) &&
	       inet_pton(AF_INET6, bare, &parsed) == 1;
}

static const char *check_host(const char *host)
{
	size_t len = strlen(host);
	bool numeric = true;
	if (len > HOST_BYTES_MAX)
		return "has a host name of more than 253 bytes";
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)host[i]) && strchr("-._", host[i]) == NULL)
			return "is not an address: write host:port, [v6]:port or unix:/path";
		numeric &= isdigit((unsigned char)host[i]) || host[i] == '.';
	}
	if (len != 0 && numeric && !is_v4(host))
		return "is not an address: an IPv4 address has four numbers from 0 to 255";
	return NULL;
}

static const char *parse_v6(struct memory *memory, const char *text, struct config_address *address)
{
	const char *end = strchr(text, ']');
	if (end == NULL || end[1] != ':')
		return "is not an address: write [v6]:port, such as [::1]:8000";
	address->host = memory_strndup(memory, text + 1, (size_t)(end - text - 1));
	if (!is_v6(address->host))
		return "has no IPv6 address between [ and ]";
	return parse_port(end + 2, &address->port);
}

static const char *parse_host_port(struct memory *memory, const char *text, struct config_address *address)
{
	const char *colon = strrchr(text, ':');
	if (colon == NULL)
		return "is not an address: write host:port, [v6]:port or unix:/path";
	if (colon != strchr(text, ':'))
		return "is not an address: an IPv6 address is written in brackets, such as [::1]:8000";
	address->host = memory_strndup(memory, text, (size_t)(colon - text));
	if (strcmp(address->host, "*") == 0)
		address->host = "";
	const char *why = check_host(address->host);
	return why != NULL ? why : parse_port(colon + 1, &address->port);
}

const char *text_parse_address(struct memory *memory, const char *text, struct config_address *address)
{
	*address = (struct config_address){ .text = memory_strdup(memory, text), .host = "" };
	if (strncmp(text, "unix:", 5) == 0)
		return parse_unix(memory, text + 5, address);
	if (strstr(text, "://") != NULL)
		return "is a URL: write only its host:port";
	if (text[0] == '[')
		return parse_v6(memory, text, address);
	return parse_host_port(memory, text, address);
}

/* The methods llhttp knows, and so the only ones that can arrive. */
static bool method_known(struct slice method)
{
	static const char *const methods[] = { "ACL", "BIND", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET",
		"HEAD", "LINK", "LOCK", "M-SEARCH", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE",
		"NOTIFY", "OPTIONS", "PATCH", "POST", "PROPFIND", "PROPPATCH", "PURGE", "PUT", "QUERY",
		"REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "TRACE", "UNBIND", "UNLINK", "UNLOCK",
		"UNSUBSCRIBE" };
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (slice_equal(method, slice_of(methods[i])))
			return true;
	return false;
}

const char *text_parse_match(struct memory *memory, const char *text, struct config_slow_route *route)
{
	const char *path = text;
	route->match = memory_strdup(memory, text);
	route->method = NULL;
	if (text[0] != '/') {
		struct slice method = { text, strcspn(text, " ") };
		path = text + method.len + strspn(text + method.len, " ");
		if (!slice_equal(method, SLICE("*"))) {
			if (!method_known(method))
				return "does not start with a method in capitals, such as GET, nor with * or /";
			route->method = memory_strndup(memory, method.at, method.len);
		}
	}
	if (path[0] != '/')
		return "has no path that starts with /, as in \"POST /reports/*\"";
	if (strpbrk(path, "?#") != NULL)
		return "has a query: only the path is compared";
	if (strpbrk(path, " \t") != NULL)
		return "has a space in its path: write %20";
	route->path = memory_strdup(memory, path);
	return NULL;
}
