/* The back door: ids, distances, budgets and the choice of a server, over real sockets of the loopback. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <signal.h>
#include <string.h>

#include "base/error.h"

#include "net/net.h"

#include "upstream/internal.h"

enum {
    SERVERS = 3,
    CONNECTIONS = 16,
    ASKS = 512,
    HEARD_MAX = 8192,
    BUFFER_SIZE = 1 << 18,
    RING_SIZE = 1 << 16
};

/* ---- servers that do what the test says ---- */

struct connection {
    int descriptor; /* -1 while unused */
    uint8_t input[BUFFER_SIZE];
    size_t input_size;
};

struct server {
    int listener; /* -1: connections are refused */
    struct address address;
    struct connection connections[CONNECTIONS];
    unsigned accepted;
    struct heard {
        struct connection *from;
        size_t size;
        uint8_t message[64];
    } heard[HEARD_MAX];
    size_t heard_count;
};

static struct server servers[SERVERS];
static struct event_loop *loop;
static struct stream_shop shop;
static struct random chance;
static struct log quiet;
static struct metrics *metrics;
static int metrics_descriptor;
static struct upstream_pool *pool;

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

static void connection_close(struct connection *connection)
{
    if (connection->descriptor >= 0) {
        net_close(connection->descriptor);
    }
    connection->descriptor = -1;
}

static void server_refuse(struct server *server)
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

/* The question as its own answer, with this code. */
static void server_answer(struct heard *heard, unsigned rcode)
{
    uint8_t frame[2 + sizeof heard->message];
    bytes_put_u16(frame, (uint16_t)heard->size);
    memcpy(frame + 2, heard->message, heard->size);
    frame[4] |= 0x80;
    frame[5] = (uint8_t)rcode;
    struct iovec part = {.iov_base = frame, .iov_len = 2 + heard->size};
    assert_int_equal(net_tcp_write(heard->from->descriptor, &part, 1), (int)part.iov_len);
}

static uint16_t id_of(const struct heard *heard)
{
    return bytes_get_u16(heard->message);
}

/* ---- questions ---- */

struct asked {
    struct upstream_ask ask;
    unsigned done;
    bool inside;
    int error;
    unsigned rcode;
    const char *server, *reason;
    uint8_t message[64];
};

static struct asked asked[ASKS];

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

static void ask(struct asked *question, uint64_t patience)
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

static void turn(unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        event_loop_turn(loop, CLOCK_MILLISECOND);
        servers_act();
    }
}

static void turn_for(uint64_t span)
{
    for (uint64_t end = clock_monotonic() + span; clock_monotonic() < end;) {
        turn(1);
    }
}

#define TURN_UNTIL(condition)                                             \
    do {                                                                  \
        for (unsigned turns = 0; turns < 5000 && !(condition); turns++) { \
            turn(1);                                                      \
        }                                                                 \
        assert_true(condition);                                           \
    } while (0)

static uint64_t meter(size_t server, enum metrics_upstream_meter which)
{
    return atomic_load(&metrics->worker[0].upstream[server].meter[which]);
}

/* ---- the world ---- */

static const struct upstream_options usual = {
    .attempt_timeout = 150 * CLOCK_MILLISECOND,
    .connect_timeout = 300 * CLOCK_MILLISECOND,
    .handshake_timeout = 300 * CLOCK_MILLISECOND,
    .refused_retry = 20 * CLOCK_MILLISECOND,
    .backoff_min = 40 * CLOCK_MILLISECOND,
    .backoff_max = 300 * CLOCK_MILLISECOND,
    .handshakes_per_second = 1000,
    .in_flight = 4096,
    .server_count = 1,
};

static void open_pool(struct upstream_options options)
{
    static const char *const labels[SERVERS] = {"one", "two", "three"};
    struct upstream_server_options list[SERVERS];
    for (size_t i = 0; i < SERVERS; i++) {
        list[i] = (struct upstream_server_options){.label = labels[i], .address = servers[i].address};
    }
    options.servers = list;
    struct upstream_surroundings around = {.loop = loop,
                                           .shop = &shop,
                                           .random = &chance,
                                           .log = &quiet,
                                           .metrics = &metrics->worker[0],
                                           .wall = clock_wall};
    assert_int_equal(upstream_pool_open(&options, &around, &pool), 0);
}

