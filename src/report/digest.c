/* digest.c - where the time of one exchange went, as its samples tell.
 *
 * The worker is looked at tick by tick. In each tick one lane is the telling one:
 *
 *   event loop at work  >  serving thread  >  event loop waiting for the GIL  >  serving task  >  other thread  >  other task
 *
 * and when there is none of them the worker is idle. Threads and tasks count only with user code in their stack; "serving"
 * ones also have code of a server below it. A loop without user code that waits for the GIL waits for such a thread, so the
 * thread tells more. From the telling stacks come the split of the time and the line. All of it is of the whole process, and the
 * attribution says so.
 *
 * Where the request's own tasks and threads are known (story.h), nothing of this is needed: they are the telling ones.
 */
#include <slowproxy/report.h>

#include <stdlib.h>
#include <string.h>

#include "story.h"

enum { NO_FRAME = UINT32_MAX };

/* Code that stands between a server's socket and the user's endpoint. */
static const char *const serving_paths[] = {
	"/uvicorn/",
	"/starlette/",
	"/fastapi/",
	"/anyio/",
	"/asgiref/",
	"/hypercorn/",
	"/gunicorn/",
	"/django/",
	"/flask/",
	"/quart/",
	"/concurrent/futures/",
	"/aiohttp/",
	"/sanic/",
	"/granian/",
	"/waitress/",
	"/tornado/",
	"/litestar/",
	"/socketserver.py",
};

struct stack_facts {
	uint32_t
		told; /* the frame that tells: user code nearest to the leaf, else the leaf; NO_FRAME: empty */
	bool user;    /* has user code */
	bool serving; /* has code of a server */
};

/* What one tick has to say. */
struct telling {
	uint32_t frame, stack;
	uint64_t weight_ns;
	enum profile_state state;
	enum profile_lane_kind lane;
	int16_t syscall;
};

struct tellings {
	struct telling *items;
	size_t count;
};

static bool frame_is_serving(const struct profile_frame *f)
{
	for (size_t i = 0; i < ARRAY_LEN(serving_paths); i++)
		if (strstr(f->file, serving_paths[i]) != NULL)
			return true;
	return false;
}

static struct stack_facts *stack_facts_of(const struct profile *p)
{
	struct stack_facts *facts = xcalloc(p->stack_count + 1, sizeof *facts);
	bool *user = xcalloc(p->frame_count + 1, sizeof *user);
	bool *serving = xcalloc(p->frame_count + 1, sizeof *serving);

	for (size_t i = 0; i < p->frame_count; i++) {
		user[i] = profile_frame_is_user(&p->frames[i]);
		serving[i] = !user[i] && frame_is_serving(&p->frames[i]);
	}
	for (size_t i = 0; i < p->stack_count; i++) {
		const struct profile_stack *s = &p->stacks[i];
		facts[i].told = s->depth != 0 ? s->frames[s->depth - 1] : NO_FRAME;
		for (uint32_t d = 0; d < s->depth; d++) {
			facts[i].serving |= serving[s->frames[d]];
			facts[i].user |= user[s->frames[d]];
			if (user[s->frames[d]])
				facts[i].told = s->frames[d];
		}
	}
	free(user);
	free(serving);
	return facts;
}

/* How much a sample has to say about the request; 0: nothing. */
static int rank_of(const struct profile *p, const struct profile_sample *s, const struct stack_facts *facts)
{
	enum profile_lane_kind kind = p->lanes[s->lane].kind;
	bool awaiting = s->state == PROFILE_AWAITING;
	if (s->state == PROFILE_UNKNOWN || s->state == PROFILE_IDLE || facts->told == NO_FRAME)
		return 0;
	if (kind == PROFILE_LANE_LOOP && !awaiting)
		return s->state == PROFILE_GIL_WAIT && !facts->user ? 4 : 6;
	if (!facts->user)
		return 0;
	if (kind == PROFILE_LANE_THREAD && !awaiting)
		return facts->serving ? 5 : 2;
	if (kind == PROFILE_LANE_TASK && awaiting)
		return facts->serving ? 3 : 1;
	return 0;
}

/* Samples of one look at the worker lie close together, and no lane comes twice. */
static bool tick_begins(const struct profile_sample *first, const struct profile_sample *s, bool lane_seen)
{
	return first == NULL || lane_seen || s->at_ns - first->at_ns > first->weight_ns / 2;
}

