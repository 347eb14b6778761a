/*
 * How long a link is kept. Servers close idle links after a time of their own; that time is learned, and
 * while questions come a link is replaced before it, so that no question meets a closing one. Old links are
 * replaced as well, or servers that were added or withdrawn would never be noticed. A replacement is
 * connected before the old link goes.
 *
 * And whether its path is alive: while questions are out, the kernel is asked from time to time whether the
 * peer still acknowledges what was written. What goes unacknowledged is asked elsewhere; what is acknowledged
 * and unanswered is a slow answer, and the affair of the question's own timer.
 */
#include "upstream/internal.h"

enum { AGE_JITTER_PERCENT = 20 };

#define PATH_SILENCE     (400 * CLOCK_MILLISECOND)
#define PATH_LOOK        (PATH_SILENCE / 4)
#define KEEPALIVE_UNIT   (100 * CLOCK_MILLISECOND)
#define IDLE_LIMIT_LEAST (500 * CLOCK_MILLISECOND)

/* A server that keeps links for a shorter time than this gets a new one with the next question, not before.
 */
#define REFRESHED_LEAST CLOCK_SECOND

/* ---- the idle limit ---- */

static uint64_t nine_tenths(uint64_t time)
{
    return time - time / 10;
}

static void set_idle_limit(struct upstream_server *server, uint64_t limit)
{
    server->idle_limit = limit > IDLE_LIMIT_LEAST ? limit : IDLE_LIMIT_LEAST;
    upstream_fact_set_idle_limit(server->fact, server->idle_limit);
}

static uint64_t last_active_at(const struct upstream_link *link)
{
    return link->stream.read_at > link->stream.written_at ? link->stream.read_at : link->stream.written_at;
}

void upstream_learn_idle_close(struct upstream_link *link)
{
    uint64_t idle = event_now(link->server->pool->around.loop) - last_active_at(link);
    if (nine_tenths(idle) < link->server->idle_limit) {
        set_idle_limit(link->server, nine_tenths(idle));
    }
}

/* ---- age and idleness ---- */

bool upstream_pool_is_warm(const struct upstream_pool *pool)
{
    return event_now(pool->around.loop) - pool->asked_at < pool->options.warm;
}

/* The last good link of a server that is in use is only left for another one, and serves on until that may be
 * connected. */
static void replace(struct upstream_link *link, enum metrics_upstream_meter reason)
{
    struct upstream_server *server = link->server;
    struct event_loop *loop = server->pool->around.loop;
    uint64_t due = upstream_server_connect_at(server, UPSTREAM_RETRY_WITH_TRAFFIC);
    if (!upstream_pool_is_warm(server->pool) || !upstream_policy_keeps(server)) {
        upstream_link_retire(link, METRICS_UPSTREAM_CLOSES_UNUSED);
    } else if (server->open_count > 1 || server->idle_limit < REFRESHED_LEAST) {
        upstream_link_retire(link, reason);
    } else if (!upstream_server_is_dialing(server) && due > event_now(loop)) {
        event_timer_set(loop, &link->timer, due);
    } else {
        link->expiring = true;
        link->expiry = reason;
        server->open_count--;
        upstream_server_connect(server, UPSTREAM_RETRY_WITH_TRAFFIC);
    }
}

static void set_timer(struct upstream_link *link)
{
    struct event_loop *loop = link->server->pool->around.loop;
    uint64_t since = link->in_flight > 0 ? event_now(loop) : last_active_at(link);
    uint64_t due = since + link->server->idle_limit;
    due = due < link->expires_at ? due : link->expires_at;
    event_timer_set(loop, &link->timer, due > link->server->retry_at ? due : link->server->retry_at);
}

void upstream_link_expire(struct upstream_link *link)
{
    struct event_loop *loop = link->server->pool->around.loop;
    link->expires_at = event_now(loop);
    if (!link->expiring) {
        event_timer_set(loop, &link->timer, link->expires_at);
    }
}

void upstream_learn_keepalive(struct upstream_link *link, int keepalive)
{
    uint64_t limit = nine_tenths((uint64_t)keepalive * KEEPALIVE_UNIT);
    if (link->state != UPSTREAM_LINK_OPEN || link->expiring) {
        return;
    }
    if (keepalive > 0 && limit != link->server->idle_limit) {
        set_idle_limit(link->server, limit);
        set_timer(link);
    } else if (keepalive == 0) {
        upstream_link_expire(link);
    }
}

static void on_due(struct event_timer *timer)
{
    struct upstream_link *link = container_of(timer, struct upstream_link, timer);
    uint64_t now = event_now(link->server->pool->around.loop);
    if (now >= link->expires_at) {
        replace(link, METRICS_UPSTREAM_CLOSES_AGE);
    } else if (link->in_flight == 0 && now >= last_active_at(link) + link->server->idle_limit) {
        replace(link, METRICS_UPSTREAM_CLOSES_REFRESH);
    } else {
        set_timer(link);
    }
}

/* ---- the path ---- */

static void on_watch(struct event_timer *timer)
{
    struct upstream_link *link = container_of(timer, struct upstream_link, watch);
    if (link->state != UPSTREAM_LINK_OPEN) {
        return;
    }
    bool is_dead = stream_path_is_dead(&link->stream, PATH_SILENCE);
    if (list_empty(&link->attempts)) {
        return;
    }
    struct event_loop *loop = link->server->pool->around.loop;
    uint64_t oldest = container_of(link->attempts.next, struct upstream_attempt, node)->sent_at;
    uint64_t now = event_now(loop), due = oldest + PATH_SILENCE;
    if (is_dead && due <= now) {
        upstream_link_suspect(link, METRICS_UPSTREAM_CLOSES_DEAD_PATH, "dead_path");
        return;
    }
    uint64_t next = now + PATH_LOOK;
    event_timer_set(loop, timer, due > now && due < next ? due : next);
}

void upstream_link_watch(struct upstream_link *link)
{
    if (!event_timer_pending(&link->watch)) {
        struct event_loop *loop = link->server->pool->around.loop;
        event_timer_set(loop, &link->watch, event_now(loop) + PATH_LOOK);
    }
}

void upstream_link_keep_on(struct upstream_link *link)
{
    link->expiring = false;
    link->server->open_count++;
    set_timer(link);
}

void upstream_link_keep(struct upstream_link *link)
{
    struct upstream_pool *pool = link->server->pool;
    uint64_t known = upstream_fact_idle_limit(link->server->fact);
    link->server->idle_limit = known != 0 ? known : link->server->idle_limit;
    event_timer_clear(&link->timer);
    event_timer_init(&link->timer, on_due);
    event_timer_init(&link->watch, on_watch);
    link->expires_at = event_now(pool->around.loop) +
                       random_jitter(pool->around.random, pool->options.max_age, AGE_JITTER_PERCENT);
    set_timer(link);
}
