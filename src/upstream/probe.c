/*
 * A server that is down and that nobody asks is looked at now and then, by one worker for all: a connection,
 * and where connections alone have proven nothing, or there are none, as over UDP, a question. While
 * questions come they do that themselves, and far sooner; and a server that is up is never probed. Called by
 * server.c.
 */
#include <string.h>

#include "base/clock.h"

#include "upstream/internal.h"

enum { PROBE_JITTER_PERCENT = 10 };

/* The least distance of two probes of a server, whoever makes them. */
#define PROBE_DISTANCE (30 * CLOCK_SECOND)

/* Who serves the root: every resolver knows. */
static const uint8_t root_servers[UPSTREAM_PROBE_SIZE] = {0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1};

static uint64_t distance_to(const struct upstream_server *server)
{
    uint64_t least = server->backoff > PROBE_DISTANCE ? server->backoff : PROBE_DISTANCE;
    uint64_t jitter = least / 100 * PROBE_JITTER_PERCENT;
    return least + random_jitter(server->pool->around.random, jitter, 100);
}

void upstream_probe_plan(struct upstream_server *server)
{
    struct event_loop *loop = server->pool->around.loop;
    event_timer_set(loop, &server->probe.timer, event_now(loop) + distance_to(server));
}

static bool is_in_doubt(const struct upstream_server *server)
{
    uint64_t since;
    return server->failing || upstream_server_is_on_trial(server) ||
           upstream_fact_health(server->fact, &since) == UPSTREAM_DOWN;
}

/* ---- the question ---- */

static void on_done(struct upstream_ask *ask, const struct upstream_result *result)
{
    struct upstream_probe *probe = container_of(ask, struct upstream_probe, ask);
    struct upstream_server *server = container_of(probe, struct upstream_server, probe);
    probe->asks = false;
    if (result->error != 0 && upstream_server_is_on_trial(server)) {
        upstream_server_give_up(server);
    }
}

/* On this link; over UDP without one. */
static void ask_for_root(struct upstream_server *server, struct upstream_link *link)
{
    struct upstream_pool *pool = server->pool;
    struct upstream_probe *probe = &server->probe;
    memcpy(probe->message, root_servers, sizeof root_servers);
    probe->ask = (struct upstream_ask){
        .message = probe->message,
        .message_size = sizeof probe->message,
        .question = span_of(probe->message + DNS_HEADER_SIZE, sizeof probe->message - DNS_HEADER_SIZE),
        .deadline = event_now(pool->around.loop) + pool->options.attempt_timeout,
        .done = on_done,
    };
    probe->asks = true;
    upstream_ask_on(&probe->ask, server, link);
}

void upstream_probe_opened(struct upstream_server *server, struct upstream_link *link)
{
    bool was_probe = server->probe.connects;
    server->probe.connects = false;
    if (was_probe && !server->probe.asks && upstream_server_is_on_trial(server) && link->in_flight == 0) {
        ask_for_root(server, link);
    }
}

/* ---- when ---- */

static bool is_busy(const struct upstream_server *server)
{
    return upstream_server_is_dialing(server) || !list_empty(&server->open) || server->in_flight > 0;
}

static void on_due(struct event_timer *timer)
{
    struct upstream_server *server = container_of(timer, struct upstream_server, probe.timer);
    uint64_t now = event_now(server->pool->around.loop);
    upstream_server_hear(server);
    if (!is_in_doubt(server)) {
        return;
    }
    upstream_probe_plan(server);
    bool lately = server->last_attempt_at != 0 && now - server->last_attempt_at < PROBE_DISTANCE;
    if (is_busy(server) || lately || !upstream_fact_claim_probe(server->fact, now, PROBE_DISTANCE)) {
        return;
    }
    if (upstream_server_is_udp(server)) {
        ask_for_root(server, NULL);
    } else {
        server->probe.connects = true;
        upstream_server_connect(server, PROBE_DISTANCE);
    }
}

/* ---- life ---- */

void upstream_probe_init(struct upstream_server *server)
{
    uint64_t since;
    event_timer_init(&server->probe.timer, on_due);
    if (upstream_fact_health(server->fact, &since) == UPSTREAM_DOWN) {
        upstream_probe_plan(server);
    }
}

void upstream_probe_end(struct upstream_server *server)
{
    event_timer_clear(&server->probe.timer);
    if (server->probe.asks) {
        upstream_forget(&server->probe.ask);
        server->probe.asks = false;
    }
}
