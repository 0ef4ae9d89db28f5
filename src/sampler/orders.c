/* orders.c - finds the worker behind each request and keeps book of who wants whom. */
#include "orders.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/log.h>
#include <slowproxy/base/str.h>

enum {
	ORDERS_MAX = 50000,
	LOOKUPS_MAX = 256, /* per search: about a millisecond */
	NAMESPACES_MAX = 16
};
static const uint64_t look_again_first_ns = 10 * NS_PER_MS, look_again_ns = 20 * NS_PER_MS,
		      look_again_late_ns = 200 * NS_PER_MS, namespaces_every_ns = NS_PER_S;

enum order_state { ORDER_SEARCHING, ORDER_READING, ORDER_FAILED };

struct order {
	struct list_node node;
	uint64_t id;
	size_t channel;
	enum order_state state;
	struct ipc_connection connection;
	uint64_t span; /* by which the server's frames name the request; 0: none */
	uint64_t deadline_ns, next_look_ns;
	uint64_t inode; /* of the server's socket; 0 while unknown */
	unsigned looks;
	struct worker
		*worker; /* while READING; while SEARCHING: the one that will accept it, as far as we know */
	/* What the proxy was told last. */
	bool told;
	enum ipc_status told_status;
	uint32_t told_worker;
};

void orders_init(struct orders *os, struct outbox *boxes, size_t box_count)
{
	memset(os, 0, sizeof *os);
	os->boxes = boxes;
	os->box_count = box_count;
	os->by_id = xcalloc(box_count, sizeof *os->by_id);
	list_init(&os->searching);
	list_init(&os->reading);
	list_init(&os->failed);
	workers_init(&os->workers);
	diag_init(&os->diag);
}

static struct list *list_of(struct orders *os, enum order_state state)
{
	switch (state) {
	case ORDER_SEARCHING:
		return &os->searching;
	case ORDER_READING:
		return &os->reading;
	case ORDER_FAILED:
		break;
	}
	return &os->failed;
}

static void span_want(struct worker *w, uint64_t span, int change)
{
	uint64_t count = 0;
	if (span == 0)
		return;
	map_get(&w->wanted_spans, span, &count);
	count += (uint64_t)change;
	if (count != 0)
		map_put(&w->wanted_spans, span, count);
	else
		map_remove(&w->wanted_spans, span);
}

/* The one place where an order changes its state: the worker's count of wants is kept here. */
static void order_enter(struct orders *os, struct order *o, enum order_state next, struct worker *w)
{
	if (o->worker != NULL) {
		span_want(o->worker, o->span, -1);
		o->worker->wanted--;
		os->wanted--;
		o->worker->wanted_on[o->channel]--;
	}
	o->worker = w;
	if (o->worker != NULL) {
		span_want(o->worker, o->span, 1);
		o->worker->wanted++;
		os->wanted++;
		o->worker->wanted_on[o->channel]++;
	}
	o->state = next;
	list_remove(&o->node);
	list_push_back(list_of(os, next), &o->node);
}

static void order_free(struct orders *os, struct order *o)
{
	order_enter(os, o, ORDER_FAILED, NULL);
	list_remove(&o->node);
	map_remove(&os->by_id[o->channel], o->id);
	os->count--;
	free(o);
}

void orders_clear(struct orders *os)
{
	struct list *lists[] = { &os->searching, &os->reading, &os->failed };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		list_for_each_safe (node, lists[i])
			order_free(os, LIST_ENTRY(node, struct order, node));
	for (size_t i = 0; i < os->box_count; i++)
		map_clear(&os->by_id[i]);
	free(os->by_id);
	workers_clear(&os->workers);
	holders_clear(&os->holders);
	diag_clear(&os->diag);
}

/* --- what the proxy hears --- */
static void target_tell(struct orders *os, struct order *o, enum ipc_status status, const struct worker *w,
	const char *reason)
{
	uint32_t key = w != NULL ? w->key : 0;
	if (o->told && o->told_status == status && o->told_worker == key)
		return;
	o->told = true;
	o->told_status = status;
	o->told_worker = key;
	struct ipc_target m = {
		.head = { IPC_TARGET, sizeof m, key }, .id = o->id, .status = status, .pid = w ? w->pid : 0
	};
	if (w != NULL) {
		memcpy(m.python, w->version, sizeof m.python);
		memcpy(m.server, w->server, sizeof m.server);
	}
	str_copy(m.reason, sizeof m.reason, reason, strlen(reason));
	outbox_add(&os->boxes[o->channel], &m);
}

