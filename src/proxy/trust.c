/* trust.c - who in front is believed, and who the client is by what they say.
 *
 *   X-Forwarded-For: a, b, c   from peer d      each proxy appended whom it saw
 *                          <-- read from the right for as long as the one who spoke is trusted
 *
 * The first that is not trusted is the client: what stands left of it is its own claim.
 */
#include "proxy_private.h"

#include <stdlib.h>
#include <string.h>

void trust_init(struct trust *t, const struct config *config)
{
	const struct config_strings *wanted = &config->trusted_proxies;
	*t = (struct trust){ .networks = xcalloc(MAX(wanted->count, 1), sizeof *t->networks) };
	for (size_t i = 0; i < wanted->count; i++) {
		if (strcmp(wanted->items[i], "unix:") == 0)
			t->unix_clients = true;
		else if (network_parse(wanted->items[i], &t->networks[t->count]) == NULL)
			t->count++;
	}
}

void trust_clear(struct trust *t)
{
	free(t->networks);
	*t = (struct trust){ 0 };
}

static bool trust_ip(const struct trust *t, const struct ip *ip)
{
	for (size_t i = 0; i < t->count; i++)
		if (network_holds(&t->networks[i], ip))
			return true;
	return false;
}

bool trust_peer(const struct trust *t, const char *peer)
{
	struct ip ip;
	if (peer[0] == '\0')
		return t->unix_clients;
	return ip_parse(slice_of(peer), &ip) && trust_ip(t, &ip);
}

/* Takes the last member off a comma-separated list. */
static struct slice list_take_last(struct slice *list)
{
	size_t begin = list->len;
	while (begin > 0 && list->at[begin - 1] != ',')
		begin--;
	struct slice last = { list->at + begin, list->len - begin };
	list->len = begin > 0 ? begin - 1 : 0;
	while (last.len > 0 && (last.at[0] == ' ' || last.at[0] == '\t'))
		last = (struct slice){ last.at + 1, last.len - 1 };
	while (last.len > 0 && (last.at[last.len - 1] == ' ' || last.at[last.len - 1] == '\t'))
		last.len--;
	return last;
}

void trust_client_address(
	const struct trust *t, struct slice forwarded_for, const char *peer, char *out, size_t out_bytes)
{
	bool believed = true;
	str_copy(out, out_bytes, peer, strlen(peer));
	while (believed && forwarded_for.len != 0) {
		struct slice said = list_take_last(&forwarded_for);
		struct ip ip;
		if (!ip_parse(said, &ip))
			return; /* "unknown", or nonsense: who spoke last is as far as we know */
		ip_text(&ip, out, out_bytes);
		believed = trust_ip(t, &ip);
	}
}
