/*
 * A fake of src/stream over the fake connections. It keeps the real one's order of things: input is delivered
 * when the connection is ready, output leaves and the death is told at the end of the turn, no callback from
 * inside a call.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/memory.h"

#include "dns/dns.h"

#include "fake/fake.h"

enum { CLOSED, CONNECTING, HANDSHAKING, OPEN };

enum { OUTPUT_LIMIT = 64 * 1024 + 2 };

static struct fake_connection *connection_of(const struct stream *stream)
{
    return fake_connection_find(stream->descriptor);
}

static void fail(struct stream *stream, int error)
{
    assert(error < 0 && stream->error == 0);
    stream->error = error;
    event_after_add(stream->shop->loop, &stream->flush);
}

static void watch_again(struct stream *stream)
{
    unsigned wanted = 0;
    if (stream->error == 0 && stream->state == CONNECTING) {
        wanted = EVENT_WRITE;
    } else if (stream->error == 0 && stream->state == OPEN) {
        wanted =
            (stream->paused || stream->ended ? 0U : EVENT_READ) | (stream->want_write ? EVENT_WRITE : 0U);
    }
    event_watch_change(&stream->watch, wanted);
}

/* ---- input ---- */

/* False when the owner has closed the stream, or it is dead. */
static bool deliver_frames(struct stream *stream)
{
    struct stream_shop *shop = stream->shop;
    struct fake_connection *connection = connection_of(stream);
    while (!stream->paused) {
        struct span frame;
        size_t used;
        int error = dns_frame_next(span_of(connection->in.data, connection->in.size), &frame, &used);
        if (error == ERROR_SHORT) {
            return true;
        }
        if (error != 0) {
            fail(stream, error);
            return false;
        }
        memcpy(shop->scratch, frame.data, frame.size);
        frame.data = shop->scratch;
        fake_bytes_drop(&connection->in, used);
        stream->partial_at = 0;
        stream->handler->message(stream, frame);
        if (shop->current != stream) {
            return false;
        }
    }
    return true;
}

static void take_input(struct stream *stream)
{
    struct fake_connection *connection = connection_of(stream);
    if (stream->ended) {
        return;
    }
    if (connection->in.size > 0) {
        stream->read_at = event_now(stream->shop->loop);
        if (!deliver_frames(stream) || stream->paused) {
            return;
        }
        connection->looked = true;
        if (connection->in.size > 0 && stream->partial_at == 0) {
            stream->partial_at = event_now(stream->shop->loop);
        }
    }
    if (connection->end > 0) {
        stream->ended = true;
        stream->partial_at = 0;
        stream->handler->ended(stream);
    } else if (connection->end < 0) {
        fail(stream, connection->end);
    }
}

/* ---- connecting ---- */

static void finish_connect(struct stream *stream)
{
    struct fake_connection *connection = connection_of(stream);
    switch (connection->fate) {
    case FAKE_REFUSE:
        fail(stream, ERROR_REFUSED);
        return;
    case FAKE_STALL:
        stream->state = HANDSHAKING;
        return;
    case FAKE_FAIL:
        stream->state = HANDSHAKING;
        connection->failure.reason = connection->server->reason;
        connection->failure.not_after = 1735689600;
        fail(stream, ERROR_TLS);
        return;
    default:
        connection->open = true;
        stream->state = OPEN;
        stream->read_at = event_now(stream->shop->loop);
        event_after_add(stream->shop->loop, &stream->flush);
        stream->handler->opened(stream);
    }
}

static void become_ready(struct event_watch *watch, unsigned readiness)
{
    struct stream *stream = container_of(watch, struct stream, watch);
    struct stream_shop *shop = stream->shop;
    assert(shop->current == NULL);
    shop->current = stream;
    if (stream->state == CONNECTING) {
        finish_connect(stream);
    } else {
        if (readiness & EVENT_WRITE) {
            event_after_add(shop->loop, &stream->flush);
        }
        if (readiness & EVENT_READ) {
            take_input(stream);
        }
    }
    if (shop->current == stream) {
        watch_again(stream);
    }
    shop->current = NULL;
}

