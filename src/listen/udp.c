/*
 * A UDP socket as a door. A turn reads one batch and lets the loop come back for more, so that no socket
 * starves the others; all answers of a turn leave in one call.
 */
#include "base/error.h"

#include "listen/internal.h"

/* Before the end: more than a buffer of the kernel's holds, few enough under a flood. */
enum { LAST_BATCHES = 64 };

/* Returns how many datagrams there were, an error when none. */
static int take_batch(struct listen_udp *udp)
{
    int count = net_udp_receive(udp->batch, udp->watch.descriptor, udp->wildcard);
    for (int i = 0; i < count; i++) {
        struct net_peer peer;
        struct span datagram = net_udp_datagram(udp->batch, (size_t)i, &peer);
        if (datagram.size == 0 && datagram.data == NULL) {
            metrics_add(&udp->hall->around.metrics->meter[METRICS_DROPPED_OVERSIZE], 1);
        } else {
            query_begin(udp->hall->around.hall, &udp->door, &peer, datagram);
        }
    }
    return count;
}

static void on_ready(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    take_batch(container_of(watch, struct listen_udp, watch));
}

void listen_udp_drain(struct listen_udp *udp)
{
    for (unsigned i = 0; i < LAST_BATCHES && take_batch(udp) > 0; i++) {}
    event_watch_remove(&udp->watch);
}

static void on_reply(struct query_door *door, const struct net_peer *peer, struct span message)
{
    struct listen_udp *udp = container_of(door, struct listen_udp, door);
    net_udp_push(udp->batch, udp->watch.descriptor, peer, message);
    event_after_add(udp->hall->around.loop, &udp->flush);
}

static void on_flush(struct event_after *after)
{
    struct listen_udp *udp = container_of(after, struct listen_udp, flush);
    size_t refused = net_udp_flush(udp->batch, udp->watch.descriptor);
    metrics_add(&udp->hall->around.metrics->meter[METRICS_DROPPED_SEND], refused);
}

size_t listen_udp_memory(void)
{
    return net_udp_batch_memory();
}

int listen_udp_open(struct listen_hall *hall, int descriptor, unsigned group)
{
    if (hall->udp_count == LISTEN_SOCKETS_MAX) {
        return ERROR_EXHAUSTED;
    }
    struct listen_udp *udp = &hall->udp[hall->udp_count];
    struct address local;
    int error = net_local_address(descriptor, &local);
    if (error != 0) {
        return error;
    }
    error = net_udp_batch_open(&udp->batch);
    if (error != 0) {
        return error;
    }
    udp->hall = hall;
    udp->wildcard = address_is_any(&local);
    query_door_init(&udp->door, QUERY_UDP, -1, on_reply);
    udp->door.group = group;
    event_after_init(&udp->flush, on_flush);
    udp->watch.ready = on_ready;
    /* Several workers may share the socket, and a datagram is for one of them. A wake-up is never lost on one
     * that ends: its drain takes what has come. Of connections that would not be true. */
    error = event_watch_add(hall->around.loop, &udp->watch, descriptor, EVENT_READ | EVENT_EXCLUSIVE);
    if (error != 0) {
        net_udp_batch_close(udp->batch);
        return error;
    }
    hall->udp_count++;
    return 0;
}
