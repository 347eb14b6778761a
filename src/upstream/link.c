/*
 * One link: a stream to a server, and the table of ids that are out on it. An id is never given to a second
 * question while an answer to the first may still come: what was given up stays reserved until it is answered
 * or the link closes. Answers count only on the link that carried their question (RFC 5452, 9.1; RFC
 * 7858, 3.3).
 */
#include <assert.h>

#include "base/error.h"

#include "upstream/internal.h"

/* The kernel gives a connection up after so many attempts' time without acknowledgement: long after we did.
 */
enum { SILENCE_ATTEMPTS = 4 };

/* Messages in a row that belong to no question, after which the link is given up. */
enum { STRAYS_MOST = 16 };

/* ---- ids ---- */

static void fill_slots(struct upstream_link *link)
{
    unsigned count = link->server->pool->slot_count;
    for (unsigned i = 0; i < count; i++) {
        link->slots[i] = (struct upstream_slot){0};
        link->free[i] = (uint16_t)i;
    }
    link->free_count = count;
}

/* A free slot, drawn by chance, and an id with random high bits: 16 unpredictable bits in all. */
static uint16_t reserve_slot(struct upstream_link *link, struct upstream_attempt *attempt)
{
    struct upstream_pool *pool = link->server->pool;
    uint32_t draw = random_below(pool->around.random, link->free_count);
    uint16_t number = link->free[draw];
    link->free[draw] = link->free[--link->free_count];
    uint16_t high = (uint16_t)(random_u16(pool->around.random) & ~(pool->slot_count - 1));
    link->slots[number] = (struct upstream_slot){
        .attempt = attempt,
        .id = (uint16_t)(high | number),
        .reserved = true,
        .sent_ms = (uint32_t)(event_now(pool->around.loop) / CLOCK_MILLISECOND),
    };
    return number;
}

/* Out of whatever list of its server the link is in. */
static void leave_server(struct upstream_link *link)
{
    struct upstream_server *server = link->server;
    if (link->state == UPSTREAM_LINK_OPEN && list_linked(&link->node) && !link->expiring) {
        server->open_count--;
    }
    list_remove(&link->node);
}

static void free_slot(struct upstream_link *link, uint16_t number)
{
    link->slots[number].reserved = false;
    link->slots[number].attempt = NULL;
    link->free[link->free_count++] = number;
}

static struct upstream_slot *find_slot(struct upstream_link *link, uint16_t id)
{
    struct upstream_slot *slot = &link->slots[id & (link->server->pool->slot_count - 1)];
    return slot->reserved && slot->id == id ? slot : NULL;
}

/* ---- attempts ---- */

static void attempt_end(struct upstream_attempt *attempt)
{
    list_remove(&attempt->node);
    attempt->link->in_flight--;
    attempt->server = NULL;
}

static void close_if_done(struct upstream_link *link)
{
    if (link->state == UPSTREAM_LINK_RETIRED && link->in_flight == 0) {
        upstream_link_free(link);
    }
}

void upstream_link_abandon(struct upstream_attempt *attempt)
{
    struct upstream_link *link = attempt->link;
    struct upstream_server *server = link->server;
    link->slots[attempt->slot].attempt = NULL;
    attempt_end(attempt);
    close_if_done(link);
    event_after_add(server->pool->around.loop, &server->room);
}

bool upstream_link_has_room(const struct upstream_link *link)
{
    return link->state == UPSTREAM_LINK_OPEN && link->in_flight < link->server->pool->options.in_flight &&
           link->free_count > 0;
}

bool upstream_link_send(struct upstream_link *link, struct upstream_ask *ask,
                        struct upstream_attempt *attempt)
{
    uint16_t number = reserve_slot(link, attempt);
    bytes_put_u16(ask->message, link->slots[number].id);
    if (stream_send(&link->stream, span_of(ask->message, ask->message_size)) != 0) {
        free_slot(link, number);
        return false;
    }
    list_remove(&attempt->node); /* it may still be among the lost ones of another link */
    attempt->ask = ask;
    attempt->server = link->server;
    attempt->link = link;
    attempt->datagram = NULL;
    attempt->slot = number;
    attempt->sent_at = event_now(link->server->pool->around.loop);
    list_append(&link->attempts, &attempt->node);
    if (link->in_flight++ == 0) {
        upstream_link_watch(link);
    }
    return true;
}

