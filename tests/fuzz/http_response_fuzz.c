/* http_response_fuzz.c - any bytes as a stream of responses: read the same however they are cut, written back the same message. */
#include "http_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* The first byte chooses the limits and whether a HEAD is answered. */
	if (size == 0)
		return 0;
	struct stream_case what = { HTTP_RESPONSE_MESSAGE, { 2048, 24, 0, 0 }, false };
	if (data[0] & 1)
		what.limits = (struct http_limits){ 128, 4, 64, 0 };
	what.answers_head = data[0] & 2;
	fuzz_one(&what, data + 1, size - 1);
	return 0;
}
