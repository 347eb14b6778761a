/*
 * What no single option can know: values that must stand in an order, and an upstream that is this program
 * itself. Options that were complained about already are left out.
 */
#include <sys/socket.h>

#include "config/table.h"

/* The value of `less` must not exceed that of `more`. */
static const struct {
    const char *less, *more;
} orders[] = {
    {"limits.tcp_connections_per_client", "limits.tcp_connections"},
    {"upstream.attempt_timeout", "limits.query_timeout"},
    {"upstream.backoff_min", "upstream.backoff_max"},
    {"cache.min_ttl", "cache.max_ttl"},
    {"cache.size", "limits.memory"},
};

static bool is_bad(const struct config_work *work, const struct config_option *option)
{
    return work->bad[config_option_index(option)];
}

static const struct config_place *place_of(const struct config_work *work, const struct config_option *option)
{
    return &work->snapshot->places[config_option_index(option)];
}

/* Where the two were set by different layers, the one that was set last is the one to look at. */
static void check_order(struct config_work *work, const char *less_path, const char *more_path)
{
    const struct config_option *less = config_option_find(less_path), *more = config_option_find(more_path);
    uint64_t small = config_value_get(less, &work->snapshot->config);
    uint64_t great = config_value_get(more, &work->snapshot->config);
    if (is_bad(work, less) || is_bad(work, more) || small <= great) {
        return;
    }
    char small_text[CONFIG_VALUE_SIZE], great_text[CONFIG_VALUE_SIZE];
    config_value_format(less, small, small_text);
    config_value_format(more, great, great_text);
    const struct config_place *less_place = place_of(work, less), *more_place = place_of(work, more);
    if (less_place->source >= more_place->source) {
        config_complain(work, less_place, "%s is more than %s (%s)", small_text, more_path, great_text);
    } else {
        config_complain(work, more_place, "%s is less than %s (%s)", great_text, less_path, small_text);
    }
}

static bool is_loopback(const struct address *address)
{
    static const uint8_t one[16] = {[15] = 1};
    return address->family == AF_INET ? address->bytes[0] == 127
                                      : memcmp(address->bytes, one, sizeof one) == 0;
}

/* What cannot be had in a datagram is asked over TCP. */
static bool listens_to(const struct config_listen *listen, enum config_transport transport)
{
    return listen->tcp || (listen->udp && transport == CONFIG_UDP);
}

/* Whether a question to the server would end at this listener. An IPv6 wildcard takes IPv6 only. */
static bool reaches(enum config_transport transport, const struct address *server,
                    const struct config_listen *listen)
{
    if (!listens_to(listen, transport) || listen->address.port != server->port ||
        listen->address.family != server->family) {
        return false;
    }
    return address_same_host(server, &listen->address) ||
           (address_is_any(&listen->address) && is_loopback(server));
}

static void check_loop(struct config_work *work, const struct config_upstream *upstream,
                       const struct config_place *place)
{
    const struct config *config = &work->snapshot->config;
    for (size_t i = 0; i < config->listen_count; i++) {
        if (reaches(upstream->transport, &upstream->address, &config->listen[i])) {
            char text[ADDRESS_TEXT_SIZE];
            address_format(&config->listen[i].address, true, text);
            config_complain(work, place,
                            "%s is where this program listens itself (%s): queries would go round in a loop",
                            upstream->url, text);
            return;
        }
    }
}

bool config_is_own(const struct config *config, enum config_transport transport,
                   const struct address *address)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        if (reaches(transport, address, &config->listen[i])) {
            return true;
        }
    }
    return false;
}

/* Somebody has to know the address of a host. */
static void check_bootstrap(struct config_work *work)
{
    const struct config *config = &work->snapshot->config;
    for (size_t i = 0; i < config->upstream_count; i++) {
        const struct config_upstream *upstream = &config->upstreams[i];
        if (upstream->host != NULL && config->bootstrap_count == 0) {
            bool is_tls = upstream->transport == CONFIG_TLS;
            config_complain(work, &work->snapshot->upstream_places[i],
                            "%s is a host name, and nobody is named that is asked for its address: set "
                            "bootstrap, for example to quad9, or give the address, as in %s%s",
                            upstream->url, is_tls ? "tls://ADDRESS#" : "udp://ADDRESS",
                            is_tls ? upstream->name : "");
        }
    }
    for (size_t i = 0; i < config->bootstrap_count; i++) {
        check_loop(work, &config->bootstrap[i], &work->snapshot->bootstrap_places[i]);
    }
}

/* A file for what is not kept would never be written. */
static void check_cache_file(struct config_work *work)
{
    const struct config_option *file = config_option_find("cache.file"),
                               *size = config_option_find("cache.size");
    if (!is_bad(work, file) && !is_bad(work, size) && work->snapshot->config.cache.file[0] != '\0' &&
        work->snapshot->config.cache.size == 0) {
        config_complain(work, place_of(work, file), "there is nothing to write: cache.size is 0");
    }
}

void config_cross_check(struct config_work *work)
{
    check_cache_file(work);
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        check_order(work, orders[i].less, orders[i].more);
    }
    if (is_bad(work, config_option_find("listen")) || is_bad(work, config_option_find("upstreams"))) {
        return;
    }
    config_groups_resolve(work);
    for (size_t i = 0; i < work->snapshot->config.upstream_count; i++) {
        check_loop(work, &work->snapshot->config.upstreams[i], &work->snapshot->upstream_places[i]);
    }
    if (!is_bad(work, config_option_find("bootstrap"))) {
        check_bootstrap(work);
    }
}
