/* profile.c - the data of a profile: equal frames, stacks and lanes have one index.
 *
 *   sample --> lane
 *          \-> stack --> frame, frame, ... (root first) --> texts
 *
 * An index maps the hash of the content to a position; two contents of one hash take the next keys in a row, and the real
 * bytes are always compared. Everything named is owned by the profile and dies with it.
 */
#include <slowproxy/profile.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

const char *const profile_state_names[PROFILE_STATE_COUNT] = {
	[PROFILE_UNKNOWN] = "unknown",
	[PROFILE_RUNNING] = "running",
	[PROFILE_BLOCKED] = "blocked",
	[PROFILE_GIL_WAIT] = "gil_wait",
	[PROFILE_IDLE] = "idle",
	[PROFILE_AWAITING] = "awaiting",
};

const char *const profile_lane_kind_names[] = {
	[PROFILE_LANE_LOOP] = "loop",
	[PROFILE_LANE_THREAD] = "thread",
	[PROFILE_LANE_TASK] = "task",
};

struct profile *profile_new(void)
{
	return xcalloc(1, sizeof(struct profile));
}

void profile_free(struct profile *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->frame_count; i++)
		free((void *)p->frames[i].function); /* one block with the file's name */
	for (size_t i = 0; i < p->stack_count; i++)
		free((void *)p->stacks[i].frames);
	for (size_t i = 0; i < p->lane_count; i++)
		free((void *)p->lanes[i].name);
	free(p->frames);
	free(p->stacks);
	free(p->lanes);
	free(p->samples);
	free(p->looks);
	map_clear(&p->frame_index);
	map_clear(&p->stack_index);
	map_clear(&p->lane_index);
	free(p);
}

static uint64_t hash_pair(uint64_t a, uint64_t b)
{
	uint64_t both[2] = { a, b };
	return hash_bytes(both, sizeof both);
}

uint32_t profile_add_frame(struct profile *p, const char *function, const char *file, uint32_t line)
{
	size_t function_bytes = strlen(function) + 1, file_bytes = strlen(file) + 1;
	uint64_t key = hash_pair(hash_bytes(function, function_bytes), hash_bytes(file, file_bytes) + line);
	uint64_t found;
	for (; map_get(&p->frame_index, key, &found); key++) {
		const struct profile_frame *f = &p->frames[found];
		if (f->line == line && strcmp(f->function, function) == 0 && strcmp(f->file, file) == 0)
			return (uint32_t)found;
	}

	char *texts = xmalloc(function_bytes + file_bytes);
	memcpy(texts, function, function_bytes);
	memcpy(texts + function_bytes, file, file_bytes);
	p->frames = array_grow(p->frames, &p->frame_capacity, p->frame_count, sizeof *p->frames);
	p->frames[p->frame_count] = (struct profile_frame){ texts, texts + function_bytes, line };
	map_put(&p->frame_index, key, p->frame_count);
	return (uint32_t)p->frame_count++;
}

uint32_t profile_add_stack(struct profile *p, const uint32_t *frames, uint32_t depth)
{
	size_t bytes = depth * sizeof *frames;
	uint64_t key = hash_bytes(frames, bytes);
	uint64_t found;
	for (; map_get(&p->stack_index, key, &found); key++) {
		const struct profile_stack *s = &p->stacks[found];
		if (s->depth == depth && (depth == 0 || memcmp(s->frames, frames, bytes) == 0))
			return (uint32_t)found;
	}

	uint32_t *copy = NULL;
	if (depth != 0)
		copy = memcpy(xmalloc(bytes), frames, bytes);
	p->stacks = array_grow(p->stacks, &p->stack_capacity, p->stack_count, sizeof *p->stacks);
	p->stacks[p->stack_count] = (struct profile_stack){ copy, depth };
	map_put(&p->stack_index, key, p->stack_count);
	return (uint32_t)p->stack_count++;
}

uint32_t profile_add_lane(struct profile *p, enum profile_lane_kind kind, uint64_t id, const char *name)
{
	uint64_t key = hash_pair(id, kind);
	uint64_t found;
	for (; map_get(&p->lane_index, key, &found); key++)
		if (p->lanes[found].kind == kind && p->lanes[found].id == id)
			return (uint32_t)found;

	p->lanes = array_grow(p->lanes, &p->lane_capacity, p->lane_count, sizeof *p->lanes);
	p->lanes[p->lane_count] = (struct profile_lane){ .kind = kind, .id = id, .name = xstrdup(name) };
	map_put(&p->lane_index, key, p->lane_count);
	return (uint32_t)p->lane_count++;
}

void profile_add_sample(struct profile *p, const struct profile_sample *s)
{
	p->samples = array_grow(p->samples, &p->sample_capacity, p->sample_count, sizeof *p->samples);
	p->samples[p->sample_count++] = *s;
}

void profile_add_look(struct profile *p, const struct profile_look *l)
{
	p->looks = array_grow(p->looks, &p->look_capacity, p->look_count, sizeof *p->looks);
	p->looks[p->look_count++] = *l;
}

/* "/usr/lib/python3.11/", "/root/.pyenv/versions/3.13.0t/lib/python3.13t/", "/usr/lib64/python3.9/". */
static bool is_standard_library(const char *file)
{
	for (const char *at = strstr(file, "/lib"); at != NULL; at = strstr(at + 1, "/lib")) {
		const char *p = at + 4;
		if (strncmp(p, "64", 2) == 0)
			p += 2;
		if (strncmp(p, "/python3.", 9) != 0)
			continue;
		p += 9;
		while (isalnum((unsigned char)*p))
			p++;
		if (*p == '/')
			return true;
	}
	return strstr(file, ".zip/") != NULL &&
	       strstr(file, "/python3") != NULL; /* the embeddable python311.zip */
}

/* "/usr/bin/uvicorn": the few lines that pip writes to start a program. */
static bool is_launcher(const char *file)
{
	const char *slash = strrchr(file, '/');
	return slash != NULL && slash - file >= 4 && strncmp(slash - 4, "/bin", 4) == 0 &&
	       strchr(slash, '.') == NULL;
}

bool profile_frame_is_user(const struct profile_frame *f)
{
	if (f->file[0] == '\0' ||
		f->file[0] == '<') /* unknown, <frozen importlib>, <string> of a dataclass */
		return false;
	if (strstr(f->file, "/site-packages/") != NULL || strstr(f->file, "/dist-packages/") != NULL)
		return false;
	return !is_standard_library(f->file) && !is_launcher(f->file);
}
