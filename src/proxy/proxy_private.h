/* proxy_private.h - the objects of this room and who owns whom.
 *
 *   proxy ─┬─ client* ── exchange* ── record       exchange: from a pool, only while a request is served
 *          ├─ upstream* ─── link*                  link: a connection to the backend; idle in the pool, or an exchange's
 *          └─ block*                               traffic bytes: attached to a connection only while it has any
 *
 * Whatever is freed rests until the end of the loop's turn (loop_defer_free), so that a function may look at its
 * exchange after a call that could have ended it: x->state says.
 */
#ifndef SLOWPROXY_PROXY_PRIVATE_H
#define SLOWPROXY_PROXY_PRIVATE_H

#include <assert.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/list.h>
#include <slowproxy/base/network.h>
#include <slowproxy/base/str.h>
#include <slowproxy/http.h>
#include <slowproxy/proxy.h>

/* --- block.c: pooled buffers of one size, and the input of a connection that lies in one --- */
struct block {
	struct block *next; /* in the pool */
	char at[];
};

struct blocks {
	struct block *resting;
	size_t resting_count;
	size_t bytes; /* of each block */
	size_t in_use;
};

struct block *block_take(struct blocks *pool);
void block_give(struct blocks *pool, struct block *b);
void blocks_clear(struct blocks *pool);

/* Bytes read and not yet parsed: block->at[start..end). While pinned, bytes before start are still to be written. */
struct input {
	struct block *block; /* NULL when there are none */
	size_t start, end;
	bool pinned;
};

/* One read(2) into the free room. IO_AGAIN with *full set when there is no room. */
MUST_CHECK enum io_result input_fill(struct input *in, struct blocks *pool, struct stream *from, bool *full);
void input_drop(struct input *in, size_t len);
/* Gives the block back when nothing needs it. */
void input_rest(struct input *in, struct blocks *pool);
void input_clear(struct input *in, struct blocks *pool);
static inline size_t input_len(const struct input *in)
{
	return in->end - in->start;
}
static inline const char *input_at(const struct input *in)
{
	return in->block != NULL ? in->block->at + in->start : "";
}

/* --- half.c: one direction of an exchange: one batch at a time on its way --- */
struct half {
	struct input *input; /* where body bytes lie; lent */
	struct buf head;     /* goes first: a message's head */
	struct slice data;   /* body bytes, inside input's block */
	struct buf tail;     /* goes last: last chunk, trailers */
	char chunk_line[24];
	size_t chunk_line_len;     /* 0: the data is not a chunk */
	size_t total, written;     /* bytes of the batch */
	enum http_framing framing; /* how the body is written */
	uint64_t body_bytes;       /* taken in so far */
	unsigned batches;          /* begun since half_begin */
	bool source_done;          /* the batch is the message's last */
};

void half_begin(struct half *h, struct input *input);
/* The batch was written and is not needed any more: makes room for the next. */
void half_next_batch(struct half *h);
void half_add_body(struct half *h, struct slice body);
void half_seal(struct half *h, const struct slice *trailers); /* of the last batch; NULL: more will follow */
MUST_CHECK enum io_result half_flush(struct half *h, struct stream *to);
void half_clear(struct half *h);
static inline bool half_pending(const struct half *h)
{
	return h->written < h->total;
}

/* --- upstream.c: the backends; link.c: the connections to them --- */
enum { UPSTREAM_ADDRESSES = LOOKUP_ADDRESSES };

struct upstream {
	struct proxy *proxy;
	const struct config_address *address;
	const char *text; /* config's */
	struct net_address addresses[UPSTREAM_ADDRESSES];
	size_t address_count; /* 0: its name could not be resolved at start */
	size_t address_next;  /* the one that answered last, or is to be tried */
	struct list idle;     /* of struct link, last used first */

	bool named; /* by a host name, which may move */
	bool lookup_failed;
	unsigned generation;   /* counts its moves: connections to where it was are not used again */
	struct lookup *lookup; /* under way, or NULL */
	uint64_t looked_up_at_ns;
	struct timer resolve_timer;

	unsigned failures; /* connects in a row that failed */
	uint64_t shunned_until_ns;

	/* The backend's own keep-alive timeout, learned from three idle connections in a row that it closed at the same age. */
	uint64_t closes_after_ns; /* 0: not known */
	uint64_t guess_ns, guessed_at_ns;
	unsigned guess_votes;
	unsigned in_flight;
};

struct link {
	struct list_node node; /* in upstream->idle */
	struct proxy *proxy;
	struct upstream *upstream;
	unsigned generation; /* of the upstream when it connected */
	struct stream *stream;
	struct http_reader *reader;
	struct input input;
	struct timer idle_timer;
	struct exchange *exchange; /* NULL: idle */
	uint64_t idle_since_ns;
	uint64_t sent_bytes;    /* of finished exchanges: all acknowledged, since they were answered */
	uint64_t sending_bytes; /* of the exchange that runs */
	uint64_t acked_at_open; /* tcpi_bytes_acked of the new connection; UINT64_MAX: not known */
	bool ended;             /* the backend sent FIN or RST */
	int error;              /* errno of an RST */
};

