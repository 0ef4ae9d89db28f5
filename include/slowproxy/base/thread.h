/* base/thread.h - a thread beside the loops. */
#ifndef SLOWPROXY_BASE_THREAD_H
#define SLOWPROXY_BASE_THREAD_H

#include <pthread.h>

/* main(context) runs on it. Signals are for the loop threads: here all are blocked, and SIGPIPE is an error like any other.
 * A machine that cannot start a thread ends the process with one sentence. name has at most 15 bytes. */
void thread_start(pthread_t *thread, const char *name, void *(*main)(void *context), void *context);

#endif
