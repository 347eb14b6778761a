/*
 * A DNS over TLS server that is never what limits a measurement: one thread, no zone (see bench_answer), all
 * answers of a turn in one record. It can be slow (--delay), impatient (--idle), deaf (SIGUSR2: it takes
 * queries and answers none, until the next SIGUSR2) and away (SIGUSR1: it refuses connections, until the next
 * SIGUSR1). What it saw stands in a file of counters that run.py reads while it runs.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common.h"
#include "delayed.h"

enum {
    CONNECTIONS = 256,
    EVENTS = 64,
    STREAM_SIZE = 65536,
    RECORD_SIZE = 16384,
    LISTENER = CONNECTIONS, /* in the data of events, behind the connections */
    SIGNALS,
    IDLE_CHECK = 20 * BENCH_MILLISECOND
};

/* In the order in which run.py reads them. */
struct counters {
    uint64_t accepted, full_handshakes, resumed_handshakes, failed_handshakes;
    uint64_t queries, padded_queries, reads, answers, closed_idle, connections;
};

struct connection {
    int descriptor; /* 0 when this place is free */
    bool established, deaf_to_input;
    uint64_t generation, active_at;
    SSL *tls;
    size_t input_size, output_size;
    uint8_t input[STREAM_SIZE];
    uint8_t output[STREAM_SIZE];
};

struct server {
    int events, listener, signals;
    bool silent;
    uint64_t idle, delay, next_idle_check, generation;
    struct sockaddr_in address;
    SSL_CTX *context;
    struct counters *counters;
    struct connection connections[CONNECTIONS];
    struct delayed delayed;
};

static void watch(const struct server *server, int operation, int descriptor, struct epoll_event event)
{
    if (epoll_ctl(server->events, operation, descriptor, &event) != 0) {
        bench_fail("epoll_ctl");
    }
}

/* ---- a connection ---- */

static uint32_t index_of(const struct server *server, const struct connection *connection)
{
    return (uint32_t)(connection - server->connections);
}

static void close_connection(struct server *server, struct connection *connection)
{
    if (connection->established) {
        (void)SSL_shutdown(connection->tls); /* close_notify, without waiting for the other */
    }
    SSL_free(connection->tls);
    close(connection->descriptor);
    ERR_clear_error();
    connection->descriptor = 0;
    server->counters->connections--;
}

/* While much waits to be written nothing more is read. */
static void choose_events(struct server *server, struct connection *connection, bool blocked)
{
    if (blocked != connection->deaf_to_input) {
        connection->deaf_to_input = blocked;
        watch(server, EPOLL_CTL_MOD, connection->descriptor,
              (struct epoll_event){.events = blocked ? EPOLLOUT : EPOLLIN,
                                   .data.u32 = index_of(server, connection)});
    }
}

