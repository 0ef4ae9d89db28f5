/* board.c - what the event loops of the proxy tell each other.
 *
 *   notices   a ring of requests, found by span       a culprit or a victim may have come in by another loop
 *   held      a ring of who held which worker's loop, and up to when that was told
 *
 * Some 800 KiB, one lock. It is asked only while requests are armed, so by slow ones and those beside them.
 */
#include "board.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <slowproxy/base/map.h>

enum { NOTICES_MAX = 1024, HELD_MAX = 256 };

struct held {
	uint64_t span; /* 0: of no request */
	int32_t pid;
	uint64_t told_until_ns;
	uint64_t pending_ns; /* of a request that is under way */
};

struct capture_board {
	pthread_mutex_t lock;
	atomic_int armed;
	atomic_int pending; /* rows of held with time that is not counted yet */
	struct notice notices[NOTICES_MAX];
	size_t noticed;
	struct map by_span; /* span -> index of its notice */
	struct held held[HELD_MAX];
	size_t held_count;
};

struct capture_board *capture_board_new(void)
{
	struct capture_board *b = xcalloc(1, sizeof *b);
	pthread_mutex_init(&b->lock, NULL);
	return b;
}

void capture_board_free(struct capture_board *b)
{
	if (b == NULL)
		return;
	pthread_mutex_destroy(&b->lock);
	map_clear(&b->by_span);
	free(b);
}

void board_armed(struct capture_board *b, int more)
{
	atomic_fetch_add_explicit(&b->armed, more, memory_order_relaxed);
}

bool board_listens(struct capture_board *b)
{
	return atomic_load_explicit(&b->armed, memory_order_relaxed) > 0 ||
	       atomic_load_explicit(&b->pending, memory_order_relaxed) > 0;
}

/* --- notices --- */
static struct notice *notice_of(struct capture_board *b, uint64_t span)
{
	uint64_t at;
	return map_get(&b->by_span, span, &at) ? &b->notices[at] : NULL;
}

void board_post(struct capture_board *b, const struct notice *n)
{
	pthread_mutex_lock(&b->lock);
	struct notice *place = notice_of(b, n->other.span);
	if (place == NULL) {
		size_t at = b->noticed++ % NOTICES_MAX;
		place = &b->notices[at];
		map_remove(&b->by_span, place->other.span);
		map_put(&b->by_span, n->other.span, at);
	}
	*place = *n;
	pthread_mutex_unlock(&b->lock);
}

bool board_find(struct capture_board *b, uint64_t span, struct notice *out)
{
	pthread_mutex_lock(&b->lock);
	const struct notice *n = notice_of(b, span);
	if (n != NULL)
		*out = *n;
	pthread_mutex_unlock(&b->lock);
	return n != NULL;
}

void board_each(struct capture_board *b, void (*take)(void *context, const struct notice *n), void *context)
{
	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; i < MIN(b->noticed, (size_t)NOTICES_MAX); i++)
		take(context, &b->notices[i]);
	pthread_mutex_unlock(&b->lock);
}

/* --- held --- */
static struct held *held_find(struct capture_board *b, int32_t pid, uint64_t span)
{
	for (size_t i = 0; i < MIN(b->held_count, (size_t)HELD_MAX); i++)
		if (b->held[i].span == span && (span != 0 || b->held[i].pid == pid))
			return &b->held[i];
	return NULL;
}

static struct held *held_for(struct capture_board *b, int32_t pid, uint64_t span)
{
	struct held *h = held_find(b, pid, span);
	if (h != NULL)
		return h;
	h = &b->held[b->held_count++ % HELD_MAX];
	if (h->pending_ns != 0)
		atomic_fetch_sub(&b->pending, 1);
	*h = (struct held){ .span = span, .pid = pid };
	return h;
}

uint64_t board_held(struct capture_board *b, int32_t pid, uint64_t span, uint64_t from_ns, uint64_t to_ns)
{
	uint64_t now_ns = 0;
	pthread_mutex_lock(&b->lock);
	struct held *h = held_for(b, pid, span);
	uint64_t from = MAX(from_ns, h->told_until_ns), more = to_ns > from ? to_ns - from : 0;
	h->told_until_ns = MAX(h->told_until_ns, to_ns);
	const struct notice *n = span != 0 ? notice_of(b, span) : NULL;
	if (span == 0 || (n != NULL && n->to_ns != UINT64_MAX && !n->slow)) {
		now_ns = more;
	} else if (n == NULL || n->to_ns == UINT64_MAX) {
		if (h->pending_ns == 0 && more != 0)
			atomic_fetch_add(&b->pending, 1);
		h->pending_ns += more;
	}
	pthread_mutex_unlock(&b->lock);
	return now_ns;
}

uint64_t board_held_by_fast(struct capture_board *b, uint64_t span, int32_t *pid)
{
	uint64_t ns = 0;
	pthread_mutex_lock(&b->lock);
	struct held *h = held_find(b, 0, span);
	if (h != NULL && h->pending_ns != 0) {
		ns = h->pending_ns;
		*pid = h->pid;
		h->pending_ns = 0;
		atomic_fetch_sub(&b->pending, 1);
	}
	pthread_mutex_unlock(&b->lock);
	return ns;
}