/* tried: bits of those that are not to be taken. NULL: there is none left; *full says that one will have room again. */
struct upstream *upstream_pick(struct proxy *p, uint64_t tried, bool *full);
uint64_t upstream_bit(const struct upstream *u);
void upstream_connected(struct upstream *u);
void upstream_failed(struct upstream *u, const char *reason);
struct link *link_take_idle(struct upstream *u); /* NULL: none */
struct link *link_new(struct proxy *p, struct upstream *u, int fd);
void link_give_back(struct link *link);
void link_free(struct link *link);
bool link_never_delivered(const struct link *link, bool nothing_written);
void upstreams_init(struct proxy *p);
void upstreams_clear(struct proxy *p);

/* --- client.c --- */
enum client_state {
	CLIENT_IDLE,   /* between requests: no byte of the next one yet */
	CLIENT_HEAD,   /* part of a head is here */
	CLIENT_BUSY,   /* an exchange runs */
	CLIENT_LINGER, /* answered; what still comes is thrown away until the peer closes */
	CLIENT_CLOSED
};

struct client {
	struct list_node node; /* in proxy->clients */
	struct proxy *proxy;
	struct stream *stream;
	struct http_reader *reader;
	struct input input;
	struct timer timer; /* header, idle or linger, by state */
	struct exchange *exchange;
	enum client_state state;
	uint64_t begin_ns; /* first byte of the request */
	uint64_t accepted_ns;
	uint64_t rest_ns; /* end of its last exchange; 0: it has asked nothing yet */
	uint64_t lingered_bytes;
	bool parsing;  /* client_parse is on the stack */
	bool preamble; /* a header of the PROXY protocol comes first */
	bool trusted;  /* may say who the client is */
	bool counted;  /* among counters.clients; the others were refused for want of room */
	char address[64];
};

void client_accepted(void *proxy, int fd, const struct net_address *peer);
/* The exchange is over and its answer written. keep: the connection serves on; linger: bytes of the request may still come. */
void client_exchange_over(struct client *c, bool keep, bool linger);
void client_read_more(struct client *c);
/* Closes; with reset the peer shall see that the answer is not whole. */
void client_close(struct client *c, bool reset);
void client_drain(struct client *c);

/* --- the exchange --- */
enum exchange_state {
	X_NEW,
	X_BEGUN,      /* head checked and rewritten */
	X_QUEUED,     /* waits until a backend has room */
	X_CONNECTING, /* waits for a new connection */
	X_SENDING,    /* writes the request */
	X_WAITING,    /* request sent; no answer yet */
	X_RESPONDING, /* the answer's head is on its way; the request may be, too */
	X_ANSWERING,  /* an answer of our own is on its way */
	X_TUNNEL,     /* upgraded: bytes both ways */
	X_ENDED,
	X_STATE_COUNT
};

struct exchange {
	struct exchange *next_resting;
	struct list_node node; /* in proxy->queue */
	struct proxy *proxy;
	struct client *client;
	struct upstream *upstream; /* NULL: none has an address */
	struct link *link;
	struct connector *connector;
	struct record *record;
	struct timer timer;
	enum exchange_state state;
	enum outcome outcome;
	struct half request, response;
	unsigned connect_tries;   /* of the upstream's addresses */
	uint64_t tried_upstreams; /* bits: all their addresses failed */

	char trace_flags[3];
	bool trace_continued;
	uint8_t client_minor;
	bool client_keep_alive; /* the client wants to */
	bool close_client;      /* Connection: close was written */
	bool head_request, idempotent, upgrade;
	bool te_trailers;            /* the client takes trailers */
	bool replayed;               /* once is enough */
	bool request_lost;           /* the backend does not take the rest of it */
	bool response_seen;          /* any byte of it */
	bool response_head_done;     /* of the final one */
	bool interim;                /* the message being read is a 1xx */
	bool switching;              /* 101: a tunnel when its head is written */
	bool link_keep_alive;        /* the backend wants to */
	bool cut;                    /* after this batch the client is closed without a clean end */
	bool client_ended;           /* the client sent FIN, and a tunnel or client_abort: keep goes on */
	bool client_gone;            /* client_abort: keep; what is answered goes nowhere */
	bool client_told, link_told; /* tunnel: our FIN was sent there */
};

