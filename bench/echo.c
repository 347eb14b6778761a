/*
 * The least that a DNS server can do: turn each query around with one bit flipped; over UDP BENCH_BATCH at a
 * time, over TCP all that one read brought in one write. Its speed is the limit of the machine's sockets for
 * a program on one core, and so for what dnseal answers from its cache. Started by run.py, ends by signal.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common.h"

enum { CONNECTIONS = 4096, EVENTS = 256, STREAM_SIZE = 65536, FLAGS_AT = 2 };

struct connection {
    int descriptor; /* 0 when this place is free */
    size_t size;    /* of what is there of messages */
    uint8_t *bytes; /* STREAM_SIZE */
};

struct echo {
    int events, datagrams, listener;
    struct bench_batch batch;
    struct connection connections[CONNECTIONS];
};

static void turn_around(uint8_t *query)
{
    query[FLAGS_AT] |= 0x80; /* QR */
}

static void watch(const struct echo *echo, int descriptor, void *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    if (epoll_ctl(echo->events, EPOLL_CTL_ADD, descriptor, &event) != 0) {
        bench_fail("epoll_ctl");
    }
}

/* ---- UDP ---- */

static void answer_datagrams(struct echo *echo)
{
    struct bench_batch *batch = &echo->batch;
    size_t count = bench_batch_receive(batch, echo->datagrams);
    for (size_t i = 0; i < count; i++) {
        batch->parts[i].iov_len = batch->messages[i].msg_len;
        turn_around(batch->bytes[i]);
    }
    bench_batch_send(batch, echo->datagrams, count);
}

/* ---- TCP ---- */

static void accept_all(struct echo *echo)
{
    int descriptor;
    while ((descriptor = accept4(echo->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        struct connection *free_place = echo->connections;
        while (free_place < echo->connections + CONNECTIONS && free_place->descriptor != 0) {
            free_place++;
        }
        if (free_place == echo->connections + CONNECTIONS) {
            close(descriptor);
            continue;
        }
        if (free_place->bytes == NULL && (free_place->bytes = malloc(STREAM_SIZE)) == NULL) {
            bench_fail("memory");
        }
        bench_tcp_options(descriptor);
        free_place->descriptor = descriptor;
        free_place->size = 0;
        watch(echo, descriptor, free_place);
    }
}

static void close_connection(struct connection *connection)
{
    close(connection->descriptor);
    connection->descriptor = 0;
}

/* Whoever asks does not wait before it reads: this ends. */
static bool write_all(int descriptor, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = send(descriptor, bytes, size, MSG_NOSIGNAL);
        if (written > 0) {
            bytes += written;
            size -= (size_t)written;
        } else if (errno == EAGAIN) {
            struct pollfd ready = {.fd = descriptor, .events = POLLOUT};
            (void)poll(&ready, 1, -1);
        } else {
            return false;
        }
    }
    return true;
}

static void answer_stream(struct connection *connection)
{
    uint8_t *bytes = connection->bytes;
    ssize_t heard = read(connection->descriptor, bytes + connection->size, STREAM_SIZE - connection->size);
    if (heard <= 0) {
        if (heard == 0 || errno != EAGAIN) {
            close_connection(connection);
        }
        return;
    }
    connection->size += (size_t)heard;
    size_t at = 0;
    while (connection->size - at >= 2 && connection->size - at >= 2U + bench_get16(bytes + at)) {
        turn_around(bytes + at + 2);
        at += 2U + bench_get16(bytes + at);
    }
    if (!write_all(connection->descriptor, bytes, at)) {
        close_connection(connection);
        return;
    }
    connection->size -= at;
    memmove(bytes, bytes + at, connection->size);
}

int main(int argc, char **argv)
{
    static struct echo echo;
    double port = 5300;
    const struct bench_option options[] = {{.name = "port", .number = &port}, {0}};
    bench_options(argc, argv, options);
    struct sockaddr_in local = bench_address("127.0.0.1", port);
    echo.events = epoll_create1(EPOLL_CLOEXEC);
    echo.datagrams = bench_udp_bind(&local);
    echo.listener = bench_tcp_listen(&local);
    watch(&echo, echo.datagrams, &echo.datagrams);
    watch(&echo, echo.listener, &echo.listener);
    bench_batch_prepare(&echo.batch, true);
    for (;;) {
        struct epoll_event ready[EVENTS];
        int count = epoll_wait(echo.events, ready, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.ptr == &echo.datagrams) {
                answer_datagrams(&echo);
            } else if (ready[i].data.ptr == &echo.listener) {
                accept_all(&echo);
            } else {
                answer_stream(ready[i].data.ptr);
            }
        }
    }
}
