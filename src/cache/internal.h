/*
 * How the cache lies in its mapping, and who may touch what.
 *
 *     struct cache_head | struct cache_part of each part | buckets and log of each part
 *
 * The hash of a key chooses the part, the bucket in it, and a tag. A bucket is a cache line of eight slots; a
 * slot names an entry by its place in the log. The log is two rings of words: what is stored first goes
 * through the small one, and what was asked for there goes on to the main one (ring.c). The index grows with
 * the entries, one bucket at a time (linear hashing, index.c), so that pages are touched only as far as they
 * are used.
 *
 * ONE WRITER. All of a part but the marks in its slots is written by whoever holds it: `holder` is taken by
 * compare and swap (acquire) from 0 and given back by a store (release). Nobody waits for it.
 *
 * READERS, and why each memory order is what it is:
 *  1. Slots and words of the log are atomic words of 64 bits. A writer takes a slot back (stores another
 * value) BEFORE it overwrites the words of the entry that the slot names, and stores the slot of a new entry
 * AFTER its words.
 *  2. A slot is loaded with acquire and stored with release: who sees it sees the words that it names.
 *  3. Words of the log are stored with release and loaded with acquire. A reader that got a word of a newer
 * entry has synchronised with that store; the slot was taken back before it, so the second look at the slot,
 * which comes after the words in program order, cannot find the old value. No fence is needed, and each pair
 * is one that ThreadSanitizer follows.
 *  4. The second look may be relaxed: it cannot move up, since loads with acquire come before it.
 *  5. A slot never has the same value twice for different bytes: each publication has its own stamp, the
 * part's count of 28 bits. A reader would have to stand still between its two looks for exactly 2^28 stores
 * in one part that end at the same place, which takes a minute of nothing but stores.
 *  6. Readers set marks by compare and swap, relaxed: nothing is passed on with a mark, and an exchange keeps
 * what the writer released (it continues the release sequence). It fails once the writer took the slot back.
 * A writer that stores a slot may lose a mark; a lost mark costs nothing but a little luck.
 *  7. `era` and `buckets` are loaded with acquire: slots are empty before the era is current, and the slots
 * of a new bucket are there before it counts. On x86 all of these loads and stores are plain moves. On arm64
 * they are ldar (ldapr where the compiler may) and stlr, which hold the order that 3 and 4 need without a
 * barrier.
 *
 *  8. What was asked for in an older generation is not stored: a writer looks at `generation` while it holds
 * the part. Whoever forgets entries begins a generation first, and then holds each part. If a writer held it
 * before, what it stored is found and forgotten; if after, it has synchronised with that hold and sees the
 * new generation. A part of another era is passed over without being held. So that its first writer cannot
 * miss the generation while the forgetter misses the era that the writer begins, these four are sequentially
 * consistent: the count of the generation and the look at the era there, the store of the era and the look at
 * the generation here. The looks cost what an acquire costs.
 *
 * A reader believes no size that it read before the second look: each is checked against the ends of the log.
 */
#ifndef CACHE_INTERNAL_H
#define CACHE_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/hash.h"

#include "cache/cache.h"

typedef _Atomic(uint64_t) cache_word;

enum {
    CACHE_LINE = 64,
    CACHE_BUCKETS_LEAST = 16,
    CACHE_BUCKET_SLOTS = 8,
    CACHE_KEY_SLOTS = 2 * CACHE_BUCKET_SLOTS,
    CACHE_HASH_TAG_SHIFT = 20,
    CACHE_SLOT_TAG_SHIFT = 4,
};

struct cache_bucket {
    _Alignas(CACHE_LINE) cache_word slot[CACHE_BUCKET_SLOTS];
};

/* One ring of the log. Places are words, counted from the begin of the log. */
struct cache_ring {
    uint32_t first, size;
    uint32_t head; /* where the next entry begins */
    uint32_t tail; /* where the oldest one begins */
    uint32_t used; /* words from tail to head */
};

enum cache_queue { CACHE_SMALL, CACHE_MAIN, CACHE_QUEUES };

struct cache_part {
    /* Read by everybody and rarely written. */
    _Alignas(CACHE_LINE) cache_word era; /* the one it was begun in; 0: to be begun anew */
    _Atomic(uint32_t) buckets;           /* in use, an even number */

    /* The holder's. */
    _Alignas(CACHE_LINE) _Atomic(uint32_t) holder; /* an owner, 0: nobody */
    uint32_t stamp;
    struct cache_ring ring[CACHE_QUEUES];

