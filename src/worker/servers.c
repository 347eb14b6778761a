/*
 * The servers of a worker: their identities, a pool for each group, and whoever finds out the addresses of
 * those that are known by name.
 */
#include "worker/internal.h"

static int build_client(const struct worker_setup *setup, const struct config_upstream *upstream,
                        struct tls_client **out)
{
    if (upstream->transport != CONFIG_TLS) {
        return 0;
    }
    struct tls_identity identity = config_upstream_identity(setup->config, upstream);
    return tls_client_build(&identity, setup->trust, out);
}

static int open_clients(struct worker_servers *servers)
{
    const struct worker_setup *setup = servers->setup;
    int error = 0;
    for (size_t i = 0; i < setup->upstream_count && error == 0; i++) {
        error = build_client(setup, &setup->config->upstreams[i], &servers->clients[i]);
    }
    for (size_t i = 0; i < setup->config->bootstrap_count && error == 0; i++) {
        error = build_client(setup, &setup->config->bootstrap[i], &servers->bootstrap_clients[i]);
    }
    return error;
}

/* ---- servers that are known by name ---- */

static bool is_own(void *owner, size_t name, const struct address *address)
{
    const struct worker_servers *servers = owner;
    const struct config *config = servers->setup->config;
    return config_is_own(config, config->upstreams[servers->named[name]].transport, address);
}

static void on_found(void *owner, size_t name, const struct address_list *addresses)
{
    const struct worker_servers *servers = owner;
    servers->setup->found(servers->setup->owner, servers->named[name], addresses);
}

static int open_bootstrap(struct worker_servers *servers)
{
    const struct worker_setup *setup = servers->setup;
    const struct config *config = setup->config;
    struct upstream_server_options list[CONFIG_BOOTSTRAP_MAX];
    if (worker_host_count(config, setup->upstream_count) == 0) {
        return 0;
    }
    worker_bootstrap_servers(config, setup->upstream_count, list);
    for (size_t i = 0; i < config->bootstrap_count; i++) {
        list[i].client = servers->bootstrap_clients[i];
    }
    struct bootstrap_options options = worker_bootstrap_options(config, setup->upstream_count, list);
    options.is_own = is_own;
    options.found = on_found;
    options.owner = servers;
    return bootstrap_open(&options, &servers->around, &servers->bootstrap);
}

static struct address_list known_addresses(const struct worker_servers *servers, size_t upstream)
{
    const struct worker_setup *setup = servers->setup;
    const struct config_upstream *configured = &setup->config->upstreams[upstream];
    if (configured->host == NULL) {
        return (struct address_list){1, {configured->address}};
    }
    return setup->known != NULL ? setup->known[upstream] : (struct address_list){0};
}

static void begin_bootstrap(struct worker_servers *servers)
{
    const struct config *config = servers->setup->config;
    for (size_t name = 0; name < worker_host_count(config, servers->setup->upstream_count); name++) {
        size_t upstream = servers->named[name];
        struct bootstrap_target target = {
            .host = config->upstreams[upstream].host,
            .port = config->upstreams[upstream].address.port,
            .pool = servers->pools[config->upstreams[upstream].group],
            .server = servers->index_of[upstream],
            .known = known_addresses(servers, upstream),
        };
        bootstrap_begin(servers->bootstrap, name, &target);
    }
}

/* The lookup of an upstream that is known by name, else NULL. */
static struct upstream_lookup *lookup_of(struct worker_servers *servers, size_t upstream)
{
    const struct config *config = servers->setup->config;
    if (config->upstreams[upstream].host == NULL) {
        return NULL;
    }
    size_t name = worker_host_count(config, upstream);
    servers->named[name] = upstream;
    return bootstrap_lookup(servers->bootstrap, name);
}

/* ---- pools ---- */

static int open_pool(struct worker_servers *servers, unsigned group)
{
    const struct worker_setup *setup = servers->setup;
    struct upstream_server_options list[CONFIG_UPSTREAMS_MAX];
    size_t count = worker_servers(setup->config, setup->upstream_count, group, list);
    for (size_t i = 0; i < count; i++) {
        size_t upstream = list[i].page;
        servers->index_of[upstream] = i;
        list[i].addresses = known_addresses(servers, upstream);
        list[i].lookup = lookup_of(servers, upstream);
        list[i].client = servers->clients[upstream];
    }
    struct upstream_options options = worker_upstream_options(setup->config, group, list, count);
    return upstream_pool_open(&options, &servers->around, &servers->pools[group]);
}

int worker_servers_open(struct worker_servers *servers, const struct worker_setup *setup,
                        const struct upstream_surroundings *around)
{
    servers->setup = setup;
    servers->around = *around;
    int error = open_clients(servers);
    if (error == 0) {
        error = open_bootstrap(servers);
    }
    for (unsigned i = 0; i < setup->config->group_count && error == 0; i++) {
        servers->partitions[i] = setup->config->groups[i].partition;
        error = open_pool(servers, i);
    }
    if (error == 0) {
        begin_bootstrap(servers);
    }
    return error;
}

void worker_servers_trust_anew(struct worker_servers *servers)
{
    for (size_t i = 0; i < servers->setup->config->group_count; i++) {
        upstream_pool_network_changed(servers->pools[i]);
    }
    if (servers->bootstrap != NULL) {
        bootstrap_network_changed(servers->bootstrap);
    }
}

void worker_servers_close(struct worker_servers *servers)
{
    if (servers->bootstrap != NULL) {
        bootstrap_close(servers->bootstrap);
    }
    for (size_t i = 0; i < CONFIG_GROUPS_MAX && servers->pools[i] != NULL; i++) {
        upstream_pool_close(servers->pools[i]);
    }
    for (size_t i = 0; i < CONFIG_UPSTREAMS_MAX; i++) {
        tls_client_free(servers->clients[i]);
    }
    for (size_t i = 0; i < CONFIG_BOOTSTRAP_MAX; i++) {
        tls_client_free(servers->bootstrap_clients[i]);
    }
}
