/* What the floors of a worker are opened with, worked out from the configuration; and what that costs. */
#include "worker/internal.h"

/* Long signed queries that may wait in all workers together, and in each at least: 64 KiB a query. */
enum { LONG_MESSAGES = 64, LONG_MESSAGES_LEAST = 8 };

static enum upstream_policy policy_of(enum config_policy policy)
{
    static const enum upstream_policy policies[] = {
        [CONFIG_FASTEST] = UPSTREAM_FASTEST, [CONFIG_ROUND_ROBIN] = UPSTREAM_ROUND_ROBIN,
        [CONFIG_RANDOM] = UPSTREAM_RANDOM,   [CONFIG_ORDERED] = UPSTREAM_ORDERED,
        [CONFIG_HASH] = UPSTREAM_HASH,
    };
    return policies[policy];
}

static enum upstream_transport transport_of(const struct config_upstream *upstream)
{
    switch (upstream->transport) {
    case CONFIG_TCP:
        return UPSTREAM_TCP;
    case CONFIG_UDP:
        return UPSTREAM_UDP;
    case CONFIG_TLS:
        break;
    }
    return UPSTREAM_TLS;
}

static struct upstream_server_options server_of(const struct config_upstream *upstream, size_t page)
{
    return (struct upstream_server_options){
        .label = upstream->label,
        .transport = transport_of(upstream),
        .addresses = {1, {upstream->address}},
        .page = page,
        .weight = upstream->weight,
    };
}

size_t worker_servers(const struct config *config, size_t upstream_count, unsigned group,
                      struct upstream_server_options out[CONFIG_UPSTREAMS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < upstream_count; i++) {
        const struct config_upstream *upstream = &config->upstreams[i];
        if (upstream->group == group) {
            out[count++] = server_of(upstream, i);
        }
    }
    return count;
}

void worker_bootstrap_servers(const struct config *config, size_t upstream_count,
                              struct upstream_server_options out[CONFIG_BOOTSTRAP_MAX])
{
    for (size_t i = 0; i < config->bootstrap_count; i++) {
        out[i] = server_of(&config->bootstrap[i], upstream_count + i);
    }
}

static struct upstream_options common_options(const struct config *config,
                                              const struct upstream_server_options *servers, size_t count)
{
    return (struct upstream_options){
        .attempt_timeout = config->upstream.attempt_timeout,
        .connect_timeout = config->upstream.connect_timeout,
        .handshake_timeout = config->upstream.handshake_timeout,
        .refused_retry = config->upstream.refused_retry,
        .backoff_min = config->upstream.backoff_min,
        .backoff_max = config->upstream.backoff_max,
        .handshakes_per_second = (unsigned)config->upstream.handshakes_per_second,
        .in_flight = (unsigned)config->upstream.in_flight,
        .links = (unsigned)config->upstream.links,
        .max_age = config->upstream.max_age,
        .warm = config->upstream.warm,
        .servers = servers,
        .server_count = count,
    };
}

struct upstream_options worker_upstream_options(const struct config *config, unsigned group,
                                                const struct upstream_server_options *servers, size_t count)
{
    struct upstream_options options = common_options(config, servers, count);
    options.policy = policy_of(config->groups[group].policy);
    options.hedge = config->groups[group].hedge;
    return options;
}

size_t worker_host_count(const struct config *config, size_t upstream_count)
{
    size_t count = 0;
    for (size_t i = 0; i < upstream_count; i++) {
        count += config->upstreams[i].host != NULL;
    }
    return count;
}

struct bootstrap_options worker_bootstrap_options(const struct config *config, size_t upstream_count,
                                                  const struct upstream_server_options *servers)
{
    struct bootstrap_options options = {
        .upstream = common_options(config, servers, config->bootstrap_count),
        .name_count = worker_host_count(config, upstream_count),
        .padding_block = (size_t)config->tls.padding,
    };
    options.upstream.links = 1;
    options.upstream.in_flight = 2 * BOOTSTRAP_NAMES_MAX;
    return options;
}

struct query_options worker_query_options(const struct config *config, unsigned workers)
{
    size_t long_messages = LONG_MESSAGES / workers;
    return (struct query_options){
        .query_timeout = config->limits.query_timeout,
        .pending = (size_t)(config->limits.pending + workers - 1) / workers,
        .long_messages = long_messages > LONG_MESSAGES_LEAST ? long_messages : LONG_MESSAGES_LEAST,
        .pending_per_client = (unsigned)config->limits.pending_per_client,
        .padding_block = (size_t)config->tls.padding,
        .strip_client_subnet = config->privacy.strip_client_subnet,
        .lifetimes = {.least = (uint32_t)config->cache.min_ttl,
                      .most = (uint32_t)config->cache.max_ttl,
                      .denial_most = (uint32_t)config->cache.negative_max_ttl,
                      .failure = (uint32_t)config->cache.failure_ttl},
        .stale = {.most = config->cache.serve_stale ? (uint32_t)config->cache.stale_max : 0,
                  .client_timeout = config->cache.stale_client_timeout},
        .prefetch = config->cache.prefetch,
        .udp_discard = config->limits.udp_discard,
        .log_queries = (enum query_log)config->log.queries,
    };
}

struct listen_options worker_listen_options(const struct config *config)
{
    return (struct listen_options){
        .tcp_idle = config->limits.tcp_idle,
        .tcp_message_timeout = config->limits.tcp_message_timeout,
        .tcp_write_timeout = config->limits.tcp_write_timeout,
        .tcp_output = (size_t)config->limits.tcp_output,
        .tcp_connections = (size_t)config->limits.tcp_connections,
    };
}

/* Two clients that take nothing may hold all their limits allow, and the servers still have their share. */
static size_t least_blocks(const struct config *config)
{
    return 4 * (size_t)config->limits.tcp_output / STREAM_BLOCK_SIZE;
}

static size_t pools_memory(const struct config *config, size_t upstream_count)
{
    size_t memory = 0;
    for (unsigned group = 0; group < config->group_count; group++) {
        struct upstream_server_options servers[CONFIG_UPSTREAMS_MAX];
        size_t count = worker_servers(config, upstream_count, group, servers);
        struct upstream_options options = worker_upstream_options(config, group, servers, count);
        memory += upstream_pool_memory(&options);
    }
    if (worker_host_count(config, upstream_count) > 0) {
        struct upstream_server_options servers[CONFIG_BOOTSTRAP_MAX];
        worker_bootstrap_servers(config, upstream_count, servers);
        struct bootstrap_options options = worker_bootstrap_options(config, upstream_count, servers);
        memory += bootstrap_memory(&options);
    }
    return memory;
}

struct worker_memory worker_memory(const struct config *config, size_t upstream_count, unsigned workers)
{
    struct query_options query = worker_query_options(config, workers);
    struct listen_options listen = worker_listen_options(config);
    struct worker_memory memory = {
        .queries = query_hall_memory(&query),
        .links = pools_memory(config, upstream_count),
        .clients = listen_hall_memory(&listen),
        .buffers_least = stream_shop_memory(least_blocks(config)),
    };
    for (size_t i = 0; i < config->listen_count; i++) {
        memory.clients += config->listen[i].udp ? listen_udp_memory() : 0;
    }
    return memory;
}

size_t worker_buffers(size_t memory)
{
    return (memory - stream_shop_memory(0)) / STREAM_BLOCK_SIZE;
}
