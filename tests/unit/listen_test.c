/* The front doors over real sockets: who is closed when and why, what is counted, and from which address
 * answers come. Questions are answered by the hall itself (a transfer is refused) or wait for a server that
 * is silent. */
#include "listen_test.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"

enum { RING_SIZE = 1 << 16, EARLY = 100 };

struct event_loop *loop;
struct stream_shop shop;
static struct random chance;
struct log quiet;
static struct metrics *metrics;
struct metrics_worker *page;
int tcp_socket;
static int metrics_descriptor, silent_server, udp_socket;
static struct guard_access *allowed;
struct guard_connections *counts;
static struct upstream_pool *pool;
static const uint8_t partition = 3;
struct query_hall *hall;
struct listen_hall *doors;
static struct address udp_address, tcp_address;

struct address address_of(const char *text)
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
    assert_int_equal(net_tcp_listen(&any, false, 8, &silent_server), 0);
    assert_int_equal(net_local_address(silent_server, &server.addresses.items[0]), 0);
    struct upstream_options options = {.attempt_timeout = 1500 * CLOCK_MILLISECOND,
                                       .connect_timeout = 1500 * CLOCK_MILLISECOND,
                                       .handshake_timeout = 2500 * CLOCK_MILLISECOND,
                                       .refused_retry = 250 * CLOCK_MILLISECOND,
                                       .backoff_min = 250 * CLOCK_MILLISECOND,
                                       .backoff_max = 30 * CLOCK_SECOND,
                                       .handshakes_per_second = 5,
                                       .links = 1,
                                       .max_age = 600 * CLOCK_SECOND,
                                       .warm = 600 * CLOCK_SECOND,
                                       .in_flight = 64,
                                       .servers = &server,
                                       .server_count = 1};
    struct upstream_surroundings around = {
        .loop = loop, .shop = &shop, .random = &chance, .log = &quiet, .metrics = page, .wall = clock_wall};
    assert_int_equal(upstream_pool_open(&options, &around, &pool), 0);
}

static void open_hall(void)
{
    struct query_options options = {.query_timeout = TIMEOUT,
                                    .udp_discard = TIMEOUT,
                                    .pending = 16,
                                    .long_messages = 8,
                                    .pending_per_client = 16,
                                    .strip_client_subnet = true};
    struct query_surroundings around = {.loop = loop,
                                        .pools = &pool,
                                        .partitions = &partition,
                                        .access = allowed,
                                        .log = &quiet,
                                        .metrics = page,
                                        .wall = clock_wall};
    assert_int_equal(query_hall_open(&options, &around, &hall), 0);
}

struct listen_hall *open_empty_doors(void)
{
    struct listen_options options = {.tcp_idle = IDLE,
                                     .tcp_message_timeout = MESSAGE,
                                     .tcp_write_timeout = CLOCK_SECOND,
                                     .tcp_output = 128 * 1024,
                                     .tcp_connections = CONNECTIONS};
    struct listen_surroundings around = {.loop = loop,
                                         .shop = &shop,
                                         .hall = hall,
                                         .connections = counts,
                                         .log = &quiet,
                                         .metrics = page,
                                         .wall = clock_wall};
    struct listen_hall *opened;
    assert_int_equal(listen_hall_open(&options, &around, &opened), 0);
    return opened;
}

void open_doors(const char *udp, const char *tcp)
{
    doors = open_empty_doors();
    struct address udp_any = address_of(udp), tcp_any = address_of(tcp);
    size_t granted;
    assert_int_equal(net_udp_bind(&udp_any, false, 65536, &udp_socket, &granted), 0);
    assert_int_equal(net_local_address(udp_socket, &udp_address), 0);
    assert_int_equal(net_tcp_listen(&tcp_any, false, 64, &tcp_socket), 0);
    assert_int_equal(net_local_address(tcp_socket, &tcp_address), 0);
    assert_int_equal(listen_udp_open(doors, udp_socket, 0), 0);
    assert_int_equal(listen_tcp_open(doors, tcp_socket, 0), 0);
}