static struct tellings tellings_of(const struct profile *p, const struct stack_facts *facts)
{
	struct tellings all = { xcalloc(p->sample_count + 1, sizeof(struct telling)), 0 };
	size_t *seen_in = xcalloc(p->lane_count + 1, sizeof *seen_in); /* tick numbers from 1 */
	const struct profile_sample *first = NULL;
	size_t tick = 0;
	int best = 0;

	for (size_t i = 0; i < p->sample_count; i++) {
		const struct profile_sample *s = &p->samples[i];
		if (tick_begins(first, s, seen_in[s->lane] == tick)) {
			all.count += best != 0;
			first = s;
			best = 0;
			tick++;
		}
		seen_in[s->lane] = tick;
		int rank = rank_of(p, s, &facts[s->stack]);
		if (rank <= best)
			continue;
		best = rank;
		all.items[all.count] = (struct telling){ facts[s->stack].told, s->stack, s->weight_ns,
			s->state, p->lanes[s->lane].kind, s->syscall };
	}
	all.count += best != 0;
	free(seen_in);
	return all;
}

/* What the request's own samples have to say of the looks at which it was doing this; DOING_COUNT: anything. */
static struct tellings tellings_of_story(
	const struct profile *p, const struct stack_facts *facts, const struct story *s, enum doing doing)
{
	struct tellings all = { xcalloc(s->count + 1, sizeof(struct telling)), 0 };
	for (size_t i = 0; i < s->count; i++) {
		const struct story_look *look = &s->looks[i];
		const struct profile_sample *own = look->own;
		if (own == NULL || facts[own->stack].told == NO_FRAME ||
			(doing != DOING_COUNT && look->doing != doing))
			continue;
		all.items[all.count++] = (struct telling){ facts[own->stack].told, own->stack,
			look->weight_ns, own->state, p->lanes[own->lane].kind, own->syscall };
	}
	return all;
}

static int compare_functions(const struct profile_frame *a, const struct profile_frame *b)
{
	int by_file = strcmp(a->file, b->file);
	return by_file != 0 ? by_file : strcmp(a->function, b->function);
}

/* Who was in the way at this look, of the event loop or of the GIL, while the request could have gone on; NULL: nobody. */
static const struct profile_sample *holder_at(const struct story *s, enum doing doing, size_t look)
{
	if (s->looks[look].doing != doing)
		return NULL;
	return doing == DOING_BLOCKED_BY ? s->looks[look].holder : s->looks[look].gil;
}

/* Requests are told apart by their spans, others by what they were at. */
static bool same_culprit(const struct profile *p, const struct stack_facts *facts,
	const struct profile_sample *a, const struct profile_sample *b)
{
	uint32_t x = facts[a->stack].told, y = facts[b->stack].told;
	if (a->span != 0 || b->span != 0)
		return a->span == b->span;
	return x != NO_FRAME && y != NO_FRAME && compare_functions(&p->frames[x], &p->frames[y]) == 0;
}

/* What this culprit's own samples have to say. */
static struct tellings tellings_of_culprit(const struct profile *p, const struct stack_facts *facts,
	const struct story *s, enum doing doing, const struct profile_sample *culprit)
{
	struct tellings all = { xcalloc(s->count + 1, sizeof(struct telling)), 0 };
	for (size_t i = 0; i < s->count; i++) {
		const struct profile_sample *h = holder_at(s, doing, i);
		if (h == NULL || !same_culprit(p, facts, h, culprit) || facts[h->stack].told == NO_FRAME)
			continue;
		all.items[all.count++] = (struct telling){ facts[h->stack].told, h->stack,
			s->looks[i].weight_ns, h->state, p->lanes[h->lane].kind, h->syscall };
	}
	return all;
}

static void split_time(const struct tellings *all, struct digest *out)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct telling *t = &all->items[i];
		if (t->state == PROFILE_RUNNING)
			out->cpu_ns += t->weight_ns;
		else if (t->state == PROFILE_BLOCKED)
			out->blocking_ns += t->weight_ns;
		else if (t->state == PROFILE_GIL_WAIT)
			out->gil_wait_ns += t->weight_ns;
		else if (t->state == PROFILE_AWAITING)
			out->await_ns += t->weight_ns;
	}
}

/* --- the line ---------------------------------------------------------------------------------------------------- */

