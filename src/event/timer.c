/*
 * A hierarchical wheel of timers (Varghese and Lauck 1987) with a bit for every occupied slot; see
 * internal.h. Setting and clearing take constant time, a timer moves down at most once a level, and nothing
 * happens in between: the loop asks for the next moment and sleeps until then.
 */
#include "base/clock.h"

#include "event/internal.h"

/* Timers of a slot that are looked at to find the first; a slot with more is opened at its start instead. */
enum { SCAN_MAX = 32 };

/* A timer's tick is the first that is not before its moment. */
static uint64_t tick_of(uint64_t due)
{
    return due / CLOCK_MILLISECOND + (due % CLOCK_MILLISECOND != 0);
}

static void place(struct event_wheel *wheel, struct event_timer *timer)
{
    uint64_t tick = tick_of(timer->due), difference = tick ^ wheel->tick;
    unsigned level = difference == 0 ? 0 : (63 - (unsigned)__builtin_clzll(difference)) / EVENT_WHEEL_BITS;
    uint64_t slot = tick >> level * EVENT_WHEEL_BITS & (EVENT_WHEEL_SLOTS - 1);
    wheel->occupied[level] |= UINT64_C(1) << slot;
    list_append(&wheel->slots[level][slot], &timer->link);
}

/* Takes a timer out of the list it is in. When that leaves a slot empty, its bit goes too: the only other
 * node of such a ring is the slot itself. */
static void unlink_timer(struct event_wheel *wheel, struct event_timer *timer)
{
    struct list *other = timer->link.next;
    list_remove(&timer->link);
    struct list *first = &wheel->slots[0][0], *end = first + EVENT_WHEEL_LEVELS * EVENT_WHEEL_SLOTS;
    if (list_empty(other) && other >= first && other < end) {
        size_t index = (size_t)(other - first);
        wheel->occupied[index / EVENT_WHEEL_SLOTS] &= ~(UINT64_C(1) << index % EVENT_WHEEL_SLOTS);
    }
}

/* The first occupied slot in time, and the tick at which it begins. */
static bool first_slot(const struct event_wheel *wheel, unsigned *level, unsigned *slot, uint64_t *start)
{
    for (unsigned i = 0; i < EVENT_WHEEL_LEVELS; i++) {
        if (wheel->occupied[i] != 0) {
            unsigned shift = i * EVENT_WHEEL_BITS;
            *level = i;
            *slot = (unsigned)__builtin_ctzll(wheel->occupied[i]);
            *start = (wheel->tick >> shift >> EVENT_WHEEL_BITS << EVENT_WHEEL_BITS | *slot) << shift;
            return true;
        }
    }
    return false;
}

/* Hands out or moves down everything up to `tick`, slot by slot, so that timers come in the order of their
 * ticks. */
static void advance(struct event_wheel *wheel, uint64_t tick)
{
    unsigned level, slot;
    uint64_t start;
    while (first_slot(wheel, &level, &slot, &start) && start <= tick) {
        struct list timers, *node;
        list_init(&timers);
        list_move_all(level == 0 ? &wheel->due : &timers, &wheel->slots[level][slot]);
        wheel->occupied[level] &= ~(UINT64_C(1) << slot);
        wheel->tick = start;
        while ((node = list_take_first(&timers)) != NULL) {
            place(wheel, container_of(node, struct event_timer, link));
        }
    }
    wheel->tick = tick;
}

void event_wheel_init(struct event_wheel *wheel, uint64_t now)
{
    wheel->tick = now / CLOCK_MILLISECOND;
    list_init(&wheel->due);
    list_init(&wheel->late);
    for (unsigned level = 0; level < EVENT_WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < EVENT_WHEEL_SLOTS; slot++) {
            list_init(&wheel->slots[level][slot]);
        }
    }
}

void event_wheel_begin(struct event_wheel *wheel)
{
    list_move_all(&wheel->due, &wheel->late);
}

void event_wheel_fire(struct event_loop *loop)
{
    struct event_wheel *wheel = &loop->wheel;
    struct list *node;
    advance(wheel, loop->now / CLOCK_MILLISECOND);
    while ((node = list_take_first(&wheel->due)) != NULL) {
        struct event_timer *timer = container_of(node, struct event_timer, link);
        timer->loop = NULL;
        timer->fire(timer);
    }
}

uint64_t event_wheel_next(const struct event_wheel *wheel)
{
    unsigned level, slot, seen = 0;
    uint64_t start, first = UINT64_MAX;
    if (!list_empty(&wheel->late)) {
        return 0;
    }
    if (!first_slot(wheel, &level, &slot, &start)) {
        return UINT64_MAX;
    }
    if (level == 0) {
        return start * CLOCK_MILLISECOND;
    }
    const struct list *head = &wheel->slots[level][slot];
    for (const struct list *node = head->next; node != head; node = node->next) {
        uint64_t tick = tick_of(container_of(node, struct event_timer, link)->due);
        first = tick < first ? tick : first;
        if (++seen == SCAN_MAX) {
            first = start;
            break;
        }
    }
    return first > UINT64_MAX / CLOCK_MILLISECOND ? UINT64_MAX : first * CLOCK_MILLISECOND;
}

void event_timer_init(struct event_timer *timer, void (*fire)(struct event_timer *))
{
    *timer = (struct event_timer){.fire = fire};
    list_init(&timer->link);
}

void event_timer_set(struct event_loop *loop, struct event_timer *timer, uint64_t due)
{
    event_timer_clear(timer);
    timer->loop = loop;
    timer->due = due;
    if (due <= loop->now) {
        list_append(&loop->wheel.late, &timer->link);
    } else {
        place(&loop->wheel, timer);
    }
}

void event_timer_clear(struct event_timer *timer)
{
    if (timer->loop != NULL) {
        unlink_timer(&timer->loop->wheel, timer);
        timer->loop = NULL;
    }
}
