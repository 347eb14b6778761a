/*
 * A loop without descriptors, in place of the one of the room event: a target that links this decides how the
 * time goes by.
 */
#ifndef FUZZ_PLAYED_LOOP_H
#define FUZZ_PLAYED_LOOP_H

#include "event/event.h"

struct event_loop {
    uint64_t now;
    struct list timers, after;
};

extern struct event_loop loop;

/* Does the after-work of a turn. */
void end_turn(void);

/* Lets the time go by, and fires in order what becomes due. */
void pass_time(uint64_t span);

#endif
