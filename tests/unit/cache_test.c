/* Bytes by key: what the header promises to one thread, and a model. What several do is in
 * cache_sharing_test.c. */
#include "cache_test.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/random.h"

#include "cache/internal.h"

#include "../support/cache_model.h"

const struct cache_life cache_test_life = {
    .stored_at = 123456789012, .fresh_for = 4000000000, .note = 0xabcd};

struct cache cache_test_open(size_t size)
{
    struct cache cache;
    assert_int_equal(cache_open(size, (struct hash_key){{3, 4}}, TEST_OWNER, &cache), 0);
    return cache;
}

struct span cache_test_key(uint32_t number, uint8_t out[CACHE_TEST_KEY])
{
    bytes_put_u32(out, number);
    memset(out + 4, 0, CACHE_KEY_TAIL);
    return span_of(out, CACHE_TEST_KEY);
}

bool cache_test_store(struct cache *cache, uint32_t number, struct span value)
{
    uint8_t key[CACHE_TEST_KEY];
    return cache_store(cache, cache_generation(cache), cache_test_key(number, key), value, &cache_test_life);
}

int cache_test_find(const struct cache *cache, uint32_t number, struct cache_found *found)
{
    static _Thread_local uint8_t out[CACHE_VALUE_MAX];
    uint8_t key[CACHE_TEST_KEY];
    return cache_find(cache, cache_test_key(number, key), out, sizeof out, found);
}

struct cache_numbers cache_test_count(const struct cache *cache)
{
    struct cache_numbers numbers;
    cache_count(cache, &numbers);
    return numbers;
}

struct counting {
    struct cache_visitor visitor;
    unsigned shown;
};

static bool count_entries(struct cache_visitor *visitor, struct span key, struct span value,
                          const struct cache_life *life)
{
    (void)key;
    (void)value;
    (void)life;
    container_of(visitor, struct counting, visitor)->shown++;
    return true;
}

uint64_t cache_test_entries(struct cache *cache)
{
    struct counting counting = {.visitor.visit = count_entries};
    cache_visit(cache, &counting.visitor);
    assert_int_equal(counting.shown, cache_test_count(cache).entries);
    return counting.shown;
}

/* ---- finding what was stored ---- */

static void test_found_as_stored(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_found found;
    assert_int_equal(cache_test_find(&cache, 1, &found), ERROR_NOT_FOUND);
    assert_true(cache_test_store(&cache, 1, span_text("one")));
    assert_int_equal(cache_test_find(&cache, 1, &found), 0);
    assert_true(span_equal(found.value, span_text("one")));
    assert_true(found.life.stored_at == cache_test_life.stored_at);
    assert_int_equal(found.life.fresh_for, cache_test_life.fresh_for);
    assert_int_equal(found.life.note, cache_test_life.note);
    assert_int_equal(cache_test_find(&cache, 2, &found), ERROR_NOT_FOUND);
    cache_close(&cache);
}

static void test_largest_life(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_life life = {.stored_at = CACHE_TIME_END - 1, .fresh_for = UINT32_MAX, .note = UINT16_MAX};
    struct cache_found found;
    uint8_t key[CACHE_TEST_KEY];
    assert_true(cache_store(&cache, cache_generation(&cache), cache_test_key(1, key), span_text("x"), &life));
    assert_int_equal(cache_test_find(&cache, 1, &found), 0);
    assert_true(found.life.stored_at == CACHE_TIME_END - 1);
    assert_int_equal(found.life.fresh_for, UINT32_MAX);
    assert_int_equal(found.life.note, UINT16_MAX);
    cache_close(&cache);
}

static void test_stored_anew(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_found found;
    const char *const values[] = {"one", "two", "a longer one", "", "2"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_true(cache_test_store(&cache, 1, span_text(values[i])));
        assert_int_equal(cache_test_find(&cache, 1, &found), 0);
        assert_true(span_equal(found.value, span_text(values[i])));
    }
    assert_int_equal(cache_test_count(&cache).entries, 1);
    assert_int_equal(cache_test_count(&cache).stored, 5);
    cache_close(&cache);
}

/* Keys and values of every size up to some words, where pieces of words begin and end, and the largest. */
static void test_all_sizes(void **state)
{
    (void)state;
    static uint8_t bytes[CACHE_VALUE_MAX], out[CACHE_VALUE_MAX];
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_found found;
    cache_model_value(1, 1, bytes, sizeof bytes);
    for (size_t key = 0; key <= CACHE_KEY_MAX; key += key < 40 ? 1 : 29) {
        for (size_t value = 0; value <= CACHE_VALUE_MAX; value += value < 40 ? 1 : 13099) {
            struct span stored =
                span_of(bytes + key, value < sizeof bytes - key ? value : sizeof bytes - key);
            assert_true(
                cache_store(&cache, cache_generation(&cache), span_of(bytes, key), stored, &cache_test_life));
            assert_int_equal(cache_find(&cache, span_of(bytes, key), out, sizeof out, &found), 0);
            assert_true(span_equal(found.value, stored));
        }
    }
    cache_close(&cache);
}

