/* dump_write.h - one look at a process as text for people, or as JSON. */
#ifndef APP_DUMP_WRITE_H
#define APP_DUMP_WRITE_H

#include <stdbool.h>

#include <slowproxy/base/map.h>
#include <slowproxy/pystack.h>

/* A look, and who in it awaits whom. Process and sample are lent. */
struct dumped {
	struct py_process *process;
	const struct py_sample *sample;
	uint64_t *
		awaited_by; /* for each task the address of the one that goes on when it is done; 0: none known */
	uint64_t *running;     /* for each thread the task that runs on it; 0: none known */
	char command[256];     /* its command line */
	struct map task_index; /* from the address of a task to its place in the sample */
	bool locals;           /* show them, too */
};

void dumped_init(struct dumped *d, struct py_process *process, const struct py_sample *sample);
void dumped_clear(struct dumped *d);
void dump_write_text(const struct dumped *d, bool coloured, struct buf *out);
void dump_write_json(const struct dumped *d, struct buf *out);

#endif
