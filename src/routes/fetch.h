/* fetch.h - one GET to the application, on a thread that may wait. */
#ifndef SLOWPROXY_ROUTES_FETCH_H
#define SLOWPROXY_ROUTES_FETCH_H

#include <stdint.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/config.h>

enum { FETCH_BYTES_MAX = 8 << 20 }; /* of the body */

enum fetch_result {
	FETCH_OK,       /* 200, and body holds what came */
	FETCH_ANSWERED, /* something else came, and it would come again; why says what */
	FETCH_FAILED,   /* nobody answered in time */
	FETCH_STOPPED,  /* stop_fd became readable */
};

/* Asks for path within the time. */
enum fetch_result fetch(const struct config_address *from, const char *path, uint64_t within_ns, int stop_fd,
	struct buf *body, struct buf *why);

#endif
