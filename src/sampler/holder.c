/* holder.c - who holds a socket?
 *
 *   known inode -> one readlink -> pid
 *   else: descriptors of known workers -> descriptors of every process       each look keeps its own pace
 *
 * Several processes may hold one socket after a fork. The one that started first is the one that accepted it: the others
 * have merely inherited it. (A server that forks for each connection closes the parent's copy, so there too it is right.)
 *
 * /proc/PID/fd belongs to the process' user. With CAP_SYS_PTRACE alone it stays closed for processes of others, but
 * /proc/PID/fdinfo is open (Linux 5.14): it tells of each descriptor the inode and the mount, and sockets have a mount of their own.
 */
#include "holder.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>

enum {
	KNOWN_INODES_MAX = 1 << 17,
	COST_FACTOR = 20, /* a look that took 1 ms is not repeated for 20 ms */
};
static const uint64_t pace_least_ns = 10 * NS_PER_MS, pace_most_ns = NS_PER_S, look_most_ns = 200 * NS_PER_MS;

void holders_clear(struct holders *h)
{
	map_clear(&h->by_inode);
	h->candidate_count = 0;
}

uint64_t process_start_time(pid_t pid)
{
	char path[32], text[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t got = read(fd, text, sizeof text - 1);
	close(fd);
	if (got <= 0)
		return 0;
	text[got] = '\0';
	const char *at = strrchr(text, ')'); /* the name before it may hold anything */
	for (unsigned field = 2; at != NULL && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at != NULL ? strtoull(at + 1, NULL, 10) : 0;
}

/* Whether the link at name, relative to dir, is a socket; its inode. */
static bool socket_link(int dir, const char *name, uint64_t *inode)
{
	char target[64];
	ssize_t len = readlinkat(dir, name, target, sizeof target - 1);
	if (len <= 0)
		return false;
	target[len] = '\0';
	return sscanf(target, "socket:[%" SCNu64 "]", inode) == 1;
}

static bool info_value(const char *info, const char *key, uint64_t *value)
{
	const char *line = strstr(info, key);
	return line != NULL && sscanf(line + strlen(key), "%" SCNu64, value) == 1;
}

/* What fdinfo tells of a descriptor: its inode, on which mount. */
static bool info_read(int dir, const char *name, uint64_t *mount, uint64_t *inode)
{
	char text[256]; /* the two stand in the first lines */
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t len = read(fd, text, sizeof text - 1);
	close(fd);
	text[len < 0 ? 0 : len] = '\0';
	return info_value(text, "\nmnt_id:", mount) && info_value(text, "\nino:", inode);
}

/* The mount of all sockets, as one of ours tells; 0: the kernel does not say. */
static uint64_t sockets_mount_find(void)
{
	char name[32];
	uint64_t mount = 0, inode;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return 0;
	snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
	if (!info_read(AT_FDCWD, name, &mount, &inode))
		mount = 0;
	close(fd);
	return mount;
}

static bool socket_info(struct holders *h, int dir, const char *name, uint64_t *inode)
{
	uint64_t mount;
	if (h->sockets_mount == 0)
		h->sockets_mount = sockets_mount_find();
	return h->sockets_mount != 0 && info_read(dir, name, &mount, inode) && mount == h->sockets_mount;
}

static bool holds(struct holders *h, pid_t pid, unsigned fd, uint64_t inode)
{
	char path[48];
	uint64_t has;
	snprintf(path, sizeof path, "/proc/%d/fd/%u", (int)pid, fd);
	if (socket_link(AT_FDCWD, path, &has))
		return has == inode;
	if (errno != EACCES)
		return false;
	snprintf(path, sizeof path, "/proc/%d/fdinfo/%u", (int)pid, fd);
	return socket_info(h, AT_FDCWD, path, &has) && has == inode;
}

bool holder_known(struct holders *h, uint64_t inode, pid_t *pid)
{
	uint64_t value;
	if (!map_get(&h->by_inode, inode, &value))
		return false;
	*pid = (pid_t)(value >> 32);
	if (holds(h, *pid, (unsigned)value, inode))
		return true;
	map_remove(&h->by_inode, inode);
	return false;
}

/* --- candidates --- */
static void candidate_drop(struct holders *h, size_t i)
{
	h->candidates[i] = h->candidates[--h->candidate_count];
}

static size_t candidate_oldest_use(const struct holders *h)
{
	size_t oldest = 0;
	for (size_t i = 1; i < h->candidate_count; i++)
		if (h->candidates[i].used_ns < h->candidates[oldest].used_ns)
			oldest = i;
	return oldest;
}

static void candidate_add(struct holders *h, pid_t pid, uint64_t now_ns)
{
	for (size_t i = 0; i < h->candidate_count; i++) {
		if (h->candidates[i].pid == pid) {
			h->candidates[i].used_ns = now_ns;
			return;
		}
	}
	if (h->candidate_count == HOLDER_CANDIDATES_MAX)
		candidate_drop(h, candidate_oldest_use(h));
	h->candidates[h->candidate_count++] = (struct holder_candidate){
		.pid = pid, .start_time = process_start_time(pid), .used_ns = now_ns
	};
}

/* --- looking --- */
static bool pace_allows(const struct holder_pace *p, uint64_t now_ns)
{
	return now_ns >= p->next_ns;
}

static void pace_done(struct holder_pace *p, uint64_t began_ns, bool found)
{
	uint64_t now = clock_now_ns();
	p->in_vain = found ? 0 : MIN(p->in_vain + 1, 8u);
	uint64_t wait = MAX((now - began_ns) * COST_FACTOR, pace_least_ns << p->in_vain);
	p->next_ns = now + MIN(wait, MAX(pace_most_ns, (now - began_ns) * COST_FACTOR));
}

/* The earlier process keeps a socket that several hold. */
static bool held_by_elder(struct holders *h, uint64_t inode, pid_t pid)
{
	pid_t other;
	if (!holder_known(h, inode, &other) || other == pid)
		return false;
	uint64_t theirs = process_start_time(other), ours = process_start_time(pid);
	return theirs != 0 && (theirs < ours || (theirs == ours && other < pid));
}

/* Some folders open, but what is in them does not: the first entry tells. Leaves the folder at its beginning. */
static bool entries_open(DIR *dir, bool infos)
{
	char target[64];
	uint64_t mount, inode;
	struct dirent *e;
	bool open = true; /* nothing is in it */
	while ((e = readdir(dir)) != NULL) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		open = infos ? info_read(dirfd(dir), e->d_name, &mount, &inode)
			     : readlinkat(dirfd(dir), e->d_name, target, sizeof target) >= 0;
		if (open || errno == EACCES || errno == EPERM)
			break;
		open = true; /* it was closed meanwhile: the next one tells */
	}
	rewinddir(dir);
	return open;
}

static DIR *folder_open(pid_t pid, const char *name, bool infos)
{
	char path[32];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	DIR *dir = opendir(path);
	if (dir == NULL || entries_open(dir, infos))
		return dir;
	closedir(dir);
	errno = EACCES;
	return NULL;
}

/* The folder that tells of the descriptors of a process: fd, or else fdinfo. NULL: neither may be read. */
static DIR *descriptors_open(pid_t pid, bool *infos)
{
	DIR *dir = folder_open(pid, "fd", false);
	*infos = dir == NULL && errno == EACCES;
	return *infos ? folder_open(pid, "fdinfo", true) : dir;
}

static void socket_note(struct holders *h, pid_t pid, const char *name, uint64_t inode)
{
	if (h->by_inode.used >= KNOWN_INODES_MAX)
		map_clear(&h->by_inode);
	map_put(&h->by_inode, inode, (uint64_t)pid << 32 | (uint32_t)strtoul(name, NULL, 10));
}

size_t holders_look_at(struct holders *h, pid_t pid, const struct map *wanted)
{
	bool infos;
	DIR *dir = descriptors_open(pid, &infos);
	if (dir == NULL) {
		h->saw_denied |= errno == EACCES || errno == EPERM;
		return 0;
	}
	size_t found = 0;
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		uint64_t inode, unused;
		if (!isdigit((unsigned char)e->d_name[0]) ||
			!(infos ? socket_info(h, dirfd(dir), e->d_name, &inode)
				: socket_link(dirfd(dir), e->d_name, &inode)))
			continue;
		found += map_get(wanted, inode, &unused);
		if (!held_by_elder(h, inode, pid))
			socket_note(h, pid, e->d_name, inode);
	}
	closedir(dir);
	return found;
}

