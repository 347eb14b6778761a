/* See upstream_test.h. */
#include <signal.h>
#include <string.h>

#include "base/error.h"

#include "net/net.h"

#include "upstream_test.h"

struct server servers[SERVERS];
struct event_loop *loop;
static struct stream_shop shop;
static struct random chance;
static struct log quiet;
struct metrics *metrics;
static int metrics_descriptor;
struct upstream_pool *pool;

static void server_raise(struct server *server)
{
    memset(server, 0, sizeof *server);
    struct address any;
    assert_int_equal(address_parse(span_text("127.0.0.1:0"), 0, &any), 0);
    assert_int_equal(net_tcp_listen(&any, false, 64, &server->listener), 0);
    assert_int_equal(net_local_address(server->listener, &server->address), 0);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        server->connections[i].descriptor = -1;
    }
}

void connection_close(struct connection *connection)
{
    if (connection->descriptor >= 0) {
        net_close(connection->descriptor);
    }
    connection->descriptor = -1;
}

void server_refuse(struct server *server)
{
    net_close(server->listener);
    server->listener = -1;
}

static void server_raze(struct server *server)
{
    for (size_t i = 0; i < CONNECTIONS; i++) {
        connection_close(&server->connections[i]);
    }
    if (server->listener >= 0) {
        server_refuse(server);
    }
}

static void server_accept(struct server *server)
{
    int descriptor;
    struct address remote;
    while (server->listener >= 0 && net_tcp_accept(server->listener, &descriptor, &remote) == 0) {
        size_t i = 0;
        while (i < CONNECTIONS && server->connections[i].descriptor >= 0) {
            i++;
        }
        assert_in_range(i, 0, CONNECTIONS - 1);
        server->connections[i].descriptor = descriptor;
        server->connections[i].input_size = 0;
        server->accepted++;
    }
}

static void connection_hear(struct server *server, struct connection *connection)
{
    int count = net_tcp_read(connection->descriptor, connection->input + connection->input_size,
                             sizeof connection->input - connection->input_size);
    if (count == 0 || (count < 0 && count != ERROR_AGAIN)) {
        connection_close(connection);
        return;
    }
    connection->input_size += count > 0 ? (size_t)count : 0;
    struct span message;
    size_t used;
    while (dns_frame_next(span_of(connection->input, connection->input_size), &message, &used) == 0) {
        struct heard *heard = &server->heard[server->heard_count++ % HEARD_MAX];
        heard->from = connection;
        heard->size = message.size;
        assert_in_range(message.size, DNS_HEADER_SIZE, sizeof heard->message);
        memcpy(heard->message, message.data, message.size);
        connection->input_size -= used;
        memmove(connection->input, connection->input + used, connection->input_size);
    }
}

static void servers_act(void)
{
    for (size_t i = 0; i < SERVERS; i++) {
        server_accept(&servers[i]);
        for (size_t k = 0; k < CONNECTIONS; k++) {
            if (servers[i].connections[k].descriptor >= 0) {
                connection_hear(&servers[i], &servers[i].connections[k]);
            }
        }
    }
}

void server_answer(struct heard *heard, unsigned rcode)
{
    uint8_t frame[2 + sizeof heard->message];
    bytes_put_u16(frame, (uint16_t)heard->size);
    memcpy(frame + 2, heard->message, heard->size);
    frame[4] |= 0x80;
    frame[5] = (uint8_t)rcode;
    struct iovec part = {.iov_base = frame, .iov_len = 2 + heard->size};
    assert_int_equal(net_tcp_write(heard->from->descriptor, &part, 1), (int)part.iov_len);
}

uint16_t id_of(const struct heard *heard)
{
    return bytes_get_u16(heard->message);
}

/* ---- questions ---- */

struct asked asked[ASKS];

static void on_done(struct upstream_ask *ask, const struct upstream_result *result)
{
    struct asked *question = container_of(ask, struct asked, ask);
    assert_false(question->inside);
    question->done++;
    question->error = result->error;
    question->server = result->server;
    question->reason = result->reason;
    question->rcode = result->error == 0 ? result->answer->rcode : 0;
}

