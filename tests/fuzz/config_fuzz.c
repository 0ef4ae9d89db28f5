/* config_fuzz.c - whatever bytes a file holds, config_load returns a configuration or errors, and reads nothing beyond.
 *
 * The bytes up to the first 0xff byte are the file, the rest the value of a variable and of a flag.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slowproxy/config.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print_all(const struct config *c)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	if (out == NULL)
		return;
	config_print_effective(c, out);
	fclose(out);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	log_setup(&(struct log_settings){ .level = LOG_ERROR, .role = "fuzz" });
	const uint8_t *cut = memchr(data, 0xff, size);
	size_t yaml_len = cut != NULL ? (size_t)(cut - data) : size;
	char *yaml = malloc(yaml_len + 1); /* of its very size, so that a read beyond is seen */
	char *value = xstrndup(cut ? (const char *)cut + 1 : "", cut ? size - yaml_len - 1 : 0);
	struct buf variable = { 0 }, errors = { 0 };
	if (yaml_len != 0)
		memcpy(yaml, data, yaml_len);
	buf_printf(&variable, "SLOWPROXY_SLOW_ROUTES=%s", value);

	char *environment[] = { variable.data, "A=b", NULL };
	const char *flags[] = { "upstream", value };
	struct config_source source = { .file_name = "fuzz.yaml",
		.yaml = yaml,
		.yaml_len = yaml_len,
		.environment = environment,
		.flags = flags,
		.flag_count = cut != NULL };
	struct config *c = config_load(&source, &errors);
	if ((c == NULL) != (errors.len != 0))
		abort();
	if (c != NULL) {
		print_all(c);
		config_slow_threshold_ns(c, "GET", "/reports/1");
	}
	config_free(c);
	buf_clear(&errors);
	buf_clear(&variable);
	free(yaml);
	free(value);
	return 0;
}
