/*
 * One TCP client (RFC 7766). Its deadlines, for a message that was begun, for idleness and for taking its
 * answers, are all watched by one timer that wakes at the nearest and looks; nothing is re-armed for a
 * message. While the client does not take its answers, it is not read.
 */
#include "base/clock.h"
#include "base/error.h"

#include "listen/internal.h"

/* Times the write timeout in which all that waited at one moment must have left. Whoever asks a resolver has
 * given up long before (30 s by default), and a client of 40 kbit/s that let half of tcp_output pile up is in
 * time. */
enum { BACKLOG_TIMEOUTS = 3 };

static struct listen_connection *connection_of(struct stream *stream)
{
    return container_of(stream, struct listen_connection, stream);
}

bool listen_connection_is_idle(const struct listen_connection *connection)
{
    return connection->door.waiting_count == 0 && connection->stream.output_size == 0;
}

void listen_connection_close(struct listen_connection *connection, enum metrics_meter reason)
{
    struct listen_hall *hall = connection->hall;
    metrics_add(&hall->around.metrics->meter[reason], 1);
    query_door_leave(hall->around.hall, &connection->door);
    event_timer_clear(&connection->timer);
    stream_close(&connection->stream);
    guard_connections_leave(hall->around.connections, &connection->peer.remote);
    list_remove(&connection->node);
    slab_give(&hall->connections, connection);
    metrics_set(&hall->around.metrics->meter[METRICS_TCP_CONNECTIONS], hall->connections.taken);
}

bool listen_close_idle(struct listen_hall *hall, enum metrics_meter reason)
{
    for (struct list *node = hall->open.next; node != &hall->open; node = node->next) {
        struct listen_connection *connection = container_of(node, struct listen_connection, node);
        if (listen_connection_is_idle(connection)) {
            listen_connection_close(connection, reason);
            return true;
        }
    }
    return false;
}

/* ---- deadlines ---- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The shortest of the three timeouts: a deadline that begins after the timer was set cannot be missed. */
static uint64_t shortest(const struct listen_options *options)
{
    return sooner(options->tcp_idle, sooner(options->tcp_message_timeout, options->tcp_write_timeout));
}

struct deadline {
    uint64_t at;
    enum metrics_meter reason;
};

/* Not a byte taken for the write timeout, or too few: a byte now and then must not keep what waits for ever.
 */
static uint64_t write_deadline(const struct listen_connection *connection)
{
    const struct stream *stream = &connection->stream;
    uint64_t timeout = connection->hall->options.tcp_write_timeout;
    return stream->blocked_at == 0
               ? UINT64_MAX
               : sooner(stream->blocked_at + timeout, stream->marked_at + BACKLOG_TIMEOUTS * timeout);
}

static struct deadline nearest_deadline(const struct listen_connection *connection)
{
    const struct listen_options *options = &connection->hall->options;
    struct deadline nearest = {.at = UINT64_MAX, .reason = METRICS_TCP_CLOSES_IDLE};
    if (connection->overfull) {
        return (struct deadline){0, METRICS_TCP_CLOSES_OUTPUT};
    }
    if (listen_connection_is_idle(connection) && connection->stream.partial_at == 0) {
        nearest.at = connection->active_at + options->tcp_idle;
    }
    uint64_t partial_at = connection->stream.partial_at, write_at = write_deadline(connection);
    if (partial_at != 0 && partial_at + options->tcp_message_timeout < nearest.at) {
        nearest =
            (struct deadline){partial_at + options->tcp_message_timeout, METRICS_TCP_CLOSES_MESSAGE_TIMEOUT};
    }
    if (write_at < nearest.at) {
        nearest = (struct deadline){write_at, METRICS_TCP_CLOSES_WRITE_TIMEOUT};
    }
    return nearest;
}

static void on_timer(struct event_timer *timer)
{
    struct listen_connection *connection = container_of(timer, struct listen_connection, timer);
    struct event_loop *loop = connection->hall->around.loop;
    struct deadline deadline = nearest_deadline(connection);
    if (deadline.at <= event_now(loop)) {
        listen_connection_close(connection, deadline.reason);
        return;
    }
    event_timer_set(loop, timer, sooner(deadline.at, event_now(loop) + shortest(&connection->hall->options)));
}

/* ---- what the stream tells ---- */

static void touch(struct listen_connection *connection)
{
    connection->active_at = event_now(connection->hall->around.loop);
    list_remove(&connection->node);
    list_append(&connection->hall->open, &connection->node);
}

/* The client has sent its last byte, or the engine is about to end: what is left is to answer what waits.
 * Whether nothing is to be read of it any more. */
static bool leave_when_done(struct listen_connection *connection)
{
    bool is_idle = listen_connection_is_idle(connection), draining = connection->hall->draining;
    if (is_idle && connection->ended) {
        listen_connection_close(connection, METRICS_TCP_CLOSES_PEER);
        return true;
    }
    if (is_idle && draining) {
        (void)listen_pass(connection);
    }
    return draining;
}

