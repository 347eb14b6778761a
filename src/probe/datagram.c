/*
 * A server of UDP, asked: questions one after the other, each datagram from a socket of its own, and then one
 * question over TCP, which is where it is asked for what no datagram carries. A server that gives one good
 * answer works; what it does not do over TCP is told, and is no failure. Called by dial.c.
 */
#include "base/error.h"

#include "net/net.h"

#include "probe/internal.h"

/* The largest answer that is looked at: more than is asked for. */
enum { ROOM = 4096 };

static uint64_t now_of(const struct probe_dial *dial)
{
    return event_now(dial->shop->loop);
}

/* ---- over TCP ---- */

static void end_without_stream(struct probe_dial *dial, const char *reason)
{
    dial->result->stream_reason = reason;
    probe_dial_end(dial, NULL);
}

static void on_opened(struct stream *stream)
{
    struct probe_dial *dial = container_of(stream, struct probe_dial, stream);
    probe_dial_note_connection(dial);
    probe_dial_wait(dial, dial->config->upstream.attempt_timeout);
    probe_dial_ask_in_stream(dial);
}

static void on_message(struct stream *stream, struct span message)
{
    struct probe_dial *dial = container_of(stream, struct probe_dial, stream);
    struct dns_answer answer;
    if (probe_dial_read(dial, message, &answer) >= 0) {
        end_without_stream(dial, NULL);
    }
}

static void on_closed(struct stream *stream, int error)
{
    struct probe_dial *dial = container_of(stream, struct probe_dial, stream);
    end_without_stream(dial, dial->result->is_connected ? "hung_up" : stream_reason_word(error, NULL));
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

static void go_on_in_stream(struct probe_dial *dial)
{
    dial->stage = PROBE_ASKING_IN_STREAM;
    dial->begun_at = now_of(dial);
    dial->trouble = NULL;
    probe_dial_wait(dial, dial->config->upstream.connect_timeout);
    int error = stream_connect(&dial->stream, dial->shop, &dial->result->upstream->address, NULL, &handler);
    if (error != 0) {
        end_without_stream(dial, stream_reason_word(error, NULL));
    }
}

/* ---- over UDP ---- */

void probe_datagram_close(struct probe_dial *dial)
{
    if (dial->watch.loop != NULL) {
        int descriptor = dial->watch.descriptor;
        event_watch_remove(&dial->watch);
        net_close(descriptor);
    }
}

/* It worked before, or it does not. */
static void give_up(struct probe_dial *dial, const char *reason)
{
    probe_datagram_close(dial);
    if (dial->result->answered > 0) {
        go_on_in_stream(dial);
    } else {
        probe_dial_end(dial, reason);
    }
}

static void set_limit(struct probe_dial *dial)
{
    dial->give_up_at = now_of(dial) + dial->config->limits.query_timeout;
}

static int send_datagram(struct probe_dial *dial)
{
    uint8_t message[DNS_QUERY_MAX];
    size_t size = probe_dial_write(dial, dial->asked - 1, message);
    int descriptor;
    int error = net_datagram_open(&dial->result->upstream->address, 0, &descriptor);
    if (error != 0) {
        return error;
    }
    error = event_watch_add(dial->shop->loop, &dial->watch, descriptor, EVENT_READ);
    if (error != 0) {
        net_close(descriptor);
        return error;
    }
    error = net_datagram_send(descriptor, span_of(message, size));
    return error == ERROR_AGAIN ? 0 : error; /* as good as lost on the way */
}

/* The question that went out last, once more; another socket hears its answer. */
static void ask_again(struct probe_dial *dial)
{
    uint64_t patience = dial->config->upstream.attempt_timeout, left = dial->give_up_at - now_of(dial);
    probe_datagram_close(dial);
    dial->asked_at = now_of(dial);
    probe_dial_wait(dial, patience < left ? patience : left);
    int error = send_datagram(dial);
    if (error != 0) {
        give_up(dial, stream_reason_word(error, NULL));
    }
}

static void ask_next(struct probe_dial *dial)
{
    dial->asked++;
    ask_again(dial);
}

static void on_answer(struct probe_dial *dial, const struct dns_answer *answer)
{
    bool is_good = probe_dial_take(dial, answer);
    if (dial->result->answered == 1) {
        set_limit(dial);
    }
    if (!is_good) {
        probe_dial_end(dial, "rcode");
    } else if (dial->result->answered < PROBE_SINGLE) {
        ask_next(dial);
    } else {
        probe_datagram_close(dial);
        go_on_in_stream(dial);
    }
}

static void on_ready(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    struct probe_dial *dial = container_of(watch, struct probe_dial, watch);
    uint8_t room[ROOM];
    struct dns_answer answer;
    int size = net_datagram_receive(watch->descriptor, &dial->result->upstream->address, room, sizeof room);
    if (size >= 0) {
        if (probe_dial_read(dial, span_of(room, (size_t)size), &answer) >= 0) {
            on_answer(dial, &answer);
        }
    } else if (size != ERROR_AGAIN) {
        give_up(dial, stream_reason_word(size, NULL));
    }
}

void probe_datagram_begin(struct probe_dial *dial)
{
    dial->stage = PROBE_ASKING_IN_DATAGRAMS;
    dial->watch.ready = on_ready;
    set_limit(dial);
    ask_next(dial);
}

void probe_datagram_time_over(struct probe_dial *dial)
{
    if (dial->stage == PROBE_ASKING_IN_STREAM) {
        end_without_stream(dial, dial->result->is_connected ? "no_answer" : "connect_timeout");
    } else if (now_of(dial) < dial->give_up_at) {
        ask_again(dial);
    } else {
        give_up(dial, dial->trouble != NULL ? dial->trouble : "no_answer");
    }
}
