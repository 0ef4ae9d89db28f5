/* others.c - the requests that held an event loop, or the GIL, while this one waited: from the span in their samples to a name.
 *
 *   span -> still here: armed, or young -> on the board: ended lately, or of another loop -> nobody we know: its span stands alone
 */
#include "subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/str.h>

enum { SEARCHED_MAX = 4096, SPANS_MAX = 64 };
static const uint64_t worth_keeping_ns = 20 * NS_PER_MS; /* who was faster has not held up anybody for long */

static uint64_t span_of(const struct record *r)
{
	return strtoull(r->span_id, NULL, 16);
}

static void other_of_record(const struct record *r, struct capture_other *out)
{
	out->span = span_of(r);
	str_copy(out->request_id, sizeof out->request_id, r->request_id, strlen(r->request_id));
	str_copy(out->method, sizeof out->method, r->method, strlen(r->method));
	str_copy(out->path, sizeof out->path, r->path, strlen(r->path));
}

uint64_t record_sent_ns(const struct record *r)
{
	const uint64_t *at = r->timeline.at;
	return at[MARK_REQUEST_SENT] != 0 ? at[MARK_REQUEST_SENT] : at[MARK_UPSTREAM];
}

static struct notice notice_of(const struct record *r)
{
	const struct subject *s = r->armed;
	struct notice n = {
		.from_ns = record_sent_ns(r),
		.to_ns = UINT64_MAX,
		.worker = s != NULL && s->history != NULL ? s->history->worker : 0,
	};
	other_of_record(r, &n.other);
	return n;
}

void others_armed(struct capture *c, const struct subject *s)
{
	struct notice n = notice_of(s->record);
	if (n.other.span != 0)
		board_post(c->board, &n);
}

void others_loop_blocked(struct capture *c, int32_t pid, uint64_t ns)
{
	if (ns != 0 && c->sink.loop_blocked != NULL)
		c->sink.loop_blocked(c->sink.context, pid, ns);
}

void others_ended(struct capture *c, const struct record *r)
{
	int32_t pid = 0;
	if (!board_listens(c->board) || r->span_id[0] == '\0' ||
		(r->armed == NULL && record_duration_ns(r) < worth_keeping_ns))
		return;
	struct notice n = notice_of(r);
	const uint64_t *at = r->timeline.at;
	n.to_ns = at[MARK_RESPONSE_END] != 0 ? at[MARK_RESPONSE_END] : at[MARK_END];
	n.slow = record_is_slow(r);
	board_post(c->board, &n);
	if (n.slow)
		return;
	uint64_t held_ns = board_held_by_fast(c->board, n.other.span, &pid);
	others_loop_blocked(c, pid, held_ns);
}

static bool find_here(struct capture *c, const char *span_id, struct capture_other *out)
{
	unsigned searched = 0;
	list_for_each (node, &c->by_age) {
		const struct record *r = LIST_ENTRY(node, struct subject, by_age)->record;
		if (strcmp(r->span_id, span_id) == 0) {
			other_of_record(r, out);
			return true;
		}
		if (++searched > SEARCHED_MAX)
			return false;
	}
	list_for_each (node, &c->young) {
		const struct record *r = LIST_ENTRY(node, struct record, node);
		if (strcmp(r->span_id, span_id) == 0) {
			other_of_record(r, out);
			return true;
		}
		if (++searched > SEARCHED_MAX)
			return false;
	}
	return false;
}

static void other_find(struct capture *c, uint64_t span, struct capture_other *out)
{
	char span_id[17];
	snprintf(span_id, sizeof span_id, "%016llx", (unsigned long long)span);
	*out = (struct capture_other){ .span = span };
	if (find_here(c, span_id, out))
		return;
	struct notice n;
	if (board_find(c->board, span, &n))
		*out = n.other;
}

/* How long each other request held an event loop. */
struct holders_sum {
	uint64_t spans[SPANS_MAX], ns[SPANS_MAX];
	size_t count;
};

static void sum_add(struct holders_sum *sum, uint64_t span, uint64_t ns)
{
	size_t i = 0;
	while (i < sum->count && sum->spans[i] != span)
		i++;
	if (i == SPANS_MAX)
		return;
	if (i == sum->count) {
		sum->spans[sum->count] = span;
		sum->ns[sum->count++] = 0;
	}
	sum->ns[i] += ns;
}

static size_t sum_longest(const struct holders_sum *sum)
{
	size_t longest = 0;
	for (size_t i = 1; i < sum->count; i++)
		if (sum->ns[i] > sum->ns[longest])
			longest = i;
	return longest;
}

void others_fill(struct capture *c, const struct subject *s, struct capture_result *result)
{
	const struct profile *p = result->profile;
	struct holders_sum sum = { .count = 0 };
	uint64_t own = span_of(s->record);
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->sample_count; i++) {
		const struct profile_sample *x = &p->samples[i];
		bool in_the_way = p->lanes[x->lane].kind == PROFILE_LANE_LOOP || x->holds_gil;
		if (x->serves == PROFILE_SERVES_REQUEST && x->span != own && x->state != PROFILE_IDLE &&
			in_the_way)
			sum_add(&sum, x->span, x->weight_ns);
	}
	if (sum.count == 0)
		return;
	result->others = xcalloc(CAPTURE_OTHERS_MAX, sizeof *result->others);
	while (result->other_count < CAPTURE_OTHERS_MAX) {
		size_t i = sum_longest(&sum);
		if (sum.ns[i] == 0)
			break;
		other_find(c, sum.spans[i], &result->others[result->other_count++]);
		sum.ns[i] = 0;
	}
}