static void open_pool_of(size_t count)
{
    struct upstream_options options = usual;
    options.server_count = count;
    open_pool(options);
}

static int set_up(void **state)
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

static int tear_down(void **state)
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

/* ---- ids ---- */

static void ask_many(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ask(&asked[i], 5 * CLOCK_SECOND);
    }
}

static void forget_many(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (asked[i].done == 0) {
            upstream_forget(&asked[i].ask);
        }
    }
}

/* Every id differs from those that are out; over thousands, no bit is always the same, no step is common.
 * Shows: pain 25 */
static void ids_are_unpredictable_and_unique_among_those_out(void **state)
{
    (void)state;
    open_pool_of(1);
    unsigned ones[16] = {0}, drawn = 0, next = 0;
    for (unsigned round = 0; round < 8; round++) {
        size_t before = servers[0].heard_count;
        ask_many(ASKS);
        TURN_UNTIL(servers[0].heard_count == before + ASKS);
        static bool out[65536];
        memset(out, 0, sizeof out);
        for (size_t i = before; i < before + ASKS; i++) {
            uint16_t id = id_of(&servers[0].heard[i]);
            assert_false(out[id]);
            out[id] = true;
            for (unsigned bit = 0; bit < 16; bit++) {
                ones[bit] += id >> bit & 1;
            }
            next += i > before && (uint16_t)(id - id_of(&servers[0].heard[i - 1])) <= 1;
            drawn++;
        }
        for (size_t i = before; i < before + ASKS; i++) {
            server_answer(&servers[0].heard[i], 0);
        }
        TURN_UNTIL(asked[ASKS - 1].done == 1);
    }
    for (unsigned bit = 0; bit < 16; bit++) {
        assert_in_range(ones[bit], drawn * 4 / 10, drawn * 6 / 10);
    }
    assert_in_range(next, 0, 20);
    assert_int_equal(meter(0, METRICS_UPSTREAM_ANSWER), drawn);
}

/* Shows: pain 25, regression 1, regression 3 */
static void an_id_is_not_given_again_before_its_answer(void **state)
{
    (void)state;
    struct upstream_options options = usual;
    options.in_flight = 16;
    open_pool(options);
    static bool out[65536];
    memset(out, 0, sizeof out);
    for (unsigned round = 0; round < 4; round++) {
        ask_many(10);
        TURN_UNTIL(servers[0].heard_count == (round + 1) * 10);
        forget_many(10);
    }
    for (size_t i = 0; i < 40; i++) {
        uint16_t id = id_of(&servers[0].heard[i]);
        assert_false(out[id]);
        out[id] = true;
    }
    assert_int_equal(pool->slot_count - pool->server[0].link->free_count, 40);
    assert_int_equal(pool->server[0].link->in_flight, 0);
    for (size_t i = 0; i < 40; i++) {
        server_answer(&servers[0].heard[i], 0);
    }
    TURN_UNTIL(meter(0, METRICS_UPSTREAM_LATE) == 40);
    assert_int_equal(pool->server[0].link->free_count, pool->slot_count);
    assert_int_equal(meter(0, METRICS_UPSTREAM_SUPERSEDED), 40);
}

