/* net_private.h - what the files of this room share and nobody else sees. */
#ifndef SLOWPROXY_NET_PRIVATE_H
#define SLOWPROXY_NET_PRIVATE_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include <slowproxy/net.h>

struct event_base *loop_base(struct loop *l);
/* The instant that loop_now_ns gave is over: said before each call out of this room, and after each system call that moves bytes. */
void loop_time_passed(struct loop *l);

/* timer.c: the loop's timers, all behind one event. */
struct timers;
struct timers *timers_new(struct loop *l);
void timers_free(struct timers *all);
struct timers *loop_timers(struct loop *l);

#endif
