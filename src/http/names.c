/* names.c - the table of header names the proxy must know. */
#include "names.h"

enum { HOP = 1, KEEP = 2 };

struct name_row {
	struct slice name; /* lower case */
	unsigned flags;
};

/* clang-format off */
static const struct name_row rows[HTTP_NAME_COUNT] = {
#define ROW(id, text, flags) [id] = { { text, sizeof(text) - 1 }, flags }
	ROW(HTTP_HOST,              "host",              KEEP),
	ROW(HTTP_CONNECTION,        "connection",        HOP),
	ROW(HTTP_CONTENT_LENGTH,    "content-length",    KEEP),
	ROW(HTTP_TRANSFER_ENCODING, "transfer-encoding", KEEP), /* hop-by-hop, but always written anew */
	ROW(HTTP_TE,                "te",                HOP),
	ROW(HTTP_TRAILER,           "trailer",           0),    /* trailers are forwarded, so is their announcement */
	ROW(HTTP_UPGRADE,           "upgrade",           HOP),
	ROW(HTTP_EXPECT,            "expect",            0),
	ROW(HTTP_KEEP_ALIVE,        "keep-alive",        HOP),
	ROW(HTTP_PROXY_CONNECTION,  "proxy-connection",  HOP),
	ROW(HTTP2_SETTINGS,         "http2-settings",    HOP),
	ROW(HTTP_X_FORWARDED_FOR,   "x-forwarded-for",   0),
	ROW(HTTP_X_FORWARDED_PROTO, "x-forwarded-proto", 0),
	ROW(HTTP_X_FORWARDED_HOST,  "x-forwarded-host",  0),
	ROW(HTTP_X_FORWARDED_PORT,  "x-forwarded-port",  0),
	ROW(HTTP_X_REQUEST_ID,      "x-request-id",      0),
	ROW(HTTP_TRACEPARENT,       "traceparent",       0),
	ROW(HTTP_TRACESTATE,        "tracestate",        0),
	ROW(HTTP_DATE,              "date",              0),
	ROW(HTTP_SERVER,            "server",            0),
#undef ROW
};

/* The same names by length, so that most headers are told apart by one byte. */
enum { LONGEST_NAME = 17 };
static const uint8_t by_length[LONGEST_NAME + 1][4] = {
	[2]  = { HTTP_TE },
	[4]  = { HTTP_HOST, HTTP_DATE },
	[6]  = { HTTP_EXPECT, HTTP_SERVER },
	[7]  = { HTTP_UPGRADE, HTTP_TRAILER },
	[10] = { HTTP_CONNECTION, HTTP_KEEP_ALIVE, HTTP_TRACESTATE },
	[11] = { HTTP_TRACEPARENT },
	[12] = { HTTP_X_REQUEST_ID },
	[14] = { HTTP_CONTENT_LENGTH, HTTP2_SETTINGS },
	[15] = { HTTP_X_FORWARDED_FOR },
	[16] = { HTTP_X_FORWARDED_HOST, HTTP_X_FORWARDED_PORT, HTTP_PROXY_CONNECTION },
	[17] = { HTTP_TRANSFER_ENCODING, HTTP_X_FORWARDED_PROTO },
};

/* Trailers are often merged into the headers by whoever receives them (RFC 9110 6.5.1), so nothing may come in by
 * that door that decides about framing, routing, trust or content. Those that are only sent in an attack are refused. */
static const struct {
	struct slice name;
	enum trailer_rule rule;
} trailer_rows[] = {
#define ROW(text, rule) { { text, sizeof(text) - 1 }, rule }
	ROW("authorization",       TRAILER_REFUSE),
	ROW("content-length",      TRAILER_REFUSE),
	ROW("host",                TRAILER_REFUSE),
	ROW("proxy-authorization", TRAILER_REFUSE),
	ROW("transfer-encoding",   TRAILER_REFUSE),
	ROW("cache-control",       TRAILER_DROP),
	ROW("connection",          TRAILER_DROP),
	ROW("content-encoding",    TRAILER_DROP),
	ROW("content-range",       TRAILER_DROP),
	ROW("content-type",        TRAILER_DROP),
	ROW("cookie",              TRAILER_DROP),
	ROW("expect",              TRAILER_DROP),
	ROW("forwarded",           TRAILER_DROP),
	ROW("http2-settings",      TRAILER_DROP),
	ROW("keep-alive",          TRAILER_DROP),
	ROW("location",            TRAILER_DROP),
	ROW("max-forwards",        TRAILER_DROP),
	ROW("proxy-authenticate",  TRAILER_DROP),
	ROW("proxy-connection",    TRAILER_DROP),
	ROW("range",               TRAILER_DROP),
	ROW("set-cookie",          TRAILER_DROP),
	ROW("te",                  TRAILER_DROP),
	ROW("trailer",             TRAILER_DROP),
	ROW("upgrade",             TRAILER_DROP),
	ROW("www-authenticate",    TRAILER_DROP),
	ROW("x-forwarded-for",     TRAILER_DROP),
	ROW("x-forwarded-host",    TRAILER_DROP),
	ROW("x-forwarded-port",    TRAILER_DROP),
	ROW("x-forwarded-proto",   TRAILER_DROP),
#undef ROW
};
/* clang-format on */

/* For a token and a lower-case name of letters, digits and '-' of the same length: no other tchar becomes one of these
 * when its 0x20 bit is set. */
static bool equals_lower(const char *token, struct slice lower)
{
	for (size_t i = 0; i < lower.len; i++)
		if ((token[i] | 0x20) != lower.at[i])
			return false;
	return true;
}

enum http_name name_find(struct slice name)
{
	if (name.len > LONGEST_NAME)
		return HTTP_OTHER;
	for (size_t i = 0; i < ARRAY_LEN(by_length[0]); i++) {
		enum http_name id = by_length[name.len][i];
		if (id == HTTP_OTHER)
			break;
		if (equals_lower(name.at, rows[id].name))
			return id;
	}
	return HTTP_OTHER;
}

bool name_is_hop_by_hop(enum http_name id)
{
	return rows[id].flags & HOP;
}

bool name_may_be_stripped(enum http_name id)
{
	return !(rows[id].flags & KEEP);
}

enum trailer_rule name_trailer_rule(struct slice name)
{
	for (size_t i = 0; i < ARRAY_LEN(trailer_rows); i++)
		if (slice_equal_nocase(name, trailer_rows[i].name))
			return trailer_rows[i].rule;
	return TRAILER_PASS;
}
