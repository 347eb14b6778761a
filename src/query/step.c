/*
 * The heart: what happens to a question, as a list of steps. Each step passes it on, answers it, drops it, or
 * lets it wait for the upstream; whatever is refused is refused before anything was looked up for it.
 */
#include <assert.h>

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
        return query_local(passage) ? ANSWERED : NEXT;
    }
    query_reply_error(passage, (unsigned)rcode, extended);
    return ANSWERED;
}

static enum verdict step_route(struct query_passage *passage)
{
    const struct local *local = passage->hall->around.local;
    passage->group = passage->door->group;
    if (local != NULL) {
        local_route(local, passage->query.question, &passage->group);
    }
    return NEXT;
}

static enum verdict step_recall(struct query_passage *passage)
{
    passage->is_shared = query_is_shared(passage->hall, &passage->query);
    enum query_recalled recalled = query_recall(passage);
    if (recalled == QUERY_RENEW) {
        query_wait_renew(passage);
    }
    return recalled == QUERY_UNKNOWN ? NEXT : ANSWERED;
}

/* ---- waiting for the upstream ---- */

static enum verdict shed(const struct query_passage *passage)
{
    if (passage->has_stale && query_recall_at_once(passage)) {
        return ANSWERED;
    }
    count(passage->hall, METRICS_DROPPED_OVERLOAD);
    struct dns_extended_error extended = {
        .code = DNS_EXTENDED_NETWORK_ERROR,
        .text = span_text("too many queries wait (limits.pending, limits.pending_per_client)"),
    };
    query_reply_explained(passage, DNS_RCODE_SERVFAIL, extended);
    return ANSWERED;
}

static enum verdict step_join(struct query_passage *passage)
{
    struct query *leader = passage->is_shared ? query_join_find(passage) : NULL;
    if (leader == NULL) {
        return NEXT;
    }
    if (!query_wait_join(passage, leader)) {
        return shed(passage);
    }
    count(passage->hall, METRICS_JOINED);
    return WAITING;
}

static enum verdict step_ask(struct query_passage *passage)
{
    return query_wait_ask(passage) ? WAITING : shed(passage);
}

static enum verdict (*const steps[])(struct query_passage *) = {
    step_admit, step_read, step_refuse, step_local, step_route, step_recall, step_join, step_ask,
};

void query_walk(struct query_passage *passage)
{
    enum verdict verdict = NEXT;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && verdict == NEXT; i++) {
        verdict = steps[i](passage);
    }
    assert(verdict != NEXT);
}
