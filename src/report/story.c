/* story.c - what one request was doing at each look.
 *
 *   look by look   own thread at work > own task awaiting > no task yet
 *   in hindsight   while another holds the loop, an awaiting task may be ready or not: if it still awaits the same thing after
 *                  the loop was free again, it was not ready; if it went on as soon as the loop was free, it was
 *   the time       a look stands for half the way to its neighbours
 */
#include "story.h"

#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>

enum {
	HOLE_PERIODS = 5,
	TURNS_BETWEEN =
		2 /* what comes in one turn of the loop is seen at the next, and goes on in the one after it */
};

/* --- one look --- */

/* Functions in which a task waits for a job it gave to a thread, and before that for a thread to be free. */
static const char *const job_functions[] = { "run_sync_in_worker_thread", "to_thread",
	"SyncToAsync.__call__" };
/* Of these the ones whose job may stand in a queue before a thread takes it. */
static const char *const queue_functions[] = { "to_thread", "SyncToAsync.__call__" };
static const char *const token_functions[] = { "CapacityLimiter.acquire_on_behalf_of" };
enum { LEAF_FRAMES = 4 };

/* How deep the nearest of these functions stands in the last frames of the stack; 0: none is there. */
static uint32_t leaf_function(
	const struct profile *p, const struct profile_sample *s, const char *const *functions, size_t count)
{
	const struct profile_stack *stack = &p->stacks[s->stack];
	for (uint32_t i = 0; i < MIN(stack->depth, (uint32_t)LEAF_FRAMES); i++)
		for (size_t k = 0; k < count; k++)
			if (strcmp(p->frames[stack->frames[stack->depth - 1 - i]].function, functions[k]) ==
				0)
				return stack->depth - i;
	return 0;
}

/* Does it wait for a thread of the pool to be free? */
static bool awaits_token(const struct profile *p, const struct profile_sample *s)
{
	return leaf_function(p, s, token_functions, ARRAY_LEN(token_functions)) != 0;
}

/* How much an own sample tells: a thread at work more than a task; of tasks the one with the user's code, or a
 * job of it for a thread, deepest. */
static unsigned own_rank(const struct profile *p, const struct profile_sample *s)
{
	if (s->state == PROFILE_IDLE)
		return 0;
	if (p->lanes[s->lane].kind != PROFILE_LANE_TASK)
		return s->state == PROFILE_UNKNOWN ? 1 : 1000000;
	const struct profile_stack *stack = &p->stacks[s->stack];
	unsigned deepest = 0;
	for (uint32_t i = 0; i < stack->depth; i++)
		if (profile_frame_is_user(&p->frames[stack->frames[i]]))
			deepest = i + 1;
	deepest = MAX(deepest, leaf_function(p, s, job_functions, ARRAY_LEN(job_functions)));
	return 2 + (deepest != 0 ? 2000 + deepest : 0);
}

struct seen {
	const struct profile_sample *own, *loop, *gil;
	uint64_t due_ns;
	bool due_at_latest;
	bool ready; /* one of its tasks could go on */
	unsigned loops;
	bool loop_is_own;
	bool strangers; /* threads at work of which is not known for whom */
};

static struct seen look_see(const struct profile *p, size_t from, size_t to, uint64_t span)
{
	struct seen seen = { 0 };
	unsigned best = 0;
	for (size_t i = from; i < to; i++) {
		const struct profile_sample *s = &p->samples[i];
		bool own = s->serves == PROFILE_SERVES_REQUEST && s->span == span;
		unsigned rank = own ? own_rank(p, s) : 0;
		seen.ready |= own && s->ready;
		if (own && s->due_ns > seen.due_ns) {
			seen.due_ns = s->due_ns;
			seen.due_at_latest = s->due_at_latest;
		}
		if (rank > best) {
			best = rank;
			seen.own = s;
		}
		if (s->holds_gil && !own)
			seen.gil = s;
		seen.strangers |= p->lanes[s->lane].kind == PROFILE_LANE_THREAD && s->state != PROFILE_IDLE &&
				  s->serves == PROFILE_SERVES_UNKNOWN;
		if (p->lanes[s->lane].kind == PROFILE_LANE_LOOP) {
			seen.loops++;
			seen.loop = s;
			seen.loop_is_own = own;
		}
	}
	return seen;
}

