/* base/network.h - IP addresses and networks as bytes: is this address one of those?
 *
 * An IPv4 address is held as the IPv6 address that stands for it (::ffff:a.b.c.d), so that there is one kind.
 */
#ifndef SLOWPROXY_BASE_NETWORK_H
#define SLOWPROXY_BASE_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/str.h>

struct ip {
	uint8_t bytes[16];
};

struct network {
	struct ip ip;
	unsigned bits; /* of ip that count: 0 to 128 */
};

/* "192.0.2.1", "192.0.2.1:4711", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711": as addresses stand in X-Forwarded-For. */
bool ip_parse(struct slice text, struct ip *ip);

/* The address alone, in its usual spelling; out_bytes >= 46. */
void ip_text(const struct ip *ip, char *out, size_t out_bytes);

/* "10.0.0.0/8", "2001:db8::/32", or one address. NULL when well, else a sentence that continues "`value` ...". */
const char *network_parse(const char *text, struct network *network);
bool network_holds(const struct network *network, const struct ip *ip);

#endif
