/*
 * The upstream's streams: the input says what clients ask, what servers send, when links open and close and
 * how the time goes by. The rooms below upstream that would touch the world (event, stream) are played here,
 * with a clock of their own. Whatever the servers do: each question is done exactly once, at the latest at
 * its deadline, never from inside the call that asks it, never with an answer to another question; an id that
 * may still be answered is never given to a second question; nothing stays behind.
 */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#include "dns/dns.h"
#include "event/event.h"
#include "metrics/metrics.h"

#include "stream/stream.h"

#include "upstream/upstream.h"

#include "played_loop.h"
#include "target.h"

enum { SERVERS = 3, ASKS = 24, NAMES = 4, STREAMS = 64, SENT_MAX = 256, INPUT_MAX = 4096 };

#define DEADLINE (4500 * CLOCK_MILLISECOND)

/* ---- streams that are played ---- */

struct sent {
    uint16_t id;
    uint8_t question[DNS_QUESTION_MAX];
    size_t question_size;
    bool answered;
};

struct wire {
    struct stream *stream; /* NULL once it is closed */
    bool open;
    uint8_t input[INPUT_MAX];
    size_t input_size;
    struct sent sent[SENT_MAX];
    size_t sent_count;
};

static struct wire wires[STREAMS];
static size_t wire_count;
static bool connect_fails, send_fails;

static struct wire *wire_of(const struct stream *stream)
{
    for (size_t i = 0; i < wire_count; i++) {
        if (wires[i].stream == stream) {
            return &wires[i];
        }
    }
    return NULL;
}

int stream_connect(struct stream *stream, struct stream_shop *shop, const struct address *remote,
                   struct tls_client *client, const struct stream_handler *handler)
{
    (void)remote;
    (void)client;
    if (connect_fails || wire_count == STREAMS) {
        return ERROR_UNREACHABLE;
    }
    *stream = (struct stream){.handler = handler, .shop = shop};
    memset(&wires[wire_count], 0, sizeof wires[wire_count]);
    wires[wire_count++].stream = stream;
    return 0;
}

void stream_limit_output(struct stream *stream, size_t bytes)
{
    must(wire_of(stream) != NULL && bytes > DNS_MESSAGE_MAX);
}

/* No id goes out a second time while its answer may still come. */
int stream_send(struct stream *stream, struct span message)
{
    struct wire *wire = wire_of(stream);
    must(wire != NULL && wire->open && message.size > DNS_HEADER_SIZE);
    if (send_fails || wire->sent_count == SENT_MAX) {
        return ERROR_EXHAUSTED;
    }
    struct sent *sent = &wire->sent[wire->sent_count++];
    *sent = (struct sent){.id = bytes_get_u16(message.data)};
    for (size_t i = 0; i + 1 < wire->sent_count; i++) {
        must(wire->sent[i].answered || wire->sent[i].id != sent->id);
    }
    size_t name;
    must(dns_name_size(span_of(message.data + DNS_HEADER_SIZE, message.size - DNS_HEADER_SIZE), &name) == 0);
    sent->question_size = name + 4;
    memcpy(sent->question, message.data + DNS_HEADER_SIZE, sent->question_size);
    stream->records++;
    return 0;
}

bool stream_path_is_dead(struct stream *stream, uint64_t least)
{
    (void)stream;
    (void)least;
    return false;
}

void stream_limit_silence(struct stream *stream, uint64_t limit)
{
    (void)stream;
    (void)limit;
}

bool stream_is_connected(const struct stream *stream)
{
    return wire_of(stream)->open;
}

const struct tls_failure *stream_failure(const struct stream *stream)
{
    must(wire_of(stream) != NULL);
    return NULL;
}

bool stream_resumed(const struct stream *stream)
{
    return stream->client != NULL;
}

bool stream_is_undated(const struct stream *stream)
{
    (void)stream;
    return false;
}

const char *stream_version(const struct stream *stream)
{
    return stream->client != NULL ? "TLSv1.3" : "";
}

void stream_close(struct stream *stream)
{
    struct wire *wire = wire_of(stream);
    must(wire != NULL);
    wire->stream = NULL;
}

/* Makes room for new wires, between turns. */
static void sweep(void)
{
    for (size_t i = 0; i < wire_count;) {
        if (wires[i].stream != NULL) {
            i++;
        } else {
            wires[i] = wires[--wire_count];
        }
    }
}

/* ---- questions ---- */

struct asked {
    struct upstream_ask ask;
    bool used, inside, answered;
    uint8_t message[64];
};

static struct asked asked[ASKS];
static struct upstream_pool *pool;

static size_t write_question(uint8_t *out, unsigned name)
{
    static const uint8_t head[DNS_HEADER_SIZE] = {0, 0, 1, 0x20, 0, 1};
    static const uint8_t rest[] = {7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1};
    memcpy(out, head, sizeof head);
    memcpy(out + sizeof head, rest, sizeof rest);
    out[sizeof head + 1] = (uint8_t)('a' + name);
    return sizeof head + sizeof rest;
}

