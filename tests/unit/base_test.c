/* base_test.c - the small things everybody stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <slowproxy/base/beat.h>
#include <slowproxy/base/buf.h>
#include <slowproxy/base/clock.h>
#include <slowproxy/base/json.h>
#include <slowproxy/base/list.h>
#include <slowproxy/base/log.h>
#include <slowproxy/base/logfmt.h>
#include <slowproxy/base/map.h>
#include <slowproxy/base/mem.h>
#include <slowproxy/base/network.h>
#include <slowproxy/base/str.h>

/* --- buf --- */

/* A buf holds exactly what was added, whatever its size, and always ends with a NUL. */
static void buf_grows(void **state)
{
	(void)state;
	struct buf b = { 0 };
	for (int i = 0; i < 10000; i++) {
		buf_add_char(&b, (char)('a' + i % 26));
		assert_int_equal(b.len, i + 1);
		assert_int_equal(b.data[b.len], '\0');
	}
	for (int i = 0; i < 10000; i++)
		assert_int_equal(b.data[i], 'a' + i % 26);
	buf_reset(&b);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.data, "");
	buf_clear(&b);
	assert_null(b.data);
}

/* buf_printf fits whatever comes out, at every border of its first guess. */
static void buf_prints_any_length(void **state)
{
	(void)state;
	for (int len = 0; len < 300; len++) {
		struct buf b = { 0 };
		buf_add_str(&b, "x");
		buf_printf(&b, "%*s|", len, "");
		assert_int_equal(b.len, len + 2);
		assert_int_equal(b.data[len + 1], '|');
		assert_int_equal(strlen(b.data), b.len);
		buf_clear(&b);
	}
}

/* buf_take hands the bytes over, and is never NULL. */
static void buf_takes(void **state)
{
	(void)state;
	struct buf b = { 0 };
	char *empty = buf_take(&b);
	assert_string_equal(empty, "");
	buf_add(&b, NULL, 0);
	buf_add(&b, "a\0b", 3);
	char *bytes = buf_take(&b);
	assert_memory_equal(bytes, "a\0b", 4);
	assert_null(b.data);
	free(empty);
	free(bytes);
}

/* --- str --- */

/* Slices compare by their bytes; an empty slice may have no address. */
static void slices_compare(void **state)
{
	(void)state;
	assert_true(slice_equal(SLICE("ab"), slice_of("ab")));
	assert_false(slice_equal(SLICE("ab"), SLICE("aB")));
	assert_false(slice_equal(SLICE("ab"), SLICE("abc")));
	assert_true(slice_equal((struct slice){ NULL, 0 }, SLICE("")));
	assert_true(slice_equal_nocase(SLICE("Content-Type"), SLICE("content-tYPE")));
	assert_false(slice_equal_nocase(SLICE("a["), SLICE("a{")));
}

/* str_copy fills what there is, ends it, and says whether that was all. */
static void copies_are_bounded(void **state)
{
	(void)state;
	char out[4];
	assert_true(str_copy(out, sizeof out, "abc", 3));
	assert_string_equal(out, "abc");
	assert_false(str_copy(out, sizeof out, "abcd", 4));
	assert_string_equal(out, "abc");
	assert_true(str_copy(out, sizeof out, NULL, 0));
	assert_string_equal(out, "");
	assert_false(str_copy(out, 1, "a", 1));
	assert_string_equal(out, "");
}

