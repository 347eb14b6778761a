/* The back door: how fast a server is, and which of several fit ones is asked. Time is a number here, and
 * answers take as long as the test says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#include "upstream_test.h"

enum { INSTANCES = 10, ALL_OF_TWO = 3, ALL_OF_THREE = 7 };

/* A pool whose servers all have an open link; nothing is ever sent. */
struct instance {
    struct upstream_pool pool;
    struct upstream_link link[SERVERS];
    unsigned asked[SERVERS];
};

static struct random dice;

static struct instance *instance_new(enum upstream_policy policy)
{
    static const char *const labels[SERVERS] = {"one", "two", "three"};
    struct instance *instance = calloc(1, sizeof *instance);
    assert_non_null(instance);
    instance->pool.options = (struct upstream_options){.policy = policy, .in_flight = 1};
    instance->pool.around.random = &dice;
    instance->pool.server_count = SERVERS;
    for (size_t i = 0; i < SERVERS; i++) {
        struct upstream_server *server = &instance->pool.server[i];
        server->pool = &instance->pool;
        server->index = i;
        server->options.weight = 1;
        server->fact = &server->own_fact;
        server->label_hash = hash_bytes(&(struct hash_key){{0}}, span_text(labels[i]));
        list_init(&server->open);
        instance->link[i] =
            (struct upstream_link){.server = server, .state = UPSTREAM_LINK_OPEN, .free_count = 1};
        list_append(&server->open, &instance->link[i].node);
    }
    return instance;
}

static size_t pick(struct instance *instance, uint32_t set, const char *name, uint64_t now)
{
    uint8_t question[64] = {0};
    size_t size = strlen(name);
    question[0] = (uint8_t)size;
    memcpy(question + 1, name, size);
    struct upstream_ask ask = {.question = span_of(question, size + 2 + 4)};
    size_t index = upstream_policy_pick(&instance->pool, set, &ask, now)->index;
    instance->asked[index]++;
    return index;
}

/* ---- latency ---- */

void the_mean_follows_the_answers(void **state)
{
    (void)state;
    struct upstream_latency latency = {0};
    uint64_t now = CLOCK_SECOND;
    upstream_latency_note(&latency, now, 100 * CLOCK_MILLISECOND);
    assert_in_range(latency.mean, 99 * CLOCK_MILLISECOND, 100 * CLOCK_MILLISECOND);
    for (unsigned i = 0; i < 100; i++) {
        now += CLOCK_MILLISECOND;
        upstream_latency_note(&latency, now, 20 * CLOCK_MILLISECOND);
    }
    assert_in_range(latency.mean, 20 * CLOCK_MILLISECOND, 21 * CLOCK_MILLISECOND);
    now += CLOCK_MILLISECOND; /* one outlier among many */
    upstream_latency_note(&latency, now, 1000 * CLOCK_MILLISECOND);
    assert_in_range(latency.mean, 60 * CLOCK_MILLISECOND, 90 * CLOCK_MILLISECOND);
    now += 60 * CLOCK_SECOND; /* one after a long time counts for half */
    upstream_latency_note(&latency, now, 20 * CLOCK_MILLISECOND);
    assert_in_range(latency.mean, 40 * CLOCK_MILLISECOND, 55 * CLOCK_MILLISECOND);
}

/* What has not come counts for at least the time it was waited for, and never makes a server look faster. */
void a_missing_answer_is_a_slow_one(void **state)
{
    (void)state;
    struct upstream_latency latency = {0};
    upstream_latency_note_least(&latency, CLOCK_SECOND, 50 * CLOCK_MILLISECOND);
    assert_in_range(latency.mean, 49 * CLOCK_MILLISECOND, 50 * CLOCK_MILLISECOND);
    upstream_latency_note_least(&latency, 2 * CLOCK_SECOND, 10 * CLOCK_MILLISECOND);
    assert_in_range(latency.mean, 49 * CLOCK_MILLISECOND, 50 * CLOCK_MILLISECOND);
    upstream_latency_note_least(&latency, 3 * CLOCK_SECOND, 500 * CLOCK_MILLISECOND);
    assert_true(latency.mean > 200 * CLOCK_MILLISECOND);
}

void nineteen_of_twenty_answers_are_not_late(void **state)
{
    (void)state;
    struct upstream_latency latency = {0};
    assert_true(upstream_latency_late(&latency) == UINT64_MAX);
    for (unsigned i = 0; i < 400; i++) {
        upstream_latency_note(&latency, i, (i % 25 == 0 ? 300 : 20) * CLOCK_MILLISECOND);
    }
    assert_in_range(upstream_latency_late(&latency), 20 * CLOCK_MILLISECOND, 25 * CLOCK_MILLISECOND);
    for (unsigned i = 0; i < 400; i++) {
        upstream_latency_note(&latency, i, (i % 10 == 0 ? 300 : 20) * CLOCK_MILLISECOND);
    }
    assert_in_range(upstream_latency_late(&latency), 300 * CLOCK_MILLISECOND, 360 * CLOCK_MILLISECOND);
    for (unsigned i = 0; i < 3000; i++) { /* what was is forgotten */
        upstream_latency_note(&latency, i, CLOCK_MILLISECOND / 10);
    }
    assert_true(upstream_latency_late(&latency) < CLOCK_MILLISECOND);
    for (unsigned i = 0; i < 3000; i++) {
        upstream_latency_note(&latency, i, 100 * CLOCK_SECOND);
    }
    assert_true(upstream_latency_late(&latency) > 10 * CLOCK_SECOND);
}

