/*
 * What changes one entry: storing, claiming, forgetting. Each holds the entry's part for a microsecond or so,
 * or does nothing. An answer that is stored anew is mostly as large as before and is then written where the
 * old one was, so that names that are refreshed again and again use no more pages and push nothing out.
 */
#include <assert.h>

#include "cache/internal.h"

/* What is stored, and where it belongs. */
struct storing {
    struct span key, value;
    const struct cache_life *life;
    uint64_t hash;
};

static void write_entry(const struct cache_view *view, const struct storing *new, uint32_t place)
{
    cache_entry_write(&view->log[place], new->key, new->value, new->life);
}

static uint32_t words_at(const struct cache_view *view, uint32_t place)
{
    struct cache_entry entry;
    return cache_entry_read(view, place, &entry) ? cache_entry_words(entry.key_size, entry.value_size) : 0;
}

/* The slot is taken back before a word is overwritten. */
static void rewrite(const struct cache_view *view, cache_word *slot, const struct storing *new)
{
    uint64_t was = cache_load(slot);
    cache_put(slot, 0);
    write_entry(view, new, cache_slot_place(was));
    cache_index_publish(view, slot, was & (CACHE_SLOT_TAG | CACHE_SLOT_FREQUENCY), cache_slot_place(was));
}

/* `frequency`: of an entry with the same key that this one takes the place of. */
static void append(const struct cache_view *view, enum cache_queue queue, uint64_t frequency,
                   const struct storing *new)
{
    uint32_t words = cache_entry_words(new->key.size, new->value.size);
    cache_index_grow(view, new->hash);
    uint32_t place = cache_ring_take(view, queue, words);
    write_entry(view, new, place);
    cache_word *slot = cache_index_room(view, new->hash);
    cache_index_publish(view, slot, cache_slot_tag(new->hash) | frequency, place);
    cache_add(&view->part->entries, 1);
    cache_add(&view->part->words, words);
}

static void store(const struct cache_view *view, const struct storing *new)
{
    uint64_t frequency = 0;
    enum cache_queue queue = CACHE_SMALL;
    cache_word *slot = cache_index_find(view, new->hash, new->key);
    if (slot != NULL) {
        uint64_t was = cache_load(slot);
        uint32_t place = cache_slot_place(was);
        if (words_at(view, place) == cache_entry_words(new->key.size, new->value.size)) {
            rewrite(view, slot, new);
            return;
        }
        frequency = was & CACHE_SLOT_FREQUENCY;
        queue = cache_ring_of(view, place);
        cache_index_forget(view, slot);
    } else if (cache_index_take_ghost(view, new->hash)) {
        queue = CACHE_MAIN;
    }
    append(view, queue, frequency, new);
}

bool cache_store(struct cache *cache, uint64_t generation, struct span key, struct span value,
                 const struct cache_life *life)
{
    assert(key.size <= CACHE_KEY_MAX && life->stored_at < CACHE_TIME_END);
    uint64_t hash = cache_hash(cache->head, key);
    uint32_t number = cache_part_number(cache->head, hash);
    struct cache_view view;
    if (value.size > CACHE_VALUE_MAX || !cache_part_enter(cache, number, &view)) {
        cache_word *dropped = &cache_view_of(cache->head, number).part->dropped;
        atomic_fetch_add_explicit(dropped, 1, memory_order_relaxed);
        return false;
    }
    bool is_current = cache_generation(cache) == generation; /* asked while nobody else may hold the part */
    if (is_current) {
        struct storing new = {.key = key, .value = value, .life = life, .hash = hash};
        store(&view, &new);
        cache_add(&view.part->stored, 1);
    }
    cache_part_leave(&view);
    return is_current;
}

bool cache_claim(struct cache *cache, struct span key, uint64_t now, uint64_t until)
{
    uint64_t hash = cache_hash(cache->head, key);
    struct cache_view view;
    if (!cache_part_enter(cache, cache_part_number(cache->head, hash), &view)) {
        return false;
    }
    bool is_claimed = false;
    cache_word *slot = cache_index_find(&view, hash, key);
    if (slot != NULL) {
        struct cache_entry entry;
        uint32_t place = cache_slot_place(cache_load(slot));
        cache_word *words = &view.log[place];
        if (cache_entry_read(&view, place, &entry) &&
            cache_entry_claimed(words, entry.life.stored_at) <= now) {
            cache_entry_claim(words, entry.life.stored_at, until);
            is_claimed = true;
        }
    }
    cache_part_leave(&view);
    return is_claimed;
}

bool cache_remove(struct cache *cache, struct span key)
{
    uint64_t hash = cache_hash(cache->head, key);
    struct cache_view view;
    if (!cache_part_enter(cache, cache_part_number(cache->head, hash), &view)) {
        return false;
    }
    cache_word *slot = cache_index_find(&view, hash, key);
    if (slot != NULL) {
        cache_index_forget(&view, slot);
    }
    cache_part_leave(&view);
    return slot != NULL;
}
