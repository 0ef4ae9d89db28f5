/* Channels between processes: whole messages or none, never a wait, and nothing inherited that was not meant to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <slowproxy/ipc.h>

static void pair(int ends[2])
{
	assert_true(ipc_pair(ends, 64 * 1024));
}

static size_t open_descriptors(void)
{
	size_t count = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d) != NULL)
		count++;
	closedir(d);
	return count;
}

/* "a message arrives whole and alone, and an empty channel says so at once" */
static void messages_arrive_whole(void **state)
{
	(void)state;
	int ends[2];
	char got[64];
	pair(ends);
	assert_int_equal(ipc_send(ends[0], "first", 5), IPC_OK);
	assert_int_equal(ipc_send(ends[0], "second!", 7), IPC_OK);
	size_t len = sizeof got;
	assert_int_equal(ipc_receive(ends[1], got, &len, NULL), IPC_OK);
	assert_int_equal(len, 5);
	assert_memory_equal(got, "first", 5);
	len = sizeof got;
	assert_int_equal(ipc_receive(ends[1], got, &len, NULL), IPC_OK);
	assert_int_equal(len, 7);
	len = sizeof got;
	assert_int_equal(ipc_receive(ends[1], got, &len, NULL), IPC_FULL);
	assert_int_equal(len, 0);
	close(ends[0]);
	close(ends[1]);
}

/* "a full channel refuses, keeps every message it took, and takes more after one was read" */
static void full_channel_refuses(void **state)
{
	(void)state;
	static char big[IPC_DATAGRAM_MAX];
	int ends[2];
	unsigned sent = 0;
	pair(ends);
	while (ipc_send(ends[0], big, sizeof big) == IPC_OK)
		assert_true(++sent < 100000);
	assert_true(sent >= 2);
	assert_int_equal(ipc_send(ends[0], big, sizeof big), IPC_FULL);
	for (unsigned i = 0; i < sent; i++) {
		size_t len = sizeof big;
		assert_int_equal(ipc_receive(ends[1], big, &len, NULL), IPC_OK);
		assert_int_equal(len, sizeof big);
	}
	assert_int_equal(ipc_send(ends[0], big, sizeof big), IPC_OK);
	close(ends[0]);
	close(ends[1]);
}

/* "a message that can never fit is refused and the channel goes on" */
static void oversize_is_refused(void **state)
{
	(void)state;
	int ends[2];
	size_t len = (size_t)64 << 20;
	char *huge = calloc(1, len);
	pair(ends);
	assert_int_equal(ipc_send(ends[0], huge, len), IPC_FULL);
	assert_int_equal(ipc_send(ends[0], "ok", 2), IPC_OK);
	free(huge);
	close(ends[0]);
	close(ends[1]);
}

/* "a message longer than the reader allows means the peer is not ours" */
static void truncated_is_closed(void **state)
{
	(void)state;
	int ends[2];
	char small[4];
	pair(ends);
	assert_int_equal(ipc_send(ends[0], "too long", 8), IPC_OK);
	size_t len = sizeof small;
	assert_int_equal(ipc_receive(ends[1], small, &len, NULL), IPC_CLOSED);
	close(ends[0]);
	close(ends[1]);
}

/* "a closed peer is told without SIGPIPE, after what it sent was read" */
static void closed_peer_is_told(void **state)
{
	(void)state;
	int ends[2];
	char got[8];
	pair(ends);
	assert_int_equal(ipc_send(ends[0], "last", 4), IPC_OK);
	close(ends[0]);
	size_t len = sizeof got;
	assert_int_equal(ipc_receive(ends[1], got, &len, NULL), IPC_OK);
	len = sizeof got;
	assert_int_equal(ipc_receive(ends[1], got, &len, NULL), IPC_CLOSED);
	assert_int_equal(ipc_send(ends[1], "x", 1), IPC_CLOSED);
	close(ends[1]);
}

