/* http.h - bytes to HTTP messages, and heads back to bytes. No sockets here; llhttp lives in this room only.
 *
 * A reader is fed from the caller's read buffer and says how much of it was used:
 *
 *      NEED_MORE ... -> HEAD -> BODY* -> DONE        (-> the next message of the same connection)
 *                  \-> FAILED (sticky)
 *
 * The head must lie contiguous in the caller's buffer: until it is complete the reader uses 0 bytes of it and returns NEED_MORE
 * (leading CRLFs before a request excepted), or FAILED when it is longer than the limit. All checks that llhttp leaves out
 * are made here, so that behaviour is the same on llhttp 8.1 and 9.x (shared facts: http.md section 6).
 */
#ifndef SLOWPROXY_HTTP_H
#define SLOWPROXY_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/buf.h>
#include <slowproxy/base/mem.h>
#include <slowproxy/base/network.h>
#include <slowproxy/base/str.h>

enum http_kind { HTTP_REQUEST_MESSAGE, HTTP_RESPONSE_MESSAGE };

enum { HTTP_MAX_HEADERS = 256 }; /* limits.headers may be lower, never higher */

/* Names the proxy must know; everything else is HTTP_OTHER and passes byte for byte. */
enum http_name {
	HTTP_OTHER,
	HTTP_HOST,
	HTTP_CONNECTION,
	HTTP_CONTENT_LENGTH,
	HTTP_TRANSFER_ENCODING,
	HTTP_TE,
	HTTP_TRAILER,
	HTTP_UPGRADE,
	HTTP_EXPECT,
	HTTP_KEEP_ALIVE,
	HTTP_PROXY_CONNECTION,
	HTTP2_SETTINGS,
	HTTP_X_FORWARDED_FOR,
	HTTP_X_FORWARDED_PROTO,
	HTTP_X_FORWARDED_HOST,
	HTTP_X_FORWARDED_PORT,
	HTTP_X_REQUEST_ID,
	HTTP_TRACEPARENT,
	HTTP_TRACESTATE,
	HTTP_DATE,
	HTTP_SERVER,
	HTTP_NAME_COUNT
};

/* name and value lie in the caller's buffer; the value has no leading or trailing blanks. */
struct http_header {
	struct slice name, value;
	enum http_name id;
	bool hop_by_hop; /* named by Connection, or hop-by-hop by itself: not to be forwarded */
	bool underscore; /* the name has a '_' */
	bool controls;   /* the value has control bytes; only of a response, and of HTTP_OTHER */
};

enum http_framing { HTTP_NO_BODY, HTTP_LENGTH, HTTP_CHUNKED, HTTP_UNTIL_CLOSE };

/* Valid from HTTP_HEAD until the caller's buffer changes. */
struct http_head {
	struct slice method, target, reason; /* method, target: requests; reason: responses */
	struct slice path; /* target without the query and, for absolute-form, without scheme and authority */
	struct slice resource; /* target without scheme and authority; may be empty or begin with '?' */
	struct slice host;     /* the authority that counts: of an absolute-form target, else of Host */
	bool absolute_form;
	uint16_t status;
	uint8_t minor; /* HTTP/1.minor: 0 or 1 */
	enum http_framing framing;
	uint64_t content_length; /* for HTTP_LENGTH */
	bool keep_alive;         /* the sender will keep the connection after this message */
	bool expect_continue;
	bool te_trailers;
	bool upgrade; /* Connection: upgrade with an Upgrade that is not h2c, and no body; in a response: and status 101 */
	struct http_header headers[HTTP_MAX_HEADERS];
	size_t header_count;
	struct slice lines; /* all header lines as received, without the final empty one */
	size_t bytes;       /* length of the head, final empty line included */
};

/* Why a message was refused: one row each in the table, with the status to answer the client that sent it, and a
 * sentence. (What a backend sent wrongly is a 502, whatever the row says.) */