static int by_function(const void *a, const void *b, void *profile)
{
	const struct profile *p = profile;
	const struct telling *x = a, *y = b;
	return compare_functions(&p->frames[x->frame], &p->frames[y->frame]);
}

/* The tellings of the function with most weight: a run of the sorted array. */
static struct tellings heaviest_function(const struct profile *p, struct tellings *all, uint64_t *weight_ns)
{
	struct tellings best = { 0 };
	*weight_ns = 0;
	qsort_r(all->items, all->count, sizeof *all->items, by_function, (void *)p);
	for (size_t from = 0, to; from < all->count; from = to) {
		uint64_t sum = 0;
		for (to = from;
			to < all->count && by_function(&all->items[from], &all->items[to], (void *)p) == 0;
			to++)
			sum += all->items[to].weight_ns;
		if (sum > *weight_ns) {
			*weight_ns = sum;
			best = (struct tellings){ all->items + from, to - from };
		}
	}
	return best;
}

/* Most weight among the tellings, by a small number each has. */
typedef uint32_t (*telling_number)(const struct telling *t);

static uint32_t frame_of(const struct telling *t)
{
	return t->frame;
}

static uint32_t stack_of(const struct telling *t)
{
	return t->stack;
}

static uint32_t state_of(const struct telling *t)
{
	return t->state;
}

static uint32_t heaviest(const struct tellings *all, telling_number number, size_t numbers)
{
	uint64_t *sums = xcalloc(numbers, sizeof *sums);
	uint32_t best = number(&all->items[0]);
	for (size_t i = 0; i < all->count; i++) {
		uint32_t n = number(&all->items[i]);
		sums[n] += all->items[i].weight_ns;
		if (sums[n] > sums[best])
			best = n;
	}
	free(sums);
	return best;
}

/* Keeps those whose number is wanted; the order does not matter any more. */
static void keep_only(struct tellings *all, telling_number number, uint32_t wanted)
{
	size_t kept = 0;
	for (size_t i = 0; i < all->count; i++)
		if (number(&all->items[i]) == wanted)
			all->items[kept++] = all->items[i];
	all->count = kept;
}

static void find_line(const struct profile *p, const struct tellings *tellings, struct digest *out)
{
	struct tellings all = *tellings;
	struct tellings here = heaviest_function(p, &all, &out->frame_ns);
	if (here.count == 0)
		return;
	uint32_t frame = heaviest(&here, frame_of, p->frame_count);
	keep_only(&here, frame_of, frame);
	uint32_t state = heaviest(&here, state_of, PROFILE_STATE_COUNT);
	keep_only(&here, state_of, state);
	uint32_t stack = heaviest(&here, stack_of, p->stack_count);
	keep_only(&here, stack_of, stack);

	out->frame = &p->frames[frame];
	out->stack = &p->stacks[stack];
	out->frame_state = state;
	out->frame_lane = here.items[0].lane;
	for (size_t i = 0; i < here.count && out->frame_syscall < 0; i++)
		out->frame_syscall = here.items[i].syscall;
}

/* --- with the request's own samples ------------------------------------------------------------------------------ */

/* A sample of who was in the way for longest; NULL: nobody was. */
static const struct profile_sample *longest_holder(const struct profile *p, const struct stack_facts *facts,
	const struct story *s, enum doing doing, uint64_t *ns)
{
	const struct profile_sample *best = NULL;
	*ns = 0;
	for (size_t i = 0; i < s->count; i++) {
		const struct profile_sample *h = holder_at(s, doing, i);
		uint64_t sum = 0;
		if (h == NULL || (best != NULL && same_culprit(p, facts, h, best)))
			continue;
		for (size_t k = i; k < s->count; k++) {
			const struct profile_sample *other = holder_at(s, doing, k);
			sum += other != NULL && same_culprit(p, facts, h, other) ? s->looks[k].weight_ns : 0;
		}
		if (sum > *ns) {
			*ns = sum;
			best = h;
		}
	}
	return best;
}

/* The request among the others that has this span; NULL: its name is not known. */
static const struct capture_other *other_named(const struct record *r, uint64_t span)
{
	for (size_t i = 0; span != 0 && i < r->capture.other_count; i++)
		if (r->capture.others[i].span == span && r->capture.others[i].request_id[0] != '\0')
			return &r->capture.others[i];
	return NULL;
}

