/*
 * One thread's loop over epoll. A turn sleeps until something can be done, reads the clock once, and then
 * does all of it in a fixed order. Objects may vanish at any moment of a turn: what was fetched for a watch
 * that is taken out is struck from the batch, so nothing is ever called for memory that its owner has back.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include "event/internal.h"

int event_loop_open(struct event_loop **out)
{
    void *memory;
    int failed = memory_open(sizeof(struct event_loop), &memory);
    if (failed) {
        return failed;
    }
    struct event_loop *loop = memory;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0) {
        failed = error_from_errno(errno);
        memory_close(loop, sizeof *loop);
        return failed;
    }
    loop->now = clock_monotonic();
    list_init(&loop->after);
    list_init(&loop->after_running);
    event_wheel_init(&loop->wheel, loop->now);
    *out = loop;
    return 0;
}

void event_loop_close(struct event_loop *loop)
{
    if (loop != NULL) {
        close(loop->epoll);
        memory_close(loop, sizeof *loop);
    }
}

/* Milliseconds for epoll_wait, rounded up so that nothing is early; -1 for without limit. */
static int sleep_time(const struct event_loop *loop, uint64_t wait)
{
    if (wait == 0 || !list_empty(&loop->after)) {
        return 0;
    }
    uint64_t next = event_wheel_next(&loop->wheel);
    if (next != UINT64_MAX) {
        uint64_t now = clock_monotonic(), left = next > now ? next - now : 0;
        wait = left < wait ? left : wait;
    }
    if (wait == UINT64_MAX) {
        return -1;
    }
    uint64_t milliseconds = wait / CLOCK_MILLISECOND + (wait % CLOCK_MILLISECOND != 0);
    return milliseconds < INT_MAX ? (int)milliseconds : INT_MAX;
}

static unsigned readiness_of(uint32_t events, unsigned wanted)
{
    if (events & (EPOLLHUP | EPOLLERR)) {
        return wanted & (EVENT_READ | EVENT_WRITE);
    }
    return ((events & EPOLLIN ? EVENT_READ : 0U) | (events & EPOLLOUT ? EVENT_WRITE : 0U)) & wanted;
}

/* Calls the watches of the batch that are mailboxes, or those that are not. */
static void call_ready(struct event_loop *loop, bool mailboxes)
{
    for (int i = 0; i < loop->fetched; i++) {
        struct event_watch *watch = loop->events[i].data.ptr;
        if (watch == NULL || event_mailbox_owns(watch) != mailboxes) {
            continue;
        }
        /* What was fetched may not be wanted any more. */
        unsigned readiness = readiness_of(loop->events[i].events, watch->wanted);
        loop->events[i].data.ptr = NULL;
        if (readiness != 0) {
            watch->ready(watch, readiness);
        }
    }
}

/* What is added meanwhile is for the next turn, which does not sleep: a turn always ends. */
static void run_after(struct event_loop *loop)
{
    struct list *node;
    list_move_all(&loop->after_running, &loop->after);
    while ((node = list_take_first(&loop->after_running)) != NULL) {
        struct event_after *after = container_of(node, struct event_after, link);
        after->work(after);
    }
}

void event_loop_turn(struct event_loop *loop, uint64_t wait)
{
    int fetched = epoll_wait(loop->epoll, loop->events, EVENT_BATCH, sleep_time(loop, wait));
    assert(fetched >= 0 || errno == EINTR);
    loop->fetched = fetched > 0 ? fetched : 0;
    loop->now = clock_monotonic();
    event_wheel_begin(&loop->wheel);
    call_ready(loop, true);
    call_ready(loop, false);
    loop->fetched = 0;
    event_wheel_fire(loop);
    run_after(loop);
}

void event_loop_run(struct event_loop *loop)
{
    while (!loop->stopped) {
        event_loop_turn(loop, UINT64_MAX);
    }
    loop->stopped = false;
}

void event_loop_stop(struct event_loop *loop)
{
    loop->stopped = true;
}

uint64_t event_now(const struct event_loop *loop)
{
    return loop->now;
}

/* A hang-up is reported whether wanted or not; a watch that wants nothing is edge-triggered, so that it comes
 * once and does not keep the loop awake. */
static uint32_t events_of(unsigned wanted)
{
    if (wanted == 0) {
        return EPOLLET;
    }
    return (wanted & EVENT_READ ? EPOLLIN : 0U) | (wanted & EVENT_WRITE ? EPOLLOUT : 0U) |
           (wanted & EVENT_EXCLUSIVE ? EPOLLEXCLUSIVE : 0U);
}

int event_watch_add(struct event_loop *loop, struct event_watch *watch, int descriptor, unsigned wanted)
{
    struct epoll_event event = {.events = events_of(wanted), .data.ptr = watch};
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, descriptor, &event) != 0) {
        return errno == ENOSPC ? ERROR_MEMORY : error_from_errno(errno);
    }
    watch->descriptor = descriptor;
    watch->wanted = wanted;
    watch->loop = loop;
    return 0;
}

void event_watch_change(struct event_watch *watch, unsigned wanted)
{
    assert(watch->loop != NULL);
    assert(!(watch->wanted & EVENT_EXCLUSIVE) && !(wanted & EVENT_EXCLUSIVE)); /* epoll_ctl(2) */
    if (wanted == watch->wanted) {
        return;
    }
    struct epoll_event event = {.events = events_of(wanted), .data.ptr = watch};
    int failed = epoll_ctl(watch->loop->epoll, EPOLL_CTL_MOD, watch->descriptor, &event);
    assert(!failed);
    watch->wanted = wanted;
}

void event_watch_remove(struct event_watch *watch)
{
    struct event_loop *loop = watch->loop;
    if (loop == NULL) {
        return;
    }
    int failed = epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watch->descriptor, NULL);
    assert(!failed);
    for (int i = 0; i < loop->fetched; i++) {
        if (loop->events[i].data.ptr == watch) {
            loop->events[i].data.ptr = NULL;
        }
    }
    watch->loop = NULL;
}

void event_after_init(struct event_after *after, void (*work)(struct event_after *))
{
    after->work = work;
    list_init(&after->link);
}

void event_after_add(struct event_loop *loop, struct event_after *after)
{
    if (!list_linked(&after->link)) {
        list_append(&loop->after, &after->link);
    }
}

void event_after_remove(struct event_after *after)
{
    list_remove(&after->link);
}
