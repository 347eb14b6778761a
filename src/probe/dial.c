/*
 * One server, dialled: a connection, questions one after the other, questions at once, and with TLS a second
 * connection for the session. One of UDP is left to datagram.c. A server that gives one good answer works;
 * what it does not do after that is told, and is no failure. Called by probe.c.
 */
#include <assert.h>

#include "base/error.h"

#include "net/net.h"

#include "probe/internal.h"

static uint64_t now_of(const struct probe_dial *dial)
{
    return event_now(dial->shop->loop);
}

void probe_dial_wait(struct probe_dial *dial, uint64_t most)
{
    event_timer_set(dial->shop->loop, &dial->timer, now_of(dial) + most);
}

/* ---- the end ---- */

static void on_ending(struct event_after *after)
{
    struct probe_dial *dial = container_of(after, struct probe_dial, ending);
    dial->done(dial);
}

void probe_dial_end(struct probe_dial *dial, const char *reason)
{
    dial->result->reason = reason;
    dial->stage = PROBE_DONE;
    event_timer_clear(&dial->timer);
    stream_close(&dial->stream);
    probe_datagram_close(dial);
    event_after_add(dial->shop->loop, &dial->ending);
}

/* ---- what is known of the server ---- */

void probe_dial_note_connection(struct probe_dial *dial)
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

static bool is_tls(const struct probe_dial *dial)
{
    return dial->result->upstream->transport == CONFIG_TLS;
}

/* As it is asked while the program serves: no padding in clear text, and over UDP nothing to keep alive. */
size_t probe_dial_write(struct probe_dial *dial, unsigned index, uint8_t out[DNS_QUERY_MAX])
{
    uint8_t question[PROBE_NAME_MAX];
    size_t size = 0;
    struct dns_question_form form = {
        .question = span_of(question, probe_question(&dial->theme, index, question)),
        .rd = true,
        .keepalive = dial->result->upstream->transport != CONFIG_UDP,
        .padding_block = is_tls(dial) ? (size_t)dial->config->tls.padding : 0,
    };
    int error = dns_query_write(&form, out, DNS_QUERY_MAX, &size);
    assert(error == 0);
    bytes_put_u16(out, (uint16_t)(dial->first_id + index));
    return size;
}

void probe_dial_ask_in_stream(struct probe_dial *dial)
{
    uint8_t message[DNS_QUERY_MAX];
    size_t size = probe_dial_write(dial, dial->asked++, message);
    /* A stream that takes nothing any more says so by itself. */
    (void)stream_send(&dial->stream, span_of(message, size));
}

static void ask_one(struct probe_dial *dial)
{
    dial->stage = PROBE_ASKING;
    dial->asked_at = now_of(dial);
    probe_dial_ask_in_stream(dial);
}

static void ask_together(struct probe_dial *dial)
{
    dial->stage = PROBE_ASKING_TOGETHER;
    dial->asked_at = now_of(dial);
    dial->last = dial->asked;
    while (dial->asked < PROBE_QUESTIONS) {
        probe_dial_ask_in_stream(dial);
    }
}

/* ---- connecting ---- */

/* For the session alone. Where it does not come about there is less to tell. */
static void connect_again(struct probe_dial *dial)
{
    if (!is_tls(dial)) {
        probe_dial_end(dial, NULL);
        return;
    }
    dial->stage = PROBE_CONNECTING_AGAIN;
    stream_close(&dial->stream);
    if (stream_connect(&dial->stream, dial->shop, &dial->result->upstream->address, dial->client,
                       dial->handler) != 0) {
        probe_dial_end(dial, NULL);
    }
}

static void on_opened(struct stream *stream)
{
    struct probe_dial *dial = container_of(stream, struct probe_dial, stream);
    if (dial->stage == PROBE_CONNECTING_AGAIN) {
        dial->result->resumption = stream_resumed(stream) ? PROBE_RESUMED : PROBE_NOT_RESUMED;
        probe_dial_end(dial, NULL);
        return;
    }
    probe_dial_note_connection(dial);
    if (is_tls(dial)) {
        note_agreement(dial);
    }
    probe_dial_wait(dial, dial->config->limits.query_timeout);
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
}

