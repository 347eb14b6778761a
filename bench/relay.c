/*
 * The least that a forwarder from UDP to DNS over TLS can do: one connection, all queries of a turn in one
 * record, each sent in the size of a padded query, answers sent back by their id in one call. It checks the
 * server's certificate and nothing else, and keeps nothing. Its speed is the limit for dnseal's misses.
 * Started by run.py.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "secure.h"

enum {
    IDS = 65536,
    STREAM_SIZE = 65536,
    FRAMED_SIZE = 2 + BENCH_PADDED_SIZE,
    OPTION_PADDING = 12 /* RFC 7830 */
};

struct client {
    struct sockaddr_in address;
    uint16_t id;
};

struct relay {
    int clients_descriptor, server_descriptor;
    SSL *server;
    uint16_t next_id;
    size_t input_size;
    struct client clients[IDS];
    struct bench_batch from_clients, to_clients;
    uint8_t input[STREAM_SIZE];
    uint8_t output[BENCH_BATCH * FRAMED_SIZE];
};

/* ---- the connection to the server ---- */

static void connect_server(struct relay *relay, const struct sockaddr_in *address)
{
    relay->server_descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bench_tcp_options(relay->server_descriptor);
    if (connect(relay->server_descriptor, (const struct sockaddr *)address, sizeof *address) != 0) {
        bench_fail("connect");
    }
}

/* Of a read or write that did nothing. */
static void wait_or_give_up(ssize_t result)
{
    if (result == 0 || errno != EAGAIN) {
        fputs("bench: the server is gone\n", stderr);
        exit(EXIT_FAILURE);
    }
}

/* ---- clients to server ---- */

/* The client's question with an OPT record that fills it up. */
static void frame_padded(uint8_t *frame, const uint8_t *query, size_t question_end, uint16_t id)
{
    memset(frame, 0, FRAMED_SIZE);
    bench_put16(frame, BENCH_PADDED_SIZE);
    uint8_t *message = frame + 2;
    memcpy(message, query, question_end);
    bench_put16(message, id);
    bench_put16(message + 10, 1);
    uint8_t *opt = message + question_end;
    size_t options_size = BENCH_PADDED_SIZE - question_end - BENCH_OPT_SIZE;
    bench_put16(opt + 1, 41);
    bench_put16(opt + 3, 1232);
    bench_put16(opt + 9, (uint16_t)options_size);
    bench_put16(opt + 11, OPTION_PADDING);
    bench_put16(opt + 13, (uint16_t)(options_size - 4));
}

static void write_all(struct relay *relay, size_t size)
{
    size_t written = 0;
    while (written < size) {
        ssize_t result = secure_write(relay->server, relay->output + written, size - written);
        if (result > 0) {
            written += (size_t)result;
        } else {
            wait_or_give_up(result);
            struct pollfd ready = {.fd = relay->server_descriptor, .events = POLLOUT};
            (void)poll(&ready, 1, -1);
        }
    }
}

static void ask(struct relay *relay)
{
    struct bench_batch *batch = &relay->from_clients;
    size_t count = bench_batch_receive(batch, relay->clients_descriptor);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *query = batch->bytes[i];
        size_t question_end = bench_question_end(query, batch->messages[i].msg_len);
        if (question_end == 0 || question_end > BENCH_PADDED_SIZE - BENCH_OPT_SIZE - 4) {
            continue;
        }
        uint16_t id = relay->next_id++;
        relay->clients[id] = (struct client){.address = batch->peers[i], .id = bench_get16(query)};
        frame_padded(relay->output + size, query, question_end, id);
        size += FRAMED_SIZE;
    }
    write_all(relay, size);
}

/* ---- server to clients ---- */

static void put_answer(struct relay *relay, size_t slot, const uint8_t *message, size_t size)
{
    const struct client *client = &relay->clients[bench_get16(message)];
    struct bench_batch *batch = &relay->to_clients;
    memcpy(batch->bytes[slot], message, size);
    bench_put16(batch->bytes[slot], client->id);
    batch->peers[slot] = client->address;
    batch->parts[slot].iov_len = size;
}

static void deliver(struct relay *relay)
{
    size_t at = 0;
    size_t count = 0;
    while (relay->input_size - at >= 2) {
        size_t size = bench_get16(relay->input + at);
        if (size < BENCH_HEADER_SIZE || size > BENCH_DATAGRAM_MAX || relay->input_size - at < 2 + size) {
            break;
        }
        put_answer(relay, count, relay->input + at + 2, size);
        at += 2 + size;
        count++;
        if (count == BENCH_BATCH) {
            bench_batch_send(&relay->to_clients, relay->clients_descriptor, count);
            count = 0;
        }
    }
    bench_batch_send(&relay->to_clients, relay->clients_descriptor, count);
    relay->input_size -= at;
    memmove(relay->input, relay->input + at, relay->input_size);
}

static void hear(struct relay *relay)
{
    for (;;) {
        uint8_t *end = relay->input + relay->input_size;
        ssize_t result = secure_read(relay->server, end, STREAM_SIZE - relay->input_size);
        if (result <= 0) {
            wait_or_give_up(result);
            return;
        }
        relay->input_size += (size_t)result;
        deliver(relay);
    }
}

static _Noreturn void serve(struct relay *relay)
{
    struct pollfd ready[] = {{.fd = relay->clients_descriptor, .events = POLLIN},
                             {.fd = relay->server_descriptor, .events = POLLIN}};
    for (;;) {
        (void)poll(ready, 2, -1);
        if (ready[1].revents != 0) {
            hear(relay);
        }
        if (ready[0].revents != 0) {
            ask(relay);
        }
    }
}

int main(int argc, char **argv)
{
    static struct relay relay;
    double port = 5300;
    double server_port = 853;
    const char *server = "127.0.0.1";
    const char *name = "dot.example";
    const char *authorities = "";
    const struct bench_option options[] = {{.name = "port", .number = &port},
                                           {.name = "server", .text = &server},
                                           {.name = "server-port", .number = &server_port},
                                           {.name = "name", .text = &name},
                                           {.name = "authorities", .text = &authorities},
                                           {0}};
    bench_options(argc, argv, options);
    struct sockaddr_in local = bench_address("127.0.0.1", port);
    struct sockaddr_in remote = bench_address(server, server_port);
    connect_server(&relay, &remote);
    relay.server = secure_open(relay.server_descriptor, authorities, name);
    (void)fcntl(relay.server_descriptor, F_SETFL, O_NONBLOCK);
    relay.clients_descriptor = bench_udp_bind(&local);
    bench_batch_prepare(&relay.from_clients, true);
    bench_batch_prepare(&relay.to_clients, true);
    serve(&relay);
}
