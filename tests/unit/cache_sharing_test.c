/* What threads and processes do to one cache at the same time: nobody waits, and no byte is ever another's.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/list.h"
#include "base/random.h"

#include "cache/internal.h"

#include "../support/cache_model.h"
#include "cache_test.h"

enum { STORM_KEYS = 3000, STORM_STEPS = 100000, STORM_VALUE_MAX = 9000, HEAD = 12 };
enum { MOVED_KEYS = 24, MOVED_SIZE = 8000, MOVED_STEPS = 120000 };

/* A value is the number of its key, its version and its size, and then what follows from those. */
struct storm {
    struct cache cache;
    atomic_uint broken, found, stored, versions;
    atomic_bool is_going_on; /* beyond the steps that are always done */
};

static struct span storm_value(uint32_t number, uint32_t version, uint8_t out[STORM_VALUE_MAX])
{
    /* Few sizes, so that an entry is often written over itself; now and then a large one, so that rings turn.
     */
    uint32_t size = HEAD + 8 * (version % 3) + (version % 16 == 0 ? MOVED_SIZE : 60);
    bytes_put_u32(out, number);
    bytes_put_u32(out + 4, version);
    bytes_put_u32(out + 8, size);
    cache_model_value(number, version, out + HEAD, size - HEAD);
    return span_of(out, size);
}

static bool is_whole(uint32_t number, struct span value)
{
    uint8_t expected[STORM_VALUE_MAX];
    if (value.size < HEAD || bytes_get_u32(value.data) != number) {
        return false;
    }
    return span_equal(value, storm_value(number, bytes_get_u32(value.data + 4), expected));
}

static void storm_step(struct storm *storm, struct random *random)
{
    /* Half of the steps belong to four keys. */
    uint32_t number = random_below(random, random_below(random, 2) == 0 ? 4 : STORM_KEYS);
    uint8_t value[STORM_VALUE_MAX], key[CACHE_TEST_KEY];
    struct cache_found found;
    struct cache_life life = {.stored_at = number, .note = (uint16_t)number};
    if (random_below(random, 3) == 0) {
        struct span bytes = storm_value(number, atomic_fetch_add(&storm->versions, 1), value);
        atomic_fetch_add(&storm->stored, cache_store(&storm->cache, cache_generation(&storm->cache),
                                                     cache_test_key(number, key), bytes, &life));
    } else if (cache_find(&storm->cache, cache_test_key(number, key), value, sizeof value, &found) == 0) {
        bool is_right =
            is_whole(number, found.value) && found.life.stored_at == number && found.life.note == number;
        atomic_fetch_add(is_right ? &storm->found : &storm->broken, 1);
    }
}

static void *run_storm(void *argument)
{
    static atomic_uint seeds;
    struct storm *storm = argument;
    struct random random;
    random_init_repeatable(&random, atomic_fetch_add(&seeds, 1));
    for (unsigned i = 0; i < STORM_STEPS || storm->is_going_on; i++) {
        storm_step(storm, &random);
    }
    return NULL;
}

static void start(pthread_t *thread, struct storm *storm)
{
    assert_int_equal(pthread_create(thread, NULL, run_storm, storm), 0);
}

void test_storm(void **state)
{
    (void)state;
    static struct storm storm;
    pthread_t threads[2];
    storm.cache = cache_test_open(CACHE_SIZE_LEAST);
    start(&threads[0], &storm);
    start(&threads[1], &storm);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    assert_int_equal(storm.broken, 0);
    assert_true(storm.found > 1000 && storm.stored > 1000);
    struct cache_numbers numbers;
    cache_count(&storm.cache, &numbers);
    assert_int_equal(numbers.stored, storm.stored);
    assert_true(numbers.evicted > 0);
    cache_close(&storm.cache);
}