static void end_tell(struct outbox *box, uint64_t id, enum ipc_status status, const char *reason)
{
	struct ipc_capture_end m = { .head = { IPC_CAPTURE_END, sizeof m, 0 }, .id = id, .status = status };
	str_copy(m.reason, sizeof m.reason, reason, strlen(reason));
	outbox_add(box, &m);
}

void orders_prove(struct orders *os, struct worker *w, uint64_t now_ns)
{
	uint32_t ids[CHANGED_MAX];
	struct ipc_suspect m = {
		.head = { IPC_SUSPECT, sizeof m, w->key }, .from_ns = w->proven_ns, .to_ns = now_ns
	};
	size_t count = worker_changed_code(w, now_ns, ids);
	if (count == 0)
		return;
	for (size_t i = 0; i < os->box_count; i++) {
		if (w->wanted_on[i] == 0)
			continue;
		if (count > CHANGED_MAX) /* too many to be named one by one */
			outbox_add(&os->boxes[i], &m);
		else
			outbox_suspect(&os->boxes[i], &m, w->epoch, ids, count);
	}
	worker_forget_code(&os->workers, w);
}

static void order_watched_end(struct orders *os, struct order *o, uint64_t now_ns);

/* --- START and STOP --- */
void orders_start(struct orders *os, size_t channel, const struct ipc_capture_start *m, uint64_t now_ns)
{
	uint64_t known;
	if (map_get(&os->by_id[channel], m->id, &known))
		return; /* said twice */
	struct order *o = xcalloc(1, sizeof *o);
	o->id = m->id;
	o->channel = channel;
	o->connection = m->connection;
	o->span = m->span;
	o->deadline_ns = m->deadline_ns;
	o->next_look_ns = now_ns;
	if (os->count >= ORDERS_MAX) {
		target_tell(os, o, IPC_STATUS_BUDGET, NULL, "too many requests are captured at once");
		free(o);
		return;
	}
	os->count++;
	map_put(&os->by_id[channel], o->id, (uint64_t)(uintptr_t)o);
	order_enter(os, o, ORDER_SEARCHING, NULL);
}

void orders_stop(struct orders *os, size_t channel, const struct ipc_capture_stop *m, uint64_t now_ns)
{
	uint64_t found;
	struct outbox *box = &os->boxes[channel];
	if (!map_get(&os->by_id[channel], m->id, &found)) {
		if (m->wants_end)
			end_tell(box, m->id, IPC_STATUS_BUDGET, "the sampler had ended this capture before");
		return;
	}
	struct order *o = (struct order *)(uintptr_t)found;
	if (m->wants_end) {
		if (o->state == ORDER_SEARCHING && o->worker != NULL)
			order_watched_end(os, o, now_ns);
		if (o->worker != NULL && worker_alive(o->worker))
			orders_prove(os, o->worker, now_ns);
		/* Status and reason as told in TARGET stand: nothing to add. */
		end_tell(box, o->id, o->told ? o->told_status : IPC_STATUS_NO_WORKER, "");
	}
	order_free(os, o);
}

static void list_channel_free(struct orders *os, struct list *l, size_t channel)
{
	list_for_each_safe (node, l) {
		struct order *o = LIST_ENTRY(node, struct order, node);
		if (o->channel == channel)
			order_free(os, o);
	}
}

void orders_channel_closed(struct orders *os, size_t channel)
{
	list_channel_free(os, &os->searching, channel);
	list_channel_free(os, &os->reading, channel);
	list_channel_free(os, &os->failed, channel);
}

void orders_expire(struct orders *os, uint64_t now_ns)
{
	struct list *lists[] = { &os->searching, &os->reading, &os->failed };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		list_for_each_safe (node, lists[i]) {
			struct order *o = LIST_ENTRY(node, struct order, node);
			if (now_ns >= o->deadline_ns)
				order_free(os, o);
		}
	}
}

/* --- searching --- */

static uint64_t address_key(const struct ipc_connection *c)
{
	return hash_bytes(c->peer_address, sizeof c->peer_address) + c->peer_port;
}

