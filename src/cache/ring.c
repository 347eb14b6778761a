/*
 * The log of a part: two rings, written at the head and cleared at the tail. An entry comes in through the
 * small one. At its end it goes on to the main one if it was asked for, and else leaves a ghost in the index.
 * The main one gives an entry that was asked for another round, for each time it was asked. While the main
 * ring has never been full all come into it at once. This is S3-FIFO (Yang, Zhang, Qiu, Yue, Vigfusson: "FIFO
 * queues are all you need for cache eviction").
 *
 * An entry lies in one piece; where it would not, the rest of the ring is marked as unused. Entries that were
 * replaced or forgotten stay until the tail comes by. For the holder of the part.
 */
#include "cache/internal.h"

#define UNUSED UINT64_MAX /* no entry begins with it */

enum {
    FREE_SHARE = 16,    /* the main ring is not full while a sixteenth of it is free */
    PROMOTED_FROM = 1,  /* how often an entry must have been asked for to go on to the main ring */
    ROUND_LEAST = 2048, /* words that may be given another round to make room: so many */
    ROUND_SHARE = 4,    /* and so many times those that are wanted */
};

static struct cache_ring *ring_at(const struct cache_view *view, enum cache_queue queue)
{
    return &view->part->ring[queue];
}

static uint32_t ring_end(const struct cache_ring *ring)
{
    return ring->first + ring->size;
}

void cache_ring_begin(const struct cache_view *view)
{
    uint32_t first = 0;
    for (enum cache_queue queue = CACHE_SMALL; queue < CACHE_QUEUES; queue++) {
        uint32_t size = view->head->layout.words[queue];
        *ring_at(view, queue) =
            (struct cache_ring){.first = first, .size = size, .head = first, .tail = first};
        first += size;
    }
}

enum cache_queue cache_ring_of(const struct cache_view *view, uint32_t place)
{
    return place < view->head->layout.words[CACHE_SMALL] ? CACHE_SMALL : CACHE_MAIN;
}

/* Free words in a row at the head. */
static uint32_t gap(const struct cache_ring *ring)
{
    bool is_before_tail = ring->used > 0 && ring->head <= ring->tail;
    return (is_before_tail ? ring->tail : ring_end(ring)) - ring->head;
}

static void move_head(struct cache_ring *ring, uint32_t words)
{
    ring->used += words;
    ring->head += words;
    if (ring->head == ring_end(ring)) {
        ring->head = ring->first;
    }
}

static void move_tail(struct cache_ring *ring, uint32_t words)
{
    ring->used -= words;
    ring->tail += words;
    if (ring->tail == ring_end(ring)) {
        ring->tail = ring->first;
    }
}

/* Goes round to the begin of the ring where the words do not fit before its end. */
static void turn(const struct cache_view *view, struct cache_ring *ring, uint32_t words)
{
    bool is_behind_tail = ring->used == 0 || ring->head > ring->tail;
    if (is_behind_tail && ring_end(ring) - ring->head < words) {
        cache_put(&view->log[ring->head], UNUSED);
        move_head(ring, ring_end(ring) - ring->head);
    }
}

/* Upwards: a place may overlap the words that go there, but it never lies behind their begin. */
static void copy(const struct cache_view *view, uint32_t from, uint32_t to, uint32_t words)
{
    for (uint32_t i = 0; i < words; i++) {
        cache_put(&view->log[to + i], cache_load(&view->log[from + i]));
    }
}

/* The oldest entry becomes the newest. The gap at the head is as large afterwards, whether it was large
 * enough or the entry was moved down onto itself; so the slot is taken back first. */
