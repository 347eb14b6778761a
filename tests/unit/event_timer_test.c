/* Timers on the machine's clock, and the wheel against a model on a clock that jumps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/random.h"

#include "event/event.h"
#include "event/internal.h"

#include "cmocka.h"
#include "event_test.h"

struct alarm {
    struct event_timer timer;
    struct event_loop *loop;
    uint64_t fired; /* at this time of the loop */
    unsigned times, order;
    struct alarm *victim; /* cleared when this one fires */
    uint64_t again;       /* set again for this moment when it fires; 0 for not */
};

static unsigned order;

static void alarm_fire(struct event_timer *timer)
{
    struct alarm *alarm = container_of(timer, struct alarm, timer);
    assert_false(event_timer_pending(timer));
    alarm->fired = event_now(alarm->loop);
    alarm->times++;
    alarm->order = order++;
    if (alarm->victim != NULL) {
        event_timer_clear(&alarm->victim->timer);
    }
    if (alarm->again != 0) {
        event_timer_set(alarm->loop, timer, alarm->again);
    }
}

static void alarm_init(struct alarm *alarm, struct event_loop *loop)
{
    *alarm = (struct alarm){.loop = loop};
    event_timer_init(&alarm->timer, alarm_fire);
}

void event_test_timer_fires(void **state)
{
    struct event_loop *loop = *state;
    struct alarm soon, later, passed;
    alarm_init(&soon, loop);
    alarm_init(&later, loop);
    alarm_init(&passed, loop);
    uint64_t start = event_now(loop);
    event_timer_set(loop, &later.timer, start + 180 * CLOCK_MILLISECOND + 1);
    event_timer_set(loop, &soon.timer, start + 100 * CLOCK_MILLISECOND);
    event_timer_set(loop, &passed.timer, start);
    event_loop_turn(loop, UINT64_MAX);
    assert_int_equal(passed.times, 1); /* at once */
    assert_int_equal(soon.times, 0);
    event_loop_turn(loop, UINT64_MAX);
    assert_true(soon.fired >= start + 100 * CLOCK_MILLISECOND);
    event_loop_turn(loop, CLOCK_SECOND); /* two sleeps are two turns: nothing wakes in between */
    assert_true(later.fired >= start + 180 * CLOCK_MILLISECOND + 1);
    assert_true(soon.order < later.order);
    assert_int_equal(soon.times + later.times + passed.times, 3);
}

void event_test_timer_moved_and_cleared(void **state)
{
    struct event_loop *loop = *state;
    struct alarm one, two;
    alarm_init(&one, loop);
    alarm_init(&two, loop);
    event_timer_clear(&one.timer);
    event_timer_set(loop, &one.timer, event_now(loop) + CLOCK_MILLISECOND);
    event_timer_set(loop, &one.timer, event_now(loop) + 200 * CLOCK_MILLISECOND);
    event_timer_set(loop, &two.timer, event_now(loop) + CLOCK_SECOND);
    event_timer_clear(&two.timer);
    event_timer_clear(&two.timer);
    assert_false(event_timer_pending(&two.timer));
    assert_true(event_timer_pending(&one.timer));
    event_loop_turn(loop, 2 * CLOCK_MILLISECOND);
    assert_int_equal(one.times, 0);
    event_loop_turn(loop, UINT64_MAX);
    assert_int_equal(one.times, 1);
    assert_true(event_wheel_next(&loop->wheel) == UINT64_MAX);
}

/* Timers of one turn: the first clears the second; one that sets itself for a passed moment waits for the
 * next turn. */
void event_test_timer_in_callbacks(void **state)
{
    struct event_loop *loop = *state;
    struct alarm first, second, always;
    alarm_init(&first, loop);
    alarm_init(&second, loop);
    alarm_init(&always, loop);
    first.victim = &second;
    always.again = 1;
    event_timer_set(loop, &first.timer, 1);
    event_timer_set(loop, &second.timer, 1);
    event_timer_set(loop, &always.timer, 1);
    event_loop_turn(loop, UINT64_MAX);
    assert_int_equal(first.times, 1);
    assert_int_equal(second.times, 0);
    assert_int_equal(always.times, 1);
    event_loop_turn(loop, UINT64_MAX);
    assert_int_equal(always.times, 2);
    event_timer_clear(&always.timer);
}