static void *run_readers(void *argument)
{
    struct storm *storm = argument;
    uint8_t value[STORM_VALUE_MAX], key[CACHE_TEST_KEY];
    struct cache_found found;
    for (uint32_t i = 0; storm->is_going_on; i = (i + 1) % MOVED_KEYS) {
        if (cache_find(&storm->cache, cache_test_key(i, key), value, sizeof value, &found) == 0) {
            atomic_fetch_add(is_whole(i, found.value) ? &storm->found : &storm->broken, 1);
        }
    }
    return NULL;
}

/* Large entries that are read all the time go round and round in the main ring, each time over themselves. */
void test_moved_while_read(void **state)
{
    (void)state;
    static struct storm storm;
    static uint8_t value[STORM_VALUE_MAX];
    struct cache_found found;
    pthread_t thread;
    unsigned stored_again = 0;
    storm.cache = cache_test_open(CACHE_SIZE_LEAST);
    storm.is_going_on = true;
    assert_int_equal(pthread_create(&thread, NULL, run_readers, &storm), 0);
    for (uint32_t i = 0; i < MOVED_STEPS; i++) {
        uint32_t number = i / 16 % MOVED_KEYS;
        if (i % 16 == 0 && cache_test_find(&storm.cache, number, &found) == ERROR_NOT_FOUND) {
            stored_again++;
            assert_true(cache_test_store(&storm.cache, number, storm_value(number, 16 * i, value)));
        }
        assert_true(cache_test_store(&storm.cache, MOVED_KEYS + i, span_of(value, 100)));
        assert_int_equal(cache_test_find(&storm.cache, MOVED_KEYS + i, &found), 0);
    }
    storm.is_going_on = false;
    pthread_join(thread, NULL);
    assert_int_equal(storm.broken, 0);
    assert_true(storm.found > 100);
    assert_in_range(stored_again, MOVED_KEYS, 10 * MOVED_KEYS);
    cache_close(&storm.cache);
}

struct storm_visitor {
    struct cache_visitor visitor;
    unsigned broken, shown;
};

static bool check_shown(struct cache_visitor *visitor, struct span key, struct span value,
                        const struct cache_life *life)
{
    struct storm_visitor *storm = container_of(visitor, struct storm_visitor, visitor);
    uint32_t number = bytes_get_u32(key.data);
    storm->shown++;
    storm->broken += !is_whole(number, value) || life->note != number;
    return number % 16 != 0;
}

void test_clear_and_visit_in_a_storm(void **state)
{
    (void)state;
    static struct storm storm;
    struct storm_visitor visitor = {.visitor.visit = check_shown};
    pthread_t threads[2];
    storm.cache = cache_test_open(CACHE_SIZE_LEAST);
    storm.is_going_on = true;
    start(&threads[0], &storm);
    start(&threads[1], &storm);
    for (unsigned round = 0; round < 100 || visitor.shown < 1000; round++) {
        cache_visit(&storm.cache, &visitor.visitor);
        if (round % 4 == 0) {
            cache_clear(&storm.cache);
        }
    }
    storm.is_going_on = false;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    assert_int_equal(storm.broken, 0);
    assert_int_equal(visitor.broken, 0);
    assert_true(storm.found > 1000);
    cache_close(&storm.cache);
}

/* Nobody waits for a part that is held: what is there is found, and nothing is changed. */
void test_writer_drops(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_view view;
    struct cache_numbers numbers;
    struct cache_found found;
    uint8_t key[CACHE_TEST_KEY];
    assert_true(cache_test_store(&cache, 1, span_text("one")));
    assert_true(cache_part_enter(&cache, 0, &view));
    assert_false(cache_test_store(&cache, 1, span_text("two")));
    assert_false(cache_remove(&cache, cache_test_key(1, key)));
    assert_false(cache_claim(&cache, cache_test_key(1, key), 1, 2));
    assert_int_equal(cache_test_find(&cache, 1, &found), 0);
    assert_true(span_equal(found.value, span_text("one")));
    cache_count(&cache, &numbers);
    assert_int_equal(numbers.dropped, 1);
    cache_part_leave(&view);
    assert_true(cache_test_store(&cache, 1, span_text("two")));
    cache_close(&cache);
}

