/* victims.c - who waited while this request held the event loop.
 *
 *   requests in flight: armed, young, or on the board: ended a moment ago, or of another loop
 *   x looks at which this request's own code stood on the loop     (history_hold_measure)
 *   = requests that could have gone on, or could not begin, and for how long
 *
 * A request that awaits something that was not there yet has lost nothing, and is not counted.
 */
#include "subject.h"

#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>

enum { WAITERS_MAX = 4096 };
static const uint64_t worth_telling_ns = 30 * NS_PER_MS; /* whoever runs holds the loop for a moment */

struct waiters {
	struct waiter *items;
	size_t count;
	struct map known; /* spans: one that ended may still stand among the armed */
};

static void waiters_add(struct waiters *ws, uint64_t span, uint64_t from_ns, uint64_t to_ns)
{
	uint64_t unused;
	if (ws->count == WAITERS_MAX || span == 0 || from_ns == 0 || map_get(&ws->known, span, &unused))
		return;
	map_put(&ws->known, span, 1);
	ws->items[ws->count++] = (struct waiter){ .span = span, .from_ns = from_ns, .to_ns = to_ns };
}

static void waiters_add_record(struct waiters *ws, const struct record *r)
{
	uint64_t end = r->timeline.at[MARK_RESPONSE_END];
	waiters_add(ws, strtoull(r->span_id, NULL, 16), record_sent_ns(r), end != 0 ? end : UINT64_MAX);
}

/* Whose notices count. */
struct asked {
	struct waiters *waiters;
	uint64_t own_span;
	uint32_t worker;
	bool only_worker;
};

static void notice_take(void *context, const struct notice *n)
{
	const struct asked *a = context;
	if (n->other.span != a->own_span && (n->worker == a->worker || (n->worker == 0 && a->only_worker)))
		waiters_add(a->waiters, n->other.span, n->from_ns, n->to_ns);
}

/* Those whose worker is not known are this worker's when there is no other. */
static void waiters_gather(struct capture *c, const struct subject *s, struct waiters *ws)
{
	bool only_worker = c->histories.used == 1;
	list_for_each (node, &c->by_age) {
		const struct subject *other = LIST_ENTRY(node, struct subject, by_age);
		if (other != s && (other->history == s->history || (other->history == NULL && only_worker)))
			waiters_add_record(ws, other->record);
	}
	if (only_worker)
		list_for_each (node, &c->young)
			waiters_add_record(ws, LIST_ENTRY(node, struct record, node));
	struct asked asked = { ws, strtoull(s->record->span_id, NULL, 16), s->history->worker, only_worker };
	board_each(c->board, notice_take, &asked);
}

static bool held_a_loop(const struct profile *p, uint64_t span)
{
	for (size_t i = 0; i < p->sample_count; i++)
		if (p->samples[i].span == span && p->samples[i].serves == PROFILE_SERVES_REQUEST &&
			p->lanes[p->samples[i].lane].kind == PROFILE_LANE_LOOP)
			return true;
	return false;
}

void victims_count(
	struct capture *c, const struct subject *s, const struct window *w, struct capture_result *result)
{
	if (s->history == NULL || result->profile == NULL || !held_a_loop(result->profile, w->span))
		return;
	struct waiters ws = { .items = xcalloc(WAITERS_MAX, sizeof *ws.items) };
	waiters_gather(c, s, &ws);
	uint64_t held = history_hold_measure(s->history, w, ws.items, ws.count);
	for (size_t i = 0; held >= worth_telling_ns && i < ws.count; i++) {
		result->blocked_others += ws.items[i].lost_ns != 0;
		result->blocked_others_ns += ws.items[i].lost_ns;
	}
	map_clear(&ws.known);
	free(ws.items);
}
