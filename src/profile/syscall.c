/* syscall.c - names of the system calls a Python thread is found waiting in. */
#include <sys/syscall.h>

#include <slowproxy/profile.h>

static const struct {
	int number;
	const char *name;
} waiting_calls[] = {
#define CALL(name)                                                                                           \
	{                                                                                                    \
		SYS_##name, #name                                                                            \
	}
#ifdef SYS_poll /* the old calls, which newer architectures do not have */
	CALL(poll),
	CALL(select),
	CALL(epoll_wait),
	CALL(accept),
	CALL(open),
	CALL(stat),
	CALL(pause),
#endif
#ifdef SYS_epoll_pwait2
	CALL(epoll_pwait2),
#endif
	CALL(read),
	CALL(write),
	CALL(readv),
	CALL(writev),
	CALL(pread64),
	CALL(pwrite64),
	CALL(openat),
	CALL(newfstatat),
	CALL(statx),
	CALL(getdents64),
	CALL(fsync),
	CALL(fdatasync),
	CALL(msync),
	CALL(flock),
	CALL(fcntl),
	CALL(sendfile),
	CALL(splice),
	CALL(ppoll),
	CALL(pselect6),
	CALL(epoll_pwait),
	CALL(futex),
	CALL(nanosleep),
	CALL(clock_nanosleep),
	CALL(restart_syscall),
	CALL(connect),
	CALL(accept4),
	CALL(recvfrom),
	CALL(recvmsg),
	CALL(sendto),
	CALL(sendmsg),
	CALL(wait4),
	CALL(waitid),
	CALL(rt_sigtimedwait),
	CALL(io_getevents),
	CALL(io_uring_enter),
	CALL(getrandom),
#undef CALL
};

const char *profile_syscall_name(int16_t number)
{
	for (size_t i = 0; i < ARRAY_LEN(waiting_calls); i++)
		if (waiting_calls[i].number == number)
			return waiting_calls[i].name;
	return NULL;
}