/* ---- by weight, by name ---- */

void turns_go_by_weight(void **state)
{
    (void)state;
    struct instance *instance = instance_new(UPSTREAM_ROUND_ROBIN);
    instance->pool.server[1].options.weight = 3;
    for (unsigned i = 0; i < 100 * 5; i++) {
        pick(instance, ALL_OF_THREE, "a", 0);
    }
    assert_int_equal(instance->asked[0], 100);
    assert_int_equal(instance->asked[1], 300);
    assert_int_equal(instance->asked[2], 100);
    for (unsigned i = 0; i < 100; i++) {
        pick(instance, 5, "a", 0);
    }
    assert_in_range(instance->asked[0], 149, 151);
    assert_int_equal(instance->asked[1], 300);
    free(instance);
}

void chance_goes_by_weight(void **state)
{
    (void)state;
    struct instance *instance = instance_new(UPSTREAM_RANDOM);
    instance->pool.server[1].options.weight = 3;
    for (unsigned i = 0; i < 50000; i++) {
        pick(instance, ALL_OF_THREE, "a", 0);
    }
    assert_in_range(instance->asked[0], 9500, 10500);
    assert_in_range(instance->asked[1], 29500, 30500);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_not_equal(pick(instance, 5, "a", 0), 1);
    }
    free(instance);
}

void names_go_by_weight_and_only_lost_ones_move(void **state)
{
    (void)state;
    struct instance *instance = instance_new(UPSTREAM_HASH);
    instance->pool.server[1].options.weight = 3;
    unsigned moved[SERVERS] = {0};
    for (unsigned i = 0; i < 50000; i++) {
        char name[16], loud[16];
        snprintf(name, sizeof name, "name-%u", i);
        snprintf(loud, sizeof loud, "NAme-%u", i);
        size_t home = pick(instance, ALL_OF_THREE, name, 0);
        assert_int_equal(pick(instance, ALL_OF_THREE, loud, 0), home);
        size_t other = pick(instance, 5, name, 0);
        assert_true(home == 1 || other == home);
        moved[other] += home == 1;
    }
    assert_in_range(moved[0] + moved[2], 29000, 31000); /* three fifths were there */
    assert_in_range(moved[0], 14000, 16000);            /* and are shared by the others */
    free(instance);
}

/* ---- by latency ---- */

struct race {
    uint64_t now, taken[SERVERS];
    unsigned jitter_percent;
};

/* So many questions a second for so long. */
static void run_race(struct instance *instance, struct race *race, unsigned rate, uint64_t span)
{
    memset(instance->asked, 0, sizeof instance->asked);
    for (uint64_t end = race->now + span; race->now < end; race->now += CLOCK_SECOND / rate) {
        size_t i = pick(instance, ALL_OF_TWO, "a", race->now);
        uint64_t taken = random_jitter(&dice, race->taken[i], race->jitter_percent);
        upstream_latency_note(&instance->pool.server[i].latency, race->now, taken);
    }
}

/* Shows: F11 */
void the_fastest_is_asked_and_changes_are_noticed(void **state)
{
    (void)state;
    for (unsigned rate = 1; rate <= 1000; rate *= 10) {
        struct instance *instance = instance_new(UPSTREAM_FASTEST);
        struct race race = {.now = CLOCK_SECOND,
                            .taken = {500 * CLOCK_MILLISECOND, 10 * CLOCK_MILLISECOND},
                            .jitter_percent = 50};
        run_race(instance, &race, rate, 100 * CLOCK_SECOND / rate);
        for (unsigned minute = 0; minute < 10; minute++) {
            run_race(instance, &race, rate, 60 * CLOCK_SECOND);
            assert_in_range(instance->asked[0], 1, rate * 60 / 10);
        }
        race.taken[0] = 10 * CLOCK_MILLISECOND;
        race.taken[1] = 500 * CLOCK_MILLISECOND;
        run_race(instance, &race, rate, 30 * CLOCK_SECOND);
        run_race(instance, &race, rate, 60 * CLOCK_SECOND);
        assert_in_range(instance->asked[1], 1, rate * 60 / 10);
        free(instance);
    }
}

