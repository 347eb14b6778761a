/*
 * Links that are silent: one on which nothing came for a whole try, and one of which the path is dead.
 * Neither gets further questions; those that are out go on, and are asked elsewhere. And servers that begin
 * to be silent: others come before them until one answer has come. Called by pool.c, keep.c, hedge.c and
 * choose.c.
 */
#include "base/error.h"

#include "upstream/internal.h"

/* So many late answers in a row, and it is the server and not the question. */
enum { HESITATES_AT = 4 };

/* Not one byte has come since, or none but those of a message that had begun before and is still not whole:
 * whoever drips is as good as silent. */
static bool is_silent_since(const struct upstream_link *link, uint64_t since)
{
    const struct stream *stream = &link->stream;
    bool drips = stream->partial_at != 0 && stream->partial_at <= since;
    return link->state == UPSTREAM_LINK_OPEN && (drips || stream->read_at <= since);
}

/* Whether it is out for a whole try: a copy may be younger than the question's try. */
static bool is_overdue(const struct upstream_attempt *attempt)
{
    const struct upstream_pool *pool = attempt->ask->pool;
    return event_now(pool->around.loop) - attempt->sent_at >= pool->options.attempt_timeout;
}

/* Whether its links have now been silent too often. */
static bool give_up(struct upstream_link *link)
{
    struct upstream_server *server = link->server;
    server->fruitless += !link->answered;
    server->suspect = true;
    upstream_link_retire(link, METRICS_UPSTREAM_CLOSES_SILENT);
    if (upstream_server_is_on_trial(server)) {
        return true;
    }
    upstream_server_connect(server, UPSTREAM_RETRY_WITH_TRAFFIC);
    return false;
}

struct upstream_server *upstream_suspect_silent(struct upstream_ask *ask)
{
    struct upstream_server *silent = NULL;
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        const struct upstream_attempt *attempt = &ask->attempt[i];
        if (attempt->server != NULL && attempt->link != NULL && is_overdue(attempt) &&
            is_silent_since(attempt->link, attempt->sent_at) && give_up(attempt->link)) {
            silent = attempt->server;
        }
    }
    return silent;
}

void upstream_note_late(const struct upstream_attempt *attempt)
{
    struct upstream_server *server = attempt->server;
    const struct upstream_pool *pool = server->pool;
    if (server->late++ == 0) {
        server->owes_since = attempt->sent_at;
    }
    bool owes_long = event_now(pool->around.loop) - server->owes_since >= pool->options.attempt_timeout;
    if (owes_long && attempt->link != NULL && is_silent_since(attempt->link, server->owes_since) &&
        give_up(attempt->link)) {
        upstream_server_failed(server, ERROR_TIMEOUT, NULL, "silent");
    }
}

static bool decides_by_speed(enum upstream_policy policy)
{
    return policy != UPSTREAM_ORDERED && policy != UPSTREAM_HASH;
}

bool upstream_server_hesitates(const struct upstream_server *server)
{
    const struct upstream_pool *pool = server->pool;
    return server->late >= HESITATES_AT && decides_by_speed(pool->options.policy) &&
           event_now(pool->around.loop) < server->asked_at + pool->options.attempt_timeout;
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