enum http_error {
	HTTP_OK,
	HTTP_ERR_HEAD_TOO_LARGE,  /* 431 */
	HTTP_ERR_TARGET_TOO_LONG, /* 414 */
	HTTP_ERR_TOO_MANY_HEADERS,
	HTTP_ERR_REQUEST_LINE,
	HTTP_ERR_METHOD,  /* 501: CONNECT; any other token passes */
	HTTP_ERR_VERSION, /* 505 */
	HTTP_ERR_TARGET,
	HTTP_ERR_STATUS_LINE,
	HTTP_ERR_LINE_END, /* bare CR or LF */
	HTTP_ERR_CONTROL,  /* NUL or another control byte */
	HTTP_ERR_FOLD,     /* obs-fold */
	HTTP_ERR_HEADER_NAME,
	HTTP_ERR_HEADER_VALUE,
	HTTP_ERR_HOST,
	HTTP_ERR_CONTENT_LENGTH,
	HTTP_ERR_CONNECTION,
	HTTP_ERR_TRANSFER_ENCODING,
	HTTP_ERR_TRANSFER_CODING, /* 501: well-formed, but not one we can take off */
	HTTP_ERR_BOTH_FRAMINGS,   /* Content-Length and Transfer-Encoding */
	HTTP_ERR_EXPECT,          /* 417 */
	HTTP_ERR_UPGRADE,
	HTTP_ERR_CHUNK,
	HTTP_ERR_TRAILER,
	HTTP_ERR_BODY_TOO_LARGE, /* 413 */
	HTTP_ERR_EARLY_END,      /* end of stream inside a message */
	HTTP_ERR_PARSER,         /* llhttp refused what our own check let pass */
	HTTP_ERR_COUNT
};
struct http_error_row {
	const char *name;
	const char *sentence;
	uint16_t status;
};
extern const struct http_error_row http_errors[HTTP_ERR_COUNT];

struct http_limits {
	size_t head_bytes;   /* whole head; also the bound of trailers */
	size_t headers;      /* <= HTTP_MAX_HEADERS */
	uint64_t body_bytes; /* 0: none */
	size_t line_bytes;   /* of a request's first line; 0: as head_bytes */
};

enum http_event { HTTP_EVENT_MORE, HTTP_EVENT_HEAD, HTTP_EVENT_BODY, HTTP_EVENT_DONE, HTTP_EVENT_FAILED };

struct http_reader; /* small; holds no bytes of the message but trailers */

struct http_reader *http_reader_new(enum http_kind kind, const struct http_limits *limits);
void http_reader_free(struct http_reader *r);
/* Ready for a fresh connection, or (after DONE) for the next message. */
void http_reader_reset(struct http_reader *r);
/* For a response reader, before its head: the request it answers was HEAD (so no body follows). A reset forgets it. */
void http_reader_answers_head(struct http_reader *r, bool head_request);

/* Takes the next step over bytes[0..len). *used says how many bytes the caller must drop from its front afterwards.
 *   HEAD: *head is filled (lent memory of the caller, reused between messages). used = head->bytes and empty lines before it.
 *   BODY: *body lies inside bytes. Chunk framing is taken off.
 *   DONE: the message is complete; bytes after it belong to the next one.
 *   MORE: nothing more can be said from these bytes.
 *   FAILED: http_reader_error says why; the connection cannot be used any more.
 * After HEAD and BODY call again, with len 0 too, until it says MORE, DONE or FAILED.
 * A 1xx response is a message of its own: HEAD then DONE (101 too; what follows it is a tunnel). */
enum http_event http_read(struct http_reader *r, const char *bytes, size_t len, size_t *used,
	struct http_head *head, struct slice *body);
/* Of a request that was refused, for the log: method and path of its first line, if that is here and well-formed. */
bool http_first_line(const char *bytes, size_t len, struct http_head *head);
/* The sender closed. DONE when that ends the message rightly (HTTP_UNTIL_CLOSE), MORE when between messages, else FAILED. */
enum http_event http_read_end(struct http_reader *r);
enum http_error http_reader_error(const struct http_reader *r);
/* The trailers of the message that is DONE: raw "Name: value\r\n" lines without forbidden fields, or an empty slice. */
struct slice http_reader_trailers(const struct http_reader *r);