static int set_up(void **state)
{
    (void)state;
    static uint8_t ring[RING_SIZE];
    signal(SIGPIPE, SIG_IGN);
    random_init(&chance);
    log_init(&quiet, LOG_WARNING, ring, sizeof ring);
    struct address_prefix everybody[2];
    assert_int_equal(address_prefix_parse(span_text("0.0.0.0/0"), &everybody[0]), 0);
    assert_int_equal(address_prefix_parse(span_text("::/0"), &everybody[1]), 0);
    if (event_loop_open(&loop) != 0 || stream_shop_open(&shop, loop, 1024) != 0 ||
        metrics_open(1, &metrics, &metrics_descriptor) != 0 ||
        guard_access_build(everybody, 2, NULL, 0, &allowed) != 0 ||
        guard_connections_open((struct hash_key){{5, 6}}, CONNECTIONS, PER_CLIENT, &counts) != 0) {
        return -1;
    }
    page = &metrics->worker[0];
    open_pool();
    open_hall();
    return 0;
}

static void close_doors(void)
{
    listen_hall_close(doors);
    net_close(udp_socket);
    net_close(tcp_socket);
}

/* Every place that was taken is free again. */
static void check_counts(void)
{
    struct address clients[2] = {address_of("192.0.2.1"), address_of("192.0.2.2")};
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        assert_int_equal(guard_connections_enter(counts, &clients[i % 2]), GUARD_ENTER);
    }
    assert_int_equal(atomic_load(&page->meter[METRICS_TCP_CONNECTIONS]), 0);
}

static int tear_down(void **state)
{
    (void)state;
    close_doors();
    query_hall_close(hall);
    upstream_pool_close(pool);
    check_counts();
    guard_connections_close(counts);
    guard_access_free(allowed);
    assert_int_equal(shop.blocks.taken, 0);
    stream_shop_close(&shop);
    event_loop_close(loop);
    metrics_close(metrics, metrics_descriptor);
    net_close(silent_server);
    return 0;
}

uint64_t meter(enum metrics_meter which)
{
    return atomic_load(&page->meter[which]);
}

void turn_for(uint64_t span)
{
    for (uint64_t end = clock_monotonic() + span; clock_monotonic() < end;) {
        event_loop_turn(loop, CLOCK_MILLISECOND);
    }
}

void turn_until(enum metrics_meter which, uint64_t wanted)
{
    for (unsigned i = 0; i < 3000 && meter(which) < wanted; i++) {
        event_loop_turn(loop, CLOCK_MILLISECOND);
    }
    assert_int_equal(meter(which), wanted);
}

/* ---- clients ---- */

size_t write_query(uint8_t *out, uint16_t type)
{
    static const uint8_t query[] = {0xbe, 0xef, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1, 0, 1};
    memcpy(out, query, sizeof query);
    bytes_put_u16(out + 15, type);
    return sizeof query;
}

int connect_client(void)
{
    int descriptor;
    assert_int_equal(net_tcp_connect(&tcp_address, &descriptor), 0);
    turn_for(5 * CLOCK_MILLISECOND);
    return descriptor;
}

void send_bytes(int descriptor, const uint8_t *bytes, size_t size)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    assert_int_equal(net_tcp_write(descriptor, &part, 1), (int)size);
    turn_for(5 * CLOCK_MILLISECOND);
}

void send_query(int descriptor, uint16_t type)
{
    uint8_t frame[64];
    size_t size = write_query(frame + 2, type);
    bytes_put_u16(frame, (uint16_t)size);
    send_bytes(descriptor, frame, size + 2);
}

bool is_closed(int descriptor)
{
    uint8_t byte;
    int count = net_tcp_read(descriptor, &byte, 1);
    return count == 0 || (count < 0 && count != ERROR_AGAIN);
}

unsigned read_answer(int descriptor)
{
    uint8_t bytes[512];
    int size = net_tcp_read(descriptor, bytes, sizeof bytes);
    assert_true(size > 2 + DNS_HEADER_SIZE && size == 2 + bytes_get_u16(bytes));
    return bytes[5] & 0x0f;
}

/* ---- TCP ---- */

/* Shows: T03 */
static void an_idle_connection_is_closed_after_its_time(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int client = connect_client();
    turn_for(IDLE / 2);
    send_query(client, DNS_TYPE_AXFR);
    assert_int_equal(read_answer(client), DNS_RCODE_REFUSED);
    turn_for(IDLE * 3 / 4); /* counted anew from the answer */
    assert_false(is_closed(client));
    turn_until(METRICS_TCP_CLOSES_IDLE, 1);
    net_close(client);
}

