/* network.c - IP addresses and networks as bytes. */
#include <slowproxy/base/network.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum { V4_AT = 12, V4_BITS_BEFORE = 96 };

static const uint8_t mapped[V4_AT] = { [10] = 0xff, [11] = 0xff };

static bool v4_parse(const char *text, struct ip *ip)
{
	memcpy(ip->bytes, mapped, sizeof mapped);
	return inet_pton(AF_INET, text, ip->bytes + V4_AT) == 1;
}

static bool v6_parse(const char *text, struct ip *ip)
{
	return inet_pton(AF_INET6, text, ip->bytes) == 1;
}

static bool port_follows(const char *text)
{
	return text[0] == ':' && text[1] != '\0' && text[1 + strspn(text + 1, "0123456789")] == '\0';
}

bool ip_parse(struct slice text, struct ip *ip)
{
	char copy[INET6_ADDRSTRLEN + 9]; /* and [ ] : port */
	if (!str_copy(copy, sizeof copy, text.at, text.len) || strlen(copy) != text.len)
		return false;
	if (copy[0] == '[') {
		char *end = strchr(copy, ']');
		if (end == NULL || (end[1] != '\0' && !port_follows(end + 1)))
			return false;
		*end = '\0';
		return v6_parse(copy + 1, ip);
	}
	char *colon = strchr(copy, ':');
	if (colon != NULL && strchr(copy, '.') != NULL && port_follows(colon))
		*colon = '\0';
	return v4_parse(copy, ip) || v6_parse(copy, ip);
}

void ip_text(const struct ip *ip, char *out, size_t out_bytes)
{
	bool v4 = memcmp(ip->bytes, mapped, sizeof mapped) == 0;
	const uint8_t *from = v4 ? ip->bytes + V4_AT : ip->bytes;
	if (inet_ntop(v4 ? AF_INET : AF_INET6, from, out, (socklen_t)out_bytes) == NULL && out_bytes != 0)
		out[0] = '\0';
}

/* 1 to 3 digits up to most. */
static bool bits_parse(const char *text, unsigned most, unsigned *bits)
{
	size_t len = strspn(text, "0123456789");
	*bits = (unsigned)strtoul(text, NULL, 10);
	return len >= 1 && len <= 3 && text[len] == '\0' && *bits <= most;
}

const char *network_parse(const char *text, struct network *network)
{
	char address[INET6_ADDRSTRLEN];
	size_t len = strcspn(text, "/");
	if (!str_copy(address, sizeof address, text, len))
		return "is not an IP address or a network such as 10.0.0.0/8";
	bool v4 = v4_parse(address, &network->ip);
	if (!v4 && !v6_parse(address, &network->ip))
		return "is not an IP address or a network such as 10.0.0.0/8";
	network->bits = 128;
	if (text[len] == '\0')
		return NULL;
	if (!bits_parse(text + len + 1, v4 ? 32 : 128, &network->bits))
		return v4 ? "does not end in /0 to /32" : "does not end in /0 to /128";
	if (v4)
		network->bits += V4_BITS_BEFORE;
	return NULL;
}

bool network_holds(const struct network *network, const struct ip *ip)
{
	unsigned whole = network->bits / 8, rest = network->bits % 8;
	uint8_t mask = (uint8_t)(0xff00 >> rest);
	if (memcmp(network->ip.bytes, ip->bytes, whole) != 0)
		return false;
	return rest == 0 || ((network->ip.bytes[whole] ^ ip->bytes[whole]) & mask) == 0;
}
