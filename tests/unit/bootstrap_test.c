/*
 * The addresses of servers that are known by name, over real sockets: opening, closing with questions out,
 * and what it takes. What it does over time is shown by the plays (tests/scenario/bootstrap_*.play).
 */
#include <string.h>

#include "net/net.h"

#include "bootstrap/internal.h"
#include "upstream_test.h"

static struct bootstrap *bootstrap;
static struct address_list found;
static unsigned found_count;

static bool is_own(void *owner, size_t name, const struct address *address)
{
    assert_ptr_equal(owner, &found);
    assert_int_equal(name, 1);
    return address_is_any(address);
}

static void on_found(void *owner, size_t name, const struct address_list *addresses)
{
    assert_ptr_equal(owner, &found);
    assert_int_equal(name, 1);
    found = *addresses;
    found_count++;
}

static struct bootstrap_options options_of(const struct upstream_server_options *list, size_t count)
{
    struct bootstrap_options options = {
        .upstream = usual,
        .name_count = 2,
        .padding_block = 0, /* the servers here remember 64 bytes of a question */
        .is_own = is_own,
        .found = on_found,
        .owner = &found,
    };
    options.upstream.in_flight = 64;
    options.upstream.servers = list;
    options.upstream.server_count = count;
    return options;
}

/* The first and the second server are asked for the addresses of the third, which is the pool's only one. */
static void open_world(void)
{
    struct upstream_server_options list[2];
    for (size_t i = 0; i < 2; i++) {
        list[i] = (struct upstream_server_options){.label = "boot",
                                                   .transport = UPSTREAM_TCP,
                                                   .addresses = {1, {servers[i].address}},
                                                   .page = i + 1};
    }
    found_count = 0;
    struct bootstrap_options options = options_of(list, 2);
    struct upstream_surroundings around = surroundings();
    assert_int_equal(bootstrap_open(&options, &around, &bootstrap), 0);
    struct upstream_server_options named = {
        .label = "named", .transport = UPSTREAM_TCP, .lookup = bootstrap_lookup(bootstrap, 1)};
    struct upstream_options one = usual;
    one.servers = &named;
    assert_int_equal(upstream_pool_open(&one, &around, &pool), 0);
    struct bootstrap_target target = {.host = "dns.example", .port = servers[2].address.port, .pool = pool};
    bootstrap_begin(bootstrap, 1, &target);
}

/* The question with an answer of one address behind it. */
static void answer_address(struct heard *heard, const uint8_t address[4])
{
    uint8_t frame[2 + sizeof heard->message + 16] = {0};
    static const uint8_t name[] = {3, 'd', 'n', 's', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0};
    size_t size = DNS_HEADER_SIZE + sizeof name + 4;
    assert_memory_equal(heard->message + DNS_HEADER_SIZE, name, sizeof name);
    memcpy(frame + 2, heard->message, size);
    frame[4] |= 0x80;
    bytes_put_u16(frame + 2 + 6, 1);
    bytes_put_u16(frame + 2 + 10, 0);
    static const uint8_t head[] = {0xc0, DNS_HEADER_SIZE, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4};
    memcpy(frame + 2 + size, head, sizeof head);
    memcpy(frame + 2 + size + sizeof head, address, 4);
    size += sizeof head + 4;
    bytes_put_u16(frame, (uint16_t)size);
    struct iovec part = {.iov_base = frame, .iov_len = 2 + size};
    assert_int_equal(net_tcp_write(heard->from->descriptor, &part, 1), (int)part.iov_len);
}

static unsigned type_of(const struct heard *heard)
{
    return bytes_get_u16(heard->message + DNS_HEADER_SIZE + 13);
}

static void a_question_waits_for_the_address(void **state)
{
    (void)state;
    open_world();
    ask(&asked[0], 5 * CLOCK_SECOND);
    TURN_UNTIL(servers[0].heard_count == 2 && servers[1].heard_count == 2);
    assert_int_equal(servers[2].heard_count, 0);
    for (size_t i = 0; i < 2; i++) {
        struct heard *heard = &servers[1].heard[i];
        if (type_of(heard) == DNS_TYPE_A) {
            answer_address(heard, servers[2].address.bytes);
        } else {
            assert_int_equal(type_of(heard), DNS_TYPE_AAAA);
        }
    }
    TURN_UNTIL(servers[2].heard_count == 1);
    assert_int_equal(found_count, 1);
    assert_int_equal(found.count, 1);
    assert_true(address_equal(&found.items[0], &servers[2].address));
    server_answer(&servers[2].heard[0], DNS_RCODE_NOERROR);
    TURN_UNTIL(asked[0].done == 1);
    assert_int_equal(asked[0].error, 0);
    bootstrap_close(bootstrap); /* the other family is still out */
}

static void it_closes_in_every_state(void **state)
{
    (void)state;
    open_world();
    bootstrap_close(bootstrap);
    upstream_pool_close(pool);
    open_world();
    TURN_UNTIL(servers[0].heard_count == 2);
    bootstrap_close(bootstrap);
    upstream_pool_close(pool);
    open_world();
    server_refuse(&servers[0]);
    bootstrap_network_changed(bootstrap);
    turn(20);
    bootstrap_close(bootstrap);
    assert_int_equal(found_count, 0);
}

static void what_it_takes_is_known_before(void **state)
{
    (void)state;
    struct upstream_server_options list[2] = {{.transport = UPSTREAM_TLS}, {.transport = UPSTREAM_UDP}};
    struct bootstrap_options one = options_of(list, 1), two = options_of(list, 2);
    struct upstream_options pool_of_first = one.upstream, pool_of_second = one.upstream;
    pool_of_second.servers = &list[1];
    size_t first = upstream_pool_memory(&pool_of_first), second = upstream_pool_memory(&pool_of_second);
    assert_int_not_equal(first, second);
    assert_true(bootstrap_memory(&one) > first);
    assert_int_equal(bootstrap_memory(&two) - bootstrap_memory(&one),
                     second + 4 * sizeof(struct bootstrap_question));
    open_world();
    bootstrap_close(bootstrap);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_question_waits_for_the_address),
        TEST(it_closes_in_every_state),
        TEST(what_it_takes_is_known_before),
    };
    return cmocka_run_group_tests_name("bootstrap", tests, NULL, NULL);
}
