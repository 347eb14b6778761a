/*
 * A wall clock for the program under test that the test sets, to be preloaded: every clock_gettime of
 * CLOCK_REALTIME is moved by the seconds that the file named by SHIFTED_CLOCK holds at this moment. The file
 * is mapped, so that a process that may open nothing any more goes on seeing it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void map_shift(void)
{
    int descriptor = open(getenv("SHIFTED_CLOCK"), O_RDONLY | O_CLOEXEC);
    void *memory = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, descriptor, 0);
    if (descriptor < 0 || memory == MAP_FAILED) {
        abort();
    }
    close(descriptor);
    shift = memory;
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    if (real_clock_gettime == NULL) {
        *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    }
    int result = real_clock_gettime(id, now);
    if (result == 0 && id == CLOCK_REALTIME && shift != NULL) {
        now->tv_sec += (time_t)*shift;
    }
    return result;
}
