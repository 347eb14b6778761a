/*
 * The load generator: asks over UDP, TCP or TLS, keeping a number of queries outstanding, at a steady rate or
 * in bursts, and judges every answer (see exchange.h). Over TLS it asks a server itself, as if no program
 * were between them. At a steady rate a query's time runs from when it should have left, so that a generator
 * that falls behind cannot make the program look quick. Prints one JSON object. Started by run.py.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "curtain.h"
#include "exchange.h"
#include "measured.h"
#include "processes.h"
#include "secure.h"
#include "wishes.h"

enum {
    EVENTS = 256,
    INPUT_SIZE = 16384,
    OUTPUT_SIZE = 16384,
    STREAM_TURN = 64,                      /* queries in one write */
    EXPIRE_EVERY = 10 * BENCH_MILLISECOND, /* how often what is lost is looked for */
    RING_TOTAL = 1 << 14, /* of all clients together: what is lost shall not hold up what comes after it */
    CLOSED_LOOP_WAIT = 5 * BENCH_MILLISECOND /* the longest sleep while answers are outstanding */
};

struct client {
    int descriptor;
    SSL *tls; /* NULL without TLS */
    struct exchange exchange;
    uint8_t *input; /* over a stream: a message that has not come whole */
    size_t input_size;
};

struct load {
    struct wishes wishes;
    struct exchange_rules rules;
    struct client *clients;
    uint8_t *inputs; /* INPUT_SIZE for each client */
    struct sockaddr_in server;
    int events;
    bool stream, secure, filling;
    uint32_t count, share; /* clients, and the most outstanding for each */
    uint32_t turn;         /* whose turn it is at a steady rate */
    uint64_t planned;      /* queries at a steady rate so far */
    uint64_t expire_at;
    struct measured measured;
    struct bench_batch batch;
    struct curtain curtain;
};

/* ---- clients ---- */

static int connect_client(const struct load *load)
{
    int descriptor = load->stream ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : bench_udp_socket();
    if (connect(descriptor, (const struct sockaddr *)&load->server, sizeof load->server) != 0) {
        bench_fail("connect");
    }
    if (load->stream) {
        bench_tcp_options(descriptor);
    }
    return descriptor;
}

static void open_client(struct load *load, struct client *client)
{
    client->descriptor = connect_client(load);
    client->input_size = 0;
    if (load->secure) {
        client->tls = secure_open(client->descriptor, load->wishes.authorities, load->wishes.name);
    }
    (void)fcntl(client->descriptor, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(load->events, EPOLL_CTL_ADD, client->descriptor, &event) != 0) {
        bench_fail("epoll_ctl");
    }
}

static void close_client(struct client *client)
{
    if (client->tls != NULL) {
        secure_close(client->tls);
    }
    close(client->descriptor);
}

/* ---- UDP ---- */

static void udp_send(struct load *load, struct client *client, uint32_t most, uint64_t at)
{
    size_t count = 0;
    while (count < BENCH_BATCH && count < most) {
        size_t size = exchange_ask(&client->exchange, at, load->batch.bytes[count]);
        if (size == 0) {
            break;
        }
        load->batch.parts[count].iov_len = size;
        count++;
    }
    bench_batch_send(&load->batch, client->descriptor, count);
}

static void udp_receive(struct load *load, struct client *client)
{
    size_t count;
    do {
        count = bench_batch_receive(&load->batch, client->descriptor);
        uint64_t now = bench_now();
        for (size_t i = 0; i < count; i++) {
            exchange_hear(&client->exchange, load->batch.bytes[i], load->batch.messages[i].msg_len, now);
        }
    } while (count == BENCH_BATCH);
}

/* ---- streams ---- */

static ssize_t stream_write(const struct client *client, const uint8_t *bytes, size_t size)
{
    return client->tls != NULL ? secure_write(client->tls, bytes, size)
                               : send(client->descriptor, bytes, size, MSG_NOSIGNAL);
}

