/* The hall's steps: verdicts, counters, limits and views, behind a door that writes down what leaves, before
 * an upstream whose server takes connections and says nothing. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#include "query/internal.h"

enum { RING_SIZE = 1 << 16, PENDING = 8, PER_CLIENT = 3, LONG_MESSAGES = 64 };

#define TIMEOUT (200 * CLOCK_MILLISECOND)

/* A door, and the last answer that left through it. */
struct test_door {
    struct query_door door;
    unsigned replies;
    uint8_t reply[DNS_MESSAGE_MAX];
    size_t size;
};

static struct event_loop *loop;
static struct stream_shop shop;
static struct random chance;
static struct log quiet;
static struct metrics *metrics;
static struct metrics_worker *page;
static int metrics_descriptor, listener;
static struct guard_access *clients;
static struct upstream_pool *pool;
static const uint8_t partition = 3;
static struct query_hall *hall;
static struct test_door udp, tcp;
static struct net_peer client;

static void on_reply(struct query_door *door, const struct net_peer *peer, struct span message)
{
    struct test_door *test = container_of(door, struct test_door, door);
    assert_true(address_equal(&peer->remote, &client.remote));
    memcpy(test->reply, message.data, message.size);
    test->size = message.size;
    test->replies++;
}

static struct address address_of(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(span_text(text), 0, &address), 0);
    return address;
}

static void open_pool(void)
{
    struct address any = address_of("127.0.0.1:0");
    struct upstream_server_options server = {
        .label = "silent", .transport = UPSTREAM_TCP, .addresses.count = 1};
    assert_int_equal(net_tcp_listen(&any, false, 8, &listener), 0);
    assert_int_equal(net_local_address(listener, &server.addresses.items[0]), 0);
    struct upstream_options options = {
        .attempt_timeout = 1500 * CLOCK_MILLISECOND,
        .connect_timeout = 1500 * CLOCK_MILLISECOND,
        .handshake_timeout = 2500 * CLOCK_MILLISECOND,
        .refused_retry = 250 * CLOCK_MILLISECOND,
        .backoff_min = 250 * CLOCK_MILLISECOND,
        .backoff_max = 30 * CLOCK_SECOND,
        .handshakes_per_second = 5,
        .links = 1,
        .max_age = 600 * CLOCK_SECOND,
        .warm = 600 * CLOCK_SECOND,
        .in_flight = 512,
        .servers = &server,
        .server_count = 1,
    };
    struct upstream_surroundings around = {
        .loop = loop, .shop = &shop, .random = &chance, .log = &quiet, .metrics = page, .wall = clock_wall};
    assert_int_equal(upstream_pool_open(&options, &around, &pool), 0);
}

static void open_hall(const struct query_options *options)
{
    struct query_surroundings around = {.loop = loop,
                                        .pools = &pool,
                                        .partitions = &partition,
                                        .access = clients,
                                        .log = &quiet,
                                        .metrics = page,
                                        .wall = clock_wall};
    assert_int_equal(query_hall_open(options, &around, &hall), 0);
    query_door_init(&udp.door, QUERY_UDP, -1, on_reply);
    query_door_init(&tcp.door, QUERY_TCP, 100, on_reply);
    udp.replies = tcp.replies = 0;
}

static struct query_options usual(void)
{
    return (struct query_options){.query_timeout = TIMEOUT,
                                  .udp_discard = TIMEOUT,
                                  .pending = PENDING,
                                  .long_messages = LONG_MESSAGES,
                                  .pending_per_client = PER_CLIENT,
                                  .hash_key = {{3, 4}},
                                  .padding_block = 128,
                                  .strip_client_subnet = true};
}

