/*
 * One server, dialled: a connection, questions one after the other, questions at once, and a second
 * connection for the session. A server that gives one good answer works; what it does not do after that is
 * told, and is no failure. Called by probe.c.
 */
#include <assert.h>

#include "base/error.h"

#include "net/net.h"

#include "probe/internal.h"

static uint64_t now_of(const struct probe_dial *dial)
{
    return event_now(dial->shop->loop);
}

static void set_patience(struct probe_dial *dial, uint64_t most)
{
    event_timer_set(dial->shop->loop, &dial->timer, now_of(dial) + most);
}

/* ---- the end ---- */

static void on_ending(struct event_after *after)
{
    struct probe_dial *dial = container_of(after, struct probe_dial, ending);
    dial->done(dial);
}

static void end(struct probe_dial *dial, const char *reason)
{
    dial->result->reason = reason;
    dial->stage = PROBE_DONE;
    event_timer_clear(&dial->timer);
    stream_close(&dial->stream);
    event_after_add(dial->shop->loop, &dial->ending);
}

/* ---- what is known of the server ---- */

static void note_connection(struct probe_dial *dial)
{
    const struct tls_session *session = stream_session(&dial->stream);
    struct probe_result *result = dial->result;
    result->is_connected = dial->stream.connected_at != 0;
    result->connect_time = dial->stream.connected_at - dial->begun_at;
    struct net_tcp_path path;
    if (result->is_connected && net_tcp_path(dial->stream.descriptor, &path) == 0) {
        result->round_trip = path.round_trip;
    }
    if (session != NULL) {
        result->chain_count = tls_session_chain(session, result->chain, PROBE_CHAIN_MAX);
    }
    if (stream_failure(&dial->stream) != NULL) {
        result->failure = *stream_failure(&dial->stream);
    }
}

static void note_agreement(struct probe_dial *dial)
{
    const struct tls_session *session = stream_session(&dial->stream);
    struct probe_result *result = dial->result;
    result->is_secured = true;
    result->handshake_time = now_of(dial) - dial->stream.connected_at;
    result->version = tls_session_version(session);
    result->cipher = tls_session_cipher(session);
    result->group = tls_session_group(session);
    result->has_protocol = tls_session_chose_protocol(session);
    result->is_undated = tls_session_is_undated(session);
}

/* ---- asking ---- */

static void ask(struct probe_dial *dial)
{
    uint8_t question[PROBE_NAME_MAX], message[DNS_QUERY_MAX];
    size_t size = 0;
    struct dns_question_form form = {
        .question = span_of(question, probe_question(&dial->theme, dial->asked, question)),
        .rd = true,
        .keepalive = true,
        .padding_block = (size_t)dial->config->tls.padding,
    };
    int error = dns_query_write(&form, message, sizeof message, &size);
    assert(error == 0);
    bytes_put_u16(message, (uint16_t)(dial->first_id + dial->asked));
    dial->asked++;
    /* A stream that takes nothing any more says so by itself. */
    (void)stream_send(&dial->stream, span_of(message, size));
}

static void ask_one(struct probe_dial *dial)
{
    dial->stage = PROBE_ASKING;
    dial->asked_at = now_of(dial);
    ask(dial);
}

static void ask_together(struct probe_dial *dial)
{
    dial->stage = PROBE_ASKING_TOGETHER;
    dial->asked_at = now_of(dial);
    dial->last = dial->asked;
    while (dial->asked < PROBE_QUESTIONS) {
        ask(dial);
    }
}

/* ---- connecting ---- */

/* For the session alone. Where it does not come about there is less to tell. */
static void connect_again(struct probe_dial *dial)
{
    dial->stage = PROBE_CONNECTING_AGAIN;
    stream_close(&dial->stream);
    if (stream_connect(&dial->stream, dial->shop, &dial->result->upstream->address, dial->client,
                       dial->handler) != 0) {
        end(dial, NULL);
    }
}

static void on_opened(struct stream *stream)
{
    struct probe_dial *dial = container_of(stream, struct probe_dial, stream);
    if (dial->stage == PROBE_CONNECTING_AGAIN) {
        dial->result->resumption = stream_resumed(stream) ? PROBE_RESUMED : PROBE_NOT_RESUMED;
        end(dial, NULL);
        return;
    }
    note_connection(dial);
    note_agreement(dial);
    set_patience(dial, dial->config->limits.query_timeout);
    ask_one(dial);
}

/* ---- answers ---- */