static ssize_t stream_read(const struct client *client)
{
    uint8_t *end = client->input + client->input_size;
    size_t room = INPUT_SIZE - client->input_size;
    return client->tls != NULL ? secure_read(client->tls, end, room) : read(client->descriptor, end, room);
}

static void stream_send(struct client *client, uint32_t most, uint64_t at)
{
    uint8_t output[OUTPUT_SIZE];
    size_t size = 0;
    for (uint32_t i = 0; i < most && i < STREAM_TURN; i++) {
        size_t query_size = exchange_ask(&client->exchange, at, output + size + 2);
        if (query_size == 0) {
            break;
        }
        bench_put16(output + size, (uint16_t)query_size);
        size += 2 + query_size;
    }
    /* A few kilobytes always fit: the server reads, or the queries count as lost. */
    if (stream_write(client, output, size) != (ssize_t)size && errno != EAGAIN && errno != EPIPE &&
        errno != ECONNRESET) {
        bench_fail("send");
    }
}

static void stream_deliver(struct client *client, uint64_t now)
{
    size_t at = 0;
    while (client->input_size - at >= 2) {
        size_t size = bench_get16(client->input + at);
        if (client->input_size - at < 2 + size) {
            break;
        }
        exchange_hear(&client->exchange, client->input + at + 2, size, now);
        at += 2 + size;
    }
    client->input_size -= at;
    memmove(client->input, client->input + at, client->input_size);
}

static void stream_receive(struct load *load, struct client *client)
{
    ssize_t size;
    do {
        size = stream_read(client);
        if (size > 0) {
            client->input_size += (size_t)size;
            stream_deliver(client, bench_now());
        }
    } while (size > 0 && client->tls != NULL); /* without TLS the rest is announced */
    if (size == 0 || (size < 0 && errno != EAGAIN)) {
        close_client(client);
        exchange_expire(&client->exchange, bench_now(), true);
        load->measured.closed++;
        open_client(load, client);
    }
}

/* ---- what a client does ---- */

static void client_send(struct load *load, struct client *client, uint32_t most, uint64_t at)
{
    if (most > 0 && load->stream) {
        stream_send(client, most, at);
    } else if (most > 0) {
        udp_send(load, client, most, at);
    }
}

static void client_receive(struct load *load, struct client *client)
{
    if (load->stream) {
        stream_receive(load, client);
    } else {
        udp_receive(load, client);
    }
}

/* What is missing to the client's share, and while the set is asked for in a row no more than is left of it.
 */
static uint32_t missing(const struct load *load, const struct client *client)
{
    uint32_t outstanding = client->exchange.outstanding;
    uint32_t missing = outstanding < load->share ? load->share - outstanding : 0;
    uint32_t left = load->rules.names.to_fill;
    return load->filling && left < missing ? left : missing;
}

/* Until the client has its share of queries outstanding. */
static void top_up(struct load *load, struct client *client)
{
    uint32_t before;
    do {
        before = client->exchange.outstanding;
        client_send(load, client, missing(load, client), bench_now());
    } while (client->exchange.outstanding > before && missing(load, client) > 0);
}

/* ---- the loop ---- */

static bool is_steady(const struct load *load)
{
    return load->wishes.rate > 0;
}

static uint64_t planned_time(const struct load *load)
{
    return load->rules.begun + (uint64_t)((double)load->planned / load->wishes.rate * BENCH_SECOND);
}

static void send_planned(struct load *load, uint64_t now, uint64_t end)
{
    uint64_t at = planned_time(load);
    while (at <= now && at < end) {
        client_send(load, &load->clients[load->turn], 1, at);
        load->turn = (load->turn + 1) % load->count;
        load->planned++;
        at = planned_time(load);
    }
}

static void expire_all(struct load *load, uint64_t now, bool everything)
{
    if (everything || now >= load->expire_at) {
        load->expire_at = now + EXPIRE_EVERY;
        for (uint32_t i = 0; i < load->count; i++) {
            exchange_expire(&load->clients[i].exchange, now, everything);
        }
    }
}

