/* files.h - the directory of profile files, kept below capture.max_bytes by removing the oldest. Writer thread only.
 *
 *   20261122T232354.123Z-<32 hex digits>.html
 *   20261122T232354.123Z-<32 hex digits>.collapsed.txt
 */
#ifndef SLOWPROXY_REPORT_FILES_H
#define SLOWPROXY_REPORT_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/mem.h>

enum { FILES_NAME_BYTES = 80, FILES_ID_BYTES = 33 };

/* One of our files. */
struct kept_file {
	char name[FILES_NAME_BYTES];
	uint64_t bytes;
};

struct files {
	const char *directory; /* lent; "" : no files */
	uint64_t max_bytes, bytes;
	struct kept_file *kept; /* by name, that is by time: the oldest first */
	size_t count, capacity;
};

/* Looks through the directory once; makes it if it is not there. Files that are not ours are not seen. */
void files_init(struct files *f, const char *directory, uint64_t max_bytes);
void files_clear(struct files *f);

/* A name for the files of one profile, without suffix, and its id. */
void files_name_new(char name[FILES_NAME_BYTES], char id[FILES_ID_BYTES], uint64_t wall_ns);
/* The file of this id, its whole content. Any thread. */
bool files_read(const char *directory, const char *id, const char *suffix, struct buf *out);
/* Writes name + suffix as a whole or not at all. false: errno says why (EFBIG: larger than all that may be kept). */
MUST_CHECK bool files_write(struct files *f, const char *name, const char *suffix, const struct buf *content);

#endif
