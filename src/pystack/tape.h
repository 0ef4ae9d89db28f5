/* tape.h - the reads of a process, recorded once and replayed anywhere: no Python, no ptrace, no process.
 *
 * A tape holds the memory that was touched, in granules, and the files of /proc that were opened:
 *   "PYTAPE2\n"  u32 pid  u32 files { u16 name length, name, u32 length, bytes }  u32 runs { u64 address, u32 length, bytes }
 */
#ifndef PYSTACK_TAPE_H
#define PYSTACK_TAPE_H

#include <slowproxy/base/buf.h>

#include "memory.h"

/* Replays the tape in these bytes (copied); NULL when they are no tape. */
struct mem *mem_tape(const void *bytes, size_t len);

/* Passes everything through to inner (taken) and remembers it. The process should stand still. */
struct mem *mem_recorder(struct mem *inner);
void mem_recorder_save(struct mem *recorder, struct buf *out);

#endif
