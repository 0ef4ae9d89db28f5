/* process.c - this process as every Prometheus client tells of its own: CPU, memory, descriptors. */
#include <slowproxy/metrics.h>

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>

struct self {
	uint64_t cpu_ticks, start_ticks, virtual_bytes, resident_pages;
};

/* Fields of /proc/self/stat behind the name, which may hold anything (proc(5)). */
static bool self_read(struct self *out)
{
	char text[1024] = "";
	unsigned long long utime, stime, start, vsize;
	long long rss;
	FILE *f = fopen("/proc/self/stat", "re");
	if (f == NULL)
		return false;
	size_t n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = '\0';
	const char *behind = strrchr(text, ')');
	if (behind == NULL || sscanf(behind + 1,
				      " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d"
				      " %*d %*d %*d %llu %llu %lld",
				      &utime, &stime, &start, &vsize, &rss) != 5)
		return false;
	*out = (struct self){ utime + stime, start, vsize, (uint64_t)rss };
	return true;
}

static uint64_t boot_wall_s(void)
{
	char line[256];
	uint64_t seconds = 0;
	FILE *f = fopen("/proc/stat", "re");
	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "btime %" SCNu64, &seconds) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return seconds;
}

static uint64_t descriptors_open(void)
{
	uint64_t count = 0;
	DIR *dir = opendir("/proc/self/fd");
	if (dir == NULL)
		return 0;
	for (struct dirent *d; (d = readdir(dir)) != NULL;)
		count += d->d_name[0] != '.';
	closedir(dir);
	return count - (count != 0); /* the directory itself */
}

static void gauge(struct exposition *e, const char *name, const char *unit, const char *help, uint64_t value)
{
	exposition_family(e, name, EXPOSITION_GAUGE, unit, help);
	exposition_u64(e, value);
}

void metrics_write_process(struct exposition *e)
{
	struct self self;
	struct rlimit limit;
	uint64_t tick_ns = NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
	if (self_read(&self)) {
		exposition_family(e, "process_cpu_seconds", EXPOSITION_COUNTER, "seconds",
			"CPU time of the process that carries the traffic.");
		exposition_seconds(e, self.cpu_ticks * tick_ns);
		exposition_family(e, "process_start_time_seconds", EXPOSITION_GAUGE, "seconds",
			"When that process started, since 1970.");
		exposition_seconds(e, boot_wall_s() * NS_PER_S + self.start_ticks * tick_ns);
		gauge(e, "process_resident_memory_bytes", "bytes", "Its memory in RAM.",
			self.resident_pages * (uint64_t)sysconf(_SC_PAGESIZE));
		gauge(e, "process_virtual_memory_bytes", "bytes", "Its address space.", self.virtual_bytes);
	}
	gauge(e, "process_open_fds", "", "Its open descriptors.", descriptors_open());
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		gauge(e, "process_max_fds", "", "How many descriptors it may open.", limit.rlim_cur);
}
