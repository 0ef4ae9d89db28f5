/* table.c - the table of keys.
 *
 * To add a key: add its field to struct config, and a row here. Parser, defaults, checks, flag, environment variable,
 * -T, schema, example and reference follow by themselves; the generated files under config/ want a new commit
 * (tests/unit/config_test.c says how).
 */
#include "table.h"

#include <stddef.h>

#include <slowproxy/base/clock.h>

#include "defaults.h"

/* The offset of a field that refuses to compile when the field is not of the named type. */
#define FIELD(ctype, path)                                                                                   \
	(offsetof(struct config, path) + 0 * sizeof(struct {                                                 \
		int this_field_has_another_type : _Generic(((struct config *)0)->path, ctype : 1, default    \
							   : -1);                                            \
	}))
#define A_BOOL(path)          .type = TYPE_BOOL, .at = FIELD(bool, path)
#define A_NUMBER(path)        .type = TYPE_NUMBER, .at = FIELD(uint32_t, path)
#define A_DURATION(path)      .type = TYPE_DURATION, .at = FIELD(uint64_t, path##_ns)
#define A_SIZE(path)          .type = TYPE_SIZE, .at = FIELD(uint64_t, path##_bytes)
#define A_CHOICE(ctype, path) .type = TYPE_CHOICE, .at = FIELD(ctype, path)
#define A_TEXT(path)          .type = TYPE_TEXT, .at = FIELD(const char *, path)
#define AN_ADDRESS(path)      .type = TYPE_ADDRESS, .at = FIELD(struct config_address, path)
#define ADDRESSES(path)       .type = TYPE_ADDRESSES, .at = FIELD(struct config_addresses, path)
#define TEXTS(path)           .type = TYPE_TEXTS, .at = FIELD(struct config_strings, path)
#define SLOW_ROUTES(path)     .type = TYPE_SLOW_ROUTES, .at = FIELD(struct config_slow_routes, path)

#define KIB  (UINT64_C(1) << 10)
#define MIB  (UINT64_C(1) << 20)
#define TIB  (UINT64_C(1) << 40)
#define HOUR (3600 * NS_PER_S)
#define DAY  (24 * HOUR)

/* Where something is pushed: the same keys for each such place. */
#define PUSH_ROWS(section, field, what, where, bound)                                                                         \
	{ .key = section ".url",                                                                                              \
		A_TEXT(field.url),                                                                                            \
		.def = "",                                                                                                    \
		.check = check_url,                                                                                           \
		.doc = "The address that " what                                                                               \
		       " are pushed to, http:// or https://. Without a path it is " where                                     \
		       ". \"\": nothing is pushed." },                                                                        \
		{ .key = section ".labels",                                                                                   \
			TEXTS(field.labels),                                                                                  \
			.def = "",                                                                                            \
			.check = check_label,                                                                                 \
			.doc = "Labels besides service_name, each name=value. Few and fixed ones: env, "                      \
			       "cluster. As a flag: divided by commas." },                                                    \
		{ .key = section ".tenant",                                                                                   \
			A_TEXT(field.tenant),                                                                                 \
			.def = "",                                                                                            \
			.check = check_line,                                                                                  \
			.doc = "The tenant, sent as X-Scope-OrgID." },                                                        \
		{ .key = section ".headers",                                                                                  \
			TEXTS(field.headers),                                                                                 \
			.def = "",                                                                                            \
			.flags = ROW_SECRET,                                                                                  \
			.check = check_header_line,                                                                           \
			.doc = "Further headers to send, each \"Name: value\". -T does not show them." },                     \
		{ .key = section ".user",                                                                                     \
			A_TEXT(field.user),                                                                                   \
			.def = "",                                                                                            \
			.check = check_line,                                                                                  \
			.doc = "The user for HTTP Basic authentication." },                                                   \
		{ .key = section ".password",                                                                                 \
			A_TEXT(field.password),                                                                               \
			.def = "",                                                                                            \
			.flags = ROW_SECRET,                                                                                  \
			.check = check_line,                                                                                  \
			.doc = "The password of that user; without a user it is sent as a bearer token. Better given in the " \
			       "environment, or in a file. -T does not show it." },                                           \
		{ .key = section ".password_file",                                                                            \
			A_TEXT(field.password_file),                                                                          \
			.def = "",                                                                                            \
			.check = check_file,                                                                                  \
			.doc = "A file with the password, such as /run/secrets/token. It is read at start and at a reload, "  \
			       "before privileges are given up." },                                                           \
		{ .key = section ".ca_file",                                                                                  \
			A_TEXT(field.ca_file),                                                                                \
			.def = "",                                                                                            \
			.check = check_file,                                                                                  \
			.doc = "A file with the certificates (PEM) that an https:// server is checked by, in place of the "   \
			       "system's. It must be readable for the user that slowproxy becomes." },                        \
	{                                                                                                                     \
		.key = section ".queue_bytes", A_SIZE(field.queue), .def = bound, .min = 64 * KIB,                            \
		.max = 1024 * MIB,                                                                                            \
		.doc = "The most memory for " what                                                                            \
		       " that wait while the server is slow or gone. Then the oldest are dropped and counted; traffic never " \
		       "waits."                                                                                               \
	}

