/* Of all that may keep us from a process' memory, the one that the kernel meets first is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/capability.h>

#include "permission.h"

enum { PTRACE = 1 << CAP_SYS_PTRACE, CHOWN = 1 << CAP_CHOWN };

static const struct {
	const char *what;
	struct permission_facts facts;
	enum py_obstacle obstacle;
} cases[] = {
	{ "hidden by /proc", { .yama = -1 }, PY_OBSTACLE_HIDDEN },
	{ "another user",
		{ .us.uid = 1, .them = { .known = true, .uid = 2 }, .yama = 1, .same_user_namespace = true },
		PY_OBSTACLE_OTHER_USER },
	{ "root without the capability is another user, too",
		{ .us = { .uid = 0, .permitted = CHOWN },
			.them = { .known = true, .uid = 2 },
			.yama = -1,
			.dumpable = true,
			.same_user_namespace = true },
		PY_OBSTACLE_OTHER_USER },
	{ "the same user, but it changed its user",
		{ .us.uid = 1, .them = { .known = true, .uid = 1 }, .yama = -1, .same_user_namespace = true },
		PY_OBSTACLE_NOT_DUMPABLE },
	{ "the same user, but it may do more",
		{ .us.uid = 1,
			.them = { .known = true, .uid = 1, .permitted = CHOWN },
			.dumpable = true,
			.yama = -1,
			.same_user_namespace = true },
		PY_OBSTACLE_CAPABILITIES },
	{ "Yama, as Ubuntu has it",
		{ .us.uid = 1,
			.them = { .known = true, .uid = 1 },
			.dumpable = true,
			.yama = 1,
			.same_user_namespace = true },
		PY_OBSTACLE_YAMA },
	{ "Yama's last word, with the capability",
		{ .us = { .uid = 1, .effective = PTRACE },
			.them = { .known = true, .uid = 2 },
			.yama = 3,
			.same_user_namespace = true },
		PY_OBSTACLE_YAMA_NEVER },
	{ "the capability, but in another user namespace",
		{ .us = { .uid = 1, .effective = PTRACE }, .them = { .known = true, .uid = 2 }, .yama = 1 },
		PY_OBSTACLE_USER_NAMESPACE },
	{ "a filter",
		{ .us.uid = 1,
			.them = { .known = true, .uid = 1 },
			.dumpable = true,
			.yama = 0,
			.same_user_namespace = true,
			.readv_filtered = true },
		PY_OBSTACLE_SECCOMP },
	{ "nothing of these: a security module",
		{ .us = { .uid = 1, .effective = PTRACE },
			.them = { .known = true, .uid = 2 },
			.yama = 1,
			.same_user_namespace = true },
		PY_OBSTACLE_SECURITY_MODULE },
};

static void test_obstacles(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		enum py_obstacle found = obstacle_of(&cases[i].facts);
		if (found != cases[i].obstacle)
			fail_msg("%s: %d instead of %d", cases[i].what, (int)found, (int)cases[i].obstacle);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_obstacles) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
