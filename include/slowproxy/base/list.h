/* base/list.h - an intrusive list: the node lives inside the thing, so joining and leaving cost nothing. */
#ifndef SLOWPROXY_BASE_LIST_H
#define SLOWPROXY_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
	struct list_node *prev, *next;
};

/* The head is a node of its own: an empty list points at itself. */
struct list {
	struct list_node head;
};

#define LIST_ENTRY(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
	l->head.prev = l->head.next = &l->head;
}

static inline bool list_empty(const struct list *l)
{
	return l->head.next == &l->head;
}

static inline void list_insert_before(struct list_node *at, struct list_node *node)
{
	node->prev = at->prev;
	node->next = at;
	at->prev->next = node;
	at->prev = node;
}

static inline void list_push_back(struct list *l, struct list_node *node)
{
	list_insert_before(&l->head, node);
}

static inline void list_push_front(struct list *l, struct list_node *node)
{
	list_insert_before(l->head.next, node);
}

/* Leaves the list it is in; harmless for a node that is in none and was zeroed. */
static inline void list_remove(struct list_node *node)
{
	if (node->next == NULL)
		return;
	node->prev->next = node->next;
	node->next->prev = node->prev;
	node->prev = node->next = NULL;
}

static inline bool list_linked(const struct list_node *node)
{
	return node->next != NULL;
}

static inline struct list_node *list_first(const struct list *l)
{
	return list_empty(l) ? NULL : l->head.next;
}

#define list_for_each(node, list)                                                                            \
	for (struct list_node *node = (list)->head.next; node != &(list)->head; node = node->next)

/* The current node may leave the list or be freed. */
#define list_for_each_safe(node, list)                                                                       \
	for (struct list_node *node = (list)->head.next, *node##_next = node->next; node != &(list)->head;   \
		node = node##_next, node##_next = node->next)

#endif