static const char *const units[] = { [CONFIG_UNIT_S] = "s", [CONFIG_UNIT_MS] = "ms", NULL };
static const char *const existing[] = { [CONFIG_EXISTING_REPLACE] = "replace",
	[CONFIG_EXISTING_KEEP] = "keep",
	[CONFIG_EXISTING_APPEND] = "append",
	NULL };
static const char *const log_formats[] = { [CONFIG_LOG_JSON] = "json",
	[CONFIG_LOG_LOGFMT] = "logfmt",
	[CONFIG_LOG_CONSOLE] = "console",
	[CONFIG_LOG_AUTO] = "auto",
	NULL };
static const char *const error_formats[] = {
	[CONFIG_ERROR_JSON] = "json", [CONFIG_ERROR_PLAIN] = "plain", NULL
};
static const char *const underscore_policies[] = { [CONFIG_UNDERSCORE_DROP] = "drop",
	[CONFIG_UNDERSCORE_PASS] = "pass",
	[CONFIG_UNDERSCORE_REFUSE] = "refuse",
	NULL };
static const char *const abort_policies[] = {
	[CONFIG_ABORT_CLOSE] = "close", [CONFIG_ABORT_KEEP] = "keep", NULL
};
static const char *const levels[] = {
	[LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug", NULL
};

const struct config_section config_sections[] = {
	{ "", "What is in front, and what is behind." },
	{ "forward", "What the application is told besides X-Forwarded-For, -Proto and -Host." },
	{ "response_time", "The header that tells the client how long its answer took." },
	{ "slow", "Which requests count as slow, and so get a line in the slow log." },
	{ "capture", "How the stacks of the worker behind a slow request are taken." },
	{ "capture.pyroscope",
		"Profiles of slow requests pushed to Pyroscope, one each, found by the span id of the slow line." },
	{ "routes", "How a path becomes the name of its route." },
	{ "logs", "Where lines go, and how they look." },
	{ "logs.loki", "Lines pushed straight to Loki, where nothing ships standard output." },
	{ "admin", "The listener for people and monitoring." },
	{ "metrics", "How much is told apart in /metrics." },
	{ "limits", "How much of everything a client may ask for." },
	{ "timeouts", "How long anything may take; 0s takes the bound away." },
	{ NULL, NULL },
};

/* The keys without a section come first; then the sections in the order above. */
const struct config_row config_rows[] = {
	{ .key = "listen",
		ADDRESSES(listen),
		.def = "0.0.0.0:8080",
		.flags = ROW_PORT_0,
		.doc = "The addresses clients connect to, as host:port, [v6]:port, :port or unix:/path: one, or a list. "
		       "Port 0 takes any free port." },
	{ .key = "upstream",
		ADDRESSES(upstream),
		.flags = ROW_REQUIRED | ROW_CONNECT,
		.example = "127.0.0.1:8000",
		.doc = "The addresses of your application, as host:port, [v6]:port, :port (on this machine) or unix:/path: "
		       "one, or a list." },
	{ .key = "service",
		A_TEXT(service),
		.def_find = default_service,
		.def_doc = "$OTEL_SERVICE_NAME, else slowproxy",
		.example = "web",
		.check = check_service,
		.doc = "The name of your application in logs and metrics (service_name)." },
	{ .key = "user",
		A_TEXT(user),
		.def = "nobody",
		.check = check_word,
		.doc = "The system user that the process on the network becomes. It counts only when slowproxy is started "
		       "as root." },
	{ .key = "workers",
		A_NUMBER(workers),
		.def = "1",
		.min = 1,
		.max = 64,
		.doc = "The number of threads that move traffic." },
	{ .key = "trusted_proxies",
		TEXTS(trusted_proxies),
		.def = "127.0.0.0/8,::1,unix:",
		.check = check_trusted,
		.doc = "The proxies and load balancers in front, as networks (10.0.0.0/8), addresses, or unix: for whoever "
		       "connects to a unix socket. What they say in X-Forwarded-* and Forwarded is passed on and names the client in "
		       "the logs; from anybody else these headers are left out and written anew. The default trusts this machine "
		       "alone. As a flag: divided by commas." },
	{ .key = "proxy_protocol",
		A_BOOL(proxy_protocol),
		.def = "false",
		.doc = "Whether the trusted_proxies begin each connection with a header of the PROXY protocol, version 1 or 2, "
		       "that names the client; a connection of theirs without one is closed. From anybody else such a "
		       "header is no valid request." },
	{ .key = "underscore_headers",
		A_CHOICE(enum config_underscore, underscore_headers),
		.def = "drop",
		.choices = underscore_policies,
		.doc = "What happens to headers whose name has an underscore: WSGI applications cannot tell X_Real_IP from "
		       "X-Real-IP. They are left out, passed on, or the request is refused with 400." },
	{ .key = "client_abort",
		A_CHOICE(enum config_client_abort, client_abort),
		.def = "close",
		.choices = abort_policies,
		.doc = "What becomes of a request whose client has gone: close ends it at once, so that the application "
		       "notices; keep lets the application finish what it was sent whole." },
	{ .key = "error_format",
		A_CHOICE(enum config_error_body, error_body),
		.def = "json",
		.choices = error_formats,
		.doc = "The form of the answers that slowproxy makes itself, such as 502 when the application is not there." },

	{ .key = "forward.forwarded",
		A_BOOL(forward.forwarded),
		.def = "false",
		.doc = "Whether a Forwarded header (RFC 7239) is written, too: appended to that of a trusted proxy." },
	{ .key = "forward.via",
		A_BOOL(forward.via),
		.def = "false",
		.doc = "Whether a Via header (RFC 9110) names slowproxy to the application." },

	{ .key = "forward.port",
		A_BOOL(forward.port),
		.def = "true",
		.doc = "Whether X-Forwarded-Port is written: the port in Host, else 80; that of a trusted proxy is kept." },

	{ .key = "response_time.header",
		A_TEXT(response_time.header),
		.def = "X-Response-Time",
		.check = check_header,
		.doc = "The name of the header. \"\" turns the header off." },
	{ .key = "response_time.unit",
		A_CHOICE(enum config_unit, response_time.unit),
		.def = "s",
		.choices = units,
		.doc = "The unit of the header's number: seconds or milliseconds. The unit itself is not written." },
	{ .key = "response_time.digits",
		A_NUMBER(response_time.digits),
		.def = "3",
		.max = 9,
		.doc = "The number of decimals in the header." },
	{ .key = "response_time.server_timing",
		A_BOOL(response_time.server_timing),
		.def = "false",
		.doc = "Whether a Server-Timing header shows the phases in the browser's developer tools. Every client "
		       "can read it." },
	{ .key = "response_time.existing",
		A_CHOICE(enum config_existing, response_time.existing),
		.def = "replace",
		.choices = existing,
		.doc = "What happens when the application sends such a header already: replace it, keep it and add none, "
		       "or append a second one." },

	{ .key = "slow.threshold",
		A_DURATION(slow.threshold),
		.def = "500ms",
		.min = NS_PER_MS,
		.max = DAY,
		.flags = ROW_OFF,
		.doc = "A request that takes at least this long is slow. \"off\": none is, unless slow.routes says so." },
	{ .key = "slow.routes",
		SLOW_ROUTES(slow.routes),
		.def = "",
		.min = NS_PER_MS,
		.max = DAY,
		.flags = ROW_OFF,
		.example = "POST /reports/*=5s,/events=off",
		.doc = "Thresholds for some routes; the first row that matches wins. A match is a path, with a method before "
		       "it or without; * stands for anything but /, a trailing * and ** also for /. "
		       "As a flag: MATCH=THRESHOLD, divided by commas." },

	{ .key = "capture.enabled",
		A_BOOL(capture.enabled),
		.def = "true",
		.doc = "Whether stacks are taken at all. When false, no sampler process is started." },
	{ .key = "capture.arm_after",
		A_DURATION(capture.arm_after),
		.def = "100ms",
		.max = HOUR,
		.doc = "Stacks are taken once a request is this old, so that the time before the threshold is known when the "
		       "threshold is crossed. Faster requests cost nothing." },
	{ .key = "capture.rate",
		A_NUMBER(capture.rate_hz),
		.def = "100",
		.min = 1,
		.max = 1000,
		.doc = "Samples a second of each worker that has such a request." },
	{ .key = "capture.normal_requests",
		A_NUMBER(capture.normal_per_second),
		.def = "0",
		.max = 100,
		.doc = "So many requests a second are looked at from their beginning though they may not be slow, so that each "
		       "route has a normal profile that its slow ones are held against: /profiles?route=... on the admin "
		       "listener. 0: none. capture.max_cpu bounds what it costs." },
	{ .key = "capture.max_cpu",
		A_NUMBER(capture.max_cpu_percent),
		.def = "2",
		.min = 1,
		.max = 100,
		.doc = "The most that sampling may cost, in percent of one core, on average of half a minute. When it would "
		       "cost more, samples are taken less often, and the lines say so (capture_status budget)." },
	{ .key = "capture.max_duration",
		A_DURATION(capture.max_duration),
		.def = "30s",
		.min = NS_PER_MS,
		.max = HOUR,
		.doc = "A capture ends after this time. A request that runs on is reported while it runs." },
	{ .key = "capture.directory",
		A_TEXT(capture.directory),
		.def_find = default_directory,
		.def_doc = "/var/lib/slowproxy where that is writable, else $XDG_STATE_HOME/slowproxy, else "
			   "~/.local/state/slowproxy",
		.example = "/var/lib/slowproxy",
		.check = check_directory,
		.doc = "The directory of the profile files. \"\": none are written." },
	{ .key = "capture.max_bytes",
		A_SIZE(capture.max),
		.def = "256MiB",
		.min = MIB,
		.max = TIB,
		.doc = "The most that all profile files together may take. The oldest are deleted first." },

	PUSH_ROWS("capture.pyroscope", capture.pyroscope, "profiles", "/push.v1.PusherService/Push", "32MiB"),

	{ .key = "routes.openapi",
		TEXTS(routes.openapi),
		.def = "/openapi.json",
		.check = check_openapi,
		.doc = "The path at which your application describes its routes (FastAPI does so by itself), or a list of such "
		       "paths, for mounted applications; or \"off\". It is read at the start and at a reload, when the "
		       "application was away and is back, and when it answers paths that nobody knows." },
	{ .key = "routes.templates",
		TEXTS(routes.templates),
		.def = "",
		.check = config_template_problem,
		.example = "/items/{id},/users/{id}/orders",
		.doc = "Templates of your routes, so that /items/42 is told as /items/{id}; where several match, literal "
		       "text wins over parameters. "
		       "As a flag: divided by commas." },

	{ .key = "routes.guess",
		A_BOOL(routes.guess),
		.def = "true",
		.doc = "Whether a path that no template fits gets a name by its looks: numbers, UUIDs and long tokens become "
		       "{id}, {uuid} and {token}. Lines say so with http_route_guessed." },

	{ .key = "logs.slow",
		A_TEXT(logs.slow),
		.def = "stdout",
		.check = check_destination,
		.doc = "Where the line of a slow request goes: stdout, stderr, off, or the path of a file." },
	{ .key = "logs.access",
		A_TEXT(logs.access),
		.def = "off",
		.check = check_destination,
		.doc = "Where a line for every request goes: stdout, stderr, off, or the path of a file." },
	{ .key = "logs.level",
		A_CHOICE(enum log_level, logs.level),
		.def = "info",
		.choices = levels,
		.doc = "How much slowproxy says of itself, on stderr." },
	{ .key = "logs.format",
		A_CHOICE(enum config_log_format, logs.format),
		.def = "json",
		.choices = log_formats,
		.doc = "The form of the lines: json, one object a line; logfmt, the same as name=value; console, for a person, in "
		       "colours on a terminal unless NO_COLOR is set; or auto: console on a terminal, json anywhere else." },
	{ .key = "logs.queue_lines",
		A_NUMBER(logs.queue_lines),
		.def = "10000",
		.min = 16,
		.max = 1000000,
		.doc = "The most lines that wait for a slow reader. Further lines are dropped and counted; traffic never waits." },

	PUSH_ROWS("logs.loki", logs.loki, "slow lines", "/loki/api/v1/push", "8MiB"),
	{ .key = "logs.loki.access",
		A_BOOL(logs.loki_access),
		.def = "false",
		.doc = "Whether a line for every request is pushed, too." },

	{ .key = "admin.listen",
		AN_ADDRESS(admin.listen),
		.def = "127.0.0.1:9180",
		.flags = ROW_OFF | ROW_PORT_0,
		.doc = "The address for the page of slow requests, flame graphs, metrics and health checks, or \"off\". Whoever "
		       "can reach it can read paths, addresses and stacks. When the default is in use by somebody else, "
		       "slowproxy goes on without; an address that was asked for must be free." },

	{ .key = "admin.url",
		A_TEXT(admin.url),
		.def = "",
		.check = check_admin_url,
		.example = "https://slow.example.org",
		.doc = "What links to this listener begin with, such as profile_url in slow lines: the address under which people's "
		       "browsers reach it. \"\": http:// and the address it listens on." },

	{ .key = "metrics.max_routes",
		A_NUMBER(metrics.max_routes),
		.def = "300",
		.min = 1,
		.max = 10000,
		.doc = "The most values that the label http_route can have in metrics; requests of further routes are counted "
		       "as \"other\"." },

	{ .key = "limits.header_bytes",
		A_SIZE(limits.header),
		.def = "32KiB",
		.min = KIB,
		.max = MIB,
		.doc = "The largest head of a request or response: its first line and all headers." },
	{ .key = "limits.request_line_bytes",
		A_SIZE(limits.request_line),
		.def = "16KiB",
		.min = 512,
		.max = MIB,
		.doc = "The longest first line of a request: method, target and version. A longer one is answered with 414." },
	{ .key = "limits.headers",
		A_NUMBER(limits.headers),
		.def = "100",
		.min = 1,
		.max = 256,
		.doc = "The most headers of a request. The application sees up to nine more, which slowproxy adds: one with a "
		       "limit of its own (gunicorn: 100, --limit-request-fields) may want this one lower." },
	{ .key = "limits.body_bytes",
		A_SIZE(limits.body),
		.def = "0",
		.max = TIB,
		.doc = "The largest body of a request; 0 takes the bound away. Bodies are streamed, never kept whole." },
	{ .key = "limits.connections",
		A_NUMBER(limits.connections),
		.def = "10000",
		.min = 1,
		.max = 1000000,
		.doc = "The most clients connected at one time." },
	{ .key = "limits.upstream_connections",
		A_NUMBER(limits.upstream_connections),
		.def = "0",
		.max = 1000000,
		.doc = "The most connections to each upstream at one time, and so the most requests it works on; further "
		       "requests wait their turn. Each of several workers has an equal share, at least one. 0 takes the bound "
		       "away." },
	{ .key = "limits.queue",
		A_NUMBER(limits.queue),
		.def = "1000",
		.max = 1000000,
		.doc = "The most requests of each worker that wait because of limits.upstream_connections. Further ones are "
		       "answered with 503 and Retry-After." },

	{ .key = "timeouts.header",
		A_DURATION(timeouts.header),
		.def = "10s",
		.max = DAY,
		.doc = "The time a client has for the head of its request, from its first byte." },
	{ .key = "timeouts.idle",
		A_DURATION(timeouts.idle),
		.def = "75s",
		.max = DAY,
		.doc = "How long a client's connection is kept open between two requests." },
	{ .key = "timeouts.connect",
		A_DURATION(timeouts.connect),
		.def = "2s",
		.max = DAY,
		.doc = "The time the application has to accept a connection." },
	{ .key = "timeouts.resolve",
		A_DURATION(timeouts.resolve),
		.def = "30s",
		.max = DAY,
		.doc = "How long the addresses of an upstream's host name are used before the name is looked up again; after a "
		       "failed connect it is looked up again at once. 0s: only then." },
	{ .key = "timeouts.response",
		A_DURATION(timeouts.response),
		.def = "0s",
		.max = DAY,
		.doc = "The time the application has to begin its answer, once the request was sent." },
	{ .key = "timeouts.queue",
		A_DURATION(timeouts.queue),
		.def = "5s",
		.max = DAY,
		.doc = "How long a request waits because of limits.upstream_connections before it is answered with 503." },
	{ .key = "timeouts.stream_idle",
		A_DURATION(timeouts.stream_idle),
		.def = "0s",
		.max = DAY,
		.doc = "How long a body may stand still, in either direction." },
	{ .key = "timeouts.body",
		A_DURATION(timeouts.body),
		.def = "60s",
		.max = DAY,
		.doc = "How long the body of a request may stand still while the application waits for it. Then the client "
		       "is answered with 408." },
	{ .key = "timeouts.tunnel",
		A_DURATION(timeouts.tunnel),
		.def = "1h",
		.max = DAY,
		.doc = "How long an upgraded connection, such as a WebSocket, may be silent in both directions." },
	{ .key = "timeouts.upstream_idle",
		A_DURATION(timeouts.upstream_idle),
		.def = "4s",
		.max = DAY,
		.doc = "How long an unused connection to the application is kept. It must be shorter than the application's own "
		       "keep-alive timeout (uvicorn: 5s), or a request may meet a closed connection." },
	{ .key = "timeouts.drain",
		A_DURATION(timeouts.drain),
		.def = "10s",
		.max = DAY,
		.doc = "The time running requests have to end when slowproxy is told to stop." },
	{ .key = "timeouts.drain_delay",
		A_DURATION(timeouts.drain_delay),
		.def = "0s",
		.max = HOUR,
		.doc = "How long new connections are still served once slowproxy is told to stop: the time a load balancer "
		       "needs to notice that it is not ready any more. Only then does timeouts.drain begin." },
};

const size_t config_row_count = ARRAY_LEN(config_rows);