static void take_first(struct probe_dial *dial, const struct dns_answer *answer)
{
    struct probe_result *result = dial->result;
    result->rcode = answer->rcode;
    result->keepalive = answer->keepalive;
    result->is_padded = answer->padded;
    result->answer_size = answer->message.size;
    set_patience(dial, dial->config->limits.query_timeout);
}

static void take_single(struct probe_dial *dial, const struct dns_answer *answer)
{
    struct probe_result *result = dial->result;
    result->latency[result->answered++] = now_of(dial) - dial->asked_at;
    if (result->answered == 1) {
        take_first(dial, answer);
    }
    if (result->rcode != DNS_RCODE_NOERROR && result->rcode != DNS_RCODE_NXDOMAIN) {
        end(dial, "rcode");
    } else if (result->answered < PROBE_SINGLE) {
        ask_one(dial);
    } else {
        ask_together(dial);
    }
}

static void take_together(struct probe_dial *dial, unsigned index)
{
    struct probe_result *result = dial->result;
    result->answered_together++;
    result->together_time = now_of(dial) - dial->asked_at;
    result->is_out_of_order |= index < dial->last;
    dial->last = index;
    if (result->answered_together == PROBE_TOGETHER) {
        connect_again(dial);
    }
}

/* Whether it answers the question that went out under this number, for the first time. */
static bool is_awaited(const struct probe_dial *dial, unsigned index, const struct dns_answer *answer)
{
    uint8_t question[PROBE_NAME_MAX];
    if (index >= dial->asked || dial->is_answered[index]) {
        return false;
    }
    return dns_answer_matches(answer, span_of(question, probe_question(&dial->theme, index, question)));
}

static void on_message(struct stream *stream, struct span message)
{
    struct probe_dial *dial = container_of(stream, struct probe_dial, stream);
    struct dns_answer answer;
    unsigned index = (uint16_t)(bytes_get_u16(message.data) - dial->first_id);
    int error = dns_answer_read(message, &answer);
    if (error != 0 || !is_awaited(dial, index, &answer)) {
        dial->trouble = error == ERROR_MALFORMED ? "malformed" : "mismatch";
        return;
    }
    dial->is_answered[index] = true;
    if (dial->stage == PROBE_ASKING) {
        take_single(dial, &answer);
    } else {
        take_together(dial, index);
    }
}

/* ---- what goes wrong ---- */

/* A server that closes after some answers works. */
static void on_closed(struct stream *stream, int error)
{
    struct probe_dial *dial = container_of(stream, struct probe_dial, stream);
    if (dial->stage == PROBE_CONNECTING_AGAIN) {
        end(dial, NULL);
        return;
    }
    note_connection(dial);
    if (dial->result->answered > 0) {
        connect_again(dial);
    } else if (dial->stage == PROBE_CONNECTING || error == ERROR_TLS) {
        end(dial, stream_reason_word(error, stream_failure(stream)));
    } else {
        end(dial, dial->trouble != NULL ? dial->trouble : "hung_up");
    }
}

static void on_ended(struct stream *stream)
{
    on_closed(stream, ERROR_CLOSED);
}

static const struct stream_handler handler = {
    .opened = on_opened,
    .message = on_message,
    .ended = on_ended,
    .closed = on_closed,
};

static void connecting_takes_long(struct probe_dial *dial)
{
    uint64_t handshake_end =
        dial->begun_at + dial->config->upstream.connect_timeout + dial->config->upstream.handshake_timeout;
    if (!stream_is_connected(&dial->stream)) {
        end(dial, "connect_timeout");
    } else if (now_of(dial) < handshake_end) {
        event_timer_set(dial->shop->loop, &dial->timer, handshake_end);
    } else {
        note_connection(dial);
        end(dial, "handshake_timeout");
    }
}

static void on_timer(struct event_timer *timer)
{
    struct probe_dial *dial = container_of(timer, struct probe_dial, timer);
    if (dial->stage == PROBE_CONNECTING) {
        connecting_takes_long(dial);
    } else if (dial->result->answered > 0) {
        end(dial, NULL);
    } else {
        end(dial, dial->trouble != NULL ? dial->trouble : "no_answer");
    }
}

void probe_dial_begin(struct probe_dial *dial)
{
    dial->stage = PROBE_CONNECTING;
    dial->handler = &handler;
    dial->begun_at = now_of(dial);
    event_timer_init(&dial->timer, on_timer);
    event_after_init(&dial->ending, on_ending);
    set_patience(dial, dial->config->upstream.connect_timeout);
    int error = stream_connect(&dial->stream, dial->shop, &dial->result->upstream->address, dial->client,
                               dial->handler);
    if (error != 0) {
        end(dial, stream_reason_word(error, NULL));
    }
}
