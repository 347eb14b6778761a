/*
 * The life of a question that waits: taken from the slab, asked or put with the same question that is out,
 * answered once, given back. Called by step.c.
 *
 * Every client has the deadline of its own arrival. A leader whose deadline has come takes its followers'
 * question with it unless one of them may wait longer: then the last of those that came asks, and the others
 * wait with it.
 */
#include <assert.h>
#include <string.h>

#include "base/error.h"

#include "query/internal.h"

static void show_pending(struct query_hall *hall)
{
    metrics_set(&hall->around.metrics->meter[METRICS_PENDING], hall->queries.taken);
}

/* ---- giving back ---- */

/* What is to come is for the cache: it counts for this client no more. */
static void stop_attending(struct query *query)
{
    struct query_hall *hall = query->hall;
    --*query->waiting_of_client;
    query->waiting_of_client = &hall->waiting_of_nobody;
    hall->waiting_of_nobody++;
    query->door->waiting_count--;
    query->door = NULL;
    list_remove(&query->node);
    list_append(&hall->unattended, &query->node);
    hall->unattended_count++;
}

static void release(struct query *query)
{
    struct query_hall *hall = query->hall;
    if (query->door != NULL) {
        query->door->waiting_count--;
    } else {
        hall->unattended_count--;
    }
    list_remove(&query->node);
    event_timer_clear(&query->timer);
    --*query->waiting_of_client;
    if (query->leader != NULL) {
        query->leader->follower_count--;
        list_remove(&query->followers);
    }
    if (query->long_message != NULL) {
        slab_give(&hall->long_messages, query->long_message);
    }
    slab_give(&hall->queries, query);
    show_pending(hall);
}

static struct query *follower_at(const struct list *place)
{
    return container_of(place, struct query, followers);
}

/* ---- the end ---- */

static bool has_failed(const struct upstream_result *result)
{
    return result->error != 0 ||
           (result->answer->rcode != DNS_RCODE_NOERROR && result->answer->rcode != DNS_RCODE_NXDOMAIN);
}

static void answer(struct query *query, const struct upstream_result *result)
{
    bool may_be_stale = query->door != NULL && query->has_stale && has_failed(result);
    if (!query->is_answered && !(may_be_stale && query_recall_stale(query))) {
        query_reply_result(query, result);
    }
    release(query);
}

static void answer_all(struct query *leader, const struct upstream_result *result)
{
    while (!list_empty(&leader->followers)) {
        answer(follower_at(leader->followers.next), result);
    }
    answer(leader, result);
}

/* ---- a client's moments ---- */

static uint64_t deadline_of(const struct query *query)
{
    return query->arrived_at + query->hall->options.query_timeout;
}

/* A leader's deadline is kept where its question is out. */
static void set_timer(struct query *query)
{
    struct query_hall *hall = query->hall;
    uint64_t stale_at = query->arrived_at + hall->options.stale.client_timeout;
    uint64_t deadline = query->leader != NULL ? deadline_of(query) : UINT64_MAX;
    uint64_t due = query->has_stale && stale_at > event_now(hall->around.loop) && stale_at < deadline
                       ? stale_at
                       : deadline;
    if (due < UINT64_MAX) {
        event_timer_set(hall->around.loop, &query->timer, due);
    }
}

static void on_timer(struct event_timer *timer)
{
    struct query *query = container_of(timer, struct query, timer);
    uint64_t now = event_now(query->hall->around.loop);
    if (query->leader != NULL && now >= deadline_of(query)) {
        const struct upstream_result late = {
            .error = ERROR_TIMEOUT, .reason = "timeout", .failure_rcode = -1};
        answer(query, &late);
    } else if (query->door != NULL && query_recall_stale(query)) {
        query->is_answered = true;
        stop_attending(query);
        if (query->leader != NULL) {
            release(query);
        }
    } else {
        set_timer(query);
    }
}

/* ---- taking ---- */

static uint16_t *bucket_of(struct query_hall *hall, const struct address *client)
{
    uint64_t hash = hash_bytes(&hall->options.hash_key, span_of(client->bytes, sizeof client->bytes));
    return &hall->waiting_of[hash % QUERY_CLIENT_BUCKETS];
}

static void fill(struct query *query, const struct query_passage *passage)
{
    struct query_hall *hall = passage->hall;
    query->hall = hall;
    query->id = query->ask.id = passage->id;
    query->arrived_at = event_now(hall->around.loop);
    query->long_message = NULL;
    query->generation = query_generation(hall);
    query->group = passage->group;
    query->is_shared = passage->is_shared;
    query->has_stale = passage->has_stale;
    query->is_answered = false;
    query->hash = passage->hash;
    query->leader = NULL;
    query->follower_count = 0;
    list_init(&query->followers);
    event_timer_init(&query->timer, on_timer);
    query->view = query_view(passage->door, &passage->query);
    memcpy(query->question, passage->query.question.data, passage->query.question.size);
    query->view.question.data = query->question;
}

/* NULL when the client, or all clients together, have no room for one more. */
static struct query *take(const struct query_passage *passage)
{
    struct query_hall *hall = passage->hall;
    uint16_t *waiting_of_client = bucket_of(hall, &passage->peer->remote);
    struct query *query =
        *waiting_of_client < hall->options.pending_per_client ? slab_take(&hall->queries) : NULL;
    if (query == NULL) {
        return NULL;
    }
    fill(query, passage);
    query->door = passage->door;
    query->peer = *passage->peer;
    query->waiting_of_client = waiting_of_client;
    ++*waiting_of_client;
    list_append(&passage->door->waiting, &query->node);
    passage->door->waiting_count++;
    show_pending(hall);
    return query;
}

