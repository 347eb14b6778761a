/*
 * The client of a run: it knows what each answer has to say, and holds every query against it. An answer is
 * right, a SERVFAIL, or was dropped and counted; anything else is trouble.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

#include "dns/dns.h"

#include "run.h"

/* An answer comes within limits.query_timeout, and some time for a busy machine. */
enum {
    PATIENCE = 4500 + 2500,
    FORGET_PATIENCE = 5000,
    PENDING_PATIENCE = 100,
    QUIET = 300,
    LOOK = 10,
    DATAGRAM_MAX = 4096,
    ID_BASE = 0x5a00,
    RECORD_SIZE = 16
};

static const char *state_words[] = {"out", "right", "servfail", "dropped", "left"};

/* ---- what an answer must say ---- */

static void settle(struct run *run, struct asked *asked, enum asked_state state)
{
    if (run->strict && state != ASKED_RIGHT && state != ASKED_LEFT) {
        run_trouble(run, "%s-%u got %s when all faults were over", far_words[asked->manner],
                    (unsigned)(asked - run->asked), state_words[state]);
    }
    asked->state = state;
    run->counts[state]++;
}

static const char *judge_records(const struct asked *asked, unsigned number, struct span answer)
{
    size_t at = DNS_HEADER_SIZE + asked->question_size;
    unsigned count = bytes_get_u16(answer.data + 6), owed = far_records(asked->manner);
    bool cut = (answer.data[2] & 2) != 0;
    if (cut != (asked->connection < 0 && owed > 1) || (!cut && count != owed)) {
        return "another number of records";
    }
    if (answer.size < at + (size_t)count * RECORD_SIZE) {
        return "records that are not there";
    }
    for (unsigned i = 0; i < count; i++) {
        if (bytes_get_u32(answer.data + at + (i + 1) * RECORD_SIZE - 4) != far_address(number, i)) {
            return "another address";
        }
    }
    return NULL;
}

/* What is wrong with it, or NULL. */
static const char *judge(const struct asked *asked, unsigned number, struct span answer)
{
    if ((answer.data[2] & 0x80) == 0) {
        return "no answer";
    }
    if (bytes_get_u16(answer.data + 4) != 1 || answer.size < DNS_HEADER_SIZE + asked->question_size ||
        memcmp(answer.data + DNS_HEADER_SIZE, asked->question, asked->question_size) != 0) {
        return "another question";
    }
    unsigned rcode = answer.data[3] & 15;
    if (rcode == DNS_RCODE_SERVFAIL) {
        return bytes_get_u16(answer.data + 6) == 0 ? NULL : "a failure with records";
    }
    return rcode == DNS_RCODE_NOERROR ? judge_records(asked, number, answer) : "another code";
}

static void take_answer(struct run *run, int connection, struct span answer)
{
    unsigned number =
        answer.size < DNS_HEADER_SIZE ? ASKED_MAX : (unsigned)bytes_get_u16(answer.data) - ID_BASE;
    if (number >= run->asked_count || run->asked[number].connection != connection) {
        run_trouble(run, "an answer to nothing");
        return;
    }
    struct asked *asked = &run->asked[number];
    const char *wrong = asked->state == ASKED_OUT ? judge(asked, number, answer) : "a second answer";
    if (wrong != NULL) {
        run_trouble(run, "%s-%u got %s", far_words[asked->manner], number, wrong);
        return;
    }
    settle(run, asked, (answer.data[3] & 15) == DNS_RCODE_NOERROR ? ASKED_RIGHT : ASKED_FAILED);
}

/* ---- asking ---- */

static size_t write_query(struct run *run, enum far_manner manner, int connection, uint8_t *out)
{
    static const uint8_t rest[] = {3, 'F', 'a', 'r', 0, 0, 1, 0, 1};
    unsigned number = run->asked_count++;
    struct asked *asked = &run->asked[number];
    *asked = (struct asked){.manner = manner, .connection = connection};
    int label =
        snprintf((char *)asked->question + 1, QUESTION_MAX - sizeof rest, "%s-%u", far_words[manner], number);
    asked->question[0] = (uint8_t)label;
    memcpy(asked->question + 1 + label, rest, sizeof rest);
    asked->question_size = 1 + (size_t)label + sizeof rest;
    static const uint8_t head[DNS_HEADER_SIZE] = {0, 0, 1, 0, 0, 1};
    memcpy(out, head, sizeof head);
    bytes_put_u16(out, (uint16_t)(ID_BASE + number));
    memcpy(out + sizeof head, asked->question, asked->question_size);
    return sizeof head + asked->question_size;
}