static int set_up(void **state)
{
    (void)state;
    static uint8_t ring[RING_SIZE];
    signal(SIGPIPE, SIG_IGN);
    random_init(&chance);
    log_init(&quiet, LOG_INFO, ring, sizeof ring);
    struct address_prefix allowed[2];
    assert_int_equal(address_prefix_parse(span_text("127.0.0.0/8"), &allowed[0]), 0);
    assert_int_equal(address_prefix_parse(span_text("::1/128"), &allowed[1]), 0);
    client = (struct net_peer){.remote = address_of("127.0.0.1:4000")};
    assert_int_equal(event_loop_open(&loop), 0);
    assert_int_equal(stream_shop_open(&shop, loop, 1024), 0);
    assert_int_equal(metrics_open(1, &metrics, &metrics_descriptor), 0);
    assert_int_equal(guard_access_build(allowed, 2, NULL, 0, &clients), 0);
    page = &metrics->worker[0];
    open_pool();
    struct query_options options = usual();
    open_hall(&options);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    query_door_leave(hall, &udp.door);
    query_door_leave(hall, &tcp.door);
    query_hall_close(hall);
    upstream_pool_close(pool);
    guard_access_free(clients);
    assert_int_equal(shop.blocks.taken, 0);
    stream_shop_close(&shop);
    event_loop_close(loop);
    metrics_close(metrics, metrics_descriptor);
    net_close(listener);
    return 0;
}

static uint64_t meter(enum metrics_meter which)
{
    return atomic_load(&page->meter[which]);
}

static void turn_for(uint64_t span)
{
    for (uint64_t end = clock_monotonic() + span; clock_monotonic() < end;) {
        event_loop_turn(loop, CLOCK_MILLISECOND);
    }
}

enum { ID = 0xbeef };
/* A query with its name in wire form behind the header, written into `out`. */
static size_t write_query(uint8_t *out, struct span name, uint16_t type, uint16_t class)
{
    static const uint8_t head[DNS_HEADER_SIZE] = {ID >> 8, ID & 0xff, 1, 0, 0, 1};
    struct bytes_writer writer = bytes_writer_of(out, 512);
    bytes_write(&writer, span_of(head, sizeof head));
    bytes_write(&writer, name);
    bytes_write_u16(&writer, type);
    bytes_write_u16(&writer, class);
    return bytes_written(&writer);
}

#define WIRE(name) span_of(name, sizeof(name))

static void ask_for(struct test_door *door, struct span name, uint16_t type, uint16_t class)
{
    uint8_t message[512];
    size_t size = write_query(message, name, type, class);
    query_begin(hall, &door->door, &client, span_of(message, size));
}

static void ask(struct test_door *door)
{
    ask_for(door, WIRE("\1a\4test"), DNS_TYPE_A, DNS_CLASS_IN);
}

static unsigned rcode_of(const struct test_door *door)
{
    assert_int_equal(bytes_get_u16(door->reply), ID);
    assert_int_equal(door->reply[2] & 0x80, 0x80);
    return door->reply[3] & 0x0f;
}

/* Shows: W01, W02 */
static void what_cannot_be_answered_is_dropped_and_counted(void **state)
{
    (void)state;
    uint8_t message[512];
    size_t size = write_query(message, WIRE("\1a\4test"), DNS_TYPE_A, DNS_CLASS_IN);
    for (size_t i = 0; i < DNS_HEADER_SIZE; i++) {
        query_begin(hall, &udp.door, &client, span_of(message, i));
    }
    assert_int_equal(meter(METRICS_DROPPED_SHORT), DNS_HEADER_SIZE);
    message[2] |= 0x80;
    query_begin(hall, &udp.door, &client, span_of(message, size));
    assert_int_equal(meter(METRICS_DROPPED_QR), 1);
    message[2] &= 0x7f;
    client.remote.port = 0;
    query_begin(hall, &udp.door, &client, span_of(message, size));
    assert_int_equal(meter(METRICS_DROPPED_SOURCE), 1);
    assert_int_equal(udp.replies, 0);
    assert_int_equal(meter(METRICS_QUERIES_UDP), 0);
    assert_int_equal(query_pending(hall), 0);
}

/* Shows: W03 */
static void broken_queries_are_answered_at_once(void **state)
{
    (void)state;
    static const uint16_t counts[] = {0, 2, 65535};
    uint8_t message[512];
    size_t size = write_query(message, WIRE("\1a\4test"), DNS_TYPE_A, DNS_CLASS_IN);
    for (unsigned i = 0; i < 3; i++) {
        bytes_put_u16(message + 4, counts[i]);
        query_begin(hall, &udp.door, &client, span_of(message, size));
        assert_int_equal(udp.replies, i + 1);
        assert_int_equal(rcode_of(&udp), DNS_RCODE_FORMERR);
        assert_int_equal(bytes_get_u16(udp.reply + 6), 0);
    }
    assert_int_equal(meter(METRICS_RESPONSES_UDP_FORMERR), 3);
    bytes_put_u16(message + 4, 1);
    message[2] = 15 << 3;
    query_begin(hall, &tcp.door, &client, span_of(message, size));
    assert_int_equal(rcode_of(&tcp), DNS_RCODE_NOTIMP);
    assert_int_equal(meter(METRICS_RESPONSES_TCP_NOTIMP), 1);
    assert_int_equal(meter(METRICS_QUERIES_TCP), 1);
}

