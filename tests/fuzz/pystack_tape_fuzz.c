/* pystack_tape_fuzz.c - a process whose memory is hostile: a real tape, overwritten as the input says.
 *
 * The input is edits of 11 bytes: where (4, counted in bytes of the tape), how (1), with what (6). Without a tape at
 * hand the input itself is the tape.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "tape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EDIT_BYTES = 11, TAPE_BYTES_MAX = 1 << 20, LOOKS = 2 };

/* One without and one with offsets of its own. */
static const char *const names[] = { "3.11.2", "3.15.2" };
static struct {
	uint8_t *bytes;
	size_t len;
} tapes[2];

/* A tape beside the sources, wherever we were built. */
static void load_tape(unsigned i)
{
	char path[1024];
	snprintf(path, sizeof path, "%s", __FILE__);
	char *folder = strstr(path, "fuzz/");
	tapes[i].bytes = malloc(TAPE_BYTES_MAX);
	if (folder == NULL || tapes[i].bytes == NULL)
		abort();
	snprintf(folder, sizeof path - (size_t)(folder - path), "pystack/tapes/%s.tape", names[i]);
	FILE *f = fopen(path, "rb");
	tapes[i].len = f ? fread(tapes[i].bytes, 1, TAPE_BYTES_MAX, f) : 0;
	if (f != NULL)
		fclose(f);
}

/* One edit: a byte, a word, a word copied from elsewhere on the tape, or a word moved a little. */
static void edit(uint8_t *tape, size_t len, const uint8_t *e)
{
	uint32_t where;
	uint64_t word = 0;
	memcpy(&where, e, sizeof where);
	memcpy(&word, e + 5, 6);
	where %= (uint32_t)(len - 8);
	switch (e[4] % 4) {
	case 0:
		tape[where] = e[5];
		break;
	case 1:
		memcpy(tape + where, &word, sizeof word);
		break;
	case 2:
		memcpy(tape + where, tape + word % (len - 8), sizeof word);
		break;
	default: {
		uint64_t old;
		memcpy(&old, tape + (where & ~7u), sizeof old);
		old += (word & 0xff) * 8;
		memcpy(tape + (where & ~7u), &old, sizeof old);
	}
	}
}

static void look_at(const void *bytes, size_t len)
{
	static const struct py_wants everything = { .states = true, .tasks = true };
	struct mem *mem = mem_tape(bytes, len);
	struct py_process *p = NULL;
	struct py_sample sample;
	struct buf why = { 0 };
	if (mem != NULL && process_open_memory(mem, &p, &why) == PY_OK) {
		for (unsigned i = 0; i < LOOKS; i++)
			(void)py_process_sample(p, &everything, &sample);
		(void)py_process_code_unchanged(p);
	}
	py_process_close(p);
	buf_clear(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned i = size % 2;
	if (tapes[i].bytes == NULL)
		load_tape(i);
	look_at(data, size);
	size_t tape_len = tapes[i].len;
	if (tape_len == 0)
		return 0;
	uint8_t *copy = malloc(tape_len);
	if (copy == NULL)
		abort();
	memcpy(copy, tapes[i].bytes, tape_len);
	for (; size >= EDIT_BYTES; data += EDIT_BYTES, size -= EDIT_BYTES)
		edit(copy, tape_len, data);
	look_at(copy, tape_len);
	free(copy);
	return 0;
}
