/*
 * Signs of life: the engine is asked whether the loop of each of its workers turns, by request of whoever
 * asks for its health, and as often as a service manager's watchdog wants. The supervisor lends its channel
 * to the engine, and tells what comes back. Without a watchdog nothing happens here by itself.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"

#include "monitor/internal.h"

/* A loop that turns answers within milliseconds; one that takes longer serves nobody in time. */
#define PATIENCE CLOCK_SECOND

struct pulse {
    const struct service *service;
    struct event_loop *loop;
    struct event_timer beat; /* of the watchdog */
    struct list waiting;     /* the one that waits longest is the first */
    void (*ask)(void *owner);
    void *owner;
};

static uint64_t interval_of(const struct pulse *pulse)
{
    return pulse->service == NULL ? 0 : pulse->service->watchdog / 2;
}

static void on_beat(struct event_timer *timer)
{
    struct pulse *pulse = container_of(timer, struct pulse, beat);
    pulse->ask(pulse->owner);
    event_timer_set(pulse->loop, timer, event_now(pulse->loop) + interval_of(pulse));
}

int pulse_open(struct boot *boot, struct event_loop *loop, void (*ask)(void *owner), void *owner)
{
    struct pulse *pulse = calloc(1, sizeof *pulse);
    if (pulse == NULL) {
        return ERROR_MEMORY;
    }
    *pulse = (struct pulse){.service = boot->service, .loop = loop, .ask = ask, .owner = owner};
    event_timer_init(&pulse->beat, on_beat);
    list_init(&pulse->waiting);
    if (interval_of(pulse) > 0) {
        event_timer_set(loop, &pulse->beat, event_now(loop) + interval_of(pulse));
    }
    boot->pulse = pulse;
    return 0;
}

void pulse_close(struct pulse *pulse)
{
    if (pulse != NULL) {
        pulse_tell(pulse, false);
        event_timer_clear(&pulse->beat);
        free(pulse);
    }
}

static void tell(struct pulse_wait *wait, bool alive)
{
    pulse_forget(wait);
    wait->told(wait, alive);
}

static void on_patience(struct event_timer *timer)
{
    tell(container_of(timer, struct pulse_wait, patience), false);
}

void pulse_ask(struct pulse *pulse, struct pulse_wait *wait)
{
    event_timer_init(&wait->patience, on_patience);
    event_timer_set(pulse->loop, &wait->patience, event_now(pulse->loop) + PATIENCE);
    list_append(&pulse->waiting, &wait->link);
    pulse->ask(pulse->owner);
}

void pulse_forget(struct pulse_wait *wait)
{
    event_timer_clear(&wait->patience);
    list_remove(&wait->link);
}

void pulse_tell(struct pulse *pulse, bool alive)
{
    struct list *node;
    struct list told;
    if (alive) {
        service_watchdog(pulse->service);
    }
    list_init(&told);
    list_move_all(&told, &pulse->waiting);
    while ((node = list_take_first(&told)) != NULL) {
        tell(container_of(node, struct pulse_wait, link), alive);
    }
}
