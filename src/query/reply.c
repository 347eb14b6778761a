/*
 * What a client gets to see: its own id and letter case, its size, its EDNS, whoever answered. All answers
 * leave through here, are counted here and logged here.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "query/internal.h"

enum {
    RCODE_MASK = 15,                 /* of the header's fourth byte */
    PULSE_MOST = 100 * DNS_UDP_MOST, /* bytes that may leave for one address at one time */
};

/* ---- out of the door ---- */

enum source { SOURCE_LOCAL, SOURCE_CACHE, SOURCE_STALE, SOURCE_UPSTREAM, SOURCE_COUNT };

static const struct {
    const char *name;
    enum metrics_request udp, tcp;
} sources[SOURCE_COUNT] = {
    [SOURCE_LOCAL] = {"local", METRICS_REQUEST_UDP_LOCAL, METRICS_REQUEST_TCP_LOCAL},
    [SOURCE_CACHE] = {"cache", METRICS_REQUEST_UDP_CACHE, METRICS_REQUEST_TCP_CACHE},
    [SOURCE_STALE] = {"stale", METRICS_REQUEST_UDP_STALE, METRICS_REQUEST_TCP_STALE},
    [SOURCE_UPSTREAM] = {"upstream", METRICS_REQUEST_UDP_UPSTREAM, METRICS_REQUEST_TCP_UPSTREAM},
};

/* To whom, and where from. */
struct reply {
    struct query_hall *hall;
    struct query_door *door;
    const struct net_peer *peer;
    enum source source;
    const char *upstream; /* label or NULL */
    uint64_t id, duration;
};

static struct reply reply_to(const struct query_passage *passage, enum source source)
{
    return (struct reply){.hall = passage->hall,
                          .door = passage->door,
                          .peer = passage->peer,
                          .source = source,
                          .id = passage->id};
}

static struct reply reply_to_waiting(const struct query *query, enum source source)
{
    return (struct reply){.hall = query->hall,
                          .door = query->door,
                          .peer = &query->peer,
                          .source = source,
                          .id = query->id,
                          .duration = event_now(query->hall->around.loop) - query->arrived_at};
}

static enum metrics_meter response_meter(enum query_transport transport, unsigned rcode)
{
    enum metrics_meter first =
        transport == QUERY_UDP ? METRICS_RESPONSES_UDP_NOERROR : METRICS_RESPONSES_TCP_NOERROR;
    enum metrics_meter other =
        transport == QUERY_UDP ? METRICS_RESPONSES_UDP_OTHER : METRICS_RESPONSES_TCP_OTHER;
    return rcode <= DNS_RCODE_REFUSED ? first + rcode : other;
}

/* Sends what is in the hall's buffer. */
static void deliver(const struct reply *reply, unsigned rcode, size_t size)
{
    struct query_hall *hall = reply->hall;
    struct metrics_worker *metrics = hall->around.metrics;
    bool udp = reply->door->transport == QUERY_UDP;
    metrics_add(&metrics->meter[response_meter(reply->door->transport, rcode)], 1);
    metrics_observe(&metrics->request[udp ? sources[reply->source].udp : sources[reply->source].tcp],
                    reply->duration);
    reply->door->reply(reply->door, reply->peer, span_of(hall->reply, size));
    query_note_answer(hall, &(struct query_answer_note){.id = reply->id,
                                                        .duration = reply->duration,
                                                        .rcode = rcode,
                                                        .size = size,
                                                        .source = sources[reply->source].name,
                                                        .upstream = reply->upstream});
}

/* ---- answers at once ---- */

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
    struct reply reply = reply_to(passage, SOURCE_LOCAL);
    deliver(&reply, rcode, size);
}

static unsigned rcode_in(const struct query_hall *hall)
{
    return hall->reply[3] & RCODE_MASK;
}

static enum source source_of(const struct dns_stored *stored)
{
    return stored->stale > 0 ? SOURCE_STALE : SOURCE_CACHE;
}

