/* The room's door: its memory, a pool for each server that is asked, and the names. See bootstrap.h. */
#include "bootstrap/bootstrap.h"

#include <assert.h>

#include "base/error.h"
#include "base/memory.h"

#include "bootstrap/internal.h"

/* One server each: what is asked at all of them at once must not wait for one. */
static struct upstream_options pool_options(const struct bootstrap_options *options, size_t server)
{
    struct upstream_options one = options->upstream;
    one.servers = &options->upstream.servers[server];
    one.server_count = 1;
    one.policy = UPSTREAM_ORDERED;
    one.hedge = false;
    return one;
}

static size_t own_memory(const struct bootstrap_options *options)
{
    size_t questions = options->name_count * options->upstream.server_count * BOOTSTRAP_FAMILIES;
    return sizeof(struct bootstrap) + options->name_count * sizeof(struct bootstrap_name) +
           questions * sizeof(struct bootstrap_question);
}

size_t bootstrap_memory(const struct bootstrap_options *options)
{
    size_t memory = own_memory(options);
    for (size_t i = 0; i < options->upstream.server_count; i++) {
        struct upstream_options one = pool_options(options, i);
        memory += upstream_pool_memory(&one);
    }
    return memory;
}

static int open_pools(struct bootstrap *bootstrap)
{
    int error = 0;
    for (size_t i = 0; i < bootstrap->options.upstream.server_count && error == 0; i++) {
        struct upstream_options one = pool_options(&bootstrap->options, i);
        error = upstream_pool_open(&one, &bootstrap->around, &bootstrap->pools[i]);
        bootstrap->server_count += error == 0;
    }
    return error;
}

static void close_pools(struct bootstrap *bootstrap)
{
    for (size_t i = 0; i < bootstrap->server_count; i++) {
        upstream_pool_close(bootstrap->pools[i]);
    }
}

int bootstrap_open(const struct bootstrap_options *options, const struct upstream_surroundings *surroundings,
                   struct bootstrap **out)
{
    assert(options->upstream.server_count >= 1 && options->upstream.server_count <= BOOTSTRAP_SERVERS_MAX);
    assert(options->name_count >= 1 && options->name_count <= BOOTSTRAP_NAMES_MAX);
    void *memory;
    int error = memory_open(own_memory(options), &memory);
    if (error != 0) {
        return error;
    }
    struct bootstrap *bootstrap = memory;
    bootstrap->options = *options;
    bootstrap->around = *surroundings;
    bootstrap->memory = own_memory(options);
    bootstrap->questions = (struct bootstrap_question *)(void *)(bootstrap->names + options->name_count);
    error = open_pools(bootstrap);
    if (error != 0) {
        close_pools(bootstrap);
        memory_close(bootstrap, bootstrap->memory);
        return error;
    }
    for (size_t i = 0; i < options->name_count; i++) {
        bootstrap_name_init(&bootstrap->names[i], bootstrap, i);
    }
    *out = bootstrap;
    return 0;
}

void bootstrap_close(struct bootstrap *bootstrap)
{
    for (size_t i = 0; i < bootstrap->options.name_count; i++) {
        bootstrap_name_end(&bootstrap->names[i]);
    }
    close_pools(bootstrap);
    memory_close(bootstrap, bootstrap->memory);
}

struct upstream_lookup *bootstrap_lookup(struct bootstrap *bootstrap, size_t name)
{
    return &bootstrap->names[name].lookup;
}

void bootstrap_begin(struct bootstrap *bootstrap, size_t name, const struct bootstrap_target *target)
{
    bootstrap_name_begin(&bootstrap->names[name], target);
}

void bootstrap_network_changed(struct bootstrap *bootstrap)
{
    for (size_t i = 0; i < bootstrap->server_count; i++) {
        upstream_pool_network_changed(bootstrap->pools[i]);
    }
    for (size_t i = 0; i < bootstrap->options.name_count; i++) {
        bootstrap_name_doubt(&bootstrap->names[i]);
    }
}
