/*
 * A question's way through the servers. It is placed: sent on an open link, set before a link that is on its
 * way, or kept by the pool while no server is fit. Whatever happens there it is placed again, until an answer
 * comes, every server has had its tries, or the deadline is there; then `done` is called, once.
 */
#include <string.h>

#include "base/error.h"

#include "upstream/internal.h"

void upstream_attempt_abandon(struct upstream_attempt *attempt)
{
    struct upstream_server *server = attempt->server;
    uint64_t now = event_now(server->pool->around.loop);
    upstream_latency_note_least(&server->latency, now, now - attempt->sent_at);
    if (attempt->link != NULL) {
        upstream_link_abandon(attempt);
    } else {
        upstream_datagram_abandon(attempt);
    }
}

/* ---- the end of a question ---- */

static void detach(struct upstream_ask *ask, enum metrics_upstream_meter outcome)
{
    event_timer_clear(&ask->timer);
    event_timer_clear(&ask->hedge);
    upstream_hedge_settle(ask, false);
    list_remove(&ask->waiting);
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        if (ask->attempt[i].server != NULL) {
            upstream_count(ask->attempt[i].server, outcome);
            upstream_attempt_abandon(&ask->attempt[i]);
        }
        list_remove(&ask->attempt[i].node); /* off a link that was lost, but not looked at yet */
    }
}

static void finish_with_answer(struct upstream_ask *ask, struct upstream_server *server,
                               const struct dns_answer *answer)
{
    detach(ask, METRICS_UPSTREAM_SUPERSEDED);
    struct upstream_result result = {
        .answer = answer,
        .server = server->options.label,
        .failure_rcode = -1,
        .failure_extended = DNS_EXTENDED_NONE,
    };
    ask->done(ask, &result);
}

/* What to blame when the question itself never reached a server. */
static void blame_a_server(struct upstream_ask *ask)
{
    for (size_t i = 0; i < ask->pool->server_count && ask->last_server == NULL; i++) {
        if (upstream_server_is_down(&ask->pool->server[i])) {
            ask->last_server = ask->pool->server[i].options.label;
            ask->last_reason = ask->pool->server[i].reason;
        }
    }
}

static void finish_without_answer(struct upstream_ask *ask)
{
    blame_a_server(ask);
    detach(ask, METRICS_UPSTREAM_TIMEOUT);
    struct upstream_result result = {
        .error = ERROR_TIMEOUT,
        .server = ask->last_server,
        .reason = ask->last_reason != NULL ? ask->last_reason : "timeout",
        .malformed = ask->malformed,
        .failure_rcode = ask->failure_rcode,
        .failure_extended = ask->failure_extended,
    };
    ask->done(ask, &result);
}

/* ---- placing ---- */

static struct upstream_attempt *unused_attempt(struct upstream_ask *ask)
{
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        if (ask->attempt[i].server == NULL) {
            return &ask->attempt[i];
        }
    }
    return NULL;
}

static bool is_out(const struct upstream_ask *ask)
{
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        if (ask->attempt[i].server != NULL) {
            return true;
        }
    }
    return false;
}

static void set_timer(struct upstream_ask *ask, uint64_t patience)
{
    struct upstream_pool *pool = ask->pool;
    uint64_t due = event_now(pool->around.loop) + patience;
    event_timer_set(pool->around.loop, &ask->timer, due < ask->deadline ? due : ask->deadline);
}

static void wait_at(struct upstream_ask *ask, struct upstream_server *server)
{
    ask->waiting_at = server;
    list_append(server != NULL ? &server->waiting : &ask->pool->waiting, &ask->waiting);
}

void upstream_wait_for_any(struct upstream_ask *ask)
{
    list_remove(&ask->waiting);
    wait_at(ask, NULL);
}

/* On this link, or over UDP or on any link of the server's where there is none. */
static bool send_over(struct upstream_server *server, struct upstream_link *link, struct upstream_ask *ask,
                      struct upstream_attempt *attempt)
{
    if (upstream_server_is_udp(server)) {
        return upstream_datagram_send(server, ask, attempt);
    }
    link = link != NULL ? link : upstream_server_pick(server);
    return link != NULL && upstream_link_send(link, ask, attempt);
}

