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

static size_t count_udp(const struct upstream_options *options)
{
    size_t count = 0;
    for (size_t i = 0; i < options->server_count; i++) {
        count += options->servers[i].transport == UPSTREAM_UDP;
    }
    return count;
}

/* The pool, and behind it what a datagram is received into. */
static size_t pool_size(const struct upstream_options *options)
{
    return sizeof(struct upstream_pool) + (count_udp(options) > 0 ? DNS_MESSAGE_MAX : 0);
}

static size_t most_datagrams(const struct upstream_options *options)
{
    return count_udp(options) * options->in_flight;
}

static size_t most_links(const struct upstream_options *options)
{
    return (options->links + UPSTREAM_LINKS_BESIDE) * options->server_count;
}

static bool is_encrypted(const struct upstream_options *options)
{
    return options->servers[0].transport == UPSTREAM_TLS;
}

size_t upstream_pool_memory(const struct upstream_options *options)
{
    size_t tls = most_links(options) * TLS_SESSION_MEMORY + options->server_count * TLS_CLIENT_MEMORY;
    return pool_size(options) + slab_memory(link_size(slots_for(options->in_flight)), most_links(options)) +
           slab_memory(sizeof(struct upstream_datagram), most_datagrams(options)) +
           (is_encrypted(options) ? tls : 0);
}

struct upstream_form upstream_pool_form(const struct upstream_pool *pool)
{
    return (struct upstream_form){.pads = pool->server[0].options.transport == UPSTREAM_TLS,
                                  .keepalive = pool->half_count == 0};
}

static void check_options(const struct upstream_options *options)
{
    assert(options->server_count >= 1 && options->server_count <= UPSTREAM_SERVERS_MAX);
    assert(options->links >= 1 && options->links <= UPSTREAM_LINKS_MAX);
    assert(options->in_flight >= 1 && options->in_flight <= UPSTREAM_IN_FLIGHT_MAX);
    for (size_t i = 0; i < options->server_count; i++) {
        const struct upstream_server_options *server = &options->servers[i];
        assert((server->transport == UPSTREAM_TLS) == is_encrypted(options));
        assert((server->client != NULL) == (server->transport == UPSTREAM_TLS));
    }
}

static int open_slabs(struct upstream_pool *pool)
{
    const struct upstream_options *options = &pool->options;
    int error = slab_open(&pool->links, link_size(pool->slot_count), most_links(options));
    if (error != 0 || count_udp(options) == 0) {
        return error;
    }
    error = slab_open(&pool->datagrams, sizeof(struct upstream_datagram), most_datagrams(options));
    if (error != 0) {
        slab_close(&pool->links);
    }
    pool->received = (uint8_t *)(pool + 1);
    return error;
}

static void add_half(struct upstream_server *server)
{
    struct upstream_pool *pool = server->pool;
    struct upstream_server_options options = server->options;
    options.transport = UPSTREAM_TCP;
    server->half = &pool->server[pool->server_count + pool->half_count++];
    upstream_server_init(server->half, pool, &options, server->index);
}

int upstream_pool_open(const struct upstream_options *options,
                       const struct upstream_surroundings *surroundings, struct upstream_pool **out)
{
    check_options(options);
    void *memory;
    int error = memory_open(pool_size(options), &memory);
    if (error != 0) {
        return error;
    }
    struct upstream_pool *pool = memory;
    pool->size = pool_size(options);
    pool->options = *options;
    pool->around = *surroundings;
    pool->server_count = options->server_count;
    pool->slot_count = slots_for(options->in_flight);
    pool->hedging.budget = UPSTREAM_COPY_COSTS;
    list_init(&pool->waiting);
    error = open_slabs(pool);
    if (error != 0) {
        memory_close(memory, pool_size(options));
        return error;
    }
    for (size_t i = 0; i < pool->server_count; i++) {
        upstream_server_init(&pool->server[i], pool, &options->servers[i], i);
        if (upstream_server_is_udp(&pool->server[i])) {
            add_half(&pool->server[i]);
        }
    }
    pool->options.servers = NULL; /* the caller's; each server has its own */
    *out = pool;
    return 0;
}

static void close_links(struct upstream_server *server)
{
    upstream_dial_end(server);
    while (!list_empty(&server->open)) {
        upstream_link_free(container_of(server->open.next, struct upstream_link, node));
    }
}

void upstream_pool_network_changed(struct upstream_pool *pool)
{
    bool had_trouble[2 * UPSTREAM_SERVERS_MAX] = {false};
    size_t count = pool->server_count + pool->half_count;
    for (size_t i = 0; i < count; i++) {
        struct upstream_server *server = &pool->server[i];
        had_trouble[i] = server->failing || server->suspect;
        upstream_server_forgive(server);
        upstream_dial_end(server);
    }
    for (size_t i = 0; i < count; i++) {
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
    for (size_t i = 0; i < pool->server_count + pool->half_count; i++) {
        upstream_probe_end(&pool->server[i]);
    }
    assert(list_empty(&pool->waiting));
    for (size_t i = 0; i < pool->server_count + pool->half_count; i++) {
        struct upstream_server *server = &pool->server[i];
        assert(list_empty(&server->waiting));
        close_links(server);
        upstream_datagrams_close(server);
        event_timer_clear(&server->retry);
        event_after_remove(&server->room);
        event_after_remove(&server->growth);
    }
    slab_close(&pool->links);
    if (pool->half_count > 0) {
        slab_close(&pool->datagrams);
    }
    memory_close(pool, pool->size);
}
