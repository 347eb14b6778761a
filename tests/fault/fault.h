/*
 * Faults on demand: every allocation and system call of the engine under test goes through functions of this
 * program, which count and, where the plan says so, fail. See README.md.
 */
#ifndef TESTS_FAULT_FAULT_H
#define TESTS_FAULT_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Calls that can fail, by the name that the command line knows. A bell is an eventfd, the channel the socket
 * to the supervisor: the kernel knows fewer ways for them to fail than for others. */
#define FAULT_CALLS(X) \
    X(malloc)          \
    X(calloc)          \
    X(realloc)         \
    X(aligned_alloc)   \
    X(mmap)            \
    X(epoll_create1)   \
    X(epoll_ctl)       \
    X(epoll_wait)      \
    X(eventfd)         \
    X(bell_read)       \
    X(bell_write)      \
    X(read)            \
    X(write)           \
    X(recv)            \
    X(sendmsg)         \
    X(recvmsg)         \
    X(recvmmsg)        \
    X(sendmmsg)        \
    X(channel_recvmsg) \
    X(channel_sendmsg) \
    X(accept4)         \
    X(socket)          \
    X(bind)            \
    X(connect)         \
    X(setsockopt)      \
    X(getsockopt)      \
    X(getsockname)     \
    X(getrandom)       \
    X(pthread_create)  \
    X(close)

enum fault_call {
#define X(name) FAULT_##name,
    FAULT_CALLS(X)
#undef X
        FAULT_CALL_COUNT
};

/* In the place of an error: the call does less than it was asked for. */
enum { FAULT_SHORT = -1, FAULT_ERRORS_MAX = 10, FAULT_FRAMES_MAX = 24 };

struct fault_kind {
    const char *name;
    int errors[FAULT_ERRORS_MAX]; /* ends with 0 */
};
extern const struct fault_kind fault_kinds[FAULT_CALL_COUNT];

const char *fault_error_name(int error);

/* Of one run, in memory that the engine's process shares with its driver. */
struct fault_page {
    /* The plan: the calls number `first` to `first + times - 1` fail, counted while armed. */
    atomic_bool armed;
    int call; /* -1: none */
    int error;
    unsigned first, times;
    int channel;
    bool talkative; /* tell on standard error where each fault strikes and who lost memory */
    /* What happened. */
    atomic_uint fired, counts[FAULT_CALL_COUNT];
    void *frames[FAULT_FRAMES_MAX]; /* where it struck first */
    int frame_count;
    atomic_uint turns; /* of all loops, armed or not */
    bool ended;        /* the engine's function has returned, and what follows is known */
    unsigned memory_lost, descriptors_lost;
};

/* From here on the calls of this process are under the page's plan, and its memory is watched. */
void fault_begin(struct fault_page *page);

/* Writes what was not given back since the begin to the page. */
void fault_end(void);

/* ---- for the functions that stand in the place of others ---- */

/* Whether this call is to fail; then errno is set. With `cut` the call may be told to do less instead. */
bool fault_strikes(enum fault_call call, bool *cut);

/* Whether memory of this thread is watched: not what the C library takes for a thread. */
bool fault_watches(void);
void fault_exempt(bool exempt);
struct fault_page *fault_current(void);

/* Memory that was taken and not given back (memory.c). */
unsigned fault_memory_lost(void);

#endif