static enum doing doing_of_thread(const struct profile_sample *s, bool gc)
{
	switch (s->state) {
	case PROFILE_RUNNING:
		return gc && s->holds_gil ? DOING_GC : DOING_CPU;
	case PROFILE_BLOCKED:
		return DOING_BLOCKING;
	case PROFILE_GIL_WAIT:
		return DOING_GIL_WAIT;
	default:
		return DOING_UNKNOWN;
	}
}

/* The sample of whoever holds the only event loop of this worker, when that is another. */
static const struct profile_sample *holder_of(const struct seen *seen)
{
	bool held = seen->loops == 1 && !seen->loop_is_own &&
		    (seen->loop->state == PROFILE_RUNNING || seen->loop->state == PROFILE_BLOCKED ||
			    seen->loop->state == PROFILE_GIL_WAIT);
	return held ? seen->loop : NULL;
}

/* What is done while the loop is held by another. */
static enum doing doing_behind(const struct profile_sample *holder)
{
	return holder->state == PROFILE_GIL_WAIT ? DOING_GIL_WAIT : DOING_BLOCKED_BY;
}

static bool is_thread(const struct profile *p, const struct profile_sample *s)
{
	return s != NULL && p->lanes[s->lane].kind != PROFILE_LANE_TASK;
}

/* A job was given to a pool, and no thread has taken it up: it stands in a queue, as far as every thread at work is known. */
static bool stands_in_queue(const struct profile *p, const struct profile_look *look, const struct seen *seen,
	const struct story *s)
{
	return look->whole && !seen->strangers && !s->job_taken &&
	       leaf_function(p, seen->own, queue_functions, ARRAY_LEN(queue_functions)) != 0;
}

/* Has a thread taken up the job that the request waits for? Known until the request waits for something else. */
static void job_note(const struct profile *p, const struct seen *seen, struct story *s)
{
	if (seen->own == NULL)
		return;
	if (is_thread(p, seen->own))
		s->job_taken = p->lanes[seen->own->lane].kind == PROFILE_LANE_THREAD;
	else if (leaf_function(p, seen->own, job_functions, ARRAY_LEN(job_functions)) == 0)
		s->job_taken = false;
}

/* Could it go on, had it the event loop? A task of it can, and no other one of it sleeps on. */
static bool could_go_on(const struct profile_look *look, const struct seen *seen)
{
	return seen->own->ready || (seen->ready && seen->due_ns <= look->at_ns);
}

static void look_judge(const struct profile *p, const struct profile_look *look, const struct seen *seen,
	const struct story *s, struct story_look *out)
{
	const struct story_look *before = s->count != 0 ? &s->looks[s->count - 1] : NULL;
	*out = (struct story_look){ .own = seen->own,
		.holder = holder_of(seen),
		.gil = seen->gil,
		.turn_ns = seen->loops == 1 ? seen->loop->turn_ns : 0,
		.due_ns = seen->due_ns };
	if (is_thread(p, seen->own))
		out->doing = doing_of_thread(seen->own, look->gc);
	else if (seen->own != NULL && out->holder != NULL && could_go_on(look, seen))
		out->doing = doing_behind(out->holder);
	else if (seen->own != NULL && (awaits_token(p, seen->own) || stands_in_queue(p, look, seen, s)))
		out->doing = DOING_QUEUED;
	else if (seen->own != NULL)
		out->doing = DOING_AWAIT; /* in hindsight perhaps blocked */
	else if (!look->tasks && before != NULL && !is_thread(p, before->own))
		out->doing = before->doing, out->own = before->own; /* only threads were looked at */
	else if (look->whole && s->own_looks == 0)
		out->doing = out->holder != NULL ? doing_behind(out->holder)
			     : seen->strangers   ? DOING_UNKNOWN
						 : DOING_QUEUED;
	else if (look->whole &&
		 out->holder != NULL) /* it is over, but for what the loop must still do for it */
		out->doing = doing_behind(out->holder);
	else
		out->doing = DOING_UNKNOWN; /* between two steps, or torn */
}

