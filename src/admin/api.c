/* api.c - the answers that programs read. */
#include "admin_private.h"

#include <stdlib.h>
#include <string.h>

#include <event2/keyvalq_struct.h>

#include <slowproxy/base/str.h>

void healthz_answer(const struct question *q, struct answer *a)
{
	(void)q;
	answer_say(a, 200, "ok");
}

void readyz_answer(const struct question *q, struct answer *a)
{
	switch ((enum admin_state)atomic_load(&q->admin->state)) {
	case ADMIN_READY:
		answer_say(a, 200, "ready");
		break;
	case ADMIN_DRAINING:
		answer_say(a, 503, "draining: new connections will be refused soon");
		break;
	default:
		answer_say(a, 503, "starting");
		break;
	}
}

/* The quality the client gives a media type, in thousandths; 0: it is not named. */
static unsigned quality_of(const char *accept, const char *type)
{
	const char *at = strstr(accept, type);
	if (at == NULL)
		return 0;
	size_t len = strcspn(at, ",");
	for (const char *p = at; p < at + len; p++)
		if (strncmp(p, ";q=", 3) == 0 || strncmp(p, "; q=", 4) == 0)
			return (unsigned)(strtod(strchr(p, '=') + 1, NULL) * 1000);
	return 1000;
}

void metrics_answer(const struct question *q, struct answer *a)
{
	unsigned open = quality_of(q->accept, "application/openmetrics-text"),
		 plain = quality_of(q->accept, "text/plain");
	struct exposition e;
	exposition_begin(&e, &a->body, open != 0 && open >= plain);
	a->type = e.openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
				: "text/plain; version=0.0.4; charset=utf-8";
	q->admin->source.metrics(q->admin->source.context, &e);
	exposition_end(&e);
}

void slow_answer(const struct question *q, struct answer *a)
{
	const char *limit = evhttp_find_header(q->args, "limit");
	long max = limit != NULL ? strtol(limit, NULL, 10) : STORE_LINES_MAX;
	store_lines(&q->admin->store, max > 0 ? (size_t)max : 0, &a->body);
}

void inflight_answer(const struct question *q, struct answer *a)
{
	struct json j;
	json_init(&j, &a->body);
	json_begin(&j, '[');
	q->admin->source.inflight(q->admin->source.context, &j);
	json_end(&j);
	buf_add_char(&a->body, '\n');
}

void status_answer(const struct question *q, struct answer *a)
{
	static const char *const states[] = { "starting", "ready", "draining" };
	struct json j;
	json_init(&j, &a->body);
	json_begin(&j, '{');
	json_key(&j, "service_name");
	json_str(&j, q->admin->config->service);
	json_key(&j, "version");
	json_str(&j, SLOWPROXY_VERSION);
	json_key(&j, "state");
	json_str(&j, states[atomic_load(&q->admin->state)]);
	q->admin->source.status(q->admin->source.context, &j);
	json_end(&j);
	buf_add_char(&a->body, '\n');
}

void config_answer(const struct question *q, struct answer *a)
{
	config_write_json(q->admin->config, &a->body);
	buf_add_char(&a->body, '\n');
}
