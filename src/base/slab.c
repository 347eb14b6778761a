/* Fixed objects from one reservation; see slab.h. */
#include "base/slab.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

enum { SLAB_ALIGNMENT = 16 };

static size_t stride_of(size_t size)
{
    return (size + SLAB_ALIGNMENT - 1) / SLAB_ALIGNMENT * SLAB_ALIGNMENT;
}

size_t slab_memory(size_t size, size_t capacity)
{
    size_t total;
    return __builtin_mul_overflow(stride_of(size), capacity, &total) ? SIZE_MAX : total;
}

int slab_open(struct slab *slab, size_t size, size_t capacity)
{
    assert(size > 0 && capacity > 0);
    size_t total = slab_memory(size, capacity);
    if (total == SIZE_MAX) {
        return ERROR_MEMORY;
    }
    *slab = (struct slab){.stride = stride_of(size), .capacity = capacity};
    return memory_open(total, &slab->memory);
}

void slab_close(struct slab *slab)
{
    assert(slab->taken == 0);
    memory_close(slab->memory, slab->stride * slab->capacity);
    *slab = (struct slab){0};
}

void *slab_take(struct slab *slab)
{
    void *object = slab->free;
    if (object != NULL) {
        memcpy(&slab->free, object, sizeof slab->free);
    } else if (slab->touched < slab->capacity) {
        object = (char *)slab->memory + slab->stride * slab->touched++;
    } else {
        return NULL;
    }
    slab->taken++;
    return object;
}

void slab_give(struct slab *slab, void *object)
{
    assert(slab->taken > 0);
    size_t offset = (size_t)((char *)object - (char *)slab->memory);
    assert(offset < slab->stride * slab->touched && offset % slab->stride == 0);
    memcpy(object, &slab->free, sizeof slab->free);
    slab->free = object;
    slab->taken--;
}