/* ---- output ---- */

/* All that waits now is what must leave next. */
static void mark_output(struct stream *stream)
{
    if (stream->marked_size == 0) {
        stream->marked_size = stream->output_size;
        stream->marked_at = stream->output_size > 0 ? event_now(stream->shop->loop) : 0;
    }
}

static void write_output(struct stream *stream)
{
    struct fake_connection *connection = connection_of(stream);
    size_t size = stream->output_size;
    if (!connection->reads && connection->takes < size) {
        size = connection->takes;
    }
    stream->want_write = stream->output_size > size;
    if (size == 0) {
        return;
    }
    connection->takes -= connection->reads ? 0 : size;
    fake_bytes_append(&connection->out, span_of(connection->unsent.data, size));
    fake_bytes_drop(&connection->unsent, size);
    stream->output_size -= size;
    stream->marked_size -= size < stream->marked_size ? size : stream->marked_size;
    mark_output(stream);
    stream->blocked_at = stream->output_size > 0 ? event_now(stream->shop->loop) : 0;
    stream->records++;
    stream->written_at = event_now(stream->shop->loop);
}

/* False when the stream is gone. */
static bool catch_up(struct stream *stream)
{
    struct stream_shop *shop = stream->shop;
    stream->catching_up = false;
    shop->current = stream;
    take_input(stream);
    bool there = shop->current == stream;
    shop->current = NULL;
    return there;
}

static void end_turn(struct event_after *after)
{
    struct stream *stream = container_of(after, struct stream, flush);
    if (stream_is_open(stream) && stream->catching_up && !stream->paused && !catch_up(stream)) {
        return;
    }
    bool waited = stream->output_size > 0;
    if (stream_is_open(stream)) {
        write_output(stream);
    }
    watch_again(stream);
    if (stream->error != 0) {
        event_after_remove(&stream->flush);
        stream->handler->closed(stream, stream->error);
    } else if (waited && stream->output_size == 0 && stream->handler->drained != NULL) {
        stream->handler->drained(stream);
    }
}

/* ---- the owner's calls ---- */

int stream_shop_open(struct stream_shop *shop, struct event_loop *loop, size_t blocks)
{
    (void)blocks;
    *shop = (struct stream_shop){.loop = loop};
    void *scratch;
    int error = memory_open(DNS_MESSAGE_MAX, &scratch);
    shop->scratch = scratch;
    return error;
}

void stream_shop_close(struct stream_shop *shop)
{
    memory_close(shop->scratch, DNS_MESSAGE_MAX);
}

static int begin(struct stream *stream, struct stream_shop *shop, int descriptor,
                 const struct stream_handler *handler)
{
    *stream = (struct stream){
        .handler = handler, .shop = shop, .descriptor = descriptor, .output_limit = OUTPUT_LIMIT};
    stream->watch.ready = become_ready;
    event_after_init(&stream->flush, end_turn);
    return event_watch_add(shop->loop, &stream->watch, descriptor, 0);
}

static struct fake_server *find_server(const struct address *remote)
{
    for (size_t i = 0; i < fake.server_count; i++) {
        if (address_equal(&fake.server[i].address, remote)) {
            return &fake.server[i];
        }
    }
    abort(); /* an address that is no server's */
}

int stream_connect(struct stream *stream, struct stream_shop *shop, const struct address *remote,
                   struct tls_client *client, const struct stream_handler *handler)
{
    struct fake_server *server = find_server(remote);
    server->connects++;
    if (server->fate == FAKE_UNREACHABLE) {
        *stream = (struct stream){.state = CLOSED};
        return ERROR_UNREACHABLE;
    }
    struct fake_connection *connection = fake_connection_open(remote);
    connection->server = server;
    connection->fate = server->fate;
    int error = begin(stream, shop, connection->descriptor, handler);
    stream->client = client;
    stream->state = CONNECTING;
    watch_again(stream);
    return error;
}

