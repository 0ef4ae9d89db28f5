/* lookup.c - looks a host name up without holding the loop.
 *
 *   loop    lookup ---- job ---- thread: getaddrinfo, which nobody can hurry
 *             ^ eventfd _|
 *
 * The job is held by both and freed by the last: a thread that is still in getaddrinfo outlives loop and lookup.
 */
#include "net_private.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <slowproxy/base/log.h>

struct job {
	atomic_int holders;
	int done_fd; /* readable when the rest is filled */
	char host[256];
	uint16_t port;
	struct net_address addresses[LOOKUP_ADDRESSES];
	size_t count;
	char why[160];
};

struct lookup {
	struct loop *loop;
	struct job *job;
	struct watch *watch;
	void (*done)(void *context, const struct net_address *addresses, size_t count, const char *why);
	void *context;
};

static void job_release(struct job *job)
{
	if (atomic_fetch_sub(&job->holders, 1) != 1)
		return;
	close(job->done_fd);
	free(job);
}

static void *job_run(void *context)
{
	struct job *job = context;
	struct buf why = { 0 };
	uint64_t one = 1;
	job->count = net_resolve(false, job->host, job->port, job->addresses, LOOKUP_ADDRESSES, &why);
	snprintf(job->why, sizeof job->why, "%s", why.data != NULL ? why.data : "none found");
	buf_clear(&why);
	ssize_t told = write(job->done_fd, &one, sizeof one);
	(void)told; /* an eventfd takes its first number always */
	job_release(job);
	return NULL;
}

/* false: there is no thread to be had. */
static bool job_start(struct job *job)
{
	pthread_t thread;
	atomic_init(&job->holders, 2);
	if (pthread_create(&thread, NULL, job_run, job) == 0) {
		pthread_detach(thread);
		return true;
	}
	uint64_t one = 1;
	ssize_t told = write(job->done_fd, &one, sizeof one);
	(void)told;
	snprintf(job->why, sizeof job->why, "no thread to look it up");
	job_release(job);
	return false;
}

static void job_done(void *context)
{
	struct lookup *lookup = context;
	struct job *job = lookup->job;
	uint64_t one;
	if (read(job->done_fd, &one, sizeof one) != (ssize_t)sizeof one)
		return;
	watch_free(lookup->watch);
	lookup->done(lookup->context, job->addresses, job->count, job->why);
	job_release(job);
	loop_defer_free(lookup->loop, lookup, free);
}

struct lookup *lookup_new(struct loop *l, const char *host, uint16_t port,
	void (*done)(void *context, const struct net_address *addresses, size_t count, const char *why),
	void *context)
{
	struct lookup *lookup = xcalloc(1, sizeof *lookup);
	struct job *job = xcalloc(1, sizeof *job);
	*lookup = (struct lookup){ .loop = l, .job = job, .done = done, .context = context };
	snprintf(job->host, sizeof job->host, "%s", host);
	job->port = port;
	job->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (job->done_fd < 0) {
		free(job);
		free(lookup);
		return NULL;
	}
	lookup->watch = watch_new(l, job->done_fd, job_done, lookup);
	if (!job_start(job))
		log_debug("%s: %s", host, job->why);
	return lookup;
}

void lookup_free(struct lookup *lookup)
{
	if (lookup == NULL)
		return;
	watch_free(lookup->watch);
	job_release(lookup->job);
	loop_defer_free(lookup->loop, lookup, free);
}
