/* notify.h - tells the service manager how we are (the datagrams of sd_notify(3)), when there is one that listens. */
#ifndef SLOWPROXY_APP_NOTIFY_H
#define SLOWPROXY_APP_NOTIFY_H

/* Assignments divided by newlines: "READY=1\nSTATUS=...". Nothing happens without NOTIFY_SOCKET in the environment. */
__attribute__((format(printf, 1, 2))) void notify(const char *format, ...);
/* RELOADING=1, with the instant that Type=notify-reload wants to know. */
void notify_reloading(void);

#endif
