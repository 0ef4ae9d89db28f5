/* capture.c - decides when an exchange deserves stacks.
 *
 *   young list ── one timer for its head, since all have the same capture.arm_after
 *   chores     ── every 10 ms while anything is armed: START again, give up waiting, show what runs too long
 *
 * Everything happens on the loop's thread. Cutting a profile takes a tenth of a millisecond, and ten thousand victims of one
 * blocked worker end together: so cuts are made a few at a time, and traffic gets its turn in between.
 */
#include "subject.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/base/str.h>

enum { ENDING_MAX = 5000 /* more slow ends at once than these are reported without a profile */ };
static const uint64_t answer_within_ns = 250 * NS_PER_MS, chores_every_ns = 10 * NS_PER_MS,
		      cut_for_ns = 2 * NS_PER_MS;

static void arm_due(void *capture);
static void chores(void *capture);

struct capture *capture_new(struct loop *l, const struct config *config, int channel_fd,
	const struct capture_sink *sink, struct capture_board *board)
{
	struct capture *c = xcalloc(1, sizeof *c);
	c->loop = l;
	c->config = config;
	c->sink = *sink;
	c->board = board;
	c->channel = -1;
	c->dictionary = dictionary_new();
	list_init(&c->young);
	list_init(&c->by_age);
	for (size_t i = 0; i < SUBJECT_STATE_COUNT; i++)
		list_init(&c->subjects[i]);
	timer_init(&c->arm_timer, l, arm_due, c);
	timer_init(&c->chores_timer, l, chores, c);
	capture_channel_replace(c, channel_fd);
	return c;
}

void capture_channel_replace(struct capture *c, int channel_fd)
{
	capture_channel_lost(c);
	c->channel = channel_fd;
	c->silent = false;
	if (channel_fd >= 0)
		c->watch = watch_new(c->loop, channel_fd, capture_hear, c);
}

bool capture_sampler_silent(const struct capture *c)
{
	return c->silent;
}

const struct capture_counters *capture_counters(const struct capture *c)
{
	return &c->counters;
}

/* --- the end of a record's stay --- */

/* The backend's part is over when its answer is: what the worker does while the client still reads is another's. */
static uint64_t captured_until(const struct record *r)
{
	const uint64_t *at = r->timeline.at;
	if (at[MARK_RESPONSE_END] != 0)
		return at[MARK_RESPONSE_END];
	return at[MARK_END] != 0 ? at[MARK_END] : clock_now_ns();
}

static void finish(struct capture *c, struct record *r)
{
	c->sink.finished(c->sink.context, r);
}

static void finish_unarmed(struct capture *c, struct record *r)
{
	r->capture.status = c->config->capture.enabled ? CAPTURE_NONE : CAPTURE_OFF;
	finish(c, r);
}

static void finish_subject(struct capture *c, struct subject *s)
{
	struct record *r = s->record;
	subject_result(c, s, captured_until(r), &r->capture);
	subject_free(c, s);
	finish(c, r);
}

static void finish_shown(struct capture *c, struct subject *s)
{
	struct record *r = s->record;
	r->capture = s->target;
	r->capture.status = CAPTURE_PARTIAL;
	static const char reason[] =
		"sampling ended at capture.max_duration; its profile came with slow_request_running";
	str_copy(r->capture.reason, sizeof r->capture.reason, reason, sizeof reason - 1);
	subject_free(c, s);
	finish(c, r);
}

static void finish_over_budget(struct capture *c, struct subject *s)
{
	struct record *r = s->record;
	static const char reason[] = "too many slow requests ended at once: this one's profile was not made";
	r->capture = s->target;
	r->capture.status = CAPTURE_BUDGET;
	str_copy(r->capture.reason, sizeof r->capture.reason, reason, sizeof reason - 1);
	subject_free(c, s);
	finish(c, r);
}

/* --- young --- */
static uint64_t began_ns(const struct record *r)
{
	uint64_t head = r->timeline.at[MARK_REQUEST_HEAD];
	return head != 0 ? head : r->timeline.at[MARK_BEGIN];
}

static void chores_wake(struct capture *c)
{
	if (!timer_running(&c->chores_timer))
		timer_start(&c->chores_timer, chores_every_ns);
}

static void arm(struct capture *c, struct record *r)
{
	struct subject *s = subject_new(c, r);
	subject_enter(c, s, subject_start(c, s) ? SUBJECT_STARTED : SUBJECT_WAITING);
	chores_wake(c);
}

/* Whether this one is looked at to know what is normal: so many a second of all loops together, at uneven distances. */
static bool normal_wanted(struct capture *c)
{
	uint32_t rate = c->config->capture.normal_per_second;
	uint64_t now = rate != 0 ? clock_now_ns() : 0;
	if (rate == 0 || now < c->normal_next_ns)
		return false;
	uint64_t distance = NS_PER_S * MAX(c->config->workers, 1u) / rate;
	c->normal_next_ns = now + distance / 2 + (now / NS_PER_US * UINT64_C(7919)) % distance;
	return true;
}

void capture_began(struct capture *c, struct record *r)
{
	if (!c->config->capture.enabled || r->threshold_ns == 0)
		return;
	r->sampled_anyway = normal_wanted(c);
	if (r->sampled_anyway) {
		arm(c, r);
		return;
	}
	list_push_back(&c->young, &r->node);
	if (!timer_running(&c->arm_timer))
		timer_start(&c->arm_timer, c->config->capture.arm_after_ns);
}

