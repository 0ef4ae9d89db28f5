/* greenlet.h - suspended greenlets: stacks that no thread has, and that no list names. */
#ifndef PYSTACK_GREENLET_H
#define PYSTACK_GREENLET_H

#include <slowproxy/base/map.h>
#include <slowproxy/pystack.h>

struct greenlet;

struct greenlet_table {
	bool used;                 /* the process has imported greenlet */
	uint64_t asked_ns;         /* when that was last asked */
	uint64_t all_ns, young_ns; /* when all objects, the young ones, were last searched */
	uint32_t top_at;           /* where its state names the innermost frame; 0 not known yet */
	struct map types;          /* type -> is it one of greenlets? */
	struct map known;          /* address -> its place in all */
	struct greenlet *all;
	size_t count, capacity;
	struct py_greenlet *out;
	size_t out_count, out_capacity;
	bool cut;
};

/* Fills p->greenlets.out. While the collector runs its lists are not to be walked: then those known are shown. */
void greenlets_read(struct py_process *p, uint64_t interp, bool collecting, size_t max);
/* Code objects are forgotten: nothing that names them may be kept. */
void greenlets_forget(struct greenlet_table *t);
void greenlets_clear(struct greenlet_table *t);

#endif
