/* names.h - is a code object that function of that file? */
#ifndef SLOWPROXY_SAMPLER_NAMES_H
#define SLOWPROXY_SAMPLER_NAMES_H

#include <slowproxy/pystack.h>

/* NULL: any. The file is told by its end, the function as qualified; before Python 3.11 there is only its last part. */
bool code_is(const struct py_code *code, const char *file_end, const char *function);

#endif
