/*
 * From a file to the cache: once over the whole of it to see that it is sound, and then again to store what
 * is of use. A store that a worker is in the way of is tried again, and what a worker has stored meanwhile is
 * newer, and stays.
 */
#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "base/error.h"

#include "dns/dns.h"

#include "keep/internal.h"

/* A worker is done after a microsecond or so. */
enum { STORE_TRIES = 1000 };

struct reading {
    struct cache *cache; /* NULL on the first way */
    const struct keep_terms *terms;
    int descriptor;
    uint64_t at;  /* in the file */
    uint64_t off; /* milliseconds since it was written */
    int error;
    struct keep_count count;
    struct keep_block block;
};

/* As many bytes as there are, `size` at most. */
static size_t read_bytes(struct reading *reading, uint8_t *out, size_t size)
{
    size_t done = 0;
    while (done < size && reading->error == 0) {
        ssize_t got = pread(reading->descriptor, out + done, size - done, (off_t)(reading->at + done));
        if (got == 0) {
            break;
        }
        if (got < 0) {
            reading->error = errno == EINTR ? 0 : error_from_errno(errno);
            continue;
        }
        done += (size_t)got;
    }
    reading->at += done;
    return done;
}

static bool read_block(struct reading *reading)
{
    struct keep_block *block = &reading->block;
    if (read_bytes(reading, block->bytes, KEEP_BLOCK_HEAD) != KEEP_BLOCK_HEAD) {
        return false;
    }
    block->size = keep_block_size(block);
    if (block->size == 0) {
        return false;
    }
    size_t rest = block->size - KEEP_BLOCK_HEAD;
    return read_bytes(reading, block->bytes + KEEP_BLOCK_HEAD, rest) == rest && keep_block_is_whole(block);
}

static bool is_there(const struct cache *cache, struct span key)
{
    struct cache_found found;
    uint8_t nothing[1];
    return cache_find(cache, key, nothing, 0, &found) != ERROR_NOT_FOUND;
}

/* An entry that says it lives longer than any may is not believed that. */
static void store(struct reading *reading, const struct keep_entry *entry)
{
    const struct keep_terms *terms = reading->terms;
    uint64_t age = entry->age + reading->off;
    uint32_t fresh_for = entry->fresh_for < terms->most ? entry->fresh_for : (uint32_t)terms->most;
    if (!keep_is_wanted(age, fresh_for, terms->stale) || age > terms->boot ||
        is_there(reading->cache, entry->key)) {
        return;
    }
    struct cache_life life = {.stored_at = terms->boot - age, .fresh_for = fresh_for, .note = entry->note};
    for (unsigned i = 0; i < STORE_TRIES && cache_generation(reading->cache) == terms->generation; i++) {
        if (cache_store(reading->cache, terms->generation, entry->key, entry->value, &life)) {
            reading->count.entries++;
            return;
        }
        sched_yield();
    }
}

/* The entries fill the block. */
static bool take_entries(struct reading *reading)
{
    const struct keep_block *block = &reading->block;
    size_t at = KEEP_BLOCK_HEAD;
    for (uint32_t i = 0; i < block->entries; i++) {
        struct keep_entry entry;
        if (!keep_block_take(block, &at, &entry)) {
            return false;
        }
        if (reading->cache != NULL) {
            store(reading, &entry);
        }
    }
    return at == block->size;
}

/* From behind the head to the empty block, which is the end. */
static bool take_blocks(struct reading *reading, const struct keep_head *head)
{
    uint8_t beyond;
    reading->at = KEEP_HEAD_SIZE;
    keep_block_begin(&reading->block, head);
    do {
        if (!read_block(reading) || !take_entries(reading)) {
            return false;
        }
        keep_block_next(&reading->block);
    } while (keep_block_size(&reading->block) > KEEP_BLOCK_HEAD);
    reading->count.bytes = reading->at;
    return read_bytes(reading, &beyond, 1) == 0 && reading->error == 0;
}

static enum keep_fault judge_head(struct reading *reading, struct keep_head *head)
{
    uint8_t bytes[KEEP_HEAD_SIZE];
    const struct keep_terms *terms = reading->terms;
    size_t size = read_bytes(reading, bytes, sizeof bytes);
    if (reading->error != 0) {
        return KEEP_FAULT_SYSTEM;
    }
    enum keep_fault fault = keep_head_read(span_of(bytes, size), head);
    if (fault != KEEP_FAULT_NONE) {
        return fault;
    }
    if (head->form != DNS_STORED_FORM) {
        return KEEP_FAULT_VERSION;
    }
    if (head->origin != terms->origin) {
        return KEEP_FAULT_ORIGIN;
    }
    if (head->written_at > terms->wall) {
        return KEEP_FAULT_FUTURE;
    }
    reading->off = terms->wall - head->written_at;
    return reading->off > terms->most + terms->stale ? KEEP_FAULT_OLD : KEEP_FAULT_NONE;
}

enum keep_fault keep_read(struct cache *cache, const struct keep_terms *terms, int descriptor,
                          struct keep_count *count, int *error)
{
    struct reading reading = {.terms = terms, .descriptor = descriptor};
    struct keep_head head;
    enum keep_fault fault = judge_head(&reading, &head);
    struct cache *const ways[] = {NULL, cache};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0] && fault == KEEP_FAULT_NONE; i++) {
        reading.cache = ways[i];
        if (!take_blocks(&reading, &head)) {
            fault = reading.error != 0 ? KEEP_FAULT_SYSTEM : KEEP_FAULT_DAMAGED;
        }
    }
    *count = reading.count;
    *error = reading.error;
    return fault;
}
