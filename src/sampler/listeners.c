/* listeners.c - who listens at an address: from the tables of /proc/net to the processes that hold the sockets.
 *
 * It looks through the same windows as the sampler at work (holder.c), so it finds what that would find.
 */
#include <slowproxy/sampler.h>

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "holder.h"

enum { STATE_LISTEN = 10, NAMESPACES_MAX = 64 };

static void tcp_table_add(const char *root, const char *table, uint16_t port, struct map *inodes)
{
	char path[64], line[512];
	snprintf(path, sizeof path, "%s/net/%s", root, table);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return;
	while (fgets(line, sizeof line, f) != NULL) {
		unsigned local_port, state;
		uint64_t inode;
		if (sscanf(line, " %*u: %*[0-9A-F]:%x %*s %x %*s %*s %*s %*u %*u %" SCNu64, &local_port,
			    &state, &inode) == 3 &&
			state == STATE_LISTEN && local_port == port && inode != 0)
			map_put(inodes, inode, 1);
	}
	fclose(f);
}

static void unix_table_add(const char *root, const char *path, struct map *inodes)
{
	char table[64], line[512], found[256];
	snprintf(table, sizeof table, "%s/net/unix", root);
	FILE *f = fopen(table, "re");
	if (f == NULL)
		return;
	while (fgets(line, sizeof line, f) != NULL) {
		unsigned flags;
		uint64_t inode;
		const unsigned accepts = 1u << 16;
		if (sscanf(line, "%*s %*x %*x %x %*x %*x %" SCNu64 " %255s", &flags, &inode, found) == 3 &&
			(flags & accepts) != 0 && strcmp(found, path) == 0)
			map_put(inodes, inode, 1);
	}
	fclose(f);
}

static void namespace_add(const char *root, const char *path, uint16_t port, struct map *inodes)
{
	if (path != NULL) {
		unix_table_add(root, path, inodes);
		return;
	}
	tcp_table_add(root, "tcp", port, inodes);
	tcp_table_add(root, "tcp6", port, inodes);
}

static pid_t pid_of_entry(const struct dirent *e)
{
	return isdigit((unsigned char)e->d_name[0]) ? (pid_t)strtol(e->d_name, NULL, 10) : 0;
}

/* Our own network namespace first, then each other one that some visible process lives in. */
static void inodes_find(const char *path, uint16_t port, struct map *inodes)
{
	char seen[NAMESPACES_MAX][64] = { "" };
	size_t seen_count = readlink("/proc/self/ns/net", seen[0], sizeof seen[0] - 1) > 0;
	namespace_add("/proc/self", path, port, inodes);
	DIR *dir = opendir("/proc");
	for (struct dirent *e; dir != NULL && seen_count < NAMESPACES_MAX && (e = readdir(dir)) != NULL;) {
		char root[32], link[48], name[64] = "";
		pid_t pid = pid_of_entry(e);
		snprintf(root, sizeof root, "/proc/%d", (int)pid);
		snprintf(link, sizeof link, "%s/ns/net", root);
		if (pid == 0 || readlink(link, name, sizeof name - 1) <= 0)
			continue;
		bool known = false;
		for (size_t i = 0; i < seen_count; i++)
			known |= strcmp(seen[i], name) == 0;
		if (known)
			continue;
		memcpy(seen[seen_count++], name, sizeof name);
		namespace_add(root, path, port, inodes);
	}
	if (dir != NULL)
		closedir(dir);
}

void sampler_find_listeners(const char *path, uint16_t port, struct sampler_listeners *out)
{
	struct map inodes = { 0 };
	struct holders holders = { 0 };
	*out = (struct sampler_listeners){ 0 };
	inodes_find(path, port, &inodes);
	out->socket_seen = inodes.used != 0;
	DIR *dir = opendir("/proc");
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		pid_t pid = pid_of_entry(e);
		if (pid == 0 || pid == getpid() || out->count == SAMPLER_LISTENERS_MAX)
			continue;
		if (holders_look_at(&holders, pid, &inodes) != 0)
			out->pids[out->count++] = pid;
		map_clear(&holders.by_inode);
	}
	if (dir != NULL)
		closedir(dir);
	out->saw_denied = holders.saw_denied;
	holders_clear(&holders);
	map_clear(&inodes);
}

bool sampler_may_list(pid_t pid)
{
	struct map none = { 0 };
	struct holders holders = { 0 };
	(void)holders_look_at(&holders, pid, &none);
	holders_clear(&holders);
	return !holders.saw_denied;
}
