/* text.c - numbers, durations and sizes. */
#include "text.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/base/str.h>

struct unit {
	const char *name;
	uint64_t scale;
};

/* Largest first, so that writing finds the shortest text. */
static const struct unit time_units[] = {
	{ "h", 3600 * NS_PER_S },
	{ "m", 60 * NS_PER_S },
	{ "s", NS_PER_S },
	{ "ms", NS_PER_MS },
	{ "us", NS_PER_US },
	{ "ns", 1 },
};
static const struct unit size_units[] = {
	{ "TiB", UINT64_C(1) << 40 },
	{ "TB", UINT64_C(1000000000000) },
	{ "GiB", 1 << 30 },
	{ "GB", 1000000000 },
	{ "MiB", 1 << 20 },
	{ "MB", 1000000 },
	{ "KiB", 1 << 10 },
	{ "kB", 1000 },
	{ "KB", 1000 },
	{ "B", 1 },
};

const char text_duration_needs_unit[] = "a duration needs a unit, such as 500ms";
const char text_size_needs_unit[] = "a size needs a unit, such as 64KiB or 10MB";
static const char not_a_duration[] = "is not a duration such as 500ms, 1.5s, 2m or 1h30m";
static const char not_a_size[] = "is not a size such as 64KiB or 10MB";
static const char not_a_number[] = "is not a whole number";
static const char too_large[] = "is too large";
static const char too_fine[] = "has more decimals than can be kept";

const char *text_parse_bool(const char *text, bool *value)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = { { "true", true }, { "false", false }, { "yes", true }, { "no", false }, { "on", true },
		{ "off", false } };
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (slice_equal_nocase(slice_of(text), slice_of(words[i].word))) {
			*value = words[i].value;
			return NULL;
		}
	}
	return "is neither true nor false";
}

/* Reads digits at *text, moves past them. NULL or a sentence. */
static const char *take_digits(const char **text, uint64_t *value)
{
	const char *p = *text;
	*value = 0;
	if (!isdigit((unsigned char)*p))
		return not_a_number;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(*value, 10, value) ||
			__builtin_add_overflow(*value, (uint64_t)(*p - '0'), value))
			return too_large;
	*text = p;
	return NULL;
}

const char *text_parse_u32(const char *text, uint32_t *value)
{
	uint64_t number;
	if (text[0] == '0' && isdigit((unsigned char)text[1]))
		return "is written with a leading zero, which some readers take for octal";
	const char *why = take_digits(&text, &number);
	if (why != NULL)
		return why;
	if (*text != '\0')
		return not_a_number;
	if (number > UINT32_MAX)
		return too_large;
	*value = (uint32_t)number;
	return NULL;
}

static const struct unit *unit_find(const struct unit *units, size_t count, const char *name, size_t len)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(units[i].name) == len && memcmp(units[i].name, name, len) == 0)
			return &units[i];
	return NULL;
}

/* "1.5" and "s" to 1500000000: exact, in integers. fraction is the text behind the point. */
static const char *scale_decimal(uint64_t whole, struct slice fraction, uint64_t scale, uint64_t *value)
{
	enum { DECIMALS_MAX = 18 };
	uint64_t digits = 0, power = 1;
	if (fraction.len > DECIMALS_MAX)
		return too_fine;
	for (size_t i = 0; i < fraction.len; i++) {
		digits = digits * 10 + (uint64_t)(fraction.at[i] - '0');
		power *= 10;
	}
	unsigned __int128 part = (unsigned __int128)digits * scale;
	if (part % power != 0)
		return too_fine;
	if (__builtin_mul_overflow(whole, scale, value) ||
		__builtin_add_overflow(*value, (uint64_t)(part / power), value))
		return too_large;
	return NULL;
}

struct grammar {
	const struct unit *units;
	size_t unit_count;
	const char *needs_unit, *wrong;
};

/* One "1.5s" at *text, moves past it, adds to *sum. */
static const char *take_quantity(const struct grammar *g, const char **text, uint64_t *sum)
{
	const char *p = *text;
	uint64_t whole, value;
	struct slice fraction = { 0 };

	const char *why = take_digits(&p, &whole);
	if (why != NULL)
		return why == too_large ? too_large : g->wrong;
	if (*p == '.') {
		fraction.at = ++p;
		fraction.len = strspn(p, "0123456789");
		p += fraction.len;
		if (fraction.len == 0)
			return g->wrong;
	}
	if (*p == '\0')
		return g->needs_unit;
	size_t unit_len = strcspn(p, "0123456789.");
	const struct unit *unit = unit_find(g->units, g->unit_count, p, unit_len);
	if (unit == NULL)
		return g->wrong;
	why = scale_decimal(whole, fraction, unit->scale, &value);
	if (why != NULL)
		return why;
	if (__builtin_add_overflow(*sum, value, sum))
		return too_large;
	*text = p + unit_len;
	return NULL;
}

const char *text_parse_duration(const char *text, uint64_t *ns)
{
	static const struct grammar g = { time_units, ARRAY_LEN(time_units), text_duration_needs_unit,
		not_a_duration };
	*ns = 0;
	if (strcmp(text, "0") == 0)
		return NULL;
	do {
		const char *why = take_quantity(&g, &text, ns);
		if (why != NULL)
			return why;
	} while (*text != '\0');
	return NULL;
}

const char *text_parse_size(const char *text, uint64_t *bytes)
{
	static const struct grammar g = { size_units, ARRAY_LEN(size_units), text_size_needs_unit,
		not_a_size };
	*bytes = 0;
	if (strcmp(text, "0") == 0)
		return NULL;
	const char *why = take_quantity(&g, &text, bytes);
	return why != NULL ? why : *text != '\0' ? not_a_size : NULL;
}

static void add_quantity(
	struct buf *out, const struct unit *units, size_t count, uint64_t value, const char *zero)
{
	if (value == 0) {
		buf_add_str(out, zero);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (value % units[i].scale == 0) {
			buf_printf(out, "%" PRIu64 "%s", value / units[i].scale, units[i].name);
			return;
		}
	}
}

void text_add_duration(struct buf *out, uint64_t ns)
{
	add_quantity(out, time_units, ARRAY_LEN(time_units), ns, "0s");
}

void text_add_size(struct buf *out, uint64_t bytes)
{
	add_quantity(out, size_units, ARRAY_LEN(size_units), bytes, "0");
}

bool config_parse_duration(const char *text, uint64_t *ns, const char **why)
{
	*why = text_parse_duration(text, ns);
	return *why == NULL;
}

bool config_parse_size(const char *text, uint64_t *bytes, const char **why)
{
	*why = text_parse_size(text, bytes);
	return *why == NULL;
}