/* --- in hindsight --- */
static bool same_wait(const struct profile_sample *a, const struct profile_sample *b)
{
	return a != NULL && b != NULL && a->lane == b->lane && a->stack == b->stack && a->awaits == b->awaits;
}

static bool same_holder(const struct profile_sample *a, const struct profile_sample *b)
{
	return a->span == b->span && (a->span != 0 || a->stack == b->stack);
}

/* A thread of a pool worked for it at the look before, and does no more: its job is done. */
static bool job_was_done(const struct profile *p, const struct story *s, size_t from, uint64_t *at_ns)
{
	size_t before = from;
	while (before > 0 && s->looks[before - 1].own == NULL)
		before--; /* only threads were looked at */
	if (before == 0 || !is_thread(p, s->looks[before - 1].own) ||
		p->lanes[s->looks[before - 1].own->lane].kind != PROFILE_LANE_THREAD)
		return false;
	*at_ns = p->looks[before].at_ns;
	return true;
}

/* When the sleep is over, where that is known. */
static uint64_t due_of(const struct story *s, size_t from, size_t to)
{
	for (size_t i = to; i-- > from;)
		if (s->looks[i].due_ns != 0)
			return s->looks[i].due_ns;
	return 0;
}

/* The looks at the end of a wait at which others held the loop without a break: what was awaited may have come at any of them,
 * but not before the last turns of the loop, which would have seen it. Where turns are not known, many holders may be one. */
static size_t held_from(const struct story *s, size_t from, size_t to)
{
	unsigned turns = 0;
	uint64_t turn_ns = 0;
	size_t i = to;
	for (; i > from && s->looks[i - 1].holder != NULL; i--) {
		uint64_t earlier_ns = s->looks[i - 1].turn_ns;
		if (earlier_ns == 0 || earlier_ns == turn_ns)
			continue;
		if (turn_ns != 0 && ++turns == TURNS_BETWEEN)
			break;
		turn_ns = earlier_ns;
	}
	return i;
}

/* A wait of which nothing is known lasts on about as long as it has lasted so far; but at most to the middle of the hold. */
static uint64_t due_guess(const struct profile *p, size_t from, size_t held, size_t to)
{
	uint64_t began = p->looks[from].at_ns, hold = p->looks[held].at_ns, end = p->looks[to - 1].at_ns;
	return hold + MIN(hold - began, (end - hold) / 2);
}

static void wait_blocked_from(
	const struct profile *p, struct story *s, size_t from, size_t to, uint64_t due_ns)
{
	for (size_t i = from; i < to; i++)
		if (s->looks[i].holder != NULL && p->looks[i].at_ns >= due_ns)
			s->looks[i].doing = doing_behind(s->looks[i].holder);
}

/* Looks from..to await the same thing. Where it is known when that was due, a hold counts from then on. Else it may have come
 * at any time of the last hold: then it is guessed, and told as unsure. */
static void wait_resolve(const struct profile *p, struct story *s, size_t from, size_t to)
{
	uint64_t due_ns = due_of(s, from, to);
	if (due_ns != 0) {
		wait_blocked_from(p, s, from, to, due_ns);
		return;
	}
	if (job_was_done(p, s, from, &due_ns)) { /* it goes on as soon as the loop is free */
		size_t end = from;
		while (end < to && s->looks[end].holder != NULL)
			end++;
		wait_blocked_from(p, s, from, end, due_ns);
		from = end;
	}
	size_t held = from < to ? held_from(s, from, to) : to;
	if (held == to)
		return;
	for (size_t i = held; i < to; i++)
		s->looks[i].unsure = true;
	wait_blocked_from(p, s, held, to, due_guess(p, from, held, to));
}