/* Two keys whose hashes agree in every bit that is used differ in their bytes alone. */
static void test_full_key_compared(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_found found;
    uint8_t one[CACHE_TEST_KEY], two[CACHE_TEST_KEY];
    struct span first = cache_test_key(1, one), second = cache_test_key(2, two);
    assert_true(cache_store(&cache, cache_generation(&cache), first, span_text("one"), &cache_test_life));
    /* Name the first one's entry where the second is looked for. */
    struct cache_view view = cache_view_of(cache.head, 0);
    uint64_t hashes[] = {cache_hash(cache.head, first), cache_hash(cache.head, second)};
    uint64_t slot = cache_load(cache_index_find(&view, hashes[0], first));
    cache_put(cache_slot_at(&view, cache_home(&view, hashes[1]), CACHE_KEY_SLOTS - 1),
              (slot & ~CACHE_SLOT_TAG) | cache_slot_tag(hashes[1]));
    assert_int_equal(cache_test_find(&cache, 2, &found), ERROR_NOT_FOUND);
    assert_false(cache_remove(&cache, second));
    cache_close(&cache);
}

/* Keys that differ at their ends alone lie in two lines, as many as fit there, and each is found. */
static void test_neighbours(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_view view = cache_view_of(cache.head, 0);
    struct cache_found found;
    uint8_t key[CACHE_TEST_KEY], out[1];
    for (uint8_t i = 0; i < CACHE_KEY_SLOTS; i++) {
        cache_test_key(7, key);
        key[4 + i % CACHE_KEY_TAIL] = i;
        struct span bytes = span_of(key, sizeof key);
        assert_true(cache_store(&cache, cache_generation(&cache), bytes, span_of(&i, 1), &cache_test_life));
        uint32_t home = cache_home(&view, cache_hash(cache.head, span_of(key, sizeof key)));
        assert_int_equal(home, cache_home(&view, cache_hash(cache.head, cache_test_key(7, key))));
    }
    for (uint8_t i = 0; i < CACHE_KEY_SLOTS; i++) {
        cache_test_key(7, key);
        key[4 + i % CACHE_KEY_TAIL] = i;
        assert_int_equal(cache_find(&cache, span_of(key, sizeof key), out, sizeof out, &found), 0);
        assert_int_equal(out[0], i);
    }
    cache_close(&cache);
}

static void test_space(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_found found;
    uint8_t key[CACHE_TEST_KEY], out[8] = "unspoilt";
    assert_true(cache_test_store(&cache, 1, span_text("12345678")));
    assert_int_equal(cache_find(&cache, cache_test_key(1, key), out, 7, &found), ERROR_SPACE);
    assert_memory_equal(out, "unspoilt", 8);
    assert_int_equal(cache_find(&cache, cache_test_key(1, key), out, 8, &found), 0);
    assert_memory_equal(out, "12345678", 8);
    cache_close(&cache);
}

static void test_too_large(void **state)
{
    (void)state;
    static uint8_t bytes[CACHE_VALUE_MAX + 1];
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_found found;
    assert_true(cache_test_store(&cache, 1, span_text("small")));
    assert_false(cache_test_store(&cache, 1, span_of(bytes, sizeof bytes)));
    assert_int_equal(cache_test_count(&cache).dropped, 1);
    assert_int_equal(cache_test_find(&cache, 1, &found), 0);
    assert_true(span_equal(found.value, span_text("small")));
    cache_close(&cache);
}

static void test_asked_before(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_found found;
    for (unsigned round = 0; round < 2; round++) {
        assert_true(cache_test_store(&cache, 1, span_text("one")));
        for (unsigned i = 0; i < 6; i++) {
            assert_int_equal(cache_test_find(&cache, 1, &found), 0);
            assert_int_equal(found.asked_before, i > 0);
        }
    }
    cache_close(&cache);
}

/* ---- claims, removing, clearing ---- */

static void test_claim(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_life life = {.stored_at = 1000};
    struct cache_found found;
    uint8_t bytes[CACHE_TEST_KEY];
    struct span key = cache_test_key(1, bytes);
    assert_false(cache_claim(&cache, key, 2000, 3000));
    assert_true(cache_store(&cache, cache_generation(&cache), key, span_text("value"), &life));
    assert_true(cache_claim(&cache, key, 2000, 3000));
    assert_false(cache_claim(&cache, key, 2000, 3000));
    assert_false(cache_claim(&cache, key, 2999, 3999));
    assert_true(cache_claim(&cache, key, 3000, 3500));
    assert_int_equal(cache_test_find(&cache, 1, &found), 0);
    assert_true(span_equal(found.value, span_text("value")));
    assert_true(cache_store(&cache, cache_generation(&cache), key, span_text("newer"), &life));
    assert_true(cache_claim(&cache, key, 3001, UINT64_MAX));
    assert_false(cache_claim(&cache, key, 1000 + UINT64_C(0xfffffffe), UINT64_MAX));
    assert_true(cache_remove(&cache, key));
    assert_false(cache_claim(&cache, key, 5000, 6000));
    cache_close(&cache);
}