/* One star stays within a path segment, two stars and a star at the end do not. */
static void globs_match_paths(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *text;
		bool expected;
	} cases[] = {
		{ "/a", "/a", true },
		{ "/a", "/ab", false },
		{ "/ab", "/a", false },
		{ "", "", true },
		{ "", "a", false },
		{ "*", "", true },
		{ "*", "/a/b", true },
		{ "/reports/*", "/reports/1", true },
		{ "/reports/*", "/reports/1/2", true },
		{ "/reports/*", "/reports/", true },
		{ "/reports/*", "/reports", false },
		{ "/*/live", "/a/live", true },
		{ "/*/live", "//live", true },
		{ "/*/live", "/a/b/live", false },
		{ "/**/live", "/a/b/live", true },
		{ "/*/b/*/d", "/a/b/c/d", true },
		{ "/*/b/*/d", "/a/b/c/e/d", false },
		{ "/**/b/*/d", "/x/b/y/b/c/d", true },
		{ "/a*c", "/abcbc", true },
		{ "/a*c", "/ab/c", false },
		{ "/*.json", "/a.json.json", true },
		{ "/*.json", "/a.jsonx", false },
		{ "/**/b*c/d", "/b/bc/x/bxc/d", true },
		{ "/**/b*c/d", "/b/bc/x/bx/c/d", false },
		{ "/*/*/**/x*y/z", "/a/b/xy/xay/z", true },
		{ "**x", "/a/b/x", true },
		{ "/?", "/a", false },
		{ "/?", "/?", true },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (str_glob(cases[i].pattern, cases[i].text) != cases[i].expected)
			fail_msg("%s and %s", cases[i].pattern, cases[i].text);
}

/* A hostile pattern costs at most pattern times text, not an exponent. */
static void globs_do_not_explode(void **state)
{
	(void)state;
	enum { STARS = 100, TEXT = 4000 };
	char pattern[3 * STARS + 2], text[TEXT + 1];
	for (size_t i = 0; i < STARS; i++)
		memcpy(pattern + 3 * i, "**a", 3);
	memcpy(pattern + sizeof pattern - 2, "b", 2);
	memset(text, 'a', TEXT);
	text[TEXT] = '\0';
	uint64_t begin = clock_now_ns();
	assert_false(str_glob(pattern, text));
	assert_true(clock_now_ns() - begin < 5 * NS_PER_S);
}

/* The distance counts edits, a swap being one, and is the same in both directions. */
static void distances_count_edits(void **state)
{
	(void)state;
	static const struct {
		const char *a, *b;
		unsigned distance;
	} cases[] = { { "", "", 0 }, { "a", "", 1 }, { "threshold", "treshold", 1 }, { "macth", "match", 1 },
		{ "rate", "rat", 1 }, { "kitten", "sitting", 3 }, { "abc", "xyz", 3 },
		{ "same", "same", 0 } };
	char longest[64], longer[65];
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(str_distance(cases[i].a, cases[i].b), cases[i].distance);
		assert_int_equal(str_distance(cases[i].b, cases[i].a), cases[i].distance);
	}
	memset(longest, 'a', 63);
	memset(longer, 'a', 64);
	longest[63] = longer[64] = '\0';
	assert_int_equal(str_distance(longest, longest), 0);
	assert_int_equal(str_distance(longer, longer), 63);
	assert_int_equal(str_distance(longest, ""), 63);
}