/* Moves the loop's time to where the wheel wants to be looked at, as the sleep would. */
static bool jump(struct event_loop *loop, uint64_t limit)
{
    uint64_t next = event_wheel_next(&loop->wheel);
    if (next > limit) {
        return false;
    }
    loop->now = next > loop->now ? next : loop->now;
    event_wheel_begin(&loop->wheel);
    event_wheel_fire(loop);
    return true;
}

void event_test_timer_far(void **state)
{
    struct event_loop *loop = *state;
    static const uint64_t seconds[] = {1, 64, 3600, 86400, 40 * 86400, UINT64_C(20) * 365 * 86400};
    struct alarm alarm;
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        alarm_init(&alarm, loop);
        uint64_t due = loop->now + seconds[i] * CLOCK_SECOND;
        event_timer_set(loop, &alarm.timer, due);
        assert_true(jump(loop, UINT64_MAX - 1)); /* one wake-up, however far */
        assert_int_equal(alarm.times, 1);
        assert_true(alarm.fired >= due && alarm.fired - due < CLOCK_MILLISECOND);
    }
    alarm_init(&alarm, loop);
    event_timer_set(loop, &alarm.timer, UINT64_MAX);
    assert_false(jump(loop, UINT64_MAX - 1));
    assert_true(event_timer_pending(&alarm.timer));
    event_timer_clear(&alarm.timer);
    assert_true(event_wheel_next(&loop->wheel) == UINT64_MAX);
}

/* Every timer fires within its millisecond, never early, in order, through sets, moves and clears at random.
 */
void event_test_timer_model(void **state)
{
    enum { COUNT = 2000 };
    struct event_loop *loop = *state;
    static struct alarm alarms[COUNT];
    struct random random;
    random_init_repeatable(&random, 42);
    for (size_t i = 0; i < COUNT; i++) {
        alarm_init(&alarms[i], loop);
    }
    for (unsigned round = 0; round < 30; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            uint64_t span = UINT64_C(1) << random_below(&random, 45);
            alarms[i].times = 0;
            event_timer_set(loop, &alarms[i].timer, loop->now + 1 + random_u64(&random) % span);
            if (random_below(&random, 4) == 0) {
                event_timer_clear(&alarms[i].timer);
            }
        }
        uint64_t limit = loop->now + (UINT64_C(1) << random_below(&random, 45));
        unsigned wakes = 0, fired = 0;
        uint64_t last = 0;
        while (jump(loop, limit)) {
            wakes++;
        }
        order = 0;
        for (size_t i = 0; i < COUNT; i++) {
            if (alarms[i].times == 0) {
                assert_true(!event_timer_pending(&alarms[i].timer) ||
                            alarms[i].timer.due > limit - limit % CLOCK_MILLISECOND);
                continue;
            }
            fired++;
            assert_int_equal(alarms[i].times, 1);
            assert_false(event_timer_pending(&alarms[i].timer));
            assert_true(alarms[i].fired >= alarms[i].timer.due);
            assert_true(alarms[i].fired - alarms[i].timer.due < CLOCK_MILLISECOND);
            last = alarms[i].fired > last ? alarms[i].fired : last;
        }
        assert_true(wakes <= fired + EVENT_WHEEL_LEVELS * EVENT_WHEEL_SLOTS);
        assert_true(last <= loop->now);
    }
    for (size_t i = 0; i < COUNT; i++) {
        event_timer_clear(&alarms[i].timer);
    }
    for (size_t i = 0; i < EVENT_WHEEL_LEVELS; i++) {
        assert_true(loop->wheel.occupied[i] == 0);
    }
}

/* A loop that was late fires what it missed in the order in which it was due. */
void event_test_timer_order(void **state)
{
    enum { COUNT = 300 };
    struct event_loop *loop = *state;
    static struct alarm alarms[COUNT];
    struct random random;
    random_init_repeatable(&random, 3);
    uint64_t start = loop->now;
    for (size_t i = 0; i < COUNT; i++) {
        alarm_init(&alarms[i], loop);
        event_timer_set(loop, &alarms[i].timer, start + 1 + random_u64(&random) % (600 * CLOCK_SECOND));
    }
    loop->now = start + 601 * CLOCK_SECOND;
    event_wheel_fire(loop);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(alarms[i].times, 1);
        for (size_t j = 0; j < COUNT; j++) {
            assert_true(alarms[i].timer.due + CLOCK_MILLISECOND >= alarms[j].timer.due ||
                        alarms[i].order < alarms[j].order);
        }
    }
}