/* "a descriptor travels with its message; one that nobody asked for is closed" */
static void descriptors_travel(void **state)
{
	(void)state;
	int ends[2], pipes[2], got_fd;
	char got[8];
	pair(ends);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(ipc_send_fd(ends[0], "fd", 2, pipes[1]), IPC_OK);
	assert_int_equal(ipc_send_fd(ends[0], "fd", 2, pipes[1]), IPC_OK);
	close(pipes[1]);
	size_t len = sizeof got;
	assert_int_equal(ipc_receive(ends[1], got, &len, &got_fd), IPC_OK);
	assert_true(got_fd >= 0);
	assert_true(fcntl(got_fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(got_fd, "y", 1), 1);
	assert_int_equal(read(pipes[0], got, 1), 1);
	close(got_fd);
	size_t before = open_descriptors();
	len = sizeof got;
	assert_int_equal(ipc_receive(ends[1], got, &len, NULL), IPC_OK);
	assert_int_equal(open_descriptors(), before);
	assert_int_equal(read(pipes[0], got, 1), 0); /* every writer is gone */
	close(pipes[0]);
	close(ends[0]);
	close(ends[1]);
}

/* --- spawning: this test is its own child --- */
enum { CHILD_A = 5, CHILD_B = 6 };

static int child_main(void)
{
	char text[64];
	sigset_t blocked;
	size_t others = open_descriptors() - 3; /* ".", ".." and the directory itself */
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	snprintf(text, sizeof text, "open %zu blocked %d", others, sigismember(&blocked, SIGTERM));
	if (ipc_send(CHILD_A, text, strlen(text) + 1) != IPC_OK || ipc_send(CHILD_B, "b", 2) != IPC_OK)
		return 3;
	return 42;
}

/* "a role gets exactly its descriptors, on the numbers asked for even when they cross ours, and no blocked signals" */
static void spawn_arranges_descriptors(void **state)
{
	(void)state;
	int a[2], b[2], leak[2], status;
	char got[64];
	sigset_t term, before;
	pair(a);
	pair(b);
	assert_int_equal(pipe(leak), 0); /* not close-on-exec: must still not arrive */
	int on_b = fcntl(a[1], F_DUPFD, 20), on_a = fcntl(b[1], F_DUPFD, 21);
	/* cross over: what is to be A lies on B's number and the other way round */
	int save_a = fcntl(CHILD_A, F_DUPFD, 30), save_b = fcntl(CHILD_B, F_DUPFD, 31);
	assert_true(dup2(on_b, CHILD_B) >= 0 && dup2(on_a, CHILD_A) >= 0);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &before);
	struct ipc_fd fds[] = { { CHILD_B, CHILD_A }, { CHILD_A, CHILD_B } };
	char *argv[] = { "ipc_test", "--child", NULL };
	pid_t pid = ipc_spawn(argv, fds, 2);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (save_a >= 0)
		dup2(save_a, CHILD_A);
	if (save_b >= 0)
		dup2(save_b, CHILD_B);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
	size_t len = sizeof got;
	assert_int_equal(ipc_receive(a[0], got, &len, NULL), IPC_OK);
	assert_string_equal(got, "open 5 blocked 1");
	len = sizeof got;
	assert_int_equal(ipc_receive(b[0], got, &len, NULL), IPC_OK);
	assert_string_equal(got, "b");
	int mine[] = { a[0], a[1], b[0], b[1], leak[0], leak[1], on_a, on_b, save_a, save_b };
	for (size_t i = 0; i < ARRAY_LEN(mine); i++)
		close(mine[i]);
}

