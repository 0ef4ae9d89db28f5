/* http_request_fuzz.c - any bytes as a stream of requests: read the same however they are cut, written back the same message. */
#include "http_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* The first byte chooses the limits. */
	if (size == 0)
		return 0;
	struct stream_case what = { HTTP_REQUEST_MESSAGE, { 2048, 24, 0, 0 }, false };
	if (data[0] & 1)
		what.limits = (struct http_limits){ 128, 4, 64, 0 };

	fuzz_one(&what, data + 1, size - 1);
	return 0;
}
