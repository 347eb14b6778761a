/*
 * Names to entries: buckets of one line of the processor's cache with a tag for each slot, behind them the
 * names themselves, so that a name which is not there costs one line and one which is there two. Filled by
 * build.c, asked by answer.c for every question; never written to again. The hash is keyed, since names of
 * questions are chosen by strangers and those of lists by their makers
 * (docs/decisions/0009-names-in-lines.md).
 */
#include <assert.h>

#include "base/error.h"
#include "base/memory.h"

#include "local/internal.h"

enum { FULL_TENTHS = 8, BATCH = 8, DEPTH_BITS = 64 };

void local_path_of(struct span name, struct local_path *out)
{
    memcpy(out->name, name.data, name.size);
    dns_name_to_lower(out->name, name.size);
    out->size = name.size;
    out->depth = 0;
    for (size_t at = 0; out->name[at] != 0; at += out->name[at] + 1u) {
        out->start[out->depth++] = (uint8_t)at;
    }
}

/* ---- buckets ---- */

static uint64_t hash_of(const struct local_table *table, const struct local_path *path, unsigned label)
{
    size_t start = path->start[label];
    return hash_bytes(&table->key, span_of(path->name + start, path->size - start));
}

static uint32_t bucket_of(const struct local_table *table, uint64_t hash)
{
    return (uint32_t)((hash >> 32) * table->bucket_count >> 32);
}

static uint8_t tag_of(uint64_t hash)
{
    uint8_t tag = (uint8_t)hash;
    return tag != 0 ? tag : 1;
}

static bool is_name(const struct local_table *table, uint32_t entry, const struct local_path *path,
                    unsigned label)
{
    size_t start = path->start[label];
    return memcmp(table->names + (entry >> LOCAL_KIND_BITS), path->name + start, path->size - start) == 0;
}

/* The entry of the path's end from `label` on, or NULL. */
static uint32_t *look_up(const struct local_table *table, const struct local_path *path, unsigned label,
                         uint64_t hash)
{
    uint8_t tag = tag_of(hash);
    for (uint32_t at = bucket_of(table, hash);; at = at + 1 < table->bucket_count ? at + 1 : 0) {
        struct local_bucket *bucket = &table->buckets[at];
        for (unsigned i = 0; i < LOCAL_BUCKET_SLOTS; i++) {
            if (bucket->tag[i] == tag && is_name(table, bucket->entry[i], path, label)) {
                return &bucket->entry[i];
            }
        }
        if (!bucket->is_full) {
            return NULL;
        }
    }
}

/* ---- building ---- */

int local_table_open(struct local_table *table, struct hash_key key, size_t names)
{
    *table = (struct local_table){.key = key};
    if (names == 0) {
        return 0;
    }
    void *memory;
    size_t buckets = names * 10 / (LOCAL_BUCKET_SLOTS * FULL_TENTHS) + 1;
    int error = memory_open(buckets * sizeof *table->buckets, &memory);
    if (error == 0) {
        table->buckets = memory;
        table->bucket_count = (uint32_t)buckets;
    }
    return error;
}

/* Entries begin with their name, and a comparison may look as far behind the last one as a name is long. */
static size_t names_memory(const struct local_table *table)
{
    return table->names_size + DNS_NAME_MAX;
}

void local_table_close(struct local_table *table)
{
    memory_close(table->buckets, table->bucket_count * sizeof *table->buckets);
    if (table->names_size > 0) {
        memory_close((void *)(uintptr_t)table->names, names_memory(table));
    }
    *table = (struct local_table){0};
}

size_t local_table_memory(const struct local_table *table)
{
    size_t names = table->names_size > 0 ? names_memory(table) : 0;
    return table->bucket_count * sizeof *table->buckets + names;
}

uint32_t *local_table_place(struct local_table *table, const struct local_path *path)
{
    assert(path->depth > 0);
    uint64_t hash = hash_of(table, path, 0);
    uint32_t *entry = look_up(table, path, 0, hash);
    if (entry != NULL) {
        return entry;
    }
    for (uint32_t at = bucket_of(table, hash);; at = at + 1 < table->bucket_count ? at + 1 : 0) {
        struct local_bucket *bucket = &table->buckets[at];
        for (unsigned i = 0; i < LOCAL_BUCKET_SLOTS; i++) {
            if (bucket->tag[i] == 0) {
                bucket->tag[i] = tag_of(hash);
                table->count++;
                return &bucket->entry[i];
            }
        }
        bucket->is_full = true;
    }
}

static uint64_t depth_bit(unsigned depth)
{
    return UINT64_C(1) << (depth < DEPTH_BITS ? depth : DEPTH_BITS - 1);
}

void local_table_set(struct local_table *table, uint32_t *entry, size_t offset, enum local_kind kind,
                     const struct local_path *path)
{
    *entry = (*entry == 0 ? (uint32_t)offset << LOCAL_KIND_BITS : *entry) | kind;
    for (unsigned i = 0; i < LOCAL_KIND_COUNT; i++) {
        if (kind >> i & 1) {
            table->depths[i] |= depth_bit(path->depth);
        }
    }
}

int local_table_seal(struct local_table *table, struct span names)
{
    table->names = NULL;
    table->names_size = names.size;
    if (names.size == 0) {
        return 0;
    }
    void *memory;
    int error = memory_open(names_memory(table), &memory);
    if (error != 0) {
        table->names_size = 0;
        return error;
    }
    memcpy(memory, names.data, names.size);
    table->names = memory;
    return 0;
}

/* ---- finding ---- */

static uint64_t depths_of(const struct local_table *table, enum local_kind kinds)
{
    return (kinds & LOCAL_HERE ? table->depths[0] : 0) | (kinds & LOCAL_BELOW ? table->depths[1] : 0);
}

/* Labels that are worth looking for, a few at a time: their lines are fetched side by side. */
struct batch {
    unsigned count, label[BATCH];
    uint64_t hash[BATCH];
};

static void batch_add(struct batch *batch, const struct local_table *table, const struct local_path *path,
                      unsigned label)
{
    uint64_t hash = hash_of(table, path, label);
    __builtin_prefetch(&table->buckets[bucket_of(table, hash)]);
    batch->hash[batch->count] = hash;
    batch->label[batch->count++] = label;
}

bool local_table_find(const struct local_table *table, const struct local_path *path, enum local_kind whole,
                      enum local_kind above, struct local_match *out)
{
    uint64_t wanted = depths_of(table, whole), wanted_above = depths_of(table, above);
    for (unsigned next = 0; next < path->depth;) {
        struct batch batch LOCAL_UNFILLED;
        for (batch.count = 0; next < path->depth && batch.count < BATCH; next++) {
            if ((next == 0 ? wanted : wanted_above) & depth_bit(path->depth - next)) {
                batch_add(&batch, table, path, next);
            }
        }
        for (unsigned i = 0; i < batch.count; i++) {
            const uint32_t *entry = look_up(table, path, batch.label[i], batch.hash[i]);
            enum local_kind kinds = batch.label[i] == 0 ? whole : above;
            if (entry != NULL && (*entry & kinds) != 0) {
                *out = (struct local_match){.label = batch.label[i],
                                            .kinds = *entry & LOCAL_KINDS,
                                            .offset = *entry >> LOCAL_KIND_BITS};
                return true;
            }
        }
    }
    return false;
}