/* --- the PROXY protocol, before the first request of a connection --- */
enum http_proxy_header_event { HTTP_PROXY_HEADER_MORE, HTTP_PROXY_HEADER_DONE, HTTP_PROXY_HEADER_INVALID };

struct http_proxy_header {
	bool told; /* false: the connection's own addresses count (LOCAL, UNKNOWN, unix sockets) */
	struct ip source, destination;
	uint16_t source_port, destination_port;
};

/* Reads a header of version 1 or 2 from the beginning of bytes[0..len). DONE: *used is its length. */
enum http_proxy_header_event http_proxy_header_read(
	const char *bytes, size_t len, size_t *used, struct http_proxy_header *out);

/* What the proxy adds to a request head. An empty slice is not written, and leaves the client's own header of that name. */
struct http_forward {
	struct slice host;          /* for HTTP/1.0 requests that name none; written even if empty */
	struct slice forwarded_for; /* whole value */
	struct slice forwarded_proto;
	struct slice forwarded_host;
	struct slice forwarded_port;
	struct slice
		more; /* complete "Name: value\r\n" lines; of the client's own such headers nothing is left out */
	struct slice request_id;
	struct slice traceparent;
	bool drop_tracestate; /* the client's traceparent was not valid */
	bool drop_forwarded; /* the client's own Forwarded and X-Forwarded-* (all of them): it is nobody to believe */
	bool drop_underscore_names; /* X_Y would become X-Y in WSGI */
};

/* Writes the head for upstream: the client's headers in order, case and spelling, without hop-by-hop ones and those replaced;
 * framing generated from head->framing; HTTP/1.1 always; upgrade kept when head->upgrade. Lines are copied in runs, so the
 * headers must still lie in the buffer they were read from; set hop_by_hop to leave one out. */
void http_write_request_head(struct buf *out, const struct http_head *head, const struct http_forward *add);

struct http_respond {
	/* Complete "Name: value\r\n" lines to add: X-Response-Time, Server-Timing, X-Request-ID. */
	struct slice extra;
	struct slice drop_name; /* a header of the backend's to leave out (replaced by ours); empty: none */
	uint8_t client_minor; /* 0: HTTP/1.0 client: no chunked, answered until close where the length is unknown */
	bool close;           /* write Connection: close */
	bool head_request; /* answer to HEAD: framing headers pass as the backend sent them */
};

/* Writes the response head for the client; *framing is how the body must then be written (HTTP_CHUNKED: with
 * http_write_chunk). Date, Server and all else pass as they are. */
void http_write_response_head(struct buf *out, const struct http_head *head, const struct http_respond *how,
	enum http_framing *framing);

/* The bytes around a chunk of len bytes: "1f4\r\n" into out (>= 20 bytes), returns its length; after the data comes "\r\n". */
size_t http_write_chunk_size(char *out, uint64_t len);
/* "0\r\n" trailers "\r\n" */
void http_write_last_chunk(struct buf *out, struct slice trailers);

/* A complete response of the proxy's own with a JSON or plain body that says why. extra as above. */
void http_write_error(struct buf *out, uint16_t status, const char *outcome_name, const char *sentence,
	const char *request_id, struct slice extra, bool close, bool head_request, bool plain);
const char *http_reason_phrase(uint16_t status);

/* Whether value is "00-<32 hex>-<16 hex>-<2 hex>" (or of a later version that begins so) and valid per W3C Trace Context;
 * copies the ids (NUL-terminated). */
bool http_traceparent_parse(struct slice value, char trace_id[33], char parent_id[17], char flags[3]);
/* At most 128 visible ASCII characters, at least one. */
bool http_request_id_sane(struct slice value);

#endif
