/* task_list.c - all asyncio tasks of the versions that keep them in lists: one of each thread, and one of the
 * interpreter for the tasks whose thread has ended.
 *
 *   thread state -> node <-> node <-> ... -> back to the thread state        a node lies inside its task
 *
 * Where the lists begin is told by a table of thirteen words that the module _asyncio keeps among its data, without a
 * name in memory: it is found by the sizes in it, which no other data shows in this order.
 */
#include <stdlib.h>
#include <string.h>

#include <slowproxy/base/clock.h>

#include "maps.h"
#include "process.h"

/* The words of that table, in its order. */
enum {
	WORD_TASK_SIZE,
	WORD_TASK_NAME,
	WORD_TASK_CORO = 5,
	WORD_TASK_NODE,
	WORD_INTERP_SIZE,
	WORD_INTERP_HEAD,
	WORD_THREAD_SIZE,
	WORD_THREAD_RUNNING = 11,
	WORD_THREAD_HEAD,
	WORD_COUNT
};

enum {
	DATA_BYTES_MAX = 32 << 20, /* of one image */
	PAGE_BYTES = 4096,
	PAGE_WORDS = PAGE_BYTES / 8,
	RESTARTS_MAX = 3,
	LOOK_AGAIN_NS = 1000 * 1000 * 1000,
	STATE_BYTES_MAX = 1 << 20
};

struct node {
	uint64_t next, prev;
};

static bool is_table(const struct py_layout *l, const uint64_t *words)
{
	return words[WORD_TASK_SIZE] == l->task_size && words[WORD_INTERP_SIZE] == l->interp_size &&
	       words[WORD_TASK_NAME] == l->task_name && words[WORD_TASK_CORO] == l->task_coro &&
	       words[WORD_TASK_NODE] < l->task_size && words[WORD_INTERP_HEAD] < words[WORD_INTERP_SIZE] &&
	       words[WORD_THREAD_SIZE] < STATE_BYTES_MAX &&
	       words[WORD_THREAD_HEAD] < words[WORD_THREAD_SIZE] &&
	       words[WORD_THREAD_RUNNING] < words[WORD_THREAD_SIZE];
}

static void take_table(struct task_lists *lists, uint64_t addr, const uint64_t *words)
{
	lists->known = true;
	lists->table = addr;
	lists->node = (uint32_t)words[WORD_TASK_NODE];
	lists->interp_head = (uint32_t)words[WORD_INTERP_HEAD];
	lists->thread_head = (uint32_t)words[WORD_THREAD_HEAD];
	lists->thread_running = (uint32_t)words[WORD_THREAD_RUNNING];
}

/* Looks for the table in the data of one image, page by page; it may lie across two of them. */
static void scan_image(struct py_process *p, const struct image *image)
{
	struct task_lists *lists = &p->tasks.lists;
	uint64_t words[WORD_COUNT + PAGE_WORDS];
	size_t carried = 0;
	uint64_t hi = MIN(image->data_hi, image->data_lo + DATA_BYTES_MAX);
	for (uint64_t at = image->data_lo; at < hi && !lists->known; at += PAGE_BYTES) {
		if (!mem_read(p->mem, at, words + carried, PAGE_BYTES)) {
			carried = 0;
			continue;
		}
		size_t count = carried + PAGE_WORDS;
		for (size_t i = 0; i + WORD_COUNT <= count && !lists->known; i++) {
			if (is_table(&p->layout, words + i))
				take_table(lists, at + 8 * i - 8 * carried, words + i);
		}
		memmove(words, words + count - WORD_COUNT, WORD_COUNT * sizeof *words);
		carried = WORD_COUNT;
	}
}

/* Once: in the module's own image, or in Python's, where the module is built in. */
static bool find_table(struct py_process *p)
{
	struct maps maps;
	uint64_t now = clock_now_ns();
	if (p->tasks.lists.known)
		return true;
	if (p->tasks.looked_at_ns != 0 && now - p->tasks.looked_at_ns < LOOK_AGAIN_NS)
		return false;
	p->tasks.looked_at_ns = now;
	bool read = maps_read(p->mem, &maps);
	for (size_t i = 0; read && i < maps.count && !p->tasks.lists.known; i++) {
		const struct image *image = &maps.images[i];
		const char *name = strrchr(image->path, '/') + 1;
		if (strstr(name, "_asyncio") != NULL ||
			(image->data_lo <= p->runtime && p->runtime < image->data_hi))
			scan_image(p, image);
	}
	maps_clear(&maps);
	return p->tasks.lists.known;
}

