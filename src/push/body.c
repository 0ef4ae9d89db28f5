/* body.c - what stands in a request.
 *
 *   Loki       {"streams":[{"stream":{"service_name":"web"},"values":[ ["<ns>","<line>",{"trace_id":"..."}], ... ]}]}
 *   Pyroscope  {"series":[ {"labels":[{"name":"__name__","value":"wall"}, ...],"samples":[{"rawProfile":"<base64>"}]}, ... ]}
 */
#include "body.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include <slowproxy/base/json.h>

const char body_end_loki[] = "]}]}", body_end_pyroscope[] = "]}";

/* "env=prod": the name is a word that needs no escapes. */
static const char *label_value(const char *label, char name[64])
{
	size_t len = strcspn(label, "=");
	snprintf(name, 64, "%.*s", (int)len, label);
	return label + len + 1;
}

static bool is_given(const struct push_pair *pair)
{
	return pair->value != NULL && pair->value[0] != '\0';
}

void body_begin_loki(struct buf *out, const struct config *c)
{
	struct json j;
	char name[64];
	buf_add_str(out, "{\"streams\":[{\"stream\":");
	json_init(&j, out);
	json_begin(&j, '{');
	json_key(&j, "service_name");
	json_str(&j, c->service);
	for (size_t i = 0; i < c->logs.loki.labels.count; i++) {
		const char *value = label_value(c->logs.loki.labels.items[i], name);
		json_key(&j, name);
		json_str(&j, value);
	}
	json_end(&j);
	buf_add_str(out, ",\"values\":[");
}

/* The instant is a text: Loki answers a number with 400. */
void body_add_loki(struct buf *out, const struct config *c, const struct push_item *item)
{
	struct json j;
	char instant[24];
	(void)c;
	snprintf(instant, sizeof instant, "%" PRIu64, item->wall_ns);
	json_init(&j, out);
	json_begin(&j, '[');
	json_str(&j, instant);
	json_strn(&j, item->bytes, item->len);
	json_begin(&j, '{');
	for (size_t i = 0; i < item->pair_count; i++) {
		if (!is_given(&item->pairs[i]))
			continue;
		json_key(&j, item->pairs[i].name);
		json_str(&j, item->pairs[i].value);
	}
	json_end(&j);
	json_end(&j);
}

static void add_label(struct json *j, const char *name, const char *value)
{
	json_begin(j, '{');
	json_key(j, "name");
	json_str(j, name);
	json_key(j, "value");
	json_str(j, value);
	json_end(j);
}

static void add_base64(struct buf *out, const unsigned char *bytes, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
				 (left > 2 ? bytes[i + 2] : 0);
		buf_add_char(out, digits[three >> 18]);
		buf_add_char(out, digits[three >> 12 & 63]);
		buf_add_char(out, left > 1 ? digits[three >> 6 & 63] : '=');
		buf_add_char(out, left > 2 ? digits[three & 63] : '=');
	}
}

void body_begin_pyroscope(struct buf *out, const struct config *c)
{
	(void)c;
	buf_add_str(out, "{\"series\":[");
}

/* A series of its own for each profile: its labels tell its route, and profiles of one series and instant would be one. */
void body_add_pyroscope(struct buf *out, const struct config *c, const struct push_item *item)
{
	struct json j;
	char name[64];
	json_init(&j, out);
	json_begin(&j, '{');
	json_key(&j, "labels");
	json_begin(&j, '[');
	add_label(&j, "__name__", "wall");
	add_label(&j, "service_name", c->service);
	for (size_t i = 0; i < c->capture.pyroscope.labels.count; i++) {
		const char *value = label_value(c->capture.pyroscope.labels.items[i], name);
		add_label(&j, name, value);
	}
	for (size_t i = 0; i < item->pair_count; i++)
		if (is_given(&item->pairs[i]))
			add_label(&j, item->pairs[i].name, item->pairs[i].value);
	json_end(&j);
	buf_add_str(out, ",\"samples\":[{\"rawProfile\":\"");
	add_base64(out, (const unsigned char *)item->bytes, item->len);
	buf_add_str(out, "\"}]");
	json_end(&j);
}

void body_gzip(struct buf *out, const char *bytes, size_t len)
{
	enum { GZIP = 16 + MAX_WBITS, MEMORY_LEVEL = 8 };
	z_stream z = { 0 };
	int begun =
		deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
	assert(begun == Z_OK);
	size_t bound = deflateBound(&z, len);
	buf_reserve(out, bound);
	z.next_in = (Bytef *)(uintptr_t)bytes;
	z.avail_in = (uInt)len;
	z.next_out = (Bytef *)out->data + out->len;
	z.avail_out = (uInt)bound;
	int ended = deflate(&z, Z_FINISH);
	assert(ended == Z_STREAM_END);
	out->len += z.total_out;
	out->data[out->len] = '\0';
	deflateEnd(&z);
}