static void keep_oldest(const struct cache_view *view, struct cache_ring *ring, cache_word *slot,
                        uint32_t words)
{
    uint64_t was = cache_load(slot);
    uint64_t frequency = cache_slot_frequency(was) - 1;
    cache_put(slot, 0);
    turn(view, ring, words);
    uint32_t place = ring->head;
    copy(view, ring->tail, place, words);
    move_tail(ring, words);
    move_head(ring, words);
    uint64_t marks = (was & CACHE_SLOT_ASKED) | frequency << CACHE_FREQUENCY_SHIFT;
    cache_index_publish(view, slot, (was & CACHE_SLOT_TAG) | marks, place);
}

/* What stands at the tail: its words, and its slot unless nothing names it any more. */
static uint32_t look_at_oldest(const struct cache_view *view, const struct cache_ring *ring,
                               cache_word **slot)
{
    struct cache_entry entry;
    *slot = NULL;
    uint32_t rest = ring_end(ring) - ring->tail;
    if (cache_load(&view->log[ring->tail]) == UNUSED || !cache_entry_read(view, ring->tail, &entry)) {
        return rest;
    }
    *slot = cache_index_owner(view, ring->tail);
    return cache_entry_words(entry.key_size, entry.value_size);
}

/* `budget`: how many words may be given another round. */
static void clear_oldest_of_main(const struct cache_view *view, struct cache_ring *ring, uint32_t *budget)
{
    cache_word *slot;
    uint32_t words = look_at_oldest(view, ring, &slot);
    if (slot != NULL && cache_slot_frequency(cache_load(slot)) > 0 && *budget > 0) {
        *budget -= words < *budget ? words : *budget;
        keep_oldest(view, ring, slot, words);
        return;
    }
    if (slot != NULL) {
        cache_index_forget(view, slot);
        cache_add(&view->part->evicted, 1);
    }
    move_tail(ring, words);
}

static uint32_t take_from_main(const struct cache_view *view, uint32_t words)
{
    struct cache_ring *ring = ring_at(view, CACHE_MAIN);
    uint32_t budget = ROUND_LEAST + ROUND_SHARE * words;
    for (turn(view, ring, words); gap(ring) < words; turn(view, ring, words)) {
        clear_oldest_of_main(view, ring, &budget);
    }
    uint32_t place = ring->head;
    move_head(ring, words);
    return place;
}

static void promote(const struct cache_view *view, cache_word *slot, uint32_t words)
{
    uint64_t was = cache_load(slot);
    uint32_t place = take_from_main(view, words);
    copy(view, cache_slot_place(was), place, words);
    cache_index_publish(view, slot, was & (CACHE_SLOT_TAG | CACHE_SLOT_ASKED), place);
}

static bool main_has_room(const struct cache_view *view)
{
    const struct cache_ring *main = ring_at(view, CACHE_MAIN);
    return main->size - main->used >= main->size / FREE_SHARE;
}

static void clear_oldest_of_small(const struct cache_view *view, struct cache_ring *ring)
{
    cache_word *slot;
    uint32_t words = look_at_oldest(view, ring, &slot);
    if (slot != NULL && cache_slot_frequency(cache_load(slot)) >= PROMOTED_FROM) {
        promote(view, slot, words);
    } else if (slot != NULL) {
        cache_index_bury(view, slot);
        cache_add(&view->part->evicted, 1);
    }
    move_tail(ring, words);
}

static uint32_t take_from_small(const struct cache_view *view, uint32_t words)
{
    struct cache_ring *ring = ring_at(view, CACHE_SMALL);
    for (turn(view, ring, words); gap(ring) < words; turn(view, ring, words)) {
        clear_oldest_of_small(view, ring);
    }
    uint32_t place = ring->head;
    move_head(ring, words);
    return place;
}

uint32_t cache_ring_take(const struct cache_view *view, enum cache_queue queue, uint32_t words)
{
    bool fits_small = words <= view->head->layout.words[CACHE_SMALL] / 2;
    bool is_on_trial = queue == CACHE_SMALL && fits_small && !main_has_room(view);
    return is_on_trial ? take_from_small(view, words) : take_from_main(view, words);
}
