/* trace.c - the two names a request travels under: traceparent (W3C Trace Context) and X-Request-ID. */
#include <slowproxy/http.h>

#include <string.h>

enum { TRACE_ID_HEX = 32, PARENT_ID_HEX = 16, FLAGS_HEX = 2, VERSION_0_LEN = 55, REQUEST_ID_MAX = 128 };

static bool lower_hex_copy(char *out, const char *from, size_t digits)
{
	for (size_t i = 0; i < digits; i++)
		if (!(from[i] >= '0' && from[i] <= '9') && !(from[i] >= 'a' && from[i] <= 'f'))
			return false;
	memcpy(out, from, digits);
	out[digits] = '\0';
	return true;
}

static bool all_zero(const char *digits)
{
	return digits[strspn(digits, "0")] == '\0';
}

bool http_traceparent_parse(struct slice value, char trace_id[33], char parent_id[17], char flags[3])
{
	char version[3];
	const char *p = value.at;
	if (value.len < VERSION_0_LEN || p[2] != '-' || p[35] != '-' || p[52] != '-')
		return false;
	if (!lower_hex_copy(version, p, 2) || strcmp(version, "ff") == 0)
		return false;
	/* A later version may append fields; version 00 may not. */
	if (value.len > VERSION_0_LEN && (strcmp(version, "00") == 0 || p[VERSION_0_LEN] != '-'))
		return false;
	return lower_hex_copy(trace_id, p + 3, TRACE_ID_HEX) &&
	       lower_hex_copy(parent_id, p + 36, PARENT_ID_HEX) && lower_hex_copy(flags, p + 53, FLAGS_HEX) &&
	       !all_zero(trace_id) && !all_zero(parent_id);
}

bool http_request_id_sane(struct slice value)
{
	if (value.len == 0 || value.len > REQUEST_ID_MAX)
		return false;
	for (size_t i = 0; i < value.len; i++)
		if (value.at[i] <= ' ' || value.at[i] > '~')
			return false;
	return true;
}
