/* report_writer_test.c - what the writer promises: it never makes anybody wait, and what it loses it counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "report_makers.h"

/* --- queue and outputs ------------------------------------------------------------------------------------------- */

struct place {
	char directory[64];
	char fifo[96];
	int reader; /* the other end of the fifo; nobody reads it until the test does */
};

static void place_make(struct place *p)
{
	strcpy(p->directory, "/tmp/slowproxy-report-XXXXXX");
	assert_non_null(mkdtemp(p->directory));
	snprintf(p->fifo, sizeof p->fifo, "%s/fifo", p->directory);
	assert_int_equal(mkfifo(p->fifo, 0600), 0);
	p->reader = open(p->fifo, O_RDONLY | O_NONBLOCK);
	assert_true(p->reader >= 0);
}

static void place_clear(struct place *p)
{
	char command[128];
	close(p->reader);
	snprintf(command, sizeof command, "rm -rf '%s'", p->directory);
	assert_int_equal(system(command), 0);
}

/* Reads until there are so many lines in the buffer, 10 s at most. */
static size_t read_lines(int fd, struct buf *into, size_t wanted)
{
	uint64_t until = clock_now_ns() + 10 * NS_PER_S;
	size_t lines = 0;
	for (size_t i = 0; i < into->len; i++)
		lines += into->data[i] == '\n';
	while (lines < wanted && clock_now_ns() < until) {
		char bytes[4096];
		struct pollfd p = { fd, POLLIN, 0 };
		poll(&p, 1, 100);
		ssize_t n = read(fd, bytes, sizeof bytes);
		for (ssize_t i = 0; i < n; i++)
			lines += bytes[i] == '\n';
		if (n > 0)
			buf_add(into, bytes, (size_t)n);
	}
	return lines;
}

static void send_slow(struct report *rep, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		report_record(rep, record_make());
}

