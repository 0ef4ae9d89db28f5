/* frame.h - the chain of frames of one thread: walked in what was read together, proven by where each frame lies.
 *
 * The frames of a thread lie one on the other on its data stack, each as long as its code object asks for. So a frame
 * proves the next: older address + older length == younger address. A torn read breaks that sum.
 */
#ifndef PYSTACK_FRAME_H
#define PYSTACK_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include <slowproxy/pystack.h>

#include "layout.h"

struct code;
struct thread;

enum { FRAMES_MAX = 1024, FRAMES_LEAF_KEPT = 768 };

/* A frame as its bytes tell it. */
struct frame_words {
	uint64_t code, previous, ip;
	uint64_t function;  /* what was called, when its caller still shows it; else 0 */
	uint64_t stack_end; /* just past the last value of its stack, when that was saved; 0 unknown */
	int32_t copy; /* which copy of the instructions it runs: each thread may have its own; 0 the first */
	uint8_t owner;
	bool from_c;    /* a run of the interpreter begins with it: C called it, and no shim says so */
	bool counted;   /* ip is bytes from the first instruction, not an address */
	bool executing; /* it is not known to stand still */
};

/* A frame as the walk found it. */
struct raw_frame {
	const struct code *code;
	int32_t unit;
	enum py_frame_kind kind;
	bool from_c;   /* C called it */
	uint64_t addr; /* where the frame lies */
};

typedef uint64_t frame_top_fn(const struct py_layout *l, const struct thread *t);
typedef void frame_decode_fn(
	const struct py_layout *l, uint64_t addr, const uint8_t *bytes, struct frame_words *out);
frame_top_fn *frame_top_finder(enum frame_top kind);
frame_decode_fn *frame_decoder(enum frame_shape kind);
frame_decode_fn frame_decode_object; /* frame_object.c */

/* Walks from the running frame to the root, into t->chain. False when something could not be proven. */
bool frames_walk(struct py_process *p, struct thread *t);
/* From t->chain to t->frames, with lines; what is too deep loses its middle. */
void frames_resolve(struct thread *t);
/* One frame, not on a thread: that of a suspended coroutine. False when it makes no sense. */
MUST_CHECK bool frame_resolve(struct py_process *p, const struct frame_words *words, struct raw_frame *out);
/* As shown to others. */
struct py_frame frame_face(const struct raw_frame *raw);

#endif
