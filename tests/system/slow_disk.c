/* A disk that takes a second and a half for what is to be safe on it, to be preloaded by a program under
 * test. */
#include <time.h>
#include <unistd.h>

int fsync(int descriptor)
{
    const struct timespec slow = {.tv_sec = 1, .tv_nsec = 500000000};
    nanosleep(&slow, NULL);
    return descriptor >= 0 ? 0 : -1;
}
