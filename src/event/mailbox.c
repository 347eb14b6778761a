/*
 * A bell between threads: an eventfd that is rung once for any number of posts that the loop has not looked
 * at. What the letters say lies elsewhere, in memory that both sides know.
 */
#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"

#include "event/internal.h"

static void bell_ready(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    struct event_mailbox *mailbox = container_of(watch, struct event_mailbox, watch);
    uint64_t count;
    while (read(watch->descriptor, &count, sizeof count) < 0 && errno == EINTR) {}
    /* Taken down before looking, with everything that was written before the posts: a later post rings again.
     */
    atomic_exchange_explicit(&mailbox->posted, false, memory_order_acq_rel);
    mailbox->opened(mailbox);
}

bool event_mailbox_owns(const struct event_watch *watch)
{
    return watch->ready == bell_ready;
}

int event_mailbox_open(struct event_loop *loop, struct event_mailbox *mailbox,
                       void (*opened)(struct event_mailbox *))
{
    int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (bell < 0) {
        return error_from_errno(errno);
    }
    *mailbox = (struct event_mailbox){.opened = opened, .watch.ready = bell_ready};
    int failed = event_watch_add(loop, &mailbox->watch, bell, EVENT_READ);
    if (failed) {
        close(bell);
    }
    return failed;
}

void event_mailbox_close(struct event_mailbox *mailbox)
{
    if (mailbox->watch.loop != NULL) {
        event_watch_remove(&mailbox->watch);
        close(mailbox->watch.descriptor);
    }
}

void event_mailbox_post(struct event_mailbox *mailbox)
{
    if (atomic_exchange_explicit(&mailbox->posted, true, memory_order_acq_rel)) {
        return;
    }
    const uint64_t one = 1;
    ssize_t written;
    do {
        written = write(mailbox->watch.descriptor, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
    assert(written == sizeof one);
}