static void waits_resolve(const struct profile *p, struct story *s)
{
	for (size_t i = 0; i < s->count;) {
		size_t to = i + 1;
		if (s->looks[i].doing != DOING_AWAIT) {
			i = to;
			continue;
		}
		while (to < s->count && s->looks[to].doing == DOING_AWAIT &&
			same_wait(s->looks[i].own, s->looks[to].own))
			to++;
		wait_resolve(p, s, i, to);
		i = to;
	}
}

/* A job that a thread took up later had stood in the queue of the pool until then, whoever held the loop. */
static void queues_resolve(const struct profile *p, struct story *s)
{
	bool taken = false;
	for (size_t i = s->count; i-- > 0;) {
		struct story_look *look = &s->looks[i];
		if (look->own == NULL)
			continue;
		if (is_thread(p, look->own)) {
			taken = p->lanes[look->own->lane].kind == PROFILE_LANE_THREAD;
			continue;
		}
		taken = taken &&
			leaf_function(p, look->own, queue_functions, ARRAY_LEN(queue_functions)) != 0;
		if (!taken)
			continue;
		look->doing = DOING_QUEUED;
		look->unsure = false;
	}
}

/* --- the time --- */
static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* The usual distance between looks. */
static uint64_t usual_distance(const struct profile *p)
{
	uint64_t *distances = xcalloc(p->look_count + 1, sizeof *distances), usual = 10 * NS_PER_MS;
	for (size_t i = 1; i < p->look_count; i++)
		distances[i - 1] = p->looks[i].at_ns - p->looks[i - 1].at_ns;
	if (p->look_count > 1) {
		qsort(distances, p->look_count - 1, sizeof *distances, by_size);
		usual = distances[(p->look_count - 1) / 2];
	}
	free(distances);
	return usual;
}

/* The part of a distance that the look at its end may speak for; the rest was seen by nobody. */
static uint64_t seen_part(struct story *s, uint64_t distance_ns, uint64_t longest_ns)
{
	if (distance_ns <= longest_ns)
		return distance_ns;
	s->unseen_ns += distance_ns - longest_ns;
	return longest_ns;
}

/* Before arming nobody could look: that short stretch counts like the first look. A later hole is nobody's. */
static void weigh(const struct profile *p, const struct capture_result *c, struct story *s)
{
	uint64_t hole = HOLE_PERIODS * usual_distance(p);
	uint64_t arming = c->armed_ns > c->from_ns ? c->armed_ns - c->from_ns : 0;
	for (size_t i = 0; i < s->count; i++) {
		uint64_t at = p->looks[i].at_ns;
		uint64_t before = i == 0 ? at - MIN(c->from_ns, at) : (at - p->looks[i - 1].at_ns) / 2;
		if (i == 0 && c->queued_until_ns > c->from_ns) { /* then there was no worker to look at */
			uint64_t queued = MIN(c->queued_until_ns, at) - MIN(c->from_ns, at);
			s->ns[DOING_QUEUED] += queued;
			before -= queued;
			arming = 0;
		}
		uint64_t after =
			i + 1 < s->count ? (p->looks[i + 1].at_ns - at + 1) / 2 : MAX(c->until_ns, at) - at;
		before = seen_part(s, before, i == 0 ? arming + hole : hole);
		after = seen_part(s, after, hole);
		uint64_t weight = before + after;
		s->looks[i].weight_ns = weight;
		s->looks[i].from_ns = at - before;
		s->looks[i].to_ns = at + after;
		s->ns[s->looks[i].doing] += weight;
		s->unsure_ns += s->looks[i].unsure ? weight : 0;
	}
}

/* What could not be told is taken as what was told beside it: just after, else just before. */
static void fill_from(struct story *s, size_t at, size_t beside)
{
	enum doing doing = s->looks[beside].doing;
	if (doing == DOING_UNKNOWN || doing == DOING_QUEUED || s->looks[at].doing != DOING_UNKNOWN)
		return;
	bool held = s->looks[at].holder != NULL;
	s->looks[at].doing = doing == DOING_BLOCKED_BY && !held ? DOING_AWAIT : doing;
}