static bool is_waiting(const struct connection *connection, int result)
{
    int error = SSL_get_error(connection->tls, result);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static void flush(struct server *server, struct connection *connection)
{
    size_t written = 0;
    while (written < connection->output_size) {
        size_t rest = connection->output_size - written;
        int result = SSL_write(connection->tls, connection->output + written,
                               (int)(rest < RECORD_SIZE ? rest : RECORD_SIZE));
        if (result > 0) {
            written += (size_t)result;
        } else if (is_waiting(connection, result)) {
            break;
        } else {
            close_connection(server, connection);
            return;
        }
    }
    connection->output_size -= written;
    memmove(connection->output, connection->output + written, connection->output_size);
    choose_events(server, connection, connection->output_size > 0);
}

static void push_answer(struct server *server, struct connection *connection, const uint8_t *answer,
                        size_t size)
{
    if (size > 0 && connection->output_size + 2 + size <= STREAM_SIZE) {
        uint8_t *end = connection->output + connection->output_size;
        bench_put16(end, (uint16_t)size);
        memcpy(end + 2, answer, size);
        connection->output_size += 2 + size;
        server->counters->answers++;
    }
}

/* ---- queries ---- */

static void answer_later(struct server *server, const struct connection *connection, const uint8_t *query,
                         size_t size)
{
    struct delayed_answer *later = delayed_push(&server->delayed);
    if (later != NULL) {
        later->due = connection->active_at + server->delay;
        later->connection = index_of(server, connection);
        later->generation = connection->generation;
        later->size = (uint16_t)bench_answer(query, size, later->bytes);
    }
}

static void take_query(struct server *server, struct connection *connection, const uint8_t *query,
                       size_t size)
{
    uint8_t answer[DELAYED_SIZE];
    server->counters->queries++;
    server->counters->padded_queries += size % BENCH_PADDED_SIZE == 0;
    if (server->silent) {
        return;
    }
    if (server->delay > 0) {
        answer_later(server, connection, query, size);
    } else {
        push_answer(server, connection, answer, bench_answer(query, size, answer));
    }
}

static void take_queries(struct server *server, struct connection *connection)
{
    size_t at = 0;
    while (connection->input_size - at >= 2) {
        size_t size = bench_get16(connection->input + at);
        if (connection->input_size - at < 2 + size) {
            break;
        }
        take_query(server, connection, connection->input + at + 2, size);
        at += 2 + size;
    }
    connection->input_size -= at;
    memmove(connection->input, connection->input + at, connection->input_size);
}

/* What waits at the socket or in the library, until that is all or enough answers wait; false when it was
 * all. */
static bool read_some(struct server *server, struct connection *connection)
{
    while (connection->output_size < STREAM_SIZE / 2) {
        uint8_t *end = connection->input + connection->input_size;
        int result = SSL_read(connection->tls, end, (int)(STREAM_SIZE - connection->input_size));
        if (result <= 0 && is_waiting(connection, result)) {
            return false;
        }
        if (result <= 0) {
            close_connection(server, connection);
            return false;
        }
        server->counters->reads++;
        connection->input_size += (size_t)result;
        take_queries(server, connection);
    }
    return true;
}

static void read_queries(struct server *server, struct connection *connection)
{
    connection->active_at = bench_now();
    bool more = true;
    while (more) {
        more = read_some(server, connection);
        if (connection->descriptor != 0) {
            flush(server, connection);
        }
        /* The socket does not announce what the library has read ahead; blocked output is announced. */
        more = more && connection->descriptor != 0 && connection->output_size == 0;
    }
}

static void shake_hands(struct server *server, struct connection *connection)
{
    int result = SSL_do_handshake(connection->tls);
    if (result == 1) {
        connection->established = true;
        connection->active_at = bench_now();
        if (SSL_session_reused(connection->tls)) {
            server->counters->resumed_handshakes++;
        } else {
            server->counters->full_handshakes++;
        }
    } else if (!is_waiting(connection, result)) {
        server->counters->failed_handshakes++;
        close_connection(server, connection);
    }
}

static void serve_connection(struct server *server, struct connection *connection)
{
    if (connection->descriptor != 0 && !connection->established) {
        shake_hands(server, connection);
    }
    if (connection->descriptor != 0 && connection->established) {
        read_queries(server, connection);
    }
}

/* ---- the listener ---- */

static struct connection *free_place(struct server *server)
{
    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (server->connections[i].descriptor == 0) {
            return &server->connections[i];
        }
    }
    return NULL;
}

static void open_connection(struct server *server, struct connection *connection, int descriptor)
{
    bench_tcp_options(descriptor);
    connection->descriptor = descriptor;
    connection->established = connection->deaf_to_input = false;
    connection->input_size = connection->output_size = 0;
    connection->generation = ++server->generation;
    connection->active_at = bench_now();
    connection->tls = SSL_new(server->context);
    SSL_set_fd(connection->tls, descriptor);
    SSL_set_accept_state(connection->tls);
    server->counters->accepted++;
    server->counters->connections++;
    watch(server, EPOLL_CTL_ADD, descriptor,
          (struct epoll_event){.events = EPOLLIN, .data.u32 = index_of(server, connection)});
}

static void accept_connections(struct server *server)
{
    int descriptor;
    while ((descriptor = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *connection = free_place(server);
        if (connection == NULL) {
            close(descriptor);
        } else {
            open_connection(server, connection, descriptor);
        }
    }
}

static void open_listener(struct server *server)
{
    server->listener = bench_tcp_listen(&server->address);
    watch(server, EPOLL_CTL_ADD, server->listener,
          (struct epoll_event){.events = EPOLLIN, .data.u32 = LISTENER});
}

static void go_away(struct server *server)
{
    close(server->listener);
    server->listener = -1;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (server->connections[i].descriptor != 0) {
            close_connection(server, &server->connections[i]);
        }
    }
}

/* ---- the loop ---- */

