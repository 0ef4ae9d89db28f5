/* libcurl.h - libcurl, loaded only where something is to be pushed.
 *
 * It brings thirty libraries along. A proxy that pushes nothing starts without them, and the sampler, which may read the memory
 * of others, never has them.
 */
#ifndef SLOWPROXY_PUSH_LIBCURL_H
#define SLOWPROXY_PUSH_LIBCURL_H

#include <curl/curl.h>
#include <stdbool.h>

#include <slowproxy/base/mem.h>

/* clang-format cannot make up its mind about this list. */
/* clang-format off */
#define LIBCURL_CALLS(X) \
	X(global_init) \
	X(global_cleanup) \
	X(easy_init) \
	X(easy_setopt) \
	X(easy_getinfo) \
	X(easy_strerror) \
	X(easy_cleanup) \
	X(slist_append) \
	X(slist_free_all) \
	X(multi_init) \
	X(multi_add_handle) \
	X(multi_remove_handle) \
	X(multi_perform) \
	X(multi_info_read) \
	X(multi_poll) \
	X(multi_wakeup) \
	X(multi_cleanup)
/* clang-format on */

/* Each call of the library by its name without curl_. */
struct libcurl {
#define LIBCURL_MEMBER(name) __typeof__(curl_##name) *name;
	LIBCURL_CALLS(LIBCURL_MEMBER)
#undef LIBCURL_MEMBER
};

/* false: *why is a sentence. The library stays loaded. */
MUST_CHECK bool libcurl_load(struct libcurl *l, const char **why);

#endif