/* The worker is known: what it is decides what becomes of the order. */
static void order_settle(struct orders *os, struct order *o, pid_t pid, uint64_t now_ns)
{
	bool too_many;
	struct worker *w = workers_get(&os->workers, pid, now_ns, &too_many);
	if (too_many) {
		target_tell(os, o, IPC_STATUS_BUDGET, NULL, "too many worker processes are captured at once");
		order_enter(os, o, ORDER_FAILED, NULL);
		return;
	}
	target_tell(os, o, w->status, w, w->reason);
	if (w->status == IPC_STATUS_OK) {
		map_put(&w->served_at, address_key(&o->connection), 1);
		order_enter(os, o, ORDER_READING, w);
	} else if (w->may_recover) {
		order_enter(os, o, ORDER_SEARCHING, NULL);
		o->next_look_ns = MAX(w->retry_at_ns, now_ns + look_again_ns);
	} else {
		order_enter(os, o, ORDER_FAILED, NULL);
	}
}

static void order_wait(struct order *o, uint64_t now_ns)
{
	uint64_t wait = o->looks < 4    ? look_again_first_ns
			: o->looks < 50 ? look_again_ns
					: look_again_late_ns;
	o->next_look_ns = now_ns + wait;
}

/* Asks each other network namespace we can see, by way of a process in it: a sidecar that shares only the pids. */
static enum peer_result other_namespaces_ask(const struct ipc_connection *c, uint64_t *inode)
{
	char own[64] = "", seen[NAMESPACES_MAX][64];
	size_t seen_count = 0;
	if (readlink("/proc/self/ns/net", own, sizeof own - 1) <= 0)
		return PEER_NONE;
	DIR *dir = opendir("/proc");
	if (dir == NULL)
		return PEER_NONE;
	enum peer_result r = PEER_NONE;
	for (struct dirent *e; r == PEER_NONE && seen_count < NAMESPACES_MAX && (e = readdir(dir)) != NULL;) {
		char path[300], ns[64] = "";
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof path, "/proc/%s/ns/net", e->d_name);
		if (readlink(path, ns, sizeof ns - 1) <= 0 || strcmp(ns, own) == 0)
			continue;
		bool known = false;
		for (size_t i = 0; i < seen_count; i++)
			known |= strcmp(seen[i], ns) == 0;
		if (known)
			continue;
		memcpy(seen[seen_count++], ns, sizeof ns);
		r = peer_inode_from_proc((pid_t)strtol(e->d_name, NULL, 10), c, inode);
	}
	closedir(dir);
	return r;
}

/* Nobody has accepted the connection yet. When only one worker was ever seen to accept at that address, it is busy: looking
 * at it tells with what. Whether it was the one in the end is checked when it accepts, or at STOP. */
static void order_watch(struct orders *os, struct order *o)
{
	struct worker *only = o->worker;
	unsigned count = 0;
	if (only == NULL && o->connection.family != AF_UNIX)
		list_for_each (node, &os->workers.list) {
			struct worker *w = LIST_ENTRY(node, struct worker, node);
			uint64_t unused;
			if (w->status != IPC_STATUS_OK ||
				!map_get(&w->served_at, address_key(&o->connection), &unused))
				continue;
			only = w;
			count++;
		}
	if (count > 1)
		only = NULL;
	target_tell(os, o, IPC_STATUS_NOT_ACCEPTED, only, "");
	if (only != NULL && o->worker == NULL)
		order_enter(os, o, ORDER_SEARCHING, only);
}

/* From connection to inode. false: nothing more to do for this order now. */
static bool order_inode_find(struct orders *os, struct order *o, uint64_t now_ns)
{
	if (o->inode != 0)
		return true;
	o->looks++;
	enum peer_result r = peer_inode(&os->diag, &o->connection, &o->inode);
	if (r == PEER_NONE && o->connection.family != AF_UNIX && now_ns >= os->namespaces_next_ns) {
		os->namespaces_next_ns = now_ns + namespaces_every_ns;
		r = other_namespaces_ask(&o->connection, &o->inode);
		if (r == PEER_FOUND)
			os->namespaces_next_ns = now_ns; /* this is where the backend lives */
	}
	if (r == PEER_FOUND)
		return true;
	if (r == PEER_NOT_ACCEPTED)
		order_watch(os, o);
	else if (o->looks > 3)
		target_tell(os, o, IPC_STATUS_NO_WORKER, NULL,
			"the other end of the connection is not a socket of this machine that we can see");
	order_wait(o, now_ns);
	return false;
}

