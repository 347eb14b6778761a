/*
 * The cache: bytes by key, with an age. One mapping of fixed size that all workers of all engines share,
 * without pointers, so that it outlives every one of them; it knows no DNS. Readers take no lock and write
 * nothing but a mark that the entry was asked for. A writer that cannot have its part of the cache at once
 * drops what it wanted to store: a cache may forget, but it may never wait, and it may never give a byte that
 * was not stored under the key.
 *
 * Which entries stay is decided by how they are asked for, not by how new they are: a flood of keys that are
 * asked for once passes by the ones that are asked for often (docs/decisions/0008-cache-of-two-queues.md).
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/hash.h"

enum {
    CACHE_KEY_MAX = 272,
    CACHE_KEY_TAIL = 3, /* keys that differ in their last bytes alone lie side by side */
    CACHE_VALUE_MAX =
        65535, /* fits into a cache of any size: an entry takes a quarter of a part's log at most */
    CACHE_SIZE_LEAST = 1024 * 1024, /* of the whole mapping */
};

#define CACHE_TIME_BEGIN (UINT64_C(1) << 36)
#define CACHE_TIME_END   (UINT64_C(1) << 40)

struct cache_head;

/* One process's hold of the mapping. Any number of threads may use it at the same time. */
struct cache {
    struct cache_head *head;
    int descriptor;
    uint32_t owner; /* marks what this process is writing to, see cache_mend; not 0 */
};

/* A new, empty mapping of `size` bytes, index and books included. `key` is a secret. `owner` is the caller's
 * process. ERROR_MEMORY, ERROR_DESCRIPTORS. */
int cache_open(size_t size, struct hash_key key, uint32_t owner, struct cache *out);

/* A mapping that another process opened: ERROR_INVALID when its version, its size or its layout is not ours,
 * ERROR_MEMORY. The descriptor is the caller's until this succeeds. */
int cache_adopt(int descriptor, size_t size, uint32_t owner, struct cache *out);

/* Unmaps it and closes the descriptor; what is in it lives on as long as another process holds it. */
void cache_close(struct cache *cache);

/* What a process that died was writing to is begun anew, and is empty then; called by whoever saw it die.
 * Until then nothing can be stored in that part; what is in it is found. */
void cache_mend(struct cache *cache, uint32_t owner);

/* The same for whoever was writing, the caller as well: to be called by the first of new processes, when all
 * those of before are gone. */
void cache_mend_all(struct cache *cache);

/* Times are milliseconds of a clock that all processes share and that runs on while the machine sleeps. It
 * begins at CACHE_TIME_BEGIN and not at 0, so that what is brought back into the cache may be older than the
 * machine runs. */
struct cache_life {
    uint64_t stored_at; /* less than CACHE_TIME_END */
    uint32_t fresh_for; /* from then on */
    uint16_t note;      /* the caller's own */
};

struct cache_found {
    struct cache_life life;
    struct span value; /* in the caller's buffer */
    bool asked_before; /* somebody had found it since it was stored */
};

/* Copies the value out. 0, ERROR_NOT_FOUND, or ERROR_SPACE when `capacity` is less than the value (its size
 * is not told). Whether it is still fresh is the caller's question. No lock, no allocation, no system call.
 */
int cache_find(const struct cache *cache, struct span key, uint8_t *out, size_t capacity,
               struct cache_found *found);

/* A number that cache_clear and cache_begin_generation count on. */
uint64_t cache_generation(const struct cache *cache);

/* From now on nothing is stored that was asked for before. To be called before entries are forgotten by
 * cache_visit that must not come back: what is stored until then is shown. */
void cache_begin_generation(struct cache *cache);

/* Stores a copy in place of what was there; a key has CACHE_KEY_MAX bytes at most. `generation` is the one in
 * which the value was asked for. False when it was dropped: that is over, another thread was writing to the
 * same part, or the value is larger than CACHE_VALUE_MAX. What was there stays then. */
bool cache_store(struct cache *cache, uint64_t generation, struct span key, struct span value,
                 const struct cache_life *life);

/* Whether the caller is the one to refresh the entry: true for one caller only, until `until` (milliseconds)
 * or until it is stored anew. False also when the entry is gone, or its part was being written to. */
bool cache_claim(struct cache *cache, struct span key, uint64_t now, uint64_t until);

/* Forgets one entry; false when it was not there, or its part was being written to (call it again). */
bool cache_remove(struct cache *cache, struct span key);

/* Forgets everything, at once and for all processes, and begins a generation. */
void cache_clear(struct cache *cache);

/* Shows every entry that is there the whole time, in no order, to `visit`; one for which that returns false
 * is forgotten. Entries stored meanwhile may be shown, and one that is moved meanwhile may be shown twice. A
 * writer is held up, which is to say dropped, only while one entry is copied. What a process that died was
 * writing to is left out until it is mended. Not for a thread with a small stack: it takes 70 KB. */
struct cache_visitor {
    bool (*visit)(struct cache_visitor *visitor, struct span key, struct span value,
                  const struct cache_life *life);
};
void cache_visit(struct cache *cache, struct cache_visitor *visitor);

/* How full it is; of all processes since it was opened. */
struct cache_numbers {
    uint64_t entries, bytes; /* bytes: those of entries, with what each costs in books */
    uint64_t stored, dropped;
    uint64_t evicted; /* forgotten to make room */
};
void cache_count(const struct cache *cache, struct cache_numbers *out);

#endif