static struct task_list *list_of(struct task_lists *lists, uint64_t head)
{
	for (size_t i = 0; i < lists->count; i++) {
		if (lists->all[i].head == head)
			return &lists->all[i];
	}
	lists->all = array_grow(lists->all, &lists->capacity, lists->count, sizeof *lists->all);
	lists->all[lists->count] = (struct task_list){ .head = head };
	return &lists->all[lists->count++];
}

static void keep_task(struct task_list *list, size_t at, uint64_t task)
{
	if (at >= list->capacity) {
		list->capacity = MAX(at + 1, list->capacity * 2);
		list->tasks = xrealloc(list->tasks, list->capacity * sizeof *list->tasks);
	}
	list->tasks[at] = task;
}

/* Walks one list through what was known of it, read in one call, and on node by node. False: it changed under our eyes;
 * what was seen until there is kept. */
static bool walk(struct py_process *p, struct task_list *list, size_t max)
{
	uint32_t offset = p->tasks.lists.node;
	size_t known = MIN(list->count, max);
	struct node *nodes = xcalloc(known + 1, sizeof *nodes), node;
	struct mem_part *parts = xcalloc(known + 1, sizeof *parts);
	parts[0] = (struct mem_part){ list->head, &nodes[0], sizeof *nodes };
	for (size_t i = 0; i < known; i++)
		parts[i + 1] = (struct mem_part){ list->tasks[i] + offset, &nodes[i + 1], sizeof *nodes };
	mem_read_each(p->mem, parts, known + 1);
	uint64_t before = list->head, at = nodes[0].next;
	bool whole = at != 0;
	list->count = 0;
	while (at != list->head && whole && list->count <= max) {
		size_t n = list->count;
		bool read = n < known && list->tasks[n] + offset == at && parts[n + 1].len > 0;
		if (read)
			node = nodes[n + 1];
		else
			known = 0; /* it went another way */
		whole = (read || (addr_plausible(at) && mem_read(p->mem, at, &node, sizeof node))) &&
			node.prev == before && node.next != 0;
		if (!whole)
			break;
		keep_task(list, n, at - offset);
		list->count++;
		before = at;
		at = node.next;
	}
	free(parts);
	free(nodes);
	return whole;
}

static size_t take_list(struct py_process *p, uint64_t head, size_t count, size_t max)
{
	struct task_list *list = list_of(&p->tasks.lists, head);
	unsigned tries = 0;
	while (!walk(p, list, max) && ++tries < RESTARTS_MAX)
		;
	p->unreadable += tries == RESTARTS_MAX;
	for (size_t i = 0; i < list->count; i++) {
		p->tasks.cut |= count >= max;
		if (count < max)
			chain_begin(&p->tasks, count++, list->tasks[i]);
	}
	return count;
}

/* Lists whose thread is gone. */
static void forget_dead(struct py_process *p)
{
	struct task_lists *lists = &p->tasks.lists;
	size_t kept = 0;
	for (size_t i = 0; i < lists->count; i++) {
		bool alive = false;
		for (size_t k = 0; k < p->threads.count && !alive; k++)
			alive = lists->all[i].head == p->threads.all[k]->addr + lists->thread_head ||
				lists->all[i].head == p->threads.all[k]->interp + lists->interp_head;
		if (alive)
			lists->all[kept++] = lists->all[i];
		else
			free(lists->all[i].tasks);
	}
	lists->count = kept;
}

size_t task_lists_read(struct py_process *p, size_t max)
{
	struct task_lists *lists = &p->tasks.lists;
	uint64_t interp = 0;
	size_t count = 0;
	if (!find_table(p))
		return 0;
	forget_dead(p);
	for (size_t i = 0; i < p->threads.count; i++) {
		const struct thread *t = p->threads.all[i];
		count = take_list(p, t->addr + lists->thread_head, count, max);
		if (t->interp != interp)
			count = take_list(p, t->interp + lists->interp_head, count, max);
		interp = t->interp;
	}
	return count;
}

uint64_t task_running(struct py_process *p, uint64_t thread)
{
	uint64_t task;
	if (!find_table(p) || !mem_read_u64(p->mem, thread + p->tasks.lists.thread_running, &task) ||
		!addr_plausible(task))
		return 0;
	return task;
}

void task_lists_clear(struct task_lists *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->all[i].tasks);
	free(l->all);
	*l = (struct task_lists){ 0 };
}