static void on_done(struct upstream_ask *ask, const struct upstream_result *result)
{
    struct asked *question = container_of(ask, struct asked, ask);
    must(question->used && !question->inside && loop.now <= ask->deadline);
    question->used = false;
    question->answered = result->error == 0;
    if (result->error == 0) {
        must(dns_answer_matches(result->answer, ask->question) && result->server != NULL);
    } else {
        must(result->error == ERROR_TIMEOUT && result->answer == NULL && result->reason != NULL);
    }
    memset(&question->ask, 0xa5, sizeof question->ask);
}

static void ask_one(unsigned name)
{
    for (size_t i = 0; i < ASKS; i++) {
        struct asked *question = &asked[i];
        if (question->used) {
            continue;
        }
        *question = (struct asked){.used = true, .inside = true};
        question->ask.message = question->message;
        question->ask.message_size = write_question(question->message, name % NAMES);
        question->ask.question =
            span_of(question->message + DNS_HEADER_SIZE, question->ask.message_size - DNS_HEADER_SIZE);
        question->ask.deadline = loop.now + DEADLINE;
        question->ask.done = on_done;
        upstream_ask(pool, &question->ask);
        question->inside = false;
        return;
    }
}

static void forget_one(unsigned number)
{
    struct asked *question = &asked[number % ASKS];
    if (question->used) {
        upstream_forget(&question->ask);
        memset(question, 0xa5, sizeof *question);
        question->used = false;
    }
}

/* ---- what servers do ---- */

static void note_answered(struct wire *wire, struct span message)
{
    struct dns_answer answer;
    for (size_t i = 0; i < wire->sent_count; i++) {
        struct sent *sent = &wire->sent[i];
        if (!sent->answered && message.size >= 2 && sent->id == bytes_get_u16(message.data) &&
            dns_answer_read(message, &answer) != ERROR_INVALID) {
            sent->answered = true;
        }
    }
}

/* Hands out the whole messages that lie in the wire's input, as a stream does. */
static void deliver(struct wire *wire)
{
    struct stream *stream = wire->stream;
    for (;;) {
        struct span message;
        size_t used;
        int error = dns_frame_next(span_of(wire->input, wire->input_size), &message, &used);
        if (error == ERROR_SHORT) {
            return;
        }
        if (error != 0) {
            stream->handler->closed(stream, ERROR_MALFORMED);
            must(wire->stream == NULL);
            return;
        }
        uint8_t *copy = malloc(message.size);
        must(copy != NULL);
        memcpy(copy, message.data, message.size);
        wire->input_size -= used;
        memmove(wire->input, wire->input + used, wire->input_size);
        stream->read_at = loop.now;
        note_answered(wire, span_of(copy, message.size));
        stream->handler->message(stream, span_of(copy, message.size));
        free(copy);
        if (wire->stream == NULL) {
            return;
        }
    }
}

static void receive(struct wire *wire, struct span bytes)
{
    size_t room = sizeof wire->input - wire->input_size;
    size_t size = bytes.size < room ? bytes.size : room;
    if (size > 0) {
        memcpy(wire->input + wire->input_size, bytes.data, size);
    }
    wire->input_size += size;
    deliver(wire);
}

/* An answer to something that was sent, right but for what `how` spoils. */
static void answer(struct wire *wire, unsigned number, uint8_t how)
{
    if (wire->sent_count == 0) {
        return;
    }
    const struct sent *sent = &wire->sent[number % wire->sent_count];
    uint8_t frame[2 + DNS_HEADER_SIZE + DNS_QUESTION_MAX] = {0};
    size_t size = DNS_HEADER_SIZE + sent->question_size;
    bytes_put_u16(frame, (uint16_t)(how & 0x80 ? size - 1 : size));
    bytes_put_u16(frame + 2, (uint16_t)(sent->id ^ (how & 0x40 ? 1 : 0)));
    frame[4] = (uint8_t)((how & 0x20 ? 0x01 : 0x81) | (how & 0x10 ? 2 : 0));
    frame[5] = how & 0x07;
    frame[7] = 1;
    memcpy(frame + 2 + DNS_HEADER_SIZE, sent->question, sent->question_size);
    frame[2 + DNS_HEADER_SIZE + 1] ^= how & 0x08;
    receive(wire, span_of(frame, 2 + size));
}

static void open_wire(struct wire *wire)
{
    if (!wire->open) {
        wire->open = true;
        wire->stream->read_at = loop.now;
        wire->stream->handler->opened(wire->stream);
    }
}

static void close_wire(struct wire *wire, uint8_t how)
{
    static const int errors[] = {ERROR_RESET, ERROR_CLOSED, ERROR_TLS, ERROR_REFUSED};
    if (wire->open && how % 5 == 4) {
        wire->stream->handler->ended(wire->stream);
    } else {
        wire->stream->handler->closed(wire->stream, errors[how % 4]);
    }
    must(wire->stream == NULL);
}

