/* Bytes in blocks from the shop's slab; called by input.c and output.c. A block without bytes is given back
 * at once. */
#include <assert.h>

#include "base/error.h"

#include "stream/internal.h"

static struct stream_block *block_of(struct list *link)
{
    return container_of(link, struct stream_block, link);
}

static size_t room_at_end(struct list *blocks)
{
    return list_empty(blocks) ? 0
                              : sizeof block_of(blocks->previous)->bytes - block_of(blocks->previous)->end;
}

static void add_block(struct stream_shop *shop, struct list *blocks)
{
    struct stream_block *block = slab_take(&shop->blocks);
    assert(block != NULL);
    block->begin = block->end = 0;
    list_init(&block->link);
    list_append(blocks, &block->link);
}

static void append_part(struct stream_shop *shop, struct list *blocks, struct span part)
{
    while (part.size > 0) {
        if (room_at_end(blocks) == 0) {
            add_block(shop, blocks);
        }
        struct stream_block *block = block_of(blocks->previous);
        size_t room = room_at_end(blocks);
        size_t size = part.size < room ? part.size : room;
        memcpy(block->bytes + block->end, part.data, size);
        block->end = (uint16_t)(block->end + size);
        part = span_of(part.data + size, part.size - size);
    }
}

int stream_blocks_append(struct stream *stream, struct list *blocks, const struct span *parts, size_t count)
{
    struct stream_shop *shop = stream->shop;
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += parts[i].size;
    }
    size_t room = room_at_end(blocks);
    size_t capacity = sizeof((struct stream_block *)0)->bytes;
    size_t needed = size > room ? (size - room + capacity - 1) / capacity : 0;
    if (needed > 0 && needed + stream->spared > shop->blocks.capacity - shop->blocks.taken) {
        return ERROR_EXHAUSTED;
    }
    for (size_t i = 0; i < count; i++) {
        append_part(shop, blocks, parts[i]);
    }
    return 0;
}

void stream_blocks_copy(const struct list *blocks, uint8_t *out, size_t size)
{
    for (struct list *link = blocks->next; size > 0; link = link->next) {
        assert(link != blocks);
        const struct stream_block *block = block_of(link);
        size_t there = (size_t)(block->end - block->begin);
        size_t part = size < there ? size : there;
        memcpy(out, block->bytes + block->begin, part);
        out += part;
        size -= part;
    }
}

void stream_blocks_drop(struct stream_shop *shop, struct list *blocks, size_t size)
{
    while (size > 0) {
        assert(!list_empty(blocks));
        struct stream_block *block = block_of(blocks->next);
        size_t there = (size_t)(block->end - block->begin);
        if (size < there) {
            block->begin = (uint16_t)(block->begin + size);
            return;
        }
        size -= there;
        list_remove(&block->link);
        slab_give(&shop->blocks, block);
    }
}