    /* Counts, written by the holder; `dropped` by those who could not be it. */
    _Alignas(CACHE_LINE) cache_word entries;
    cache_word words;
    cache_word stored;
    cache_word evicted;
    cache_word dropped;
};

/* What differs between caches of different sizes, and follows from the size alone. */
struct cache_layout {
    uint64_t size;
    uint64_t part_bytes; /* buckets and log of a part */
    uint32_t parts;
    uint32_t buckets; /* of a part, at most: a power of two */
    uint32_t words[CACHE_QUEUES];
};

struct cache_head {
    uint64_t magic;
    struct cache_layout layout;
    struct hash_key key;
    _Alignas(CACHE_LINE) cache_word era; /* never 0; a part of another era is empty */
    cache_word generation;
};

/* ---- where things are ---- */

struct cache_layout cache_layout_of(size_t size);

/* A part, with what a reader or a writer of it needs at hand. */
struct cache_view {
    struct cache_head *head;
    struct cache_part *part;
    struct cache_bucket *bucket;
    cache_word *log;
    uint32_t log_words;
};

static inline struct cache_view cache_view_of(struct cache_head *head, uint32_t number)
{
    const struct cache_layout *layout = &head->layout;
    struct cache_part *parts = (void *)(head + 1);
    uint8_t *bodies = (void *)(parts + layout->parts);
    struct cache_view view = {.head = head, .part = &parts[number]};
    view.bucket = (void *)(bodies + number * layout->part_bytes);
    view.log = (void *)(view.bucket + layout->buckets);
    view.log_words = layout->words[CACHE_SMALL] + layout->words[CACHE_MAIN];
    return view;
}

/* What a key is found by. The last bytes decide on the tag alone, so that whoever looks for several keys that
 * differ in those finds them in the same lines; sixteen of them at most can be kept. The constant spreads 24
 * bits over twelve (Knuth: multiplicative hashing); which tags meet is no secret that matters, since a tag
 * only saves comparisons. */
static inline uint64_t cache_hash(const struct cache_head *head, struct span key)
{
    size_t home = key.size > CACHE_KEY_TAIL ? key.size - CACHE_KEY_TAIL : 0;
    uint32_t tail = 0;
    for (size_t i = home; i < key.size; i++) {
        tail = tail << 8 | key.data[i];
    }
    uint64_t hash = hash_bytes(&head->key, span_of(key.data, home));
    return hash ^ (uint64_t)(tail * UINT32_C(2654435761) >> 20) << CACHE_HASH_TAG_SHIFT;
}

/* The high half of a hash chooses the part, the low half bucket and tag. */
static inline uint32_t cache_part_number(const struct cache_head *head, uint64_t hash)
{
    return (uint32_t)((hash >> 32) * head->layout.parts >> 32);
}

static inline uint32_t cache_bucket_mask(uint32_t buckets)
{
    return UINT32_MAX >> __builtin_clz(buckets - 1);
}

/* The bucket of a hash when so many are in use. */
static inline uint32_t cache_bucket_number(uint64_t hash, uint32_t buckets)
{
    uint32_t mask = cache_bucket_mask(buckets);
    uint32_t number = (uint32_t)hash & mask;
    return number < buckets ? number : number & mask >> 1;
}

static inline uint32_t cache_home(const struct cache_view *view, uint64_t hash)
{
    uint32_t buckets = atomic_load_explicit(&view->part->buckets, memory_order_acquire);
    return cache_bucket_number(hash, buckets);
}

/* The slots where a key may be, counted from its home: first those of its own bucket, then its neighbour's.
 */
static inline cache_word *cache_slot_at(const struct cache_view *view, uint32_t home, unsigned number)
{
    return &view->bucket[home ^ number / CACHE_BUCKET_SLOTS].slot[number % CACHE_BUCKET_SLOTS];
}

/* ---- slots: 0 is an empty one; tag and stamp without LIVE are the ghost of an entry that left the small
 * ring ---- */

#define CACHE_SLOT_LIVE        (UINT64_C(1) << 0)
#define CACHE_SLOT_ASKED       (UINT64_C(1) << 1) /* since it was stored */
#define CACHE_SLOT_FREQUENCY   (UINT64_C(3) << 2) /* how often lately */
#define CACHE_SLOT_MARKS       (CACHE_SLOT_ASKED | CACHE_SLOT_FREQUENCY)
#define CACHE_SLOT_TAG         (UINT64_C(0xfff) << 4)
#define CACHE_SLOT_STAMP_SHIFT 36