static void turn(struct load *load, uint64_t wait, bool may_ask)
{
    struct epoll_event ready[EVENTS];
    struct timespec time = {.tv_sec = (time_t)(wait / BENCH_SECOND), .tv_nsec = (long)(wait % BENCH_SECOND)};
    int count = epoll_pwait2(load->events, ready, EVENTS, &time, NULL);
    for (int i = 0; i < count; i++) {
        client_receive(load, ready[i].data.ptr);
        if (may_ask) {
            top_up(load, ready[i].data.ptr);
        }
    }
}

static void run_steady(struct load *load, uint64_t end)
{
    uint64_t now;
    while ((now = bench_now()) < end) {
        send_planned(load, now, end);
        uint64_t next = planned_time(load);
        now = bench_now();
        turn(load, next > now ? next - now : 0, false);
        expire_all(load, now, false);
    }
}

static void turn_closed(struct load *load, uint64_t now)
{
    turn(load, CLOSED_LOOP_WAIT, true);
    expire_all(load, now, false);
    for (uint32_t i = 0; i < load->count; i++) {
        if (load->clients[i].exchange.outstanding == 0) {
            top_up(load, &load->clients[i]);
        }
    }
}

static void run_closed(struct load *load, uint64_t end)
{
    uint64_t now;
    while ((now = bench_now()) < end) {
        turn_closed(load, now);
    }
}

static uint64_t count_outstanding(const struct load *load)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < load->count; i++) {
        sum += load->clients[i].exchange.outstanding;
    }
    return sum;
}

static void collect_rest(struct load *load)
{
    uint64_t end = bench_now() + load->rules.timeout;
    uint64_t now;
    while ((now = bench_now()) < end && count_outstanding(load) > 0) {
        turn(load, CLOSED_LOOP_WAIT, false);
        expire_all(load, now, false);
    }
    expire_all(load, now, true);
}

/* The whole set in a row, before anything counts. */
static void run_fill(struct load *load)
{
    names_fill(&load->rules.names);
    load->filling = true;
    while (load->rules.names.to_fill > 0) {
        turn_closed(load, bench_now());
    }
    collect_rest(load);
    load->filling = false;
    load->measured.filled = load->rules.tally.answered - load->rules.tally.failed;
    exchange_restart(&load->rules);
}

/* ---- bursts ---- */

static void send_burst(struct load *load, struct client *client, uint32_t left)
{
    uint64_t at = bench_now();
    while (left > 0) {
        uint32_t count = left < BENCH_BATCH ? left : BENCH_BATCH;
        client_send(load, client, count, at);
        left -= count;
    }
}

/* All at once on the first socket, then only listen. */
static void run_burst(struct load *load)
{
    send_burst(load, load->clients, (uint32_t)load->wishes.burst);
    collect_rest(load);
}

