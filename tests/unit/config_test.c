/* config_test.c - what users write, right and wrong, and what they are told.
 *
 * The files under config/ are generated: after a change to the table, SLOWPROXY_REGENERATE=1 build/config_test writes
 * them anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/config.h>

#include "table.h"

#define LIST(...) ((const char *[]){ __VA_ARGS__, NULL })

static const char *const no_flags[] = { NULL };

/* One load: the configuration or the errors, both to be given back. environment and flags end with NULL. */
struct attempt {
	struct config *config;
	struct buf errors;
};

static struct attempt attempt_bytes(
	const char *yaml, size_t len, const char *const *environment, const char *const *flags)
{
	struct attempt a = { 0 };
	struct config_source source = { .file_name = yaml ? "proxy.yaml" : NULL,
		.yaml = yaml,
		.yaml_len = len,
		.environment = (char *const *)environment,
		.flags = flags };
	while (flags[2 * source.flag_count] != NULL)
		source.flag_count++;
	a.config = config_load(&source, &a.errors);
	assert_true((a.config == NULL) == (a.errors.len != 0));
	return a;
}

static struct attempt attempt(const char *yaml, const char *const *environment, const char *const *flags)
{
	return attempt_bytes(yaml, yaml ? strlen(yaml) : 0, environment, flags);
}

static void attempt_clear(struct attempt *a)
{
	config_free(a->config);
	buf_clear(&a->errors);
}

static struct attempt good(const char *yaml)
{
	struct attempt a = attempt(yaml, NULL, no_flags);
	if (a.config == NULL)
		fail_msg("refused:\n%s\n%s", yaml, a.errors.data);
	return a;
}

static char *printed(void (*print)(FILE *))
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	print(out);
	fclose(out);
	return text;
}

/* What -T prints, behind one newline, so that a whole line can be looked for. */
static char *effective(const struct config *c)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	fputc('\n', out);
	config_print_effective(c, out);
	fclose(out);
	return text;
}

static void assert_contains(const char *text, const char *part)
{
	if (text == NULL || strstr(text, part) == NULL)
		fail_msg("not found:\n%s\nin:\n%s", part, text ? text : "(nothing)");
}

/* --- the table --- */

/* Every row is complete: a default or a reason for none, a known section, whole sentences, a name of its own. */
static void rows_are_complete(void **state)
{
	(void)state;
	for (size_t i = 0; i < config_row_count; i++) {
		const struct config_row *row = &config_rows[i];
		size_t doc_len = strlen(row->doc);
		size_t section_len = (size_t)(row_leaf(row) - row->key);
		char section[64] = "";
		if (section_len != 0)
			memcpy(section, row->key, section_len - 1);
		assert_true(section_len == 0 || section_find(section) != NULL);
		assert_true(row_required(row) || (row->def != NULL) != (row->def_find != NULL));
		assert_true((row->def_find != NULL) == (row->def_doc != NULL));
		assert_true((row->type == TYPE_CHOICE) == (row->choices != NULL));
		assert_true(row->doc[doc_len - 1] == '.');
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(row->key, config_rows[j].key);
	}
}

/* The defaults are those of the contract. */
static void defaults_are_the_promised_ones(void **state)
{
	(void)state;
	struct attempt a = good("upstream: 127.0.0.1:8000\n");
	const struct config *c = a.config;
	assert_int_equal(c->listen.count, 1);
	assert_string_equal(c->listen.items[0].host, "0.0.0.0");
	assert_int_equal(c->listen.items[0].port, 8080);
	assert_string_equal(c->upstream.items[0].host, "127.0.0.1");
	assert_int_equal(c->upstream.items[0].port, 8000);
	assert_string_equal(c->upstream.items[0].text, "127.0.0.1:8000");
	assert_string_equal(c->service, "slowproxy");
	assert_string_equal(c->user, "nobody");
	assert_int_equal(c->workers, 1);
	assert_string_equal(c->response_time.header, "X-Response-Time");
	assert_int_equal(c->response_time.unit, CONFIG_UNIT_S);
	assert_int_equal(c->response_time.digits, 3);
	assert_false(c->response_time.server_timing);
	assert_int_equal(c->response_time.existing, CONFIG_EXISTING_REPLACE);
	assert_int_equal(c->slow.threshold_ns, 500 * NS_PER_MS);
	assert_int_equal(c->slow.routes.count, 0);
	assert_true(c->capture.enabled);
	assert_int_equal(c->capture.arm_after_ns, 100 * NS_PER_MS);
	assert_int_equal(c->capture.rate_hz, 100);
	assert_int_equal(c->capture.max_duration_ns, 30 * NS_PER_S);
	assert_int_equal(c->capture.max_bytes, 256 << 20);
	assert_int_equal(c->routes.openapi.count, 1);
	assert_string_equal(c->routes.openapi.items[0], "/openapi.json");
	assert_int_equal(c->routes.templates.count, 0);
	assert_string_equal(c->logs.slow, "stdout");
	assert_string_equal(c->logs.access, "off");
	assert_int_equal(c->logs.level, LOG_INFO);
	assert_int_equal(c->logs.format, CONFIG_LOG_JSON);
	assert_string_equal(c->admin.listen.host, "127.0.0.1");
	assert_int_equal(c->admin.listen.port, 9180);
	assert_int_equal(c->limits.header_bytes, 32 << 10);
	assert_int_equal(c->limits.headers, 100);
	assert_int_equal(c->limits.body_bytes, 0);
	assert_int_equal(c->limits.connections, 10000);
	assert_int_equal(c->timeouts.header_ns, 10 * NS_PER_S);
	assert_int_equal(c->timeouts.idle_ns, 75 * NS_PER_S);
	assert_int_equal(c->timeouts.connect_ns, 2 * NS_PER_S);
	assert_int_equal(c->timeouts.response_ns, 0);
	assert_int_equal(c->timeouts.stream_idle_ns, 0);
	assert_int_equal(c->timeouts.upstream_idle_ns, 4 * NS_PER_S);
	assert_int_equal(c->timeouts.drain_ns, 10 * NS_PER_S);
	assert_int_equal(c->error_body, CONFIG_ERROR_JSON);
	attempt_clear(&a);
}

