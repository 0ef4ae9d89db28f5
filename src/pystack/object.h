/* object.h - Python's containers and the types we care for, as far as we need them. */
#ifndef PYSTACK_OBJECT_H
#define PYSTACK_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/map.h>
#include <slowproxy/base/mem.h>

struct py_process;

enum type_kind {
	TYPE_UNKNOWN, /* not readable as a type */
	TYPE_OTHER,
	TYPE_COROUTINE,
	TYPE_GENERATOR,
	TYPE_ASYNC_GENERATOR,
	TYPE_AWAITS_NEXT, /* a thin object around what is awaited: asend, athrow, coroutine_wrapper */
	TYPE_INT,
	TYPE_BOOL,
	TYPE_FLOAT,
	TYPE_TEXT,
	TYPE_CODE,
	TYPE_NONE,
	TYPE_BYTES,
	TYPE_DICT,
	TYPE_SET,
	TYPE_LIST,
	TYPE_TUPLE,
	TYPE_CELL,
	TYPE_FUNCTION,
	TYPE_METHOD,
	TYPE_BUILTIN,
	TYPE_WAKEUP, /* what wakes a task, where that is an object of its own */
	TYPE_PARTIAL,
	TYPE_TASK,
	TYPE_FUTURE,
	TYPE_FRAME,
	TYPE_GREENLET,
	TYPE_LOCK,
	TYPE_RLOCK
};

/* From the address of a type object to what it is; types live as long as the process, near enough. */
struct type_table {
	struct map kinds;
};
void types_clear(struct type_table *t);

enum type_kind type_kind_of(struct py_process *p, uint64_t type);
/* As the type calls itself: "dict", "datetime.date", "Order"; cut where it does not fit. */
MUST_CHECK bool type_name_read(struct py_process *p, uint64_t type, char *out, size_t out_bytes);
/* Is this the type of code objects, or of str? The address tells, once it is known. */
bool type_is_code(struct py_process *p, uint64_t type);
bool type_is_text(struct py_process *p, uint64_t type);
/* The kind of the object at addr. */
enum type_kind object_kind(struct py_process *p, uint64_t addr);

/* Entries of a dict; free both with entries_clear. */
struct entries {
	uint64_t *keys, *values;
	size_t count;
};
MUST_CHECK bool dict_entries(struct py_process *p, uint64_t dict, struct entries *out);
void entries_clear(struct entries *e);
/* The value under a str key. */
MUST_CHECK bool dict_get(struct py_process *p, uint64_t dict, const char *key, uint64_t *value);
/* An attribute of an instance of a Python class (in its dict or its values, not a slot). */
MUST_CHECK bool attr_get(struct py_process *p, uint64_t object, const char *name, uint64_t *value);
/* The members of a set, in no order; *members is owned by the caller. Bounded by max. */
MUST_CHECK bool set_members(
	struct py_process *p, uint64_t set, size_t max, uint64_t **members, size_t *count);
/* An int that is not negative and fits. */
MUST_CHECK bool int_read(struct py_process *p, uint64_t addr, uint64_t *value);
/* A module of sys.modules, by its full name: the address of its dict. */
MUST_CHECK bool module_dict(struct py_process *p, uint64_t interp, const char *name, uint64_t *dict);

#endif
