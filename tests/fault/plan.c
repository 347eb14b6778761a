/*
 * The plan of a run: which call fails, how often each was made, and what is left over in the end. Called by
 * the functions that stand in the place of others (calls.c, memory.c) and by the engine's process around its
 * run.
 */
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"

enum { DESCRIPTORS_MAX = 512 };

/* What Linux really says there. epoll_ctl: only adding can fail. */
const struct fault_kind fault_kinds[FAULT_CALL_COUNT] = {
    [FAULT_malloc] = {"malloc", {ENOMEM}},
    [FAULT_calloc] = {"calloc", {ENOMEM}},
    [FAULT_realloc] = {"realloc", {ENOMEM}},
    [FAULT_aligned_alloc] = {"aligned_alloc", {ENOMEM}},
    [FAULT_mmap] = {"mmap", {ENOMEM}},
    [FAULT_epoll_create1] = {"epoll_create1", {EMFILE, ENFILE, ENOMEM}},
    [FAULT_epoll_ctl] = {"epoll_ctl", {ENOMEM, ENOSPC}},
    [FAULT_epoll_wait] = {"epoll_wait", {EINTR, FAULT_SHORT}},
    [FAULT_eventfd] = {"eventfd", {EMFILE, ENFILE, ENOMEM}},
    [FAULT_bell_read] = {"bell_read", {EINTR, EAGAIN}},
    [FAULT_bell_write] = {"bell_write", {EINTR}},
    [FAULT_read] = {"read", {EINTR, EAGAIN, ECONNRESET, ETIMEDOUT, ENOBUFS, ENOMEM, FAULT_SHORT}},
    [FAULT_write] = {"write", {EINTR, EAGAIN, ECONNRESET, EPIPE, ENOBUFS, ENOMEM, ENOSPC, FAULT_SHORT}},
    [FAULT_recv] = {"recv", {EINTR, EAGAIN, ECONNRESET, ETIMEDOUT, ENOBUFS, ENOMEM, FAULT_SHORT}},
    [FAULT_sendmsg] = {"sendmsg",
                       {EINTR, EAGAIN, ECONNREFUSED, ECONNRESET, EPIPE, ENOBUFS, ENOMEM, FAULT_SHORT}},
    [FAULT_recvmsg] = {"recvmsg", {EINTR, EAGAIN, ECONNREFUSED, ENOBUFS, ENOMEM}},
    [FAULT_recvmmsg] = {"recvmmsg", {EINTR, EAGAIN, ECONNREFUSED, ECONNRESET, ENOBUFS, ENOMEM, FAULT_SHORT}},
    [FAULT_sendmmsg] = {"sendmmsg",
                        {EINTR, EAGAIN, ECONNREFUSED, EPERM, ENETUNREACH, ENOBUFS, ENOMEM, FAULT_SHORT}},
    [FAULT_channel_recvmsg] = {"channel_recvmsg", {EINTR, EAGAIN, ENOMEM}},
    [FAULT_channel_sendmsg] = {"channel_sendmsg", {EINTR, EAGAIN, ENOBUFS, ENOMEM}},
    [FAULT_accept4] = {"accept4", {EINTR, EAGAIN, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM}},
    [FAULT_socket] = {"socket", {EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES}},
    [FAULT_bind] = {"bind", {EADDRINUSE, ENOMEM, EACCES}},
    [FAULT_connect] = {"connect",
                       {EINTR, EAGAIN, EADDRNOTAVAIL, ECONNREFUSED, ENETUNREACH, ENOBUFS, ENOMEM, EPERM}},
    [FAULT_setsockopt] = {"setsockopt", {EINVAL, ENOBUFS, ENOMEM}},
    [FAULT_getsockopt] = {"getsockopt", {ENOBUFS, ENOMEM}},
    [FAULT_getsockname] = {"getsockname", {ENOBUFS}},
    [FAULT_getrandom] = {"getrandom", {EINTR, FAULT_SHORT}},
    [FAULT_pthread_create] = {"pthread_create", {EAGAIN}},
    [FAULT_close] = {"close", {EINTR}},
};

static struct fault_page *current;
static bool descriptors_before[DESCRIPTORS_MAX];
/* Threads are the C library's, or a sanitizer's, until their function is called. */
static _Thread_local bool exempted = true;

const char *fault_error_name(int error)
{
    return error == FAULT_SHORT ? "short" : strerrorname_np(error);
}

struct fault_page *fault_current(void)
{
    return current;
}

bool fault_watches(void)
{
    return current != NULL && !exempted;
}

void fault_exempt(bool exempt)
{
    exempted = exempt;
}

/* The page keeps the first place alone: several threads may be struck at once. */
static void note_place(enum fault_call call, unsigned number, bool is_first)
{
    exempted = true;
    void *frames[FAULT_FRAMES_MAX];
    int count = backtrace(frames, FAULT_FRAMES_MAX);
    if (is_first) {
        current->frame_count = count;
        memcpy(current->frames, frames, sizeof(frames));
    }
    if (current->talkative) {
        fprintf(stderr, "fault: %s %u says %s\n", fault_kinds[call].name, number,
                fault_error_name(current->error));
        backtrace_symbols_fd(frames, count, STDERR_FILENO);
    }
    exempted = false;
}

bool fault_strikes(enum fault_call call, bool *cut)
{
    if (!fault_watches() || !atomic_load(&current->armed)) {
        return false;
    }
    unsigned number = atomic_fetch_add(&current->counts[call], 1) + 1;
    if (current->call != (int)call || number < current->first || number - current->first >= current->times) {
        return false;
    }
    note_place(call, number, atomic_fetch_add(&current->fired, 1) == 0);
    if (current->error == FAULT_SHORT) {
        *cut = true;
        return false;
    }
    errno = current->error;
    return true;
}

static bool is_open(int descriptor)
{
    return fcntl(descriptor, F_GETFD) >= 0;
}

void fault_begin(struct fault_page *page)
{
    void *frame;
    tzset(); /* what the C library keeps for good */
    (void)backtrace(&frame, 1);
    for (int i = 0; i < DESCRIPTORS_MAX; i++) {
        descriptors_before[i] = is_open(i);
    }
    current = page;
    exempted = false;
}

/* In its sandbox the engine may not ask for a descriptor's flags any more: closing it tells as well. */
void fault_end(void)
{
    atomic_store(&current->armed, false);
    current->memory_lost = fault_memory_lost();
    for (int i = 0; i < DESCRIPTORS_MAX; i++) {
        current->descriptors_lost += descriptors_before[i] != (close(i) == 0);
    }
    current->ended = true;
}
