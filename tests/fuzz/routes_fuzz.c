/* routes_fuzz.c - whatever an application says of its routes, and whatever paths come, a name is short, whole and found soon.
 *
 * The bytes up to the first 0xff byte are the document, the rest up to the next one a template, and then a path.
 */
#include <stdlib.h>
#include <string.h>

#include <slowproxy/routes.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes before the next cut as a string of their very size. */
static char *part_take(const uint8_t **data, size_t *size, size_t *len)
{
	const uint8_t *cut = *size != 0 ? memchr(*data, 0xff, *size) : NULL;
	*len = cut != NULL ? (size_t)(cut - *data) : *size;
	char *part = xstrndup((const char *)*data, *len);
	size_t taken = *len + (cut != NULL);
	*data += taken;
	*size -= taken;
	return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len, unused;
	char *document = part_take(&data, &size, &len);
	char *template = part_take(&data, &size, &unused), *path = part_take(&data, &size, &unused);
	struct buf why = { 0 };
	struct route_table *t = route_table_new();
	size_t added = route_table_add_openapi(t, "/v1/openapi.json", document, len, &why);
	if ((added == 0) != (why.len != 0) || added != route_table_count(t))
		abort();
	if (route_table_add(t, template) && route_table_count(t) != added + 1)
		abort();
	for (unsigned status = 0; status <= 404; status += 404) {
		char name[ROUTE_BYTES];
		bool guessed;
		route_name(t, true, path, status, name, &guessed);
		if (memchr(name, '\0', sizeof name) == NULL || (name[0] == '\0' && guessed))
			abort();
	}
	route_table_release(t);
	buf_clear(&why);
	free(document);
	free(template);
	free(path);
	return 0;
}
