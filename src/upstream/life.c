/*
 * How a pool comes up and goes down, what it costs, and what becomes of it when the machine's network
 * changes. Called by the worker. All memory is taken here, and none on a question's way.
 */
#include <assert.h>

#include "base/error.h"
#include "base/memory.h"

#include "upstream/internal.h"

static unsigned slots_for(unsigned in_flight)
{
    unsigned slots = 64;
    while (slots < 2 * in_flight) {
        slots *= 2;
    }
    return slots;
}

static size_t link_size(unsigned slots)
{
    return sizeof(struct upstream_link) + slots * (sizeof(struct upstream_slot) + sizeof(uint16_t));
}

static size_t most_links(const struct upstream_options *options)
{
    return (options->links + UPSTREAM_LINKS_BESIDE) * options->server_count;
}

size_t upstream_pool_memory(const struct upstream_options *options)
{
    return sizeof(struct upstream_pool) +
           slab_memory(link_size(slots_for(options->in_flight)), most_links(options)) +
           most_links(options) * TLS_SESSION_MEMORY + options->server_count * TLS_CLIENT_MEMORY;
}

int upstream_pool_open(const struct upstream_options *options,
                       const struct upstream_surroundings *surroundings, struct upstream_pool **out)
{
    assert(options->server_count >= 1 && options->server_count <= UPSTREAM_SERVERS_MAX);
    assert(options->links >= 1 && options->links <= UPSTREAM_LINKS_MAX);
    assert(options->in_flight >= 1 && options->in_flight <= UPSTREAM_IN_FLIGHT_MAX);
    void *memory;
    int error = memory_open(sizeof(struct upstream_pool), &memory);
    if (error != 0) {
        return error;
    }
    struct upstream_pool *pool = memory;
    pool->options = *options;
    pool->around = *surroundings;
    pool->server_count = options->server_count;
    pool->slot_count = slots_for(options->in_flight);
    pool->hedge_budget = UPSTREAM_COPY_COSTS;
    list_init(&pool->waiting);
    error = slab_open(&pool->links, link_size(pool->slot_count), most_links(options));
    if (error != 0) {
        memory_close(memory, sizeof *pool);
        return error;
    }
    for (size_t i = 0; i < pool->server_count; i++) {
        upstream_server_init(&pool->server[i], pool, i);
    }
    *out = pool;
    return 0;
}

static void close_links(struct upstream_server *server)
{
    if (server->connecting != NULL) {
        upstream_link_free(server->connecting);
    }
    while (!list_empty(&server->open)) {
        upstream_link_free(container_of(server->open.next, struct upstream_link, node));
    }
}

void upstream_pool_network_changed(struct upstream_pool *pool)
{
    bool had_trouble[UPSTREAM_SERVERS_MAX] = {false};
    for (size_t i = 0; i < pool->server_count; i++) {
        struct upstream_server *server = &pool->server[i];
        had_trouble[i] = server->failing || server->suspect;
        upstream_server_forgive(server);
        if (server->connecting != NULL) {
            upstream_link_free(server->connecting);
        }
    }
    for (size_t i = 0; i < pool->server_count; i++) {
        struct upstream_server *server = &pool->server[i];
        while (!list_empty(&server->open)) {
            upstream_link_suspect(container_of(server->open.next, struct upstream_link, node),
                                  METRICS_UPSTREAM_CLOSES_NETWORK, "network");
        }
        /* A server that had trouble has to show first that it has none any more; the others come before it.
         */
        server->suspect = had_trouble[i];
        upstream_server_unlinked(server);
    }
    upstream_place_waiting(pool);
}

void upstream_pool_close(struct upstream_pool *pool)
{
    for (size_t i = 0; i < pool->server_count; i++) {
        upstream_probe_end(&pool->server[i]);
    }
    assert(list_empty(&pool->waiting));
    for (size_t i = 0; i < pool->server_count; i++) {
        struct upstream_server *server = &pool->server[i];
        assert(list_empty(&server->waiting));
        event_timer_clear(&server->retry);
        event_after_remove(&server->room);
        event_after_remove(&server->growth);
        close_links(server);
    }
    slab_close(&pool->links);
    memory_close(pool, sizeof *pool);
}