static void strangers_are_refused_whatever_they_ask(void **state)
{
    (void)state;
    client.remote = address_of("192.0.2.1:4000");
    ask(&udp);
    assert_int_equal(rcode_of(&udp), DNS_RCODE_REFUSED);
    uint8_t message[512];
    size_t size = write_query(message, WIRE("\1a\4test"), DNS_TYPE_A, DNS_CLASS_IN);
    message[5] = 2; /* broken as well: being refused comes first */
    query_begin(hall, &udp.door, &client, span_of(message, size));
    assert_int_equal(rcode_of(&udp), DNS_RCODE_REFUSED);
    client.remote = address_of("[2001:db8::1]:4000");
    ask(&tcp);
    assert_int_equal(rcode_of(&tcp), DNS_RCODE_REFUSED);
    client.remote = address_of("[::1]:4000");
    ask(&tcp);
    assert_int_equal(tcp.replies, 1);
    assert_int_equal(query_pending(hall), 1);
}

/* Letters of both cases, by the bits of a number. */
static void change_case(uint8_t *name, size_t size, unsigned bits)
{
    for (size_t i = 0; i < size; i++) {
        if (name[i] >= 'a' && name[i] <= 'z' && (bits >> i % 16 & 1) != 0) {
            name[i] = (uint8_t)(name[i] - 32);
        }
    }
}

/* Shows: W10 */
static void questions_about_the_server_never_leave(void **state)
{
    (void)state;
    static const struct span names[] = {
        {(const uint8_t *)"\7version\4bind", 14}, {(const uint8_t *)"\10hostname\4bind", 15},
        {(const uint8_t *)"\2id\6server", 11},    {(const uint8_t *)"\7version\6server", 16},
        {(const uint8_t *)"\7authors\4bind", 14},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (unsigned bits = 0; bits < 65536; bits += 771) {
            uint8_t name[32];
            memcpy(name, names[i].data, names[i].size);
            change_case(name, names[i].size, bits);
            unsigned before = udp.replies;
            ask_for(&udp, span_of(name, names[i].size), DNS_TYPE_TXT, DNS_CLASS_CHAOS);
            assert_int_equal(udp.replies, before + 1);
            assert_int_equal(rcode_of(&udp), DNS_RCODE_REFUSED);
            assert_memory_equal(udp.reply + DNS_HEADER_SIZE, name, names[i].size);
        }
    }
    assert_int_equal(query_pending(hall), 0);
}

static void names_and_classes_beside_them_do_leave(void **state)
{
    (void)state;
    ask_for(&udp, WIRE("\7version\4bind"), DNS_TYPE_TXT, DNS_CLASS_IN);
    ask_for(&udp, WIRE("\7version\4bine"), DNS_TYPE_TXT, DNS_CLASS_CHAOS);
    ask_for(&udp, WIRE("\1a\7version\4bind"), DNS_TYPE_TXT, DNS_CLASS_CHAOS);
    assert_int_equal(query_pending(hall), 3);
    assert_int_equal(udp.replies, 0);
}

static void transfers_are_refused(void **state)
{
    (void)state;
    for (uint16_t type = DNS_TYPE_IXFR; type <= DNS_TYPE_AXFR; type++) {
        ask_for(&tcp, WIRE("\1a\4test"), type, DNS_CLASS_IN);
        assert_int_equal(rcode_of(&tcp), DNS_RCODE_REFUSED);
    }
    assert_int_equal(meter(METRICS_RESPONSES_TCP_REFUSED), 2);
}

/* Shows: pain 26 */
static void a_client_waits_with_so_many_and_no_more(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PER_CLIENT; i++) {
        ask(&udp);
    }
    assert_int_equal(udp.replies, 0);
    client.remote.port++; /* another port is no other client */
    ask(&udp);
    assert_int_equal(rcode_of(&udp), DNS_RCODE_SERVFAIL);
    assert_int_equal(meter(METRICS_DROPPED_OVERLOAD), 1);
    assert_int_equal(query_pending(hall), PER_CLIENT);
    client.remote = address_of("127.0.0.2:4000");
    ask(&udp);
    assert_int_equal(udp.replies, 1);
    assert_int_equal(meter(METRICS_PENDING), PER_CLIENT + 1);
}

