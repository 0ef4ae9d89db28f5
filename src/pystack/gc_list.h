/* gc_list.h - the objects that Python's collector knows, by their type: how things are found that nothing else leads to. */
#ifndef PYSTACK_GC_LIST_H
#define PYSTACK_GC_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct py_process;

/* Is an object of this type wanted? */
typedef bool gc_wanted_fn(struct py_process *p, uint64_t type);
/* Adds the wanted objects to `found`, at most max of them in all. Young ones only: those of the two youngest lists, where what
 * was made since a moment is. false: this Python has no such lists, or one could not be read to its end. */
bool gc_find(struct py_process *p, uint64_t interp, bool young_only, gc_wanted_fn *wanted, uint64_t *found,
	size_t *count, size_t max);

#endif