/* Only well-formed UTF-8 has a length: nothing overlong, no surrogates, nothing beyond U+10FFFF, nothing cut. */
static void utf8_is_checked(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t left, expected;
	} cases[] = {
		{ "a", 1, 1 },
		{ "\x7f", 1, 1 },
		{ "\x80", 1, 0 },
		{ "\xc2\x80", 2, 2 },
		{ "\xc2\x80", 1, 0 },
		{ "\xc1\xbf", 2, 0 },
		{ "\xc2\x7f", 2, 0 },
		{ "\xe0\xa0\x80", 3, 3 },
		{ "\xe0\x9f\xbf", 3, 0 },
		{ "\xed\x9f\xbf", 3, 3 },
		{ "\xed\xa0\x80", 3, 0 },
		{ "\xef\xbf\xbf", 3, 3 },
		{ "\xf0\x90\x80\x80", 4, 4 },
		{ "\xf0\x8f\xbf\xbf", 4, 0 },
		{ "\xf4\x8f\xbf\xbf", 4, 4 },
		{ "\xf4\x90\x80\x80", 4, 0 },
		{ "\xf5\x80\x80\x80", 4, 0 },
		{ "\xff", 1, 0 },
		{ "\xe2\x82", 2, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(utf8_sequence((const unsigned char *)cases[i].bytes, cases[i].left),
			cases[i].expected);
}

/* Hex is lower case, two digits a byte. */
static void hex_is_written(void **state)
{
	(void)state;
	char out[19];
	str_hex(out, (const uint8_t[]){ 0x00, 0x9f, 0xff, 0x10 }, 4);
	assert_string_equal(out, "009fff10");
	str_hex(out, (const uint8_t[]){ 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xa9 }, 9);
	assert_string_equal(out, "0123456789abcdefa9");
	str_hex(out, NULL, 0);
	assert_string_equal(out, "");
}

/* Random bytes come in any amount, and two takes differ. */
static void random_bytes_differ(void **state)
{
	(void)state;
	uint8_t a[1500] = { 0 }, b[1500] = { 0 };
	random_bytes(a, sizeof a);
	random_bytes(b, sizeof b);
	assert_memory_not_equal(a, b, sizeof a);
	assert_memory_not_equal(a, a + 512, 512);
}

/* --- json --- */

/* Nesting, commas and every kind of value come out as JSON. */
static void json_is_written(void **state)
{
	(void)state;
	struct buf out = { 0 };
	struct json j;
	json_init(&j, &out);
	json_begin(&j, '{');
	json_key(&j, "a");
	json_begin(&j, '[');
	json_u64(&j, UINT64_MAX);
	json_i64(&j, INT64_MIN);
	json_begin(&j, '{');
	json_end(&j);
	json_bool(&j, true);
	json_bool(&j, false);
	json_null(&j);
	json_end(&j);
	json_key(&j, "b\"");
	json_strn(&j, "x\0y", 3);
	json_key(&j, "c");
	json_raw(&j, "[1]", 3);
	json_end(&j);
	assert_string_equal(out.data, "{\"a\":[18446744073709551615,-9223372036854775808,{},true,false,null],"
				      "\"b\\\"\":\"x\\u0000y\",\"c\":[1]}");
	buf_clear(&out);
}

/* Milliseconds are rounded to three decimals. */
static void json_milliseconds(void **state)
{
	(void)state;
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = { { 0, "0.000" }, { 499, "0.000" }, { 500, "0.001" }, { 1532114000, "1532.114" },
		{ 999999, "1.000" }, { 999499, "0.999" } };
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out = { 0 };
		struct json j;
		json_init(&j, &out);
		json_ms(&j, cases[i].ns);
		assert_string_equal(out.data, cases[i].text);
		buf_clear(&out);
	}
}

