/* config.h - what the user decided, checked and complete.
 *
 * One table (src/config/) holds a row for each key; parser, defaults, range checks, flags, environment variables,
 * "did you mean", JSON Schema, reference and example file all come from it. A struct config never changes after
 * config_load: a reload makes a new one.
 */
#ifndef SLOWPROXY_CONFIG_H
#define SLOWPROXY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/log.h>
#include <slowproxy/base/mem.h>

/* host:port, [v6]:port or unix:/path; text is what the user wrote. */
struct config_address {
	const char *text;
	bool is_unix;
	const char *host; /* for is_unix: the path; "" means every address (never in upstream) */
	uint16_t port;    /* 0: any free port (never in upstream) */
};

struct config_addresses {
	struct config_address *items;
	size_t count;
};

struct config_strings {
	const char **items;
	size_t count;
};

// A row of slow.routes: "POST /reports/*" has a method and a path glob (base/str.h: str_glob), "* /x" or "/x" any method.
struct config_slow_route {
	const char *match;     /* as written */
	const char *method;    /* NULL: any */
	const char *path;      /* glob */
	uint64_t threshold_ns; /* 0: such a request is never slow ("off"); so for slow.threshold */
};

struct config_slow_routes {
	struct config_slow_route *items;
	size_t count;
};

enum config_unit { CONFIG_UNIT_S, CONFIG_UNIT_MS };
enum config_existing { CONFIG_EXISTING_REPLACE, CONFIG_EXISTING_KEEP, CONFIG_EXISTING_APPEND };
enum config_log_format { CONFIG_LOG_JSON, CONFIG_LOG_LOGFMT, CONFIG_LOG_CONSOLE, CONFIG_LOG_AUTO };
enum config_underscore { CONFIG_UNDERSCORE_DROP, CONFIG_UNDERSCORE_PASS, CONFIG_UNDERSCORE_REFUSE };
enum config_client_abort { CONFIG_ABORT_CLOSE, CONFIG_ABORT_KEEP };
enum config_error_body { CONFIG_ERROR_JSON, CONFIG_ERROR_PLAIN };

/* A place that lines or profiles are pushed to. */
struct config_push {
	const char *url;              /* "": off */
	struct config_strings labels; /* name=value */
	const char *tenant;
	struct config_strings headers; /* Name: value */
	const char *user, *password;   /* a password without a user is a bearer token */
	const char *password_file;
	const char *ca_file;
	uint64_t queue_bytes;
};

struct config {
	struct config_addresses listen;
	struct config_addresses upstream;
	const char *service;
	const char *user; /* what the proxy role becomes when started as root */
	uint32_t workers;
	struct config_strings trusted_proxies; /* networks, and "unix:" for the clients of a unix socket */

	bool proxy_protocol; /* what trusted proxies begin their connections with */
	enum config_underscore underscore_headers;
	enum config_client_abort client_abort;

	struct {
		bool forwarded, via, port;
	} forward;

	struct {
		const char *header; /* "" turns the header off */
		enum config_unit unit;
		uint32_t digits;
		bool server_timing;
		enum config_existing existing;
	} response_time;

	struct {
		uint64_t threshold_ns;
		struct config_slow_routes routes;
	} slow;

	struct {
		bool enabled;
		uint64_t arm_after_ns;
		uint32_t rate_hz;
		uint32_t normal_per_second;
		uint32_t max_cpu_percent; /* of one core */
		uint64_t max_duration_ns;
		const char *directory; /* resolved: never NULL after config_load; "" when none is writable */
		uint64_t max_bytes;
		struct config_push pyroscope;
	} capture;

	struct {
		struct config_strings openapi; /* paths; "off" or "": none */
		bool guess;
		struct config_strings templates;
	} routes;

	struct {
		const char *slow; /* "stdout", "stderr", "off" or a file's path; so for access */
		const char *access;
		enum log_level level;
		enum config_log_format format;
		uint32_t queue_lines; /* bound of the writer's queue, in lines */
		struct config_push loki;
		bool loki_access;
	} logs;

