/*
 * What stays in the cache: the share of questions that it answers, beside that of a plain LRU list of as many
 * bytes, for names by Zipf's law, alone and among names that are asked once. The LRU is ideal: it never
 * splits its bytes into parts, and an entry costs it what it costs ours.
 *
 *     ninja -C build bench/cache_policy && build/bench/cache_policy
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/cache.h"

#include "common.h"

enum {
    NAMES = 1000000,
    QUESTIONS = 6000000, /* for NAMES; the first third only fills the cache */
    KEY_SIZE = 26,
    OVERHEAD = 40, /* bytes that an entry of the LRU costs beside key and value */
    NOBODY = -1,
};

/* ---- which name is asked next ---- */

static double sums[NAMES];
static uint64_t draws = 88172645463325252U;

static double draw(void)
{
    draws ^= draws << 13;
    draws ^= draws >> 7;
    draws ^= draws << 17;
    return (double)(draws >> 11) / 9007199254740992.0;
}

static void prepare(double exponent)
{
    double sum = 0;
    for (size_t i = 0; i < NAMES; i++) {
        sum += pow((double)i + 1, -exponent);
        sums[i] = sum;
    }
}

static uint32_t draw_name(void)
{
    double wanted = draw() * sums[NAMES - 1];
    uint32_t low = 0, high = NAMES - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (sums[middle] > wanted) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* 24 to 279 bytes, the same for a name each time. */
static size_t value_size(uint32_t name)
{
    return 24 + (name * UINT32_C(2654435761) >> 24);
}

/* ---- the LRU: nodes in a ring, number 0 is its head ---- */

struct node {
    int32_t next, previous, name;
    uint32_t size;
};

struct lru {
    struct node *node;
    int32_t of_name[NAMES]; /* those that are asked once are not found again */
    int32_t used, free;
    uint64_t bytes, size;
};

static struct lru lru;

static void unlink_node(int32_t at)
{
    lru.node[lru.node[at].previous].next = lru.node[at].next;
    lru.node[lru.node[at].next].previous = lru.node[at].previous;
}

static void link_first(int32_t at)
{
    lru.node[at].previous = 0;
    lru.node[at].next = lru.node[0].next;
    lru.node[lru.node[0].next].previous = at;
    lru.node[0].next = at;
}

static void evict(void)
{
    int32_t last = lru.node[0].previous;
    unlink_node(last);
    lru.bytes -= lru.node[last].size;
    if (lru.node[last].name < NAMES) {
        lru.of_name[lru.node[last].name] = NOBODY;
    }
    lru.node[last].next = lru.free;
    lru.free = last;
}

static bool ask_lru(uint32_t name)
{
    if (name < NAMES && lru.of_name[name] != NOBODY) {
        unlink_node(lru.of_name[name]);
        link_first(lru.of_name[name]);
        return true;
    }
    uint32_t size = (uint32_t)(OVERHEAD + KEY_SIZE + value_size(name));
    while (lru.bytes + size > lru.size) {
        evict();
    }
    int32_t at = lru.free;
    if (at == NOBODY) {
        at = ++lru.used;
    } else {
        lru.free = lru.node[at].next;
    }
    lru.node[at] = (struct node){.name = (int32_t)name, .size = size};
    lru.bytes += size;
    link_first(at);
    if (name < NAMES) {
        lru.of_name[name] = at;
    }
    return false;
}

static void open_lru(size_t size)
{
    lru.node = calloc(size / (OVERHEAD + KEY_SIZE) + 2, sizeof *lru.node);
    if (lru.node == NULL) {
        bench_fail("memory");
    }
    lru.used = 0;
    lru.free = NOBODY;
    lru.bytes = 0;
    lru.size = size;
    for (size_t i = 0; i < NAMES; i++) {
        lru.of_name[i] = NOBODY;
    }
}

/* ---- ours ---- */

static bool ask_cache(struct cache *cache, uint32_t name)
{
    static uint8_t value[1024];
    uint8_t key[KEY_SIZE] = {0}, out[1024];
    struct cache_life life = {.stored_at = 1};
    struct cache_found found;
    memcpy(key + 3, &name, sizeof name);
    if (cache_find(cache, span_of(key, sizeof key), out, sizeof out, &found) == 0) {
        return true;
    }
    cache_store(cache, cache_generation(cache), span_of(key, sizeof key), span_of(value, value_size(name)),
                &life);
    return false;
}

/* `flood`: names that are asked once, for each that is asked again. */
static void compare(size_t size, double exponent, unsigned flood)
{
    struct cache cache;
    uint64_t ours = 0, theirs = 0, counted = 0;
    uint32_t fresh = NAMES;
    if (cache_open(size, (struct hash_key){{1, 2}}, 1, &cache) != 0) {
        bench_fail("memory");
    }
    open_lru(size);
    for (unsigned i = 0; i < QUESTIONS; i++) {
        uint32_t name = draw_name();
        bool in_ours = ask_cache(&cache, name), in_theirs = ask_lru(name);
        if (i >= QUESTIONS / 3) {
            counted++;
            ours += in_ours;
            theirs += in_theirs;
        }
        for (unsigned j = 0; j < flood; j++, fresh++) {
            ask_cache(&cache, fresh);
            ask_lru(fresh);
        }
    }
    printf("%6zu MiB  %8.1f  %5u  %6.2f %%  %6.2f %%\n", size >> 20, exponent, flood,
           100 * (double)theirs / (double)counted, 100 * (double)ours / (double)counted);
    fflush(stdout);
    free(lru.node);
    cache_close(&cache);
}

int main(void)
{
    const double exponents[] = {0.8, 1.0};
    const size_t sizes[] = {4 << 20, 16 << 20, 64 << 20};
    const unsigned floods[] = {0, 1, 4};
    printf("%10s  %8s  %5s  %8s  %8s\n", "size", "exponent", "flood", "LRU", "cache");
    for (size_t i = 0; i < sizeof exponents / sizeof exponents[0]; i++) {
        prepare(exponents[i]);
        for (size_t j = 0; j < sizeof sizes / sizeof sizes[0]; j++) {
            for (size_t k = 0; k < sizeof floods / sizeof floods[0]; k++) {
                compare(sizes[j], exponents[i], floods[k]);
            }
        }
    }
    return 0;
}