/* Where the holder stood most of the time: of this digest only the frame and what belongs to it are set. */
static struct digest line_of_holder(const struct profile *p, const struct stack_facts *facts,
	const struct story *s, enum doing doing, const struct profile_sample *holder)
{
	struct digest line = { .frame_syscall = -1 };
	struct tellings all = tellings_of_culprit(p, facts, s, doing, holder);
	find_line(p, &all, &line);
	free(all.items);
	return line;
}

/* The thread that had the GIL for most of the time that the request waited for it. */
static void find_gil_holder(
	const struct record *r, const struct stack_facts *facts, const struct story *s, struct digest *out)
{
	const struct profile *p = r->capture.profile;
	const struct profile_sample *holder =
		longest_holder(p, facts, s, DOING_GIL_WAIT, &out->gil_holder_ns);
	if (holder == NULL)
		return;
	out->gil_holder_thread = &p->lanes[holder->lane];
	out->gil_holder = other_named(r, holder->span);
	struct digest line = line_of_holder(p, facts, s, DOING_GIL_WAIT, holder);
	out->gil_holder_frame = line.frame;
	out->gil_holder_stack = line.stack;
}

static void find_culprit(
	const struct record *r, const struct stack_facts *facts, const struct story *s, struct digest *out)
{
	const struct profile *p = r->capture.profile;
	const struct profile_sample *culprit =
		longest_holder(p, facts, s, DOING_BLOCKED_BY, &out->culprit_ns);
	if (culprit == NULL)
		return;
	out->culprit_span = culprit->span;
	out->culprit_kind = culprit->span != 0                       ? "request"
			    : culprit->serves == PROFILE_SERVES_TASK ? "task"
								     : "unknown";
	out->culprit = other_named(r, culprit->span);
	struct digest line = line_of_holder(p, facts, s, DOING_BLOCKED_BY, culprit);
	out->culprit_frame = line.frame;
	out->culprit_stack = line.stack;
	out->culprit_state = line.frame_state;
	out->culprit_syscall = line.frame_syscall;
}

static enum doing main_doing(const struct story *s)
{
	enum doing best = DOING_COUNT;
	for (enum doing d = DOING_UNKNOWN + 1; d < DOING_COUNT; d++)
		if (d != DOING_BLOCKED_BY && s->ns[d] != 0 && (best == DOING_COUNT || s->ns[d] > s->ns[best]))
			best = d;
	return best;
}

/* The line of what it mostly did by itself; where it stood while others held it up comes second. */
static void find_own_line(
	const struct profile *p, const struct stack_facts *facts, const struct story *s, struct digest *out)
{
	const enum doing tries[] = { main_doing(s), DOING_COUNT };
	for (size_t i = 0; i < ARRAY_LEN(tries) && out->frame == NULL; i++) {
		struct tellings all = tellings_of_story(p, facts, s, tries[i]);
		find_line(p, &all, out);
		free(all.items);
	}
}

/* Whatever its own thread does, on the event loop it keeps all others from going on. */
static uint64_t held_loop_ns(const struct profile *p, const struct story *s)
{
	uint64_t held_ns = 0;
	for (size_t i = 0; i < s->count; i++) {
		const struct story_look *look = &s->looks[i];
		bool on_loop = look->own != NULL && p->lanes[look->own->lane].kind == PROFILE_LANE_LOOP;
		if (on_loop && look->doing != DOING_AWAIT && look->doing != DOING_UNKNOWN)
			held_ns += look->weight_ns;
	}
	return held_ns;
}

static void split_by_story(const struct story *s, struct digest *out)
{
	out->cpu_ns = s->ns[DOING_CPU];
	out->blocking_ns = s->ns[DOING_BLOCKING];
	out->await_ns = s->ns[DOING_AWAIT];
	out->gil_wait_ns = s->ns[DOING_GIL_WAIT];
	out->blocked_by_ns = s->ns[DOING_BLOCKED_BY];
	out->queued_ns = s->ns[DOING_QUEUED];
	out->gc_ns = s->ns[DOING_GC];
	out->unsure_ns = s->unsure_ns;
	out->unseen_ns = s->unseen_ns + s->ns[DOING_UNKNOWN];
}

