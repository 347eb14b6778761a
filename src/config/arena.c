/*
 * Memory of a snapshot: chunks that are filled from the front and given back together. A configuration is
 * small and built rarely, so that a value which a later layer replaces may stay until the snapshot goes.
 */
#include <stdlib.h>

#include "config/table.h"

enum { CHUNK_SIZE = 16 * 1024, ALIGNMENT = 16 };

struct config_chunk {
    struct config_chunk *next;
    size_t size, used;
    _Alignas(ALIGNMENT) uint8_t bytes[];
};

static struct config_chunk *chunk_open(struct config_arena *arena, size_t least)
{
    size_t size = least > CHUNK_SIZE ? least : CHUNK_SIZE;
    struct config_chunk *chunk = calloc(1, sizeof *chunk + size);
    if (chunk == NULL) {
        return NULL;
    }
    chunk->size = size;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    return chunk;
}

void *config_arena_take(struct config_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    struct config_chunk *chunk = arena->chunks;
    if (chunk == NULL || rounded > chunk->size - chunk->used) {
        chunk = chunk_open(arena, rounded);
        if (chunk == NULL) {
            return NULL;
        }
    }
    chunk->used += rounded;
    return chunk->bytes + chunk->used - rounded;
}

char *config_arena_text(struct config_arena *arena, struct span text)
{
    char *copy = config_arena_take(arena, text.size + 1);
    if (copy != NULL && text.size > 0) {
        memcpy(copy, text.data, text.size);
    }
    return copy;
}

void config_arena_free(struct config_arena *arena)
{
    while (arena->chunks != NULL) {
        struct config_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
}
