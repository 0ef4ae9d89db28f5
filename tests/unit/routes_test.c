/* Routes: which template a path belongs to, what an application's description is worth, and what is guessed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/routes.h>

static struct route_table *table_of(const char *const *templates, size_t count)
{
	struct route_table *t = route_table_new();
	for (size_t i = 0; i < count; i++)
		assert_true(route_table_add(t, templates[i]));
	return t;
}

static void check(const struct route_table *t, const char *path, bool generous, const char *expected)
{
	const char *found = route_table_match(t, path, generous);
	if ((found == NULL) != (expected == NULL) || (found != NULL && strcmp(found, expected) != 0))
		fail_msg(
			"%s: got %s, not %s", path, found ? found : "(none)", expected ? expected : "(none)");
}

static const char *const templates[] = { "/items/{id}", "/items/special", "/items/{id:int}/parts/{part}",
	"/files/{rest:path}", "/files/{name}.json", "/", "/a/{x}/c", "/a/b/{y}/d" };

/* "Literal text wins over parameters; a path of no template has no route." */
static void templates_match(void **state)
{
	(void)state;
	static const struct {
		const char *path, *route;
	} rows[] = {
		{ "/", "/" },
		{ "/items/42", "/items/{id}" },
		{ "/items/special", "/items/special" },
		{ "/items/", NULL },
		{ "/items", NULL },
		{ "/items/4/2", NULL },
		{ "/items/4/parts/x", "/items/{id:int}/parts/{part}" },
		{ "/items/four/parts/x", NULL },
		{ "/files/a/b/c", "/files/{rest:path}" },
		{ "/files/", "/files/{rest:path}" },
		{ "/files/a.json", "/files/{name}.json" },
		{ "/files/a/b.json", "/files/{rest:path}" },
		{ "/a/b/c", "/a/{x}/c" }, /* back from the branch of the literal b */
		{ "/a/b/c/d", "/a/b/{y}/d" },
		{ "/other", NULL },
		{ "*", NULL },
		{ "", NULL },
	};
	struct route_table *t = table_of(templates, ARRAY_LEN(templates));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		check(t, rows[i].path, false, rows[i].route);
		check(t, rows[i].path, true,
			rows[i].route); /* templates of ours say themselves what they take */
	}
	route_table_release(t);
}

/* "A path made to go every way through a tree of parameters, or through {a:path}{b:path}, ends soon." */
static void hostile_paths_end_soon(void **state)
{
	(void)state;
	struct route_table *t = route_table_new();
	assert_true(route_table_add(t, "/{a:path}-{b:path}-{c:path}-{d:path}-{e:path}!"));
	for (unsigned bits = 0; bits < 1024; bits++) {
		char template[ROUTE_BYTES] = "";
		for (unsigned i = 0; i < 10; i++)
			strcat(template, bits >> i & 1 ? "/a" : "/{p}");
		assert_true(route_table_add(t, strcat(template, "/z")));
	}
	char path[2048] = "/";
	memset(path + 1, '-', sizeof path - 2);
	path[sizeof path - 1] = '\0';
	uint64_t before = clock_now_ns();
	check(t, path, true, NULL);
	for (unsigned i = 0; i < 20; i++)
		check(t, "/a/a/a/a/a/a/a/a/a/a/y", true, NULL);
	assert_true(clock_now_ns() - before < 500 * NS_PER_MS);
	route_table_release(t);
}