int stream_accept(struct stream *stream, struct stream_shop *shop, int descriptor,
                  const struct stream_handler *handler)
{
    int error = begin(stream, shop, descriptor, handler);
    stream->state = OPEN;
    stream->read_at = event_now(shop->loop);
    watch_again(stream);
    return error;
}

size_t stream_unread(const struct stream *stream, uint8_t *out)
{
    const struct fake_connection *connection = connection_of(stream);
    memcpy(out, connection->in.data, connection->in.size);
    return connection->in.size;
}

int stream_put_back(struct stream *stream, struct span bytes)
{
    fake_bytes_append(&connection_of(stream)->in, bytes);
    stream_look(stream);
    return 0;
}

void stream_limit_output(struct stream *stream, size_t bytes)
{
    stream->output_limit = bytes;
}

int stream_send(struct stream *stream, struct span message)
{
    assert(message.size >= DNS_HEADER_SIZE && message.size <= DNS_MESSAGE_MAX);
    if (stream->state == CLOSED || stream->error != 0) {
        return ERROR_CLOSED;
    }
    size_t size = message.size + 2;
    if (size + stream->output_size > stream->output_limit && stream->state == OPEN) {
        write_output(stream);
    }
    if (stream->output_size > stream->output_limit || size > stream->output_limit - stream->output_size) {
        return ERROR_EXHAUSTED;
    }
    uint8_t length[2];
    bytes_put_u16(length, (uint16_t)message.size);
    struct fake_connection *connection = connection_of(stream);
    fake_bytes_append(&connection->unsent, span_of(length, sizeof length));
    fake_bytes_append(&connection->unsent, message);
    stream->output_size += size;
    mark_output(stream);
    if (stream->blocked_at == 0) {
        stream->blocked_at = event_now(stream->shop->loop);
    }
    if (stream->state == OPEN && !stream->want_write) {
        event_after_add(stream->shop->loop, &stream->flush);
    }
    return 0;
}

void stream_pause(struct stream *stream)
{
    stream->paused = true;
    stream->partial_at = 0;
    event_after_add(stream->shop->loop, &stream->flush);
}

void stream_look(struct stream *stream)
{
    stream->catching_up = true;
    event_after_add(stream->shop->loop, &stream->flush);
}

void stream_resume(struct stream *stream)
{
    if (stream->paused) {
        stream->paused = false;
        stream_look(stream);
    }
}

bool stream_is_open(const struct stream *stream)
{
    return stream->state == OPEN && stream->error == 0;
}

bool stream_is_connected(const struct stream *stream)
{
    return stream->state >= HANDSHAKING;
}

const struct tls_failure *stream_failure(const struct stream *stream)
{
    const struct fake_connection *connection = stream->state != CLOSED ? connection_of(stream) : NULL;
    return connection != NULL && connection->failure.reason != TLS_REASON_NONE ? &connection->failure : NULL;
}

bool stream_path_is_dead(struct stream *stream, uint64_t least)
{
    const struct fake_connection *connection = connection_of(stream);
    return connection->server->vanished && event_now(stream->shop->loop) - stream->written_at >= least;
}

void stream_limit_silence(struct stream *stream, uint64_t limit)
{
    (void)stream;
    (void)limit;
}

bool stream_resumed(const struct stream *stream)
{
    (void)stream;
    return false;
}

bool stream_is_undated(const struct stream *stream)
{
    return connection_of(stream)->server->undated;
}

const char *stream_version(const struct stream *stream)
{
    return stream->client != NULL ? "TLSv1.3" : "";
}

void stream_close(struct stream *stream)
{
    if (stream->state == CLOSED) {
        return;
    }
    if (stream_is_open(stream)) {
        write_output(stream);
    }
    if (stream->shop->current == stream) {
        stream->shop->current = NULL;
    }
    event_watch_remove(&stream->watch);
    event_after_remove(&stream->flush);
    fake_connection_close(stream->descriptor);
    *stream = (struct stream){.state = CLOSED};
}
