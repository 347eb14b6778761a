/*
 * Which server next: in the order of the configuration, but a server that fails comes only when none is left,
 * a server that has seen the question after those that have not, and a question that already lost time
 * prefers an open link over a new one. A server whose connection stalls, or that has to show first that it
 * answers, is the last resort before none.
 */
#include "upstream/internal.h"

enum { RANK_BEST, RANK_CLOSED_ON_RETRY, RANK_TRIED, RANK_STALLED, RANK_UNFIT };

/* Retired links have no say: nothing is expected of them. */
static bool is_out_at(const struct upstream_ask *ask, const struct upstream_server *server)
{
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        const struct upstream_link *link = ask->attempt[i].link;
        if (link != NULL && link->server == server && link->state == UPSTREAM_LINK_OPEN) {
            return true;
        }
    }
    return false;
}

/* A connection that takes longer than a question would wait for its answer, or whose forerunner fell silent.
 */
static bool is_stalled(const struct upstream_server *server)
{
    const struct upstream_link *link = server->connecting;
    if (!list_empty(&server->open)) {
        return false;
    }
    return server->suspect || (link != NULL && event_now(server->pool->around.loop) >=
                                                   link->started_at + server->pool->options.attempt_timeout);
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
    if (server->failing || tries >= UPSTREAM_TRIES || is_out_at(ask, server)) {
        return RANK_UNFIT;
    }
    if (is_stalled(server) || is_being_tried(server)) {
        return RANK_STALLED;
    }
    if (tries > 0) {
        return RANK_TRIED;
    }
    return ask->retried && list_empty(&server->open) ? RANK_CLOSED_ON_RETRY : RANK_BEST;
}

struct upstream_server *upstream_choose(struct upstream_pool *pool, const struct upstream_ask *ask)
{
    struct upstream_server *best = NULL;
    int best_rank = RANK_UNFIT;
    for (size_t i = 0; i < pool->server_count && best_rank != RANK_BEST; i++) {
        int rank = rank_of(&pool->server[i], ask);
        if (rank < best_rank) {
            best = &pool->server[i];
            best_rank = rank;
        }
    }
    return best;
}

bool upstream_has_untried(const struct upstream_pool *pool, const struct upstream_ask *ask)
{
    for (size_t i = 0; i < pool->server_count; i++) {
        if (rank_of(&pool->server[i], ask) < RANK_TRIED) {
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