/* --- what is accepted --- */

struct accepted {
	const char *yaml; /* added to a file with an upstream */
	const char *line; /* that -T then prints */
};
static const struct accepted accepted[] = {
	{ "workers: 4", "\nworkers: 4 # proxy.yaml:2\n" },
	{ "workers: \"4\"", "\nworkers: 4 " },
	{ "listen: [127.0.0.1:0, '[::1]:81', unix:/run/x.sock, ':82']",
		"\nlisten: # proxy.yaml:2\n  - 127.0.0.1:0\n  - \"[::1]:81\"\n  - unix:/run/x.sock\n  - \":82\"\n" },
	{ "listen: '*:80'", "\nlisten: \"*:80\" " },
	{ "listen: '[fe80::1%eth0]:80'", "\nlisten: \"[fe80::1%eth0]:80\" " },
	{ "service: \"caf\xc3\xa9 $$x\"", "\nservice: \"caf\xc3\xa9 $$x\" " },
	{ "slow: { threshold: 1.5s }", "\n  threshold: 1500ms # proxy.yaml:2\n" },
	{ "slow: { threshold: 1h30m }", "\n  threshold: 90m " },
	{ "slow: { threshold: 1s500ms }", "\n  threshold: 1500ms " },
	{ "slow: { threshold: off }", "\n  threshold: \"off\" " },
	{ "slow:", "\n  threshold: 500ms # default\n" },
	{ "slow: { routes: [] }", "\n  routes: [] # proxy.yaml:2\n" },
	{ "slow:\n  routes:\n    - match: /a/**/b\n      threshold: 5s\n    - { match: '* /b', threshold: off }",
		"\n  routes: # proxy.yaml:4\n    - { match: \"/a/**/b\", threshold: 5s }\n"
		"    - { match: \"* /b\", threshold: \"off\" }\n" },
	{ "capture: { enabled: no }", "\n  enabled: false " },
	{ "capture: { enabled: On }", "\n  enabled: true " },
	{ "capture: { arm_after: 0 }", "\n  arm_after: 0s " },
	{ "capture: { max_bytes: 10MB }", "\n  max_bytes: 10MB " },
	{ "capture: { max_bytes: 1.5GiB }", "\n  max_bytes: 1536MiB " },
	{ "capture: { directory: '' }", "\n  directory: \"\" " },
	{ "response_time: { header: '' }", "\n  header: \"\" " },
	{ "response_time: { unit: ms, digits: 0 }", "\n  digits: 0 " },
	{ "logs: { access: off, slow: /var/log/slow.log }", "\n  slow: /var/log/slow.log " },
	{ "logs: { level: debug, format: console }", "\n  level: debug " },
	{ "routes: { templates: ['/items/{id}', /b] }", "\n    - \"/items/{id}\"\n    - /b\n" },
	{ "routes: { templates: /a }", "\n    - /a\n" },
	{ "routes: { openapi: off }", "\n    - \"off\"\n" },
	{ "admin: { listen: off }", "\n  listen: \"off\" " },
	{ "error_format: plain", "\nerror_format: plain " },
	{ "workers: \"${N}\"", "\nworkers: 7 " },
	{ "workers: ${NOT_SET:-3}", "\nworkers: 3 " },
	{ "workers: ${EMPTY:-3}", "\nworkers: 3 " },
	{ "workers: ${env:N}", "\nworkers: 7 " },
	{ "workers: ${env:NOT_SET:-5}", "\nworkers: 5 " },
	{ "workers: ${N:?must be set}", "\nworkers: 7 " },
	{ "service: a${N}-${N}$$", "\nservice: \"a7-7$$\" " },
	{ "service: ${TRICKY}", "\nservice: \"a: [b, {c: d}] # ${N}\" " },
};

/* Each good line is taken for what it says, and -T prints it in a form that loads as the same again. */
static void good_lines_are_accepted(void **state)
{
	(void)state;
	const char *const *environment = LIST("N=7", "EMPTY=", "TRICKY=a: [b, {c: d}] # ${N}");
	for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
		struct buf yaml = { 0 };
		buf_printf(&yaml, "upstream: 127.0.0.1:8000\n%s\n", accepted[i].yaml);
		struct attempt a = attempt(yaml.data, environment, no_flags);
		if (a.config == NULL)
			fail_msg("refused:\n%s\n%s", accepted[i].yaml, a.errors.data);
		char *text = effective(a.config);
		if (strcmp(accepted[i].yaml, "service: ${TRICKY}") == 0)
			assert_string_equal(a.config->service, "a: [b, {c: d}] # ${N}");
		else
			assert_contains(text, accepted[i].line);

		struct attempt again = attempt(text, NULL, no_flags);
		if (again.config == NULL)
			fail_msg("-T does not load again:\n%s\n%s", text, again.errors.data);
		char *text_again = effective(again.config);
		for (char *one = text, *two = text_again; *one != '\0' && *two != '\0';) {
			size_t value = strcspn(one, "#\n"); /* behind it the origins differ */
			if (strncmp(one, two, value) != 0)
				fail_msg("after a round trip:\n%s\nis not\n%s", two, one);
			one += strcspn(one, "\n") + 1;
			two += strcspn(two, "\n") + 1;
		}
		free(text);
		free(text_again);
		attempt_clear(&again);
		attempt_clear(&a);
		buf_clear(&yaml);
	}
}

