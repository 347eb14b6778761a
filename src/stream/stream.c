/*
 * The life of a stream: connecting, the handshake, open, dead. Called by the loop and by the owner.
 * Everything that the owner's calls find out is told at the end of the turn, so that no callback comes from
 * inside a call.
 */
#include "stream/stream.h"

#include <assert.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include "dns/dns.h"
#include "net/net.h"

#include "stream/internal.h"

enum { OUTPUT_LIMIT = 64 * 1024 + 2, ROUND_TRIPS_OF_SILENCE = 3, SPARED_SHARE = 4 };

static unsigned wanted_readiness(const struct stream *stream)
{
    switch (stream->state) {
    case STREAM_CONNECTING:
        return EVENT_WRITE;
    case STREAM_HANDSHAKING:
        return tls_session_want(stream->tls) == TLS_WANT_READ ? EVENT_READ : EVENT_WRITE;
    default:
        break;
    }
    bool read = (!stream->paused && !stream->ended) || stream->write_wants_read;
    bool write = stream->want_write || stream->read_wants_write;
    return (read ? EVENT_READ : 0u) | (write ? EVENT_WRITE : 0u);
}

static void watch_again(struct stream *stream)
{
    event_watch_change(&stream->watch, stream->error ? 0 : wanted_readiness(stream));
}

/* Callbacks follow. */
static void enter(struct stream *stream)
{
    assert(stream->shop->current == NULL);
    stream->shop->current = stream;
}

/* Whether the stream is still there after its callbacks. */
static bool leave(struct stream_shop *shop, const struct stream *stream)
{
    bool there = shop->current == stream;
    shop->current = NULL;
    return there;
}

static void become_open(struct stream *stream)
{
    struct stream_shop *shop = stream->shop;
    stream->state = STREAM_OPEN;
    stream->read_at = event_now(shop->loop);
    event_after_add(shop->loop, &stream->flush);
    stream->handler->opened(stream);
    /* The end of the handshake may have brought more than the handshake. */
    if (shop->current == stream && stream->tls != NULL && !stream->paused) {
        stream_take_input(stream);
    }
}

static void continue_handshake(struct stream *stream)
{
    int error = tls_session_handshake(stream->tls);
    if (error == 0) {
        become_open(stream);
    } else if (error != ERROR_AGAIN) {
        stream_fail(stream, error);
    }
}

static void finish_connect(struct stream *stream)
{
    int error = net_tcp_connected(stream->descriptor);
    if (!error || error == ERROR_RESET) { /* it had come about when it was reset */
        stream->connected_at = event_now(stream->shop->loop);
    }
    if (!error && stream->client == NULL) {
        become_open(stream);
        return;
    }
    if (!error) {
        int64_t wall = (int64_t)(stream->shop->wall() / CLOCK_SECOND);
        error = tls_session_connect(stream->client, stream->descriptor, wall, &stream->tls);
    }
    if (error) {
        stream_fail(stream, error);
        return;
    }
    stream->state = STREAM_HANDSHAKING;
    continue_handshake(stream);
}

static void use_readiness(struct stream *stream, unsigned readiness)
{
    if (stream->output_size > 0 && ((readiness & EVENT_WRITE) != 0 || stream->write_wants_read)) {
        event_after_add(stream->shop->loop, &stream->flush);
    }
    if (!stream->paused && ((readiness & EVENT_READ) != 0 || stream->read_wants_write)) {
        stream_take_input(stream);
    }
}

static void become_ready(struct event_watch *watch, unsigned readiness)
{
    struct stream *stream = container_of(watch, struct stream, watch);
    struct stream_shop *shop = stream->shop;
    enter(stream);
    switch (stream->state) {
    case STREAM_CONNECTING:
        finish_connect(stream);
        break;
    case STREAM_HANDSHAKING:
        continue_handshake(stream);
        break;
    default:
        use_readiness(stream, readiness);
    }
    if (leave(shop, stream)) {
        watch_again(stream);
    }
}

/* False when the stream is gone. */
static bool catch_up(struct stream *stream)
{
    struct stream_shop *shop = stream->shop;
    stream->catching_up = false;
    enter(stream);
    stream_take_input(stream);
    return leave(shop, stream);
}

/* Writes what waits, and tells the owner when nothing waits any more. False when the stream is gone. */
static bool write_waiting(struct stream *stream)
{
    struct stream_shop *shop = stream->shop;
    bool waited = stream->output_size > 0;
    int error = stream_write_output(stream);
    if (error) {
        stream_fail(stream, error);
    }
    if (error || !waited || stream->output_size > 0 || stream->handler->drained == NULL) {
        return true;
    }
    enter(stream);
    stream->handler->drained(stream);
    return leave(shop, stream);
}

