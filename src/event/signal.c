/*
 * Signals as readiness, through a signalfd. The monitor and the engine open one on their main thread before
 * they start others, so that the signals are blocked everywhere and arrive at this one place.
 */
#include <errno.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/error.h"

#include "event/internal.h"

/* One signal a call: the callback may take everything away, and epoll reports again while more wait. */
static void signal_ready(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    struct event_signals *signals = container_of(watch, struct event_signals, watch);
    struct signalfd_siginfo information;
    ssize_t size;
    do {
        size = read(watch->descriptor, &information, sizeof information);
    } while (size < 0 && errno == EINTR);
    if (size == sizeof information) {
        signals->arrived(signals, (int)information.ssi_signo);
    }
}

int event_signals_open(struct event_loop *loop, struct event_signals *signals, const sigset_t *set,
                       void (*arrived)(struct event_signals *, int))
{
    int failed = pthread_sigmask(SIG_BLOCK, set, NULL);
    if (failed) {
        return error_from_errno(failed);
    }
    int descriptor = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (descriptor < 0) {
        return error_from_errno(errno);
    }
    *signals = (struct event_signals){.arrived = arrived, .watch.ready = signal_ready};
    failed = event_watch_add(loop, &signals->watch, descriptor, EVENT_READ);
    if (failed) {
        close(descriptor);
    }
    return failed;
}

void event_signals_close(struct event_signals *signals)
{
    if (signals->watch.loop != NULL) {
        event_watch_remove(&signals->watch);
        close(signals->watch.descriptor);
    }
}