/* Any bytes become a valid JSON string: controls escaped, what is not UTF-8 replaced, byte by byte. */
static void json_strings_are_always_valid(void **state)
{
	(void)state;
	static const struct {
		const char *bytes, *json;
	} cases[] = {
		{ "", "\"\"" },
		{ "a\\b\"c", "\"a\\\\b\\\"c\"" },
		{ "\n\t\r\033\x7f", "\"\\n\\t\\u000d\\u001b\\u007f\"" },
		{ "caf\xc3\xa9 \xf0\x9f\x90\x8d", "\"caf\xc3\xa9 \xf0\x9f\x90\x8d\"" },
		{ "a\xffz", "\"a\\ufffdz\"" },
		{ "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"" },
		{ "\xe2\x82", "\"\\ufffd\\ufffd\"" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out = { 0 };
		struct json j;
		json_init(&j, &out);
		json_str(&j, cases[i].bytes);
		assert_string_equal(out.data, cases[i].json);
		buf_clear(&out);
	}
}

/* --- list --- */

struct item {
	int number;
	struct list_node node;
};

static void assert_order(const struct list *l, const char *expected)
{
	char order[16] = "";
	list_for_each (node, l) {
		size_t len = strlen(order);
		order[len] = (char)('0' + LIST_ENTRY(node, struct item, node)->number);
		order[len + 1] = '\0';
	}
	assert_string_equal(order, expected);
}

/* Nodes join at either end, leave from anywhere, twice without harm, and may leave while being looked at. */
static void lists_keep_their_order(void **state)
{
	(void)state;
	struct list l;
	struct item items[5] = { { .number = 0 }, { .number = 1 }, { .number = 2 }, { .number = 3 },
		{ .number = 4 } };
	list_init(&l);
	assert_true(list_empty(&l));
	assert_null(list_first(&l));
	for (int i = 0; i < 3; i++)
		list_push_back(&l, &items[i].node);
	list_push_front(&l, &items[3].node);
	list_insert_before(&items[1].node, &items[4].node);
	assert_order(&l, "30412");
	assert_ptr_equal(list_first(&l), &items[3].node);

	list_remove(&items[4].node);
	list_remove(&items[4].node);
	assert_false(list_linked(&items[4].node));
	assert_true(list_linked(&items[0].node));
	assert_order(&l, "3012");
	list_for_each_safe (node, &l)
		if (LIST_ENTRY(node, struct item, node)->number != 0)
			list_remove(node);
	assert_order(&l, "0");
	list_remove(&items[0].node);
	assert_true(list_empty(&l));
}

/* --- map --- */

/* A map agrees with a plain array through many puts, overwrites and removals, key 0 included. */
static void maps_remember(void **state)
{
	(void)state;
	enum { KEYS = 997, STEPS = 60000 };
	static uint64_t expected[KEYS];
	struct map m = { 0 };
	uint64_t value, random = 1;
	assert_false(map_get(&m, 0, &value));
	assert_false(map_remove(&m, 0));
	for (int step = 1; step <= STEPS; step++) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		uint64_t key = (random >> 33) % KEYS;
		if (random >> 62 == 0) {
			assert_int_equal(map_remove(&m, key << 32), expected[key] != 0);
			expected[key] = 0;
		} else {
			map_put(&m, key << 32, (uint64_t)step);
			expected[key] = (uint64_t)step;
		}
	}
	size_t live = 0;
	for (uint64_t key = 0; key < KEYS; key++) {
		assert_int_equal(map_get(&m, key << 32, &value), expected[key] != 0);
		if (expected[key] != 0) {
			assert_int_equal(value, expected[key]);
			live++;
		}
	}
	assert_int_equal(m.used, live);
	assert_true(m.capacity <= 4096); /* removed slots are reused */
	map_clear(&m);
	assert_false(map_get(&m, 0, &value));
}

/* Iterating meets each entry once. */
static void maps_iterate(void **state)
{
	(void)state;
	struct map m = { 0 };
	bool seen[100] = { false };
	uint64_t key, value;
	size_t at = 0, count = 0;
	assert_false(map_next(&m, &at, &key, &value));
	for (uint64_t i = 0; i < 100; i++)
		map_put(&m, i, i * i);
	for (uint64_t i = 0; i < 100; i += 2)
		map_remove(&m, i);
	for (at = 0; map_next(&m, &at, &key, &value); count++) {
		assert_int_equal(value, key * key);
		assert_false(seen[key]);
		seen[key] = true;
	}
	assert_int_equal(count, 50);
	map_clear(&m);
}

/* Equal bytes have equal hashes, and neighbours have not. */
static void hashes_spread(void **state)
{
	(void)state;
	assert_int_equal(hash_bytes("abc", 3), hash_bytes("abcd", 3));
	assert_int_not_equal(hash_bytes("abc", 3), hash_bytes("abd", 3));
	assert_int_not_equal(hash_bytes("a", 1), hash_bytes("a\0", 2));
	assert_int_equal(hash_bytes(NULL, 0), hash_bytes("", 0));
}

/* --- mem --- */

/* An array grows by doubling, and keeps what was in it. */
static void arrays_grow(void **state)
{
	(void)state;
	int *numbers = NULL;
	size_t capacity = 0;
	for (size_t count = 0; count < 1000; count++) {
		numbers = array_grow(numbers, &capacity, count, sizeof *numbers);
		assert_true(capacity > count);
		numbers[count] = (int)count;
	}
	for (int i = 0; i < 1000; i++)
		assert_int_equal(numbers[i], i);
	free(numbers);

	char *copy = xstrndup("abc", 2), *zeroed = xcalloc(3, 7);
	assert_string_equal(copy, "ab");
	for (int i = 0; i < 21; i++)
		assert_int_equal(zeroed[i], 0);
	free(copy);
	free(zeroed);
}

/* --- clock --- */

/* A calendar instant is written as RFC 3339, in UTC, with all nine digits. */
static void instants_are_written(void **state)
{
	(void)state;
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = { { 0, "1970-01-01T00:00:00.000000000Z" },
		{ UINT64_C(1763794800123456789), "2025-11-22T07:00:00.123456789Z" },
		{ UINT64_C(951782400000000001), "2000-02-29T00:00:00.000000001Z" } };
	char out[CLOCK_RFC3339_BYTES];
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		clock_format_rfc3339(cases[i].ns, out);
		assert_string_equal(out, cases[i].text);
	}
	uint64_t before = clock_now_ns();
	assert_true(clock_now_ns() >= before);
	assert_true(clock_wall_ns() > UINT64_C(1700000000000000000));
}

