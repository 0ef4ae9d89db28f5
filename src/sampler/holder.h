/* holder.h - from a socket's inode to the process that holds it, by reading /proc/PID/fd (or fdinfo). */
#ifndef SLOWPROXY_SAMPLER_HOLDER_H
#define SLOWPROXY_SAMPLER_HOLDER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <slowproxy/base/map.h>
#include <slowproxy/base/mem.h>

enum { HOLDER_CANDIDATES_MAX = 256 };

/* A process that held a backend's socket once: looked at first. */
struct holder_candidate {
	pid_t pid;
	uint64_t start_time; /* field 22 of /proc/PID/stat: tells a reused pid */
	uint64_t used_ns;
};

/* How often a costly look may be repeated: at most a twentieth of the time goes into it, and less when it is in vain. */
struct holder_pace {
	uint64_t next_ns;
	unsigned in_vain;
};

struct holders {
	struct map
		by_inode; /* inode -> pid << 32 | descriptor; a rumour, checked with one readlink at each use */
	struct holder_candidate candidates[HOLDER_CANDIDATES_MAX];
	size_t candidate_count;
	struct holder_pace candidates_pace, everybody_pace;
	uint64_t sockets_mount; /* the mount that fdinfo names for sockets; 0: not asked yet */
	bool saw_denied; /* the last look at everybody met a process whose descriptors we may not list */
};

void holders_clear(struct holders *h);
/* Known and still true? */
bool holder_known(struct holders *h, uint64_t inode, pid_t *pid);
/* Looks for the inodes (keys of wanted), in known workers first, then in every process. Both looks keep their pace, so this
 * may do nothing; true: it looked at everybody, so what is not known now is not visible to us (for now). */
bool holders_look(struct holders *h, const struct map *wanted, uint64_t now_ns);

/* Looks at one process: notes every socket of it, returns how many of the wanted ones were among them. */
size_t holders_look_at(struct holders *h, pid_t pid, const struct map *wanted);

/* The process' start time in clock ticks after boot; 0: no such process. */
uint64_t process_start_time(pid_t pid);

#endif