/* Whoever is neither the fastest nor the second is looked at more rarely, and no link to it is kept. */
void the_third_is_looked_at_more_rarely(void **state)
{
    (void)state;
    struct instance *instance = instance_new(UPSTREAM_FASTEST);
    static const uint64_t taken[SERVERS] = {30 * CLOCK_MILLISECOND, 10 * CLOCK_MILLISECOND,
                                            20 * CLOCK_MILLISECOND};
    for (uint64_t now = CLOCK_SECOND; now < 1200 * CLOCK_SECOND; now += CLOCK_SECOND) {
        size_t i = pick(instance, ALL_OF_THREE, "a", now);
        upstream_latency_note(&instance->pool.server[i].latency, now, taken[i]);
    }
    assert_in_range(instance->asked[0], 20, instance->asked[2] - 10);
    assert_in_range(instance->asked[2], 40, 120);
    assert_true(upstream_policy_keeps(&instance->pool.server[1]));
    assert_true(upstream_policy_keeps(&instance->pool.server[2]));
    assert_false(upstream_policy_keeps(&instance->pool.server[0]));
    instance->pool.options.policy = UPSTREAM_ORDERED;
    assert_true(upstream_policy_keeps(&instance->pool.server[0]));
    free(instance);
}

/* What goes over a stream says nothing about who answers datagrams fastest. */
void a_stream_that_fails_moves_no_lead(void **state)
{
    (void)state;
    struct instance *instance = instance_new(UPSTREAM_FASTEST);
    uint8_t question[6] = {1, 'a'};
    struct upstream_ask ask = {.question = span_of(question, sizeof question), .needs_stream = true};
    for (size_t i = 0; i < SERVERS; i++) {
        upstream_latency_note(&instance->pool.server[i].latency, CLOCK_SECOND, (1 + i) * CLOCK_SECOND);
    }
    assert_int_equal(pick(instance, ALL_OF_THREE, "a", CLOCK_SECOND), 0);
    assert_int_equal(upstream_policy_pick(&instance->pool, 6, &ask, CLOCK_SECOND)->index, 1);
    assert_int_equal(upstream_policy_pick(&instance->pool, ALL_OF_THREE, &ask, CLOCK_SECOND)->index, 0);
    assert_int_equal(instance->pool.race.leader, 0);
    free(instance);
}

/* Another worker's clock may be ahead, and what it heard a moment ago is nothing forgotten. */
void what_is_ahead_is_not_long_ago(void **state)
{
    (void)state;
    const uint64_t now = 100 * CLOCK_SECOND, ahead = now + 3 * CLOCK_MILLISECOND;
    unsigned looks = 0;
    for (unsigned i = 0; i < 100; i++) {
        struct instance *instance = instance_new(UPSTREAM_FASTEST);
        instance->pool.race.patience = 20 * CLOCK_SECOND;
        for (size_t k = 0; k < 2; k++) {
            instance->pool.server[k].latency = (struct upstream_latency){
                .mean = (1 + k) * CLOCK_SECOND, .measured_at = ahead, .samples = 20};
        }
        for (unsigned k = 0; k < 16; k++) {
            pick(instance, ALL_OF_TWO, "a", now);
        }
        looks += instance->asked[1];
        free(instance);
    }
    assert_in_range(looks, 0, 20); /* by chance */
}

/* Servers that become slower the more they are asked invite everybody to move at the same time. */
/* Shows: F11 */
void ten_instances_do_not_move_in_step(void **state)
{
    (void)state;
    struct instance *instance[INSTANCES];
    unsigned most_at_once = 0, changes = 0;
    size_t leader[INSTANCES] = {0};
    for (unsigned i = 0; i < INSTANCES; i++) {
        instance[i] = instance_new(UPSTREAM_FASTEST);
    }
    struct race race = {.now = CLOCK_SECOND, .jitter_percent = 50};
    for (unsigned second = 0; second < 1200; second++) {
        unsigned at_one = 0, moved = 0;
        for (unsigned i = 0; i < INSTANCES; i++) {
            at_one += instance[i]->pool.race.leader == 0;
        }
        race.taken[0] = (10 + 5 * at_one) * CLOCK_MILLISECOND;
        race.taken[1] = (10 + 5 * (INSTANCES - at_one)) * CLOCK_MILLISECOND;
        uint64_t begin = race.now;
        for (unsigned i = 0; i < INSTANCES; i++) {
            race.now = begin;
            run_race(instance[i], &race, 50, CLOCK_SECOND);
            moved += instance[i]->pool.race.leader != leader[i];
            leader[i] = instance[i]->pool.race.leader;
        }
        changes += second >= 60 ? moved : 0;
        most_at_once = second >= 60 && moved > most_at_once ? moved : most_at_once;
    }
    assert_in_range(most_at_once, 0, INSTANCES / 2);
    assert_in_range(changes, 0, INSTANCES * 1140 / 20); /* each three times a minute at most */
    for (unsigned i = 0; i < INSTANCES; i++) {
        free(instance[i]);
    }
}

int policy_set_up(void **state)
{
    (void)state;
    random_init_repeatable(&dice, 7);
    return 0;
}