/* "Nobody reads the pipe: producers never wait, each lost line is counted, and what was not lost comes out whole later." */
static void a_full_queue_never_waits(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	struct config c = config_make();
	c.logs.slow = place.fifo;
	struct report *rep = report_new(&c);

	enum { SENT = 2000 };
	uint64_t slowest = 0;
	for (unsigned i = 0; i < SENT; i++) {
		struct record *r = record_make();
		uint64_t before = clock_now_ns();
		report_record(rep, r);
		slowest = MAX(slowest, clock_now_ns() - before);
	}
	uint64_t dropped = report_lines_dropped(rep);
	print_message("slowest report_record: %u us, %u of %u lines dropped\n",
		(unsigned)(slowest / NS_PER_US), (unsigned)dropped, SENT);
	assert_true(slowest < 500 * MS); /* a waiting producer would wait for ever */
	assert_true(dropped > SENT / 2);

	struct buf got = { 0 };
	assert_int_equal(read_lines(place.reader, &got, SENT - dropped), SENT - dropped);
	assert_int_equal(report_lines_dropped(rep), dropped);
	for (char *line = strtok(got.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		assert_memory_equal(line, "{\"ts\":", 6);
		assert_int_equal(line[strlen(line) - 1], '}');
	}
	assert_int_equal(report_free(rep, 5 * NS_PER_S), dropped);
	buf_clear(&got);
	place_clear(&place);
}

/* "Dropped lines are said in a log line as soon as there is room." */
static void dropped_lines_are_said(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	char log_path[96];
	snprintf(log_path, sizeof log_path, "%s/log", place.directory);
	int saved = dup(STDERR_FILENO), end = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	int log = open(log_path, O_RDONLY);
	dup2(end, STDERR_FILENO);
	close(end);

	struct config c = config_make();
	c.logs.slow = place.fifo;
	struct report *rep = report_new(&c);
	log_setup(&(struct log_settings){
		.level = LOG_INFO, .role = "test", .sink = report_log_sink, .context = rep });
	send_slow(rep, 1000);
	uint64_t dropped = report_lines_dropped(rep);
	struct buf got = { 0 }, said = { 0 };
	read_lines(place.reader, &got, 1000 - dropped);
	assert_int_equal(read_lines(log, &said, 1), 1);
	unsigned told = 0;
	assert_non_null(strstr(said.data, " lines were dropped because the reader is slow\n"));
	assert_int_equal(sscanf(said.data, "slowproxy[test] warn: %u", &told), 1);
	assert_true(told > 0 && told <= dropped);
	log_setup(&(struct log_settings){ .level = LOG_INFO, .role = "test" });
	report_free(rep, NS_PER_S);

	dup2(saved, STDERR_FILENO);
	close(saved);
	close(log);
	buf_clear(&got);
	buf_clear(&said);
	place_clear(&place);
}

/* "A stuck reader cannot hold report_free longer than it is allowed to wait; the lines lost so are counted." */
static void a_stuck_reader_does_not_hold_the_end(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	struct config c = config_make();
	c.logs.slow = place.fifo;
	c.logs.queue_lines = 1000;
	struct report *rep = report_new(&c);
	send_slow(rep, 200);
	uint64_t before = clock_now_ns();
	uint64_t lost = report_free(rep, 200 * MS);
	uint64_t took = clock_now_ns() - before;
	struct buf got = { 0 };
	char bytes[4096];
	for (ssize_t n; (n = read(place.reader, bytes, sizeof bytes)) > 0;)
		buf_add(&got, bytes, (size_t)n);
	size_t whole = 0;
	for (size_t i = 0; i < got.len; i++)
		whole += got.data[i] == '\n';
	print_message("report_free(200 ms) took %u ms, %u lines lost, %zu written\n", (unsigned)(took / MS),
		(unsigned)lost, whole);
	assert_true(took < 2 * NS_PER_S);
	assert_true(lost > 0);
	assert_int_equal(whole + lost, 200);
	buf_clear(&got);
	place_clear(&place);
}

/* "What is queued is written before the end, to a file as to a pipe; fast requests give access lines only." */
static void the_end_writes_what_is_queued(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	struct config c = config_make();
	char slow[96], acc[96];
	snprintf(slow, sizeof slow, "%s/slow.log", place.directory);
	snprintf(acc, sizeof acc, "%s/access.log", place.directory);
	c.logs.slow = slow;
	c.logs.access = acc;
	c.logs.queue_lines = 1000;
	struct report *rep = report_new(&c);
	for (unsigned i = 0; i < 100; i++) {
		struct record *r = record_make();
		if (i % 2)
			r->threshold_ns = 0;
		report_record(rep, r);
	}
	assert_int_equal(report_free(rep, 10 * NS_PER_S), 0);
	struct buf got = { 0 };
	int fd = open(slow, O_RDONLY);
	assert_int_equal(read_lines(fd, &got, 50), 50);
	close(fd);
	buf_reset(&got);
	fd = open(acc, O_RDONLY);
	assert_int_equal(read_lines(fd, &got, 100), 100);
	assert_non_null(strstr(got.data, "\"event\":\"request\""));
	close(fd);
	buf_clear(&got);
	place_clear(&place);
}

enum { PRODUCERS = 4, EACH = 500 };

static void *produce(void *report)
{
	for (unsigned i = 0; i < EACH; i++) {
		struct record *r = i % 3 == 0 ? record_with_render() : record_make();
		if (i % 3 == 1)
			r->threshold_ns = 0;
		report_record(report, r);
		if (i % 100 == 0)
			report_reopen(report);
	}
	record_thread_end();
	return NULL;
}

/* "Several threads report at once while the files are opened anew: each line is written or counted, none is torn." */
static void many_threads_report_at_once(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	struct config c = config_make();
	char slow[96], acc[96];
	snprintf(slow, sizeof slow, "%s/slow.log", place.directory);
	snprintf(acc, sizeof acc, "%s/access.log", place.directory);
	c.logs.slow = slow;
	c.logs.access = acc;
	c.logs.queue_lines = 256;
	struct report *rep = report_new(&c);
	pthread_t threads[PRODUCERS];
	for (unsigned i = 0; i < PRODUCERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, produce, rep), 0);
	for (unsigned i = 0; i < PRODUCERS; i++)
		pthread_join(threads[i], NULL);
	uint64_t lost = report_free(rep, 30 * NS_PER_S);

	const char *paths[] = { slow, acc };
	uint64_t whole = 0;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		FILE *f = fopen(paths[i], "r");
		char line[16384];
		while (fgets(line, sizeof line, f) != NULL) {
			assert_memory_equal(line, "{\"ts\":", 6);
			assert_string_equal(line + strlen(line) - 2, "}\n");
			whole++;
		}
		fclose(f);
	}
	unsigned slow_sent = PRODUCERS * (EACH - EACH / 3 - (EACH % 3 > 1));
	print_message("%u lines written, %u lost\n", (unsigned)whole, (unsigned)lost);
	assert_int_equal(whole + lost, PRODUCERS * EACH + slow_sent);
	place_clear(&place);
}

/* --- profile files ----------------------------------------------------------------------------------------------- */

static unsigned count_files(const char *directory, const char *ending, uint64_t *bytes)
{
	unsigned count = 0;
	*bytes = 0;
	DIR *dir = opendir(directory);
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		size_t len = strlen(e->d_name), tail = strlen(ending);
		struct stat st;
		if (len < tail || strcmp(e->d_name + len - tail, ending) != 0)
			continue;
		if (fstatat(dirfd(dir), e->d_name, &st, 0) == 0)
			*bytes += (uint64_t)st.st_size;
		count++;
	}
	closedir(dir);
	return count;
}