static void test_remove(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_found found;
    uint8_t key[CACHE_TEST_KEY];
    assert_false(cache_remove(&cache, cache_test_key(1, key)));
    assert_true(cache_test_store(&cache, 1, span_text("one")));
    assert_true(cache_test_store(&cache, 2, span_text("two")));
    assert_true(cache_remove(&cache, cache_test_key(1, key)));
    assert_false(cache_remove(&cache, cache_test_key(1, key)));
    assert_int_equal(cache_test_find(&cache, 1, &found), ERROR_NOT_FOUND);
    assert_int_equal(cache_test_find(&cache, 2, &found), 0);
    assert_int_equal(cache_test_count(&cache).entries, 1);
    cache_close(&cache);
}

static void test_clear(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(4 * CACHE_SIZE_LEAST);
    struct cache_found found;
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 1000; i++) {
            assert_true(cache_test_store(&cache, i, span_text("value")));
            assert_int_equal(cache_test_find(&cache, i, &found), 0);
        }
        assert_int_equal(cache_test_count(&cache).entries, 1000);
        cache_clear(&cache);
        assert_int_equal(cache_test_count(&cache).entries, 0);
        assert_int_equal(cache_test_count(&cache).bytes, 0);
        for (uint32_t i = 0; i < 1000; i++) {
            assert_int_equal(cache_test_find(&cache, i, &found), ERROR_NOT_FOUND);
        }
    }
    assert_int_equal(cache_test_count(&cache).stored, 3000);
    cache_close(&cache);
}

/* ---- visiting ---- */

struct gathering {
    struct cache_visitor visitor;
    uint32_t shown[2000];
};

static bool gather(struct cache_visitor *visitor, struct span key, struct span value,
                   const struct cache_life *life)
{
    struct gathering *gathering = container_of(visitor, struct gathering, visitor);
    uint32_t number = bytes_get_u32(key.data);
    assert_int_equal(key.size, CACHE_TEST_KEY);
    assert_true(span_equal(value, span_of(&number, sizeof number)));
    assert_int_equal(life->note, cache_test_life.note);
    gathering->shown[number]++;
    return number % 2 == 0;
}

static void test_generation(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_found found;
    uint8_t key[CACHE_TEST_KEY];
    cache_test_key(1, key);
    struct span name = span_of(key, sizeof key);
    void (*const begins[])(struct cache *) = {cache_begin_generation, cache_clear};
    for (size_t i = 0; i < 2; i++) {
        uint64_t before = cache_generation(&cache);
        assert_true(cache_store(&cache, before, name, span_text("old"), &cache_test_life));
        begins[i](&cache);
        bool is_there = cache_test_find(&cache, 1, &found) == 0;
        assert_int_equal(is_there, i == 0);
        assert_true(cache_generation(&cache) != before);
        assert_false(cache_store(&cache, before, name, span_text("older"), &cache_test_life));
        assert_int_equal(cache_test_find(&cache, 1, &found) == 0, is_there);
        assert_true(!is_there || span_equal(found.value, span_text("old")));
        assert_true(cache_store(&cache, cache_generation(&cache), name, span_text("new"), &cache_test_life));
        assert_int_equal(cache_test_find(&cache, 1, &found), 0);
        assert_true(span_equal(found.value, span_text("new")));
    }
    assert_int_equal(cache_test_count(&cache).stored, 4);
    assert_int_equal(cache_test_count(&cache).dropped, 0);
    cache_close(&cache);
}

static void test_visit(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(4 * CACHE_SIZE_LEAST);
    struct gathering gathering = {.visitor.visit = gather};
    struct cache_found found;
    for (uint32_t i = 0; i < 2000; i++) {
        assert_true(cache_test_store(&cache, i, span_of(&i, sizeof i)));
    }
    cache_visit(&cache, &gathering.visitor);
    assert_int_equal(cache_test_count(&cache).entries, 1000);
    for (uint32_t i = 0; i < 2000; i++) {
        assert_int_equal(gathering.shown[i], 1);
        assert_int_equal(cache_test_find(&cache, i, &found), i % 2 == 0 ? 0 : ERROR_NOT_FOUND);
    }
    cache_visit(&cache, &gathering.visitor);
    for (uint32_t i = 0; i < 2000; i++) {
        assert_int_equal(gathering.shown[i], i % 2 == 0 ? 2 : 1);
    }
    cache_close(&cache);
}