static void sleep_until(uint64_t time)
{
    struct timespec until = {.tv_sec = (time_t)(time / BENCH_SECOND), .tv_nsec = (long)(time % BENCH_SECOND)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {}
}

/* Takes what came since the last burst, sends the next behind the curtain, each client its share, and sleeps:
 * no answer wakes the generator, so that whoever answers has its core meanwhile. */
static void run_bursts(struct load *load, uint64_t end)
{
    uint64_t every = (uint64_t)(load->wishes.every * BENCH_MILLISECOND);
    uint64_t now;
    while ((now = bench_now()) < end) {
        for (uint32_t i = 0; i < load->count; i++) {
            client_receive(load, &load->clients[i]);
        }
        expire_all(load, now, false);
        curtain_drop(&load->curtain);
        for (uint32_t i = 0; i < load->count; i++) {
            send_burst(load, &load->clients[i], load->share);
        }
        curtain_lift(&load->curtain);
        sleep_until((now / every + 1) * every);
    }
}

/* ---- measuring ---- */

static void run_until(struct load *load, uint64_t end)
{
    if (load->wishes.every > 0) {
        run_bursts(load, end);
    } else if (is_steady(load)) {
        run_steady(load, end);
    } else {
        run_closed(load, end);
    }
}

static void measure(struct load *load)
{
    struct measured *measured = &load->measured;
    const struct wishes *wishes = &load->wishes;
    run_until(load, load->rules.begun + (uint64_t)(wishes->warmup * BENCH_SECOND));
    exchange_restart(&load->rules);
    const struct names *names = &load->rules.names;
    measured->asked = names->asked;
    measured->from_set = names->from_set;
    uint64_t used = processes_time((long)wishes->process);
    uint64_t begin = bench_now();
    run_until(load, begin + (uint64_t)(wishes->seconds * BENCH_SECOND));
    measured->nanoseconds = bench_now() - begin;
    measured->answered = load->rules.tally.answered;
    measured->processor_time = processes_time((long)wishes->process) - used;
    measured->asked = names->asked - measured->asked;
    measured->from_set = names->from_set - measured->from_set;
    collect_rest(load);
}

/* ---- starting ---- */

static void open_load(struct load *load)
{
    const struct wishes *wishes = &load->wishes;
    load->secure = strcmp(wishes->protocol, "tls") == 0;
    load->stream = load->secure || strcmp(wishes->protocol, "tcp") == 0;
    load->count = wishes->sockets >= 1 ? (uint32_t)wishes->sockets : 1;
    double together = wishes->every > 0 ? wishes->burst : wishes->outstanding;
    load->share = ((uint32_t)together + load->count - 1) / load->count;
    load->server = bench_address(wishes->server, wishes->port);
    load->events = epoll_create1(EPOLL_CLOEXEC);
    load->clients = calloc(load->count, sizeof *load->clients);
    load->inputs = calloc(load->count, INPUT_SIZE);
    if (load->clients == NULL || load->inputs == NULL) {
        bench_fail("memory");
    }
    names_open(&load->rules.names, &(struct names_wish){.run = wishes->run,
                                                        .set = (uint32_t)wishes->set,
                                                        .exponent = wishes->exponent,
                                                        .flood = (uint32_t)wishes->flood,
                                                        .first = (uint32_t)wishes->first});
    load->rules.timeout = (uint64_t)(wishes->timeout * BENCH_SECOND);
    load->rules.most_age = (uint32_t)wishes->age;
    load->rules.echo = wishes->echo;
    load->rules.log = wishes->log != NULL ? fopen(wishes->log, "we") : NULL;
    uint32_t roomy = load->share > RING_TOTAL / load->count ? load->share : RING_TOTAL / load->count;
    uint32_t most = is_steady(load) || wishes->burst > 0 ? UINT16_MAX : roomy;
    bench_batch_prepare(&load->batch, false);
    for (uint32_t i = 0; i < load->count; i++) {
        exchange_open(&load->clients[i].exchange, &load->rules, most);
        load->clients[i].input = load->inputs + (size_t)i * INPUT_SIZE;
        open_client(load, &load->clients[i]);
    }
}

int main(int argc, char **argv)
{
    static struct load load;
    wishes_read(&load.wishes, argc, argv);
    (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    (void)signal(SIGPIPE, SIG_IGN);
    open_load(&load);
    if (load.wishes.fill) {
        run_fill(&load);
    }
    if (load.wishes.every > 0) {
        curtain_open(&load.curtain, (size_t)load.wishes.core);
    }
    load.rules.begun = bench_now();
    if (load.wishes.burst > 0 && load.wishes.every == 0) {
        run_burst(&load);
    } else {
        measure(&load);
    }
    if (load.rules.log != NULL) {
        (void)fclose(load.rules.log);
    }
    measured_print(&load.measured, &load.rules);
    return load.rules.tally.wrong > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