/* "A slow request with samples leaves a page and folded stacks, and its line names the page." */
static void a_profile_is_filed(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	struct config c = config_make();
	char slow[96], kept[96];
	snprintf(slow, sizeof slow, "%s/slow.log", place.directory);
	snprintf(kept, sizeof kept, "%s/kept", place.directory);
	c.logs.slow = slow;
	c.capture.directory = kept;
	c.capture.max_bytes = 10 << 20;
	struct report *rep = report_new(&c);
	report_record(rep, record_with_render());
	report_record(rep, record_make()); /* no samples, no file */
	assert_int_equal(report_free(rep, 10 * NS_PER_S), 0);

	uint64_t bytes;
	assert_int_equal(count_files(kept, ".html", &bytes), 1);
	assert_true(bytes > 1000);
	assert_int_equal(count_files(kept, ".collapsed.txt", &bytes), 1);
	assert_int_equal(count_files(kept, ".tmp", &bytes), 0);
	struct buf got = { 0 };
	int fd = open(slow, O_RDONLY);
	assert_int_equal(read_lines(fd, &got, 2), 2);
	close(fd);
	char *named = strstr(got.data, "\"profile_file\":\"");
	assert_non_null(named);
	named += strlen("\"profile_file\":\"");
	*strchr(named, '"') = '\0';
	assert_int_equal(access(named, R_OK), 0);
	buf_clear(&got);
	place_clear(&place);
}

/* "The directory stays below its bound, the oldest go first, and nothing that is not ours is touched." */
static void the_directory_is_bounded(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	static const char *const there[] = {
		"20200101T000000.000Z-00000000000000000000000000000000.html",
		"20200101T000000.000Z-00000000000000000000000000000000.collapsed.txt.tmp", /* left by a killed writer */
		"precious.html",
		"20200101T000000.000Z-notours.html",
	};
	char path[256];
	for (size_t i = 0; i < ARRAY_LEN(there); i++) {
		snprintf(path, sizeof path, "%s/%s", place.directory, there[i]);
		FILE *f = fopen(path, "w");
		fprintf(f, "%0400d", 0);
		fclose(f);
	}
	struct files files;
	files_init(&files, place.directory, 1000);
	assert_int_equal(files.count, 1);
	assert_int_equal(files.bytes, 400);

	struct buf content = { 0 };
	buf_printf(&content, "%0400d", 0);
	char name[FILES_NAME_BYTES], id[FILES_ID_BYTES], newest[FILES_NAME_BYTES] = "";
	for (uint64_t i = 0; i < 10; i++) {
		files_name_new(name, id, UINT64_C(1795332234123456789) + i * NS_PER_S);
		assert_true(files_write(&files, name, ".html", &content));
		assert_true(files.bytes <= 1000);
		strcpy(newest, name);
	}
	uint64_t bytes;
	assert_int_equal(
		count_files(place.directory, ".html", &bytes), 2 + 2); /* two new ones, two of others */
	assert_int_equal(count_files(place.directory, ".tmp", &bytes), 0);
	snprintf(path, sizeof path, "%s/%s.html", place.directory, newest);
	assert_int_equal(access(path, R_OK), 0);
	snprintf(path, sizeof path, "%s/precious.html", place.directory);
	assert_int_equal(access(path, R_OK), 0);

	struct buf large = { 0 };
	buf_printf(&large, "%02000d", 0);
	assert_false(files_write(&files, name, ".collapsed.txt", &large));
	assert_int_equal(errno, EFBIG);
	assert_int_equal(count_files(place.directory, ".html", &bytes), 4); /* nothing was removed for it */
	buf_clear(&large);
	buf_clear(&content);
	files_clear(&files);
	place_clear(&place);
}

/* "Where no file can be written, the slow line comes all the same, without profile_file." */
static void an_unwritable_directory_costs_no_line(void **state)
{
	(void)state;
	struct place place;
	place_make(&place);
	struct config c = config_make();
	char slow[96];
	snprintf(slow, sizeof slow, "%s/slow.log", place.directory);
	c.logs.slow = slow;
	c.capture.directory = "/proc/no-such-place";
	log_setup(&(struct log_settings){ .level = LOG_ERROR, .role = "test" });
	struct report *rep = report_new(&c);
	report_record(rep, record_with_render());
	assert_int_equal(report_free(rep, 10 * NS_PER_S), 0);
	log_setup(&(struct log_settings){ .level = LOG_INFO, .role = "test" });
	struct buf got = { 0 };
	int fd = open(slow, O_RDONLY);
	assert_int_equal(read_lines(fd, &got, 1), 1);
	close(fd);
	assert_non_null(strstr(got.data, "\"code_function_name\":\"render\""));
	assert_null(strstr(got.data, "profile_"));
	buf_clear(&got);
	place_clear(&place);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_queue_never_waits),
		cmocka_unit_test(dropped_lines_are_said),
		cmocka_unit_test(a_stuck_reader_does_not_hold_the_end),
		cmocka_unit_test(the_end_writes_what_is_queued),
		cmocka_unit_test(many_threads_report_at_once),
		cmocka_unit_test(a_profile_is_filed),
		cmocka_unit_test(the_directory_is_bounded),
		cmocka_unit_test(an_unwritable_directory_costs_no_line),
	};
	return cmocka_run_group_tests(tests, NULL, forget_records);
}