/* ---- what the stream tells ---- */

static struct upstream_link *link_of(struct stream *stream)
{
    return container_of(stream, struct upstream_link, stream);
}

static void count_records(struct upstream_link *link)
{
    metrics_add(&link->server->metrics->meter[METRICS_UPSTREAM_RECORDS],
                link->stream.records - link->records_counted);
    link->records_counted = link->stream.records;
}

/* Takes the link away from under its questions, then lets each find another way. What one of them sets off on
 * its way may place or end others: all are off the link before the first is looked at.
 *
 * Some servers answer so many questions a connection, and close it. Whoever is behind those has not been
 * tried in vain: each such connection is an answer for somebody, so this comes to an end. */
static void link_lost(struct upstream_link *link, const char *reason)
{
    struct upstream_server *server = link->server;
    struct list lost;
    list_init(&lost);
    list_move_all(&lost, &link->attempts);
    for (struct list *node = lost.next; node != &lost; node = node->next) {
        struct upstream_attempt *attempt = container_of(node, struct upstream_attempt, node);
        attempt->server = NULL;
        if (link->answered_at >= attempt->sent_at && attempt->ask->tries[server->index] > 1) {
            attempt->ask->tries[server->index]--;
        }
    }
    link->in_flight = 0;
    upstream_link_free(link);
    for (struct list *node = list_take_first(&lost); node != NULL; node = list_take_first(&lost)) {
        upstream_attempt_lost(container_of(node, struct upstream_attempt, node), server, reason);
    }
    upstream_server_unlinked(server);
}

static void connecting_failed(struct upstream_link *link, int error, const char *reason)
{
    struct upstream_server *server = link->server;
    const struct tls_failure *found = stream_failure(&link->stream);
    struct upstream_failure failure = {.error = error, .reason = reason, .address = link->remote};
    if (found != NULL) {
        failure.is_of_tls = true;
        failure.tls = *found;
        upstream_count(server, METRICS_UPSTREAM_TLS_EXPIRED + (found->reason - TLS_REASON_EXPIRED));
    }
    upstream_link_free(link);
    upstream_dial_failed(server, &failure);
}

static void count_close(struct upstream_link *link, int error)
{
    enum metrics_upstream_meter reason = METRICS_UPSTREAM_CLOSES_IN_FLIGHT;
    if (error == ERROR_MALFORMED) {
        reason = METRICS_UPSTREAM_CLOSES_MALFORMED;
    } else if (error == ERROR_INVALID) {
        reason = METRICS_UPSTREAM_CLOSES_MISMATCH;
    } else if (link->in_flight == 0) {
        reason = METRICS_UPSTREAM_CLOSES_IDLE;
        upstream_learn_idle_close(link);
    }
    upstream_count(link->server, reason);
}

static void established_lost(struct upstream_link *link, int error, const char *reason)
{
    struct upstream_server *server = link->server;
    if (link->in_flight > 0 && !link->answered) {
        server->fruitless++;
    }
    count_close(link, error);
    if (log_begin(server->pool->around.log, LOG_DEBUG, "upstream_closed")) {
        log_text(server->pool->around.log, "upstream", server->options.label);
        log_text(server->pool->around.log, "reason", reason);
        log_number(server->pool->around.log, "in_flight", link->in_flight);
        log_duration(server->pool->around.log, "age_ms",
                     event_now(server->pool->around.loop) - link->started_at);
        log_end(server->pool->around.log, server->pool->around.wall());
    }
    leave_server(link);
    if (upstream_server_is_on_trial(server) && list_empty(&server->open)) {
        upstream_server_failed(server, error, NULL, reason);
    }
    link_lost(link, reason);
}

static void on_closed(struct stream *stream, int error)
{
    struct upstream_link *link = link_of(stream);
    const char *reason = stream_reason_word(error, stream_failure(stream));
    if (link->state == UPSTREAM_LINK_CONNECTING) {
        connecting_failed(link, error, reason);
    } else {
        established_lost(link, error, reason);
    }
}

static void on_ended(struct stream *stream)
{
    on_closed(stream, ERROR_CLOSED);
}