static void end_turn(struct event_after *after)
{
    struct stream *stream = container_of(after, struct stream, flush);
    if (stream_is_open(stream) && stream->catching_up && !stream->paused && !catch_up(stream)) {
        return;
    }
    if (stream_is_open(stream) && !write_waiting(stream)) {
        return;
    }
    watch_again(stream);
    if (stream->error) {
        event_after_remove(&stream->flush);
        stream->handler->closed(stream, stream->error);
    }
}

static void prepare(struct stream *stream, struct stream_shop *shop, int descriptor,
                    const struct stream_handler *handler)
{
    *stream = (struct stream){
        .handler = handler, .shop = shop, .descriptor = descriptor, .output_limit = OUTPUT_LIMIT};
    stream->watch.ready = become_ready;
    event_after_init(&stream->flush, end_turn);
    list_init(&stream->input);
    list_init(&stream->output);
}

static int begin(struct stream *stream, enum stream_state state)
{
    stream->state = (uint8_t)state;
    int error =
        event_watch_add(stream->shop->loop, &stream->watch, stream->descriptor, wanted_readiness(stream));
    if (error) {
        stream->state = STREAM_CLOSED;
    }
    return error;
}

void stream_fail(struct stream *stream, int error)
{
    assert(error < 0 && !stream->error);
    stream->error = error;
    event_after_add(stream->shop->loop, &stream->flush);
}

bool stream_is_open(const struct stream *stream)
{
    return stream->state == STREAM_OPEN && !stream->error;
}

bool stream_is_connected(const struct stream *stream)
{
    return stream->state == STREAM_HANDSHAKING || stream->state == STREAM_OPEN;
}

/* How long no look has found more bytes acknowledged. The kernel does not tell: a peer that gets nothing of
 * ours repeats what it sent, and with it its last acknowledgement, which looks like news. */
static uint64_t stuck_for(struct stream *stream, const struct net_tcp_path *path, uint64_t least)
{
    uint64_t now = event_now(stream->shop->loop);
    bool is_first = now - stream->looked_at > least;
    stream->looked_at = now;
    if (is_first || path->unacknowledged == 0 || path->acknowledged != stream->acknowledged) {
        stream->acknowledged = path->acknowledged;
        stream->acknowledged_at = now;
    }
    return now - stream->acknowledged_at;
}

bool stream_path_is_dead(struct stream *stream, uint64_t least)
{
    struct net_tcp_path path;
    if (!stream_is_open(stream) || net_tcp_path(stream->descriptor, &path) != 0) {
        return false;
    }
    uint64_t limit = ROUND_TRIPS_OF_SILENCE * path.round_trip;
    limit = limit > least ? limit : least;
    if (stuck_for(stream, &path, least) >= limit) {
        return true;
    }
    /* After a pause the last acknowledgement is old although what was just written has had no time yet. */
    bool had_time = path.retransmits > 0 || event_now(stream->shop->loop) - stream->written_at >= limit;
    return path.unacknowledged > 0 && had_time && path.silent_for >= limit;
}

void stream_limit_silence(struct stream *stream, uint64_t limit)
{
    net_tcp_limit_silence(stream->descriptor, limit);
}

size_t stream_shop_memory(size_t blocks)
{
    return STREAM_SCRATCH_SIZE + slab_memory(sizeof(struct stream_block), blocks);
}

int stream_shop_open(struct stream_shop *shop, struct event_loop *loop, size_t blocks)
{
    *shop = (struct stream_shop){.loop = loop, .wall = clock_wall};
    void *scratch;
    int error = memory_open(STREAM_SCRATCH_SIZE, &scratch);
    if (error) {
        return error;
    }
    error = slab_open(&shop->blocks, sizeof(struct stream_block), blocks);
    if (error) {
        memory_close(scratch, STREAM_SCRATCH_SIZE);
        return error;
    }
    shop->scratch = scratch;
    return 0;
}

void stream_shop_close(struct stream_shop *shop)
{
    slab_close(&shop->blocks);
    memory_close(shop->scratch, STREAM_SCRATCH_SIZE);
    shop->scratch = NULL;
}

int stream_connect(struct stream *stream, struct stream_shop *shop, const struct address *remote,
                   struct tls_client *client, const struct stream_handler *handler)
{
    int descriptor;
    int error = net_tcp_connect(remote, &descriptor);
    if (error) {
        *stream = (struct stream){.state = STREAM_CLOSED};
        return error;
    }
    prepare(stream, shop, descriptor, handler);
    stream->client = client;
    error = begin(stream, STREAM_CONNECTING);
    if (error) {
        net_close(descriptor);
    }
    return error;
}

