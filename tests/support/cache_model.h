/*
 * A cache beside a list of what was stored last, simple and slow: whatever the cache does, it may only find
 * what the list has, or nothing. One thread, so that no store may be dropped. For the unit test (steps drawn
 * by chance) and the fuzz target (steps from bytes).
 */
#ifndef SUPPORT_CACHE_MODEL_H
#define SUPPORT_CACHE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/cache.h"

enum { MODEL_KEYS = 1024 };

struct model_entry {
    bool is_known; /* stored, and not found missing since */
    bool is_asked, is_shown;
    uint32_t version;
    size_t size;
    uint64_t claimed_until;
    struct cache_life life;
};

struct cache_model {
    struct cache cache;
    struct cache_visitor visitor;
    struct model_entry entry[MODEL_KEYS];
    uint32_t versions;
    uint64_t now, shown;
    unsigned kept;       /* the visitor forgets every so-many-th key; 0: none */
    const char *failure; /* of the visitor */
};

int cache_model_open(struct cache_model *model, size_t size);
void cache_model_close(struct cache_model *model);

/* Empties both. */
void cache_model_clear(struct cache_model *model);

/* One step: what `action` is, with which key, and how large or how long. NULL, or what the cache did wrong.
 */
const char *cache_model_step(struct cache_model *model, uint8_t action, uint16_t key, uint16_t detail);

/* The key of a number, of 0 to CACHE_KEY_MAX bytes, and the value of one version of it. */
struct span cache_model_key(uint32_t number, uint8_t out[CACHE_KEY_MAX]);
void cache_model_value(uint32_t number, uint32_t version, uint8_t *out, size_t size);

#endif
