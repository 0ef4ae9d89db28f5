/* tunnel.c - after 101 Switching Protocols: bytes both ways, each end told when the other has finished.
 *
 *   client FIN -> what is left goes to the backend -> FIN to the backend      (and the same the other way)
 *   both FINs passed on -> the exchange ends
 */
#include "proxy_private.h"

/* One direction. */
struct way {
	struct half *half;
	struct input *input;
	struct stream *from, *to;
	bool ended; /* the source */
	bool *told; /* the sink */
};

/* false: the sink is gone. */
static bool way_pump(struct exchange *x, const struct way *w)
{
	for (;;) {
		size_t before = w->half->written;
		enum io_result r = half_flush(w->half, w->to);
		if (w->half->written != before)
			exchange_progress(x);
		stream_want_writable(w->to, r == IO_AGAIN);
		if (r != IO_OK)
			return r == IO_AGAIN;
		half_next_batch(w->half);
		if (input_len(w->input) == 0)
			break;
		half_add_body(w->half, (struct slice){ input_at(w->input), input_len(w->input) });
		input_drop(w->input, input_len(w->input));
		half_seal(w->half, NULL);
	}
	input_rest(w->input, &x->proxy->blocks);
	if (!w->ended) {
		stream_pause_read(w->from, false);
	} else if (!*w->told) {
		*w->told = true;
		stream_shutdown_write(w->to);
	}
	return true;
}

void tunnel_pump(struct exchange *x)
{
	struct client *c = x->client;
	struct link *link = x->link;
	const struct way up = { &x->request, &c->input, c->stream, link->stream, x->client_ended,
		&x->link_told };
	const struct way down = { &x->response, &link->input, link->stream, c->stream, link->ended,
		&x->client_told };

	bool alive = way_pump(x, &up);
	alive = way_pump(x, &down) && alive;
	x->record->response_bytes = x->response.body_bytes;
	bool reset = link->error != 0 && x->client_told; /* the rest was delivered */
	if (!alive || reset || (x->client_told && x->link_told))
		exchange_cut(x, OUTCOME_TUNNEL, NULL);
}

void tunnel_client_ended(struct exchange *x, bool reset)
{
	if (reset) {
		exchange_cut(x, OUTCOME_TUNNEL, "the client reset the connection");
		return;
	}
	x->client_ended = true;
	stream_pause_read(x->client->stream, true);
	tunnel_pump(x);
}

void tunnel_begin(struct exchange *x)
{
	exchange_enter(x, X_TUNNEL);
	half_next_batch(&x->request);
	half_next_batch(&x->response);
	half_begin(&x->request, &x->client->input);
	half_begin(&x->response, &x->link->input);
	tunnel_pump(x);
}