static void wait_for(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
}

/* A child dies while it holds a part, with the index in the middle of a change. */
static void look_at_dead_holder(bool is_known)
{
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_found found;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(cache_test_store(&cache, i, span_text("before")));
    }
    pid_t child = fork();
    if (child == 0) {
        struct cache_view view;
        cache.owner = TEST_OWNER + 1;
        cache_part_enter(&cache, 0, &view);
        uint8_t bytes[CACHE_TEST_KEY];
        struct span key = cache_test_key(7, bytes);
        const cache_word *slot = cache_index_find(&view, cache_hash(cache.head, key), key);
        cache_put(&view.bucket[view.part->buckets].slot[7], cache_load(slot));
        raise(SIGKILL);
    }
    wait_for(child);
    assert_int_equal(cache_test_find(&cache, 7, &found), 0);
    assert_false(cache_test_store(&cache, 7, span_text("after")));
    cache_mend(&cache, TEST_OWNER + 2);
    assert_false(cache_test_store(&cache, 7, span_text("after")));
    if (is_known) {
        cache_mend(&cache, TEST_OWNER + 1);
    } else {
        cache_mend_all(&cache);
    }
    assert_int_equal(cache_test_find(&cache, 7, &found), ERROR_NOT_FOUND);
    for (uint32_t i = 0; i < 3000; i++) {
        assert_true(cache_test_store(&cache, i, span_text("after")));
    }
    assert_in_range(cache_test_entries(&cache), 2900, 3000);
    assert_int_equal(cache_test_find(&cache, 7, &found), 0);
    assert_true(span_equal(found.value, span_text("after")));
    cache_close(&cache);
}

void test_dead_holder(void **state)
{
    (void)state;
    look_at_dead_holder(true);
    look_at_dead_holder(false);
}

static void read_all(struct storm *storm)
{
    struct cache_found found;
    for (uint32_t i = 0; i < STORM_KEYS; i++) {
        if (cache_test_find(&storm->cache, i, &found) == 0) {
            atomic_fetch_add(is_whole(i, found.value) ? &storm->found : &storm->broken, 1);
        }
    }
}

/* Children that do nothing but store are killed wherever they are; what they leave is whole or gone. */
void test_killed_anywhere(void **state)
{
    (void)state;
    static struct storm storm;
    struct random random;
    unsigned dropped = 0;
    random_init_repeatable(&random, 1);
    storm.cache = cache_test_open(CACHE_SIZE_LEAST);
    for (uint32_t round = 1; round <= 50; round++) {
        pid_t child = fork();
        if (child == 0) {
            storm.cache.owner = TEST_OWNER + round;
            random_init_repeatable(&random, round);
            for (;;) {
                storm_step(&storm, &random);
            }
        }
        usleep(1000 + random_below(&random, 1000));
        kill(child, SIGKILL);
        wait_for(child);
        read_all(&storm);
        cache_mend(&storm.cache, TEST_OWNER + round);
        for (unsigned i = 0; i < 500; i++) {
            storm_step(&storm, &random);
        }
    }
    assert_int_equal(storm.broken, 0);
    assert_true(storm.found > 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        dropped += !cache_test_store(&storm.cache, i, span_text("after"));
    }
    assert_int_equal(dropped, 0);
    cache_close(&storm.cache);
}

void test_processes_share(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_found found;
    pid_t child = fork();
    if (child == 0) {
        cache.owner++;
        _exit(cache_test_store(&cache, 5, span_text("from the child")) ? 0 : 1);
    }
    wait_for(child);
    assert_int_equal(cache_test_find(&cache, 5, &found), 0);
    assert_true(span_equal(found.value, span_text("from the child")));
    cache_close(&cache);
}

enum { CLAIM_ROUNDS = 20000 };

struct claims {
    struct cache cache;
    atomic_uint round, done, won;
};