void client_ask(struct run *run, enum far_manner manner, unsigned count)
{
    uint8_t query[DATAGRAM_MAX];
    for (unsigned i = 0; i < count; i++) {
        size_t size = write_query(run, manner, -1, query);
        if (send(run->udp, query, size, 0) != (ssize_t)size) {
            run_trouble(run, "the client cannot send: %s", strerror(errno));
        }
    }
}

void client_ask_over(struct run *run, int connection, enum far_manner manner, unsigned count)
{
    uint8_t queries[ASKED_MAX * 64];
    unsigned first = run->asked_count;
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t size = write_query(run, manner, connection, queries + at + 2);
        bytes_put_u16(queries + at, (uint16_t)size);
        at += 2 + size;
    }
    int descriptor = run->connections[connection].descriptor;
    if (descriptor < 0 || send(descriptor, queries, at, MSG_NOSIGNAL) != (ssize_t)at) {
        /* The engine has closed it: whether that is counted is looked at where the close is seen. */
        for (unsigned i = first; i < run->asked_count; i++) {
            settle(run, &run->asked[i], ASKED_DROPPED);
        }
    }
}

static struct sockaddr_in name_of(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

void client_connect(struct run *run, int connection)
{
    struct sockaddr_in name = name_of(run->port[1]);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(descriptor, (struct sockaddr *)&name, sizeof name) != 0) {
        run_trouble(run, "the client cannot connect: %s", strerror(errno));
    }
    run->connections[connection].descriptor = descriptor;
    run->connections[connection].size = 0;
}

/* ---- drops, which must be counted ---- */

static uint64_t sum(const struct run *run, const enum metrics_meter *meters, size_t count)
{
    uint64_t all = 0;
    for (size_t i = 0; i < count; i++) {
        all += metrics_sum(run->metrics, meters[i]);
    }
    return all;
}

static uint64_t count_drops(const struct run *run)
{
    static const enum metrics_meter meters[] = {METRICS_DROPPED_SEND, METRICS_DROPPED_OUTPUT,
                                                METRICS_DROPPED_LATE};
    return sum(run, meters, sizeof meters / sizeof meters[0]);
}

static uint64_t count_closes(const struct run *run)
{
    static const enum metrics_meter meters[] = {
        METRICS_TCP_CLOSES_RESET,        METRICS_TCP_CLOSES_MEMORY,   METRICS_TCP_CLOSES_LIMIT,
        METRICS_TCP_CLOSES_CLIENT_LIMIT, METRICS_TCP_CLOSES_PRESSURE, METRICS_TCP_CLOSES_DRAIN,
    };
    return sum(run, meters, sizeof meters / sizeof meters[0]);
}

static void settle_all(struct run *run, int connection, enum asked_state state)
{
    for (unsigned i = 0; i < run->asked_count; i++) {
        if (run->asked[i].state == ASKED_OUT && run->asked[i].connection == connection) {
            settle(run, &run->asked[i], state);
        }
    }
}

static unsigned count_out(const struct run *run)
{
    unsigned count = 0;
    for (unsigned i = 0; i < run->asked_count; i++) {
        count += run->asked[i].state == ASKED_OUT;
    }
    return count;
}

/* Nothing waits inside and as much was dropped as has no answer, for some time: else a question that is not
 * read yet would be taken for one of those, when answers to somebody who has left were dropped. */
static bool is_quiet(struct run *run, unsigned out)
{
    uint64_t drops = count_drops(run) - run->drops_seen, now = clock_monotonic();
    if (out == 0 || drops < out || metrics_sum(run->metrics, METRICS_PENDING) > 0) {
        run->quiet_since = 0;
    } else if (run->quiet_since == 0) {
        run->quiet_since = now;
    }
    return run->quiet_since != 0 && now - run->quiet_since > (uint64_t)run_scaled(QUIET) * CLOCK_MILLISECOND;
}

/* What has no answer then must have been counted. */
static void look_for_drops(struct run *run)
{
    unsigned out = count_out(run);
    if (!is_quiet(run, out)) {
        return;
    }
    run->drops_seen += out;
    for (unsigned i = 0; i < run->asked_count; i++) {
        if (run->asked[i].state == ASKED_OUT) {
            settle(run, &run->asked[i], ASKED_DROPPED);
        }
    }
}

static void see_close(struct run *run, int connection)
{
    unsigned before = run->counts[ASKED_DROPPED];
    close(run->connections[connection].descriptor);
    run->connections[connection].descriptor = -1;
    settle_all(run, connection, ASKED_DROPPED);
    if (run->counts[ASKED_DROPPED] != before && count_closes(run) <= run->closes_seen++) {
        run_trouble(run, "a connection was closed under its questions, and nothing counts it");
    }
}

/* ---- receiving ---- */