/* Shows: T02, T06 */
static void a_message_that_drips_is_not_waited_for(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int client = connect_client();
    const uint8_t begin[] = {0xff, 0xff, 1};
    send_bytes(client, begin, sizeof begin);
    for (unsigned i = 0; i < 4; i++) {
        turn_for(MESSAGE / 4);
        send_bytes(client, begin, meter(METRICS_TCP_CLOSES_MESSAGE_TIMEOUT) == 0 ? 1 : 0);
    }
    turn_until(METRICS_TCP_CLOSES_MESSAGE_TIMEOUT, 1);
    assert_true(is_closed(client));
    net_close(client);
}

/* Shows: T06 */
static void a_length_that_no_message_has_closes(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    for (uint8_t length = 0; length < DNS_HEADER_SIZE; length++) {
        int client = connect_client();
        const uint8_t frame[DNS_HEADER_SIZE + 2] = {0, length};
        send_bytes(client, frame, sizeof frame);
        turn_until(METRICS_TCP_CLOSES_FRAME, length + 1U);
        net_close(client);
    }
    assert_int_equal(meter(METRICS_QUERIES_TCP), 0);
}

static void deadlines_are_the_nearest_of_three(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int client = connect_client();
    struct listen_connection *connection = container_of(doors->open.next, struct listen_connection, node);
    assert_true(event_timer_pending(&connection->timer));
    assert_in_range(connection->timer.due, connection->active_at, connection->active_at + MESSAGE);
    send_query(client, DNS_TYPE_A);
    assert_int_equal(connection->door.waiting_count, 1);
    turn_for(IDLE + IDLE / 4); /* it waits for its answer: not idle */
    assert_int_equal(meter(METRICS_TCP_CLOSES_IDLE), 0);
    turn_for(TIMEOUT - IDLE);
    assert_int_equal(read_answer(client), DNS_RCODE_SERVFAIL);
    net_close(client);
    turn_until(METRICS_TCP_CLOSES_PEER, 1);
}

/* Shows: T08 */
static void a_client_that_has_enough_is_turned_away(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int clients[PER_CLIENT + 1];
    for (unsigned i = 0; i <= PER_CLIENT; i++) {
        clients[i] = connect_client();
    }
    assert_int_equal(meter(METRICS_TCP_CLOSES_CLIENT_LIMIT), 1);
    assert_true(is_closed(clients[PER_CLIENT]));
    assert_int_equal(meter(METRICS_TCP_CONNECTIONS), PER_CLIENT);
    for (unsigned i = 0; i <= PER_CLIENT; i++) {
        net_close(clients[i]);
    }
    turn_until(METRICS_TCP_CLOSES_PEER, PER_CLIENT);
}

/* Shows: T08 */
static void the_longest_idle_one_gives_its_place(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    struct address strangers[2] = {address_of("192.0.2.1"), address_of("192.0.2.2")};
    int asks = connect_client(), idle = connect_client(), newer = connect_client();
    send_query(asks, DNS_TYPE_A); /* waits for its answer */
    send_query(newer, DNS_TYPE_AXFR);
    assert_int_equal(guard_connections_enter(counts, &strangers[0]), GUARD_ENTER); /* full */
    int pair[2];
    for (unsigned i = 0; i < 2; i++) {
        pair[i] = dup(silent_server);
        listen_connection_open(&doors->tcp[0], pair[i], &strangers[1]);
    }
    assert_int_equal(meter(METRICS_TCP_CLOSES_PRESSURE), 2);
    assert_true(is_closed(idle));
    assert_int_equal(read_answer(newer), DNS_RCODE_REFUSED);
    assert_true(is_closed(newer));
    assert_false(is_closed(asks));
    guard_connections_leave(counts, &strangers[0]);
    net_close(asks);
    net_close(idle);
    net_close(newer);
}

/* Shows: O03 */
static void without_descriptors_accepting_rests(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int clients[2];
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(net_tcp_connect(&tcp_address, &clients[i]), 0);
    }
    struct rlimit before, tiny;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tiny = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tiny), 0);
    event_loop_turn(loop, 20 * CLOCK_MILLISECOND);
    assert_true(event_timer_pending(&doors->tcp[0].pause));
    unsigned turns = 0;
    for (uint64_t end = clock_monotonic() + 60 * CLOCK_MILLISECOND; clock_monotonic() < end; turns++) {
        event_loop_turn(loop, 20 * CLOCK_MILLISECOND);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_in_range(turns, 1, 20); /* no spin */
    assert_int_equal(meter(METRICS_TCP_CONNECTIONS), 0);
    char line[LOG_LINE_MAX];
    size_t size = log_take(&quiet, LOG_FORMAT_TEXT, line);
    assert_non_null(memmem(line, size, "event=fd_limit", 14));
    assert_false(log_waiting(&quiet));
    turn_for(150 * CLOCK_MILLISECOND);
    assert_int_equal(meter(METRICS_TCP_CONNECTIONS) + meter(METRICS_TCP_CLOSES_IDLE), 2);
    net_close(clients[0]);
    net_close(clients[1]);
}