/* exchange.c */
void exchange_begin(struct client *c, const struct http_head *head);
void exchange_enter(struct exchange *x, enum exchange_state next);
void exchange_mark(struct exchange *x, enum mark mark);
void exchange_progress(struct exchange *x); /* bytes moved: the clock of stream_idle starts again */
void exchange_connect(struct exchange *x);  /* a connection of the pool, or a new one */
/* A new connection; elsewhere: to another backend, if one has room. */
void exchange_connect_again(struct exchange *x, bool elsewhere);
/* Why it will end otherwise than well; the first word counts. reason may be NULL. */
void exchange_blame(struct exchange *x, enum outcome outcome, const char *reason);
void exchange_finish(struct exchange *x); /* the answer is written */
void exchange_cut(
	struct exchange *x, enum outcome outcome, const char *reason); /* both sides are closed now */
void exchange_drop_link(struct exchange *x);
void exchanges_clear(struct proxy *p);
/* client_abort: keep, and the backend has or will have all of the request. */
bool exchange_outlives_client(const struct exchange *x);

void exchange_assign(struct exchange *x, struct upstream *u);

/* waiting.c: requests that wait until a backend has room */
void waiting_init(struct proxy *p);
void waiting_clear(struct proxy *p);
void waiting_join(struct exchange *x);
void waiting_leave(struct exchange *x);
void waiting_advance_soon(struct proxy *p); /* something has changed that may give room */

/* request.c */
void request_take_in(struct exchange *x);
void request_pump(struct exchange *x);
bool request_replay(struct exchange *x); /* true: it is on its way again, on a new connection */

/* response.c */
void response_pump(struct exchange *x);
/* Our own answer when none has begun, else a cut. */
void response_fail(struct exchange *x, enum outcome outcome, const char *reason);
void response_fail_with(struct exchange *x, enum outcome outcome, uint16_t status, const char *reason);

/* tunnel.c */
void tunnel_begin(struct exchange *x);
void tunnel_pump(struct exchange *x);
void tunnel_client_ended(struct exchange *x, bool reset);

/* What the streams' events mean for an exchange. */
void exchange_client_input(struct exchange *x, enum io_result r);
void exchange_client_writable(struct exchange *x);
void exchange_client_hangup(struct exchange *x);
void exchange_link_input(struct exchange *x, enum io_result r);
void exchange_link_writable(struct exchange *x);

/* --- trust.c: who in front is believed, and who the client is by what they say --- */
struct trust {
	struct network *networks;
	size_t count;
	bool unix_clients;
};

void trust_init(struct trust *t, const struct config *config);
void trust_clear(struct trust *t);
/* peer: the IP address, "" for the peer of a unix socket. */
bool trust_peer(const struct trust *t, const char *peer);
/* Into out: the last address in the list that none of the trusted has, or the first of all; the peer's where there is none.
 * For a peer that is trusted; of any other there is no list. */
void trust_client_address(
	const struct trust *t, struct slice forwarded_for, const char *peer, char *out, size_t out_bytes);

/* --- heads.c: what is added to heads --- */
void heads_forward_request(struct exchange *x, const struct http_head *head, struct buf *out);
void heads_begin_record(struct exchange *x, const struct http_head *head);
/* "X-Response-Time: ...\r\nX-Request-ID: ...\r\n" for an answer; valid until the next call. from: the backend's head, or NULL
 * for an answer of our own. *drop_name: the header of the backend's that ours replaces. */
struct slice heads_extra(
	struct proxy *p, const struct record *r, const struct http_head *from, struct slice *drop_name);
void request_id_new(char out[33]);

/* --- proxy.c --- */
struct listening {
	struct listening *next;
	struct listener *listener;
	bool lent;
};

struct proxy {
	struct loop *loop;
	const struct config *config;
	struct proxy_observer observer;
	struct proxy_counters counters;
	struct blocks blocks;
	struct http_limits request_limits, response_limits;

	struct listening *listening;
	struct trust trust;
	struct list clients;
	unsigned refused_clients; /* lingering beyond limits.connections */

	struct upstream *upstreams;
	size_t upstream_count;
	size_t upstream_turn;
	unsigned upstream_share; /* of limits.upstream_connections; 0: no bound */
	struct list queue;       /* of struct exchange, oldest first; counters.queued of them */
	struct timer queue_timer;

	struct exchange *resting_exchanges;
	size_t resting_count;

	bool ending;    /* each answer says Connection: close */
	bool last_call; /* draining: whoever is at rest has a moment to ask, and no more */
	bool freeing;
	struct timer drain_timer, door_timer;
	struct timer complaint_pause; /* runs: one was logged less than a second ago */
	uint32_t complaints_unsaid;
	void (*drained)(void *context);
	void *drained_context;

	/* Scratch of one call: a loop has one thread. */
	struct http_head request_head, response_head;
	struct buf extra, forwarded_for, more;
	struct slice response_time_name; /* config's; empty: the header is off */
};

void proxy_client_closed(struct proxy *p);
void proxy_count(struct proxy *p, enum outcome outcome);
/* One line a second at most, however many exchanges fail. */
void proxy_complain(struct proxy *p, const struct record *r);

#endif