static void take_signal(struct server *server)
{
    struct signalfd_siginfo signal;
    if (read(server->signals, &signal, sizeof signal) != sizeof signal) {
        return;
    }
    if (signal.ssi_signo == SIGUSR2) {
        server->silent = !server->silent;
    } else if (server->listener >= 0) {
        go_away(server);
    } else {
        open_listener(server);
    }
}

/* False when the connection has no room for it now. */
static bool send_late(struct server *server, const struct delayed_answer *answer)
{
    struct connection *connection = &server->connections[answer->connection];
    if (connection->descriptor != 0 && connection->output_size > STREAM_SIZE / 2) {
        flush(server, connection);
    }
    if (connection->descriptor == 0 || connection->generation != answer->generation) {
        return true;
    }
    if (connection->output_size > STREAM_SIZE / 2) {
        return false;
    }
    push_answer(server, connection, answer->bytes, answer->size);
    return true;
}

static void send_due(struct server *server, uint64_t now)
{
    const struct delayed_answer *answer;
    while ((answer = delayed_due(&server->delayed, now)) != NULL && send_late(server, answer)) {
        delayed_drop(&server->delayed);
    }
    for (size_t i = 0; server->delay > 0 && i < CONNECTIONS; i++) {
        if (server->connections[i].descriptor != 0 && server->connections[i].output_size > 0) {
            flush(server, &server->connections[i]);
        }
    }
}

static void close_idle(struct server *server, uint64_t now)
{
    if (server->idle == 0 || now < server->next_idle_check) {
        return;
    }
    server->next_idle_check = now + IDLE_CHECK;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct connection *connection = &server->connections[i];
        if (connection->descriptor != 0 && now - connection->active_at >= server->idle) {
            server->counters->closed_idle++;
            close_connection(server, connection);
        }
    }
}

static int wait_for_events(const struct server *server, struct epoll_event *ready)
{
    int64_t wait = delayed_wait(&server->delayed, bench_now());
    if (server->idle > 0 && wait > IDLE_CHECK) {
        wait = IDLE_CHECK;
    }
    struct timespec time = {.tv_sec = wait / BENCH_SECOND, .tv_nsec = wait % BENCH_SECOND};
    return epoll_pwait2(server->events, ready, EVENTS, wait == INT64_MAX ? NULL : &time, NULL);
}

static _Noreturn void serve(struct server *server)
{
    struct epoll_event ready[EVENTS];
    for (;;) {
        int count = wait_for_events(server, ready);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.u32 == LISTENER) {
                accept_connections(server);
            } else if (ready[i].data.u32 == SIGNALS) {
                take_signal(server);
            } else {
                serve_connection(server, &server->connections[ready[i].data.u32]);
            }
        }
        uint64_t now = bench_now();
        send_due(server, now);
        close_idle(server, now);
    }
}

/* ---- starting ---- */

static SSL_CTX *open_context(const char *certificate, const char *key)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        bench_fail(certificate);
    }
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"bench", 5);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    return context;
}

static void open_signals(struct server *server)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGUSR2);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    server->signals = signalfd(-1, &signals, SFD_CLOEXEC);
    watch(server, EPOLL_CTL_ADD, server->signals,
          (struct epoll_event){.events = EPOLLIN, .data.u32 = SIGNALS});
}

int main(int argc, char **argv)
{
    static struct server server;
    double port = 853;
    double idle = 0;
    double delay = 0;
    const char *address = "127.0.0.1";
    const char *certificate = "";
    const char *key = "";
    const char *counters = NULL;
    const struct bench_option options[] = {
        {.name = "address", .text = &address},         {.name = "port", .number = &port},
        {.name = "certificate", .text = &certificate}, {.name = "key", .text = &key},
        {.name = "counters", .text = &counters},       {.name = "idle", .number = &idle},
        {.name = "delay", .number = &delay},           {0}};
    bench_options(argc, argv, options);
    (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* a delay of 5 ms shall be one */
    server.events = epoll_create1(EPOLL_CLOEXEC);
    server.idle = (uint64_t)(idle * BENCH_SECOND);
    server.delay = (uint64_t)(delay * BENCH_MILLISECOND);
    server.address = bench_address(address, port);
    server.context = open_context(certificate, key);
    server.counters = bench_share(counters, sizeof *server.counters);
    open_signals(&server);
    open_listener(&server);
    serve(&server);
}
