/* profiles.c - /profiles/ID?format=...: one profile in whatever form a tool wants.
 *
 *   in memory ──> any form
 *   in a file ──> its page as it is; from the data in the page any other form
 */
#include "admin_private.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/keyvalq_struct.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/report.h>

static const struct form forms[] = {
	{ "speedscope", profile_write_speedscope, "application/json", "speedscope.json", false },
	{ "collapsed", profile_write_collapsed, "text/plain; charset=utf-8", NULL, false },
	{ "pprof", profile_write_pprof, "application/octet-stream", "pb.gz", false },
	{ "svg", profile_write_svg, "image/svg+xml", NULL, false },
	{ "pstats", profile_write_pstats, "application/octet-stream", "pstats", true },
	{ "grafana", profile_write_rows, "application/json", NULL, false },
};

const struct form *form_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(forms); i++)
		if (strcmp(name, forms[i].name) == 0)
			return &forms[i];
	return NULL;
}

static bool is_id(const char *text)
{
	size_t n = 0;
	while (isxdigit((unsigned char)text[n]))
		n++;
	return n == STORE_ID_BYTES - 1 && text[n] == '\0';
}

void form_answer(const struct form *form, const struct profile *p, const struct profile_view *view,
	const char *id, struct answer *a)
{
	form->write(p, view, &a->body);
	a->type = form->type;
	if (form->extension == NULL)
		return;
	snprintf(a->file_name_space, sizeof a->file_name_space, "slowproxy-%s.%s", id, form->extension);
	a->file_name = a->file_name_space;
}

static void answer_with(const struct form *form, const struct profile *p, const char *id, struct answer *a)
{
	const struct profile_view view = {
		.title = id, .lanes = true, .idle = true, .no_lines = form->functions
	};
	form_answer(form, p, &view, id, a);
}

static bool from_memory(struct admin *admin, const struct form *form, const char *id, struct answer *a)
{
	pthread_mutex_lock(&admin->store.lock);
	const struct kept *k = store_find(&admin->store, id);
	bool here = k != NULL && (form != NULL ? k->profile != NULL : k->page != NULL);
	if (here && form != NULL) {
		answer_with(form, k->profile, id, a);
	} else if (here) {
		buf_add(&a->body, k->page, k->page_len);
		a->type = "text/html; charset=utf-8";
	}
	pthread_mutex_unlock(&admin->store.lock);
	return here;
}

static bool from_file(const struct config *c, const struct form *form, const char *id, struct answer *a)
{
	struct buf text = { 0 };
	struct profile *p = NULL;
	if (form == NULL) {
		a->type = "text/html; charset=utf-8";
		return report_profile_read(c, id, ".html", &a->body);
	}
	if (report_profile_read(c, id, ".html", &text) && text.len != 0)
		p = profile_read_html(text.data);
	if (p != NULL)
		answer_with(form, p, id, a);
	buf_clear(&text);
	profile_free(p);
	return p != NULL;
}

void profile_answer(const struct question *q, struct answer *a)
{
	const char *id = q->path + strlen("/profiles/"), *wanted = evhttp_find_header(q->args, "format");
	const struct form *form = wanted != NULL ? form_find(wanted) : NULL;
	if (!is_id(id))
		answer_say(a, 404,
			"that is no profile: the address is /profiles/ and the 32 hex digits of profile_id");
	else if (wanted != NULL && form == NULL && strcmp(wanted, "html") != 0)
		answer_say(a, 400,
			"there is no such format; there are html, speedscope, collapsed, pprof, svg, pstats and grafana");
	else if (!from_memory(q->admin, form, id, a) && !from_file(q->admin->config, form, id, a))
		answer_say(a, 404,
			"this profile is not kept any more, or never was: capture.max_bytes bounds what is");
}
