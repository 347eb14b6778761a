/*
 * The reading half of a stream. Bytes are read into the shop's scratch behind the place where the unfinished
 * message of the stream belongs, and whole messages are delivered from there. Only what is left over moves
 * into blocks, and an unfinished message moves back once, when its last byte has come: the work is linear
 * however it drips.
 */
#include "base/error.h"

#include "dns/dns.h"
#include "event/event.h"
#include "net/net.h"

#include "stream/internal.h"

/* What one stream may take of a turn. */
enum { READS_TCP = 4, READS_TLS = 32, BYTES_PER_TURN = READS_TCP * STREAM_READ_SIZE };

/* While the owner pauses, an unfinished message is not the peer's fault. */
static void mark_partial(struct stream *stream)
{
    if (stream->input_size == 0 || stream->paused) {
        stream->partial_at = 0;
    } else if (stream->partial_at == 0) {
        stream->partial_at = event_now(stream->shop->loop);
    }
}

/* Calls the owner; false when the stream is gone. */
static bool deliver(struct stream *stream, struct span message)
{
    struct stream_shop *shop = stream->shop;
    stream->partial_at = 0;
    stream->handler->message(stream, message);
    return shop->current == stream;
}

/* Delivers from the front of `bytes`, in place. False when the stream is gone or dead. */
static bool deliver_frames(struct stream *stream, struct span *bytes)
{
    while (!stream->paused) {
        struct span message;
        size_t used;
        int error = dns_frame_next(*bytes, &message, &used);
        if (error == ERROR_SHORT) {
            break;
        }
        if (error) {
            stream_fail(stream, error);
            return false;
        }
        *bytes = span_of(bytes->data + used, bytes->size - used);
        if (!deliver(stream, message)) {
            return false;
        }
    }
    return true;
}

/* The size of the frame that the kept bytes begin. */
static int kept_frame_size(const struct stream *stream, size_t *size)
{
    uint8_t length[2];
    struct span message;
    stream_blocks_copy(&stream->input, length, sizeof length);
    int error = dns_frame_next(span_of(length, sizeof length), &message, size);
    return error == ERROR_SHORT ? 0 : error;
}

static void drop_kept(struct stream *stream, size_t size)
{
    stream_blocks_drop(stream->shop, &stream->input, size);
    stream->input_size -= size;
}

/* Messages that a pause left in the blocks. False when the stream is gone or dead. */
static bool deliver_kept(struct stream *stream)
{
    uint8_t *scratch = stream->shop->scratch;
    while (!stream->paused && stream->input_size >= 2) {
        size_t size;
        int error = kept_frame_size(stream, &size);
        if (error) {
            stream_fail(stream, error);
            return false;
        }
        if (stream->input_size < size) {
            break;
        }
        stream_blocks_copy(&stream->input, scratch, size);
        drop_kept(stream, size);
        if (!deliver(stream, span_of(scratch + 2, size - 2))) {
            return false;
        }
    }
    mark_partial(stream);
    return true;
}

static bool keep(struct stream *stream, struct span rest)
{
    int error = stream_blocks_append(stream, &stream->input, &rest, 1);
    if (error) {
        stream_fail(stream, error);
        return false;
    }
    stream->input_size += rest.size;
    mark_partial(stream);
    return true;
}

/* `size` new bytes lie in the scratch behind the place of the kept ones. False when the stream is gone or
 * dead. */
static bool take_bytes(struct stream *stream, size_t size)
{
    uint8_t *scratch = stream->shop->scratch;
    size_t kept = stream->input_size, needed;
    if (kept >= 2 && kept_frame_size(stream, &needed) == 0 && kept + size < needed) {
        return keep(stream, span_of(scratch + kept, size));
    }
    stream_blocks_copy(&stream->input, scratch, kept);
    drop_kept(stream, kept);
    struct span bytes = span_of(scratch, kept + size);
    return deliver_frames(stream, &bytes) && keep(stream, bytes);
}

static int read_some(struct stream *stream)
{
    uint8_t *out = stream->shop->scratch + stream->input_size;
    if (stream->tls == NULL) {
        return net_tcp_read(stream->descriptor, out, STREAM_READ_SIZE);
    }
    int result = tls_session_read(stream->tls, out, STREAM_READ_SIZE);
    stream->read_wants_write = result == ERROR_AGAIN && tls_session_want(stream->tls) == TLS_WANT_WRITE;
    return result;
}

static void end_input(struct stream *stream)
{
    stream->ended = true;
    drop_kept(stream, stream->input_size);
    mark_partial(stream);
    stream->handler->ended(stream);
}

/* One read and what follows from it. Bytes read, or 0 when there is no more to do for now. */
static size_t read_once(struct stream *stream)
{
    int result = read_some(stream);
    if (result > 0) {
        stream->read_at = event_now(stream->shop->loop);
        return take_bytes(stream, (size_t)result) ? (size_t)result : 0;
    }
    if (result == 0) {
        end_input(stream);
    } else if (result != ERROR_AGAIN) {
        stream_fail(stream, result);
    }
    return 0;
}

/* The socket will not announce what the library holds already. */
static void read_again(struct stream *stream)
{
    if (stream->tls != NULL && !stream->paused && tls_session_has_pending(stream->tls)) {
        stream->catching_up = true;
        event_after_add(stream->shop->loop, &stream->flush);
    }
}

void stream_take_input(struct stream *stream)
{
    if (stream->ended || !deliver_kept(stream)) {
        return;
    }
    bool plain = stream->tls == NULL;
    size_t total = 0;
    for (int reads = plain ? READS_TCP : READS_TLS; reads > 0 && total < BYTES_PER_TURN && !stream->paused;
         reads--) {
        size_t size = read_once(stream);
        if (size == 0) {
            return;
        }
        total += size;
        if (plain && size < STREAM_READ_SIZE) {
            return;
        }
    }
    read_again(stream);
}