/* Shows: pain 25, regression 1 */
static void a_link_without_ids_gives_way_to_a_new_one(void **state)
{
    (void)state;
    struct upstream_options options = usual;
    options.in_flight = 16;
    open_pool(options);
    unsigned slots = pool->slot_count;
    for (unsigned i = 0; i < slots; i++) {
        ask(&asked[0], 5 * CLOCK_SECOND);
        TURN_UNTIL(servers[0].heard_count == i + 1);
        upstream_forget(&asked[0].ask);
    }
    assert_int_equal(servers[0].accepted, 1);
    ask(&asked[0], 5 * CLOCK_SECOND);
    TURN_UNTIL(servers[0].heard_count == slots + 1);
    assert_int_equal(servers[0].accepted, 2);
    assert_int_equal(meter(0, METRICS_UPSTREAM_CLOSES_EXHAUSTED), 1);
    assert_int_equal(meter(0, METRICS_UPSTREAM_CONNECTIONS), 1);
    server_answer(&servers[0].heard[slots], 0);
    TURN_UNTIL(asked[0].done == 1);
}

/* The most that the configuration takes: every one of the 65,536 ids is a place in the table. */
static void the_largest_table_of_ids_works(void **state)
{
    (void)state;
    struct upstream_options options = usual;
    options.in_flight = UPSTREAM_IN_FLIGHT_MAX;
    open_pool(options);
    assert_int_equal(pool->slot_count, 65536);
    ask_many(ASKS);
    TURN_UNTIL(servers[0].heard_count == ASKS);
    for (size_t i = 0; i < ASKS; i++) {
        server_answer(&servers[0].heard[i], 0);
    }
    TURN_UNTIL(meter(0, METRICS_UPSTREAM_ANSWER) == ASKS);
    assert_int_equal(pool->server[0].link->free_count, 65536);
}

static void a_twin_of_an_answer_is_counted_and_nothing_else(void **state)
{
    (void)state;
    open_pool_of(1);
    ask(&asked[0], CLOCK_SECOND);
    TURN_UNTIL(servers[0].heard_count == 1);
    server_answer(&servers[0].heard[0], 0);
    server_answer(&servers[0].heard[0], 0);
    TURN_UNTIL(meter(0, METRICS_UPSTREAM_MISMATCH) == 1);
    assert_int_equal(asked[0].done, 1);
    assert_int_equal(meter(0, METRICS_UPSTREAM_CONNECTIONS), 1);
}

/* ---- forgetting and closing ---- */

static void a_forgotten_question_leaves_nothing_behind(void **state)
{
    (void)state;
    open_pool_of(2);
    ask_many(3);
    forget_many(3); /* before there is a link */
    assert_true(list_empty(&pool->server[0].waiting) && list_empty(&pool->waiting));
    TURN_UNTIL(servers[0].accepted == 1);
    ask_many(3);
    TURN_UNTIL(servers[0].heard_count == 3);
    forget_many(3); /* on a link */
    assert_true(list_empty(&pool->server[0].link->attempts));
    memset(asked, 0xa5, sizeof asked);
    server_answer(&servers[0].heard[1], 0);
    TURN_UNTIL(meter(0, METRICS_UPSTREAM_LATE) == 1);
    turn_for(200 * CLOCK_MILLISECOND); /* no timer of theirs comes any more */
    server_refuse(&servers[0]);
    server_refuse(&servers[1]);
    connection_close(&servers[0].connections[0]);
    TURN_UNTIL(pool->server[0].link == NULL);
    ask_many(2);
    TURN_UNTIL(!list_empty(&pool->waiting));
    forget_many(2); /* nowhere */
    assert_true(list_empty(&pool->waiting));
}

static void a_pool_closes_with_links_in_every_state(void **state)
{
    (void)state;
    open_pool_of(3);
    ask_many(1);
    TURN_UNTIL(servers[0].heard_count == 1);
    turn_for(usual.attempt_timeout + 50 * CLOCK_MILLISECOND); /* the first is suspect, or asked elsewhere */
    forget_many(1);
    ask_many(1); /* perhaps on its way to a new link */
    forget_many(1);
    assert_true(pool->links.taken > 0);
}

/* ---- distances and budgets ---- */

