/*
 * Showing all entries, for whoever saves or searches the cache. Each is copied by the holder of its part, so
 * that none is on its way from one place to another, and shown when the part is free again.
 */
#include <sched.h>

#include "cache/internal.h"

/* A holder is done after microseconds, or milliseconds when it has to wait for its processor; one that is
 * dead never. */
enum { TRIES = 200 * 1000 };

struct tour {
    const struct cache *cache;
    struct cache_visitor *visitor;
    uint32_t number; /* of the part */
    struct cache_entry entry;
    uint8_t bytes[CACHE_KEY_MAX + CACHE_VALUE_MAX]; /* key and value of the entry */
};

static bool enter(const struct tour *tour, struct cache_view *view)
{
    for (unsigned i = 0; i < TRIES; i++) {
        if (cache_part_enter(tour->cache, tour->number, view)) {
            return true;
        }
        sched_yield();
    }
    return false;
}

static bool copy_out(struct tour *tour, const struct cache_view *view, const cache_word *place)
{
    uint64_t slot = cache_load(place);
    if ((slot & CACHE_SLOT_LIVE) == 0 || !cache_entry_read(view, cache_slot_place(slot), &tour->entry)) {
        return false;
    }
    cache_entry_copy(&view->log[cache_slot_place(slot)], CACHE_ENTRY_HEAD, tour->bytes,
                     tour->entry.key_size + tour->entry.value_size);
    return true;
}

static bool forget(const struct tour *tour, struct span key)
{
    struct cache_view view;
    if (!enter(tour, &view)) {
        return false;
    }
    cache_word *slot = cache_index_find(&view, cache_hash(view.head, key), key);
    if (slot != NULL) {
        cache_index_forget(&view, slot);
    }
    cache_part_leave(&view);
    return true;
}

/* False when the part cannot be had. */
static bool show(struct tour *tour, const cache_word *slot)
{
    struct cache_view view;
    if (!enter(tour, &view)) {
        return false;
    }
    bool is_there = copy_out(tour, &view, slot);
    cache_part_leave(&view);
    if (!is_there) {
        return true;
    }
    struct span key = span_of(tour->bytes, tour->entry.key_size);
    struct span value = span_of(tour->bytes + key.size, tour->entry.value_size);
    return tour->visitor->visit(tour->visitor, key, value, &tour->entry.life) || forget(tour, key);
}

static void show_part(struct tour *tour)
{
    struct cache_view view = cache_view_of(tour->cache->head, tour->number);
    if (atomic_load_explicit(&view.part->era, memory_order_seq_cst) != cache_load(&view.head->era)) {
        return;
    }
    for (uint32_t i = 0; i < atomic_load_explicit(&view.part->buckets, memory_order_acquire); i++) {
        for (size_t j = 0; j < CACHE_BUCKET_SLOTS; j++) {
            if (!show(tour, &view.bucket[i].slot[j])) {
                return;
            }
        }
    }
}

void cache_visit(struct cache *cache, struct cache_visitor *visitor)
{
    struct tour tour = {.cache = cache, .visitor = visitor};
    for (; tour.number < cache->head->layout.parts; tour.number++) {
        show_part(&tour);
    }
}
