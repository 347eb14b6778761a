/* Which entries stay in the cache, and what they cost: bytes, pages and work. */
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"

#include "cache/internal.h"

#include "../support/cache_model.h"
#include "cache_test.h"

/* Entries that are asked for outlive a flood of ten times the cache that nobody asks for twice. */
void test_flood_passes_by(void **state)
{
    (void)state;
    enum { HOT = 2000, FLOOD = 150000 };
    struct cache cache = cache_test_open(2 * CACHE_SIZE_LEAST);
    uint8_t value[80] = {0};
    struct cache_found found;
    for (uint32_t i = 0; i < HOT; i++) {
        assert_true(cache_test_store(&cache, i, span_of(value, sizeof value)));
    }
    unsigned lost = 0;
    for (uint32_t i = 0; i < FLOOD; i++) {
        uint32_t hot = i % HOT;
        if (cache_test_find(&cache, hot, &found) != 0) {
            assert_true(cache_test_store(&cache, hot, span_of(value, sizeof value)));
            lost++;
        }
        assert_true(cache_test_store(&cache, HOT + i, span_of(value, sizeof value)));
    }
    assert_in_range(lost, 0, HOT / 100);
    assert_true(cache_test_count(&cache).evicted > FLOOD / 2);
    cache_close(&cache);
}

static enum cache_queue queue_of(const struct cache *cache, uint32_t number)
{
    uint8_t key[CACHE_TEST_KEY];
    struct cache_view view = cache_view_of(cache->head, 0);
    struct span bytes = cache_test_key(number, key);
    cache_word *slot = cache_index_find(&view, cache_hash(cache->head, bytes), bytes);
    assert_non_null(slot);
    return cache_ring_of(&view, cache_slot_place(cache_load(slot)));
}

/* One that left unasked and comes back soon is believed to be worth more than another newcomer. */
void test_ghost(void **state)
{
    (void)state;
    enum { FLOOD = 20000, BACK = 100 };
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    uint8_t value[80] = {0};
    struct cache_found found;
    unsigned known = 0, back = 0;
    for (uint32_t i = 0; i < FLOOD; i++) {
        assert_true(cache_test_store(&cache, i, span_of(value, sizeof value)));
    }
    for (uint32_t i = FLOOD - 1; back < BACK; i--) {
        if (cache_test_find(&cache, i, &found) != 0) {
            assert_true(cache_test_store(&cache, i, span_of(value, sizeof value)));
            known += queue_of(&cache, i) == CACHE_MAIN;
            back++;
            assert_true(cache_test_store(&cache, FLOOD + i, span_of(value, sizeof value)));
            assert_int_equal(queue_of(&cache, FLOOD + i), CACHE_SMALL);
        }
    }
    assert_in_range(known, BACK * 8 / 10, BACK);
    cache_close(&cache);
}

static uint64_t resident(const struct cache *cache)
{
    struct stat status;
    assert_int_equal(fstat(cache->descriptor, &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

/* A name of 26 bytes and an answer of 24 cost less than 100, and no page is touched before it is needed. */
void test_bytes_of_an_entry(void **state)
{
    (void)state;
    enum { ENTRIES = 100000 };
    struct cache cache = cache_test_open(10 * 1024 * 1024);
    uint8_t key[26] = {0}, value[24] = {0};
    uint64_t before = resident(&cache);
    assert_in_range(before, 0, 64 * 1024);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        bytes_put_u32(key + 5, i);
        assert_true(cache_store(&cache, cache_generation(&cache), span_of(key, sizeof key),
                                span_of(value, sizeof value), &cache_test_life));
        if (i == ENTRIES / 10) {
            assert_in_range(resident(&cache), 0, ENTRIES / 10 * 200);
        }
    }
    struct cache_numbers numbers = cache_test_count(&cache);
    assert_in_range(cache_test_entries(&cache), ENTRIES * 97 / 100, ENTRIES);
    assert_in_range(numbers.bytes / numbers.entries, 50, 100);
    assert_in_range(resident(&cache) / numbers.entries, 50, 100);
    assert_in_range(resident(&cache), 0, 10 * 1024 * 1024);
    cache_close(&cache);
}

/* Names that are refreshed again and again use no more memory than at first. */
void test_refreshing_costs_nothing(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(10 * 1024 * 1024);
    uint8_t value[80] = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(cache_test_store(&cache, i, span_of(value, sizeof value)));
    }
    uint64_t before = resident(&cache);
    for (uint32_t i = 0; i < 100000; i++) {
        value[i % 80]++;
        assert_true(cache_test_store(&cache, i % 1000, span_of(value, sizeof value)));
    }
    assert_int_equal(resident(&cache), before);
    assert_int_equal(cache_test_count(&cache).entries, 1000);
    assert_int_equal(cache_test_count(&cache).evicted, 0);
    cache_close(&cache);
}

/* An entry that was asked for often, however large, has another round while smaller ones pass. */
void test_large_and_hot(void **state)
{
    (void)state;
    static uint8_t large[CACHE_VALUE_MAX];
    struct cache cache = cache_test_open(2 * CACHE_SIZE_LEAST);
    struct cache_found found;
    cache_model_value(1, 1, large, sizeof large);
    assert_true(cache_test_store(&cache, 0, span_of(large, sizeof large)));
    for (uint32_t i = 1; i < 50000; i++) {
        if (i % 100 == 0) {
            assert_int_equal(cache_test_find(&cache, 0, &found), 0);
            assert_true(span_equal(found.value, span_of(large, sizeof large)));
        }
        assert_true(cache_test_store(&cache, i, span_of(large, 100 + i % 50)));
        assert_int_equal(cache_test_find(&cache, i, &found), 0);
    }
    cache_close(&cache);
}

/* Where all that is there was asked for often, a store still moves no more than a few hundred of them. */
void test_work_of_a_store(void **state)
{
    (void)state;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    struct cache_view view = cache_view_of(cache.head, 0);
    uint8_t value[80] = {0};
    struct cache_found found;
    for (uint32_t i = 0; i < 30000; i++) {
        uint32_t before = view.part->stamp;
        assert_true(cache_test_store(&cache, i, span_of(value, sizeof value)));
        assert_in_range(view.part->stamp - before, 1, 300);
        for (uint32_t j = 0; j < 3 * 9000 && i % 4000 == 0; j++) {
            (void)cache_test_find(&cache, i - j % 9000, &found);
        }
        assert_int_equal(cache_test_find(&cache, i, &found), 0);
    }
    assert_true(cache_test_count(&cache).evicted > 10000);
    cache_close(&cache);
}

void test_sizes_of_caches(void **state)
{
    (void)state;
    for (size_t size = CACHE_SIZE_LEAST; size < (size_t)1 << 36; size += size / 7 + 12345) {
        struct cache_layout layout = cache_layout_of(size);
        size_t words = (size_t)layout.words[CACHE_SMALL] + layout.words[CACHE_MAIN];
        size_t books = layout.buckets * sizeof(struct cache_bucket);
        size_t heads = sizeof(struct cache_head) + layout.parts * sizeof(struct cache_part);
        assert_true(heads + layout.parts * layout.part_bytes <= size);
        assert_true(heads + layout.parts * layout.part_bytes > size - size / 1000);
        assert_true(books + words * sizeof(cache_word) <= layout.part_bytes);
        assert_true(words < (size_t)1 << CACHE_PLACE_BITS);
        assert_true(cache_entry_words(CACHE_KEY_MAX, CACHE_VALUE_MAX) <= words / 4);
        assert_true(books * 100 / layout.part_bytes <= 20);
    }
}