/* "a descriptor that does not exist fails the spawn with its reason and leaves no child" */
static void spawn_reports_failure(void **state)
{
	(void)state;
	struct ipc_fd fds[] = { { 1000000, 3 } };
	char *argv[] = { "ipc_test", "--child", NULL };
	errno = 0;
	assert_int_equal(ipc_spawn(argv, fds, 1), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* --- messages --- */
static union {
	uint64_t align;
	char bytes[4096];
} datagram;

static size_t frame_put(size_t at, const char *function, const char *file)
{
	struct ipc_frame f = { .head = { .type = IPC_FRAME }, .id = 1, .line = 7 };
	f.function_bytes = (uint16_t)strlen(function);
	f.file_bytes = (uint16_t)strlen(file);
	f.head.bytes = (uint16_t)ipc_padded(sizeof f + f.function_bytes + f.file_bytes);
	memcpy(datagram.bytes + at, &f, sizeof f);
	memcpy(datagram.bytes + at + sizeof f, function, f.function_bytes);
	memcpy(datagram.bytes + at + sizeof f + f.function_bytes, file, f.file_bytes);
	return at + f.head.bytes;
}

/* "several messages share a datagram and come out one by one" */
static void messages_share_a_datagram(void **state)
{
	(void)state;
	size_t at = 0, len = frame_put(0, "view", "app.py");
	struct ipc_reset reset = { { IPC_RESET, sizeof reset, 0 } };
	memcpy(datagram.bytes + len, &reset, sizeof reset);
	len += sizeof reset;
	bool garbage;
	const struct ipc_head *h = ipc_message_next(datagram.bytes, len, &at, &garbage);
	assert_non_null(h);
	assert_int_equal(h->type, IPC_FRAME);
	assert_memory_equal((const struct ipc_frame *)(const void *)h + 1, "viewapp.py", 10);
	h = ipc_message_next(datagram.bytes, len, &at, &garbage);
	assert_non_null(h);
	assert_int_equal(h->type, IPC_RESET);
	assert_null(ipc_message_next(datagram.bytes, len, &at, &garbage));
	assert_false(garbage);
}

static bool is_garbage(size_t len)
{
	size_t at = 0;
	bool garbage;
	/* an exact copy on the heap: a read past its end is seen by the sanitizer */
	char *copy = malloc(len);
	memcpy(copy, datagram.bytes, len);
	while (ipc_message_next(copy, len, &at, &garbage) != NULL)
		;
	free(copy);
	return garbage;
}

/* "short, long, unknown, unterminated and miscounted messages are told as garbage" */
static void garbage_is_told(void **state)
{
	(void)state;
	size_t len = frame_put(0, "view", "app.py");
	struct ipc_frame *f = (void *)datagram.bytes;
	assert_false(is_garbage(len));
	for (size_t cut = 1; cut < len; cut++)
		assert_true(is_garbage(cut));
	f->function_bytes = IPC_FUNCTION_MAX + 1;
	assert_true(is_garbage(len));
	len = frame_put(0, "view", "app.py");
	f->head.bytes = 0;
	assert_true(is_garbage(len));
	f->head.bytes = (uint16_t)len;
	f->head.type = IPC_TYPE_END;
	assert_true(is_garbage(len));
	f->head.type = 0;
	assert_true(is_garbage(len));

	struct ipc_target *t = (void *)datagram.bytes;
	*t = (struct ipc_target){ .head = { IPC_TARGET, sizeof *t, 1 } };
	assert_false(is_garbage(sizeof *t));
	memset(t->reason, 'x', sizeof t->reason);
	assert_true(is_garbage(sizeof *t));

	struct ipc_tick *tick = (void *)datagram.bytes;
	*tick = (struct ipc_tick){ .head = { IPC_TICK, sizeof *tick, 1 }, .sample_count = UINT32_MAX };
	assert_true(is_garbage(sizeof *tick));
}

/* "random bytes never make the reader leave the datagram" */
static void noise_is_harmless(void **state)
{
	(void)state;
	srandom(1);
	for (int round = 0; round < 20000; round++) {
		size_t len = 1 + (size_t)random() % 256;
		for (size_t i = 0; i < len; i++)
			datagram.bytes[i] = (char)random();
		datagram.bytes[0] = (char)(random() % (IPC_TYPE_END + 1));
		datagram.bytes[1] = 0;
		if (len > 3) {
			datagram.bytes[2] = (char)(random() % 256);
			datagram.bytes[3] = 0;
		}
		(void)is_garbage(len);
	}
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--child") == 0)
		return child_main();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_arrive_whole),
		cmocka_unit_test(full_channel_refuses),
		cmocka_unit_test(oversize_is_refused),
		cmocka_unit_test(truncated_is_closed),
		cmocka_unit_test(closed_peer_is_told),
		cmocka_unit_test(descriptors_travel),
		cmocka_unit_test(spawn_arranges_descriptors),
		cmocka_unit_test(spawn_reports_failure),
		cmocka_unit_test(messages_share_a_datagram),
		cmocka_unit_test(garbage_is_told),
		cmocka_unit_test(noise_is_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