/* One of the wires that are there, or NULL. */
static struct wire *choose_wire(unsigned number)
{
    unsigned there = 0;
    for (size_t i = 0; i < wire_count; i++) {
        there += wires[i].stream != NULL;
    }
    unsigned left = there > 0 ? number % there : 0;
    for (size_t i = 0; i < wire_count; i++) {
        if (wires[i].stream != NULL && left-- == 0) {
            return &wires[i];
        }
    }
    return NULL;
}

/* ---- the play ---- */

static void act_on_wire(struct wire *wire, uint8_t act, struct bytes_reader *input)
{
    uint8_t argument = bytes_read_u8(input);
    if (act == 2) {
        open_wire(wire);
    } else if (act == 3) {
        close_wire(wire, argument);
    } else if (wire->open && act == 4) {
        answer(wire, argument, bytes_read_u8(input));
    } else if (wire->open) {
        size_t size = argument % 64 < bytes_left(input) ? argument % 64 : bytes_left(input);
        receive(wire, bytes_read(input, size));
    }
}

static void act(struct bytes_reader *input)
{
    uint8_t byte = bytes_read_u8(input);
    struct wire *wire;
    switch (byte % 8) {
    case 0:
        ask_one(byte >> 3);
        break;
    case 1:
        pass_time((uint64_t)(byte >> 3) * 50 * CLOCK_MILLISECOND);
        break;
    case 6:
        forget_one(byte >> 3);
        break;
    case 7:
        connect_fails = (byte & 0x08) != 0;
        send_fails = (byte & 0x10) != 0;
        break;
    default:
        wire = choose_wire(byte >> 3);
        if (wire != NULL) {
            act_on_wire(wire, byte % 8, input);
        }
    }
    end_turn();
    sweep();
}

static void behave(struct wire *wire)
{
    if (wire->stream != NULL) {
        open_wire(wire);
    }
    wire->input_size = 0;
    for (size_t k = 0; wire->stream != NULL && k < wire->sent_count; k++) {
        if (!wire->sent[k].answered) {
            answer(wire, (unsigned)k, 0);
        }
    }
}

/* Servers that failed are looked at again within the question's time, or it would go without an answer. */
static void recover(void)
{
    connect_fails = send_fails = false;
    pass_time(DEADLINE);
    sweep();
    ask_one(0);
    for (unsigned i = 0; i < 90 && asked[0].used; i++) {
        for (size_t k = 0; k < wire_count && asked[0].used; k++) {
            behave(&wires[k]);
            end_turn();
        }
        pass_time(50 * CLOCK_MILLISECOND);
        sweep();
    }
    must(asked[0].answered);
}

static uint64_t wall(void)
{
    return 0;
}

static struct metrics *metrics;
static struct log quiet;

static void open_pool(struct random *random, uint8_t sizes)
{
    static uint8_t ring[4096];
    if (metrics == NULL) {
        int descriptor;
        must(metrics_open(1, &metrics, &descriptor) == 0);
    }
    log_init(&quiet, LOG_ERROR, ring, sizeof ring);
    static const struct upstream_server_options servers[SERVERS] = {
        {.label = "one",
         .transport = UPSTREAM_TCP,
         .addresses = {2, {{.family = AF_INET6}, {.family = AF_INET}}}},
        {.label = "two", .transport = UPSTREAM_TCP, .addresses = {1, {{.family = AF_INET}}}},
        {.label = "three", .transport = UPSTREAM_TCP, .addresses = {1, {{.family = AF_INET}}}}};
    struct upstream_options options = {
        .attempt_timeout = 1500 * CLOCK_MILLISECOND,
        .connect_timeout = 1500 * CLOCK_MILLISECOND,
        .handshake_timeout = 2500 * CLOCK_MILLISECOND,
        .refused_retry = 250 * CLOCK_MILLISECOND,
        .backoff_min = 250 * CLOCK_MILLISECOND,
        .backoff_max = 30 * CLOCK_SECOND,
        .handshakes_per_second = 5,
        .in_flight = 1 + sizes % 8,
        .links = 1 + sizes % 3,
        .max_age = 600 * CLOCK_SECOND,
        .warm = 600 * CLOCK_SECOND,
        .servers = servers,
        .server_count = 1 + sizes / 8 % SERVERS,
    };
    struct upstream_surroundings around = {
        .loop = &loop, .random = random, .log = &quiet, .metrics = &metrics->worker[0], .wall = wall};
    must(upstream_pool_open(&options, &around, &pool) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes_reader input = bytes_reader_of(span_of(data, size));
    struct random random;
    random_init_repeatable(&random, bytes_read_u8(&input));
    loop.now = 1000 * CLOCK_SECOND;
    list_init(&loop.timers);
    list_init(&loop.after);
    wire_count = 0;
    connect_fails = send_fails = false;
    memset(asked, 0, sizeof asked);
    open_pool(&random, bytes_read_u8(&input));
    while (bytes_left(&input) > 0) {
        act(&input);
    }
    recover();
    for (size_t i = 0; i < ASKS; i++) {
        must(!asked[i].used);
    }
    upstream_pool_close(pool);
    must(list_empty(&loop.timers) && list_empty(&loop.after));
    for (size_t i = 0; i < wire_count; i++) {
        must(wires[i].stream == NULL);
    }
    return 0;
}
