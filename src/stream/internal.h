/*
 * What the files of this room share. `shop->current` is the stream whose callbacks are being called: a
 * callback may close it and give its memory to something else, and then it is no longer current.
 */
#ifndef STREAM_INTERNAL_H
#define STREAM_INTERNAL_H

#include "stream/stream.h"

enum {
    STREAM_FRAME_MAX = 2 + 65535,
    STREAM_READ_SIZE = 32 * 1024,
    STREAM_INPUT_SIZE = STREAM_UNREAD_MAX,
    STREAM_SCRATCH_SIZE = STREAM_INPUT_SIZE + TLS_RECORD_MAX,
};

enum stream_state { STREAM_CLOSED, STREAM_CONNECTING, STREAM_HANDSHAKING, STREAM_OPEN };

/* Bytes that wait. The list of blocks of a stream is filled at its end and emptied at its front. */
struct stream_block {
    struct list link;
    uint16_t begin, end;
    uint8_t bytes[STREAM_BLOCK_SIZE - sizeof(struct list) - 2 * sizeof(uint16_t)];
};
_Static_assert(STREAM_INPUT_SIZE == STREAM_FRAME_MAX + STREAM_READ_SIZE, "one frame, and one more read");
_Static_assert(sizeof(struct stream_block) == STREAM_BLOCK_SIZE, "a block is what the slab lends");

/* ---- block.c ---- */

/* Appends to one of the stream's lists, all of it or nothing: ERROR_EXHAUSTED. */
int stream_blocks_append(struct stream *stream, struct list *blocks, const struct span *parts, size_t count);

/* Copies the first `size` bytes, which must be there. */
void stream_blocks_copy(const struct list *blocks, uint8_t *out, size_t size);

/* Drops the first `size` bytes, which must be there. */
void stream_blocks_drop(struct stream_shop *shop, struct list *blocks, size_t size);

/* ---- input.c ---- */

/* Delivers what is in hand, then reads a bounded amount. The stream must be current; it is no longer if a
 * callback closed it. */
void stream_take_input(struct stream *stream);

/* ---- output.c ---- */

/* All that waits now is what must leave next. Does nothing while something of the last mark waits. */
void stream_mark_output(struct stream *stream);

/* Writes what the peer takes at once. 0 or the error that ends the stream. Calls nobody. */
int stream_write_output(struct stream *stream);

/* ---- stream.c ---- */

/* The stream is dead: `closed` will tell at the end of the turn. */
void stream_fail(struct stream *stream, int error);

#endif