static void backoff_doubles_within_its_bounds(void **state)
{
    (void)state;
    open_pool_of(1);
    struct upstream_server *server = &pool->server[0];
    uint64_t expected = usual.backoff_min;
    for (unsigned i = 0; i < 8; i++) {
        upstream_server_failed(server, ERROR_TLS, NULL, "expired");
        uint64_t distance = server->retry_at - event_now(loop);
        assert_int_equal(server->backoff, expected);
        assert_in_range(distance, expected * 8 / 10, expected * 12 / 10);
        expected = 2 * expected < usual.backoff_max ? 2 * expected : usual.backoff_max;
    }
    assert_true(server->failing && server->handshake_failing && server->health == UPSTREAM_DOWN);
    assert_int_equal(pool->failing, 1);
}

static void backoff_is_never_twice_the_same(void **state)
{
    (void)state;
    open_pool_of(1);
    struct upstream_server *server = &pool->server[0];
    uint64_t least = UINT64_MAX, most = 0;
    for (unsigned i = 0; i < 300; i++) {
        server->backoff = 0;
        upstream_server_failed(server, ERROR_REFUSED, NULL, "refused");
        uint64_t distance = server->retry_at - event_now(loop);
        least = distance < least ? distance : least;
        most = distance > most ? distance : most;
    }
    assert_in_range(least, usual.backoff_min * 80 / 100, usual.backoff_min * 85 / 100);
    assert_in_range(most, usual.backoff_min * 115 / 100, usual.backoff_min * 120 / 100);
}

static void an_open_link_ends_the_backoff(void **state)
{
    (void)state;
    open_pool_of(1);
    upstream_server_failed(&pool->server[0], ERROR_REFUSED, NULL, "refused");
    ask(&asked[0], CLOCK_SECOND);
    TURN_UNTIL(servers[0].heard_count == 1);
    assert_int_equal(pool->server[0].backoff, 0);
    assert_int_equal(pool->failing, 0);
    assert_int_equal(meter(0, METRICS_UPSTREAM_UP), 1);
    assert_false(event_timer_pending(&pool->server[0].retry));
    forget_many(1);
}

/* Shows: pain 9 */
static void a_burst_of_handshakes_keeps_the_budget(void **state)
{
    (void)state;
    struct upstream_options options = usual;
    options.handshakes_per_second = 5;
    open_pool(options);
    struct upstream_server *server = &pool->server[0];
    unsigned begun = 0;
    for (unsigned i = 0; i < 20; i++) {
        upstream_server_connect(server, 0);
        if (server->link != NULL) {
            begun++;
            upstream_link_free(server->link);
        }
    }
    assert_int_equal(begun, 5);
    assert_false(event_timer_pending(&server->retry)); /* nobody waits */
}

/* A connection goes out again after the back-off, or after `most`, whichever is sooner. */
static void the_distance_of_connections_is_the_shorter_one(void **state)
{
    (void)state;
    open_pool_of(1);
    struct upstream_server *server = &pool->server[0];
    uint64_t now = event_now(loop);
    server->failing = true;
    pool->failing = 1;
    server->last_attempt_at = now;
    server->retry_at = now + CLOCK_SECOND;
    upstream_server_connect(server, 100 * CLOCK_MILLISECOND);
    assert_null(server->link);
    assert_false(event_timer_pending(&server->retry)); /* nobody waits for it */
    ask(&asked[0], 5 * CLOCK_SECOND);                  /* waits in the pool, with the shortest distance */
    assert_true(event_timer_pending(&server->retry));
    assert_int_equal(server->retry.due, now + usual.refused_retry);
    upstream_server_connect(server, 10 * CLOCK_SECOND); /* a later moment does not move it */
    assert_int_equal(server->retry.due, now + usual.refused_retry);
    server->last_attempt_at = now - CLOCK_SECOND;
    upstream_server_connect(server, CLOCK_SECOND);
    assert_non_null(server->link);
    forget_many(1);
}