/* Shows: pain 26 */
static void all_together_wait_with_so_many_and_no_more(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PENDING; i++) {
        client.remote.bytes[3] = (uint8_t)(i + 1);
        ask(&tcp);
    }
    assert_int_equal(tcp.replies, 0);
    client.remote.bytes[3] = 100;
    ask(&tcp);
    assert_int_equal(rcode_of(&tcp), DNS_RCODE_SERVFAIL);
    assert_int_equal(query_pending(hall), PENDING);
    assert_int_equal(tcp.door.waiting_count, PENDING);
}

/* Shows: F08, pain 12 */
static void a_question_without_an_answer_ends_at_its_deadline(void **state)
{
    (void)state;
    ask(&udp);
    turn_for(TIMEOUT / 2);
    assert_int_equal(udp.replies, 0);
    turn_for(TIMEOUT);
    assert_int_equal(udp.replies, 1);
    assert_int_equal(rcode_of(&udp), DNS_RCODE_SERVFAIL);
    assert_int_equal(query_pending(hall), 0);
    assert_int_equal(udp.door.waiting_count, 0);
    assert_int_equal(meter(METRICS_PENDING), 0);
    assert_int_equal(meter(METRICS_RESPONSES_UDP_SERVFAIL), 1);
    for (unsigned i = 0; i < PER_CLIENT; i++) {
        ask(&udp); /* the client's account is clear again */
    }
    assert_int_equal(query_pending(hall), PER_CLIENT);
}

enum { SIGNED_SIZE = 1500 };

/* A query that ends in a TSIG record with so many bytes of data that it is SIGNED_SIZE long. */
static void write_signed(uint8_t message[SIGNED_SIZE])
{
    memset(message, 0, SIGNED_SIZE);
    size_t size = write_query(message, WIRE("\1A\4Test"), DNS_TYPE_A, DNS_CLASS_IN);
    struct bytes_writer writer = bytes_writer_of(message + size, SIGNED_SIZE - size);
    bytes_write(&writer, WIRE("\3key"));
    bytes_write_u16(&writer, DNS_TYPE_TSIG);
    bytes_write_u16(&writer, DNS_TYPE_ANY);
    bytes_write_u32(&writer, 0);
    bytes_write_u16(&writer, (uint16_t)(SIGNED_SIZE - size - bytes_written(&writer) - 2));
    bytes_write(&writer, WIRE("\3alg"));
    message[11] = 1;
}

static void a_signed_query_goes_as_it_came(void **state)
{
    (void)state;
    uint8_t message[SIGNED_SIZE];
    write_signed(message);
    query_begin(hall, &tcp.door, &client, span_of(message, sizeof message));
    assert_int_equal(query_pending(hall), 1);
    struct query *query = container_of(tcp.door.waiting.next, struct query, node);
    assert_ptr_equal(query->ask.message, query->long_message);
    assert_int_equal(query->ask.message_size, SIGNED_SIZE);
    assert_memory_equal(query->ask.message + 2, message + 2, SIGNED_SIZE - 2);
    assert_int_equal(hall->long_messages.taken, 1);
    turn_for(TIMEOUT * 3 / 2);
    assert_int_equal(hall->long_messages.taken, 0);
    assert_int_equal(query_pending(hall), 0);
}

static void few_long_queries_wait_at_a_time(void **state)
{
    (void)state;
    query_hall_close(hall);
    struct query_options options = usual();
    options.pending = options.pending_per_client = 2 * LONG_MESSAGES;
    open_hall(&options);
    uint8_t message[SIGNED_SIZE];
    write_signed(message);
    for (unsigned i = 0; i < LONG_MESSAGES; i++) {
        query_begin(hall, &tcp.door, &client, span_of(message, sizeof message));
    }
    assert_int_equal(tcp.replies, 0);
    query_begin(hall, &tcp.door, &client, span_of(message, sizeof message));
    assert_int_equal(tcp.replies, 1);
    assert_int_equal(rcode_of(&tcp), DNS_RCODE_SERVFAIL);
    assert_int_equal(query_pending(hall), LONG_MESSAGES);
    ask(&tcp); /* a short one has its place still */
    assert_int_equal(query_pending(hall), LONG_MESSAGES + 1);
}

