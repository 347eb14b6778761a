/*
 * What the files of this room know of each other: the loop and its wheel of timers.
 *
 * The wheel has levels of 64 slots; a tick is a millisecond. A timer stands on the level of the highest
 * six-bit group in which its tick differs from the wheel's, in the slot that this group of its tick names. So
 * every timer of a level is due before every timer of the levels above, the slots of a level are in order,
 * and the levels reach farther than 64 bits of nanoseconds.
 */
#ifndef EVENT_INTERNAL_H
#define EVENT_INTERNAL_H

#include <sys/epoll.h>

#include "event/event.h"

enum {
    EVENT_WHEEL_BITS = 6,
    EVENT_WHEEL_SLOTS = 1 << EVENT_WHEEL_BITS,
    EVENT_WHEEL_LEVELS = 8,
    EVENT_BATCH = 128
};

struct event_wheel {
    uint64_t tick; /* every timer of this tick and before has been handed out */
    uint64_t occupied[EVENT_WHEEL_LEVELS];
    struct list slots[EVENT_WHEEL_LEVELS][EVENT_WHEEL_SLOTS];
    struct list due;  /* to fire in this turn */
    struct list late; /* were set when their moment had passed: to fire in the next turn */
};

struct event_loop {
    uint64_t now;
    int epoll;
    bool stopped;
    int fetched; /* of `events`, in this turn */
    struct epoll_event events[EVENT_BATCH];
    struct list after;
    struct list after_running;
    struct event_wheel wheel;
};

void event_wheel_init(struct event_wheel *wheel, uint64_t now);

/* A turn begins: what was late when it was set is due now. */
void event_wheel_begin(struct event_wheel *wheel);

/* Fires what is due at the loop's time. */
void event_wheel_fire(struct event_loop *loop);

/* The next moment at which the wheel wants to be looked at; UINT64_MAX for never. It is the moment of the
 * next timer, except that a crowded slot is opened at its start. */
uint64_t event_wheel_next(const struct event_wheel *wheel);

/* Whether the watch is a mailbox's: letters are read before other descriptors. */
bool event_mailbox_owns(const struct event_watch *watch);

#endif
