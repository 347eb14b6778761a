/*
 * The mapping as a whole: opened by the monitor, adopted by those who come later, counted, cleared, and
 * mended when a process died that was writing to it. What differs between caches follows from the size alone,
 * so that whoever adopts a mapping knows what must stand in its head.
 */
#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

#include "cache/internal.h"

#define MAGIC UINT64_C(0x3230656863616364) /* "dcache02", its version at the end */

enum {
    PART_MOST = 1792 * 1024,  /* bytes of a part: 4,096 buckets for entries of about 100 bytes */
    PART_SMALL = 1267 * 1024, /* below it half as many buckets */
    BUCKETS = 4096,
    SMALL_SHARE = 10, /* the small ring is a tenth of the log */
};

struct cache_layout cache_layout_of(size_t size)
{
    struct cache_layout layout = {.size = size};
    size_t room = size - sizeof(struct cache_head);
    layout.parts = (uint32_t)((room + PART_MOST - 1) / PART_MOST);
    room -= layout.parts * sizeof(struct cache_part);
    layout.part_bytes = room / layout.parts / CACHE_LINE * CACHE_LINE;
    layout.buckets = layout.part_bytes < PART_SMALL ? BUCKETS / 2 : BUCKETS;
    size_t books = layout.buckets * sizeof(struct cache_bucket);
    uint32_t words = (uint32_t)((layout.part_bytes - books) / sizeof(cache_word));
    layout.words[CACHE_SMALL] = words / SMALL_SHARE;
    layout.words[CACHE_MAIN] = words - words / SMALL_SHARE;
    return layout;
}

int cache_open(size_t size, struct hash_key key, uint32_t owner, struct cache *out)
{
    assert(size >= CACHE_SIZE_LEAST && owner != 0);
    void *memory;
    int descriptor;
    int error = memory_share(size, "dnseal-cache", &memory, &descriptor);
    if (error != 0) {
        return error;
    }
    struct cache_head *head = memory;
    head->magic = MAGIC;
    head->layout = cache_layout_of(size);
    head->key = key;
    cache_put(&head->era, 1);
    *out = (struct cache){.head = head, .descriptor = descriptor, .owner = owner};
    return 0;
}

int cache_adopt(int descriptor, size_t size, uint32_t owner, struct cache *out)
{
    assert(owner != 0);
    void *memory;
    if (size < CACHE_SIZE_LEAST) {
        return ERROR_INVALID;
    }
    int error = memory_adopt(descriptor, size, &memory);
    if (error != 0) {
        return error;
    }
    const struct cache_head *head = memory;
    struct cache_layout layout = cache_layout_of(size);
    if (head->magic != MAGIC || memcmp(&head->layout, &layout, sizeof layout) != 0 ||
        cache_load(&head->era) == 0) {
        memory_close(memory, size);
        return ERROR_INVALID;
    }
    *out = (struct cache){.head = memory, .descriptor = descriptor, .owner = owner};
    return 0;
}

void cache_close(struct cache *cache)
{
    memory_close(cache->head, cache->head->layout.size);
    memory_close_shared(cache->descriptor);
    *cache = (struct cache){.descriptor = -1};
}

void cache_mend(struct cache *cache, uint32_t owner)
{
    for (uint32_t i = 0; i < cache->head->layout.parts; i++) {
        struct cache_view view = cache_view_of(cache->head, i);
        uint32_t holder = owner;
        if (atomic_compare_exchange_strong_explicit(&view.part->holder, &holder, cache->owner,
                                                    memory_order_acquire, memory_order_relaxed)) {
            cache_put(&view.part->era, 0);
            cache_part_leave(&view);
        }
    }
}

void cache_mend_all(struct cache *cache)
{
    for (uint32_t i = 0; i < cache->head->layout.parts; i++) {
        struct cache_view view = cache_view_of(cache->head, i);
        uint32_t holder = atomic_load_explicit(&view.part->holder, memory_order_relaxed);
        if (holder != 0) {
            cache_mend(cache, holder);
        }
    }
}

uint64_t cache_generation(const struct cache *cache)
{
    return atomic_load_explicit(&cache->head->generation, memory_order_seq_cst);
}

void cache_begin_generation(struct cache *cache)
{
    atomic_fetch_add_explicit(&cache->head->generation, 1, memory_order_seq_cst);
}

/* In this order: who sees the new era sees the new generation. */
void cache_clear(struct cache *cache)
{
    cache_begin_generation(cache);
    atomic_fetch_add_explicit(&cache->head->era, 1, memory_order_acq_rel);
}

static uint64_t read_count(const cache_word *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

void cache_count(const struct cache *cache, struct cache_numbers *out)
{
    *out = (struct cache_numbers){0};
    for (uint32_t i = 0; i < cache->head->layout.parts; i++) {
        const struct cache_part *part = cache_view_of(cache->head, i).part;
        out->stored += read_count(&part->stored);
        out->dropped += read_count(&part->dropped);
        out->evicted += read_count(&part->evicted);
        if (cache_load(&part->era) == cache_load(&cache->head->era)) {
            uint64_t buckets = atomic_load_explicit(&part->buckets, memory_order_relaxed);
            out->entries += read_count(&part->entries);
            out->bytes +=
                read_count(&part->words) * sizeof(cache_word) + buckets * sizeof(struct cache_bucket);
        }
    }
}