static struct upstream_attempt *send_beside(struct upstream_ask *ask, struct upstream_server *server,
                                            struct upstream_link *link)
{
    struct upstream_attempt *attempt = unused_attempt(ask);
    if (attempt == NULL || !send_over(server, link, ask, attempt)) {
        return NULL;
    }
    attempt->is_copy = false;
    server->asked_at = attempt->sent_at;
    ask->tries[server->index]++;
    ask->sends++;
    ask->retried = true;
    return attempt;
}

bool upstream_send_copy(struct upstream_ask *ask, struct upstream_server *server, struct upstream_link *link)
{
    struct upstream_attempt *attempt = send_beside(ask, server, link);
    if (attempt == NULL) {
        return false;
    }
    attempt->is_copy = true;
    return true;
}

static uint64_t patience_with(const struct upstream_ask *ask, const struct upstream_server *server)
{
    return upstream_server_is_udp(server) ? upstream_datagram_patience(ask, server)
                                          : ask->pool->options.attempt_timeout;
}

bool upstream_send(struct upstream_ask *ask, struct upstream_server *server)
{
    uint64_t patience = patience_with(ask, server);
    if (send_beside(ask, server, NULL) == NULL) {
        return false;
    }
    set_timer(ask, patience);
    upstream_hedge_sent(ask, server);
    return true;
}

/* A datagram of its is still waited for. */
static bool is_fresh_at(const struct upstream_ask *ask, const struct upstream_server *server)
{
    uint64_t now = event_now(ask->pool->around.loop);
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        const struct upstream_attempt *attempt = &ask->attempt[i];
        if (attempt->server == server && now - attempt->sent_at < ask->pool->options.attempt_timeout) {
            return true;
        }
    }
    return false;
}

static bool may_try(const struct upstream_ask *ask, const struct upstream_server *server)
{
    return ask->tries[server->index] < UPSTREAM_TRIES && !ask->needs_stream && !is_fresh_at(ask, server);
}

void upstream_try_waiting(struct upstream_server *server)
{
    const struct list *waiting = &server->pool->waiting;
    for (struct list *node = waiting->next; node != waiting; node = node->next) {
        struct upstream_ask *ask = container_of(node, struct upstream_ask, waiting);
        if (may_try(ask, server)) {
            upstream_send(ask, server);
            return;
        }
    }
}

/* Servers that fail are looked at again while others serve, or they would never come back: those that the
 * policy would prefer. Over UDP the question itself does so, and the time of the try that is out goes on. */
static void look_again(struct upstream_ask *ask, const struct upstream_server *chosen)
{
    struct upstream_pool *pool = ask->pool;
    size_t end = pool->options.policy == UPSTREAM_ORDERED ? chosen->index : pool->server_count;
    for (size_t i = 0; i < end; i++) {
        struct upstream_server *server = &pool->server[i];
        upstream_server_hear(server);
        bool lost = server->suspect && list_empty(&server->open) && !upstream_server_is_on_trial(server);
        if (!upstream_server_is_down(server) && !lost) {
            continue;
        }
        if (!upstream_server_is_udp(server) || server->addresses.count == 0) {
            upstream_server_connect(server, UPSTREAM_RETRY_WITH_TRAFFIC);
        } else if (may_try(ask, server) && upstream_server_may_try(server, UPSTREAM_RETRY_WITH_TRAFFIC)) {
            send_beside(ask, server, NULL);
        }
    }
}

static void place_nowhere(struct upstream_ask *ask)
{
    struct upstream_pool *pool = ask->pool;
    wait_at(ask, NULL);
    for (size_t i = 0; i < pool->server_count + pool->half_count; i++) {
        if (upstream_server_is_down(&pool->server[i])) {
            upstream_server_connect(&pool->server[i], pool->options.refused_retry);
        }
    }
}

static void place_at(struct upstream_ask *ask, struct upstream_server *server)
{
    if (!list_empty(&server->waiting) || !upstream_send(ask, server)) {
        wait_at(ask, server);
        upstream_server_connect(server, UPSTREAM_RETRY_WITH_TRAFFIC);
        upstream_hedge_waits(ask, server);
    }
}

