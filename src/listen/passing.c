/*
 * Connections that pass from one engine to the next: the descriptor, with its two addresses and with what was
 * read of a message that is not whole yet. What the client sends meanwhile waits in the kernel. Called by
 * hall.c and connection.c; both ends are here.
 */
#include "base/clock.h"
#include "base/error.h"

#include "net/net.h"

#include "listen/internal.h"

enum { FORM = 1, ADDRESS_SIZE = 1 + 2 + 4 + 16, TAKEN_A_TURN = 64 };
_Static_assert(1 + 2 * ADDRESS_SIZE == LISTEN_PACKET_HEAD, "the form, and both addresses");

/* The heir takes as many at once as its socket holds. */
#define RETRY (5 * CLOCK_MILLISECOND)

/* ---- the packet ---- */

static uint8_t *write_address(uint8_t *out, const struct address *address)
{
    out[0] = address->family == AF_INET ? 4 : 6;
    bytes_put_u16(out + 1, address->port);
    bytes_put_u32(out + 3, address->scope);
    memcpy(out + 7, address->bytes, sizeof address->bytes);
    return out + ADDRESS_SIZE;
}

static struct address read_address(const uint8_t *in)
{
    struct address address = {.family = in[0] == 4 ? AF_INET : AF_INET6,
                              .port = bytes_get_u16(in + 1),
                              .scope = bytes_get_u32(in + 3)};
    memcpy(address.bytes, in + 7, sizeof address.bytes);
    return address;
}

/* ---- from the engine that ends ---- */

static int send_connection(struct listen_connection *connection)
{
    struct listen_hall *hall = connection->hall;
    uint8_t *at = hall->packet;
    *at++ = FORM;
    at = write_address(at, &connection->peer.remote);
    at = write_address(at, &connection->tcp->local);
    at += stream_unread(&connection->stream, at);
    return net_local_send(hall->heir, span_of(hall->packet, (size_t)(at - hall->packet)),
                          connection->stream.descriptor);
}

bool listen_pass(struct listen_connection *connection)
{
    struct listen_hall *hall = connection->hall;
    int error = hall->heir >= 0 ? send_connection(connection) : ERROR_CLOSED;
    if (error == ERROR_AGAIN) {
        event_timer_set(hall->around.loop, &hall->retry, event_now(hall->around.loop) + RETRY);
        return false;
    }
    listen_connection_close(connection, error == 0 ? METRICS_TCP_PASSED : METRICS_TCP_CLOSES_DRAIN);
    return true;
}

void listen_pass_idle(struct listen_hall *hall)
{
    struct list *next;
    for (struct list *node = hall->open.next; node != &hall->open; node = next) {
        struct listen_connection *connection = container_of(node, struct listen_connection, node);
        next = node->next;
        /* An answer was lost on one that is overfull: only its close tells the client. */
        if (listen_connection_is_idle(connection) && !connection->overfull && !listen_pass(connection)) {
            return;
        }
    }
}

/* ---- to the engine that serves ---- */

static const struct listen_tcp *find_door(const struct listen_hall *hall, const struct address *local)
{
    for (size_t i = 0; i < hall->tcp_count; i++) {
        if (address_equal(&hall->tcp[i].local, local)) {
            return &hall->tcp[i];
        }
    }
    return NULL;
}

/* What another program has written in another form, or came in by a door that is gone, is closed. */
static void take(struct listen_hall *hall, struct span packet, int descriptor)
{
    const struct listen_tcp *door = NULL;
    if (packet.size >= LISTEN_PACKET_HEAD && packet.data[0] == FORM) {
        struct address local = read_address(packet.data + 1 + ADDRESS_SIZE);
        door = find_door(hall, &local);
    }
    if (door == NULL || descriptor < 0) {
        metrics_add(&hall->around.metrics->meter[METRICS_TCP_CLOSES_DRAIN], 1);
        net_close(descriptor);
        return;
    }
    struct address remote = read_address(packet.data + 1);
    struct listen_connection *connection = listen_connection_open(door, descriptor, &remote);
    struct span unread = span_of(packet.data + LISTEN_PACKET_HEAD, packet.size - LISTEN_PACKET_HEAD);
    if (connection != NULL && stream_put_back(&connection->stream, unread) != 0) {
        listen_connection_close(connection, METRICS_TCP_CLOSES_MEMORY);
    } else if (connection != NULL && hall->draining) {
        stream_pause(&connection->stream);
        (void)listen_pass(connection);
    }
}

static void on_connections(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    struct listen_inheritance *inheritance = container_of(watch, struct listen_inheritance, watch);
    struct listen_hall *hall = inheritance->hall;
    for (unsigned i = 0; i < TAKEN_A_TURN; i++) {
        int descriptor;
        int size = net_local_receive(watch->descriptor, hall->packet, sizeof hall->packet, &descriptor);
        if (size > 0) {
            take(hall, span_of(hall->packet, (size_t)size), descriptor);
        } else if (size == ERROR_AGAIN || size == ERROR_MEMORY) {
            return;
        } else if (size != ERROR_SPACE) {
            event_watch_remove(watch); /* the engine of before is gone */
            return;
        }
    }
}

int listen_inherit(struct listen_hall *hall, int descriptor)
{
    for (size_t i = 0; i < LISTEN_INHERITANCES; i++) {
        struct listen_inheritance *inheritance = &hall->inheritances[i];
        if (inheritance->watch.loop == NULL) {
            inheritance->hall = hall;
            inheritance->watch.ready = on_connections;
            return event_watch_add(hall->around.loop, &inheritance->watch, descriptor, EVENT_READ);
        }
    }
    return ERROR_EXHAUSTED;
}

bool listen_is_inheriting(const struct listen_hall *hall)
{
    bool found = false;
    for (size_t i = 0; i < LISTEN_INHERITANCES; i++) {
        found |= hall->inheritances[i].watch.loop != NULL;
    }
    return found;
}

void listen_stop_inheriting(struct listen_hall *hall)
{
    for (size_t i = 0; i < LISTEN_INHERITANCES; i++) {
        event_watch_remove(&hall->inheritances[i].watch);
    }
}
