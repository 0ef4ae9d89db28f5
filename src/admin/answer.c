/* answer.c - the HTTP around a body. Each answer closes its connection: a scraper then always meets the process that serves now. */
#include "admin_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>

void answer_say(struct answer *a, int status, const char *sentence)
{
	a->status = status;
	a->type = "text/plain; charset=utf-8";
	a->file_name = "";
	buf_reset(&a->body);
	buf_printf(&a->body, "%s\n", sentence);
}

static const char *reason_of(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 404:
		return "Not Found";
	case 503:
		return "Service Unavailable";
	default:
		return "Bad Request";
	}
}

static void body_free(const void *data, size_t len, void *context)
{
	(void)len;
	(void)context;
	free((void *)data);
}

void answer_send(struct answer *a, struct evhttp_request *request)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	char disposition[160];
	evhttp_add_header(headers, "Content-Type", a->type);
	evhttp_add_header(headers, "Connection", "close");
	evhttp_add_header(headers, "Cache-Control", "no-store");
	evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	evhttp_add_header(headers, "Referrer-Policy", "no-referrer");
	/* Pages carry their script and style within, and fetch from here only. */
	evhttp_add_header(headers, "Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
		"connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
	if (a->file_name != NULL && a->file_name[0] != '\0') {
		snprintf(disposition, sizeof disposition, "attachment; filename=\"%s\"", a->file_name);
		evhttp_add_header(headers, "Content-Disposition", disposition);
	}
	struct evbuffer *body = evbuffer_new();
	size_t len = a->body.len;
	if (body != NULL && len != 0)
		evbuffer_add_reference(body, buf_take(&a->body), len, body_free, NULL);
	evhttp_send_reply(request, a->status, reason_of(a->status), body);
	if (body != NULL)
		evbuffer_free(body);
	buf_clear(&a->body);
}
