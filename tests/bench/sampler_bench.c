/* sampler_bench.c - how many looks a second pystack takes at a process on one core.
 *   sampler_bench PID SECONDS     prints one JSON object
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <slowproxy/base/clock.h>
#include <slowproxy/pystack.h>

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	struct py_process *process;
	struct buf why = { 0 };
	if (py_process_open(atoi(argv[1]), &process, &why) != PY_OK) {
		fprintf(stderr, "%s\n", why.data);
		return 1;
	}
	struct py_wants wants = { 0 };
	struct py_sample sample;
	uint64_t taken = 0, failed = 0, unreadable = 0;
	size_t frames = 0;
	uint64_t began = clock_now_ns(), until = began + (uint64_t)(strtod(argv[2], NULL) * (double)NS_PER_S);
	while (clock_now_ns() < until) {
		if (py_process_sample(process, &wants, &sample) != PY_OK) {
			failed++;
			continue;
		}
		taken++;
		unreadable += sample.unreadable;
		if (sample.thread_count > 0)
			frames = sample.threads[0].frame_count;
	}
	double seconds = (double)(clock_now_ns() - began) / (double)NS_PER_S;
	struct timespec cpu;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	double cpu_us = (double)cpu.tv_sec * 1e6 + (double)cpu.tv_nsec / 1e3;
	printf("{\"samples_per_s\": %.0f, \"cpu_us_per_look\": %.2f, \"failed\": %llu, \"unreadable\": %llu, \"frames\": %zu}\n",
		(double)taken / seconds, taken ? cpu_us / (double)taken : 0, (unsigned long long)failed,
		(unsigned long long)unreadable, frames);
	py_process_close(process);
	buf_clear(&why);
	return 0;
}
