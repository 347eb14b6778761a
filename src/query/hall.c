/* Doors, and the life of the hall itself. */
#include <assert.h>

#include "base/memory.h"

#include "query/internal.h"

/* The number of the worker stands above the count of its questions, so that no two workers give one id twice.
 */
enum { ID_WORKER_SHIFT = 44 };

size_t query_hall_memory(const struct query_options *options)
{
    return sizeof(struct query_hall) + slab_memory(sizeof(struct query), options->pending) +
           slab_memory(DNS_MESSAGE_MAX, options->long_messages);
}

int query_hall_open(const struct query_options *options, const struct query_surroundings *surroundings,
                    struct query_hall **out)
{
    void *memory;
    int error = memory_open(sizeof(struct query_hall), &memory);
    if (error != 0) {
        return error;
    }
    struct query_hall *hall = memory;
    hall->options = *options;
    if (options->lifetimes.denial_most > options->lifetimes.most) {
        hall->options.lifetimes.denial_most = options->lifetimes.most;
    }
    hall->around = *surroundings;
    hall->last_id = (uint64_t)options->worker << ID_WORKER_SHIFT;
    list_init(&hall->unattended);
    error = slab_open(&hall->queries, sizeof(struct query), options->pending);
    if (error == 0) {
        error = slab_open(&hall->long_messages, DNS_MESSAGE_MAX, options->long_messages);
        if (error != 0) {
            slab_close(&hall->queries);
        }
    }
    if (error != 0) {
        memory_close(hall, sizeof *hall);
        return error;
    }
    *out = hall;
    return 0;
}

void query_hall_close(struct query_hall *hall)
{
    while (!list_empty(&hall->unattended)) {
        query_wait_forget(container_of(hall->unattended.next, struct query, node));
    }
    slab_close(&hall->queries);
    slab_close(&hall->long_messages);
    memory_close(hall, sizeof *hall);
}

void query_door_init(struct query_door *door, enum query_transport transport, int keepalive,
                     void (*reply)(struct query_door *, const struct net_peer *, struct span))
{
    *door = (struct query_door){.transport = transport, .keepalive = keepalive, .reply = reply};
    list_init(&door->waiting);
}

void query_door_leave(struct query_hall *hall, struct query_door *door)
{
    for (struct list *node = door->waiting.next; node != &door->waiting; node = node->next) {
        container_of(node, struct query, node)->door = NULL;
    }
    list_move_all(&hall->unattended, &door->waiting);
    hall->unattended_count += door->waiting_count;
    door->waiting_count = 0;
}

void query_begin(struct query_hall *hall, struct query_door *door, const struct net_peer *peer,
                 struct span message)
{
    struct query_passage passage = {.hall = hall, .door = door, .peer = peer, .message = message};
    query_walk(&passage);
}

size_t query_pending(const struct query_hall *hall)
{
    return hall->queries.taken - hall->unattended_count;
}
