/* profile_test.c - what the profile room promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <slowproxy/profile.h>

/* "Equal frames, stacks and lanes have one index; unequal ones never share one." */
static void equal_things_have_one_index(void **state)
{
	(void)state;
	struct profile *p = profile_new();
	uint32_t a = profile_add_frame(p, "render", "/app/app.py", 88);
	assert_int_equal(profile_add_frame(p, "render", "/app/app.py", 88), a);
	assert_int_not_equal(profile_add_frame(p, "render", "/app/app.py", 89), a);
	assert_int_not_equal(profile_add_frame(p, "render", "/app/b.py", 88), a);
	assert_int_not_equal(profile_add_frame(p, "rende", "r/app/app.py", 88), a);
	assert_int_equal(p->frame_count, 4);

	uint32_t up[] = { 0, 1, 2 }, down[] = { 2, 1, 0 };
	uint32_t s = profile_add_stack(p, up, 3);
	assert_int_equal(profile_add_stack(p, up, 3), s);
	assert_int_not_equal(profile_add_stack(p, down, 3), s);
	assert_int_not_equal(profile_add_stack(p, up, 2), s);
	uint32_t empty = profile_add_stack(p, NULL, 0);
	assert_int_equal(profile_add_stack(p, NULL, 0), empty);
	up[0] = 3; /* the profile has a copy */
	assert_int_equal(p->stacks[s].frames[0], 0);

	uint32_t lane = profile_add_lane(p, PROFILE_LANE_THREAD, 7, "MainThread");
	assert_int_equal(profile_add_lane(p, PROFILE_LANE_THREAD, 7, "renamed"), lane);
	assert_string_equal(p->lanes[lane].name, "MainThread");
	assert_int_not_equal(profile_add_lane(p, PROFILE_LANE_TASK, 7, "MainThread"), lane);
	profile_free(p);
	profile_free(NULL);
}

/* "Twenty thousand frames stay apart and are found again." */
static void many_frames_stay_apart(void **state)
{
	(void)state;
	struct profile *p = profile_new();
	char name[32];
	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 20000; i++) {
			snprintf(name, sizeof name, "f%u", i / 4);
			assert_int_equal(profile_add_frame(p, name, "/app/x.py", i % 4), i);
		}
	profile_free(p);
}

/* "User code is what the user wrote: not the standard library, not installed packages, not frozen modules, not launchers." */
static void user_code_is_recognised(void **state)
{
	(void)state;
	static const struct {
		const char *file;
		bool user;
	} rows[] = {
		{ "/app/services.py", true },
		{ "app.py", true },
		{ "/home/me/python3.11/app.py", true },
		{ "/srv/lib/app.py", true },
		{ "/app/bin/run.py", true },
		{ "/usr/lib/python3.11/asyncio/base_events.py", false },
		{ "/usr/lib64/python3.9/ssl.py", false },
		{ "/root/.pyenv/versions/3.13.0t/lib/python3.13t/threading.py", false },
		{ "/usr/lib/python3/dist-packages/uvicorn/main.py", false },
		{ "/venv/lib/python3.12/site-packages/fastapi/routing.py", false },
		{ "/usr/bin/uvicorn", false },
		{ "/venv/bin/gunicorn", false },
		{ "<frozen importlib._bootstrap>", false },
		{ "<string>", false },
		{ "", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct profile_frame f = { "f", rows[i].file, 1 };
		if (profile_frame_is_user(&f) != rows[i].user)
			fail_msg("%s", rows[i].file);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_things_have_one_index),
		cmocka_unit_test(many_frames_stay_apart),
		cmocka_unit_test(user_code_is_recognised),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
