/*
 * System calls, in the place of the C library's: they count, and fail as the plan says. Definitions in the
 * program itself come before all libraries, so that OpenSSL's calls come this way as well.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"

enum { BELL_SIZE = 8 };

/* The function beneath, found when it is needed first. */
#define BENEATH(name)                        \
    ((__typeof__(name) *)({                  \
        static _Atomic(void *) found;        \
        void *known = atomic_load(&found);   \
        if (known == NULL) {                 \
            known = dlsym(RTLD_NEXT, #name); \
            atomic_store(&found, known);     \
        }                                    \
        known;                               \
    }))

static bool is_channel(int descriptor)
{
    return fault_current() != NULL && fault_current()->channel == descriptor;
}

/* ---- bytes ---- */

ssize_t read(int descriptor, void *out, size_t size)
{
    bool cut = false;
    if (fault_strikes(size == BELL_SIZE ? FAULT_bell_read : FAULT_read, &cut)) {
        return -1;
    }
    return BENEATH(read)(descriptor, out, cut ? 1 : size);
}

ssize_t write(int descriptor, const void *bytes, size_t size)
{
    bool cut = false;
    if (fault_strikes(size == BELL_SIZE ? FAULT_bell_write : FAULT_write, &cut)) {
        return -1;
    }
    return BENEATH(write)(descriptor, bytes, cut ? 1 : size);
}

ssize_t recv(int descriptor, void *out, size_t size, int flags)
{
    bool cut = false;
    return fault_strikes(FAULT_recv, &cut) ? -1 : BENEATH(recv)(descriptor, out, cut ? 1 : size, flags);
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags)
{
    bool cut = false;
    if (fault_strikes(is_channel(descriptor) ? FAULT_channel_sendmsg : FAULT_sendmsg, &cut)) {
        return -1;
    }
    struct msghdr less = *message;
    struct iovec first = message->msg_iov[0];
    if (cut && first.iov_len > 0) {
        first.iov_len = 1;
        less.msg_iov = &first;
        less.msg_iovlen = 1;
    }
    return BENEATH(sendmsg)(descriptor, &less, flags);
}

ssize_t recvmsg(int descriptor, struct msghdr *message, int flags)
{
    if (fault_strikes(is_channel(descriptor) ? FAULT_channel_recvmsg : FAULT_recvmsg, NULL)) {
        return -1;
    }
    return BENEATH(recvmsg)(descriptor, message, flags);
}

int recvmmsg(int descriptor, struct mmsghdr *messages, unsigned count, int flags, struct timespec *limit)
{
    bool cut = false;
    return fault_strikes(FAULT_recvmmsg, &cut)
               ? -1
               : BENEATH(recvmmsg)(descriptor, messages, cut ? 1 : count, flags, limit);
}

int sendmmsg(int descriptor, struct mmsghdr *messages, unsigned count, int flags)
{
    bool cut = false;
    return fault_strikes(FAULT_sendmmsg, &cut)
               ? -1
               : BENEATH(sendmmsg)(descriptor, messages, cut ? 1 : count, flags);
}

/* ---- sockets ---- */

int socket(int domain, int type, int protocol)
{
    return fault_strikes(FAULT_socket, NULL) ? -1 : BENEATH(socket)(domain, type, protocol);
}

int bind(int descriptor, const struct sockaddr *name, socklen_t size)
{
    return fault_strikes(FAULT_bind, NULL) ? -1 : BENEATH(bind)(descriptor, name, size);
}

/* What is interrupted goes on by itself. */
int connect(int descriptor, const struct sockaddr *name, socklen_t size)
{
    if (!fault_strikes(FAULT_connect, NULL)) {
        return BENEATH(connect)(descriptor, name, size);
    }
    int number = errno;
    if (number == EINTR) {
        BENEATH(connect)(descriptor, name, size);
    }
    errno = number;
    return -1;
}

int accept4(int descriptor, struct sockaddr *name, socklen_t *size, int flags)
{
    return fault_strikes(FAULT_accept4, NULL) ? -1 : BENEATH(accept4)(descriptor, name, size, flags);
}

int setsockopt(int descriptor, int level, int option, const void *value, socklen_t size)
{
    return fault_strikes(FAULT_setsockopt, NULL)
               ? -1
               : BENEATH(setsockopt)(descriptor, level, option, value, size);
}

int getsockopt(int descriptor, int level, int option, void *value, socklen_t *size)
{
    return fault_strikes(FAULT_getsockopt, NULL)
               ? -1
               : BENEATH(getsockopt)(descriptor, level, option, value, size);
}

int getsockname(int descriptor, struct sockaddr *name, socklen_t *size)
{
    return fault_strikes(FAULT_getsockname, NULL) ? -1 : BENEATH(getsockname)(descriptor, name, size);
}

/* The descriptor is closed whatever the call says. */
int close(int descriptor)
{
    int result = BENEATH(close)(descriptor);
    return fault_strikes(FAULT_close, NULL) ? -1 : result;
}

/* ---- the loop ---- */

int epoll_create1(int flags)
{
    return fault_strikes(FAULT_epoll_create1, NULL) ? -1 : BENEATH(epoll_create1)(flags);
}

int epoll_ctl(int loop, int operation, int descriptor, struct epoll_event *event)
{
    if (operation == EPOLL_CTL_ADD && fault_strikes(FAULT_epoll_ctl, NULL)) {
        return -1;
    }
    return BENEATH(epoll_ctl)(loop, operation, descriptor, event);
}

int epoll_wait(int loop, struct epoll_event *events, int most, int patience)
{
    bool cut = false;
    if (fault_current() != NULL) {
        atomic_fetch_add(&fault_current()->turns, 1);
    }
    return fault_strikes(FAULT_epoll_wait, &cut)
               ? -1
               : BENEATH(epoll_wait)(loop, events, cut ? 1 : most, patience);
}

int eventfd(unsigned value, int flags)
{
    return fault_strikes(FAULT_eventfd, NULL) ? -1 : BENEATH(eventfd)(value, flags);
}

/* ---- others ---- */

void *mmap(void *hint, size_t size, int protection, int flags, int descriptor, off_t offset)
{
    return fault_strikes(FAULT_mmap, NULL) ? MAP_FAILED
                                           : BENEATH(mmap)(hint, size, protection, flags, descriptor, offset);
}

ssize_t getrandom(void *out, size_t size, unsigned flags)
{
    bool cut = false;
    return fault_strikes(FAULT_getrandom, &cut) ? -1 : BENEATH(getrandom)(out, cut ? 1 : size, flags);
}

struct thread {
    void *(*run)(void *);
    void *argument;
};

static void *begin(void *argument)
{
    struct thread thread = *(struct thread *)argument;
    free(argument);
    fault_exempt(false);
    void *result = thread.run(thread.argument);
    fault_exempt(true);
    return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
    if (!fault_watches()) {
        return BENEATH(pthread_create)(thread, attributes, run, argument);
    }
    if (fault_strikes(FAULT_pthread_create, NULL)) {
        return EAGAIN;
    }
    fault_exempt(true);
    struct thread *watched = malloc(sizeof *watched);
    *watched = (struct thread){.run = run, .argument = argument};
    int result = BENEATH(pthread_create)(thread, attributes, begin, watched);
    fault_exempt(false);
    return result;
}
