/*
 * The index of a part: pairs of buckets of eight slots, as many as its entries need. For the holder of the
 * part; readers look at the same slots meanwhile (internal.h). A pair that is full forgets what is missed
 * least. Free slots are not wasted: they remember entries that left the small ring unasked, so that one that
 * comes back soon is known.
 */
#include <string.h>

#include "cache/internal.h"

enum {
    GROWTH_LOAD = 3,  /* entries a bucket, above which the index grows */
    SPLITS_MOST = 64, /* pairs that one store may split: it does so as long as its own is full */
};

#define STAMP_MASK (UINT64_MAX >> CACHE_SLOT_STAMP_SHIFT)

static bool has_key(const struct cache_view *view, uint32_t place, struct span key)
{
    struct cache_entry entry;
    return cache_entry_read(view, place, &entry) && cache_entry_has_key(&view->log[place], &entry, key);
}

cache_word *cache_index_find(const struct cache_view *view, uint64_t hash, struct span key)
{
    uint32_t home = cache_home(view, hash);
    for (unsigned i = 0; i < CACHE_KEY_SLOTS; i++) {
        cache_word *place = cache_slot_at(view, home, i);
        uint64_t slot = cache_load(place);
        if (cache_slot_may_be(slot, cache_slot_tag(hash)) && has_key(view, cache_slot_place(slot), key)) {
            return place;
        }
    }
    return NULL;
}

static uint64_t hash_at(const struct cache_view *view, uint32_t place)
{
    struct cache_entry entry;
    uint8_t key[CACHE_KEY_MAX];
    if (!cache_entry_read(view, place, &entry)) {
        return 0;
    }
    cache_entry_copy(&view->log[place], CACHE_ENTRY_HEAD, key, entry.key_size);
    return cache_hash(view->head, span_of(key, entry.key_size));
}

cache_word *cache_index_owner(const struct cache_view *view, uint32_t place)
{
    uint32_t home = cache_home(view, hash_at(view, place));
    for (unsigned i = 0; i < CACHE_KEY_SLOTS; i++) {
        cache_word *slot = cache_slot_at(view, home, i);
        uint64_t value = cache_load(slot);
        if ((value & CACHE_SLOT_LIVE) != 0 && cache_slot_place(value) == place) {
            return slot;
        }
    }
    return NULL;
}

/* How much is lost with a slot: entries that were asked for more are worth more, and newer ones more than
 * older ones; what is free in the key's own bucket (ghosts as well) goes before what is free in the other. */
static uint64_t worth(const struct cache_view *view, uint64_t slot, bool is_own)
{
    uint64_t age = (view->part->stamp - (slot >> CACHE_SLOT_STAMP_SHIFT)) & STAMP_MASK;
    uint64_t kind = (slot != 0) + (is_own ? 0U : 2U);
    if ((slot & CACHE_SLOT_LIVE) != 0) {
        kind = 4 + cache_slot_frequency(slot);
    }
    return kind << 32 | (STAMP_MASK - age);
}

cache_word *cache_index_room(const struct cache_view *view, uint64_t hash)
{
    uint32_t home = cache_home(view, hash);
    cache_word *least = NULL;
    uint64_t least_worth = UINT64_MAX;
    for (unsigned i = 0; i < CACHE_KEY_SLOTS; i++) {
        cache_word *slot = cache_slot_at(view, home, i);
        uint64_t slot_worth = worth(view, cache_load(slot), i < CACHE_BUCKET_SLOTS);
        if (slot_worth < least_worth) {
            least = slot;
            least_worth = slot_worth;
        }
    }
    if ((cache_load(least) & CACHE_SLOT_LIVE) != 0) {
        cache_index_forget(view, least);
        cache_add(&view->part->evicted, 1);
    }
    return least;
}

