/*
 * One server: when a connection to it may begin, and what its failures mean. Health is passive: questions
 * bring connections, connections bring facts. A TCP connect that is refused and a handshake that fails have
 * budgets of their own; both keep the distance that the table of timers gives them.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"

#include "upstream/internal.h"

enum {
    BACKOFF_JITTER_PERCENT = 20,
};

/* ---- distances between connections ---- */

static bool questions_wait(const struct upstream_server *server)
{
    return !list_empty(&server->waiting) || !list_empty(&server->pool->waiting);
}

static void set_retry(struct upstream_server *server)
{
    const struct upstream_options *options = &server->pool->options;
    server->backoff = server->backoff == 0 ? options->backoff_min : server->backoff * 2;
    if (server->backoff > options->backoff_max) {
        server->backoff = options->backoff_max;
    }
    uint64_t distance = random_jitter(server->pool->around.random, server->backoff, BACKOFF_JITTER_PERCENT);
    server->retry_at = event_now(server->pool->around.loop) + distance;
}

static uint64_t budget_share(const struct upstream_server *server)
{
    return CLOCK_SECOND / server->pool->options.handshakes_per_second;
}

/* The earliest moment at which the budget of handshakes a second has room for one more: a bucket that fills
 * by time. */
static uint64_t budget_at(const struct upstream_server *server)
{
    uint64_t full = server->handshakes_until + budget_share(server);
    return full < CLOCK_SECOND ? 0 : full - CLOCK_SECOND;
}