void query_reply_local(const struct query_passage *passage, struct span message, int extended)
{
    struct query_hall *hall = passage->hall;
    struct dns_view view = query_view(passage->door, &passage->query);
    view.extended.code = extended;
    struct dns_answer answer;
    size_t size;
    int error = dns_answer_read(message, &answer);
    assert(error == 0);
    error = dns_answer_write(&answer, &view, hall->reply, sizeof hall->reply, &size);
    assert(error == 0);
    struct reply reply = reply_to(passage, SOURCE_LOCAL);
    deliver(&reply, answer.rcode, size);
}

bool query_reply_stored(const struct query_passage *passage, const struct dns_stored *stored, int extended)
{
    struct reply reply = reply_to(passage, source_of(stored));
    struct dns_view view = query_view(passage->door, &passage->query);
    view.extended.code = extended;
    size_t size;
    if (dns_stored_answer(stored, &view, reply.hall->reply, sizeof reply.hall->reply, &size) != 0) {
        return false;
    }
    deliver(&reply, rcode_in(reply.hall), size);
    return true;
}

/* ---- answers to those who waited ---- */

/* Many late answers at once to one address, which may be forged, are a pulse aimed at it (DNSBomb): as large
 * as all that waits for it, if that is as large as this. */
static bool is_pulse(const struct query *query, uint64_t duration, size_t size)
{
    return query->door->transport == QUERY_UDP && duration > query->hall->options.udp_discard &&
           *query->waiting_of_client * size > PULSE_MOST;
}

static void deliver_late(const struct query *query, const struct reply *reply, unsigned rcode, size_t size)
{
    if (is_pulse(query, reply->duration, size)) {
        metrics_add(&query->hall->around.metrics->meter[METRICS_DROPPED_LATE], 1);
    } else {
        deliver(reply, rcode, size);
    }
}

bool query_reply_late(struct query *query, const struct dns_stored *stored, int extended)
{
    struct reply reply = reply_to_waiting(query, source_of(stored));
    query->view.extended = (struct dns_extended_error){.code = extended};
    size_t size;
    if (dns_stored_answer(stored, &query->view, reply.hall->reply, sizeof reply.hall->reply, &size) != 0) {
        return false;
    }
    deliver_late(query, &reply, rcode_in(reply.hall), size);
    return true;
}

/* Whoever reads this must look at a clock, and not at the server. */
static const char *reason_text(const char *reason)
{
    if (strcmp(reason, "wrong_clock") == 0) {
        return "wrong_clock (the forwarder's clock is before the forwarder was made: set it)";
    }
    return strcmp(reason, "unresolved") == 0 ? "unresolved (its address is not known yet)" : reason;
}

/* The extended error for a question that no server answered: what failed, in words (RFC 8914). */
static struct dns_extended_error explain(const struct upstream_result *result, char *text, size_t size)
{
    if (result->failure_rcode >= 0) {
        return (struct dns_extended_error){.code = result->failure_extended};
    }
    int length = snprintf(text, size, "%s: %s", result->server != NULL ? result->server : "no upstream",
                          reason_text(result->reason));
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
    if (query->is_shared && hall->around.cache != NULL && !result->answer->is_signed) {
        dns_answer_cap_ttls(hall->reply, *size, hall->options.lifetimes.most);
    }
    return result->answer->rcode;
}

void query_reply_result(struct query *query, const struct upstream_result *result)
{
    struct query_hall *hall = query->hall;
    if (query->door == NULL) {
        metrics_add(&hall->around.metrics->meter[METRICS_DROPPED_CLIENT_GONE], 1);
        return;
    }
    struct reply reply = reply_to_waiting(query, SOURCE_UPSTREAM);
    size_t size;
    unsigned rcode =
        result->error == 0 ? write_answer(query, result, &size) : write_failure(query, result, &size);
    reply.upstream = result->server;
    deliver_late(query, &reply, rcode, size);
}
