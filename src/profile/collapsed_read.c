/* collapsed_read.c - collapsed stacks back into a profile: for files that have outlived what was in memory.
 *
 *   "lane;function (file:line);...;function (file:line) N"      N samples; when each was taken is not known any more
 */
#include <slowproxy/profile.h>

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 4096, SAMPLES_MAX = 1000000 };

/* text is cut in place: "function (file:line)". */
static uint32_t frame_read(struct profile *p, char *text)
{
	size_t len = strlen(text);
	char *open = NULL;
	if (len == 0 || text[len - 1] != ')')
		return profile_add_frame(p, text, "", 0);
	for (char *at = text; (at = strstr(at, " (")) != NULL; at++)
		open = at;
	char *colon = strrchr(text, ':');
	if (open == NULL)
		return profile_add_frame(p, text, "", 0);
	text[len - 1] = '\0';
	*open = '\0';
	if (colon == NULL || colon < open)
		return profile_add_frame(p, text, open + 2, 0);
	*colon = '\0';
	return profile_add_frame(p, text, open + 2, (uint32_t)strtoul(colon + 1, NULL, 10));
}

/* false: the line is none of ours. */
static bool line_read(struct profile *p, char *line, uint64_t each_ns, uint64_t *at_ns)
{
	uint32_t frames[DEPTH_MAX], depth = 0;
	char *space = strrchr(line, ' '), *rest = line;
	if (space == NULL)
		return false;
	unsigned long count = strtoul(space + 1, NULL, 10);
	*space = '\0';
	if (count == 0 || count > SAMPLES_MAX - MIN(p->sample_count, (size_t)SAMPLES_MAX))
		return false;
	const char *lane_name = strsep(&rest, ";");
	while (rest != NULL && depth < DEPTH_MAX)
		frames[depth++] = frame_read(p, strsep(&rest, ";"));
	struct profile_sample s = { .weight_ns = each_ns,
		.lane = profile_add_lane(
			p, PROFILE_LANE_THREAD, hash_bytes(lane_name, strlen(lane_name)), lane_name),
		.stack = profile_add_stack(p, frames, depth),
		.state = PROFILE_RUNNING,
		.syscall = -1 };
	while (count-- != 0) {
		s.at_ns = *at_ns += each_ns;
		profile_add_sample(p, &s);
	}
	return true;
}

struct profile *profile_read_collapsed(char *text, uint64_t each_ns)
{
	struct profile *p = profile_new();
	uint64_t at_ns = 0;
	bool good = true;
	for (char *line; good && (line = strsep(&text, "\n")) != NULL;)
		good = *line == '\0' || line_read(p, line, each_ns, &at_ns);
	if (good)
		return p;
	profile_free(p);
	return NULL;
}
