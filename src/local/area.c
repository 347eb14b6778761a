/*
 * Bytes that grow while names are gathered, before anybody knows how many there will be: each time the room
 * is used up it is doubled and the bytes move. Called by plan.c and build.c, at the start alone.
 */
#include "base/error.h"
#include "base/memory.h"

#include "local/internal.h"

enum { FIRST_CAPACITY = 64 * 1024, MOST = 1 << 30 }; /* an entry holds an offset of 30 bits */

/* Names are compared with longer ones, which looks behind the last. */
static size_t memory_of(size_t capacity)
{
    return capacity + DNS_NAME_MAX;
}

static void close_bytes(struct local_area *area)
{
    memory_close(area->bytes, memory_of(area->capacity));
}

static int grow(struct local_area *area, size_t least)
{
    size_t capacity = area->capacity > 0 ? area->capacity : FIRST_CAPACITY;
    while (capacity < least) {
        capacity *= 2;
    }
    if (capacity > MOST) {
        return ERROR_EXHAUSTED;
    }
    void *larger;
    if (memory_open(memory_of(capacity), &larger) != 0) {
        return ERROR_MEMORY;
    }
    if (area->used > 0) {
        memcpy(larger, area->bytes, area->used);
    }
    close_bytes(area);
    area->bytes = larger;
    area->capacity = capacity;
    return 0;
}

int local_area_claim(struct local_area *area, size_t size, uint8_t **out)
{
    if (area->used + size > area->capacity) {
        int error = grow(area, area->used + size);
        if (error != 0) {
            return error;
        }
    }
    *out = area->bytes + area->used;
    area->used += size;
    area->count++;
    return 0;
}

void local_area_close(struct local_area *area)
{
    close_bytes(area);
    *area = (struct local_area){0};
}