/* "What is no template is not taken, and a table has an end." */
static void bad_templates_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "items", "/{", "/}", "/{}", "/{a/b}", "/{a{b}}", "/a b",
		"/a?b", "/a#b", "/a\nb", "/a\x7f" };
	struct route_table *t = route_table_new();
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (route_table_add(t, bad[i]))
			fail_msg("taken: %s", bad[i]);
	char longest[ROUTE_BYTES + 1] = "/";
	memset(longest + 1, 'a', ROUTE_BYTES - 1);
	longest[ROUTE_BYTES] = '\0';
	assert_false(route_table_add(t, longest));
	longest[ROUTE_BYTES - 1] = '\0';
	assert_true(route_table_add(t, longest));
	for (size_t i = 1; i < ROUTE_TABLE_MAX; i++) {
		char template[32];
		snprintf(template, sizeof template, "/r%zu/{id}", i);
		assert_true(route_table_add(t, template));
	}
	assert_false(route_table_add(t, "/one/more"));
	assert_int_equal(route_table_count(t), ROUTE_TABLE_MAX);
	check(t, "/r12345/7", false, "/r12345/{id}");
	route_table_release(t);
}

static size_t read_document(struct route_table *t, const char *at, const char *json, struct buf *why)
{
	buf_reset(why);
	return route_table_add_openapi(t, at, json, strlen(json), why);
}

/* "The paths of a description are routes, also below the path of its server; a {rest:path}, which looks like any parameter there,
 * takes slashes when nothing else fits." */
static void descriptions_are_read(void **state)
{
	(void)state;
	struct buf why = { 0 };
	struct route_table *t = route_table_new();
	assert_int_equal(read_document(t, "/openapi.json",
				 "{\"openapi\":\"3.1.0\",\"servers\":[{\"url\":\"https://x.test/api/\"}],"
				 "\"paths\":{\"/items/{id}\":{},\"/files/{rest}\":{},\"bad\":{}}}",
				 &why),
		4);
	check(t, "/items/1", false, "/items/{id}");
	check(t, "/api/items/1", false, "/api/items/{id}");
	check(t, "/files/a/b", false, NULL);
	check(t, "/files/a/b", true, "/files/{rest}");
	assert_int_equal(
		read_document(t, "/v2/openapi.json",
			"{\"openapi\":\"3.0.2\",\"servers\":[{\"url\":\"/v2\"}],\"paths\":{\"/users/{name}\":{}}}",
			&why),
		1);
	check(t, "/v2/users/ada", false, "/v2/users/{name}");
	check(t, "/users/ada", false, NULL);
	assert_int_equal(read_document(t, "/swagger.json",
				 "{\"swagger\":\"2.0\",\"basePath\":\"/old\",\"paths\":{\"/x\":{}}}", &why),
		2);
	check(t, "/old/x", false, "/old/x");
	route_table_release(t);
	buf_clear(&why);
}

/* "A broken or hostile description is refused in words, and nothing of it stays." */
static void broken_descriptions_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *json, *says;
	} rows[] = {
		{ "", "not JSON: line 1" },
		{ "{\"openapi\":", "not JSON: line 1" },
		{ "<html>", "not JSON" },
		{ "[]", "not an object" },
		{ "{}", "neither openapi nor swagger" },
		{ "{\"openapi\":3}", "neither openapi nor swagger" },
		{ "{\"openapi\":\"3.1.0\"}", "no paths" },
		{ "{\"openapi\":\"3.1.0\",\"paths\":[]}", "no paths" },
		{ "{\"openapi\":\"3.1.0\",\"paths\":{}}", "none of its paths" },
		{ "{\"openapi\":\"3.1.0\",\"paths\":{\"x\":1}}", "none of its paths" },
		{ "{\"openapi\":\"3.1.0\",\"servers\":7,\"paths\":{\"x\":1}}", "none of its paths" },
		{ "{\"openapi\":\"3.1.0\",\"paths\":{\"/a\\u0000b\":1}}", "not JSON" },
	};
	struct buf why = { 0 };
	struct route_table *t = route_table_new();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (read_document(t, "/openapi.json", rows[i].json, &why) != 0 ||
			strstr(why.data, rows[i].says) == NULL)
			fail_msg("%s: %s", rows[i].json, why.data);
	struct buf deep = { 0 };
	for (unsigned i = 0; i < 100000; i++)
		buf_add_str(&deep, "{\"paths\":");
	assert_int_equal(read_document(t, "/openapi.json", deep.data, &why), 0);
	assert_non_null(strstr(why.data, "depth"));
	assert_int_equal(route_table_count(t), 0);
	buf_clear(&deep);
	buf_clear(&why);
	route_table_release(t);
}

