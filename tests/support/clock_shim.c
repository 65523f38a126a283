/*
 * clock_shim.c - a preloaded library that sets the wall clock of one program, while it runs.
 *
 * The file $WIND_CLOCK holds how far the wall clock is off, an int64 in ns; it is mapped before
 * main, so that a process that may not open files any more sees it change all the same. The
 * monotonic clock stays as it is, as it does when an administrator or NTP sets the time.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset_ns;

__attribute__((constructor)) static void map_offset(void)
{
    const char *path = getenv("WIND_CLOCK");
    const int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        abort();
    void *at = mmap(NULL, sizeof(*offset_ns), PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        abort();
    offset_ns = at;
    (void)close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    const int r = (int)syscall(SYS_clock_gettime, clock, ret);

    if (offset_ns == NULL) /* a library that starts before us */
        return r;
    if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        const int64_t ns = ret->tv_sec * INT64_C(1000000000) + ret->tv_nsec + *offset_ns;
        *ret = (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    }
    return r;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    struct timespec t;

    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    *ret = (struct timeval){.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *ret)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    if (ret != NULL)
        *ret = t.tv_sec;
    return t.tv_sec;
}