/* ---- leading ---- */

/* A signed message goes as it came (RFC 5625, 4.5); any other is written anew, with our EDNS and padding. */
static int write_signed(struct query *query, const struct query_passage *passage)
{
    uint8_t *place = query->message;
    if (passage->message.size > sizeof query->message) {
        place = query->long_message = slab_take(&query->hall->long_messages);
        if (place == NULL) {
            return ERROR_EXHAUSTED;
        }
    }
    memcpy(place, passage->message.data, passage->message.size);
    query->ask.message = place;
    query->ask.message_size = passage->message.size;
    return 0;
}

static int write_plain(struct query *query, const struct query_passage *passage)
{
    const struct query_options *options = &query->hall->options;
    struct upstream_form hop = upstream_pool_form(query->hall->around.pools[query->group]);
    struct dns_question_form form = {
        .question = passage->query.question,
        .rd = passage->query.rd,
        .cd = passage->query.cd,
        .dnssec_ok = passage->query.dnssec_ok,
        .client_subnet = options->strip_client_subnet ? (struct span){0} : passage->query.client_subnet,
        .keepalive = hop.keepalive,
        .padding_block = hop.pads ? options->padding_block : 0,
    };
    query->ask.message = query->message;
    return dns_query_write(&form, query->message, sizeof query->message, &query->ask.message_size);
}

static int write_message(struct query *query, const struct query_passage *passage)
{
    query->ask.is_signed = passage->query.is_signed;
    return query->ask.is_signed ? write_signed(query, passage) : write_plain(query, passage);
}

static void lead(struct query *query)
{
    query->ask.question = span_of(query->ask.message + DNS_HEADER_SIZE, query->view.question.size);
    query->ask.deadline = deadline_of(query);
    if (query->is_shared) {
        query_join_offer(query);
    }
    if (query->door != NULL) {
        set_timer(query);
    }
    upstream_ask(query->hall->around.pools[query->group], &query->ask);
}

/* The newest follower; NULL when nobody may wait any longer. */
static struct query *heir_of(const struct query *leader)
{
    if (list_empty(&leader->followers)) {
        return NULL;
    }
    struct query *last = follower_at(leader->followers.previous);
    return deadline_of(last) > event_now(leader->hall->around.loop) ? last : NULL;
}

static void hand_over(struct query *leader, struct query *heir)
{
    list_remove(&heir->followers);
    list_move_all(&heir->followers, &leader->followers);
    heir->follower_count = leader->follower_count - 1;
    leader->follower_count = 0;
    heir->leader = NULL;
    for (struct list *place = heir->followers.next; place != &heir->followers; place = place->next) {
        follower_at(place)->leader = heir;
    }
    event_timer_clear(&heir->timer);
    heir->generation = query_generation(heir->hall);
    memcpy(heir->message, leader->message, leader->ask.message_size);
    heir->ask.message = heir->message;
    heir->ask.message_size = leader->ask.message_size;
    heir->ask.is_signed = false;
    heir->ask.done = leader->ask.done;
    lead(heir);
}

static void on_done(struct upstream_ask *ask, const struct upstream_result *result)
{
    struct query *leader = container_of(ask, struct query, ask);
    uint64_t now = event_now(leader->hall->around.loop);
    query_keep(leader, result);
    if (leader->is_shared) {
        query_join_withdraw(leader);
    }
    bool is_late = result->error != 0 && now >= ask->deadline;
    struct query *heir = is_late ? heir_of(leader) : NULL;
    if (heir != NULL) {
        hand_over(leader, heir);
    }
    answer_all(leader, result);
}

/* ---- what the steps call ---- */

bool query_wait_ask(const struct query_passage *passage)
{
    struct query *query = take(passage);
    if (query == NULL) {
        return false;
    }
    if (write_message(query, passage) != 0) {
        release(query);
        return false;
    }
    query->ask.done = on_done;
    lead(query);
    return true;
}

bool query_wait_join(const struct query_passage *passage, struct query *leader)
{
    struct query *query = take(passage);
    if (query == NULL) {
        return false;
    }
    query->leader = leader;
    list_append(&leader->followers, &query->followers);
    leader->follower_count++;
    set_timer(query);
    return true;
}

void query_wait_renew(struct query_passage *passage)
{
    struct query_hall *hall = passage->hall;
    bool is_busy = hall->queries.taken >= hall->options.pending / 4 * 3;
    struct query *query = !is_busy && query_join_find(passage) == NULL ? slab_take(&hall->queries) : NULL;
    if (query == NULL) {
        return;
    }
    fill(query, passage);
    query->door = NULL;
    query->is_answered = true;
    query->waiting_of_client = &hall->waiting_of_nobody;
    hall->waiting_of_nobody++;
    list_append(&hall->unattended, &query->node);
    hall->unattended_count++;
    show_pending(hall);
    if (write_message(query, passage) != 0) {
        release(query);
        return;
    }
    query->ask.done = on_done;
    lead(query);
}

void query_wait_forget(struct query *query)
{
    struct query *leader = query->leader != NULL ? query->leader : query;
    while (!list_empty(&leader->followers)) {
        release(follower_at(leader->followers.next));
    }
    if (leader->is_shared) {
        query_join_withdraw(leader);
    }
    upstream_forget(&leader->ask);
    release(leader);
}