/* --- log --- */

static void log_to_buf(void *context, const char *line, size_t len)
{
	buf_add(context, line, len);
}

/* A log call is one line, whatever is in it; JSON stays JSON; what is below the level is not written. */
static void log_lines_cannot_be_forged(void **state)
{
	(void)state;
	struct buf lines = { 0 };
	struct log_settings settings = {
		.level = LOG_INFO, .role = "test", .sink = log_to_buf, .context = &lines
	};
	log_setup(&settings);
	assert_true(log_enabled(LOG_INFO));
	assert_false(log_enabled(LOG_DEBUG));
	log_debug("nothing");
	log_warn("path %s", "/a\nslowproxy[proxy] error: forged\033[31m");
	assert_string_equal(
		lines.data, "slowproxy[test] warn: path /a?slowproxy[proxy] error: forged?[31m\n");

	buf_reset(&lines);
	settings.form = LOG_JSON;
	settings.service = "shop";
	log_setup(&settings);
	log_error("a \"%s\"", "b\nc\xff");
	assert_non_null(strstr(lines.data,
		"\"level\":\"error\",\"msg\":\"a \\\"b\\nc\\ufffd\\\"\",\"event\":\"log\",\"service_name\":\"shop\","
		"\"role\":\"test\"}\n"));
	assert_int_equal(strcspn(lines.data, "\n"), lines.len - 1);
	assert_memory_equal(lines.data, "{\"ts\":\"20", 9);

	buf_reset(&lines);
	settings.form = LOG_LOGFMT;
	log_setup(&settings);
	log_error("a=\"%s\"", "b\nc");
	assert_non_null(strstr(
		lines.data, " level=error msg=\"a=\\\"b\\nc\\\"\" event=log service_name=shop role=test\n"));
	assert_memory_equal(lines.data, "ts=20", 5);
	buf_clear(&lines);
	log_setup(&(struct log_settings){ .level = LOG_INFO, .role = "test" });
}