/* ---- several holders of one mapping ---- */

static void test_adopt(void **state)
{
    (void)state;
    struct cache first = cache_test_open(CACHE_SIZE_LEAST), second;
    struct cache_found found;
    assert_true(cache_test_store(&first, 1, span_text("one")));
    int descriptor = dup(first.descriptor);
    assert_int_equal(cache_adopt(descriptor, 2 * CACHE_SIZE_LEAST, 2, &second), ERROR_INVALID);
    assert_int_equal(cache_adopt(descriptor, 100, 2, &second), ERROR_INVALID);
    assert_int_equal(cache_adopt(descriptor, CACHE_SIZE_LEAST, 2, &second), 0);
    assert_ptr_not_equal(first.head, second.head);
    assert_int_equal(cache_test_find(&second, 1, &found), 0);
    assert_true(cache_test_store(&second, 2, span_text("two")));
    assert_int_equal(cache_test_find(&first, 2, &found), 0);
    int third = dup(first.descriptor);
    cache_close(&first);
    cache_close(&second);
    assert_int_equal(cache_adopt(third, CACHE_SIZE_LEAST, 3, &first), 0);
    assert_int_equal(cache_test_find(&first, 2, &found), 0);
    assert_true(span_equal(found.value, span_text("two")));
    cache_clear(&first);
    cache_close(&first);
}

static void test_adopt_refuses_others(void **state)
{
    (void)state;
    void *memory;
    int descriptor;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST), other;
    assert_int_equal(memory_share(CACHE_SIZE_LEAST, "test", &memory, &descriptor), 0);
    assert_int_equal(cache_adopt(descriptor, CACHE_SIZE_LEAST, 1, &other), ERROR_INVALID);
    for (size_t i = 0; i < offsetof(struct cache_head, key); i++) {
        memcpy(memory, cache.head, sizeof *cache.head);
        ((uint8_t *)memory)[i] ^= 1;
        assert_int_equal(cache_adopt(descriptor, CACHE_SIZE_LEAST, 1, &other), ERROR_INVALID);
    }
    memory_close(memory, CACHE_SIZE_LEAST);
    close(descriptor);
    assert_int_equal(cache_adopt(descriptor, CACHE_SIZE_LEAST, 1, &other), ERROR_INVALID);
    cache_close(&cache);
}

/* ---- a model ---- */

static void play(size_t size, unsigned steps, uint64_t seed)
{
    static struct cache_model model;
    struct random random;
    random_init_repeatable(&random, seed);
    assert_int_equal(cache_model_open(&model, size), 0);
    for (unsigned i = 0; i < steps; i++) {
        /* A clear or a visit at every step would leave the cache empty. */
        uint8_t action = (uint8_t)random_below(&random, random_below(&random, 200) == 0 ? 256 : 250);
        const char *failure = cache_model_step(&model, action, random_u16(&random), random_u16(&random));
        if (failure != NULL) {
            fail_msg("seed %u, step %u: %s", (unsigned)seed, i, failure);
        }
    }
    assert_true(model.versions > 0 && cache_test_count(&model.cache).evicted > 0);
    cache_model_close(&model);
}

static void test_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        play(CACHE_SIZE_LEAST, 8000, seed);
        play(3 * CACHE_SIZE_LEAST + 12345, 8000, 100 + seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_as_stored),
        cmocka_unit_test(test_largest_life),
        cmocka_unit_test(test_stored_anew),
        cmocka_unit_test(test_all_sizes),
        cmocka_unit_test(test_full_key_compared),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_space),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_asked_before),
        cmocka_unit_test(test_claim),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_generation),
        cmocka_unit_test(test_visit),
        cmocka_unit_test(test_flood_passes_by),
        cmocka_unit_test(test_ghost),
        cmocka_unit_test(test_bytes_of_an_entry),
        cmocka_unit_test(test_refreshing_costs_nothing),
        cmocka_unit_test(test_large_and_hot),
        cmocka_unit_test(test_work_of_a_store),
        cmocka_unit_test(test_sizes_of_caches),
        cmocka_unit_test(test_slot_goes_first),
        cmocka_unit_test(test_reader_overtaken),
        cmocka_unit_test(test_adopt),
        cmocka_unit_test(test_adopt_refuses_others),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_storm),
        cmocka_unit_test(test_moved_while_read),
        cmocka_unit_test(test_clear_and_visit_in_a_storm),
        cmocka_unit_test(test_writer_drops),
        cmocka_unit_test(test_dead_holder),
        cmocka_unit_test(test_killed_anywhere),
        cmocka_unit_test(test_processes_share),
        cmocka_unit_test(test_one_claims),
        cmocka_unit_test(test_forgotten_stays_away),
    };
    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