void upstream_server_spend(struct upstream_server *server)
{
    uint64_t now = event_now(server->pool->around.loop);
    server->handshakes_until =
        (server->handshakes_until > now ? server->handshakes_until : now) + budget_share(server);
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- connecting ---- */

static void begin_connection(struct upstream_server *server, uint64_t now)
{
    event_timer_clear(&server->retry);
    server->last_attempt_at = now;
    upstream_dial_begin(server);
}

/* The next one keeps its distance, whatever becomes of this. */
static void spend_try(struct upstream_server *server, uint64_t now)
{
    upstream_server_spend(server);
    server->retry_at = now + server->backoff;
}

static void begin_try(struct upstream_server *server, uint64_t now)
{
    spend_try(server, now);
    upstream_try_waiting(server);
    event_timer_set(server->pool->around.loop, &server->retry, now + server->pool->options.refused_retry);
}

uint64_t upstream_server_connect_at(const struct upstream_server *server, uint64_t most)
{
    uint64_t due = budget_at(server);
    if (server->failing || server->backoff > 0) {
        due = later(due, sooner(server->retry_at, server->last_attempt_at + most));
    }
    return due;
}

bool upstream_server_may_try(struct upstream_server *server, uint64_t most)
{
    uint64_t now = event_now(server->pool->around.loop);
    if (upstream_server_connect_at(server, most) > now) {
        return false;
    }
    spend_try(server, now);
    return true;
}

/* How soon a worker that waits for its turn looks whether another has reached the server. */
#define TURN_LOOK (50 * CLOCK_MILLISECOND)

/* All workers together connect to a server that fails as often as one would: they take turns. The moment to
 * begin, or to look again. */
static uint64_t take_turn(struct upstream_server *server, uint64_t now)
{
    uint64_t distance = sooner(server->backoff, server->pool->options.refused_retry);
    bool is_mine = !server->failing || upstream_fact_claim_connect(server->fact, now, distance);
    return is_mine ? now : now + TURN_LOOK;
}

void upstream_server_connect(struct upstream_server *server, uint64_t most)
{
    upstream_server_hear(server);
    bool is_udp = upstream_server_is_udp(server);
    bool has_all = upstream_server_is_dialing(server) || server->open_count >= server->pool->options.links;
    if (server->addresses.count == 0) {
        upstream_dial_want(server, true);
        return;
    }
    if (is_udp ? !server->failing : has_all) {
        return;
    }
    uint64_t now = event_now(server->pool->around.loop);
    uint64_t due = upstream_server_connect_at(server, most);
    if (due <= now && !is_udp) {
        due = take_turn(server, now);
    }
    if (due <= now && is_udp) {
        begin_try(server, now);
    } else if (due <= now) {
        begin_connection(server, now);
    } else if (questions_wait(server) && (!event_timer_pending(&server->retry) || server->retry.due > due)) {
        event_timer_set(server->pool->around.loop, &server->retry, due);
    }
}

static void on_retry(struct event_timer *timer)
{
    struct upstream_server *server = container_of(timer, struct upstream_server, retry);
    if (questions_wait(server)) {
        upstream_server_connect(server, server->pool->options.refused_retry);
    }
}

/* A link that has given up so many answers that no id is left to ask with. */
static struct upstream_link *find_exhausted(struct upstream_server *server)
{
    for (struct list *node = server->open.next; node != &server->open; node = node->next) {
        struct upstream_link *link = container_of(node, struct upstream_link, node);
        if (link->free_count == 0 && link->in_flight < server->pool->options.in_flight) {
            return link;
        }
    }
    return NULL;
}

/* Of a server of UDP. */
static void tell_trouble(struct upstream_server *server)
{
    int error = server->trouble;
    server->trouble = 0;
    upstream_server_failed(server, error, NULL, stream_reason_word(error, NULL));
}

static void on_room(struct event_after *after)
{
    struct upstream_server *server = container_of(after, struct upstream_server, room);
    struct upstream_link *link;
    while ((link = find_exhausted(server)) != NULL) {
        upstream_link_retire(link, METRICS_UPSTREAM_CLOSES_EXHAUSTED);
    }
    if (server->trouble != 0) {
        tell_trouble(server);
    }
    upstream_server_send_waiting(server);
}

static void on_growth(struct event_after *after)
{
    upstream_server_connect(container_of(after, struct upstream_server, growth), UPSTREAM_RETRY_WITH_TRAFFIC);
}

void upstream_server_unlinked(struct upstream_server *server)
{
    if (!list_empty(&server->waiting)) {
        upstream_server_connect(server, UPSTREAM_RETRY_WITH_TRAFFIC);
    }
}

void upstream_server_init(struct upstream_server *server, struct upstream_pool *pool,
                          const struct upstream_server_options *options, size_t index)
{
    *server = (struct upstream_server){
        .pool = pool,
        .options = *options,
        .metrics = &pool->around.metrics->upstream[options->page],
        .index = index,
        .is_half = server >= &pool->server[pool->server_count],
    };
    server->fact = pool->around.facts == NULL
                       ? &server->own_fact
                       : upstream_facts_of(pool->around.facts, options->page, server->is_half);
    server->label_hash = hash_bytes(&(struct hash_key){{0}}, span_text(server->options.label));
    server->idle_limit = UPSTREAM_IDLE_GUESS;
    list_init(&server->open);
    list_init(&server->retired);
    upstream_dial_init(server);
    list_init(&server->waiting);
    list_init(&server->datagrams);
    event_timer_init(&server->retry, on_retry);
    event_after_init(&server->room, on_room);
    event_after_init(&server->growth, on_growth);
    upstream_probe_init(server);
}

/* ---- facts ---- */

/* What is found out about latency is told the other workers so often, and not with each answer. */
#define SHARE_DISTANCE (100 * CLOCK_MILLISECOND)

void upstream_server_note_latency(struct upstream_server *server, uint64_t taken)
{
    uint64_t now = event_now(server->pool->around.loop);
    server->late = 0;
    upstream_latency_note(&server->latency, now, taken);
    if (now >= server->shared_at + SHARE_DISTANCE) {
        server->shared_at = now;
        upstream_fact_set_latency(server->fact, server->latency.mean, now);
    }
}

bool upstream_server_is_held_for_down(const struct upstream_server *server)
{
    uint64_t since;
    return upstream_fact_health(server->fact, &since) == UPSTREAM_DOWN &&
           event_now(server->pool->around.loop) >= since + UPSTREAM_LOG_DISTANCE;
}

bool upstream_server_has_room(struct upstream_server *server)
{
    return upstream_server_is_udp(server) ? upstream_datagram_has_room(server)
                                          : upstream_server_pick(server) != NULL;
}

/* What shows is whether questions are answered; a stream half only adds to that. */
static void show_health(struct upstream_server *server, bool is_up)
{
    server->is_up = is_up;
    if (!server->is_half) {
        metrics_set(&server->metrics->meter[METRICS_UPSTREAM_UP], is_up);
    }
}

void upstream_server_proven(struct upstream_server *server, struct upstream_link *link)
{
    server->backoff = 0;
    show_health(server, true);
    if (upstream_fact_turn(server->fact, UPSTREAM_UP, event_now(server->pool->around.loop))) {
        upstream_tell_up(server, link);
    }
}

static struct upstream_link *find_expiring(struct upstream_server *server)
{
    for (struct list *node = server->open.next; node != &server->open; node = node->next) {
        struct upstream_link *link = container_of(node, struct upstream_link, node);
        if (link->expiring) {
            return link;
        }
    }
    return NULL;
}

static void retire_replaced(struct upstream_server *server)
{
    struct upstream_link *link;
    while ((link = find_expiring(server)) != NULL) {
        upstream_link_retire(link, link->expiry);
    }
}

void upstream_server_opened(struct upstream_server *server, struct upstream_link *link)
{
    server->failing = false;
    event_timer_clear(&server->retry);
    if (link != NULL && stream_is_undated(&link->stream)) {
        upstream_tell_undated(server);
    }
    if (!upstream_server_is_on_trial(server)) {
        upstream_server_proven(server, link);
    }
    server->suspect = false;
    server->late = 0;
    retire_replaced(server);
    upstream_server_send_waiting(server);
    upstream_place_waiting(server->pool);
    upstream_probe_opened(server, link);
}

static void tell_failure(struct upstream_server *server, const struct tls_failure *failure,
                         const char *reason)
{
    uint64_t now = event_now(server->pool->around.loop);
    bool went_down = upstream_fact_turn(server->fact, UPSTREAM_DOWN, now);
    server->reason = reason;
    show_health(server, false);
    if (!upstream_fact_claim_telling(server->fact, reason, now, went_down)) {
        return;
    }
    upstream_tell_down(server, failure);
}

/* What waits before this server finds another place. */
static void move_on(struct upstream_server *server)
{
    struct list stranded;
    list_init(&stranded);
    list_move_all(&stranded, &server->waiting);
    for (struct list *node = list_take_first(&stranded); node != NULL; node = list_take_first(&stranded)) {
        struct upstream_ask *ask = container_of(node, struct upstream_ask, waiting);
        ask->last_server = server->options.label;
        ask->last_reason = server->reason;
        upstream_place(ask);
    }
}

/* One more link, or one that was to replace another, did not come about: the links that are there serve on.
 */
static void go_on_without(struct upstream_server *server)
{
    set_retry(server);
    struct upstream_link *link;
    while ((link = find_expiring(server)) != NULL) {
        upstream_link_keep_on(link);
    }
}

void upstream_server_failed(struct upstream_server *server, int error, const struct tls_failure *failure,
                            const char *reason)
{
    if (!list_empty(&server->open)) {
        go_on_without(server);
        return;
    }
    server->failing = true;
    tell_failure(server, failure, reason);
    server->handshake_failing = error == ERROR_TLS || error == ERROR_CLOSED || error == ERROR_RESET;
    set_retry(server);
    upstream_probe_plan(server);
    move_on(server);
    if (questions_wait(server)) {
        upstream_server_connect(server, server->handshake_failing ? UPSTREAM_RETRY_WITH_TRAFFIC
                                                                  : server->pool->options.refused_retry);
    }
}

void upstream_server_forgive(struct upstream_server *server)
{
    server->failing = false;
    server->fruitless = 0;
    server->suspect = false;
    server->backoff = server->retry_at = server->last_attempt_at = server->handshakes_until = 0;
    server->unanswered = server->late = 0;
    server->dial.missed = 0;
    server->trouble = 0;
    event_timer_clear(&server->retry);
}

void upstream_server_give_up(struct upstream_server *server)
{
    while (!list_empty(&server->open)) {
        upstream_link_retire(container_of(server->open.next, struct upstream_link, node),
                             METRICS_UPSTREAM_CLOSES_SILENT);
    }
    if (!server->failing) {
        upstream_server_failed(server, ERROR_TIMEOUT, NULL, "silent");
    }
}

void upstream_server_hear(struct upstream_server *server)
{
    uint64_t since;
    if (server->failing && upstream_fact_health(server->fact, &since) == UPSTREAM_UP &&
        since > server->last_attempt_at) {
        upstream_server_forgive(server);
    }
}

struct upstream_link *upstream_server_pick(struct upstream_server *server)
{
    struct upstream_link *least = NULL;
    for (struct list *node = server->open.next; node != &server->open; node = node->next) {
        struct upstream_link *link = container_of(node, struct upstream_link, node);
        if (!upstream_link_has_room(link)) {
            continue;
        }
        if (link->in_flight < UPSTREAM_GROW_AT) {
            return link;
        }
        if (least == NULL || link->in_flight < least->in_flight) {
            least = link;
        }
    }
    if (least != NULL) {
        event_after_add(server->pool->around.loop, &server->growth);
    }
    return least;
}

void upstream_server_send_waiting(struct upstream_server *server)
{
    while (!list_empty(&server->waiting)) {
        struct list *node = server->waiting.next;
        list_remove(node);
        if (!upstream_send(container_of(node, struct upstream_ask, waiting), server)) {
            list_prepend(&server->waiting, node);
            return;
        }
    }
}
