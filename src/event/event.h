/*
 * Time and readiness: the only room with epoll. One loop a thread. A turn is always: read the clock, letters
 * of other threads, ready descriptors, timers that are due, after-work. An idle loop sleeps until something
 * happens: it has no heartbeat.
 *
 * All objects are the caller's memory and embed in the caller's own; container_of leads back. An object may
 * be taken out, and its memory reused, at any moment, also from inside a callback of the same turn.
 */
#ifndef EVENT_EVENT_H
#define EVENT_EVENT_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/* EXCLUSIVE: of several loops that watch one socket only as many wake as it takes (EPOLLEXCLUSIVE); such a
 * watch cannot be changed, only removed and added again. */
enum { EVENT_READ = 1, EVENT_WRITE = 2, EVENT_EXCLUSIVE = 4 };

struct event_loop;

/* A descriptor that is watched. A hang-up or error is reported as every kind of readiness that was asked for.
 */
struct event_watch {
    void (*ready)(struct event_watch *watch, unsigned readiness);
    int descriptor;
    unsigned wanted;
    struct event_loop *loop; /* NULL while not watched */
};

/* Something that happens once at a moment. Precision: a millisecond, never early. */
struct event_timer {
    void (*fire)(struct event_timer *timer);
    struct list link;
    uint64_t due;
    struct event_loop *loop; /* NULL while not set */
};

/* Something that is done at the end of this turn, once, however often it was asked for. */
struct event_after {
    void (*work)(struct event_after *after);
    struct list link; /* list_init before the first use: event_after_init */
};

/* ---- the loop (loop.c) ---- */

/* A loop with its timers; the caller closes it, after taking everything out. ERROR_MEMORY, ERROR_DESCRIPTORS.
 */
int event_loop_open(struct event_loop **out);
void event_loop_close(struct event_loop *loop);

/* Turns until event_loop_stop. */
void event_loop_run(struct event_loop *loop);

/* One turn; waits at most `wait` nanoseconds for something to do (UINT64_MAX: as long as it takes). */
void event_loop_turn(struct event_loop *loop, uint64_t wait);

/* The run ends with this turn. */
void event_loop_stop(struct event_loop *loop);

/* Monotonic time of this turn. */
uint64_t event_now(const struct event_loop *loop);

/* Watches the descriptor; `watch->ready` is set by the caller. ERROR_MEMORY. */
int event_watch_add(struct event_loop *loop, struct event_watch *watch, int descriptor, unsigned wanted);

/* Changes what is waited for; nothing is done when it is the same. */
void event_watch_change(struct event_watch *watch, unsigned wanted);

/* Stops watching; the descriptor stays open. Harmless when not watched. */
void event_watch_remove(struct event_watch *watch);

void event_after_init(struct event_after *after, void (*work)(struct event_after *));
void event_after_add(struct event_loop *loop, struct event_after *after);
void event_after_remove(struct event_after *after);

/* ---- timers (timer.c) ---- */

void event_timer_init(struct event_timer *timer, void (*fire)(struct event_timer *));

/* Sets or moves the timer to `due` on the loop's clock; a moment that has passed fires in the next turn's
 * timers. */
void event_timer_set(struct event_loop *loop, struct event_timer *timer, uint64_t due);
void event_timer_clear(struct event_timer *timer);
static inline bool event_timer_pending(const struct event_timer *timer)
{
    return timer->loop != NULL;
}

/* ---- letters (mailbox.c) ---- */

/* Wakes a loop from another thread. Many posts before the loop looks are one call of `opened`. */
struct event_mailbox {
    void (*opened)(struct event_mailbox *mailbox);
    struct event_watch watch;
    atomic_bool posted;
};

int event_mailbox_open(struct event_loop *loop, struct event_mailbox *mailbox,
                       void (*opened)(struct event_mailbox *));
void event_mailbox_close(struct event_mailbox *mailbox);

/* From any thread. Writes made before the post are seen by `opened`. */
void event_mailbox_post(struct event_mailbox *mailbox);

/* ---- signals (signal.c) ---- */

/* Signals as readiness. They are blocked for the calling thread and its later threads. */
struct event_signals {
    void (*arrived)(struct event_signals *signals, int number);
    struct event_watch watch;
};

int event_signals_open(struct event_loop *loop, struct event_signals *signals, const sigset_t *set,
                       void (*arrived)(struct event_signals *, int));
void event_signals_close(struct event_signals *signals);

#endif
