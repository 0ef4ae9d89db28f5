/* http_proxy_header_fuzz.c - any bytes as the beginning of a connection: read the same however they are cut, never past their end. */
#include <stdlib.h>
#include <string.h>

#include <slowproxy/http.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool yes)
{
	if (!yes)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_proxy_header whole, part;
	size_t used, used_of_part;
	if (size == 0)
		return 0;
	enum http_proxy_header_event e = http_proxy_header_read((const char *)data, size, &used, &whole);
	must(e == HTTP_PROXY_HEADER_DONE ? used != 0 && used <= size : used == 0);
	for (size_t len = 1; len < size && len < 600; len++) {
		/* A copy of exactly so many bytes: what is read past them is found. */
		char *bytes = malloc(len);
		memcpy(bytes, data, len);
		enum http_proxy_header_event of_part =
			http_proxy_header_read(bytes, len, &used_of_part, &part);
		free(bytes);
		if (e == HTTP_PROXY_HEADER_DONE)
			must(of_part == (len < used ? HTTP_PROXY_HEADER_MORE : HTTP_PROXY_HEADER_DONE));
		else if (e == HTTP_PROXY_HEADER_MORE)
			must(of_part == HTTP_PROXY_HEADER_MORE);
		else
			must(of_part != HTTP_PROXY_HEADER_DONE);
		if (of_part == HTTP_PROXY_HEADER_DONE)
			must(used_of_part == used && memcmp(&part, &whole, sizeof part) == 0);
	}
	return 0;
}
