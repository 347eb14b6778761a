/*
 * The heart: what happens to a question, as a list of steps. Each step passes it on, answers it, drops it, or
 * lets it wait for the upstream; whatever is refused is refused before anything was looked up for it.
 */
#include <assert.h>
#include <string.h>

#include "base/error.h"

#include "query/internal.h"

enum verdict { NEXT, ANSWERED, DROPPED, WAITING };

static void count(const struct query_hall *hall, enum metrics_meter meter)
{
    metrics_add(&hall->around.metrics->meter[meter], 1);
}

/* Access is decided on the address of the wire, before a byte of the message is believed; the refusal itself
 * waits for the id and the question that it must repeat. */
static enum verdict step_admit(struct query_passage *passage)
{
    const struct address *client = &passage->peer->remote;
    if (client->port == 0) {
        count(passage->hall, METRICS_DROPPED_SOURCE);
        return DROPPED;
    }
    passage->denied = !guard_access_allows(passage->hall->around.access, client);
    return NEXT;
}

static enum verdict step_read(struct query_passage *passage)
{
    struct query_hall *hall = passage->hall;
    int error = dns_query_read(passage->message, &passage->query);
    if (error != 0) {
        count(hall, error == ERROR_SHORT ? METRICS_DROPPED_SHORT : METRICS_DROPPED_QR);
        return DROPPED;
    }
    count(hall, passage->door->transport == QUERY_UDP ? METRICS_QUERIES_UDP : METRICS_QUERIES_TCP);
    passage->id = ++hall->last_id;
    query_note_question(passage);
    return NEXT;
}

static enum verdict step_refuse(struct query_passage *passage)
{
    if (passage->denied) {
        query_reply_error(passage, DNS_RCODE_REFUSED, DNS_EXTENDED_PROHIBITED);
        return ANSWERED;
    }
    if (passage->query.rcode != DNS_RCODE_NOERROR) {
        query_reply_error(passage, passage->query.rcode, passage->query.extended);
        return ANSWERED;
    }
    return NEXT;
}

static enum verdict step_local(struct query_passage *passage)
{
    int extended;
    int rcode = query_local_rcode(&passage->query, &extended);
    if (rcode < 0) {
        return NEXT;
    }
    query_reply_error(passage, (unsigned)rcode, extended);
    return ANSWERED;
}

static enum verdict step_recall(struct query_passage *passage)
{
    return query_recall(passage) ? ANSWERED : NEXT;
}

/* ---- waiting for the upstream ---- */

void query_release(struct query *query)
{
    struct query_hall *hall = query->hall;
    if (query->door != NULL) {
        query->door->waiting_count--;
    }
    list_remove(&query->node);
    (*query->waiting_of_client)--;
    if (query->long_message != NULL) {
        slab_give(&hall->long_messages, query->long_message);
    }
    slab_give(&hall->queries, query);
    metrics_set(&hall->around.metrics->meter[METRICS_PENDING], hall->queries.taken);
}

static void on_done(struct upstream_ask *ask, const struct upstream_result *result)
{
    struct query *query = container_of(ask, struct query, ask);
    query_keep(query, result);
    query_reply_result(query, result);
    query_release(query);
}

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
    struct dns_question_form form = {
        .question = passage->query.question,
        .rd = passage->query.rd,
        .cd = passage->query.cd,
        .dnssec_ok = passage->query.dnssec_ok,
        .client_subnet = options->strip_client_subnet ? (struct span){0} : passage->query.client_subnet,
        .keepalive = true,
        .padding_block = options->padding_block,
    };
    query->ask.message = query->message;
    return dns_query_write(&form, query->message, sizeof query->message, &query->ask.message_size);
}

static int fill_query(struct query *query, const struct query_passage *passage)
{
    struct query_hall *hall = passage->hall;
    query->hall = hall;
    query->door = passage->door;
    query->peer = *passage->peer;
    query->id = query->ask.id = passage->id;
    query->arrived_at = event_now(hall->around.loop);
    query->long_message = NULL;
    query->is_shared = query_is_shared(hall, &passage->query);
    query->view = query_view(passage->door, &passage->query);
    memcpy(query->question, passage->query.question.data, passage->query.question.size);
    query->view.question.data = query->question;
    query->ask.deadline = query->arrived_at + hall->options.query_timeout;
    query->ask.done = on_done;
    query->ask.is_signed = passage->query.is_signed;
    int error = passage->query.is_signed ? write_signed(query, passage) : write_plain(query, passage);
    if (error == 0) {
        query->ask.question = span_of(query->ask.message + DNS_HEADER_SIZE, passage->query.question.size);
    }
    return error;
}

static enum verdict shed(const struct query_passage *passage)
{
    count(passage->hall, METRICS_DROPPED_OVERLOAD);
    struct dns_extended_error extended = {
        .code = DNS_EXTENDED_NETWORK_ERROR,
        .text = span_text("too many queries wait (limits.pending, limits.pending_per_client)"),
    };
    query_reply_explained(passage, DNS_RCODE_SERVFAIL, extended);
    return ANSWERED;
}

static uint16_t *bucket_of(struct query_hall *hall, const struct address *client)
{
    uint64_t hash = hash_bytes(&hall->options.hash_key, span_of(client->bytes, sizeof client->bytes));
    return &hall->waiting_of[hash % QUERY_CLIENT_BUCKETS];
}

static enum verdict step_ask(struct query_passage *passage)
{
    struct query_hall *hall = passage->hall;
    uint16_t *waiting_of_client = bucket_of(hall, &passage->peer->remote);
    struct query *query =
        *waiting_of_client < hall->options.pending_per_client ? slab_take(&hall->queries) : NULL;
    if (query == NULL) {
        return shed(passage);
    }
    if (fill_query(query, passage) != 0) {
        slab_give(&hall->queries, query);
        return shed(passage);
    }
    query->waiting_of_client = waiting_of_client;
    ++*waiting_of_client;
    list_append(&passage->door->waiting, &query->node);
    passage->door->waiting_count++;
    metrics_set(&hall->around.metrics->meter[METRICS_PENDING], hall->queries.taken);
    upstream_ask(hall->around.pool, &query->ask);
    return WAITING;
}

static enum verdict (*const steps[])(struct query_passage *) = {
    step_admit, step_read, step_refuse, step_local, step_recall, step_ask,
};

void query_walk(struct query_passage *passage)
{
    enum verdict verdict = NEXT;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && verdict == NEXT; i++) {
        verdict = steps[i](passage);
    }
    assert(verdict != NEXT);
}