static void on_opened(struct stream *stream)
{
    struct upstream_link *link = link_of(stream);
    link->state = UPSTREAM_LINK_OPEN;
    list_remove(&link->node);
    list_append(&link->server->open, &link->node);
    link->server->open_count++;
    upstream_dial_opened(link->server, link);
    upstream_link_keep(link);
    metrics_add(&link->server->metrics->meter[METRICS_UPSTREAM_CONNECTIONS], 1);
    upstream_count(link->server, stream_resumed(stream) ? METRICS_UPSTREAM_CONNECTS_RESUMED
                                                        : METRICS_UPSTREAM_CONNECTS_FULL);
    upstream_server_opened(link->server, link);
}

/* An answer to another question than the one that went out under its id: nothing on this link can be trusted
 * to belong together any more. It is no sign of life: a server that always does so costs a handshake a
 * question, and is a failing one. */
static void on_mismatch(struct upstream_link *link)
{
    upstream_count(link->server, METRICS_UPSTREAM_MISMATCH);
    established_lost(link, ERROR_INVALID, "mismatch");
}

static void on_late_answer(struct upstream_link *link, struct upstream_slot *slot)
{
    struct upstream_server *server = link->server;
    uint32_t now_ms = (uint32_t)(event_now(server->pool->around.loop) / CLOCK_MILLISECOND);
    upstream_count(server, METRICS_UPSTREAM_LATE);
    upstream_server_note_latency(server, (uint64_t)(now_ms - slot->sent_ms) * CLOCK_MILLISECOND);
    free_slot(link, (uint16_t)(slot - link->slots));
}

static void on_answer(struct upstream_link *link, struct upstream_slot *slot, const struct dns_answer *answer)
{
    struct upstream_attempt *attempt = slot->attempt;
    struct upstream_server *server = link->server;
    uint64_t taken = event_now(server->pool->around.loop) - attempt->sent_at;
    free_slot(link, attempt->slot);
    attempt_end(attempt);
    link->answered_at = event_now(server->pool->around.loop);
    if (answer->keepalive >= 0) {
        upstream_learn_keepalive(link, answer->keepalive);
    }
    metrics_observe(&server->metrics->duration, taken);
    upstream_server_note_latency(server, taken);
    close_if_done(link);
    upstream_attempt_answered(attempt, server, answer);
    upstream_server_send_waiting(server);
}

/* A message in an unknown id, or a query instead of an answer, does not end the wait for the right one; many
 * of them are as good as silence. */
static void on_stray(struct upstream_link *link)
{
    upstream_count(link->server, METRICS_UPSTREAM_MISMATCH);
    if (++link->strays > STRAYS_MOST) {
        established_lost(link, ERROR_INVALID, "mismatch");
    }
}

/* Something came back to a question of ours. */
static void note_life(struct upstream_link *link)
{
    link->strays = 0;
    link->answered = true;
    if (link->server->fruitless > 0 || upstream_server_is_held_for_down(link->server)) {
        link->server->fruitless = 0;
        upstream_server_proven(link->server, link);
    }
}

/* A signed answer reaches the client as it is, with all options of the server: it has to be asked for. */
static bool is_unasked(const struct dns_answer *answer, const struct upstream_ask *ask)
{
    return answer->is_signed && !ask->is_signed;
}

static void on_message(struct stream *stream, struct span message)
{
    struct upstream_link *link = link_of(stream);
    count_records(link);
    struct dns_answer answer;
    int error = dns_answer_read(message, &answer);
    struct upstream_slot *slot = find_slot(link, bytes_get_u16(message.data));
    if (slot == NULL || error == ERROR_INVALID) {
        on_stray(link);
        return;
    }
    bool malformed = error != 0 || (slot->attempt != NULL && is_unasked(&answer, slot->attempt->ask));
    if (!malformed && slot->attempt != NULL && !dns_answer_matches(&answer, slot->attempt->ask->question)) {
        on_mismatch(link);
        return;
    }
    note_life(link);
    if (slot->attempt == NULL) {
        on_late_answer(link, slot);
    } else if (malformed) {
        upstream_attempt_malformed(slot->attempt);
    } else {
        on_answer(link, slot, &answer);
    }
}

static const struct stream_handler link_handler = {
    .opened = on_opened,
    .message = on_message,
    .ended = on_ended,
    .closed = on_closed,
};

