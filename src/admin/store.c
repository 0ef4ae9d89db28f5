/* store.c - the latest slow requests: their lines, and as many of their profiles as there is room for. */
#include "admin_private.h"

#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/str.h>

const size_t store_bytes_max = 32 << 20;

void store_init(struct store *s)
{
	pthread_mutex_init(&s->lock, NULL);
	list_init(&s->kept);
}

size_t profile_bytes(const struct profile *p)
{
	if (p == NULL)
		return 0;
	size_t bytes = sizeof *p + p->sample_count * sizeof *p->samples + p->look_count * sizeof *p->looks +
		       p->lane_count * 128;
	for (size_t i = 0; i < p->frame_count; i++)
		bytes += sizeof *p->frames + strlen(p->frames[i].function) + strlen(p->frames[i].file) + 64;
	for (size_t i = 0; i < p->stack_count; i++)
		bytes += sizeof *p->stacks + p->stacks[i].depth * sizeof *p->stacks[i].frames + 64;
	return bytes;
}

/* The line stays. */
static void let_go(struct store *s, struct kept *k)
{
	profile_free(k->profile);
	free(k->page);
	k->profile = NULL;
	k->page = NULL;
	s->bytes -= k->bytes;
	k->bytes = 0;
}

static void remove_one(struct store *s, struct kept *k)
{
	let_go(s, k);
	list_remove(&k->node);
	s->count--;
	free(k->line);
	free(k);
}

/* The oldest go first: whole ones beyond the count, then what is heavy. */
static void make_room(struct store *s)
{
	size_t place = 0;
	list_for_each_safe (node, &s->kept)
		if (++place > STORE_LINES_MAX)
			remove_one(s, LIST_ENTRY(node, struct kept, node));
	for (struct list_node *node = s->kept.head.prev; s->bytes > store_bytes_max && node != &s->kept.head;
		node = node->prev)
		let_go(s, LIST_ENTRY(node, struct kept, node));
}

void store_add(struct store *s, const struct admin_slow *slow)
{
	struct kept *k = xcalloc(1, sizeof *k);
	if (slow->id != NULL)
		str_copy(k->id, sizeof k->id, slow->id, strlen(slow->id));
	k->line = xstrndup(slow->line, slow->line_len);
	k->line_len = slow->line_len;
	k->page = slow->page != NULL ? xstrndup(slow->page, slow->page_len) : NULL;
	k->page_len = slow->page_len;
	k->profile = slow->profile;
	k->bytes = profile_bytes(k->profile) + (k->page != NULL ? k->page_len : 0);
	pthread_mutex_lock(&s->lock);
	list_push_front(&s->kept, &k->node);
	s->count++;
	s->bytes += k->bytes;
	make_room(s);
	pthread_mutex_unlock(&s->lock);
}

void store_lines(struct store *s, size_t max, struct buf *out)
{
	size_t count = 0;
	buf_add_char(out, '[');
	pthread_mutex_lock(&s->lock);
	list_for_each (node, &s->kept) {
		const struct kept *k = LIST_ENTRY(node, struct kept, node);
		if (count == max)
			break;
		if (count++ != 0)
			buf_add_str(out, ",\n");
		buf_add(out, k->line, k->line_len);
	}
	pthread_mutex_unlock(&s->lock);
	buf_add_str(out, "]\n");
}

struct kept *store_find(struct store *s, const char *id)
{
	list_for_each (node, &s->kept) {
		struct kept *k = LIST_ENTRY(node, struct kept, node);
		if (k->id[0] != '\0' && strcmp(k->id, id) == 0)
			return k;
	}
	return NULL;
}

void store_clear(struct store *s)
{
	list_for_each_safe (node, &s->kept)
		remove_one(s, LIST_ENTRY(node, struct kept, node));
	pthread_mutex_destroy(&s->lock);
}
