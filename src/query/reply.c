/*
 * What a client gets to see: its own id and letter case, its size, its EDNS, whoever answered. All answers
 * leave through here, are counted here and logged here.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "query/internal.h"

/* Of the header's fourth byte. */
enum { RCODE_MASK = 15 };

static enum metrics_meter response_meter(enum query_transport transport, unsigned rcode)
{
    enum metrics_meter first =
        transport == QUERY_UDP ? METRICS_RESPONSES_UDP_NOERROR : METRICS_RESPONSES_TCP_NOERROR;
    enum metrics_meter other =
        transport == QUERY_UDP ? METRICS_RESPONSES_UDP_OTHER : METRICS_RESPONSES_TCP_OTHER;
    return rcode <= DNS_RCODE_REFUSED ? first + rcode : other;
}

struct dns_view query_view(const struct query_door *door, const struct dns_query *query)
{
    size_t udp = query->udp_size < DNS_UDP_MOST ? query->udp_size : DNS_UDP_MOST;
    return (struct dns_view){
        .id = query->id,
        .opcode = query->opcode,
        .question = query->has_question ? query->question : (struct span){0},
        .rd = query->rd,
        .cd = query->cd,
        .show_ad = query->ad || query->dnssec_ok,
        .has_edns = query->has_edns,
        .dnssec_ok = query->dnssec_ok,
        .limit = door->transport == QUERY_UDP ? udp : DNS_MESSAGE_MAX,
        .keepalive = query->keepalive ? door->keepalive : -1,
        .extended = {.code = DNS_EXTENDED_NONE},
    };
}

void query_reply_error(const struct query_passage *passage, unsigned rcode, int extended)
{
    query_reply_explained(passage, rcode, (struct dns_extended_error){.code = extended});
}

void query_reply_explained(const struct query_passage *passage, unsigned rcode,
                           struct dns_extended_error extended)
{
    struct query_hall *hall = passage->hall;
    struct dns_view view = query_view(passage->door, &passage->query);
    view.extended = extended;
    size_t size;
    int error = dns_error_write(&view, rcode, hall->reply, sizeof hall->reply, &size);
    assert(error == 0);
    metrics_add(&hall->around.metrics->meter[response_meter(passage->door->transport, rcode)], 1);
    bool udp = passage->door->transport == QUERY_UDP;
    metrics_observe(
        &hall->around.metrics->request[udp ? METRICS_REQUEST_UDP_LOCAL : METRICS_REQUEST_TCP_LOCAL], 0);
    passage->door->reply(passage->door, passage->peer, span_of(hall->reply, size));
    query_note_answer(hall, &(struct query_answer_note){
                                .id = passage->id, .rcode = rcode, .size = size, .source = "local"});
}

bool query_reply_stored(const struct query_passage *passage, const struct dns_stored *stored, int extended)
{
    struct query_hall *hall = passage->hall;
    struct dns_view view = query_view(passage->door, &passage->query);
    view.extended.code = extended;
    size_t size;
    if (dns_stored_answer(stored, &view, hall->reply, sizeof hall->reply, &size) != 0) {
        return false;
    }
    bool udp = passage->door->transport == QUERY_UDP;
    unsigned rcode = hall->reply[3] & RCODE_MASK;
    metrics_add(&hall->around.metrics->meter[response_meter(passage->door->transport, rcode)], 1);
    metrics_observe(
        &hall->around.metrics->request[udp ? METRICS_REQUEST_UDP_CACHE : METRICS_REQUEST_TCP_CACHE], 0);
    passage->door->reply(passage->door, passage->peer, span_of(hall->reply, size));
    query_note_answer(hall, &(struct query_answer_note){
                                .id = passage->id, .rcode = rcode, .size = size, .source = "cache"});
    return true;
}

/* The extended error for a question that no server answered: what failed, in words (RFC 8914). */
static struct dns_extended_error explain(const struct upstream_result *result, char *text, size_t size)
{
    if (result->failure_rcode >= 0) {
        return (struct dns_extended_error){.code = result->failure_extended};
    }
    int length = snprintf(text, size, "%s: %s", result->server != NULL ? result->server : "no upstream",
                          result->reason);
    struct dns_extended_error error = {
        .code = strcmp(result->reason, "timeout") == 0 ? DNS_EXTENDED_NO_REACHABLE_AUTHORITY
                                                       : DNS_EXTENDED_NETWORK_ERROR,
        .text = span_of(text, length < (int)size ? (size_t)length : size - 1),
    };
    if (result->malformed) {
        error.code = DNS_EXTENDED_INVALID_DATA;
    }
    return error;
}

static unsigned write_failure(struct query *query, const struct upstream_result *result, size_t *size)
{
    char text[DNS_EXTRA_TEXT_MAX];
    query->view.extended = explain(result, text, sizeof text);
    unsigned rcode = result->failure_rcode >= 0 ? (unsigned)result->failure_rcode : DNS_RCODE_SERVFAIL;
    struct query_hall *hall = query->hall;
    int error = dns_error_write(&query->view, rcode, hall->reply, sizeof hall->reply, size);
    assert(error == 0);
    return rcode;
}

static unsigned write_answer(struct query *query, const struct upstream_result *result, size_t *size)
{
    struct query_hall *hall = query->hall;
    query->view.extended = result->answer->extended;
    if (!hall->options.strip_client_subnet) {
        query->view.client_subnet = result->answer->client_subnet;
    }
    int error = dns_answer_write(result->answer, &query->view, hall->reply, sizeof hall->reply, size);
    assert(error == 0);
    return result->answer->rcode;
}

void query_reply_result(struct query *query, const struct upstream_result *result)
{
    struct query_hall *hall = query->hall;
    if (query->door == NULL) {
        metrics_add(&hall->around.metrics->meter[METRICS_DROPPED_CLIENT_GONE], 1);
        return;
    }
    size_t size;
    unsigned rcode =
        result->error == 0 ? write_answer(query, result, &size) : write_failure(query, result, &size);
    bool udp = query->door->transport == QUERY_UDP;
    uint64_t duration = event_now(hall->around.loop) - query->arrived_at;
    metrics_add(&hall->around.metrics->meter[response_meter(query->door->transport, rcode)], 1);
    metrics_observe(
        &hall->around.metrics->request[udp ? METRICS_REQUEST_UDP_UPSTREAM : METRICS_REQUEST_TCP_UPSTREAM],
        duration);
    query->door->reply(query->door, &query->peer, span_of(hall->reply, size));
    query_note_answer(hall, &(struct query_answer_note){.id = query->id,
                                                        .duration = duration,
                                                        .rcode = rcode,
                                                        .size = size,
                                                        .source = "upstream",
                                                        .upstream = result->server});
}