static void a_client_that_leaves_loses_its_answer_only(void **state)
{
    (void)state;
    ask(&tcp);
    ask(&tcp);
    ask(&udp);
    query_door_leave(hall, &tcp.door);
    assert_int_equal(tcp.door.waiting_count, 0);
    assert_int_equal(query_pending(hall), 1); /* that somebody waits for */
    assert_int_equal(meter(METRICS_PENDING), 3);
    memset(&tcp.door, 0xa5, sizeof tcp.door);
    turn_for(TIMEOUT * 3 / 2);
    assert_int_equal(query_pending(hall), 0);
    assert_int_equal(meter(METRICS_DROPPED_CLIENT_GONE), 2);
    assert_int_equal(udp.replies, 1);
    query_door_init(&tcp.door, QUERY_TCP, 100, on_reply);
}

static void a_view_is_what_the_client_can_take(void **state)
{
    (void)state;
    struct dns_query query = {.id = ID, .rd = true, .cd = true, .udp_size = 4096, .has_edns = true};
    struct dns_view view = query_view(&udp.door, &query);
    assert_int_equal(view.limit, DNS_UDP_MOST);
    assert_true(view.rd && view.cd && !view.show_ad);
    assert_int_equal(view.keepalive, -1);
    query.udp_size = DNS_UDP_LEAST;
    query.ad = query.keepalive = true;
    view = query_view(&udp.door, &query);
    assert_int_equal(view.limit, DNS_UDP_LEAST);
    assert_true(view.show_ad);
    assert_int_equal(view.keepalive, -1); /* never over UDP */
    view = query_view(&tcp.door, &query);
    assert_int_equal(view.limit, DNS_MESSAGE_MAX);
    assert_int_equal(view.keepalive, 100);
    query = (struct dns_query){.dnssec_ok = true};
    view = query_view(&tcp.door, &query);
    assert_true(view.keepalive == -1 && view.show_ad && view.dnssec_ok);
    assert_int_equal(view.extended.code, DNS_EXTENDED_NONE);
}

static void the_log_knows_what_it_may(void **state)
{
    (void)state;
    static const char *const words[] = {NULL, "client=127.0.0.0/24 ", "client=127.0.0.1:4000 "};
    for (int level = QUERY_LOG_OFF; level <= QUERY_LOG_FULL; level++) {
        hall->options.log_queries = (enum query_log)level;
        ask_for(&udp, WIRE("\1a\4test"), DNS_TYPE_AXFR, DNS_CLASS_IN);
        char line[LOG_LINE_MAX + 1] = "";
        size_t size = log_take(&quiet, LOG_FORMAT_TEXT, line);
        assert_int_equal(size > 0, level != QUERY_LOG_OFF);
        if (size > 0) {
            line[size] = '\0';
            assert_non_null(strstr(line, words[level]));
            assert_non_null(strstr(line, "name=a.test."));
            size = log_take(&quiet, LOG_FORMAT_TEXT, line);
            line[size] = '\0';
            assert_non_null(strstr(line, "rcode=REFUSED source=local"));
            assert_null(strstr(line, "127.0.0"));
        }
    }
    assert_false(log_waiting(&quiet));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_cannot_be_answered_is_dropped_and_counted),
        TEST(broken_queries_are_answered_at_once),
        TEST(strangers_are_refused_whatever_they_ask),
        TEST(questions_about_the_server_never_leave),
        TEST(names_and_classes_beside_them_do_leave),
        TEST(transfers_are_refused),
        TEST(a_client_waits_with_so_many_and_no_more),
        TEST(all_together_wait_with_so_many_and_no_more),
        TEST(a_question_without_an_answer_ends_at_its_deadline),
        TEST(a_signed_query_goes_as_it_came),
        TEST(few_long_queries_wait_at_a_time),
        TEST(a_client_that_leaves_loses_its_answer_only),
        TEST(a_view_is_what_the_client_can_take),
        TEST(the_log_knows_what_it_may),
    };
    return cmocka_run_group_tests_name("query", tests, NULL, NULL);
}