/* ---- the end ---- */

/* Shows: pain 29 */
static void a_drain_answers_what_waits_and_reads_nothing_new(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int asks = connect_client(), idle = connect_client();
    send_query(asks, DNS_TYPE_A);
    listen_drain(doors, -1);
    event_loop_turn(loop, 0);
    assert_true(is_closed(idle));
    assert_true(listen_busy(doors));
    send_query(asks, DNS_TYPE_AXFR);
    turn_for(TIMEOUT + 50 * CLOCK_MILLISECOND);
    assert_int_equal(read_answer(asks), DNS_RCODE_SERVFAIL); /* and no second one */
    assert_true(is_closed(asks));
    assert_false(listen_busy(doors));
    assert_int_equal(meter(METRICS_TCP_CLOSES_DRAIN), 2);
    net_close(asks);
    net_close(idle);
}

static void a_drain_takes_the_questions_that_had_arrived(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    struct sockaddr_storage name;
    socklen_t name_size = address_to_kernel(&udp_address, &name);
    uint8_t bytes[512];
    size_t size = write_query(bytes, DNS_TYPE_AXFR);
    int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&name, name_size), 0);
    for (unsigned i = 0; i < EARLY; i++) {
        assert_int_equal(send(client, bytes, size, 0), (ssize_t)size);
    }
    listen_drain(doors, -1);
    assert_int_equal(send(client, bytes, size, 0), (ssize_t)size);
    turn_for(20 * CLOCK_MILLISECOND);
    unsigned answers = 0;
    while (recv(client, bytes, sizeof bytes, 0) > 0) {
        answers++;
    }
    assert_int_equal(answers, EARLY); /* and not the late one */
    net_close(client);
}

/* A drain begins in the middle of a turn, when the loop has looked at all sockets already. */
static struct order {
    struct event_mailbox mailbox;
    int clients[2];
} order;

static void on_order(struct event_mailbox *mailbox)
{
    (void)mailbox;
    uint8_t frame[64];
    size_t size = write_query(frame + 2, DNS_TYPE_AXFR);
    bytes_put_u16(frame, (uint16_t)size);
    struct iovec part = {.iov_base = frame, .iov_len = size + 2};
    assert_int_equal(net_tcp_write(order.clients[0], &part, 1), (int)size + 2);
    assert_int_equal(net_tcp_write(order.clients[1], &part, 1), (int)size + 2);
    listen_drain(doors, -1);
}

/* Nobody can know when the other end reads: it had the whole question before the end began. */
static void a_drain_takes_what_connections_had_sent(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int asks = order.clients[0] = connect_client(), waits = order.clients[1] = connect_client();
    send_query(waits, DNS_TYPE_A);
    assert_int_equal(event_mailbox_open(loop, &order.mailbox, on_order), 0);
    event_mailbox_post(&order.mailbox);
    event_loop_turn(loop, 0);
    event_mailbox_close(&order.mailbox);
    assert_int_equal(read_answer(asks), DNS_RCODE_REFUSED);
    assert_true(is_closed(asks));
    assert_int_equal(read_answer(waits), DNS_RCODE_REFUSED);
    turn_for(TIMEOUT + 50 * CLOCK_MILLISECOND);
    assert_int_equal(read_answer(waits), DNS_RCODE_SERVFAIL);
    assert_true(is_closed(waits));
    assert_int_equal(meter(METRICS_TCP_CLOSES_DRAIN), 2);
    net_close(asks);
    net_close(waits);
}

static void doors_close_whatever_stands_in_them(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int asks = connect_client(), idle = connect_client();
    const uint8_t begin[] = {0, 40, 1, 2, 3};
    send_query(asks, DNS_TYPE_A);
    send_bytes(idle, begin, sizeof begin);
    close_doors();
    turn_for(20 * CLOCK_MILLISECOND);
    assert_true(is_closed(asks) && is_closed(idle));
    assert_int_equal(query_pending(hall), 0); /* nobody waits for it any more */
    assert_int_equal(meter(METRICS_PENDING), 1);
    net_close(asks);
    net_close(idle);
    open_doors("127.0.0.1:0", "127.0.0.1:0");
}

/* ---- UDP ---- */