static void on_message(struct stream *stream, struct span message)
{
    struct listen_connection *connection = connection_of(stream);
    if (connection->hall->draining) {
        return;
    }
    touch(connection);
    query_begin(connection->hall->around.hall, &connection->door, &connection->peer, message);
}

static void on_ended(struct stream *stream)
{
    struct listen_connection *connection = connection_of(stream);
    connection->ended = true;
    (void)leave_when_done(connection);
}

static void on_closed(struct stream *stream, int error)
{
    enum metrics_meter reason = METRICS_TCP_CLOSES_RESET;
    if (error == ERROR_MALFORMED) {
        reason = METRICS_TCP_CLOSES_FRAME;
    } else if (error == ERROR_EXHAUSTED) {
        reason = METRICS_TCP_CLOSES_MEMORY;
    }
    listen_connection_close(connection_of(stream), reason);
}

static void on_drained(struct stream *stream)
{
    struct listen_connection *connection = connection_of(stream);
    if (!connection->overfull && !leave_when_done(connection)) {
        stream_resume(stream);
    }
}

static const struct stream_handler connection_handler = {
    .message = on_message,
    .ended = on_ended,
    .closed = on_closed,
    .drained = on_drained,
};

/* An answer is lost, and the client would wait for it in vain: a closed connection tells it to ask anew (RFC
 * 7766, 6.2.4). The timer closes, since whoever replies still works with the door. */
static void give_up(struct listen_connection *connection)
{
    struct event_loop *loop = connection->hall->around.loop;
    connection->overfull = true;
    stream_pause(&connection->stream);
    event_timer_set(loop, &connection->timer, event_now(loop));
}

static void on_reply(struct query_door *door, const struct net_peer *peer, struct span message)
{
    (void)peer;
    struct listen_connection *connection = container_of(door, struct listen_connection, door);
    int error = connection->overfull ? ERROR_EXHAUSTED : stream_send(&connection->stream, message);
    if (error != 0) {
        metrics_add(&connection->hall->around.metrics->meter[METRICS_DROPPED_OUTPUT], 1);
        if (error == ERROR_EXHAUSTED) { /* else the stream is dead and will say so itself */
            give_up(connection);
        }
        return;
    }
    touch(connection);
    if (connection->stream.output_size > connection->hall->options.tcp_output / 2) {
        stream_pause(&connection->stream);
    }
}

/* ---- opening ---- */

static void count_refusal(struct listen_hall *hall, int descriptor, enum metrics_meter reason)
{
    metrics_add(&hall->around.metrics->meter[reason], 1);
    net_close(descriptor);
}

/* The place of an idle connection goes to the newcomer. */
static enum guard_verdict enter(struct listen_hall *hall, const struct address *remote)
{
    enum guard_verdict verdict = guard_connections_enter(hall->around.connections, remote);
    if (verdict == GUARD_FULL && listen_close_idle(hall, METRICS_TCP_CLOSES_PRESSURE)) {
        verdict = guard_connections_enter(hall->around.connections, remote);
    }
    return verdict;
}

static struct listen_connection *take_connection(struct listen_hall *hall)
{
    struct listen_connection *connection = slab_take(&hall->connections);
    if (connection == NULL && listen_close_idle(hall, METRICS_TCP_CLOSES_PRESSURE)) {
        connection = slab_take(&hall->connections);
    }
    return connection;
}

struct listen_connection *listen_connection_open(const struct listen_tcp *tcp, int descriptor,
                                                 const struct address *remote)
{
    struct listen_hall *hall = tcp->hall;
    enum guard_verdict verdict = enter(hall, remote);
    if (verdict != GUARD_ENTER) {
        count_refusal(hall, descriptor,
                      verdict == GUARD_FULL ? METRICS_TCP_CLOSES_LIMIT : METRICS_TCP_CLOSES_CLIENT_LIMIT);
        return NULL;
    }
    struct listen_connection *connection = take_connection(hall);
    if (connection == NULL) {
        guard_connections_leave(hall->around.connections, remote);
        count_refusal(hall, descriptor, METRICS_TCP_CLOSES_LIMIT);
        return NULL;
    }
    uint64_t now = event_now(hall->around.loop);
    *connection =
        (struct listen_connection){.hall = hall, .tcp = tcp, .peer = {.remote = *remote}, .active_at = now};
    int keepalive = (int)(hall->options.tcp_idle / (100 * CLOCK_MILLISECOND));
    query_door_init(&connection->door, QUERY_TCP, keepalive, on_reply);
    connection->door.group = tcp->group;
    event_timer_init(&connection->timer, on_timer);
    list_init(&connection->node);
    list_append(&hall->open, &connection->node);
    metrics_set(&hall->around.metrics->meter[METRICS_TCP_CONNECTIONS], hall->connections.taken);
    if (stream_accept(&connection->stream, hall->around.shop, descriptor, &connection_handler) != 0) {
        listen_connection_close(connection,
                                METRICS_TCP_CLOSES_MEMORY); /* counted before the client can see it */
        net_close(descriptor);
        return NULL;
    }
    stream_limit_output(&connection->stream, hall->options.tcp_output);
    event_timer_set(hall->around.loop, &connection->timer, now + shortest(&hall->options));
    return connection;
}