/* "Numbers, UUIDs and tokens are values, words are names." */
static void guesses(void **state)
{
	(void)state;
	static const struct {
		const char *path, *guess;
	} rows[] = {
		{ "/", "/" },
		{ "/items/42", "/items/{id}" },
		{ "/items/42/", "/items/{id}/" },
		{ "/at/52.5,13.4", "/at/{id}" },
		{ "/day/2026-11-22", "/day/{id}" },
		{ "/u/8d0e7f1c-4a55-4a6e-9d3c-0b8e7a9f1c22/x", "/u/{uuid}/x" },
		{ "/c/9f86d081884c7d659a2feaa0c55ad015", "/c/{token}" },
		{ "/static/app.css", "/static/app.css" },
		{ "/a-long-and-descriptive-name", "/a-long-and-descriptive-name" },
		{ "/-/./..", "/-/./.." },
		{ "items", NULL },
		{ "/1/2/3/4/5/6/7/8/9/10/11/12/13", NULL },
	};
	char out[ROUTE_BYTES];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool good = route_guess(rows[i].path, out);
		if (good != (rows[i].guess != NULL) || (good && strcmp(out, rows[i].guess) != 0))
			fail_msg("%s: got %s", rows[i].path, good ? out : "(none)");
	}
}

/* "Who is told is believed; what was not found has no name where names are known; a guess is marked." */
static void names(void **state)
{
	(void)state;
	static const struct {
		bool known, may_guess;
		const char *path;
		unsigned status;
		const char *name;
		bool guessed;
	} rows[] = {
		{ true, true, "/items/7", 200, "/items/{id}", false },
		{ true, true, "/items/7", 404, "/items/{id}", false },
		{ true, true, "/nothing/7", 404, "", false },
		{ true, true, "/nothing/7", 405, "", false },
		{ true, true, "/static/7", 200, "/static/{id}", true },
		{ true, true, "/static/7", 0, "/static/{id}", true },
		{ true, false, "/static/7", 200, "", false },
		{ false, true, "/static/7", 404, "/static/{id}", true },
		{ false, false, "/static/7", 200, "", false },
	};
	struct route_table *some = table_of(templates, ARRAY_LEN(templates)), *none = route_table_new();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char name[ROUTE_BYTES];
		bool guessed;
		route_name(rows[i].known ? some : none, rows[i].may_guess, rows[i].path, rows[i].status, name,
			&guessed);
		if (strcmp(name, rows[i].name) != 0 || guessed != rows[i].guessed)
			fail_msg("row %zu: got \"%s\", guessed %d", i, name, guessed);
	}
	route_table_release(some);
	route_table_release(none);
}

/* "Tables of equal templates are equal, whatever their order." */
static void fingerprints(void **state)
{
	(void)state;
	static const char *const other_way[] = { "/b", "/a" }, *const one_way[] = { "/a", "/b" };
	struct route_table *a = table_of(one_way, 2), *b = table_of(other_way, 2), *c = table_of(one_way, 1);
	assert_true(route_table_fingerprint(a) == route_table_fingerprint(b));
	assert_true(route_table_fingerprint(a) != route_table_fingerprint(c));
	route_table_release(route_table_hold(a));
	check(a, "/a", false, "/a");
	route_table_release(a);
	route_table_release(b);
	route_table_release(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(templates_match),
		cmocka_unit_test(hostile_paths_end_soon),
		cmocka_unit_test(bad_templates_are_refused),
		cmocka_unit_test(descriptions_are_read),
		cmocka_unit_test(broken_descriptions_are_refused),
		cmocka_unit_test(guesses),
		cmocka_unit_test(names),
		cmocka_unit_test(fingerprints),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