bool cache_index_take_ghost(const struct cache_view *view, uint64_t hash)
{
    uint32_t home = cache_home(view, hash);
    for (unsigned i = 0; i < CACHE_KEY_SLOTS; i++) {
        cache_word *place = cache_slot_at(view, home, i);
        uint64_t slot = cache_load(place);
        bool is_ghost = slot != 0 && (slot & CACHE_SLOT_LIVE) == 0;
        if (is_ghost && (slot & CACHE_SLOT_TAG) == cache_slot_tag(hash)) {
            cache_put(place, 0);
            return true;
        }
    }
    return false;
}

/* What goes to the new pair is in both for a moment, so that a reader finds it in the one that it looks at.
 */
static void split(const struct cache_view *view, uint32_t buckets)
{
    uint32_t mask = cache_bucket_mask(buckets + 1);
    uint32_t from = buckets & mask >> 1;
    unsigned moved = 0, filled[2] = {0};
    for (unsigned i = 0; i < CACHE_KEY_SLOTS; i++) {
        uint64_t slot = cache_load(cache_slot_at(view, from, i));
        if ((slot & CACHE_SLOT_LIVE) == 0) {
            continue;
        }
        uint32_t home = (uint32_t)hash_at(view, cache_slot_place(slot)) & mask;
        if ((home & ~UINT32_C(1)) == buckets) {
            uint32_t to = filled[home % 2] < CACHE_BUCKET_SLOTS ? home : home ^ 1;
            cache_put(cache_slot_at(view, to, filled[to % 2]++), slot);
            moved |= 1U << i;
        }
    }
    atomic_store_explicit(&view->part->buckets, buckets + 2, memory_order_release);
    for (unsigned i = 0; i < CACHE_KEY_SLOTS; i++) {
        if ((moved & 1U << i) != 0) {
            cache_put(cache_slot_at(view, from, i), 0);
        }
    }
}

static bool is_full(const struct cache_view *view, uint64_t hash)
{
    uint32_t home = cache_home(view, hash);
    for (unsigned i = 0; i < CACHE_KEY_SLOTS; i++) {
        if ((cache_load(cache_slot_at(view, home, i)) & CACHE_SLOT_LIVE) == 0) {
            return false;
        }
    }
    return true;
}

void cache_index_grow(const struct cache_view *view, uint64_t hash)
{
    for (unsigned i = 0; i < SPLITS_MOST; i++) {
        uint32_t buckets = atomic_load_explicit(&view->part->buckets, memory_order_relaxed);
        uint64_t entries = atomic_load_explicit(&view->part->entries, memory_order_relaxed);
        bool is_loaded = entries >= (uint64_t)GROWTH_LOAD * buckets;
        if (buckets == view->head->layout.buckets || !(is_loaded || is_full(view, hash))) {
            return;
        }
        split(view, buckets);
    }
}

void cache_index_publish(const struct cache_view *view, cache_word *slot, uint64_t tag_and_marks,
                         uint32_t place)
{
    uint64_t stamp = ++view->part->stamp;
    cache_put(slot, stamp << CACHE_SLOT_STAMP_SHIFT | (uint64_t)place << CACHE_PLACE_SHIFT | tag_and_marks |
                        CACHE_SLOT_LIVE);
}

void cache_index_forget(const struct cache_view *view, cache_word *slot)
{
    struct cache_entry entry;
    if (cache_entry_read(view, cache_slot_place(cache_load(slot)), &entry)) {
        cache_add(&view->part->words, -(uint64_t)cache_entry_words(entry.key_size, entry.value_size));
    }
    cache_add(&view->part->entries, UINT64_MAX);
    cache_put(slot, 0);
}

void cache_index_bury(const struct cache_view *view, cache_word *slot)
{
    uint64_t tag = cache_load(slot) & CACHE_SLOT_TAG;
    cache_index_forget(view, slot);
    cache_put(slot, (uint64_t)view->part->stamp << CACHE_SLOT_STAMP_SHIFT | tag);
}