/* false: the request was not found in the worker, and what it waited for is not proven either. */
static bool tell_story(const struct record *r, const struct stack_facts *facts, struct digest *out)
{
	const struct profile *p = r->capture.profile;
	struct story s;
	story_of(r, &s);
	uint64_t half_ns = (r->capture.until_ns - r->capture.from_ns) / 2;
	bool hidden = !s.ever_whole && s.ns[DOING_UNKNOWN] > half_ns;
	/* One look at a thread that seemed to hold a loop must not speak for a request that was never seen. */
	bool proven = s.own_looks != 0 || s.ns[DOING_BLOCKED_BY] + s.ns[DOING_QUEUED] > half_ns;
	proven &= !hidden; /* a few looks would speak for all that was not seen */
	if (proven) {
		split_by_story(&s, out);
		out->held_loop_ns = held_loop_ns(p, &s);
		find_own_line(p, facts, &s, out);
		find_culprit(r, facts, &s, out);
		find_gil_holder(r, facts, &s, out);
		out->attribution = out->frame_lane == PROFILE_LANE_THREAD ? "thread" : "task";
		out->attribution_reason = NULL;
	}
	if (proven && s.own_looks == 0) {
		out->attribution = "process";
		out->attribution_reason = "the worker had not begun with this request when it was looked at";
	}
	story_clear(&s);
	return proven;
}

/* --- the cause --------------------------------------------------------------------------------------------------- */

static uint64_t phase_ns(const struct record *r, enum phase phase)
{
	uint64_t ns;
	return timeline_phase_ns(&r->timeline, phase, &ns) ? ns : 0;
}

/* The whole answer had been read from the backend for most of the download: only the client was still missing. */
static bool backend_was_done(const struct record *r, uint64_t download_ns)
{
	uint64_t rest;
	return timeline_between_ns(&r->timeline, MARK_RESPONSE_END, MARK_END, &rest) &&
	       rest >= download_ns / 2;
}

static const char *cause_by_phase(const struct record *r, const struct digest *d)
{
	uint64_t half = record_duration_ns(r) / 2,
		 busy = d->cpu_ns + d->blocking_ns + d->gil_wait_ns + d->blocked_by_ns;
	uint64_t download = phase_ns(r, PHASE_DOWNLOAD), upload = phase_ns(r, PHASE_UPLOAD);
	bool sampled = r->capture.samples != 0;

	if (phase_ns(r, PHASE_CONNECT) > half)
		return "connect";
	if (phase_ns(r, PHASE_QUEUE) > half)
		return "queued";
	if (download > half && backend_was_done(r, download))
		return "client_slow";
	if (download > half && sampled && busy + d->await_ns < download / 2)
		return "client_slow"; /* the backend had nothing to do meanwhile */
	if (upload > half && busy < upload / 2)
		return "client_slow"; /* awaiting the body is no work */
	if (r->capture.status == CAPTURE_NOT_ACCEPTED && !sampled)
		return "queued"; /* in the backlog of the backend's socket to its end */
	return NULL;
}

static const char *cause_by_samples(const struct digest *d)
{
	const struct {
		const char *cause;
		uint64_t ns;
	} rows[] = {
		{ "cpu", d->cpu_ns },
		{ "blocking_call", d->blocking_ns },
		{ "await", d->await_ns },
		{ "gil_wait", d->gil_wait_ns },
		{ "blocked_by", d->blocked_by_ns },
		{ "queued", d->queued_ns },
		{ "gc", d->gc_ns },
	};
	const char *cause = "unknown";
	uint64_t most = 0;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].ns > most) {
			most = rows[i].ns;
			cause = rows[i].cause;
		}
	return cause;
}

void digest_of(const struct record *r, struct digest *out)
{
	const struct profile *p = r->capture.profile;
	*out = (struct digest){
		.attribution = "none", .attribution_reason = "there are no samples", .frame_syscall = -1
	};
	if (p != NULL && p->sample_count != 0) {
		out->attribution = "process";
		out->attribution_reason =
			"the task or thread of this request was not found: the samples are of the whole worker";
		struct stack_facts *facts = stack_facts_of(p);
		if (!tell_story(r, facts, out)) {
			struct tellings all = tellings_of(p, facts);
			split_time(&all, out);
			find_line(p, &all, out);
			free(all.items);
		}
		free(facts);
	} else if (r->capture.queued_until_ns > r->capture.from_ns)
		out->queued_ns = r->capture.queued_until_ns - r->capture.from_ns;
	out->cause = cause_by_phase(r, out);
	if (out->cause == NULL)
		out->cause = cause_by_samples(out);
}
