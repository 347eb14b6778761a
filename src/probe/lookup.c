/*
 * Where the servers are that are known by name. Whoever is asked for addresses is asked about each name, and
 * what each says is kept: a person wants to know who it is that does not answer. Nothing is known afterwards
 * that the serving program would not find out as well. Called by probe.c, before anything is dialled.
 */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include "bootstrap/bootstrap.h"
#include "probe/internal.h"

enum { FAMILIES = 2, LOG_SIZE = 4096, IN_FLIGHT = FAMILIES * CONFIG_UPSTREAMS_MAX };

struct lookups;

/* To one server, about one name, for one family. */
struct question {
    struct upstream_ask ask;
    struct lookups *lookups;
    struct probe_lookup *lookup;
    struct probe_said *said;
    uint16_t type;
    uint64_t asked_at;
    uint8_t message[DNS_QUERY_MAX];
};

struct lookups {
    const struct probe_setup *setup;
    struct upstream_surroundings around;
    struct log log; /* nobody reads it: what is to be told is told in the report */
    uint8_t ring[LOG_SIZE];
    struct metrics_worker metrics;
    size_t pool_count, out;
    struct tls_client *clients[CONFIG_BOOTSTRAP_MAX];
    struct upstream_pool *pools[CONFIG_BOOTSTRAP_MAX];
    struct question questions[CONFIG_UPSTREAMS_MAX][CONFIG_BOOTSTRAP_MAX][FAMILIES];
};

/* ---- answers ---- */

/* What both families say is one answer: addresses, else what went wrong, else that there are none. */
static void note_reason(struct probe_said *said, const char *reason)
{
    bool says_more = said->reason == NULL || strcmp(said->reason, "no_address") == 0;
    if (says_more) {
        said->reason = reason;
    }
}

static void note_addresses(struct question *question, const struct address_list *found)
{
    const struct config *config = question->lookups->setup->config;
    for (size_t i = 0; i < found->count; i++) {
        if (config_is_own(config, question->lookup->upstream->transport, &found->items[i])) {
            note_reason(question->said, "own_address");
        } else {
            address_list_add(&question->said->addresses, &found->items[i]);
        }
    }
}

static void on_done(struct upstream_ask *ask, const struct upstream_result *result)
{
    struct question *question = container_of(ask, struct question, ask);
    struct lookups *lookups = question->lookups;
    struct address_list found = {0};
    const char *reason = result->reason;
    if (result->error == 0) {
        reason = bootstrap_answer_read(result->answer, question->type,
                                       question->lookup->upstream->address.port, &found);
        question->said->time = event_now(lookups->around.loop) - question->asked_at;
    }
    if (reason != NULL) {
        note_reason(question->said, reason);
    }
    note_addresses(question, &found);
    if (--lookups->out == 0) {
        event_loop_stop(lookups->around.loop);
    }
}

/* ---- asking ---- */

static void ask(struct question *question, struct upstream_pool *pool, uint16_t type)
{
    const struct config *config = question->lookups->setup->config;
    struct bootstrap_form form = {
        .host = question->lookup->upstream->host, .type = type, .padding_block = (size_t)config->tls.padding};
    question->type = type;
    question->asked_at = event_now(question->lookups->around.loop);
    bootstrap_question_write(&question->ask, pool, &form, question->message);
    question->ask.done = on_done;
    question->ask.deadline = question->asked_at + config->limits.query_timeout;
    question->lookups->out++;
    upstream_ask(pool, &question->ask);
}

static void ask_all(struct lookups *lookups, struct probe_lookup all[CONFIG_UPSTREAMS_MAX])
{
    event_loop_turn(lookups->around.loop, 0); /* whatever was built before took its time */
    for (size_t i = 0; i < lookups->setup->upstream_count; i++) {
        for (size_t k = 0; k < lookups->pool_count && all[i].upstream != NULL; k++) {
            for (size_t family = 0; family < FAMILIES; family++) {
                struct question *question = &lookups->questions[i][k][family];
                question->lookups = lookups;
                question->lookup = &all[i];
                question->said = &all[i].said[k];
                ask(question, lookups->pools[k], family == 0 ? DNS_TYPE_AAAA : DNS_TYPE_A);
            }
        }
    }
    event_loop_run(lookups->around.loop);
}

/* ---- opening and closing ---- */