/* --- what is refused --- */

struct refused {
	const char *yaml;  /* a whole file */
	const char *error; /* the whole text of all errors but excerpts */
};
#define UP "upstream: a:1\n"
static const struct refused refused[] = {
	{ "", "proxy.yaml: upstream: is missing: write upstream: 127.0.0.1:8000 in the file, or give --upstream or "
	      "SLOWPROXY_UPSTREAM\n" },
	{ "# nothing\n",
		"proxy.yaml: upstream: is missing: write upstream: 127.0.0.1:8000 in the file, or give --upstream "
		"or SLOWPROXY_UPSTREAM\n" },
	{ "- a\n",
		"proxy.yaml:1:1: a list stands where a map belongs, with keys such as upstream: 127.0.0.1:8000\n" },
	{ "hello\n", "proxy.yaml:1:1: a single value stands where a map belongs*" },
	{ "upstream:\n", "proxy.yaml:1:10: upstream: has no value: write one, or leave out the line\n" },
	{ "upstream: ~\n", "proxy.yaml:1:11: upstream: has no value*" },
	{ "upstream: []\n", "proxy.yaml:1:11: upstream: is empty: at least one address is needed\n" },
	{ "upstream: ''\n",
		"proxy.yaml:1:11: upstream: \"\" is not an address: write host:port, [v6]:port or unix:/path\n" },
	{ "upstream: http://a:1\n",
		"proxy.yaml:1:11: upstream: http://a:1 is a URL: write only its host:port\n" },
	{ "upstream: 8000\n", "proxy.yaml:1:11: upstream: 8000 is not an address*" },
	{ "upstream: a:0\n", "proxy.yaml:1:11: upstream: a:0 has port 0, which nothing can be reached at\n" },
	{ "upstream: a:65536\n",
		"proxy.yaml:1:11: upstream: a:65536 does not end in a port from 1 to 65535\n" },
	{ "upstream: \"a:\"\n", "proxy.yaml:1:11: upstream: a: does not end in a port*" },
	{ "upstream: a:-1\n", "proxy.yaml:1:11: upstream: a:-1 does not end in a port*" },
	{ "upstream: '::1:80'\n",
		"proxy.yaml:1:11: upstream: ::1:80 is not an address: an IPv6 address is written in "
		"brackets, such as [::1]:8000\n" },
	{ "upstream: '[::1]'\n", "proxy.yaml:1:11: upstream: [::1] is not an address: write [v6]:port*" },
	{ "upstream: '[::g]:1'\n",
		"proxy.yaml:1:11: upstream: [::g]:1 has no IPv6 address between [ and ]\n" },
	{ "upstream: 1.2.3:80\n", "*an IPv4 address has four numbers from 0 to 255\n" },
	{ "upstream: 1.2.3.256:80\n", "*an IPv4 address has four numbers*" },
	{ "upstream: unix:run/x\n", "*the path of a socket starts with /\n" },
	{ "upstream: a b:80\n", "*a b:80 is not an address*" },
	{ "upstream: [a:1, {b: 2}, [c], d]\n",
		"proxy.yaml:1:17: upstream[1]: a map stands where a single value belongs\n"
		"proxy.yaml:1:25: upstream[2]: a list stands where a single value belongs\n"
		"proxy.yaml:1:30: upstream[3]: d is not an address*" },
	{ "upstream: { a: 1 }\n", "proxy.yaml:1:11: upstream: a map stands where a list belongs\n" },
	{ UP "workers: 0\n", "proxy.yaml:2:10: workers: 0 is below the minimum 1\n" },
	{ UP "workers: 65\n", "proxy.yaml:2:10: workers: 65 is above the maximum 64\n" },
	{ UP "workers: -1\n", "proxy.yaml:2:10: workers: -1 is not a whole number\n" },
	{ UP "workers: 1.5\n", "proxy.yaml:2:10: workers: 1.5 is not a whole number\n" },
	{ UP "workers: 010\n", "proxy.yaml:2:10: workers: 010 is written with a leading zero*" },
	{ UP "workers: 4294967296\n", "proxy.yaml:2:10: workers: 4294967296 is too large\n" },
	{ UP "workers: 99999999999999999999999\n", "*is too large\n" },
	{ UP "workers: [1]\n", "proxy.yaml:2:10: workers: a list stands where a single value belongs\n" },
	{ UP "workers: { a: 1 }\n", "proxy.yaml:2:10: workers: a map stands where a single value belongs\n" },
	{ UP "workers:\n", "proxy.yaml:2:9: workers: has no value*" },
	{ UP "limits: { headers: 257 }\n",
		"proxy.yaml:2:20: limits.headers: 257 is above the maximum 256\n" },
	{ UP "slow: { threshold: 500 }\n",
		"proxy.yaml:2:20: slow.threshold: 500: a duration needs a unit, such as 500ms\n" },
	{ UP "slow: { threshold: 0s }\n",
		"proxy.yaml:2:20: slow.threshold: 0s is below the minimum 1ms; off turns it off\n" },
	{ UP "slow: { threshold: 25h }\n",
		"proxy.yaml:2:20: slow.threshold: 25h is above the maximum 24h\n" },
	{ UP "slow: { threshold: 5x }\n",
		"proxy.yaml:2:20: slow.threshold: 5x is not a duration such as 500ms, 1.5s, 2m or 1h30m\n" },
	{ UP "slow: { threshold: 5 s }\n", "*5 s is not a duration*" },
	{ UP "slow: { threshold: 1.s }\n", "*1.s is not a duration*" },
	{ UP "slow: { threshold: 1.0000000001s }\n", "*1.0000000001s*" },
	{ UP "slow: { threshold: 999999999999999h }\n", "*is too large\n" },
	{ UP "slow: 500ms\n",
		"proxy.yaml:2:7: slow: a single value stands where a map belongs, with keys such as threshold\n" },
	{ UP "slow: [a]\n", "proxy.yaml:2:7: slow: a list stands where a map belongs*" },
	{ UP "slow: { treshold: 1s }\n",
		"proxy.yaml:2:9: slow.treshold: unknown key; did you mean threshold?\n" },
	{ UP "treshold: 1s\n",
		"proxy.yaml:2:1: treshold: unknown key; did you mean slow.threshold (threshold under slow:)?\n" },
	{ UP "slow.threshold: 1s\n",
		"proxy.yaml:2:1: slow.threshold: unknown key; did you mean slow.threshold (threshold under slow:)?\n" },
	{ UP "capure: {}\n", "proxy.yaml:2:1: capure: unknown key; did you mean capture?\n" },
	{ UP "elephant: {}\n", "proxy.yaml:2:1: elephant: unknown key\n" },
	{ UP "workers: 1\nworkers: 2\n", "proxy.yaml:3:1: workers: is here twice; the first is on line 2\n" },
	{ UP "slow: {}\nslow: {}\n", "proxy.yaml:3:1: slow: is here twice; the first is on line 2\n" },
	{ UP "capture: { rate: 50000 }\n",
		"proxy.yaml:2:18: capture.rate: 50000 is above the maximum 1000\n" },
	{ UP "capture: { enabled: maybe }\n",
		"proxy.yaml:2:21: capture.enabled: maybe is neither true nor false\n" },
	{ UP "capture: { max_bytes: 1000000 }\n",
		"proxy.yaml:2:23: capture.max_bytes: 1000000: a size needs a unit, such as 64KiB or 10MB\n" },
	{ UP "capture: { max_bytes: 10M }\n", "*10M is not a size such as 64KiB or 10MB\n" },
	{ UP "capture: { max_bytes: 1MB1MB }\n", "*1MB1MB is not a size*" },
	{ UP "capture: { max_bytes: 10kB }\n", "*10kB is below the minimum 1MiB\n" },
	{ UP "capture: { directory: var }\n", "*var is not an absolute path\n" },
	{ UP "response_time: { unit: sec }\n", "*sec is not one of s or ms*" },
	{ UP "response_time: { existing: replaced }\n",
		"*replaced is not one of replace, keep or append; did you mean replace?\n" },
	{ UP "response_time: { header: 'X Y' }\n", "*X Y is not the name of a header\n" },
	{ UP "response_time: { header: \"X\\r\\nEvil\" }\n",
		"*response_time.header: the text holds a control character*" },
	{ UP "logs: { level: verbose }\n", "*verbose is not one of error, warn, info or debug\n" },
	{ UP "logs: { slow: stdot }\n", "*stdot is none of stdout, stderr, off, nor the path of a file*" },
	{ UP "user: a/b\n", "*a/b is not the name of a system user\n" },
	{ UP "service: ''\n", "*service: \"\" is empty*" },
	{ UP "routes: { templates: [items] }\n", "*routes.templates[0]: items does not start with /\n" },
	{ UP "routes: { templates: ['/a/{id', '/a/{}', '/a/id}', '/a?b'] }\n",
		"*[0]: /a/{id has a { without its }*[1]: /a/{} has a parameter without a name*[2]: /a/id} has a {*[3]: /a?b*" },
	{ UP "slow: { routes: { match: /a } }\n",
		"proxy.yaml:2:17: slow.routes: a map stands where a list belongs\n" },
	{ UP "slow: { routes: x }\n",
		"proxy.yaml:2:17: slow.routes: a single value stands where a list belongs\n" },
	{ UP "slow: { routes: [x] }\n",
		"proxy.yaml:2:18: slow.routes[0]: a single value stands where a row belongs*" },
	{ UP "slow: { routes: [{ match: /a }] }\n",
		"proxy.yaml:2:18: slow.routes[0]: the row has no threshold\n" },
	{ UP "slow: { routes: [{ threshold: 1s }] }\n",
		"proxy.yaml:2:18: slow.routes[0]: the row has no match\n" },
	{ UP "slow: { routes: [{ match: /a, threshold: 5 }] }\n",
		"proxy.yaml:2:42: slow.routes[0].threshold: 5: a duration needs a unit, such as 500ms\n" },
	{ UP "slow: { routes: [{ match: post /a, threshold: 5s }] }\n",
		"proxy.yaml:2:27: slow.routes[0].match: post /a does not start with a method in capitals*" },
	{ UP "slow: { routes: [{ match: POTS /a, threshold: 5s }] }\n",
		"*POTS /a does not start with a method*" },
	{ UP "slow: { routes: [{ match: POST, threshold: 5s }] }\n",
		"*POST has no path that starts with /*" },
	{ UP "slow: { routes: [{ match: '/a?b', threshold: 5s }] }\n",
		"*has a query: only the path is compared\n" },
	{ UP "slow: { routes: [{ match: /a, threshold: 5s, match: /b }] }\n",
		"proxy.yaml:2:46: slow.routes[0]: match is here twice; the first is on line 2\n" },
	{ UP "slow: { routes: [{ macth: /a, match: /a, threshold: 5s }] }\n",
		"proxy.yaml:2:20: slow.routes[0]: unknown key macth; did you mean match?\n" },
	{ UP "service: ${NOT_SET}\n",
		"proxy.yaml:2:10: service: the variable NOT_SET is not set; ${NOT_SET:-default} gives "
		"it a default\n" },
	{ UP "service: ${NOT_SET:?say who you are}\n",
		"proxy.yaml:2:10: service: the variable NOT_SET is not set: say who you are\n" },
	{ UP "service: ${EMPTY:?x}\n", "*the variable EMPTY is not set: x\n" },
	{ UP "service: ${LINES}\n", "*the variable LINES holds a line break, which is refused\n" },
	{ UP "service: ${BYTES}\n", "*the text holds a control character or is not UTF-8\n" },
	{ UP "service: ${A\n", "*${ has no closing }\n" },
	{ UP "service: ${}\n", "*after ${ comes the name of a variable*" },
	{ UP "service: ${1A}\n", "*after ${ comes the name of a variable*" },
	{ UP "service: ${A-b}\n", "*write ${VAR}, ${VAR:-default} or ${VAR:?message}\n" },
	{ UP "service: ${A:-${B}}\n", "*variables cannot be nested\n" },
	{ UP "service: a$b\n", "*a lone $*" },
	{ UP "workers: ${N_IS_TEXT}\n", "*workers: seven is not a whole number\n" },
	{ UP "workers: &a 1\nservice: *a\n",
		"proxy.yaml:2:10: anchors and aliases are not supported: write the value again\n"
		"proxy.yaml:3:10: anchors and aliases are not supported: write the value again\n" },
	{ UP "<<: *a\n", "*anchors and aliases are not supported*" },
	{ UP "workers: !!int 1\n", "proxy.yaml:2:10: tags are not supported: leave out the !\n" },
	{ UP "? [a]\n: b\n", "proxy.yaml:2:3: a key must be plain text\n" },
	{ UP "---\n" UP,
		"proxy.yaml:2:1: a second document begins here: one file holds one configuration\n" },
	{ UP "slow: [[[[[[[[[[[[[[[[\n", "*proxy.yaml:2:18: nested more than 12 levels deep\n" },
	{ UP "slow:\n\tthreshold: 1s\n", "*not valid YAML: found character that cannot start any token*" },
	{ UP "slow: { threshold: 1s\n",
		"*not valid YAML: did not find expected ',' or '}' (while parsing a flow mapping "
		"which begins on line 2)\n" },
	{ UP "service: \"abc\n", "*not valid YAML: found unexpected end of stream*" },
	{ UP "service: \"a\\0b\"\n", "proxy.yaml:2:10: the text holds a NUL character\n" },
	{ UP "service: a\xff\n", "proxy.yaml:2:11: byte 0xff is not UTF-8\n" },
	{ UP "service: a\033[31m\n", "proxy.yaml:2:11: control character 0x1b\n" },
	{ "\xef\xbb\xbf" UP "workers: 0\n", "proxy.yaml:2:10: workers: 0 is below the minimum 1\n" },
	{ UP "# x\r\nworkers: 0\r\n", "proxy.yaml:3:10: workers: 0 is below the minimum 1\n" },
	{ "workers: 0\nlisten: 80\n",
		"*upstream: is missing*proxy.yaml:1:10: workers: 0 is*proxy.yaml:2:9: listen: 80 is*" },
};