void ask(struct asked *question, uint64_t patience)
{
    static const uint8_t query[] = {0, 0,   1, 0,   0,   1,   0,   0, 0, 0, 0, 0,
                                    1, 'a', 4, 't', 'e', 's', 't', 0, 0, 1, 0, 1};
    *question = (struct asked){.inside = true};
    memcpy(question->message, query, sizeof query);
    question->ask.message = question->message;
    question->ask.message_size = sizeof query;
    question->ask.question = span_of(question->message + DNS_HEADER_SIZE, sizeof query - DNS_HEADER_SIZE);
    question->ask.deadline = event_now(loop) + patience;
    question->ask.done = on_done;
    upstream_ask(pool, &question->ask);
    question->inside = false;
}

void turn(unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        event_loop_turn(loop, CLOCK_MILLISECOND);
        servers_act();
    }
}

void turn_for(uint64_t span)
{
    for (uint64_t end = clock_monotonic() + span; clock_monotonic() < end;) {
        turn(1);
    }
}

uint64_t meter(size_t server, enum metrics_upstream_meter which)
{
    return atomic_load(&metrics->worker[0].upstream[server].meter[which]);
}

/* ---- the world ---- */

const struct upstream_options usual = {
    .attempt_timeout = 1500 * CLOCK_MILLISECOND,
    .connect_timeout = 1500 * CLOCK_MILLISECOND,
    .handshake_timeout = 2500 * CLOCK_MILLISECOND,
    .refused_retry = 250 * CLOCK_MILLISECOND,
    .backoff_min = 250 * CLOCK_MILLISECOND,
    .backoff_max = 30 * CLOCK_SECOND,
    .handshakes_per_second = 1000,
    .in_flight = 4096,
    .links = 1,
    .max_age = 600 * CLOCK_SECOND,
    .warm = 600 * CLOCK_SECOND,
    .server_count = 1,
};

struct upstream_surroundings surroundings(void)
{
    return (struct upstream_surroundings){.loop = loop,
                                          .shop = &shop,
                                          .random = &chance,
                                          .log = &quiet,
                                          .metrics = &metrics->worker[0],
                                          .wall = clock_wall};
}

void open_pool(struct upstream_options options)
{
    static const char *const labels[SERVERS] = {"one", "two", "three"};
    struct upstream_server_options list[SERVERS];
    for (size_t i = 0; i < SERVERS; i++) {
        list[i] = (struct upstream_server_options){
            .label = labels[i], .transport = UPSTREAM_TCP, .addresses = {1, {servers[i].address}}, .page = i};
    }
    options.servers = list;
    struct upstream_surroundings around = surroundings();
    assert_int_equal(upstream_pool_open(&options, &around, &pool), 0);
}

void open_pool_of(size_t count)
{
    struct upstream_options options = usual;
    options.server_count = count;
    open_pool(options);
}

int set_up(void **state)
{
    (void)state;
    static uint8_t ring[RING_SIZE];
    signal(SIGPIPE, SIG_IGN);
    random_init(&chance);
    log_init(&quiet, LOG_ERROR, ring, sizeof ring);
    for (size_t i = 0; i < SERVERS; i++) {
        server_raise(&servers[i]);
    }
    return event_loop_open(&loop) == 0 && stream_shop_open(&shop, loop, 4096) == 0 &&
                   metrics_open(1, &metrics, &metrics_descriptor) == 0
               ? 0
               : -1;
}

int tear_down(void **state)
{
    (void)state;
    upstream_pool_close(pool);
    assert_int_equal(shop.blocks.taken, 0);
    stream_shop_close(&shop);
    event_loop_close(loop);
    metrics_close(metrics, metrics_descriptor);
    for (size_t i = 0; i < SERVERS; i++) {
        server_raze(&servers[i]);
    }
    return 0;
}

void ask_many(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ask(&asked[i], 5 * CLOCK_SECOND);
    }
}

void forget_many(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (asked[i].done == 0) {
            upstream_forget(&asked[i].ask);
        }
    }
}
