/*
 * Links that are silent: one on which nothing came for a whole try, and one of which the path is dead.
 * Neither gets further questions; those that are out go on, and are asked elsewhere. Called by pool.c and
 * keep.c.
 */
#include "upstream/internal.h"

/* Not one byte has come since the question went out, or none but those of a message that had begun before and
 * is still not whole: whoever drips is as good as silent. */
static bool was_silent(const struct upstream_attempt *attempt)
{
    const struct stream *stream = &attempt->link->stream;
    bool drips = stream->partial_at != 0 && stream->partial_at <= attempt->sent_at;
    return drips || stream->read_at <= attempt->sent_at;
}

/* Whether it is out for a whole try: a copy may be younger than the question's try. */
static bool is_overdue(const struct upstream_attempt *attempt)
{
    const struct upstream_pool *pool = attempt->ask->pool;
    return event_now(pool->around.loop) - attempt->sent_at >= pool->options.attempt_timeout;
}

struct upstream_server *upstream_suspect_silent(struct upstream_ask *ask)
{
    struct upstream_server *silent = NULL;
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        struct upstream_link *link = ask->attempt[i].link;
        if (ask->attempt[i].server != NULL && link != NULL && link->state == UPSTREAM_LINK_OPEN &&
            is_overdue(&ask->attempt[i]) && was_silent(&ask->attempt[i])) {
            struct upstream_server *server = ask->attempt[i].server;
            server->fruitless += !link->answered;
            silent = upstream_server_is_on_trial(server) ? server : silent;
            server->suspect = true;
            upstream_link_retire(link, METRICS_UPSTREAM_CLOSES_SILENT);
            if (silent != server) {
                upstream_server_connect(server, UPSTREAM_RETRY_WITH_TRAFFIC);
            }
        }
    }
    return silent;
}

void upstream_link_suspect(struct upstream_link *link, enum metrics_upstream_meter reason, const char *word)
{
    struct upstream_server *server = link->server;
    struct list moved;
    list_init(&moved);
    for (struct list *node = link->attempts.next; node != &link->attempts; node = node->next) {
        struct upstream_ask *ask = container_of(node, struct upstream_attempt, node)->ask;
        if (!list_linked(&ask->waiting)) {
            list_append(&moved, &ask->waiting);
            ask->waiting_at = NULL;
        }
    }
    server->suspect = true;
    upstream_link_retire(link, reason);
    upstream_server_connect(server, UPSTREAM_RETRY_WITH_TRAFFIC);
    for (struct list *node = list_take_first(&moved); node != NULL; node = list_take_first(&moved)) {
        struct upstream_ask *ask = container_of(node, struct upstream_ask, waiting);
        upstream_blame(ask, server, word);
        upstream_place(ask);
    }
}
