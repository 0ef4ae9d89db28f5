/* http_proxy_header_test.c - the PROXY protocol: what is a header of it, what is none, however the bytes come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <slowproxy/http.h>

struct row {
	const char *bytes;
	size_t len;
	const char *
		told; /* "SOURCE PORT DESTINATION PORT", "" for a header that tells nothing; NULL: it is none */
};

#define ROW(bytes, told)                                                                                     \
	{                                                                                                    \
		(bytes), sizeof(bytes) - 1, (told)                                                           \
	}
#define V2           "\r\n\r\n\0\r\nQUIT\n"
#define V4_ADDRESSES "\xc0\x00\x02\x01\xcb\x00\x71\x07\xdc\x04\x01\xbb"
#define V6_ADDRESSES                                                                                         \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\0\x50\xff\xff"
#define V4_TOLD "192.0.2.1 56324 203.0.113.7 443"
#define V6_TOLD "2001:db8::1 80 2001:db8::2 65535"

static const struct row rows[] = {
	/* version 1 */
	ROW("PROXY TCP4 192.0.2.1 203.0.113.7 56324 443\r\n", V4_TOLD),
	ROW("PROXY TCP6 2001:db8::1 2001:db8::2 80 65535\r\n", V6_TOLD),
	ROW("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535"),
	ROW("PROXY TCP4 0.0.0.0 255.255.255.255 0 0\r\n", "0.0.0.0 0 255.255.255.255 0"),
	ROW("PROXY UNKNOWN\r\n", ""),
	ROW("PROXY UNKNOWN ffff::1 whatever\tcomes 70000\r\n", ""),
	ROW("PROXY UNKNOWNS\r\n", NULL),
	ROW("PROXY \r\n", NULL),
	ROW("PROXY TCP4\r\n", NULL),
	ROW("PROXY  TCP4 192.0.2.1 203.0.113.7 56324 443\r\n", NULL),
	ROW("PROXY TCP4  192.0.2.1 203.0.113.7 56324 443\r\n", NULL),
	ROW("PROXY TCP4 192.0.2.1 203.0.113.7 56324 443 \r\n", NULL),
	ROW("PROXY TCP4 192.0.2.1 203.0.113.7 56324\r\n", NULL),
	ROW("PROXY TCP4 192.0.2.1 203.0.113.7 56324 443 1\r\n", NULL),
	ROW("PROXY TCP4 192.0.2.1 203.0.113.7 56324 443\n", NULL),
	ROW("PROXY TCP4 192.0.2.1 203.0.113.7 56324 443\r\r\n", NULL),
	ROW("PROXY TCP4 192.0.2.1 203.0.113.7 56324 65536\r\n", NULL),
	ROW("PROXY TCP4 192.0.2.1 203.0.113.7 056324 443\r\n", NULL),
	ROW("PROXY TCP4 192.0.2.1 203.0.113.7 +5632 443\r\n", NULL),
	ROW("PROXY TCP4 192.0.2.1 203.0.113.7 -1 443\r\n", NULL),
	ROW("PROXY TCP4 192.0.2 203.0.113.7 56324 443\r\n", NULL),
	ROW("PROXY TCP4 192.0.2.256 203.0.113.7 56324 443\r\n", NULL),
	ROW("PROXY TCP4 2001:db8::1 203.0.113.7 56324 443\r\n", NULL),
	ROW("PROXY TCP6 192.0.2.1 203.0.113.7 56324 443\r\n", NULL),
	ROW("PROXY TCP6 2001:db8::1%lo 2001:db8::2 80 65535\r\n", NULL),
	ROW("PROXY TCP4 192.0.2.1\0 203.0.113.7 56324 443\r\n", NULL),
	ROW("PROXY TCP5 192.0.2.1 203.0.113.7 56324 443\r\n", NULL),
	ROW("PROXY tcp4 192.0.2.1 203.0.113.7 56324 443\r\n", NULL),
	ROW("proxy TCP4 192.0.2.1 203.0.113.7 56324 443\r\n", NULL),
	ROW("PROXY UNKNOWN 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890\r\n",
		""),
	ROW("PROXY UNKNOWN 01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901\r\n",
		NULL),
	ROW("GET / HTTP/1.1\r\n", NULL),
	ROW("\r\nPROXY UNKNOWN\r\n", NULL),
	/* version 2 */
	ROW(V2 "\x21\x11\x00\x0c" V4_ADDRESSES, V4_TOLD),
	ROW(V2 "\x21\x12\x00\x0c" V4_ADDRESSES, V4_TOLD),
	ROW(V2 "\x21\x21\x00\x24" V6_ADDRESSES, V6_TOLD),
	ROW(V2 "\x21\x22\x00\x24" V6_ADDRESSES, V6_TOLD),
	ROW(V2 "\x21\x11\x00\x14" V4_ADDRESSES "\x04\0\x01\0\x02\0\x01x", V4_TOLD),
	ROW(V2 "\x21\x11\x00\x0f" V4_ADDRESSES "\x04\0\0", V4_TOLD),
	ROW(V2 "\x21\x11\x00\x0e" V4_ADDRESSES "\x04\0", NULL),      /* half a TLV */
	ROW(V2 "\x21\x11\x00\x10" V4_ADDRESSES "\x04\0\x02x", NULL), /* a TLV longer than the header */
	ROW(V2 "\x21\x11\x00\x0b" V4_ADDRESSES, NULL),               /* too short for its addresses */
	ROW(V2 "\x21\x21\x00\x0c" V4_ADDRESSES, NULL),
	ROW(V2 "\x21\x00\x00\x00", ""),
	ROW(V2 "\x21\x00\x00\x03\xff\xff\xff", ""),
	ROW(V2 "\x20\x11\x00\x0c" V4_ADDRESSES, ""), /* LOCAL: its addresses are not to be believed */
	ROW(V2 "\x20\x00\x00\x00", ""),
	ROW(V2 "\x20\xff\x00\x02xx", ""),
	ROW(V2 "\x22\x11\x00\x0c" V4_ADDRESSES, NULL), /* command */
	ROW(V2 "\x11\x11\x00\x0c" V4_ADDRESSES, NULL), /* version */
	ROW(V2 "\x31\x11\x00\x0c" V4_ADDRESSES, NULL),
	ROW(V2 "\x21\x10\x00\x0c" V4_ADDRESSES, NULL), /* family, transport */
	ROW(V2 "\x21\x13\x00\x0c" V4_ADDRESSES, NULL),
	ROW(V2 "\x21\x41\x00\x0c" V4_ADDRESSES, NULL),
	ROW(V2 "\x21\x31\x00\x0c" V4_ADDRESSES, NULL),
	ROW(V2 "\x21\x11\xff\xff" V4_ADDRESSES, NULL), /* longer than we care to keep */
	ROW("\r\n\r\n\0\r\nQUIT\r"
	    "\x21\x11\x00\x0c" V4_ADDRESSES,
		NULL),
};

