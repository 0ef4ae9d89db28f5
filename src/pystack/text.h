/* text.h - Python str to UTF-8. */
#ifndef PYSTACK_TEXT_H
#define PYSTACK_TEXT_H

#include "process.h"

/* Reads the str at addr into out as UTF-8, cut at a whole character when it does not fit. False: not a sane str. */
MUST_CHECK bool text_read(struct py_process *p, uint64_t addr, char *out, size_t out_bytes);

/* The same for many at once, in two reads. texts[i].ok says which were sane. */
struct text {
	uint64_t addr;
	char *out;
	size_t out_bytes;
	bool ok;
};
void texts_read(struct py_process *p, struct text *texts, size_t count);

#endif