/* Nobody was seen to hold the socket. */
static void order_unheld(struct orders *os, struct order *o, bool saw_everybody, uint64_t now_ns)
{
	if (saw_everybody && os->holders.saw_denied)
		target_tell(os, o, IPC_STATUS_DENIED, NULL,
			"the worker's descriptors may not be listed; run slowproxy as the worker's user, or give it "
			"CAP_SYS_PTRACE: `slowproxy doctor` tells how");
	else if (saw_everybody)
		target_tell(os, o, IPC_STATUS_NO_WORKER, NULL,
			"no process we can see holds the other end of the connection; share the pid namespace with "
			"the backend: `slowproxy doctor` tells how");
	order_wait(o, now_ns);
	if (saw_everybody)
		o->inode = 0; /* ask anew: the connection may have been handed on or closed */
}

/* Answered before we saw who had accepted it: was it the one that was looked at? */
static void order_watched_end(struct orders *os, struct order *o, uint64_t now_ns)
{
	struct map wanted = { 0 };
	pid_t pid;
	if (peer_inode(&os->diag, &o->connection, &o->inode) != PEER_FOUND)
		return;
	map_put(&wanted, o->inode, 1);
	if (!holder_known(&os->holders, o->inode, &pid)) {
		(void)holders_look(&os->holders, &wanted, now_ns);
		if (!holder_known(&os->holders, o->inode, &pid))
			pid = 0;
	}
	map_clear(&wanted);
	if (pid != 0)
		order_settle(os, o, pid, now_ns);
}

uint64_t orders_search(struct orders *os, uint64_t now_ns)
{
	struct map wanted = { 0 };
	struct list unheld;
	unsigned lookups = 0;
	uint64_t next_ns = 0;

	list_init(&unheld);
	list_for_each_safe (node, &os->searching) {
		struct order *o = LIST_ENTRY(node, struct order, node);
		pid_t pid;
		if (now_ns < o->next_look_ns)
			continue;
		if (lookups++ == LOOKUPS_MAX)
			break;
		list_remove(&o->node); /* goes to the back: the next search begins with others */
		list_push_back(&os->searching, &o->node);
		if (!order_inode_find(os, o, now_ns))
			continue;
		if (holder_known(&os->holders, o->inode, &pid)) {
			order_settle(os, o, pid, now_ns);
			continue;
		}
		map_put(&wanted, o->inode, 1);
		list_remove(&o->node);
		list_push_back(&unheld, &o->node);
	}
	/* One look serves all of them. */
	bool saw_everybody = holders_look(&os->holders, &wanted, now_ns);
	map_clear(&wanted);
	list_for_each_safe (node, &unheld) {
		struct order *o = LIST_ENTRY(node, struct order, node);
		pid_t pid;
		list_remove(&o->node);
		list_push_back(&os->searching, &o->node);
		if (holder_known(&os->holders, o->inode, &pid))
			order_settle(os, o, pid, now_ns);
		else
			order_unheld(os, o, saw_everybody, now_ns);
	}
	list_for_each (node, &os->searching) {
		struct order *o = LIST_ENTRY(node, struct order, node);
		if (next_ns == 0 || o->next_look_ns < next_ns)
			next_ns = o->next_look_ns;
	}
	/* Many that wait must not keep us from the ticks. */
	return next_ns == 0 ? 0 : MAX(next_ns, now_ns + 5 * NS_PER_MS);
}

void orders_worker_changed(struct orders *os, struct worker *w, uint64_t now_ns)
{
	list_for_each_safe (node, &os->searching) {
		struct order *o = LIST_ENTRY(node, struct order, node);
		if (o->worker == w)
			order_enter(os, o, ORDER_SEARCHING, NULL);
	}
	list_for_each_safe (node, &os->reading) {
		struct order *o = LIST_ENTRY(node, struct order, node);
		if (o->worker != w)
			continue;
		target_tell(os, o, w->status, w, w->reason);
		if (w->may_recover) {
			o->next_look_ns = MAX(w->retry_at_ns, now_ns + look_again_ns);
			order_enter(os, o, ORDER_SEARCHING, NULL);
		} else {
			order_enter(os, o, ORDER_FAILED, NULL);
		}
	}
}
