/* libcurl.c - libcurl, loaded only where something is to be pushed. */
#include "libcurl.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

/* Debian's libcurl4 and libcurl3-gnutls; either will do. */
static const char *const files[] = { "libcurl.so.4", "libcurl-gnutls.so.4" };

static const struct {
	const char *name;
	size_t at;
} calls[] = {
#define ROW(call) { "curl_" #call, offsetof(struct libcurl, call) },
	LIBCURL_CALLS(ROW)
#undef ROW
};

static void *library_open(void)
{
	void *library = NULL;
	for (size_t i = 0; i < ARRAY_LEN(files) && library == NULL; i++)
		library = dlopen(files[i], RTLD_NOW | RTLD_LOCAL);
	return library;
}

bool libcurl_load(struct libcurl *l, const char **why)
{
	void *library = library_open();
	if (library == NULL) {
		*why = "libcurl is not here (Debian's package is libcurl4)";
		return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		void *call = dlsym(library, calls[i].name);
		if (call == NULL) {
			*why = "libcurl is older than 7.68";
			return false;
		}
		memcpy((char *)l + calls[i].at, &call, sizeof call);
	}
	return true;
}
