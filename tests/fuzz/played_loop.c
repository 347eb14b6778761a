/* See played_loop.h: the timers and the after-work of event.h, by the letter of their contract and no faster.
 */
#include "played_loop.h"

#include "target.h"

/* More callbacks than any input can ask for: a loop that feeds itself. */
enum { TURNS_MAX = 100000 };

struct event_loop loop;

uint64_t event_now(const struct event_loop *of)
{
    return of->now;
}

void event_timer_init(struct event_timer *timer, void (*fire)(struct event_timer *))
{
    *timer = (struct event_timer){.fire = fire};
    list_init(&timer->link);
}

void event_timer_set(struct event_loop *of, struct event_timer *timer, uint64_t due)
{
    list_remove(&timer->link);
    list_append(&of->timers, &timer->link);
    timer->loop = of;
    timer->due = due;
}

void event_timer_clear(struct event_timer *timer)
{
    if (timer->loop != NULL) {
        list_remove(&timer->link);
        timer->loop = NULL;
    }
}

void event_after_init(struct event_after *after, void (*work)(struct event_after *))
{
    after->work = work;
    list_init(&after->link);
}

void event_after_add(struct event_loop *of, struct event_after *after)
{
    if (!list_linked(&after->link)) {
        list_append(&of->after, &after->link);
    }
}

void event_after_remove(struct event_after *after)
{
    list_remove(&after->link);
}

void end_turn(void)
{
    for (unsigned i = 0; !list_empty(&loop.after); i++) {
        must(i < TURNS_MAX);
        struct event_after *after = container_of(list_take_first(&loop.after), struct event_after, link);
        after->work(after);
    }
}

static struct event_timer *first_timer(uint64_t until)
{
    struct event_timer *first = NULL;
    for (struct list *node = loop.timers.next; node != &loop.timers; node = node->next) {
        struct event_timer *timer = container_of(node, struct event_timer, link);
        if (timer->due <= until && (first == NULL || timer->due < first->due)) {
            first = timer;
        }
    }
    return first;
}

void pass_time(uint64_t span)
{
    uint64_t until = loop.now + span;
    struct event_timer *timer;
    for (unsigned i = 0; (timer = first_timer(until)) != NULL; i++) {
        must(i < TURNS_MAX);
        loop.now = timer->due > loop.now ? timer->due : loop.now;
        event_timer_clear(timer);
        timer->fire(timer);
        end_turn();
    }
    loop.now = until;
}

int event_watch_add(struct event_loop *of, struct event_watch *watch, int descriptor, unsigned wanted)
{
    (void)wanted;
    watch->loop = of;
    watch->descriptor = descriptor;
    return 0;
}

void event_watch_remove(struct event_watch *watch)
{
    watch->loop = NULL;
}