static bool udp_exchange(const char *local, const char *asked, unsigned rcode)
{
    struct address from = address_of(local), to = address_of(asked);
    struct sockaddr_storage name, peer;
    int client = socket(from.family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = address_to_kernel(&from, &name);
    assert_true(client >= 0);
    if (bind(client, (struct sockaddr *)&name, size) != 0) {
        close(client);
        return false; /* a machine without IPv6 */
    }
    uint8_t bytes[512];
    size_t query = write_query(bytes, DNS_TYPE_AXFR);
    to.port = udp_address.port;
    size = address_to_kernel(&to, &name);
    assert_int_equal(sendto(client, bytes, query, 0, (struct sockaddr *)&name, size), (ssize_t)query);
    turn_for(20 * CLOCK_MILLISECOND);
    socklen_t peer_size = sizeof peer;
    assert_true(recvfrom(client, bytes, sizeof bytes, 0, (struct sockaddr *)&peer, &peer_size) > 0);
    assert_int_equal(bytes[3] & 0x0f, rcode);
    struct address answered;
    address_from_kernel((struct sockaddr *)&peer, &answered);
    assert_true(address_equal(&answered, &to));
    close(client);
    return true;
}

/* Shows: U01 */
static void answers_come_from_the_address_that_was_asked(void **state)
{
    (void)state;
    open_doors("0.0.0.0:0", "127.0.0.1:0");
    assert_true(doors->udp[0].wildcard);
    assert_true(udp_exchange("127.0.0.1:0", "127.0.0.1", DNS_RCODE_REFUSED));
    assert_true(udp_exchange("127.0.0.9:0", "127.0.0.2", DNS_RCODE_REFUSED));
    assert_true(udp_exchange("127.0.0.1:0", "127.255.0.3", DNS_RCODE_REFUSED));
    assert_int_equal(meter(METRICS_QUERIES_UDP), 3);
}

/* Shows: U01 */
static void answers_come_from_the_ipv6_address_that_was_asked(void **state)
{
    (void)state;
    struct address any = address_of("[::]:0");
    int probe;
    size_t granted;
    if (net_udp_bind(&any, false, 65536, &probe, &granted) != 0) {
        open_doors("127.0.0.1:0", "127.0.0.1:0");
        return;
    }
    net_close(probe);
    open_doors("[::]:0", "127.0.0.1:0");
    assert_true(doors->udp[0].wildcard);
    if (udp_exchange("[::1]:0", "::1", DNS_RCODE_REFUSED)) {
        assert_int_equal(meter(METRICS_QUERIES_UDP), 1);
    }
}

static void doors_are_no_more_than_there_is_room(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    doors->udp_count = doors->tcp_count = LISTEN_SOCKETS_MAX;
    assert_int_equal(listen_udp_open(doors, udp_socket, 0), ERROR_EXHAUSTED);
    assert_int_equal(listen_tcp_open(doors, tcp_socket, 0), ERROR_EXHAUSTED);
    doors->udp_count = doors->tcp_count = 1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_idle_connection_is_closed_after_its_time),
        TEST(a_message_that_drips_is_not_waited_for),
        TEST(a_length_that_no_message_has_closes),
        TEST(deadlines_are_the_nearest_of_three),
        TEST(a_client_that_has_enough_is_turned_away),
        TEST(the_longest_idle_one_gives_its_place),
        TEST(without_descriptors_accepting_rests),
        TEST(a_drain_answers_what_waits_and_reads_nothing_new),
        TEST(a_drain_takes_the_questions_that_had_arrived),
        TEST(a_drain_takes_what_connections_had_sent),
        TEST(doors_close_whatever_stands_in_them),
        TEST(answers_come_from_the_address_that_was_asked),
        TEST(answers_come_from_the_ipv6_address_that_was_asked),
        TEST(doors_are_no_more_than_there_is_room),
        TEST(an_idle_connection_goes_on_with_the_heir),
        TEST(what_was_read_of_a_question_goes_along),
        TEST(a_question_is_answered_before_its_connection_goes),
        TEST(connections_wait_for_an_heir_that_is_busy),
        TEST(an_heir_that_is_gone_takes_nothing),
        TEST(one_that_lost_an_answer_is_closed),
        TEST(an_heir_passes_on_when_it_ends_itself),
        TEST(what_belongs_to_no_door_is_closed),
        TEST(connections_may_come_from_several),
    };
    return cmocka_run_group_tests_name("listen", tests, NULL, NULL);
}