/* Shows: F08, regression 8 */
static void refused_connections_keep_their_distance(void **state)
{
    (void)state;
    struct upstream_options options = usual;
    options.refused_retry = 100 * CLOCK_MILLISECOND;
    open_pool(options);
    server_refuse(&servers[0]);
    ask(&asked[0], 450 * CLOCK_MILLISECOND);
    uint64_t last = 0;
    unsigned attempts = 0;
    for (unsigned i = 0; i < 5000 && asked[0].done == 0; i++) {
        turn(1);
        if (pool->server[0].last_attempt_at != last) {
            last = pool->server[0].last_attempt_at;
            attempts++;
        }
    }
    assert_int_equal(asked[0].done, 1);
    assert_int_equal(asked[0].error, ERROR_TIMEOUT);
    assert_string_equal(asked[0].server, "one");
    assert_string_equal(asked[0].reason, "refused");
    assert_in_range(attempts, 3, 12);
}

/* ---- the choice ---- */

static void the_order_of_the_configuration_decides(void **state)
{
    (void)state;
    open_pool_of(3);
    struct upstream_ask question = {.pool = pool};
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[0]);
    pool->server[0].failing = true;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[1]);
    question.tries[1] = 1;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[2]);
    question.tries[2] = 1;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[1]);
    assert_false(upstream_has_untried(pool, &question));
    question.tries[1] = UPSTREAM_TRIES;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[2]);
    question.tries[2] = UPSTREAM_TRIES;
    assert_null(upstream_choose(pool, &question));
    assert_true(upstream_has_tries(pool, &question)); /* the failing one may come back */
    question.tries[0] = UPSTREAM_TRIES;
    assert_false(upstream_has_tries(pool, &question));
}

static void a_question_that_lost_time_prefers_an_open_link(void **state)
{
    (void)state;
    open_pool_of(3);
    struct upstream_link open = {.server = &pool->server[1], .state = UPSTREAM_LINK_OPEN};
    struct upstream_link slow = {.server = &pool->server[0], .state = UPSTREAM_LINK_CONNECTING};
    struct upstream_ask question = {.pool = pool};
    slow.started_at = event_now(loop);
    pool->server[1].link = &open;
    pool->server[0].link = &slow;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[0]);
    question.retried = true;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[1]);
    question.attempt[2].link = &open; /* out there already */
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[0]);
    slow.started_at -= usual.attempt_timeout; /* stalled: the last resort */
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[2]);
    question.tries[2] = 1;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[2]);
    question.tries[2] = UPSTREAM_TRIES;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[0]);
    assert_false(upstream_has_untried(pool, &question));
    pool->server[0].link = pool->server[1].link = NULL;
}

/* ---- a question's way ---- */

/* Shows: F07 */
static void a_failure_is_asked_once_more_elsewhere(void **state)
{
    (void)state;
    open_pool_of(3);
    ask(&asked[0], 2 * CLOCK_SECOND);
    TURN_UNTIL(servers[0].heard_count == 1);
    server_answer(&servers[0].heard[0], DNS_RCODE_SERVFAIL);
    TURN_UNTIL(servers[1].heard_count == 1);
    server_answer(&servers[1].heard[0], DNS_RCODE_REFUSED);
    TURN_UNTIL(asked[0].done == 1);
    assert_int_equal(asked[0].rcode, DNS_RCODE_REFUSED);
    assert_int_equal(servers[2].heard_count, 0);
    assert_int_equal(meter(0, METRICS_UPSTREAM_FAILURE) + meter(1, METRICS_UPSTREAM_FAILURE), 2);
}

/* Shows: L06, pain 6 */
static void questions_of_a_closed_link_go_elsewhere_at_once(void **state)
{
    (void)state;
    struct upstream_options options = usual;
    options.attempt_timeout = 4 * CLOCK_SECOND;
    options.server_count = 2;
    open_pool(options);
    ask_many(20);
    TURN_UNTIL(servers[0].heard_count == 20);
    connection_close(servers[0].heard[0].from);
    TURN_UNTIL(servers[0].heard_count + servers[1].heard_count == 40);
    for (size_t i = 0; i < servers[1].heard_count; i++) {
        server_answer(&servers[1].heard[i], 0);
    }
    for (size_t i = 20; i < servers[0].heard_count; i++) {
        server_answer(&servers[0].heard[i], 0);
    }
    for (size_t i = 0; i < 20; i++) {
        TURN_UNTIL(asked[i].done == 1);
        assert_int_equal(asked[i].error, 0);
    }
    assert_int_equal(meter(0, METRICS_UPSTREAM_CLOSED), 20);
    assert_int_equal(meter(0, METRICS_UPSTREAM_CLOSES_IN_FLIGHT), 1);
}

