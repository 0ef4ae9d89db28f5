/* openapi.c - the paths of an application's own description of itself, OpenAPI 3 or Swagger 2.
 *
 * The document is foreign: it may be broken, endless or hostile. jansson bounds its depth, the fetch its size.
 */
#include <slowproxy/routes.h>

#include <jansson.h>
#include <string.h>

#include <slowproxy/base/str.h>

#include "table.h"

/* What stands before each path: "/api/v1" of "https://host/api/v1/"; "" for none. */
static struct slice server_path(const char *url)
{
	const char *scheme = strstr(url, "://");
	const char *path = scheme != NULL ? strchr(scheme + 3, '/') : url;
	struct slice s = slice_of(path != NULL && path[0] == '/' ? path : "");
	while (s.len != 0 && s.at[s.len - 1] == '/')
		s.len--;
	return s;
}

static struct slice prefix_of(const json_t *document)
{
	const char *base = json_string_value(json_object_get(document, "basePath"));
	const json_t *server = json_array_get(json_object_get(document, "servers"), 0);
	const char *url = json_string_value(json_object_get(server, "url"));
	return server_path(base != NULL ? base : url != NULL ? url : "");
}

/* An application below that prefix alone: the document was found there. Otherwise the proxy before us may have taken the prefix
 * away (Starlette's root_path), or not. */
static bool is_mounted(const char *document_path, struct slice prefix)
{
	return prefix.len != 0 && strncmp(document_path, prefix.at, prefix.len) == 0 &&
	       document_path[prefix.len] == '/';
}

static size_t paths_add(struct route_table *t, const json_t *paths, struct slice prefix, bool mounted)
{
	size_t added = 0;
	const char *path;
	json_t *item;
	json_object_foreach((json_t *)paths, path, item)
	{
		char whole[ROUTE_BYTES];
		size_t len = strlen(path);
		if (path[0] != '/')
			continue;
		if (!mounted)
			added += table_add(t, path, true);
		if (prefix.len == 0 || prefix.len + len >= sizeof whole)
			continue;
		memcpy(whole, prefix.at, prefix.len);
		memcpy(whole + prefix.len, path, len + 1);
		added += table_add(t, whole, true);
	}
	return added;
}

static const char *refusal(const json_t *document)
{
	if (!json_is_object(document))
		return "it is JSON, but not an object";
	if (!json_is_string(json_object_get(document, "openapi")) &&
		!json_is_string(json_object_get(document, "swagger")))
		return "it is JSON, but says neither openapi nor swagger";
	if (!json_is_object(json_object_get(document, "paths")))
		return "it has no paths";
	return NULL;
}

size_t route_table_add_openapi(
	struct route_table *t, const char *document_path, const char *json, size_t len, struct buf *why)
{
	json_error_t error;
	json_t *document = json_loadb(json, len, 0, &error);
	if (document == NULL) {
		buf_printf(
			why, "it is not JSON: line %d, column %d: %s", error.line, error.column, error.text);
		return 0;
	}
	size_t added = 0;
	const char *refused = refusal(document);
	if (refused == NULL) {
		struct slice prefix = prefix_of(document);
		added = paths_add(
			t, json_object_get(document, "paths"), prefix, is_mounted(document_path, prefix));
		if (added == 0)
			refused = "none of its paths can be used";
	}
	if (refused != NULL)
		buf_add_str(why, refused);
	json_decref(document);
	return added;
}
