// A clock that jumps: loaded into a process before the C library, it adds to the time of day what the file that CLOCK_FILE
// names holds, a number of seconds in 8 bytes of the machine's order. Clocks that only measure are left alone.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t none = 0, *offset = &none;

__attribute__((constructor)) static void load(void) {
	const char *name = getenv("CLOCK_FILE");
	int file = name ? open(name, O_RDONLY) : -1;
	if (file < 0) return;
	void *at = mmap(0, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
	if (at != MAP_FAILED) offset = at;
	close(file);
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
	static int (*real)(struct timeval *, void *);
	if (!real) real = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
	int result = real(now, zone);
	if (result == 0) now->tv_sec += *offset;
	return result;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
	static int (*real)(clockid_t, struct timespec *);
	if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	int result = real(clock, now);
	if (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += *offset;
	return result;
}

time_t time(time_t *result) {
	struct timeval now;
	gettimeofday(&now, 0);
	if (result) *result = now.tv_sec;
	return now.tv_sec;
}