	struct {
		struct config_address listen; /* text "off": no admin listener */
		const char *url;              /* as browsers reach it; "": as it is bound */
	} admin;

	struct {
		uint32_t max_routes;
	} metrics;

	struct {
		uint64_t header_bytes;
		uint64_t request_line_bytes;
		uint32_t headers;
		uint64_t body_bytes; /* 0: no bound */
		uint32_t connections;
		uint32_t upstream_connections; /* 0: no bound */
		uint32_t queue;
	} limits;

	struct { /* ns; 0: no bound */
		uint64_t header_ns;
		uint64_t idle_ns;
		uint64_t connect_ns;
		uint64_t resolve_ns; /* 0: looked up again only when it cannot be connected to */
		uint64_t response_ns;
		uint64_t queue_ns;
		uint64_t stream_idle_ns;
		uint64_t body_ns;
		uint64_t tunnel_ns;
		uint64_t upstream_idle_ns;
		uint64_t drain_ns;
		uint64_t drain_delay_ns;
	} timeouts;

	enum config_error_body error_body; /* error_format: json (default) or plain */

	void *private_; /* origins and the memory of all strings */
};

/* Where the values come from, strongest last: default < file < environment < flag. */
struct config_source {
	const char *file_name; /* shown in errors; NULL: no file */
	const char *yaml;      /* the file's bytes; lent for the call */
	size_t yaml_len;
	char *const *environment; /* as environ; NULL: none is read */
	const char *const *flags; /* pairs "slow.threshold", "200ms"; lent for the call */
	size_t flag_count;        /* number of pairs */
	bool quiet; /* a child that loads again what its parent has loaded: it does not warn a second time */
};

/* Reads, checks and completes. On success an owned config. On failure NULL, and every error found is in errors, sorted
 * by place, each a line "proxy.yaml:12:9: capture.rate: 50000 is above the maximum 1000" (or "SLOWPROXY_CAPTURE_RATE:
 * ...", "--capture.rate: ...") and, for a place in the file, that line and a caret under the place. What is allowed but
 * odd is told by log_warn. */
MUST_CHECK struct config *config_load(const struct config_source *source, struct buf *errors);
void config_free(struct config *c);

/* Whether name ("slow.threshold") is a key that a flag may set; *takes_value is always true but for booleans, which may
 * stand alone. On false, suggestion (may be NULL) is the nearest key's name. For the command line. */
bool config_key_known(const char *name, bool *is_boolean, const char **suggestion);

/* Whether nobody has set the key. */
bool config_is_default(const struct config *c, const char *key);

/* A key, for those who list them all. Static. */
struct config_key {
	const char *name, *doc;
	const char *const *choices; /* ended by NULL; NULL: any value */
	bool is_boolean;
};
bool config_key_at(size_t index, struct config_key *out); /* false: there are no more */

/* The threshold that counts for this request: first matching row of slow.routes, else slow.threshold. path has no query. */
uint64_t config_slow_threshold_ns(const struct config *c, const char *method, const char *path);

/* The form of lines that go to fd: auto is console on a terminal, else JSON. LOG_PLAIN stands for console. */
enum log_form config_log_form(enum config_log_format format, int fd);

void config_print_effective(
	const struct config *c, FILE *out); /* -T: YAML, each value with its origin as a comment */
void config_write_json(
	const struct config *c, struct buf *out); /* {"slow.threshold": {value, origin}, ...} */
void config_print_schema(FILE *out);              /* JSON Schema of proxy.yaml */
void config_print_example(FILE *out);             /* proxy.example.yaml */
void config_print_reference(FILE *out);           /* Markdown */

/* "500ms" "1.5s" "2m" -> ns; "64KiB" "10MB" -> bytes. false: *why is a sentence (static). */
bool config_parse_duration(const char *text, uint64_t *ns, const char **why);
bool config_parse_size(const char *text, uint64_t *bytes, const char **why);

/* NULL, or a sentence that continues "TEMPLATE ...": why it is no template of a route. The application's own are judged so, too. */
enum { CONFIG_TEMPLATE_BYTES = 256 }; /* the longest one, terminated */
const char *config_template_problem(const char *text);

#endif