/* The lines of the errors without their excerpts ("   12 | ..."). */
static char *without_excerpts(const char *errors)
{
	struct buf out = { 0 };
	for (const char *line = errors; *line != '\0';) {
		size_t len = strcspn(line, "\n") + 1;
		if (strspn(line, " 0123456789") < 6 ||
			strncmp(line + strspn(line, " 0123456789"), "| ", 2) != 0)
			buf_add(&out, line, len);
		line += len;
	}
	return buf_take(&out);
}

/* Like str_glob, but * is any run of bytes. */
static bool matches(const char *pattern, const char *text)
{
	const char *star = NULL, *resume = NULL;
	while (*text != '\0') {
		if (*pattern == '*') {
			star = pattern++;
			resume = text;
		} else if (*pattern == *text) {
			pattern++;
			text++;
		} else if (star != NULL) {
			pattern = star + 1;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

/* Each bad file is refused with the sentence that helps, at the place where it is wrong, and with no other sentence. */
static void bad_files_are_refused(void **state)
{
	(void)state;
	const char *const *environment =
		LIST("EMPTY=", "LINES=a\nworkers: 9", "BYTES=a\xff", "N_IS_TEXT=seven", "A=a", "B=b");
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct attempt a = attempt(refused[i].yaml, environment, no_flags);
		if (a.config != NULL)
			fail_msg("accepted:\n%s", refused[i].yaml);
		char *told = without_excerpts(a.errors.data);
		if (!matches(refused[i].error, told))
			fail_msg("told for:\n%s\nis:\n%s\ninstead of:\n%s", refused[i].yaml, told,
				refused[i].error);
		free(told);
		attempt_clear(&a);
	}
}

/* An error shows its line, and the caret stands under the place even behind tabs and characters of several bytes. */
static void errors_show_their_line(void **state)
{
	(void)state;
	struct attempt a = attempt(
		"upstream: a:1\ncapture: { directory: \"/\xc3\xa9\",\trate: 5000 }\r\n", NULL, no_flags);
	assert_string_equal(a.errors.data, "proxy.yaml:2:35: capture.rate: 5000 is above the maximum 1000\n"
					   "    2 | capture: { directory: \"/\xc3\xa9\",\trate: 5000 }\n"
					   "      |                            \t      ^\n");
	attempt_clear(&a);
}

/* A file with a hundred errors gets a hundred sentences, from first line to last. */
static void all_errors_come_at_once(void **state)
{
	(void)state;
	struct buf yaml = { 0 };
	buf_add_str(&yaml, "upstream:\n");
	for (int i = 0; i < 100; i++)
		buf_printf(&yaml, "  - bad%d\n", i);
	struct attempt a = attempt(yaml.data, NULL, no_flags);
	const char *at = a.errors.data;
	for (int i = 0; i < 100; i++) {
		char start[32];
		snprintf(start, sizeof start, "proxy.yaml:%d:5: ", i + 2);
		at = strstr(at, start);
		assert_non_null(at);
	}
	attempt_clear(&a);
	buf_clear(&yaml);
}

/* What is too much is refused before it costs anything: bytes, values, errors. */
static void huge_files_are_refused(void **state)
{
	(void)state;
	struct buf yaml = { 0 };
	buf_add_str(&yaml, "upstream: a:1\nroutes:\n  templates:\n");
	for (int i = 0; i < 6000; i++)
		buf_add_str(&yaml, "  - b\n");
	struct attempt a = attempt(yaml.data, NULL, no_flags);
	assert_contains(a.errors.data, "more than 5000 values in one file");
	assert_contains(a.errors.data, "more errors\n");
	attempt_clear(&a);

	while (yaml.len <= 1 << 20)
		buf_add_str(&yaml, "# a comment of no interest, many times over\n");
	a = attempt(yaml.data, NULL, no_flags);
	assert_string_equal(a.errors.data, "proxy.yaml: the file is larger than 1MiB\n");
	attempt_clear(&a);
	buf_clear(&yaml);
}

/* A NUL byte in the file is told by its place, like any control character. */
static void nul_bytes_are_refused(void **state)
{
	(void)state;
	static const char yaml[] = "upstream: a:1\nworkers: 1\0\n";
	struct attempt a = attempt_bytes(yaml, sizeof yaml - 1, NULL, no_flags);
	assert_contains(a.errors.data, "proxy.yaml:2:11: control character 0x00\n");
	attempt_clear(&a);
}

/* A file that ends anywhere is read or refused, never anything else (and under a sanitizer: never read beyond). */
static void every_prefix_ends_well(void **state)
{
	(void)state;
	char *example = printed(config_print_example);
	size_t len = strlen(example);
	for (size_t cut = 0; cut < len; cut += 7) {
		char *part = malloc(cut + 1);
		memcpy(part, example, cut);
		struct attempt a = attempt_bytes(part, cut, NULL, no_flags);
		attempt_clear(&a);
		free(part);
	}
	free(example);
}

/* --- flags and environment --- */

/* default < file < environment < flag, and -T says which it was. */
static void the_strongest_source_wins(void **state)
{
	(void)state;
	const char *yaml = "upstream: a:1\nworkers: 2\nslow: { threshold: 2s }\nservice: f\n";
	const char *const *environment =
		LIST("SLOWPROXY_WORKERS=3", "SLOWPROXY_SERVICE=e", "SLOWPROXY_USER=");
	struct attempt a = attempt(yaml, environment, LIST("workers", "4"));
	assert_non_null(a.config);
	assert_int_equal(a.config->workers, 4);
	assert_string_equal(a.config->service, "e");
	assert_string_equal(a.config->user, "nobody");
	char *text = effective(a.config);
	assert_contains(text, "\nworkers: 4 # flag: --workers\n");
	assert_contains(text, "\nservice: e # environment: SLOWPROXY_SERVICE\n");
	assert_contains(text, "\n  threshold: 2s # proxy.yaml:3\n");
	assert_contains(text, "\nuser: nobody # default\n");
	free(text);
	attempt_clear(&a);
}

/* No file is needed: flags or variables alone can say everything, lists and routes too. */
static void flags_alone_are_enough(void **state)
{
	(void)state;
	struct attempt a = attempt(NULL, LIST("SLOWPROXY_ROUTES_TEMPLATES=/a/{id}, /b"),
		LIST("upstream", ":8000", "listen", "127.0.0.1:1,127.0.0.1:2", "listen", "127.0.0.1:3",
			"slow.routes", "POST /r/*=5s,/e=off", "workers", "2", "workers", "3"));
	if (a.config == NULL)
		fail_msg("%s", a.errors.data);
	assert_int_equal(a.config->listen.count, 3);
	assert_int_equal(a.config->listen.items[2].port, 3);
	assert_string_equal(a.config->upstream.items[0].host, "127.0.0.1");
	assert_int_equal(a.config->workers, 3);
	assert_int_equal(a.config->slow.routes.count, 2);
	assert_string_equal(a.config->slow.routes.items[0].method, "POST");
	assert_null(a.config->slow.routes.items[1].method);
	assert_int_equal(a.config->routes.templates.count, 2);
	assert_string_equal(a.config->routes.templates.items[1], "/b");
	attempt_clear(&a);
}

/* Errors name the flag or the variable they come from, after those of the file. */
static void flags_and_variables_are_named_in_errors(void **state)
{
	(void)state;
	struct attempt a = attempt("upstream: a:1\nworkers: x\n",
		LIST("SLOWPROXY_SLOW_THRESHOLD=500", "SLOWPROXY_SLOW_ROUTES=/a"),
		LIST("slow.threshold", "7", "slow.treshold", "1s", "slow.routes", "/a=x", "upstream", ""));
	char *told = without_excerpts(a.errors.data);
	assert_string_equal(told, "proxy.yaml:2:10: workers: x is not a whole number\n"
				  "SLOWPROXY_SLOW_THRESHOLD: 500: a duration needs a unit, such as 500ms\n"
				  "SLOWPROXY_SLOW_ROUTES: the row has no threshold\n"
				  "--slow.treshold: unknown flag; did you mean --slow.threshold?\n"
				  "--upstream: is empty: at least one address is needed\n"
				  "--slow.threshold: 7: a duration needs a unit, such as 500ms\n"
				  "--slow.routes: x is not a duration such as 500ms, 1.5s, 2m or 1h30m\n");
	free(told);
	attempt_clear(&a);

	a = attempt(NULL, NULL, no_flags);
	assert_string_equal(a.errors.data,
		"upstream: is missing: write upstream: 127.0.0.1:8000 in the file, or give --upstream or SLOWPROXY_UPSTREAM\n");
	attempt_clear(&a);
}

static void count_lines(void *context, const char *line, size_t len)
{
	(void)line;
	(void)len;
	++*(int *)context;
}

/* Without a file name there is no file, even if its bytes are lent. What is odd is warned of, once. */
static void odd_things_are_warned_of_once(void **state)
{
	(void)state;
	int lines = 0;
	struct buf errors = { 0 };
	const char *environment[] = { "SLOWPROXY_WORKER=2", "SLOWPROXY_SERVICE_HOST=10.0.0.1",
		"SLOWPROXY_PORT=tcp://a", NULL };
	const char *flags[] = { "upstream", "a:1", "capture.arm_after", "1s" };
	struct config_source source = {
		.yaml = "", .environment = (char *const *)environment, .flags = flags, .flag_count = 2
	};
	log_setup(&(struct log_settings){
		.level = LOG_WARN, .role = "test", .sink = count_lines, .context = &lines });
	for (int quiet = 0; quiet < 2; quiet++) {
		source.quiet = quiet;
		struct config *c = config_load(&source, &errors);
		assert_non_null(c);
		config_free(c);
		assert_int_equal(lines,
			2); /* arm_after, and SLOWPROXY_WORKER; Kubernetes' own variables are left alone */
	}
	log_setup(&(struct log_settings){ .level = LOG_ERROR, .role = "test" });
	source.flag_count = 0;
	assert_null(config_load(&source, &errors));
	assert_memory_equal(errors.data, "upstream: is missing", 20);
	buf_clear(&errors);
}

/* $OTEL_SERVICE_NAME names the service unless something stronger does. */
static void otel_service_name_is_the_default(void **state)
{
	(void)state;
	struct attempt a = attempt(NULL, LIST("OTEL_SERVICE_NAME=shop"), LIST("upstream", "a:1"));
	assert_string_equal(a.config->service, "shop");
	attempt_clear(&a);
	a = attempt("upstream: a:1\nservice: mine\n", LIST("OTEL_SERVICE_NAME=shop"), no_flags);
	assert_string_equal(a.config->service, "mine");
	attempt_clear(&a);
}

/* In a process of user 65534, who may write neither /var/lib nor /root, so that the outcome is the same for all. */
static bool directory_of_nobody_is(const char *expected, const char *const *environment)
{
	int status = -1;
	pid_t child = fork();
	if (child == 0) {
		if (geteuid() == 0 && setuid(65534) != 0)
			_exit(2);
		struct attempt a = attempt(NULL, environment, LIST("upstream", "a:1"));
		_exit(strcmp(a.config->capture.directory, expected) != 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Profile files go to /var/lib/slowproxy where that can be written, else below the user's own state, else nowhere. */
static void directory_follows_what_is_writable(void **state)
{
	(void)state;
	if (access("/var/lib/slowproxy", F_OK) == 0) {
		print_message(
			"[  SKIPPED ] /var/lib/slowproxy exists on this machine: who may write it is unknown\n");
		skip();
	}
	assert_true(directory_of_nobody_is("/tmp/slowproxy", LIST("HOME=/root", "XDG_STATE_HOME=/tmp")));
	assert_true(
		directory_of_nobody_is("/tmp/.local/state/slowproxy", LIST("HOME=/tmp", "XDG_STATE_HOME=")));
	assert_true(directory_of_nobody_is(
		"/tmp/.local/state/slowproxy", LIST("HOME=/tmp", "XDG_STATE_HOME=not/absolute")));
	assert_true(directory_of_nobody_is("", LIST("HOME=/root")));
	assert_true(directory_of_nobody_is("", NULL));
	struct attempt a = attempt(NULL, NULL, LIST("upstream", "a:1"));
	if (geteuid() == 0)
		assert_string_equal(a.config->capture.directory, "/var/lib/slowproxy");
	attempt_clear(&a);
}

/* The command line learns which flags exist, which may stand alone, and what was meant. */
static void keys_are_known(void **state)
{
	(void)state;
	bool is_boolean;
	const char *suggestion;
	assert_true(config_key_known("capture.enabled", &is_boolean, &suggestion));
	assert_true(is_boolean);
	assert_true(config_key_known("upstream", &is_boolean, &suggestion));
	assert_false(is_boolean);
	assert_false(config_key_known("slow.treshold", &is_boolean, &suggestion));
	assert_string_equal(suggestion, "slow.threshold");
	assert_false(config_key_known("threshold", &is_boolean, &suggestion));
	assert_string_equal(suggestion, "slow.threshold");
	assert_false(config_key_known("elephant", &is_boolean, &suggestion));
	assert_null(suggestion);
}

/* --- what a configuration answers --- */

/* The first row that matches decides; without one slow.threshold does. */
static void thresholds_follow_the_first_match(void **state)
{
	(void)state;
	struct attempt a = good("upstream: a:1\nslow:\n  threshold: 1s\n  routes:\n"
				"    - { match: \"POST /reports/*\", threshold: 5s }\n"
				"    - { match: \"/reports/*/live\", threshold: off }\n"
				"    - { match: \"* /reports/**\", threshold: 2s }\n");
	static const struct {
		const char *method, *path;
		uint64_t ns;
	} cases[] = {
		{ "POST", "/reports/1", 5 * NS_PER_S },
		{ "POST", "/reports/1/live", 5 * NS_PER_S },
		{ "GET", "/reports/1/live", 0 },
		{ "GET", "/reports/1/2/live", 2 * NS_PER_S },
		{ "GET", "/reports/", 2 * NS_PER_S },
		{ "GET", "/reports", NS_PER_S },
		{ "POST", "/", NS_PER_S },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(
			config_slow_threshold_ns(a.config, cases[i].method, cases[i].path), cases[i].ns);
	attempt_clear(&a);
}

/* Durations and sizes mean what they say, exactly. */
static void quantities_are_exact(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t value; /* UINT64_MAX: refused */
	} durations[] = { { "1ns", 1 }, { "1us", 1000 }, { "1.5ms", 1500000 }, { "0.1s", 100000000 },
		{ "1.000000001s", 1000000001 }, { "2m", 120 * NS_PER_S }, { "1h1m1s", 3661 * NS_PER_S },
		{ "0", 0 }, { "0s", 0 }, { "0.5ns", UINT64_MAX }, { "", UINT64_MAX }, { "s", UINT64_MAX },
		{ "1", UINT64_MAX }, { "-1s", UINT64_MAX }, { "1S", UINT64_MAX }, { "1s ", UINT64_MAX },
		{ "1e3s", UINT64_MAX } },
	  sizes[] = { { "1B", 1 }, { "1kB", 1000 }, { "1KiB", 1024 }, { "1.5KiB", 1536 },
		  { "10MB", 10000000 }, { "1TiB", UINT64_C(1) << 40 }, { "0", 0 },
		  { "16777216TiB", UINT64_MAX }, { "1", UINT64_MAX }, { "1k", UINT64_MAX },
		  { "0.1B", UINT64_MAX }, { "MiB", UINT64_MAX } };
	const char *why;
	uint64_t value;
	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		bool fine = config_parse_duration(durations[i].text, &value, &why);
		assert_true(fine == (durations[i].value != UINT64_MAX) && fine == (why == NULL));
		if (fine)
			assert_int_equal(value, durations[i].value);
	}
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		bool fine = config_parse_size(sizes[i].text, &value, &why);
		assert_true(fine == (sizes[i].value != UINT64_MAX) && fine == (why == NULL));
		if (fine)
			assert_int_equal(value, sizes[i].value);
	}
}

/* --- generated files --- */

static char *file_read(const char *path)
{
	struct buf text = { 0 };
	char piece[4096];
	size_t n;
	FILE *in = fopen(path, "r");
	while (in != NULL && (n = fread(piece, 1, sizeof piece, in)) != 0)
		buf_add(&text, piece, n);
	if (in != NULL)
		fclose(in);
	return buf_take(&text);
}

/* The committed schema, example and reference are what the table says today. */
static void generated_files_are_fresh(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		void (*print)(FILE *);
	} files[] = {
		{ TEST_DATA "/../config/proxy.schema.json", config_print_schema },
		{ TEST_DATA "/../config/proxy.example.yaml", config_print_example },
		{ TEST_DATA "/../config/REFERENCE.md", config_print_reference },
	};
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		char *fresh = printed(files[i].print);
		if (getenv("SLOWPROXY_REGENERATE") != NULL) {
			FILE *out = fopen(files[i].path, "w");
			assert_non_null(out);
			fputs(fresh, out);
			fclose(out);
		}
		char *committed = file_read(files[i].path);
		if (strcmp(fresh, committed) != 0)
			fail_msg("%s is stale: run SLOWPROXY_REGENERATE=1 build/config_test and commit it",
				files[i].path);
		free(fresh);
		free(committed);
	}
}

/* The example loads, and shows the default of every key but those it says it does not. */
static void example_shows_the_defaults(void **state)
{
	(void)state;
	char *example = printed(config_print_example);
	struct attempt a = good(example), defaults = good("upstream: 127.0.0.1:8000\n");
	assert_int_equal(a.config->slow.threshold_ns, defaults.config->slow.threshold_ns);
	assert_int_equal(a.config->timeouts.upstream_idle_ns, defaults.config->timeouts.upstream_idle_ns);
	assert_string_equal(a.config->logs.access, defaults.config->logs.access);
	assert_string_equal(a.config->service, defaults.config->service);
	assert_int_equal(a.config->slow.routes.count, 2);
	for (size_t i = 0; i < config_row_count; i++)
		assert_contains(example, row_leaf(&config_rows[i]));
	free(example);
	attempt_clear(&a);
	attempt_clear(&defaults);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_complete),
		cmocka_unit_test(defaults_are_the_promised_ones),
		cmocka_unit_test(good_lines_are_accepted),
		cmocka_unit_test(bad_files_are_refused),
		cmocka_unit_test(errors_show_their_line),
		cmocka_unit_test(all_errors_come_at_once),
		cmocka_unit_test(huge_files_are_refused),
		cmocka_unit_test(nul_bytes_are_refused),
		cmocka_unit_test(every_prefix_ends_well),
		cmocka_unit_test(the_strongest_source_wins),
		cmocka_unit_test(flags_alone_are_enough),
		cmocka_unit_test(flags_and_variables_are_named_in_errors),
		cmocka_unit_test(odd_things_are_warned_of_once),
		cmocka_unit_test(otel_service_name_is_the_default),
		cmocka_unit_test(directory_follows_what_is_writable),
		cmocka_unit_test(keys_are_known),
		cmocka_unit_test(thresholds_follow_the_first_match),
		cmocka_unit_test(quantities_are_exact),
		cmocka_unit_test(generated_files_are_fresh),
		cmocka_unit_test(example_shows_the_defaults),
	};
	log_setup(&(struct log_settings){ .level = LOG_ERROR, .role = "test" });
	return cmocka_run_group_tests(tests, NULL, NULL);
}
