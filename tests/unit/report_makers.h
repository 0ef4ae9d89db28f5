/* report_makers.h - records and profiles for the tests of the report room. */
#ifndef SLOWPROXY_TEST_REPORT_MAKERS_H
#define SLOWPROXY_TEST_REPORT_MAKERS_H

#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/report.h>

#define MS NS_PER_MS

static inline struct config config_make(void)
{
	return (struct config){
		.service = "web",
		.logs = { .slow = "off", .access = "off", .queue_lines = 64 },
		.capture = { .directory = "", .max_bytes = 1 << 20 },
	};
}

/* 1532.114 ms, of them 2 connecting and 1520 in the app. */
static inline struct record *record_make(void)
{
	static const uint64_t at_us[MARK_COUNT] = {
		[MARK_BEGIN] = 0,
		[MARK_REQUEST_HEAD] = 100,
		[MARK_CONNECT_BEGIN] = 200,
		[MARK_UPSTREAM] = 2200,
		[MARK_REQUEST_SENT] = 2300,
		[MARK_RESPONSE_BEGIN] = 1522300,
		[MARK_RESPONSE_HEAD] = 1522400,
		[MARK_RESPONSE_END] = 1522500,
		[MARK_END] = 1532114,
	};
	struct record *r = record_new(clock_now_ns());
	for (enum mark m = 0; m < MARK_COUNT; m++)
		r->timeline.at[m] = 1000 * NS_PER_S + at_us[m] * NS_PER_US;
	r->began_wall_ns = UINT64_C(1795332234123456789);
	r->threshold_ns = 500 * MS;
	strcpy(r->method, "GET");
	strcpy(r->path, "/items/42");
	strcpy(r->route, "/items/{id}");
	strcpy(r->request_id, "r-1");
	strcpy(r->trace_id, "0af7651916cd43dd8448eb211c80319c");
	strcpy(r->span_id, "b7ad6b7169203331");
	strcpy(r->client_address, "10.0.0.7:51234");
	strcpy(r->upstream_address, "127.0.0.1:8000");
	r->http_minor = 1;
	r->status = 200;
	r->response_bytes = 512;
	r->capture.status = CAPTURE_OK;
	r->capture.worker_pid = 8149;
	strcpy(r->capture.worker_python, "3.11.2");
	strcpy(r->capture.worker_server, "uvicorn");
	return r;
}

enum stack_name {
	EPOLL,
	RENDER,
	RENDER_89,
	FETCH,
	SYNC,
	POOL_IDLE,
	BACKGROUND,
	RUN_ONCE,
	EMPTY,
	STACK_NAMES
};

#define LIB "/usr/lib/python3.11/"
#define PKG "/usr/lib/python3/dist-packages/"
static const struct profile_frame frames_of[STACK_NAMES][4] = {
	[EPOLL] = { { "run", LIB "asyncio/base_events.py", 607 }, { "select", LIB "selectors.py", 468 } },
	[RENDER] = { { "run", LIB "asyncio/base_events.py", 607 }, { "app", PKG "fastapi/routing.py", 237 },
		{ "render", "/app/app.py", 88 }, { "dumps", LIB "json/__init__.py", 231 } },
	[RENDER_89] = { { "run", LIB "asyncio/base_events.py", 607 },
		{ "app", PKG "fastapi/routing.py", 237 }, { "render", "/app/app.py", 89 } },
	[FETCH] = { { "app", PKG "starlette/routing.py", 66 }, { "fetch", "/app/db.py", 12 },
		{ "sleep", LIB "asyncio/tasks.py", 639 } },
	[SYNC] = { { "run", PKG "anyio/_backends/_asyncio.py", 867 }, { "report", "/app/app.py", 40 } },
	[POOL_IDLE] = { { "run", PKG "anyio/_backends/_asyncio.py", 860 }, { "get", LIB "queue.py", 171 } },
	[BACKGROUND] = { { "run", LIB "threading.py", 975 }, { "push_metrics", "/app/metrics.py", 5 } },
	[RUN_ONCE] = { { "run", LIB "asyncio/base_events.py", 607 },
		{ "_run_once", LIB "asyncio/base_events.py", 1919 } },
};

static inline uint32_t add_stack(struct profile *p, enum stack_name name)
{
	uint32_t frames[4], depth = 0;
	for (; depth < 4 && frames_of[name][depth].function != NULL; depth++) {
		const struct profile_frame *f = &frames_of[name][depth];
		frames[depth] = profile_add_frame(p, f->function, f->file, f->line);
	}
	return profile_add_stack(p, frames, depth);
}

/* One lane seen in so many ticks of 10 ms, from a tick on. */
struct seen {
	enum profile_lane_kind kind;
	uint64_t id;
	enum stack_name stack;
	enum profile_state state;
	unsigned from, ticks;
};

static inline struct profile *profile_make(const struct seen *rows, size_t count)
{
	struct profile *p = profile_new();
	for (unsigned tick = 0; tick < 200; tick++)
		for (size_t i = 0; i < count && rows[i].ticks != 0; i++) {
			if (tick < rows[i].from || tick >= rows[i].from + rows[i].ticks)
				continue;
			struct profile_sample s = {
				.at_ns = 1000 * NS_PER_S + tick * 10 * MS +
					 i * 1000, /* lanes are read one after the other */
				.weight_ns = 10 * MS,
				.lane = profile_add_lane(p, rows[i].kind, rows[i].id, "lane"),
				.stack = add_stack(p, rows[i].stack),
				.state = rows[i].state,
				.syscall = rows[i].state == PROFILE_BLOCKED ? 230 : -1,
			};
			profile_add_sample(p, &s);
		}
	return p;
}

static inline void record_sample(struct record *r, const struct seen *rows, size_t count)
{
	r->capture.profile = profile_make(rows, count);
	r->capture.samples = r->capture.samples_expected = 150;
}

static inline struct record *record_with_render(void)
{
	static const struct seen rows[] = { { PROFILE_LANE_LOOP, 1, RENDER, PROFILE_BLOCKED, 0, 149 } };
	struct record *r = record_make();
	record_sample(r, rows, ARRAY_LEN(rows));
	return r;
}
/* A test's last word: no record stays behind. */
static inline int forget_records(void **state)
{
	(void)state;
	record_thread_end();
	return 0;
}

#endif