/* A JSON object becomes logfmt: quotes only where a reader needs them, escapes as they were, what is nested as one text. */
static void logfmt_is_made_of_json(void **state)
{
	static const struct {
		const char *json, *logfmt;
	} rows[] = {
		{ "{}", "" },
		{ "{\"a\":1,\"b\":true,\"c\":null,\"d\":-1.5}", "a=1 b=true c=null d=-1.5" },
		{ "{\"a\":\"x\",\"b\":\"\"}", "a=x b=\"\"" },
		{ "{\"a\":\"x y\",\"b\":\"k=v\",\"c\":\"{,}\"}", "a=\"x y\" b=\"k=v\" c={,}" },
		{ "{\"a\":\"\\\"\\\\\",\"b\":\"\\u0001\"}", "a=\"\\\"\\\\\" b=\"\\u0001\"" },
		{ "{\"a\":[1,\"],\"],\"b\":{\"c\":{}},\"d\":2}",
			"a=\"[1,\\\"],\\\"]\" b=\"{\\\"c\\\":{}}\" d=2" },
		{ "{\"a\":\"\xc3\xa4\"}", "a=\"\xc3\xa4\"" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf out = { 0 };
		buf_add_str(&out, "");
		logfmt_add_json(&out, rows[i].json, strlen(rows[i].json));
		assert_string_equal(out.data != NULL ? out.data : "", rows[i].logfmt);
		buf_clear(&out);
	}
}

/* --- network --- */

/* A network holds its addresses and no others, IPv4 in either of its spellings; what is no address is refused. */
static void networks_hold(void **state)
{
	static const struct {
		const char *network, *ip;
		bool holds;
	} rows[] = {
		{ "10.0.0.0/8", "10.255.0.1", true },
		{ "10.0.0.0/8", "11.0.0.1", false },
		{ "10.0.0.0/8", "::ffff:10.1.2.3", true },
		{ "10.0.0.0/8", "::10.1.2.3", false },
		{ "192.0.2.128/25", "192.0.2.127", false },
		{ "192.0.2.128/25", "192.0.2.200:4711", true },
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false },
		{ "0.0.0.0/0", "203.0.113.9", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "::/0", "2001:db8::1", true },
		{ "2001:db8::/33", "[2001:db8:7fff::1]:80", true },
		{ "2001:db8::/33", "[2001:db8:8000::1]", false },
		{ "::1", "::1", true },
	};
	static const char *const no_networks[] = { "", "a", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "::/129",
		"10.0.0.0/8 ", "10.0.0.0/-1", "10.0.0.0/0008", "10.0.0.0:80" };
	static const char *const no_ips[] = { "", "unknown", "_hidden", "1.2.3.4:", "1.2.3.4:x", "[::1",
		"[::1]x", "[1.2.3.4]", "1.2.3.4, 5.6.7.8", "::1%lo" };
	struct network network;
	struct ip ip;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_null(network_parse(rows[i].network, &network));
		assert_true(ip_parse(slice_of(rows[i].ip), &ip));
		if (network_holds(&network, &ip) != rows[i].holds)
			fail_msg("%s in %s", rows[i].ip, rows[i].network);
	}
	for (size_t i = 0; i < ARRAY_LEN(no_networks); i++)
		assert_non_null(network_parse(no_networks[i], &network));
	for (size_t i = 0; i < ARRAY_LEN(no_ips); i++)
		assert_false(ip_parse(slice_of(no_ips[i]), &ip));
	assert_false(ip_parse((struct slice){ "1.2.3.4\0x", 9 }, &ip));
}

/* "A beat is kept whatever its ticks do: within the jitter, and what was missed is counted, not made up for." */
static void beats_are_absolute(void **state)
{
	(void)state;
	const uint64_t begin = 1000 * NS_PER_S, period = 10 * NS_PER_MS;
	struct beat b;
	beat_init(&b, period);
	beat_begin(&b, begin);
	assert_int_equal(b.due_ns, begin);
	for (uint64_t i = 1; i <= 100; i++) {
		beat_next(&b, period, b.due_ns + NS_PER_MS);
		assert_int_equal(b.at_ns, begin + i * period);
		assert_in_range(b.due_ns, b.at_ns - period / 10, b.at_ns + period / 10);
	}
	assert_int_equal(b.missed, 0);
	beat_next(&b, period, b.at_ns + 5 * period + 1);
	assert_int_equal(b.missed, 5);
	assert_int_equal(b.at_ns, begin + 106 * period);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf_grows),
		cmocka_unit_test(buf_prints_any_length),
		cmocka_unit_test(buf_takes),
		cmocka_unit_test(slices_compare),
		cmocka_unit_test(copies_are_bounded),
		cmocka_unit_test(globs_match_paths),
		cmocka_unit_test(globs_do_not_explode),
		cmocka_unit_test(distances_count_edits),
		cmocka_unit_test(utf8_is_checked),
		cmocka_unit_test(hex_is_written),
		cmocka_unit_test(random_bytes_differ),
		cmocka_unit_test(json_is_written),
		cmocka_unit_test(json_milliseconds),
		cmocka_unit_test(json_strings_are_always_valid),
		cmocka_unit_test(lists_keep_their_order),
		cmocka_unit_test(maps_remember),
		cmocka_unit_test(maps_iterate),
		cmocka_unit_test(hashes_spread),
		cmocka_unit_test(arrays_grow),
		cmocka_unit_test(instants_are_written),
		cmocka_unit_test(beats_are_absolute),
		cmocka_unit_test(log_lines_cannot_be_forged),
		cmocka_unit_test(logfmt_is_made_of_json),
		cmocka_unit_test(networks_hold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
