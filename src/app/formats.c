/* formats.c - the kinds of file a profile can be written to, and the writing of it. */
#include "formats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct format formats[] = {
	{ "flamegraph", "svg", "flame graph", profile_write_svg, .by_extension = true },
	{ "raw", "txt", "collapsed stacks", profile_write_collapsed, .by_extension = false },
	{ "speedscope", "json", "speedscope profile", profile_write_speedscope, .by_extension = false },
	{ "html", "html", "flame graph page", profile_write_html, .by_extension = true,
		.full_filenames = true },
	{ "pstats", "pstats", "pstats table", profile_write_pstats, .by_extension = true,
		.full_filenames = true, .functions = true },
	{ "pprof", "pb.gz", "pprof profile", profile_write_pprof, .by_extension = true,
		.full_filenames = true },
	{ "chrometrace", "json", "chrometrace", profile_write_chrometrace, .by_extension = false },
	{ "gecko", "json", "gecko profile", profile_write_gecko, .by_extension = false,
		.full_filenames = true },
};

const struct format *format_of_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	return NULL;
}

static bool ends_with_extension(const char *file, const char *extension)
{
	size_t file_bytes = strlen(file), bytes = strlen(extension);
	return file_bytes > bytes + 1 && file[file_bytes - bytes - 1] == '.' &&
	       strcmp(file + file_bytes - bytes, extension) == 0;
}

const struct format *format_of_file(const char *file)
{
	for (size_t i = 0; file != NULL && i < ARRAY_LEN(formats); i++)
		if (formats[i].by_extension && ends_with_extension(file, formats[i].extension))
			return &formats[i];
	return &formats[0];
}

void formats_list(FILE *out)
{
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		fprintf(out, "%s%s", i != 0 ? ", " : "", formats[i].name);
}

static bool complain(const char *who, const char *file)
{
	fprintf(stderr, "slowproxy %s: cannot write %s: %s\n", who, file, strerror(errno));
	return false;
}

/* A regular file, or one that is not there yet, is exchanged whole; a device or a pipe is written to. */
static bool is_exchanged(const char *file)
{
	struct stat info;
	return stat(file, &info) != 0 ? errno == ENOENT : S_ISREG(info.st_mode);
}

bool format_file_possible(const char *file, const char *who)
{
	struct stat info;
	if (strcmp(file, "-") == 0)
		return true;
	if (!is_exchanged(file)) {
		errno = stat(file, &info) == 0 && S_ISDIR(info.st_mode) ? EISDIR : 0;
		return (errno == 0 && access(file, W_OK) == 0) || complain(who, file);
	}
	const char *slash = strrchr(file, '/');
	char *folder = slash == NULL ? xstrdup(".") : xstrndup(file, (size_t)(slash - file) + 1);
	bool possible = access(folder, W_OK | X_OK) == 0 || complain(who, file);
	free(folder);
	return possible;
}

static bool write_to(FILE *f, const struct buf *text)
{
	/* Nothing seen is an empty file, and an empty buf has no bytes to point at. */
	bool good = f != NULL && (text->len == 0 || fwrite(text->data, 1, text->len, f) == text->len);
	if (f != NULL && f != stdout)
		return fclose(f) == 0 && good;
	return good && fflush(f) == 0;
}

bool format_write_file(const char *file, const struct buf *text, const char *who)
{
	if (strcmp(file, "-") == 0)
		return write_to(stdout, text) || complain(who, "to standard output");
	if (!is_exchanged(file))
		return write_to(fopen(file, "we"), text) || complain(who, file);

	struct buf part = { 0 };
	buf_printf(&part, "%s.%d.part", file, (int)getpid());
	bool good = write_to(fopen(part.data, "we"), text) && rename(part.data, file) == 0;
	if (!good) {
		complain(who, file);
		unlink(part.data);
	}
	buf_clear(&part);
	return good;
}