static void receive_datagrams(struct run *run)
{
    uint8_t datagram[DATAGRAM_MAX];
    ssize_t size;
    while ((size = recv(run->udp, datagram, sizeof datagram, MSG_DONTWAIT)) >= 0) {
        take_answer(run, -1, span_of(datagram, (size_t)size));
    }
    if (errno == ECONNREFUSED) {
        run_trouble(run, "the port is closed");
    }
}

static void receive_stream(struct run *run, int number)
{
    struct connection *connection = &run->connections[number];
    ssize_t size = recv(connection->descriptor, connection->bytes + connection->size,
                        sizeof connection->bytes - connection->size, MSG_DONTWAIT);
    if (size <= 0) {
        if (size == 0 || errno != EAGAIN) {
            see_close(run, number);
        }
        return;
    }
    connection->size += (size_t)size;
    size_t at = 0;
    while (connection->size - at >= 2) {
        size_t frame = 2u + bytes_get_u16(connection->bytes + at);
        if (connection->size - at < frame) {
            break;
        }
        take_answer(run, number, span_of(connection->bytes + at + 2, frame - 2));
        at += frame;
    }
    memmove(connection->bytes, connection->bytes + at, connection->size - at);
    connection->size -= at;
}

/* Takes what comes within `patience`; false when nothing came. */
static bool receive(struct run *run, int patience)
{
    struct pollfd ready[1 + CONNECTIONS_MAX] = {{.fd = run->udp, .events = POLLIN}};
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        ready[1 + i] = (struct pollfd){.fd = run->connections[i].descriptor, .events = POLLIN};
    }
    if (poll(ready, 1 + CONNECTIONS_MAX, patience) <= 0) {
        return false;
    }
    if (ready[0].revents != 0) {
        receive_datagrams(run);
    }
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        if (ready[1 + i].revents != 0) {
            receive_stream(run, i);
        }
    }
    return true;
}

void client_await(struct run *run)
{
    uint64_t until = clock_monotonic() + (uint64_t)run_scaled(PATIENCE) * CLOCK_MILLISECOND;
    while (run->trouble[0] == '\0' && count_out(run) > 0) {
        if (receive(run, LOOK)) {
            run->quiet_since = 0;
        } else {
            look_for_drops(run);
        }
        if (clock_monotonic() > until) {
            run_trouble(run, "%u questions have no answer, and %ju drops were counted", count_out(run),
                        (uintmax_t)(count_drops(run) - run->drops_seen));
        }
    }
}

void client_idle(struct run *run, int milliseconds)
{
    uint64_t until = clock_monotonic() + (uint64_t)milliseconds * CLOCK_MILLISECOND;
    for (uint64_t now; (now = clock_monotonic()) < until && run->trouble[0] == '\0';) {
        receive(run, (int)((until - now) / CLOCK_MILLISECOND) + 1);
    }
}

void client_await_pending(struct run *run, unsigned count)
{
    uint64_t until = clock_monotonic() + (uint64_t)run_scaled(PENDING_PATIENCE) * CLOCK_MILLISECOND;
    do {
        client_idle(run, 2);
    } while (metrics_sum(run->metrics, METRICS_PENDING) < count && clock_monotonic() < until);
}

/* Else a drop for somebody who has left would be taken for one of those who ask later. */
void client_forget_drops(struct run *run)
{
    uint64_t until = clock_monotonic() + (uint64_t)run_scaled(FORGET_PATIENCE) * CLOCK_MILLISECOND;
    do {
        client_idle(run, 2);
    } while (metrics_sum(run->metrics, METRICS_PENDING) > 0 && clock_monotonic() < until);
    run->drops_seen = count_drops(run);
}

/* ---- leaving ---- */

void client_leave(struct run *run, int connection, bool with_reset)
{
    struct connection *left = &run->connections[connection];
    struct linger now = {.l_onoff = 1};
    if (left->descriptor < 0) {
        return;
    }
    if (with_reset) {
        setsockopt(left->descriptor, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    close(left->descriptor);
    left->descriptor = -1;
    settle_all(run, connection, ASKED_LEFT);
}

void client_half_close(struct run *run, int connection)
{
    if (run->connections[connection].descriptor >= 0) {
        shutdown(run->connections[connection].descriptor, SHUT_WR);
    }
}

void client_open(struct run *run)
{
    struct sockaddr_in name = name_of(run->port[0]);
    run->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (connect(run->udp, (struct sockaddr *)&name, sizeof name) != 0) {
        run_trouble(run, "the client cannot connect: %s", strerror(errno));
    }
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        run->connections[i].descriptor = -1;
    }
}

void client_close(struct run *run)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        client_leave(run, i, false);
    }
    close(run->udp);
}