/* Not seen before, nor now, and another holds the loop: a request is begun by the loop, so it waits for that - unless it is
 * seen later in the very same hold, so that it had begun before. */
static bool waits_to_begin(const struct story *s, size_t at)
{
	size_t k = at;
	while (k < s->count && s->looks[k].own == NULL && s->looks[k].holder != NULL &&
		same_holder(s->looks[k].holder, s->looks[at].holder))
		k++;
	return k == s->count || s->looks[k].own == NULL || s->looks[k].holder == NULL ||
	       !same_holder(s->looks[k].holder, s->looks[at].holder);
}

static void beginning_fill(struct story *s)
{
	for (size_t i = 0; i < s->count && s->looks[i].own == NULL; i++)
		if (s->looks[i].doing == DOING_UNKNOWN && s->looks[i].holder != NULL && waits_to_begin(s, i))
			s->looks[i].doing = doing_behind(s->looks[i].holder);
}

static void unknown_fill(struct story *s)
{
	for (size_t i = s->count; i-- > 1;)
		fill_from(s, i - 1, i);
	for (size_t i = 1; i < s->count; i++)
		fill_from(s, i, i - 1);
}

/* The wait a request is first seen in may have begun at any time since the look before: halfway is the fair guess. */
struct first_wait {
	uint64_t due_ns, early_ns;
};

static void due_correct(const struct profile *p, uint64_t from_ns, size_t at, const struct story *s,
	struct first_wait *first, struct seen *seen)
{
	enum { KNOWN_WITHIN = 4 /* looks: a sleep's end is looked for when it is met again */ };
	uint64_t before = from_ns;
	for (size_t i = at; i-- > 0 && before == from_ns;)
		if (p->looks[i].tasks)
			before = p->looks[i].at_ns;
	if (seen->own != NULL && s->own_looks == 0)
		first->early_ns = (p->looks[at].at_ns - MIN(before, p->looks[at].at_ns)) / 2;
	if (!seen->due_at_latest || seen->due_ns == 0)
		return;
	if (first->due_ns == 0 && s->own_looks <= KNOWN_WITHIN)
		first->due_ns = seen->due_ns;
	if (seen->due_ns == first->due_ns)
		seen->due_ns -= first->early_ns;
}

void story_of(const struct record *r, struct story *out)
{
	const struct profile *p = r->capture.profile;
	uint64_t span = strtoull(r->span_id, NULL, 16);
	*out = (struct story){ 0 };
	if (p == NULL || p->look_count == 0 || span == 0)
		return;
	out->looks = xcalloc(p->look_count, sizeof *out->looks);
	size_t at = 0;
	struct first_wait first = { 0 };
	for (size_t i = 0; i < p->look_count; i++) {
		while (at < p->sample_count && p->samples[at].at_ns < p->looks[i].at_ns)
			at++;
		size_t from = at;
		while (at < p->sample_count && p->samples[at].at_ns == p->looks[i].at_ns)
			at++;
		struct seen seen = look_see(p, from, at, span);
		due_correct(p, r->capture.from_ns, i, out, &first, &seen);
		job_note(p, &seen, out);
		look_judge(p, &p->looks[i], &seen, out, &out->looks[i]);
		out->began_late |= seen.own == NULL && p->looks[i].whole && out->own_looks == 0;
		out->ever_whole |= p->looks[i].whole;
		out->own_looks += seen.own != NULL;
		out->count++;
	}
	waits_resolve(p, out);
	queues_resolve(p, out);
	if (out->ever_whole) { /* else it may be at work where nobody sees it */
		beginning_fill(out);
		unknown_fill(out);
	}
	weigh(p, &r->capture, out);
}

void story_clear(struct story *s)
{
	free(s->looks);
	*s = (struct story){ 0 };
}