bool probe_dial_take(struct probe_dial *dial, const struct dns_answer *answer)
{
    struct probe_result *result = dial->result;
    result->latency[result->answered++] = now_of(dial) - dial->asked_at;
    if (result->answered == 1) {
        take_first(dial, answer);
    }
    return result->rcode == DNS_RCODE_NOERROR || result->rcode == DNS_RCODE_NXDOMAIN;
}

static void take_single(struct probe_dial *dial, const struct dns_answer *answer)
{
    const struct probe_result *result = dial->result;
    bool is_good = probe_dial_take(dial, answer);
    if (result->answered == 1) {
        probe_dial_wait(dial, dial->config->limits.query_timeout);
    }
    if (!is_good) {
        probe_dial_end(dial, "rcode");
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

int probe_dial_read(struct probe_dial *dial, struct span message, struct dns_answer *out)
{
    int error = dns_answer_read(message, out);
    if (error != 0 && error != ERROR_INVALID) {
        dial->trouble = "malformed";
        return error;
    }
    unsigned index = (uint16_t)(bytes_get_u16(message.data) - dial->first_id);
    if (error != 0 || !is_awaited(dial, index, out)) {
        dial->trouble = "mismatch";
        return ERROR_INVALID;
    }
    dial->is_answered[index] = true;
    return (int)index;
}

static void on_message(struct stream *stream, struct span message)
{
    struct probe_dial *dial = container_of(stream, struct probe_dial, stream);
    struct dns_answer answer;
    int index = probe_dial_read(dial, message, &answer);
    if (index < 0) {
        return;
    }
    if (dial->stage == PROBE_ASKING) {
        take_single(dial, &answer);
    } else {
        take_together(dial, (unsigned)index);
    }
}

/* ---- what goes wrong ---- */

/* A server that closes after some answers works. */
static void on_closed(struct stream *stream, int error)
{
    struct probe_dial *dial = container_of(stream, struct probe_dial, stream);
    if (dial->stage == PROBE_CONNECTING_AGAIN) {
        probe_dial_end(dial, NULL);
        return;
    }
    probe_dial_note_connection(dial);
    if (dial->result->answered > 0) {
        connect_again(dial);
    } else if (dial->stage == PROBE_CONNECTING || error == ERROR_TLS) {
        probe_dial_end(dial, stream_reason_word(error, stream_failure(stream)));
    } else {
        probe_dial_end(dial, dial->trouble != NULL ? dial->trouble : "hung_up");
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
        probe_dial_end(dial, "connect_timeout");
    } else if (now_of(dial) < handshake_end) {
        event_timer_set(dial->shop->loop, &dial->timer, handshake_end);
    } else {
        probe_dial_note_connection(dial);
        probe_dial_end(dial, "handshake_timeout");
    }
}

static void on_timer(struct event_timer *timer)
{
    struct probe_dial *dial = container_of(timer, struct probe_dial, timer);
    if (dial->stage == PROBE_CONNECTING) {
        connecting_takes_long(dial);
    } else if (dial->result->upstream->transport == CONFIG_UDP) {
        probe_datagram_time_over(dial);
    } else if (dial->result->answered > 0) {
        probe_dial_end(dial, NULL);
    } else {
        probe_dial_end(dial, dial->trouble != NULL ? dial->trouble : "no_answer");
    }
}

void probe_dial_begin(struct probe_dial *dial)
{
    event_timer_init(&dial->timer, on_timer);
    event_after_init(&dial->ending, on_ending);
    if (dial->result->upstream->transport == CONFIG_UDP) {
        probe_datagram_begin(dial);
        return;
    }
    dial->stage = PROBE_CONNECTING;
    dial->handler = &handler;
    dial->begun_at = now_of(dial);
    probe_dial_wait(dial, dial->config->upstream.connect_timeout);
    int error = stream_connect(&dial->stream, dial->shop, &dial->result->upstream->address, dial->client,
                               dial->handler);
    if (error != 0) {
        probe_dial_end(dial, stream_reason_word(error, NULL));
    }
}
