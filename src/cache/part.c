/*
 * Who writes to a part: one at a time, and nobody waits to be it. A part that is of another era than the
 * cache (it was never used, the cache was cleared, its holder died) is begun anew by the next who holds it.
 */
#include "cache/internal.h"

/* Readers that look at an entry of the old era find its slot empty before anything else is stored in the
 * part. The bucket behind the last one may have been half made when its holder died. */
static void begin_anew(const struct cache_view *view, uint64_t era)
{
    struct cache_part *part = view->part;
    uint32_t buckets = atomic_load_explicit(&part->buckets, memory_order_relaxed);
    for (uint32_t i = 0; i < buckets + 2 && i < view->head->layout.buckets; i++) {
        for (size_t j = 0; j < CACHE_BUCKET_SLOTS; j++) {
            cache_put(&view->bucket[i].slot[j], 0);
        }
    }
    cache_ring_begin(view);
    atomic_store_explicit(&part->entries, 0, memory_order_relaxed);
    atomic_store_explicit(&part->words, 0, memory_order_relaxed);
    atomic_store_explicit(&part->buckets, CACHE_BUCKETS_LEAST, memory_order_release);
    atomic_store_explicit(&part->era, era, memory_order_seq_cst);
}

bool cache_part_enter(const struct cache *cache, uint32_t number, struct cache_view *out)
{
    struct cache_view view = cache_view_of(cache->head, number);
    uint32_t nobody = 0;
    if (!atomic_compare_exchange_strong_explicit(&view.part->holder, &nobody, cache->owner,
                                                 memory_order_acquire, memory_order_relaxed)) {
        return false;
    }
    uint64_t era = cache_load(&cache->head->era);
    if (cache_load(&view.part->era) != era) {
        begin_anew(&view, era);
    }
    *out = view;
    return true;
}

void cache_part_leave(const struct cache_view *view)
{
    atomic_store_explicit(&view->part->holder, 0, memory_order_release);
}