enum { CACHE_FREQUENCY_SHIFT = 2, CACHE_FREQUENCY_MOST = 3, CACHE_PLACE_SHIFT = 16, CACHE_PLACE_BITS = 20 };

static inline uint64_t cache_slot_tag(uint64_t hash)
{
    return hash >> (CACHE_HASH_TAG_SHIFT - CACHE_SLOT_TAG_SHIFT) & CACHE_SLOT_TAG;
}

static inline uint32_t cache_slot_place(uint64_t slot)
{
    return (uint32_t)(slot >> CACHE_PLACE_SHIFT) & ((UINT32_C(1) << CACHE_PLACE_BITS) - 1);
}

static inline unsigned cache_slot_frequency(uint64_t slot)
{
    return (unsigned)(slot >> CACHE_FREQUENCY_SHIFT) & CACHE_FREQUENCY_MOST;
}

/* Whether the slot names an entry whose key may have this tag. */
static inline bool cache_slot_may_be(uint64_t slot, uint64_t tag)
{
    return ((slot ^ tag) & (CACHE_SLOT_TAG | CACHE_SLOT_LIVE)) == CACHE_SLOT_LIVE;
}

static inline uint64_t cache_load(const cache_word *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static inline void cache_put(cache_word *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

/* ---- entries in the log (entry.c) ---- */

enum { CACHE_ENTRY_HEAD = 20 }; /* bytes before the key */

struct cache_entry {
    struct cache_life life;
    size_t key_size, value_size;
};

/* Words that an entry takes. */
static inline uint32_t cache_entry_words(size_t key_size, size_t value_size)
{
    return (uint32_t)((CACHE_ENTRY_HEAD + key_size + value_size + sizeof(cache_word) - 1) /
                      sizeof(cache_word));
}

/* Reads the head of an entry; false when its sizes do not fit into what is left of the log. */
bool cache_entry_read(const struct cache_view *view, uint32_t place, struct cache_entry *out);

bool cache_entry_has_key(const cache_word *entry, const struct cache_entry *head, struct span key);

/* Copies bytes of an entry out, counted from its begin. */
void cache_entry_copy(const cache_word *entry, size_t from, uint8_t *out, size_t size);

void cache_entry_write(cache_word *entry, struct span key, struct span value, const struct cache_life *life);

/* Until when the entry is claimed; 0: it is not. */
uint64_t cache_entry_claimed(const cache_word *entry, uint64_t stored_at);
void cache_entry_claim(cache_word *entry, uint64_t stored_at, uint64_t until);

/* ---- the index (index.c); for the holder ---- */

/* The slot of a key, NULL when it is not there. */
cache_word *cache_index_find(const struct cache_view *view, uint64_t hash, struct span key);

/* The slot that names the entry at a place, NULL when nothing does: it was replaced or forgotten. */
cache_word *cache_index_owner(const struct cache_view *view, uint32_t place);

/* A slot of the key's pair for a new entry. What was in it is forgotten: a ghost, or the entry that is
 * missed least.
 */
cache_word *cache_index_room(const struct cache_view *view, uint64_t hash);

/* Whether the key left the small ring not long ago; its ghost is taken away. */
bool cache_index_take_ghost(const struct cache_view *view, uint64_t hash);

/* More buckets, where there are many entries, or where a new one with this hash would push out another. */
void cache_index_grow(const struct cache_view *view, uint64_t hash);

/* Names a place in a slot, under a new stamp. */
void cache_index_publish(const struct cache_view *view, cache_word *slot, uint64_t tag_and_marks,
                         uint32_t place);

/* Takes a slot back: empty, and its entry counts no longer. */
void cache_index_forget(const struct cache_view *view, cache_word *slot);

/* The same, and a ghost is left. */
void cache_index_bury(const struct cache_view *view, cache_word *slot);

/* ---- the log (ring.c); for the holder ---- */

void cache_ring_begin(const struct cache_view *view);

enum cache_queue cache_ring_of(const struct cache_view *view, uint32_t place);

/* Words in a row at the head of a ring, for which others go; the place of the first. */
uint32_t cache_ring_take(const struct cache_view *view, enum cache_queue queue, uint32_t words);

/* ---- the holder (part.c) ---- */

/* Takes the part of a hash; false when somebody else holds it. It is of the current era then. */
bool cache_part_enter(const struct cache *cache, uint32_t number, struct cache_view *out);
void cache_part_leave(const struct cache_view *view);

/* A count has one writer at a time, the holder. */
static inline void cache_add(cache_word *count, uint64_t more)
{
    uint64_t now = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, now + more, memory_order_relaxed);
}

#endif