static void arm_due(void *capture)
{
	struct capture *c = capture;
	uint64_t now = clock_now_ns(), after = c->config->capture.arm_after_ns;
	while (!list_empty(&c->young)) {
		struct record *r = LIST_ENTRY(list_first(&c->young), struct record, node);
		uint64_t due = began_ns(r) + after;
		if (due > now) {
			timer_start(&c->arm_timer,
				chores_every_ns); /* one delay for all, which keeps timers cheap */
			return;
		}
		list_remove(&r->node);
		arm(c, r);
	}
}

/* --- ended --- */
/* Or one whose samples are wanted anyway. */
static void end_slow(struct capture *c, struct subject *s)
{
	if (s->state == SUBJECT_SHOWN) {
		finish_shown(c, s);
		return;
	}
	if (c->ending_count >= ENDING_MAX) {
		if (s->state == SUBJECT_STARTED && !subject_stop(c, s, false))
			log_debug("a STOP was lost; its order ends at its deadline");
		finish_over_budget(c, s);
		return;
	}
	if (s->state == SUBJECT_WAITING) {
		finish_subject(c, s);
		return;
	}
	s->asked = subject_stop(c, s, true);
	subject_enter(c, s, SUBJECT_ENDING);
	s->give_up_ns = c->silent ? 0 : clock_now_ns() + answer_within_ns;
	chores_wake(c);
}

static void end_fast(struct capture *c, struct subject *s)
{
	struct record *r = s->record;
	if (s->state == SUBJECT_STARTED && !subject_stop(c, s, false))
		log_debug("a STOP was lost; its order ends at its deadline");
	subject_free(c, s);
	finish_unarmed(c, r);
}

void capture_ended(struct capture *c, struct record *r)
{
	struct subject *s = r->armed;
	list_remove(&r->node); /* harmless when it was in no list */
	others_ended(c, r);
	if (s == NULL)
		finish_unarmed(c, r);
	else if (record_is_slow(r) || (r->sampled_anyway && s->state == SUBJECT_STARTED))
		end_slow(c, s);
	else
		end_fast(c, s);
}

/* --- chores --- */
static void waiting_start(struct capture *c)
{
	list_for_each_safe (node, &c->subjects[SUBJECT_WAITING]) {
		struct subject *s = LIST_ENTRY(node, struct subject, node);
		uint64_t dropped = c->counters.messages_dropped;
		if (subject_start(c, s))
			subject_enter(c, s, SUBJECT_STARTED);
		else if (c->channel < 0 || c->counters.messages_dropped != dropped)
			return; /* no room for any other either */
	}
}

/* Those whose STOP found no room. */
static void ending_ask(struct capture *c)
{
	list_for_each (node, &c->subjects[SUBJECT_ENDING]) {
		struct subject *s = LIST_ENTRY(node, struct subject, node);
		if (s->asked || s->answered)
			continue;
		s->asked = subject_stop(c, s, true);
		if (!s->asked)
			return;
	}
}

static void show_running(struct capture *c, struct subject *s)
{
	struct record *r = s->record;
	bool slow = record_is_slow(r);
	if (slow) {
		struct record *copy = record_copy_running(r);
		subject_result(c, s, captured_until(r), &copy->capture);
		finish(c, copy);
	}
	if (s->state == SUBJECT_STARTED && !subject_stop(c, s, false))
		log_debug("a STOP was lost; its order ends at its deadline");
	subject_enter(c, s, SUBJECT_SHOWN);
}

/* Subjects of a state stand in the order they were armed, so only the first ones can be due. */
static void show_due(struct capture *c, struct list *l, uint64_t now_ns)
{
	while (!list_empty(l)) {
		struct subject *s = LIST_ENTRY(list_first(l), struct subject, node);
		if (now_ns - began_ns(s->record) < c->config->capture.max_duration_ns)
			return;
		show_running(c, s);
	}
}

static void sampler_silent(struct capture *c)
{
	if (c->silent)
		return;
	c->silent = true;
	c->counters.sampler_losses++;
	log_warn("the sampler has not answered for %llu ms; nothing waits for it until it does",
		(unsigned long long)(answer_within_ns / NS_PER_MS));
}

/* heard_all: what the sampler has said by now is known, so that who is overdue is overdue. */
static void ending_finish(struct capture *c, bool heard_all, uint64_t now_ns)
{
	list_for_each_safe (node, &c->subjects[SUBJECT_ENDING]) {
		struct subject *s = LIST_ENTRY(node, struct subject, node);
		if (!s->answered && (now_ns < s->give_up_ns || !heard_all))
			continue;
		if (!s->answered && s->give_up_ns != 0)
			sampler_silent(c);
		finish_subject(c, s);
		if (clock_now_ns() - now_ns > cut_for_ns)
			return;
	}
}

static void chores(void *capture)
{
	struct capture *c = capture;
	uint64_t now = clock_now_ns();
	bool heard_all = capture_hear_some(c);
	ending_finish(c, heard_all, now);
	ending_ask(c);
	waiting_start(c);
	show_due(c, &c->subjects[SUBJECT_STARTED], now);
	show_due(c, &c->subjects[SUBJECT_WAITING], now);
	if (!list_empty(&c->subjects[SUBJECT_WAITING]) || !list_empty(&c->subjects[SUBJECT_STARTED]) ||
		!list_empty(&c->subjects[SUBJECT_ENDING]))
		timer_start(&c->chores_timer, chores_every_ns);
}

void capture_free(struct capture *c)
{
	while (!list_empty(&c->subjects[SUBJECT_ENDING]))
		finish_subject(c, LIST_ENTRY(list_first(&c->subjects[SUBJECT_ENDING]), struct subject, node));
	capture_channel_lost(c);
	timer_clear(&c->arm_timer);
	timer_clear(&c->chores_timer);
	dictionary_unref(c->dictionary);
	map_clear(&c->histories);
	map_clear(&c->by_id);
	free(c);
}
