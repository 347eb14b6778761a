/*
 * How many descriptors an engine needs for itself: what is left of the limit on open files is for the
 * connections of clients. Called by engine.c, which refuses to start where nothing is left.
 */
#include "engine/descriptors.h"

#include "worker/worker.h"

/* Descriptors that are kept from clients: for each server of each worker, for each worker's loop and mailbox,
 * and for the process; and the questions that one who is asked for addresses gets at once at most. */
enum {
    LINKS_RESERVED = 4,
    LOOP_RESERVED = 4,
    PROCESS_RESERVED = 24,
    LOOKUPS_MOST = 2 * CONFIG_UPSTREAMS_MAX,
};

/* Each question over UDP has a socket of its own, and a host may be tried at all of its addresses. */
static uint64_t descriptors_of(const struct config_upstream *server, uint64_t in_flight)
{
    uint64_t own = LINKS_RESERVED + (server->host != NULL ? (uint64_t)ADDRESS_LIST_MAX : 0);
    return own + (server->transport == CONFIG_UDP ? in_flight : 0);
}

uint64_t descriptors_own(const struct engine_setup *setup)
{
    uint64_t each = LOOP_RESERVED;
    for (size_t i = 0; i < setup->upstream_count; i++) {
        each += descriptors_of(&setup->config->upstreams[i], setup->config->upstream.in_flight);
    }
    for (size_t i = 0; i < setup->config->bootstrap_count; i++) {
        each += descriptors_of(&setup->config->bootstrap[i], LOOKUPS_MOST);
    }
    return setup->socket_count + each * setup->workers + PROCESS_RESERVED;
}

bool descriptors_are_for_udp(const struct engine_setup *setup)
{
    bool found = false;
    for (size_t i = 0; i < setup->upstream_count; i++) {
        found |= setup->config->upstreams[i].transport == CONFIG_UDP;
    }
    return found;
}
