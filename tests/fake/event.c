/*
 * A fake of src/event: the clock stands still until a test moves it, readiness is what the fake sockets say,
 * and timers stand in one sorted list.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"

#include "fake/fake.h"

enum { WATCHES_MAX = 4096, TURNS_MAX = 2000 };

struct event_loop {
    uint64_t now;
    struct list timers; /* the next first */
    struct list after;
    size_t watch_count;
    struct event_watch *watch[WATCHES_MAX];
};

int event_loop_open(struct event_loop **out)
{
    struct event_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        return ERROR_MEMORY;
    }
    loop->now = 3600 * CLOCK_SECOND;
    list_init(&loop->timers);
    list_init(&loop->after);
    *out = loop;
    return 0;
}

void event_loop_close(struct event_loop *loop)
{
    free(loop);
}

uint64_t event_now(const struct event_loop *loop)
{
    return loop->now;
}

/* ---- watches ---- */

int event_watch_add(struct event_loop *loop, struct event_watch *watch, int descriptor, unsigned wanted)
{
    assert(loop->watch_count < WATCHES_MAX);
    watch->descriptor = descriptor;
    watch->wanted = wanted;
    watch->loop = loop;
    loop->watch[loop->watch_count++] = watch;
    return 0;
}

void event_watch_change(struct event_watch *watch, unsigned wanted)
{
    assert(watch->loop != NULL);
    watch->wanted = wanted;
}

void event_watch_remove(struct event_watch *watch)
{
    struct event_loop *loop = watch->loop;
    for (size_t i = 0; loop != NULL && i < loop->watch_count; i++) {
        if (loop->watch[i] == watch) {
            loop->watch[i] = loop->watch[--loop->watch_count];
            break;
        }
    }
    watch->loop = NULL;
}

/* ---- after-work ---- */

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

/* ---- timers ---- */

static struct event_timer *timer_of(struct list *node)
{
    return container_of(node, struct event_timer, link);
}

void event_timer_init(struct event_timer *timer, void (*fire)(struct event_timer *))
{
    *timer = (struct event_timer){.fire = fire};
    list_init(&timer->link);
}

void event_timer_set(struct event_loop *loop, struct event_timer *timer, uint64_t due)
{
    list_remove(&timer->link);
    struct list *place = loop->timers.next;
    while (place != &loop->timers && timer_of(place)->due <= due) {
        place = place->next;
    }
    list_insert_before(place, &timer->link);
    timer->due = due;
    timer->loop = loop;
}

void event_timer_clear(struct event_timer *timer)
{
    list_remove(&timer->link);
    timer->loop = NULL;
}

/* ---- turns ---- */

/* The first watch that is ready and was not called in this turn; the set may change with every call. */
static struct event_watch *next_ready(struct event_loop *loop, struct event_watch **called, size_t count)
{
    for (size_t i = 0; i < loop->watch_count; i++) {
        bool done = (fake_net_readiness(loop->watch[i]->descriptor) & loop->watch[i]->wanted) == 0;
        for (size_t j = 0; j < count && !done; j++) {
            done = called[j] == loop->watch[i];
        }
        if (!done) {
            return loop->watch[i];
        }
    }
    return NULL;
}

static bool call_ready(struct event_loop *loop)
{
    struct event_watch *called[WATCHES_MAX], *watch;
    size_t count = 0;
    while (count < WATCHES_MAX && (watch = next_ready(loop, called, count)) != NULL) {
        called[count++] = watch;
        watch->ready(watch, fake_net_readiness(watch->descriptor) & watch->wanted);
    }
    return count > 0;
}

/* What is set while timers fire is for the next turn where its moment has passed already. */
static bool fire_timers(struct event_loop *loop)
{
    struct list due;
    list_init(&due);
    while (!list_empty(&loop->timers) && timer_of(loop->timers.next)->due <= loop->now) {
        list_append(&due, list_take_first(&loop->timers));
    }
    bool any = !list_empty(&due);
    struct list *node;
    while ((node = list_take_first(&due)) != NULL) {
        timer_of(node)->loop = NULL;
        timer_of(node)->fire(timer_of(node));
    }
    return any;
}

static bool run_after(struct event_loop *loop)
{
    struct list running;
    list_init(&running);
    list_move_all(&running, &loop->after);
    bool any = !list_empty(&running);
    struct list *node;
    while ((node = list_take_first(&running)) != NULL) {
        struct event_after *after = container_of(node, struct event_after, link);
        after->work(after);
    }
    return any;
}

bool fake_event_settle(struct event_loop *loop)
{
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        bool ready = call_ready(loop), fired = fire_timers(loop), after = run_after(loop);
        if (!ready && !fired && !after) {
            return true;
        }
    }
    return false;
}

bool fake_event_advance(struct event_loop *loop, uint64_t nanoseconds)
{
    uint64_t end = loop->now + nanoseconds;
    bool quiet = fake_event_settle(loop);
    while (quiet && !list_empty(&loop->timers) && timer_of(loop->timers.next)->due <= end) {
        loop->now = timer_of(loop->timers.next)->due;
        quiet = fake_event_settle(loop);
    }
    loop->now = end;
    return quiet;
}

size_t fake_event_leftovers(const struct event_loop *loop)
{
    size_t count = loop->watch_count;
    for (const struct list *node = loop->timers.next; node != &loop->timers; node = node->next) {
        count++;
    }
    for (const struct list *node = loop->after.next; node != &loop->after; node = node->next) {
        count++;
    }
    return count;
}
