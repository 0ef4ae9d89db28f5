/* http_fuzz.h - what both fuzz targets of the http room prove: cutting the bytes elsewhere changes nothing that is read. */
#ifndef HTTP_FUZZ_H
#define HTTP_FUZZ_H

#include <stdio.h>

#include "http_transcript.h"

enum { CUTS_MAX = 16 };

/* Cut points from the input itself, so that the fuzzer can move them. */
static size_t derive_cuts(const uint8_t *data, size_t size, size_t *cuts)
{
	uint32_t state = 2166136261u;
	size_t count = 0, at = 0;
	for (size_t i = 0; i < size; i++)
		state = (state ^ data[i]) * 16777619u;
	while (count < CUTS_MAX) {
		state = state * 1664525u + 1013904223u;
		at += 1 + (state >> 16) % (size / 4 + 1);
		if (at >= size)
			break;
		cuts[count++] = at;
	}
	return count;
}

static void fuzz_one(const struct stream_case *what, const uint8_t *data, size_t size)
{
	size_t cuts[CUTS_MAX];
	struct buf whole = { 0 }, cut = { 0 };
	enum http_error error = transcribe(what, (const char *)data, size, NULL, 0, &whole);
	size_t count = derive_cuts(data, size, cuts);
	enum http_error error_cut = transcribe(what, (const char *)data, size, cuts, count, &cut);
	/* Whatever llhttp thinks must be thought by our own check before: that is how its versions are made equal. */
	if (error != error_cut || error == HTTP_ERR_PARSER || whole.len != cut.len ||
		memcmp(whole.data, cut.data, whole.len) != 0) {
		fprintf(stderr, "whole: %s\ncut:   %s\n", whole.data, cut.data);
		abort();
	}
	buf_clear(&whole);
	buf_clear(&cut);
}

#endif
