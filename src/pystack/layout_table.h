/* layout_table.h - where every field lies, in every version: x86_64, bytes from the start of its object.
 *
 * Each line is a fact for each column: a field that a column forgets does not compile. NO: this version has no such field.
 * From installed headers (offsetof), confirmed on living interpreters. From 3.13 on a process carries a table of its own, which
 * overrides the column (layout_offsets.c); the column is what that table lacks. A `t` marks the builds without a GIL.
 */
#ifndef PYSTACK_LAYOUT_TABLE_H
#define PYSTACK_LAYOUT_TABLE_H

#define NO PY_NONE

/* clang-format off */
#define PY_LAYOUT_FIELDS(F) \
	/*                              3.8     3.9    3.10    3.11    3.12    3.13    3.14    3.15   3.13t   3.14t   3.15t */ \
	F(runtime,  interpreters,        32,     32,     32,     40,     40,    632,    808,    936,    632,    808,    936) \
	F(runtime,  current_thread,    1368,    568,    568,    576,     NO,     NO,     NO,     NO,     NO,     NO,     NO) \
	F(runtime,  gil,               1152,    352,    352,    360,     NO,     NO,     NO,     NO,     NO,     NO,     NO) \
	F(runtime,  collecting,         544,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO) \
	F(gil,      size,               208,    208,    208,    208,    208,    208,    208,    208,    216,    216,    216) \
	F(gil,      enabled,             NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO,      0,      0,      0) \
	F(gil,      holder,               8,      8,      8,      8,      8,      8,      8,      8,     16,     16,     16) \
	F(gil,      locked,              16,     16,     16,     16,     16,     16,     16,     16,     24,     24,     24) \
	F(interp,   next,                 0,      0,      0,      0,      0,   7264,   7272,   7264,   7264,   7272,   7264) \
	F(interp,   threads,              8,      8,      8,     16,     72,   7344,   7344,   7336,   7344,   7344,   7336) \
	F(interp,   modules,             56,    856,    856,    888,    944,   7656,   7688,   7592,   7664,   7712,   7592) \
	F(interp,   gil,                 NO,     NO,     NO,     NO,    384,     16,     16,     16,     16,     16,     16) \
	F(interp,   collecting,          NO,    816,    816,    848,    312,   7600,   7600,   7512,   7600,   7600,   7512) \
	F(interp,   stopper,             NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO,  10760,  10864,  10816) \
	F(interp,   size,                NO,     NO,     NO,     NO,     NO, 194984, 225864, 226240, 215616, 249976, 250328) \
	F(gc,       lists,              176,    176,    176,    176,    176,    176,    168,    104,     NO,     NO,     NO) /* before interp.collecting */ \
	F(gc,       frozen,              96,     96,     96,     96,     96,     96,     96,     32,     NO,     NO,     NO) \
	F(tstate,   prev,                 0,      0,      0,      0,      0,      0,      0,      0,      0,      0,      0) \
	F(tstate,   next,                 8,      8,      8,      8,      8,      8,      8,      8,      8,      8,      8) \
	F(tstate,   interp,              16,     16,     16,     16,     16,     16,     16,     16,     16,     16,     16) \
	F(tstate,   frame,               24,     24,     24,     56,     56,     72,     72,     72,     72,     72,     72) \
	F(tstate,   pthread,            176,    176,    176,    152,    136,    152,    152,    176,    152,    152,    176) \
	F(tstate,   native_id,           NO,     NO,     NO,    160,    144,    160,    160,    184,    160,    160,    184) \
	F(tstate,   id,                 256,    256,    256,    240,    224,    224,    224,    248,    224,    224,    248) \
	F(tstate,   state,               NO,     NO,     NO,     NO,     NO,     40,     44,     48,     40,     44,     48) \
	F(tstate,   sections,            NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO,    176,    176,    200) \
	F(tstate,   chunk,               NO,     NO,     NO,    296,    232,    232,    232,    256,    232,    232,    256) \
	F(tstate,   chunk_top,           NO,     NO,     NO,    304,    240,    240,    240,    264,    240,    240,    264) \
	F(pthread,  tid,                720,    720,    720,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO) \
	F(cframe,   frame,               NO,     NO,     NO,      8,      0,     NO,     NO,     NO,     NO,     NO,     NO) \
	F(chunk,    previous,            NO,     NO,     NO,      0,      0,      0,      0,      0,      0,      0,      0) \
	F(chunk,    size,                NO,     NO,     NO,      8,      8,      8,      8,      8,      8,      8,      8) \
	F(chunk,    top,                 NO,     NO,     NO,     16,     16,     16,     16,     16,     16,     16,     16) \
	F(chunk,    data,                NO,     NO,     NO,     24,     24,     24,     24,     24,     24,     24,     24) \
	F(chunk,    first_frame,         NO,     NO,     NO,     32,     32,     32,     32,     32,     32,     32,     32) \
	F(frame,    size,               120,    120,    112,     72,     72,     72,     80,     80,     72,     80,     80) \
	F(frame,    code,                32,     32,     32,     32,      0,      0,      0,      0,      0,      0,      0) \
	F(frame,    previous,            24,     24,     24,     48,      8,      8,      8,      8,      8,      8,      8) \
	F(frame,    ip,                 104,    104,     96,     56,     56,     56,     56,     56,     56,     56,     56) \
	F(frame,    stack_depth,         NO,     NO,     80,     64,     64,     64,     NO,     NO,     64,     NO,     NO) \
	F(frame,    function,            NO,     NO,     NO,      0,     16,     16,     16,     16,     16,     16,     16) \
	F(frame,    is_entry,            NO,     NO,     NO,     68,     NO,     NO,     NO,     NO,     NO,     NO,     NO) \
	F(frame,    owner,               NO,     NO,     NO,     69,     70,     70,     74,     74,     70,     78,     78) \
	F(frame,    locals,             360,    360,    352,     72,     72,     72,     80,     80,     72,     80,     80) \
	F(frame,    generator,           96,     96,     88,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO) \
	F(frame,    state,              116,    116,    108,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO) \
	F(frame,    stack,               64,     64,     64,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO) \
	F(frame,    stack_top,           72,     72,     NO,     NO,     NO,     NO,     64,     64,     NO,     64,     64) \
	F(frame,    tlbc,                NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     72,     72) \
	F(frame_object, frame,           NO,     NO,     NO,     24,     24,     24,     24,     24,     40,     40,     40) \
	F(code,     size,               128,    128,    128,    184,    192,    200,    208,    208,    216,    232,    232) \
	F(code,     units,               NO,     NO,     NO,     16,     16,     16,     16,     16,     32,     32,     32) \
	F(code,     filename,           104,    104,    104,    112,    112,    112,    112,    112,    128,    128,    128) \
	F(code,     name,               112,    112,    112,    128,    128,    128,    128,    128,    144,    144,    144) \
	F(code,     line_table,         120,    120,    120,    136,    136,    136,    136,    136,    152,    152,    152) \
	F(code,     first_line,          40,     40,     40,     72,     68,     68,     68,     68,     84,     84,     84) \
	F(code,     local_count,         NO,     NO,     NO,     76,     72,     72,     72,     72,     88,     88,     88) \
	F(code,     stack_size,          NO,     NO,     NO,     68,     64,     64,     64,     64,     80,     80,     80) \
	F(code,     frame_size,          NO,     NO,     NO,     NO,     76,     76,     76,     76,     92,     92,     92) \
	F(code,     instructions,        NO,     NO,     NO,    184,    192,    200,    208,    208,    216,    232,    232) \
	F(code,     bytes,               48,     48,     48,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO) \
	F(code,     local_names,         NO,     NO,     NO,     96,     96,     96,     96,     96,    112,    112,    112) \
	F(code,     local_kinds,         NO,     NO,     NO,    104,    104,    104,    104,    104,    120,    120,    120) \
	F(code,     varnames,            72,     72,     72,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO) \
	F(code,     cellvars,            88,     88,     88,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO) \
	F(code,     freevars,            80,     80,     80,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO) \
	F(code,     first_traceable,     NO,     NO,     NO,    168,    176,    184,    192,    192,    200,    208,    208) \
	F(code,     tlbc,                NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO,    224,    224) \
	F(gen,      frame,               16,     16,     16,     80,     72,     72,     72,     72,     88,     88,     88) \
	F(gen,      state,               NO,     NO,     NO,     75,     67,     67,     67,     67,     83,     83,     83) \
	F(object,   mutex,               NO,     NO,     NO,     NO,     NO,     NO,     NO,     NO,     10,     10,     10) \
	F(object,   type,                 8,      8,      8,      8,      8,      8,      8,      8,     24,     24,     24) \
	F(text,     length,              16,     16,     16,     16,     16,     16,     16,     16,     32,     32,     32) \
	F(text,     state,               32,     32,     32,     32,     32,     32,     32,     32,     48,     48,     48) \
	F(text,     ascii_data,          48,     48,     48,     48,     40,     40,     40,     40,     56,     56,     56) \
	F(text,     wide_data,           72,     72,     72,     72,     56,     56,     56,     56,     72,     72,     72) \
	F(bytes,    length,              16,     16,     16,     16,     16,     16,     16,     16,     32,     32,     32) \
	F(bytes,    data,                32,     32,     32,     32,     32,     32,     32,     32,     48,     48,     48) \
	F(integer,  size,                16,     16,     16,     16,     16,     16,     16,     16,     32,     32,     32) \
	F(integer,  digits,              24,     24,     24,     24,     24,     24,     24,     24,     40,     40,     40) \
	F(dict,     keys,                32,     32,     32,     32,     32,     32,     32,     32,     48,     48,     48) \
	F(dict,     values,              40,     40,     40,     40,     40,     40,     40,     40,     56,     56,     56) \
	F(set,      mask,                32,     32,     32,     32,     32,     32,     32,     32,     48,     48,     48) \
	F(set,      table,               40,     40,     40,     40,     40,     40,     40,     40,     56,     56,     56) \
	F(type,     name,                24,     24,     24,     24,     24,     24,     24,     24,     40,     40,     40) \
	F(type,     flags,              168,    168,    168,    168,    168,    168,    168,    168,    184,    184,    184) \
	F(type,     dict_offset,        288,    288,    288,    288,    288,    288,    288,    288,    304,    304,    304) \
	F(type,     cached_keys,         NO,     NO,     NO,    872,    880,    880,    880,    888,    896,    896,    904) \
	F(type,     size,                32,     32,     32,     32,     32,     32,     32,     32,     48,     48,     48) \
	F(type,     members,            240,    240,    240,    240,    240,    240,    240,    240,    256,    256,    256) \
	F(type,     base,               256,    256,    256,    256,    256,    256,    256,    256,    272,    272,    272) \
	F(module,   dict,                16,     16,     16,     16,     16,     16,     16,     16,     32,     32,     32) \
	F(weakref,  object,              16,     16,     16,     16,     16,     16,     16,     16,     32,     32,     32) \
	F(wrapper,  wrapped,             16,     16,     16,     16,     16,     16,     16,     16,     32,     32,     32) \
	F(task,     size,               144,    184,    192,    176,    176,    144,    168,    168,    160,    192,    192) \
	F(task,     state,               72,     80,     88,     88,     88,     96,    104,    104,    112,    120,    120) \
	F(task,     coro,               112,    152,    160,    136,    136,    120,    128,    128,    136,    144,    144) \
	F(task,     name,               120,    160,    168,    144,    144,    128,    136,    136,    144,    152,    152) \
	F(task,     waiter,             104,    144,    152,    128,    128,    112,    120,    120,    128,    136,    136) \
	F(future,   callback,            24,     24,     24,     24,     24,     24,     24,     24,     40,     40,     40) \
	F(future,   callbacks,           40,     40,     40,     40,     40,     40,     40,     40,     56,     56,     56) \
	F(sequence, count,               16,     16,     16,     16,     16,     16,     16,     16,     32,     32,     32) \
	F(tuple,    items,               24,     24,     24,     24,     24,     24,     32,     32,     40,     48,     48) \
	F(list,     items,               24,     24,     24,     24,     24,     24,     24,     24,     40,     40,     40) \
	F(cell,     value,               16,     16,     16,     16,     16,     16,     16,     16,     32,     32,     32) \
	F(function, closure,             48,     48,     72,     72,     72,     72,     72,     72,     88,     88,     88) \
	F(method,   self,                24,     24,     24,     24,     24,     24,     24,     24,     40,     40,     40) \
	F(builtin,  self,                24,     24,     24,     24,     24,     24,     24,     24,     40,     40,     40) \
	F(partial,  arguments,           24,     24,     24,     24,     24,     24,     24,     24,     40,     40,     40) \
	F(lock,     inner,               16,     16,     16,     16,     16,     16,     16,     16,     32,     32,     32) \
	F(lock,     owner,               24,     24,     24,     24,     24,     24,     24,     24,     40,     40,     40) \
	F(real,     value,               16,     16,     16,     16,     16,     16,     16,     16,     32,     32,     32)
/* clang-format on */

#endif
