/*
 * What the cache costs: time to find and to store, and bytes of memory for each entry, at a million entries
 * whose keys are of 26 bytes and whose values are of 24, as the answer of one address is.
 *
 *     ninja -C build bench/cache_speed && build/bench/cache_speed
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"

#include "cache/cache.h"

#include "common.h"

enum { ENTRIES = 1000000, HOT = 1000, KEY_SIZE = 26, VALUE_SIZE = 24, FINDS = 4000000 };

static struct span key_of(uint32_t number, uint8_t key[KEY_SIZE])
{
    memset(key, 'n', KEY_SIZE);
    memcpy(key + 3, &number, sizeof number);
    return span_of(key, KEY_SIZE);
}

/* Nanoseconds for one, and how many were found. */
static void find(const char *what, const struct cache *cache, uint32_t first, uint32_t count)
{
    uint8_t key[KEY_SIZE], out[512];
    struct cache_found found;
    uint64_t hits = 0;
    uint64_t begin = clock_monotonic();
    for (uint32_t i = 0; i < FINDS; i++) {
        uint32_t number = first + (uint32_t)((uint64_t)(i * UINT32_C(2654435761)) * count >> 32);
        hits += cache_find(cache, key_of(number, key), out, sizeof out, &found) == 0;
    }
    double each = (double)(clock_monotonic() - begin) / FINDS;
    printf("%-44s %6.1f ns  (%.2f %% found)\n", what, each, 100.0 * (double)hits / FINDS);
}

static void store(const char *what, struct cache *cache, uint32_t first, uint32_t count, size_t size)
{
    static const uint8_t value[512];
    uint8_t key[KEY_SIZE];
    struct cache_life life = {.stored_at = 1, .fresh_for = 300000};
    uint64_t begin = clock_monotonic();
    for (uint32_t i = 0; i < count; i++) {
        cache_store(cache, cache_generation(cache), key_of(first + i, key), span_of(value, size), &life);
    }
    printf("%-44s %6.1f ns\n", what, (double)(clock_monotonic() - begin) / count);
}

static void tell_memory(const struct cache *cache)
{
    struct cache_numbers numbers;
    struct stat status;
    cache_count(cache, &numbers);
    if (fstat(cache->descriptor, &status) != 0) {
        bench_fail("fstat");
    }
    double resident = (double)status.st_blocks * 512;
    printf("%llu entries, %.1f bytes each by the count, %.1f by the pages that are touched\n",
           (unsigned long long)numbers.entries, (double)numbers.bytes / (double)numbers.entries,
           resident / (double)numbers.entries);
}

int main(int count, char **arguments)
{
    size_t size = (size_t)(count > 1 ? atol(arguments[1]) : 128) << 20;
    struct cache cache;
    if (cache_open(size, (struct hash_key){{1, 2}}, 1, &cache) != 0) {
        bench_fail("memory");
    }
    printf("a cache of %zu MiB\n", size >> 20);
    store("store 1,000 of 24 bytes", &cache, 0, HOT, VALUE_SIZE);
    find("find among 1,000 of 24 bytes", &cache, 0, HOT);
    cache_clear(&cache);
    store("store 1,000 of 100 bytes", &cache, 0, HOT, 100);
    find("find among 1,000 of 100 bytes", &cache, 0, HOT);
    cache_clear(&cache);
    store("store 1,000,000 of 24 bytes", &cache, 0, ENTRIES, VALUE_SIZE);
    tell_memory(&cache);
    find("find among 1,000,000", &cache, 0, ENTRIES);
    find("find what is not there", &cache, ENTRIES, ENTRIES);
    store("store the same again", &cache, 0, ENTRIES, VALUE_SIZE);
    store("store 4,000,000 more, that push others out", &cache, ENTRIES, 4 * ENTRIES, VALUE_SIZE);
    tell_memory(&cache);
    cache_close(&cache);
    return 0;
}