static void on_timer(struct event_timer *timer)
{
    struct upstream_link *link = container_of(timer, struct upstream_link, timer);
    struct upstream_pool *pool = link->server->pool;
    uint64_t handshake_end =
        link->started_at + pool->options.connect_timeout + pool->options.handshake_timeout;
    if (!stream_is_connected(&link->stream)) {
        connecting_failed(link, ERROR_TIMEOUT, "connect_timeout");
    } else if (event_now(pool->around.loop) < handshake_end) {
        event_timer_set(pool->around.loop, &link->timer, handshake_end);
    } else {
        connecting_failed(link, ERROR_TLS, "handshake_timeout");
    }
}

/* ---- life ---- */

/* Nothing more is expected of the link that was retired first: what is still out on it has been asked
 * elsewhere, or will be when its try is over. */
static void give_up_oldest(struct upstream_server *server)
{
    struct upstream_link *link = container_of(server->retired.next, struct upstream_link, node);
    struct list *node;
    while ((node = list_take_first(&link->attempts)) != NULL) {
        upstream_count(server, METRICS_UPSTREAM_CLOSED);
        container_of(node, struct upstream_attempt, node)->server = NULL;
    }
    link->in_flight = 0;
    upstream_link_free(link);
}

/* A server has room of its own, so that one that retires many links takes none from the others. */
static struct upstream_link *link_take(struct upstream_server *server)
{
    struct upstream_pool *pool = server->pool;
    if (server->link_count == pool->options.links + UPSTREAM_LINKS_BESIDE && !list_empty(&server->retired)) {
        give_up_oldest(server);
    }
    struct upstream_link *link = slab_take(&pool->links);
    if (link == NULL) {
        return NULL;
    }
    server->link_count++;
    *link = (struct upstream_link){
        .server = server,
        .started_at = event_now(pool->around.loop),
        .slots = (struct upstream_slot *)(link + 1),
        .free = (uint16_t *)((struct upstream_slot *)(link + 1) + pool->slot_count),
    };
    list_init(&link->node);
    list_init(&link->attempts);
    event_timer_init(&link->timer, on_timer);
    event_timer_init(&link->watch, NULL);
    fill_slots(link);
    return link;
}

static void link_give(struct upstream_link *link)
{
    link->server->link_count--;
    slab_give(&link->server->pool->links, link);
}

int upstream_link_open(struct upstream_server *server, const struct address *address)
{
    struct upstream_pool *pool = server->pool;
    struct upstream_link *link = link_take(server);
    if (link == NULL) {
        return ERROR_EXHAUSTED;
    }
    link->remote = *address;
    int error =
        stream_connect(&link->stream, pool->around.shop, address, server->options.client, &link_handler);
    if (error != 0) {
        link_give(link);
        return error;
    }
    stream_limit_output(&link->stream,
                        (size_t)pool->options.in_flight * (DNS_QUERY_MAX + 2) + DNS_MESSAGE_MAX + 2);
    stream_limit_silence(&link->stream, SILENCE_ATTEMPTS * pool->options.attempt_timeout);
    event_timer_set(pool->around.loop, &link->timer, link->started_at + pool->options.connect_timeout);
    list_append(&server->connecting, &link->node);
    return 0;
}

void upstream_link_retire(struct upstream_link *link, enum metrics_upstream_meter reason)
{
    assert(link->state == UPSTREAM_LINK_OPEN);
    struct upstream_server *server = link->server;
    upstream_count(server, reason);
    leave_server(link);
    event_timer_clear(&link->timer);
    event_timer_clear(&link->watch);
    link->state = UPSTREAM_LINK_RETIRED;
    list_append(&server->retired, &link->node);
    close_if_done(link);
    upstream_server_unlinked(server);
}

void upstream_link_free(struct upstream_link *link)
{
    assert(link->in_flight == 0);
    struct upstream_server *server = link->server;
    count_records(link);
    if (link->state != UPSTREAM_LINK_CONNECTING) {
        metrics_subtract(&server->metrics->meter[METRICS_UPSTREAM_CONNECTIONS], 1);
    }
    leave_server(link);
    event_timer_clear(&link->timer);
    event_timer_clear(&link->watch);
    stream_close(&link->stream);
    link_give(link);
}