int stream_accept(struct stream *stream, struct stream_shop *shop, int descriptor,
                  const struct stream_handler *handler)
{
    prepare(stream, shop, descriptor, handler);
    stream->read_at = event_now(shop->loop);
    stream->spared = shop->blocks.capacity / SPARED_SHARE;
    return begin(stream, STREAM_OPEN);
}

size_t stream_unread(const struct stream *stream, uint8_t *out)
{
    assert(stream->input_size <= STREAM_UNREAD_MAX);
    stream_blocks_copy(&stream->input, out, stream->input_size);
    return stream->input_size;
}

int stream_put_back(struct stream *stream, struct span bytes)
{
    assert(stream->input_size == 0 && bytes.size <= STREAM_UNREAD_MAX);
    int error = stream_blocks_append(stream, &stream->input, &bytes, 1);
    if (error == 0) {
        stream->input_size = bytes.size;
        stream_look(stream);
    }
    return error;
}

void stream_limit_output(struct stream *stream, size_t bytes)
{
    stream->output_limit = bytes;
}

/* All of it or nothing. */
static int queue(struct stream *stream, struct span message)
{
    uint8_t length[2];
    bytes_put_u16(length, (uint16_t)message.size);
    const struct span parts[] = {span_of(length, sizeof length), message};
    size_t size = sizeof length + message.size;
    if (stream->output_size > stream->output_limit || size > stream->output_limit - stream->output_size) {
        return ERROR_EXHAUSTED;
    }
    int error = stream_blocks_append(stream, &stream->output, parts, 2);
    if (error == 0) {
        stream->output_size += size;
    }
    return error;
}

/* What waits for the end of the turn may leave now; an error is found again, and told, at the end of the
 * turn. */
static bool make_room(struct stream *stream)
{
    size_t before = stream->output_size;
    if (stream->state != STREAM_OPEN || stream->want_write || before == 0) {
        return false;
    }
    event_after_add(stream->shop->loop, &stream->flush);
    return stream_write_output(stream) == 0 && stream->output_size < before;
}

int stream_send(struct stream *stream, struct span message)
{
    assert(message.size >= DNS_HEADER_SIZE && message.size <= UINT16_MAX);
    if (stream->state == STREAM_CLOSED || stream->error) {
        return ERROR_CLOSED;
    }
    int error = queue(stream, message);
    if (error == ERROR_EXHAUSTED && make_room(stream)) {
        error = queue(stream, message);
    }
    if (error) {
        return error;
    }
    stream_mark_output(stream);
    if (stream->blocked_at == 0) {
        stream->blocked_at = event_now(stream->shop->loop);
    }
    if (stream->state == STREAM_OPEN && !stream->want_write) {
        event_after_add(stream->shop->loop, &stream->flush);
    }
    return 0;
}

void stream_pause(struct stream *stream)
{
    stream->paused = true;
    stream->partial_at = 0;
    if (stream->state == STREAM_OPEN && !stream->error) {
        event_after_add(stream->shop->loop, &stream->flush);
    }
}

void stream_look(struct stream *stream)
{
    stream->catching_up = true;
    if (stream->state == STREAM_OPEN && !stream->error) {
        event_after_add(stream->shop->loop, &stream->flush);
    }
}

void stream_resume(struct stream *stream)
{
    if (stream->paused) {
        stream->paused = false;
        stream_look(stream);
    }
}

const struct tls_failure *stream_failure(const struct stream *stream)
{
    if (stream->tls == NULL) {
        return NULL;
    }
    const struct tls_failure *failure = tls_session_failure(stream->tls);
    return failure->reason != TLS_REASON_NONE ? failure : NULL;
}

bool stream_resumed(const struct stream *stream)
{
    return stream->tls != NULL && tls_session_resumed(stream->tls);
}

const struct tls_session *stream_session(const struct stream *stream)
{
    return stream->tls;
}

bool stream_is_undated(const struct stream *stream)
{
    return stream->tls != NULL && tls_session_is_undated(stream->tls);
}

const char *stream_version(const struct stream *stream)
{
    return stream->tls != NULL ? tls_session_version(stream->tls) : "";
}

void stream_close(struct stream *stream)
{
    if (stream->state == STREAM_CLOSED) {
        return;
    }
    if (stream_is_open(stream)) {
        stream_write_output(stream);
    }
    if (stream->shop->current == stream) {
        stream->shop->current = NULL;
    }
    event_watch_remove(&stream->watch);
    event_after_remove(&stream->flush);
    tls_session_close(stream->tls);
    net_close(stream->descriptor);
    stream_blocks_drop(stream->shop, &stream->input, stream->input_size);
    stream_blocks_drop(stream->shop, &stream->output, stream->output_size);
    *stream = (struct stream){.state = STREAM_CLOSED};
}
