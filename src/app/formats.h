/* formats.h - the kinds of file a profile can be written to. */
#ifndef APP_FORMATS_H
#define APP_FORMATS_H

#include <stdbool.h>
#include <stdio.h>

#include <slowproxy/profile.h>

struct format {
	const char *name;      /* as -f takes it */
	const char *extension; /* of a file we name ourselves */
	const char *title;     /* "flame graph" */
	void (*write)(const struct profile *p, const struct profile_view *view, struct buf *out);
	bool by_extension;   /* a file named so is meant to be this, when nothing else is said */
	bool full_filenames; /* its readers open the source files */
	bool functions;      /* its readers think in functions, not in lines */
};

/* NULL: there is none of that name. */
const struct format *format_of_name(const char *name);
/* What the name of the file says, else the first of the table. */
const struct format *format_of_file(const char *file);
void formats_list(FILE *out);

/* Whether FILE could be written, so that nobody records an hour for nothing; prints why not. */
bool format_file_possible(const char *file, const char *who);
/* "-" is standard output. A file is there whole, or stays as it was; prints why not. */
bool format_write_file(const char *file, const struct buf *text, const char *who);

#endif
