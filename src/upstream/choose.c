/*
 * Which server next: the one that the policy of the group prefers, but a server that fails comes only when
 * none is left, a server that has seen the question after those that have not, one that begins to be silent
 * before these, and an open link before one whose connection takes long, and for a question that already lost
 * time before every closed one. A server whose connection stalls, that another worker found down a moment
 * ago, or that has to show first that it answers, is the last resort before none.
 */
#include "upstream/internal.h"

enum { RANK_BEST, RANK_CLOSED, RANK_HESITANT, RANK_TRIED, RANK_STALLED, RANK_UNFIT };

/* Retired links have no say: nothing is expected of them. Nor have datagrams: each may be lost. */
static bool is_out_at(const struct upstream_ask *ask, const struct upstream_server *server)
{
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        const struct upstream_attempt *attempt = &ask->attempt[i];
        bool is_there = attempt->server != NULL && attempt->server->index == server->index;
        if (is_there && attempt->link != NULL && attempt->link->state == UPSTREAM_LINK_OPEN) {
            return true;
        }
    }
    return false;
}

static bool is_connecting_for(const struct upstream_server *server, uint64_t span)
{
    return upstream_server_is_dialing(server) &&
           event_now(server->pool->around.loop) >= server->dial.begun_at + span;
}

/* Another worker has found it down a moment ago. */
static bool is_known_down(const struct upstream_server *server)
{
    uint64_t since;
    return upstream_fact_health(server->fact, &since) == UPSTREAM_DOWN &&
           event_now(server->pool->around.loop) < since + UPSTREAM_RETRY_WITH_TRAFFIC;
}

/* A connection that takes longer than a question would wait for its answer, or whose forerunner fell silent.
 */
static bool is_stalled(const struct upstream_server *server)
{
    return list_empty(&server->open) && (server->suspect || is_known_down(server) ||
                                         is_connecting_for(server, server->pool->options.attempt_timeout));
}

/* One question at a time finds out whether a server answers again. */
static bool is_being_tried(const struct upstream_server *server)
{
    if (!upstream_server_is_on_trial(server) || list_empty(&server->open)) {
        return false;
    }
    return container_of(server->open.next, struct upstream_link, node)->in_flight > 0;
}

static int rank_of(const struct upstream_server *server, const struct upstream_ask *ask)
{
    unsigned tries = ask->tries[server->index];
    if (upstream_server_is_down(server) || tries >= UPSTREAM_TRIES || is_out_at(ask, server)) {
        return RANK_UNFIT;
    }
    if (is_stalled(server) || is_being_tried(server)) {
        return RANK_STALLED;
    }
    if (tries > 0) {
        return RANK_TRIED;
    }
    if (upstream_server_hesitates(server)) {
        return RANK_HESITANT;
    }
    bool waits = ask->retried || is_connecting_for(server, UPSTREAM_CONNECTION_DELAY);
    return waits && !upstream_server_has_way(server) ? RANK_CLOSED : RANK_BEST;
}

/* The server, or for what no datagram carries its stream half. */
static struct upstream_server *way_to(struct upstream_server *server, const struct upstream_ask *ask)
{
    return ask->needs_stream && server->half != NULL ? server->half : server;
}

/* The one that the policy prefers among those of the best rank that suit. */
static struct upstream_server *choose(struct upstream_pool *pool, const struct upstream_ask *ask,
                                      bool (*suits)(struct upstream_server *), int worst)
{
    uint32_t set = 0;
    int best = worst;
    for (size_t i = 0; i < pool->server_count; i++) {
        struct upstream_server *way = way_to(&pool->server[i], ask);
        int rank = rank_of(way, ask);
        if (rank <= best && suits(way)) {
            set = rank < best ? 0 : set;
            set |= UINT32_C(1) << i;
            best = rank;
        }
    }
    if (set == 0) {
        return NULL;
    }
    return way_to(upstream_policy_pick(pool, set, ask, event_now(pool->around.loop)), ask);
}

static bool suits_always(struct upstream_server *server)
{
    (void)server;
    return true;
}

static bool has_room(struct upstream_server *server)
{
    return list_empty(&server->waiting) && upstream_server_has_room(server);
}

static bool is_unconnected(struct upstream_server *server)
{
    return !upstream_server_has_way(server) && !upstream_server_is_dialing(server);
}

struct upstream_server *upstream_choose(struct upstream_pool *pool, const struct upstream_ask *ask)
{
    return choose(pool, ask, suits_always, RANK_STALLED);
}

struct upstream_server *upstream_choose_open(struct upstream_pool *pool, const struct upstream_ask *ask)
{
    return choose(pool, ask, has_room, RANK_TRIED);
}

struct upstream_server *upstream_choose_unconnected(struct upstream_pool *pool,
                                                    const struct upstream_ask *ask)
{
    return choose(pool, ask, is_unconnected, RANK_TRIED);
}

bool upstream_has_untried(struct upstream_pool *pool, const struct upstream_ask *ask)
{
    for (size_t i = 0; i < pool->server_count; i++) {
        if (rank_of(way_to(&pool->server[i], ask), ask) < RANK_TRIED) {
            return true;
        }
    }
    return false;
}

bool upstream_has_tries(const struct upstream_pool *pool, const struct upstream_ask *ask)
{
    for (size_t i = 0; i < pool->server_count; i++) {
        if (ask->tries[i] < UPSTREAM_TRIES) {
            return true;
        }
    }
    return false;
}