void upstream_place(struct upstream_ask *ask)
{
    struct upstream_pool *pool = ask->pool;
    struct upstream_server *server = unused_attempt(ask) != NULL ? upstream_choose(pool, ask) : NULL;
    if (server == NULL) {
        if (upstream_has_tries(pool, ask) || is_out(ask)) {
            place_nowhere(ask);
        } else {
            finish_without_answer(ask);
        }
        return;
    }
    place_at(ask, server);
    look_again(ask, server);
}

/* Whether its answer in a stream is on its way already. */
static bool is_in_stream(const struct upstream_ask *ask)
{
    bool is = list_linked(&ask->waiting) && ask->waiting_at != NULL && ask->waiting_at->is_half;
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS && !is; i++) {
        is = ask->attempt[i].server != NULL && ask->attempt[i].server->is_half;
    }
    return is;
}

bool upstream_ask_in_stream(struct upstream_ask *ask, struct upstream_server *server)
{
    if (is_in_stream(ask)) {
        return true;
    }
    if (upstream_server_is_down(server->half)) {
        return false;
    }
    list_remove(&ask->waiting);
    place_at(ask, server->half);
    return true;
}

void upstream_place_waiting(struct upstream_pool *pool)
{
    struct list waiting;
    list_init(&waiting);
    list_move_all(&waiting, &pool->waiting);
    for (struct list *node = list_take_first(&waiting); node != NULL; node = list_take_first(&waiting)) {
        upstream_place(container_of(node, struct upstream_ask, waiting));
    }
}

/* ---- what happens on the way ---- */

static void blame_for_silence(struct upstream_ask *ask)
{
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        if (ask->attempt[i].server != NULL) {
            upstream_blame(ask, ask->attempt[i].server, "timeout");
        }
    }
}

static void on_timer(struct event_timer *timer)
{
    struct upstream_ask *ask = container_of(timer, struct upstream_ask, timer);
    blame_for_silence(ask);
    if (event_now(ask->pool->around.loop) >= ask->deadline) {
        finish_without_answer(ask);
        return;
    }
    struct upstream_server *silent = upstream_suspect_silent(ask);
    if (list_linked(&ask->waiting) && ask->waiting_at != NULL) {
        upstream_blame(ask, ask->waiting_at, "timeout");
        ask->tries[ask->waiting_at->index]++;
    }
    list_remove(&ask->waiting);
    ask->retried = true;
    set_timer(ask, ask->pool->options.attempt_timeout);
    upstream_place(ask);
    if (silent != NULL) {
        upstream_server_failed(silent, ERROR_TIMEOUT, NULL, "silent");
    }
}

void upstream_attempt_lost(struct upstream_attempt *attempt, struct upstream_server *server,
                           const char *reason)
{
    struct upstream_ask *ask = attempt->ask;
    upstream_count(server, METRICS_UPSTREAM_CLOSED);
    upstream_blame(ask, server, reason);
    if (!is_out(ask)) {
        list_remove(&ask->waiting);
        upstream_place(ask);
    }
}

void upstream_attempt_malformed(struct upstream_attempt *attempt)
{
    struct upstream_ask *ask = attempt->ask;
    upstream_count(attempt->server, METRICS_UPSTREAM_MALFORMED);
    upstream_blame(ask, attempt->server, "malformed");
    ask->malformed = true;
    upstream_attempt_abandon(attempt);
    if (!is_out(ask)) {
        list_remove(&ask->waiting);
        upstream_place(ask);
    }
}

static bool is_failure_rcode(unsigned rcode)
{
    return rcode == DNS_RCODE_SERVFAIL || rcode == DNS_RCODE_REFUSED || rcode == DNS_RCODE_FORMERR ||
           rcode == DNS_RCODE_NOTIMP;
}

/* An answer that another server may be able to better. A verdict of DNSSEC is final: the next one would say
 * the same (RFC 8914, codes 6 to 12). */
static bool is_failure(const struct dns_answer *answer)
{
    return is_failure_rcode(answer->rcode) ? !dns_extended_is_verdict(answer->extended.code) : answer->tc;
}

