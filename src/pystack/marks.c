/* marks.c - one line per fact: this function of this file means that. */
#include "marks.h"

#include <string.h>

#include <slowproxy/base/mem.h>

static const struct {
	const char *file_end, *function;
	enum mark mark;
} marks[] = {
	{ "asyncio/base_events.py", "BaseEventLoop.run_forever", MARK_LOOP },
	{ "asyncio/base_events.py", "BaseEventLoop._run_once", MARK_LOOP },
	{ "asyncio/runners.py", "Runner.run", MARK_LOOP }, /* all that uvloop shows of itself */
	{ "asyncio/runners.py", "run", MARK_LOOP },        /* the same before 3.11 */
	{ "uvicorn/_compat.py", "asyncio_run", MARK_LOOP },
	{ "selectors.py", "EpollSelector.select", MARK_SELECTOR },
	{ "selectors.py", "PollSelector.select", MARK_SELECTOR },
	{ "selectors.py", "_PollLikeSelector.select", MARK_SELECTOR },
	{ "selectors.py", "SelectSelector.select", MARK_SELECTOR },
	{ "selectors.py", "SelectSelector._select", MARK_SELECTOR },
	{ "granian/server/mp.py", "MPServer._spawn_asgi_worker", MARK_LOOP },
	{ "granian/server/mp.py", "MPServer._spawn_asgi_lifespan_worker", MARK_LOOP },
	{ "granian/server/mp.py", "MPServer._spawn_rsgi_worker", MARK_LOOP },
	{ "granian/server/mt.py", "MTServer._spawn_asgi_worker", MARK_LOOP },
	{ "granian/server/mt.py", "MTServer._spawn_asgi_lifespan_worker", MARK_LOOP },
	{ "granian/server/mt.py", "MTServer._spawn_rsgi_worker", MARK_LOOP },
	{ "gevent/hub.py", "Hub.run", MARK_LOOP },
	{ "socketserver.py", "BaseServer.serve_forever", MARK_LOOP },
	{ "gunicorn/workers/gthread.py", "ThreadWorker.run", MARK_LOOP },
	{ "gunicorn/workers/sync.py", "SyncWorker.wait", MARK_LOOP },
	{ "threading.py", "Condition.wait", MARK_WAITING },
	{ "queue.py", "Queue.get", MARK_WAITING },
	{ "concurrent/futures/thread.py", "_worker", MARK_WORKER },
	{ "waitress/task.py", "ThreadedTaskDispatcher.handler_thread", MARK_QUEUED_WORKER },
	{ "anyio/_backends/_asyncio.py", "WorkerThread.run", MARK_QUEUED_WORKER },
};

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);
	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static bool names(const char *qualified, const char *function, bool plain_names)
{
	const char *dot = plain_names ? strrchr(qualified, '.') : NULL;
	return strcmp(dot != NULL ? dot + 1 : qualified, function) == 0;
}

enum mark mark_of(const char *file, const char *function, bool plain_names)
{
	for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
		if (names(marks[i].function, function, plain_names) && ends_with(file, marks[i].file_end))
			return marks[i].mark;
	}
	return MARK_NONE;
}

bool mark_library(const char *file)
{
	static const char *const parts[] = { "/site-packages/", "/dist-packages/", "/lib/python",
		"/lib64/python" };
	bool found = file[0] == '\0' || file[0] == '<';
	for (size_t i = 0; !found && i < ARRAY_LEN(parts); i++)
		found = strstr(file, parts[i]) != NULL;
	return found;
}
