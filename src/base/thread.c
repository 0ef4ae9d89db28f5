/* thread.c - a thread beside the loops. */
#include <slowproxy/base/thread.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/log.h>

void thread_start(pthread_t *thread, const char *name, void *(*main)(void *context), void *context)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int failed = pthread_create(thread, NULL, main, context);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed) {
		log_error("the %s thread cannot be started: %s", name, strerror(failed));
		abort();
	}
	pthread_setname_np(*thread, name);
}
