/* What the doors of one worker have in common: their memory, the drain, the end. */
#include "base/memory.h"

#include "listen/internal.h"

size_t listen_hall_memory(const struct listen_options *options)
{
    return sizeof(struct listen_hall) +
           slab_memory(sizeof(struct listen_connection), options->tcp_connections);
}

static void on_last_look(struct event_after *after)
{
    struct listen_hall *hall = container_of(after, struct listen_hall, last_look);
    hall->draining = true;
    listen_pass_idle(hall);
}

static void on_retry(struct event_timer *timer)
{
    listen_pass_idle(container_of(timer, struct listen_hall, retry));
}

int listen_hall_open(const struct listen_options *options, const struct listen_surroundings *surroundings,
                     struct listen_hall **out)
{
    void *memory;
    int error = memory_open(sizeof(struct listen_hall), &memory);
    if (error != 0) {
        return error;
    }
    struct listen_hall *hall = memory;
    hall->options = *options;
    hall->around = *surroundings;
    list_init(&hall->open);
    event_after_init(&hall->last_look, on_last_look);
    event_timer_init(&hall->retry, on_retry);
    hall->heir = -1;
    error = slab_open(&hall->connections, sizeof(struct listen_connection), options->tcp_connections);
    if (error != 0) {
        memory_close(hall, sizeof *hall);
        return error;
    }
    *out = hall;
    return 0;
}

static void stop_accepting(struct listen_hall *hall)
{
    for (size_t i = 0; i < hall->tcp_count; i++) {
        event_watch_remove(&hall->tcp[i].watch);
        event_timer_clear(&hall->tcp[i].pause);
    }
}

static void pass_on(struct listen_hall *hall)
{
    hall->draining = true;
    for (struct list *node = hall->open.next; node != &hall->open; node = node->next) {
        stream_pause(&container_of(node, struct listen_connection, node)->stream);
    }
    listen_pass_idle(hall);
}

/* What they have sent by now is still read; idle is who has nothing waiting after that. */
static void look_once_more(struct listen_hall *hall)
{
    for (struct list *node = hall->open.next; node != &hall->open; node = node->next) {
        stream_look(&container_of(node, struct listen_connection, node)->stream);
    }
    event_after_add(hall->around.loop, &hall->last_look); /* behind those of the streams */
}

void listen_drain(struct listen_hall *hall, int heir)
{
    hall->heir = heir;
    stop_accepting(hall);
    for (size_t i = 0; i < hall->udp_count; i++) {
        listen_udp_drain(&hall->udp[i]);
    }
    if (heir >= 0) {
        pass_on(hall);
    } else {
        look_once_more(hall);
    }
}

bool listen_busy(const struct listen_hall *hall)
{
    return !list_empty(&hall->open) || listen_is_inheriting(hall);
}

void listen_hall_close(struct listen_hall *hall)
{
    stop_accepting(hall);
    listen_stop_inheriting(hall);
    event_after_remove(&hall->last_look);
    event_timer_clear(&hall->retry);
    while (!list_empty(&hall->open)) {
        listen_connection_close(container_of(hall->open.next, struct listen_connection, node),
                                METRICS_TCP_CLOSES_DRAIN);
    }
    for (size_t i = 0; i < hall->udp_count; i++) {
        struct listen_udp *udp = &hall->udp[i];
        query_door_leave(hall->around.hall, &udp->door);
        event_after_remove(&udp->flush);
        net_udp_flush(udp->batch, udp->watch.descriptor);
        event_watch_remove(&udp->watch);
        net_udp_batch_close(udp->batch);
    }
    slab_close(&hall->connections);
    memory_close(hall, sizeof *hall);
}
