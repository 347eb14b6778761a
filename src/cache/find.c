/*
 * Finding: the way of every hit, without a lock. Copies first and then looks whether what it copied was still
 * named by its slot; internal.h says why that is enough. The line of a bucket, seldom of two, and the entry's
 * are touched, and the mark is set only while it changes something.
 */
#include "base/error.h"

#include "cache/internal.h"

struct search {
    struct cache_view view;
    struct span key;
    uint64_t tag;
    uint8_t *out;
    size_t capacity;
};

/* One more time asked, as long as that can be told. */
static void mark(cache_word *place, uint64_t slot)
{
    unsigned frequency = cache_slot_frequency(slot);
    if (frequency < CACHE_FREQUENCY_MOST || (slot & CACHE_SLOT_ASKED) == 0) {
        uint64_t more = frequency < CACHE_FREQUENCY_MOST ? UINT64_C(1) << CACHE_FREQUENCY_SHIFT : 0;
        atomic_compare_exchange_strong_explicit(place, &slot, (slot + more) | CACHE_SLOT_ASKED,
                                                memory_order_relaxed, memory_order_relaxed);
    }
}

static bool is_still(const cache_word *place, uint64_t slot)
{
    return ((atomic_load_explicit(place, memory_order_relaxed) ^ slot) & ~CACHE_SLOT_MARKS) == 0;
}

/* What a slot names, if it is what is looked for. */
static int take(const struct search *search, cache_word *place, uint64_t slot, struct cache_found *found)
{
    struct cache_entry entry;
    const cache_word *words = &search->view.log[cache_slot_place(slot)];
    if (!cache_entry_read(&search->view, cache_slot_place(slot), &entry) ||
        !cache_entry_has_key(words, &entry, search->key)) {
        return ERROR_NOT_FOUND;
    }
    bool fits = entry.value_size <= search->capacity;
    if (fits) {
        cache_entry_copy(words, CACHE_ENTRY_HEAD + entry.key_size, search->out, entry.value_size);
    }
    if (!is_still(place, slot)) {
        return ERROR_NOT_FOUND;
    }
    if (!fits) {
        return ERROR_SPACE;
    }
    found->life = entry.life;
    found->value = span_of(search->out, entry.value_size);
    found->asked_before = (slot & CACHE_SLOT_ASKED) != 0;
    mark(place, slot);
    return 0;
}

static int look_into(const struct search *search, struct cache_bucket *bucket, struct cache_found *found)
{
    for (unsigned i = 0; i < CACHE_BUCKET_SLOTS; i++) {
        uint64_t slot = cache_load(&bucket->slot[i]);
        if (cache_slot_may_be(slot, search->tag)) {
            int result = take(search, &bucket->slot[i], slot, found);
            if (result != ERROR_NOT_FOUND) {
                return result;
            }
        }
    }
    return ERROR_NOT_FOUND;
}

int cache_find(const struct cache *cache, struct span key, uint8_t *out, size_t capacity,
               struct cache_found *found)
{
    uint64_t hash = cache_hash(cache->head, key);
    struct search search = {.view = cache_view_of(cache->head, cache_part_number(cache->head, hash)),
                            .key = key,
                            .tag = cache_slot_tag(hash),
                            .out = out,
                            .capacity = capacity};
    if (cache_load(&search.view.part->era) != cache_load(&cache->head->era)) {
        return ERROR_NOT_FOUND;
    }
    uint32_t home = cache_home(&search.view, hash);
    int result = look_into(&search, &search.view.bucket[home], found);
    return result == ERROR_NOT_FOUND ? look_into(&search, &search.view.bucket[home ^ 1], found) : result;
}