static void describe(const struct http_proxy_header *h, char *out, size_t out_bytes)
{
	char source[64], destination[64];
	if (!h->told) {
		snprintf(out, out_bytes, "%s", "");
		return;
	}
	ip_text(&h->source, source, sizeof source);
	ip_text(&h->destination, destination, sizeof destination);
	snprintf(out, out_bytes, "%s %u %s %u", source, h->source_port, destination, h->destination_port);
}

/* The first answer but MORE while the bytes come one by one, and after how many. */
static enum http_proxy_header_event in_pieces(
	const struct row *row, size_t *used, struct http_proxy_header *header)
{
	enum http_proxy_header_event e = HTTP_PROXY_HEADER_MORE;
	for (size_t len = 1; len <= row->len && e == HTTP_PROXY_HEADER_MORE; len++)
		e = http_proxy_header_read(row->bytes, len, used, header);
	return e;
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		struct http_proxy_header header, pieces;
		size_t used, used_in_pieces;
		char text[160], with_more[512];
		enum http_proxy_header_event e = in_pieces(row, &used_in_pieces, &pieces);
		memcpy(with_more, row->bytes, row->len);
		memcpy(with_more + row->len, "GET / HTTP/1.1\r\n", 16);
		enum http_proxy_header_event whole =
			http_proxy_header_read(with_more, row->len + 16, &used, &header);
		if (row->told == NULL) {
			if (whole != HTTP_PROXY_HEADER_INVALID || e == HTTP_PROXY_HEADER_DONE)
				fail_msg("row %zu was taken for a header: %s", i, row->bytes);
			continue;
		}
		if (e != HTTP_PROXY_HEADER_DONE || whole != HTTP_PROXY_HEADER_DONE)
			fail_msg("row %zu was not taken for a header: %s", i, row->bytes);
		assert_int_equal(used, row->len);
		assert_int_equal(used_in_pieces, row->len);
		describe(&header, text, sizeof text);
		assert_string_equal(text, row->told);
		describe(&pieces, text, sizeof text);
		assert_string_equal(text, row->told);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
