/* marks.h - a few functions of the standard library and of servers that tell what a thread is doing. */
#ifndef PYSTACK_MARKS_H
#define PYSTACK_MARKS_H

#include <stdbool.h>

enum mark {
	MARK_NONE,
	MARK_LOOP,     /* the event loop itself: below it, nothing but the selector means idle */
	MARK_SELECTOR, /* asks the system which files are ready */
	MARK_WAITING,  /* plumbing of a wait: what it waits for is told by the frame that called it */
	MARK_WORKER, /* takes jobs from a queue by itself: idle when it is the leaf, or only plumbing is above it */
	MARK_QUEUED_WORKER /* the same, but its leaf may also be a job in C: idle only with plumbing above it */
};

/* With plain names `wait` stands for `Condition.wait`. */
/* Is it a file of the standard library or of what is installed beside it? */
bool mark_library(const char *file);

enum mark mark_of(const char *file, const char *function, bool plain_names);

#endif
