/*
 * The writing half of a stream: blocks to the socket, several in one call, or to the TLS library, gathered
 * into one record as long as they fit one. Called at the end of a turn and by the close.
 */
#include "base/error.h"

#include "event/event.h"
#include "net/net.h"

#include "stream/internal.h"

enum { PARTS_MAX = 64 };

void stream_mark_output(struct stream *stream)
{
    if (stream->marked_size == 0) {
        stream->marked_size = stream->output_size;
        stream->marked_at = stream->output_size > 0 ? event_now(stream->shop->loop) : 0;
    }
}

static void note_written(struct stream *stream, size_t size)
{
    stream_blocks_drop(stream->shop, &stream->output, size);
    stream->output_size -= size;
    stream->marked_size -= size < stream->marked_size ? size : stream->marked_size;
    stream_mark_output(stream);
    stream->records++;
    stream->written_at = event_now(stream->shop->loop);
    stream->blocked_at = stream->output_size > 0 ? event_now(stream->shop->loop) : 0;
}

static int write_plain(struct stream *stream)
{
    struct iovec parts[PARTS_MAX];
    int count = 0;
    for (struct list *link = stream->output.next; link != &stream->output && count < PARTS_MAX;
         link = link->next) {
        struct stream_block *block = container_of(link, struct stream_block, link);
        parts[count++] = (struct iovec){.iov_base = block->bytes + block->begin,
                                        .iov_len = (size_t)(block->end - block->begin)};
    }
    return net_tcp_write(stream->descriptor, parts, count);
}

/* The library wants the same bytes again after it had to wait: what was queued since stays out of the record.
 */
static int write_record(struct stream *stream)
{
    uint8_t *record = stream->shop->scratch + STREAM_INPUT_SIZE;
    size_t size = stream->write_size;
    if (size == 0) {
        size = stream->output_size < TLS_RECORD_MAX ? stream->output_size : TLS_RECORD_MAX;
    }
    stream_blocks_copy(&stream->output, record, size);
    int result = tls_session_write(stream->tls, record, size);
    stream->write_size = result == ERROR_AGAIN ? size : 0;
    return result;
}

int stream_write_output(struct stream *stream)
{
    stream->want_write = stream->write_wants_read = false;
    while (stream->output_size > 0) {
        int result = stream->tls != NULL ? write_record(stream) : write_plain(stream);
        if (result == ERROR_AGAIN) {
            stream->write_wants_read = stream->tls != NULL && tls_session_want(stream->tls) == TLS_WANT_READ;
            stream->want_write = !stream->write_wants_read;
            return 0;
        }
        if (result < 0) {
            return result;
        }
        note_written(stream, (size_t)result);
    }
    return 0;
}