/* Shows: pain 5, F02 */
static void an_idle_close_is_no_failure(void **state)
{
    (void)state;
    open_pool_of(2);
    for (unsigned i = 0; i < 5; i++) {
        ask(&asked[0], CLOCK_SECOND);
        TURN_UNTIL(servers[0].heard_count == i + 1);
        server_answer(&servers[0].heard[i], 0);
        TURN_UNTIL(asked[0].done == 1);
        connection_close(servers[0].heard[i].from);
        TURN_UNTIL(pool->server[0].link == NULL);
    }
    assert_int_equal(meter(0, METRICS_UPSTREAM_CLOSES_IDLE), 5);
    assert_int_equal(meter(0, METRICS_UPSTREAM_UP), 1);
    assert_int_equal(servers[1].accepted, 0);
    assert_int_equal(pool->failing, 0);
}

/* Shows: L06 */
static void every_reason_has_a_word(void **state)
{
    (void)state;
    open_pool_of(1);
    struct tls_failure failure = {.reason = TLS_REASON_EXPIRED};
    assert_string_equal(upstream_reason_word(ERROR_TLS, &failure), "expired");
    assert_string_equal(upstream_reason_word(ERROR_TLS, NULL), "tls");
    assert_string_equal(upstream_reason_word(ERROR_REFUSED, NULL), "refused");
    assert_string_equal(upstream_reason_word(ERROR_UNREACHABLE, NULL), "unreachable");
    assert_string_equal(upstream_reason_word(ERROR_TIMEOUT, NULL), "timeout");
    assert_string_equal(upstream_reason_word(ERROR_RESET, NULL), "reset");
    assert_string_equal(upstream_reason_word(ERROR_CLOSED, NULL), "closed");
    assert_string_equal(upstream_reason_word(ERROR_MALFORMED, NULL), "malformed");
    assert_string_equal(upstream_reason_word(ERROR_DESCRIPTORS, NULL), "descriptors");
    assert_string_equal(upstream_reason_word(ERROR_MEMORY, NULL), "memory");
    assert_string_equal(upstream_reason_word(ERROR_EXHAUSTED, NULL), "memory");
    assert_string_equal(upstream_reason_word(ERROR_SYSTEM, NULL), "failed");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ids_are_unpredictable_and_unique_among_those_out),
        TEST(an_id_is_not_given_again_before_its_answer),
        TEST(a_link_without_ids_gives_way_to_a_new_one),
        TEST(the_largest_table_of_ids_works),
        TEST(a_twin_of_an_answer_is_counted_and_nothing_else),
        TEST(a_forgotten_question_leaves_nothing_behind),
        TEST(a_pool_closes_with_links_in_every_state),
        TEST(backoff_doubles_within_its_bounds),
        TEST(backoff_is_never_twice_the_same),
        TEST(an_open_link_ends_the_backoff),
        TEST(a_burst_of_handshakes_keeps_the_budget),
        TEST(the_distance_of_connections_is_the_shorter_one),
        TEST(refused_connections_keep_their_distance),
        TEST(the_order_of_the_configuration_decides),
        TEST(a_question_that_lost_time_prefers_an_open_link),
        TEST(a_failure_is_asked_once_more_elsewhere),
        TEST(questions_of_a_closed_link_go_elsewhere_at_once),
        TEST(an_idle_close_is_no_failure),
        TEST(every_reason_has_a_word),
    };
    return cmocka_run_group_tests_name("upstream", tests, NULL, NULL);
}
