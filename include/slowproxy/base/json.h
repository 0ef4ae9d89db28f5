/* base/json.h - writes JSON into a buf, in one direction, always valid UTF-8 whatever bytes come in.
 *
 * json_begin(&j, &out, '{'); json_key(&j, "a"); json_u64(&j, 1); json_end(&j);
 * Commas are the writer's business. Bytes that are not UTF-8 become U+FFFD; controls are escaped.
 */
#ifndef SLOWPROXY_BASE_JSON_H
#define SLOWPROXY_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slowproxy/base/buf.h>

struct json {
	struct buf *out;
	char closers[16]; /* what json_end must write, innermost last */
	unsigned depth;
	bool need_comma;
};

void json_init(struct json *j, struct buf *out);
void json_begin(struct json *j, char opener); /* '{' or '[' */
void json_end(struct json *j);
void json_key(struct json *j, const char *key);
void json_str(struct json *j, const char *text);
void json_strn(struct json *j, const char *text, size_t len);
void json_u64(struct json *j, uint64_t value);
void json_i64(struct json *j, int64_t value);
void json_bool(struct json *j, bool value);
void json_null(struct json *j);
/* A duration in ns, written in milliseconds with three decimals: 1532.114 */
void json_ms(struct json *j, uint64_t ns);
/* Text that is a JSON value already. */
void json_raw(struct json *j, const char *text, size_t len);

#endif
