/*
 * A question whose server is slower than it usually is, is asked once more beside, over UDP or on a link that
 * is open already: at another server of the pool, else on another link of the same one. Whichever answer
 * comes first serves; the question's own timers do not notice. And a question that waits for a connection
 * longer than connections take looks for others (RFC 8305, 5: the connection attempt delay). Called by
 * pool.c.
 *
 * Copies are paid from a budget of the pool, a twentieth for each question, so that servers which are slow
 * because they are busy are not asked twice by everybody. What was earned in a few seconds can be saved, for
 * the moment in which a busy server falls silent.
 */
#include "base/clock.h"

#include "upstream/internal.h"

/* What can be saved, in twentieths of a copy: this, or what came in within one to two spans. */
enum { SAVED_LEAST = 5 * UPSTREAM_COPY_COSTS };

#define SAVED_SPAN (4 * CLOCK_SECOND)

/* No answer is late before this. A server that has not answered yet is given more. */
#define LATE_LEAST  (50 * CLOCK_MILLISECOND)
#define LATE_UNSEEN (250 * CLOCK_MILLISECOND)

/* ---- copies ---- */

static uint64_t usual_of(const struct upstream_server *server)
{
    uint64_t late = upstream_latency_late(&server->latency);
    return late == UINT64_MAX ? LATE_UNSEEN : late;
}

/* A question that finds out about another server than the fastest has not to wait longer for it than for that
 * one. */
static uint64_t patience_with(const struct upstream_server *server)
{
    const struct upstream_pool *pool = server->pool;
    uint64_t patience = usual_of(server);
    if (pool->options.policy == UPSTREAM_FASTEST) {
        uint64_t of_leader = usual_of(&pool->server[pool->race.leader]);
        patience = patience < of_leader ? patience : of_leader;
    }
    return patience > LATE_LEAST ? patience : LATE_LEAST;
}

static const struct upstream_attempt *attempt_out(const struct upstream_ask *ask)
{
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        if (ask->attempt[i].server != NULL) {
            return &ask->attempt[i];
        }
    }
    return NULL;
}

static struct upstream_link *another_link(const struct upstream_attempt *first)
{
    struct upstream_server *server = first->server;
    for (struct list *node = server->open.next; node != &server->open; node = node->next) {
        struct upstream_link *link = container_of(node, struct upstream_link, node);
        if (link != first->link && upstream_link_has_room(link)) {
            return link;
        }
    }
    return NULL;
}

/* Whether a copy finds another way than the question. A second datagram to the same server is a try of its
 * own, which the question makes later. */
static bool is_elsewhere(const struct upstream_server *late, const struct upstream_server *other,
                         const struct upstream_link *link)
{
    return link != NULL || (other != NULL && (other != late || !upstream_server_is_udp(late)));
}

static void ask_beside(struct upstream_ask *ask, const struct upstream_attempt *first)
{
    struct upstream_pool *pool = ask->pool;
    struct upstream_server *late = first->server, *other = upstream_choose_open(pool, ask);
    struct upstream_link *link = other == NULL ? another_link(first) : NULL;
    if (!is_elsewhere(late, other, link)) {
        return;
    }
    if (pool->hedging.budget < UPSTREAM_COPY_COSTS) {
        upstream_count(late, METRICS_UPSTREAM_HEDGES_DENIED);
    } else if (upstream_send_copy(ask, other != NULL ? other : late, link)) {
        pool->hedging.budget -= UPSTREAM_COPY_COSTS;
        ask->late = late;
    }
}

void upstream_hedge_settle(struct upstream_ask *ask, bool won)
{
    if (ask->late != NULL) {
        upstream_count(ask->late, won ? METRICS_UPSTREAM_HEDGES_WON : METRICS_UPSTREAM_HEDGES_LOST);
        ask->late = NULL;
    }
}

/* ---- connections that take long ---- */

static void set_timer(struct upstream_ask *ask, uint64_t span)
{
    struct event_loop *loop = ask->pool->around.loop;
    event_timer_set(loop, &ask->hedge, event_now(loop) + span);
}

/* Waits from here on for whichever connection comes about first, one more of them now, and goes at once where
 * there is one. */
static void look_around(struct upstream_ask *ask)
{
    struct upstream_pool *pool = ask->pool;
    if (ask->waiting_at != NULL && upstream_server_has_way(ask->waiting_at)) {
        return; /* it is for room that it waits */
    }
    ask->retried = true;
    if (upstream_choose_open(pool, ask) != NULL) {
        list_remove(&ask->waiting);
        upstream_place(ask);
        return;
    }
    struct upstream_server *next = upstream_choose_unconnected(pool, ask);
    if (next != NULL) {
        upstream_wait_for_any(ask);
        upstream_server_connect(next, UPSTREAM_RETRY_WITH_TRAFFIC);
        set_timer(ask, UPSTREAM_CONNECTION_DELAY);
    }
}

/* ---- the timer ---- */

static void on_late(struct event_timer *timer)
{
    struct upstream_ask *ask = container_of(timer, struct upstream_ask, hedge);
    const struct upstream_attempt *first = attempt_out(ask);
    if (list_linked(&ask->waiting)) {
        look_around(ask);
    } else if (first != NULL) {
        if (ask->pool->options.hedge) {
            ask_beside(ask, first);
        }
        upstream_note_late(first);
    }
}

static void earn(struct upstream_hedging *hedging, uint64_t now)
{
    if (now >= hedging->span_ends) {
        hedging->earned_before = now < hedging->span_ends + SAVED_SPAN ? hedging->earned : 0;
        hedging->earned = 0;
        hedging->span_ends = now + SAVED_SPAN;
    }
    hedging->earned++;
    unsigned most = hedging->earned + hedging->earned_before;
    most = most > SAVED_LEAST ? most : SAVED_LEAST;
    hedging->budget = hedging->budget < most ? hedging->budget + 1 : most;
}

void upstream_hedge_begin(struct upstream_ask *ask, bool pays)
{
    struct upstream_pool *pool = ask->pool;
    if (pays) {
        earn(&pool->hedging, event_now(pool->around.loop));
    }
    ask->late = NULL;
    event_timer_init(&ask->hedge, on_late);
}

void upstream_hedge_sent(struct upstream_ask *ask, const struct upstream_server *server)
{
    const struct upstream_pool *pool = ask->pool;
    if ((pool->options.hedge || pool->server_count > 1) && ask->sends == 1) {
        set_timer(ask, patience_with(server));
    } else {
        event_timer_clear(&ask->hedge);
    }
}

void upstream_hedge_waits(struct upstream_ask *ask, const struct upstream_server *server)
{
    if (!upstream_server_has_way(server) && ask->pool->server_count > 1) {
        set_timer(ask, UPSTREAM_CONNECTION_DELAY);
    } else {
        event_timer_clear(&ask->hedge);
    }
}