static void *run_claims(void *argument)
{
    struct claims *claims = argument;
    uint8_t key[CACHE_TEST_KEY];
    for (uint32_t round = 1; round <= CLAIM_ROUNDS; round++) {
        while (atomic_load(&claims->round) < round) {
            sched_yield();
        }
        atomic_fetch_add(&claims->won, cache_claim(&claims->cache, cache_test_key(1, key), round, round + 1));
        atomic_fetch_add(&claims->done, 1);
    }
    return NULL;
}

/* Of two that ask at the same moment one gets it, and one only. */
void test_one_claims(void **state)
{
    (void)state;
    static struct claims claims;
    pthread_t threads[2];
    uint8_t key[CACHE_TEST_KEY];
    struct cache_life life = {.stored_at = 0};
    claims.cache = cache_test_open(CACHE_SIZE_LEAST);
    assert_true(cache_store(&claims.cache, cache_generation(&claims.cache), cache_test_key(1, key),
                            span_text("value"), &life));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_claims, &claims), 0);
    }
    for (uint32_t round = 1; round <= CLAIM_ROUNDS; round++) {
        atomic_store(&claims.round, round);
        while (atomic_load(&claims.done) < 2 * round) {
            sched_yield();
        }
        assert_int_equal(claims.won, round);
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    cache_close(&claims.cache);
}

enum { FORGET_KEYS = 64, FORGETS = 3000, FORGET_EVERY_US = 50 };

/* One thread stores, and is interrupted anywhere in that to forget everything. */
static struct forgetting {
    struct cache_visitor visitor;
    struct cache cache;
    atomic_uint forgets;
    _Atomic(uint64_t) generation; /* begun when it was forgotten last */
} forgetting;

static bool forget_all(struct cache_visitor *visitor, struct span key, struct span value,
                       const struct cache_life *life)
{
    (void)visitor;
    (void)key;
    (void)value;
    (void)life;
    return false;
}

/* Nothing can be forgotten while the part is held, and it would be waited for. */
static void on_alarm(int number)
{
    (void)number;
    if (atomic_load(&cache_view_of(forgetting.cache.head, 0).part->holder) == 0) {
        cache_begin_generation(&forgetting.cache);
        cache_visit(&forgetting.cache, &forgetting.visitor);
        forgetting.generation = cache_generation(&forgetting.cache);
        forgetting.forgets++;
    }
}

static void set_alarm(suseconds_t microseconds)
{
    struct itimerval time = {.it_interval.tv_usec = microseconds, .it_value.tv_usec = microseconds};
    assert_int_equal(setitimer(ITIMER_REAL, &time, NULL), 0);
}

/* A value tells the generation in which it was asked for. */
static void ask_and_store(uint32_t number)
{
    static const struct cache_life life = {.stored_at = 0};
    uint8_t key[CACHE_TEST_KEY], out[sizeof(uint64_t)];
    struct cache_found found;
    uint64_t generation = cache_generation(&forgetting.cache);
    struct span value = span_of(&generation, sizeof generation);
    cache_store(&forgetting.cache, generation, cache_test_key(number, key), value, &life);
    uint64_t forgotten = forgetting.generation;
    if (cache_find(&forgetting.cache, cache_test_key(number, key), out, sizeof out, &found) == 0) {
        memcpy(&generation, out, sizeof generation);
        assert_true(generation >= forgotten);
    }
}

/* Nothing that was asked for before comes back, wherever the store was when it was forgotten. */
void test_forgotten_stays_away(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_alarm}, before;
    forgetting.cache = cache_test_open(CACHE_SIZE_LEAST);
    forgetting.visitor.visit = forget_all;
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    set_alarm(FORGET_EVERY_US);
    for (uint32_t i = 0; forgetting.forgets < FORGETS; i = (i + 1) % FORGET_KEYS) {
        ask_and_store(i);
    }
    set_alarm(0);
    assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
    assert_true(cache_test_count(&forgetting.cache).stored > 0);
    cache_close(&forgetting.cache);
}