static bool candidates_look(struct holders *h, const struct map *wanted, uint64_t now_ns)
{
	size_t found = 0;
	for (size_t i = 0; i < h->candidate_count;) {
		struct holder_candidate *c = &h->candidates[i];
		if (process_start_time(c->pid) != c->start_time) {
			candidate_drop(h, i);
			continue;
		}
		size_t here = holders_look_at(h, c->pid, wanted);
		if (here != 0)
			c->used_ns = now_ns;
		found += here;
		i++;
	}
	pace_done(&h->candidates_pace, now_ns, found != 0);
	return found >= wanted->used;
}

static bool everybody_look(struct holders *h, const struct map *wanted, uint64_t now_ns)
{
	DIR *dir = opendir("/proc");
	if (dir == NULL)
		return true;
	h->saw_denied = false;
	size_t found = 0;
	pid_t self = getpid();
	bool whole = true;
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
		size_t here = pid != self ? holders_look_at(h, pid, wanted) : 0;
		if (here != 0)
			candidate_add(h, pid, now_ns);
		found += here;
		if (clock_now_ns() - now_ns > look_most_ns) {
			whole = false; /* a very busy machine: what was seen is noted, the rest stays unknown */
			break;
		}
	}
	closedir(dir);
	pace_done(&h->everybody_pace, now_ns, found != 0);
	return whole;
}

bool holders_look(struct holders *h, const struct map *wanted, uint64_t now_ns)
{
	if (wanted->used == 0)
		return false;
	if (h->candidate_count != 0 && pace_allows(&h->candidates_pace, now_ns)) {
		if (candidates_look(h, wanted, now_ns))
			return false;
	}
	if (!pace_allows(&h->everybody_pace, now_ns))
		return false;
	return everybody_look(h, wanted, clock_now_ns());
}