/* A datagram does not carry the answer. Where the server cannot be asked over a stream now, another one may
 * be; else the question waits until it can. */
static void on_truncated(struct upstream_ask *ask, struct upstream_server *server)
{
    upstream_count(server, METRICS_UPSTREAM_TRUNCATED);
    ask->needs_stream = true;
    if (!upstream_ask_in_stream(ask, server)) {
        upstream_blame(ask, server->half, server->half->reason);
        list_remove(&ask->waiting);
        upstream_place(ask);
    }
}

/* A server that fails at a question does so however often it is asked: its other tries, which are late or
 * lost, are not waited for. A copy that ran ahead tells less. */
static void abandon_tries_at(struct upstream_ask *ask, const struct upstream_server *server)
{
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        struct upstream_attempt *attempt = &ask->attempt[i];
        if (attempt->server == server && !attempt->is_copy) {
            upstream_count(attempt->server, METRICS_UPSTREAM_SUPERSEDED);
            upstream_attempt_abandon(attempt);
        }
    }
}

/* Whether another server may yet say something better. One that fails was only asked to see how it is. */
static bool is_awaited(const struct upstream_ask *ask)
{
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        if (ask->attempt[i].server != NULL && !ask->attempt[i].server->failing) {
            return true;
        }
    }
    return false;
}

void upstream_attempt_answered(struct upstream_attempt *attempt, struct upstream_server *server,
                               const struct dns_answer *answer)
{
    struct upstream_ask *ask = attempt->ask;
    if (answer->tc && server->half != NULL) {
        on_truncated(ask, server);
        return;
    }
    if (!is_failure(answer)) {
        upstream_count(server, METRICS_UPSTREAM_ANSWER);
        upstream_hedge_settle(ask, attempt->is_copy);
        finish_with_answer(ask, server, answer);
        return;
    }
    upstream_count(server, METRICS_UPSTREAM_FAILURE);
    if (!attempt->is_copy) {
        abandon_tries_at(ask, server);
    }
    bool elsewhere = is_awaited(ask);
    if (!elsewhere && !(upstream_has_untried(ask->pool, ask) && !ask->second_opinion)) {
        finish_with_answer(ask, server, answer);
        return;
    }
    /* A truncated answer failed whatever its code says. */
    ask->failure_rcode = (int16_t)(is_failure_rcode(answer->rcode) ? answer->rcode : DNS_RCODE_SERVFAIL);
    ask->failure_extended = (int16_t)answer->extended.code;
    upstream_blame(ask, server, "failure");
    if (!elsewhere) {
        ask->second_opinion = true;
        list_remove(&ask->waiting);
        upstream_place(ask);
    }
}

/* ---- the caller's calls ---- */

static void begin(struct upstream_pool *pool, struct upstream_ask *ask)
{
    ask->pool = pool;
    ask->sends = 0;
    ask->last_server = ask->last_reason = NULL;
    ask->failure_rcode = -1;
    ask->failure_extended = DNS_EXTENDED_NONE;
    ask->malformed = ask->retried = ask->second_opinion = false;
    ask->needs_stream = ask->message_size > DNS_UDP_MOST;
    memset(ask->tries, 0, pool->server_count);
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        ask->attempt[i].ask = ask;
        ask->attempt[i].server = NULL;
        list_init(&ask->attempt[i].node);
    }
    list_init(&ask->waiting);
    event_timer_init(&ask->timer, on_timer);
    set_timer(ask, pool->options.attempt_timeout);
}

void upstream_ask(struct upstream_pool *pool, struct upstream_ask *ask)
{
    pool->asked_at = event_now(pool->around.loop);
    begin(pool, ask);
    upstream_hedge_begin(ask, true);
    upstream_place(ask);
}

void upstream_ask_on(struct upstream_ask *ask, struct upstream_server *server, struct upstream_link *link)
{
    struct upstream_pool *pool = server->pool;
    begin(pool, ask);
    upstream_hedge_begin(ask, false);
    memset(ask->tries, UPSTREAM_TRIES, pool->server_count);
    send_beside(ask, server, link);
}

void upstream_forget(struct upstream_ask *ask)
{
    detach(ask, METRICS_UPSTREAM_SUPERSEDED);
}