static int open_pool(struct lookups *lookups, size_t index)
{
    static const enum upstream_transport transports[] = {
        [CONFIG_TLS] = UPSTREAM_TLS, [CONFIG_TCP] = UPSTREAM_TCP, [CONFIG_UDP] = UPSTREAM_UDP};
    const struct config *config = lookups->setup->config;
    const struct config_upstream *server = &config->bootstrap[index];
    struct upstream_server_options only = {.label = server->url,
                                           .transport = transports[server->transport],
                                           .addresses = {1, {server->address}},
                                           .client = lookups->clients[index],
                                           .weight = 1};
    struct upstream_options options = {
        .attempt_timeout = config->upstream.attempt_timeout,
        .connect_timeout = config->upstream.connect_timeout,
        .handshake_timeout = config->upstream.handshake_timeout,
        .refused_retry = config->upstream.refused_retry,
        .backoff_min = config->upstream.backoff_min,
        .backoff_max = config->upstream.backoff_max,
        .handshakes_per_second = (unsigned)config->upstream.handshakes_per_second,
        .in_flight = IN_FLIGHT,
        .links = 1,
        .max_age = config->upstream.max_age,
        .warm = config->upstream.warm,
        .servers = &only,
        .server_count = 1,
    };
    return upstream_pool_open(&options, &lookups->around, &lookups->pools[index]);
}

static int open_pools(struct lookups *lookups)
{
    const struct config *config = lookups->setup->config;
    int error = 0;
    for (size_t i = 0; i < config->bootstrap_count && error == 0; i++) {
        if (config->bootstrap[i].transport == CONFIG_TLS) {
            struct tls_identity identity = config_upstream_identity(config, &config->bootstrap[i]);
            error = tls_client_build(&identity, lookups->setup->trust, &lookups->clients[i]);
        }
        if (error == 0) {
            error = open_pool(lookups, i);
            lookups->pool_count += error == 0;
        }
    }
    return error;
}

static void close_pools(struct lookups *lookups)
{
    for (size_t i = 0; i < lookups->pool_count; i++) {
        upstream_pool_close(lookups->pools[i]);
    }
    for (size_t i = 0; i < CONFIG_BOOTSTRAP_MAX; i++) {
        tls_client_free(lookups->clients[i]);
    }
}

/* What anybody said, in the order in which they stand in the configuration. */
static void gather(struct probe_lookup *lookup)
{
    for (size_t i = 0; i < CONFIG_BOOTSTRAP_MAX; i++) {
        for (size_t k = 0; k < lookup->said[i].addresses.count; k++) {
            address_list_add(&lookup->addresses, &lookup->said[i].addresses.items[k]);
        }
    }
}

static bool begin(const struct probe_setup *setup, struct probe_lookup all[CONFIG_UPSTREAMS_MAX])
{
    bool has_any = false;
    for (size_t i = 0; i < setup->upstream_count; i++) {
        const struct config_upstream *upstream = &setup->config->upstreams[i];
        all[i] = (struct probe_lookup){.upstream = upstream->host != NULL ? upstream : NULL};
        has_any |= upstream->host != NULL;
    }
    return has_any;
}

int probe_look_up(const struct probe_setup *setup, struct stream_shop *shop, struct random *random,
                  struct probe_lookup all[CONFIG_UPSTREAMS_MAX])
{
    void *memory;
    int error = begin(setup, all) ? memory_open(sizeof(struct lookups), &memory) : ERROR_NOT_FOUND;
    if (error != 0) {
        return error == ERROR_NOT_FOUND ? 0 : error;
    }
    struct lookups *lookups = memory;
    lookups->setup = setup;
    log_init(&lookups->log, LOG_ERROR, lookups->ring, sizeof lookups->ring);
    lookups->around = (struct upstream_surroundings){.loop = shop->loop,
                                                     .shop = shop,
                                                     .random = random,
                                                     .log = &lookups->log,
                                                     .metrics = &lookups->metrics,
                                                     .wall = clock_wall};
    error = open_pools(lookups);
    if (error == 0) {
        ask_all(lookups, all);
    }
    close_pools(lookups);
    memory_close(memory, sizeof *lookups);
    for (size_t i = 0; i < setup->upstream_count; i++) {
        gather(&all[i]);
    }
    return error;
}
