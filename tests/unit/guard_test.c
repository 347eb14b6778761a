/* Who may enter: access lists against a slow model, and counts of connections, also from several threads. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/random.h"

#include "guard/guard.h"

enum { LIST_MAX = 64 };

struct prefix_list {
    struct address_prefix items[LIST_MAX];
    size_t count;
};

static struct address address_of(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(span_text(text), 0, &address), 0);
    return address;
}

/* Prefixes between spaces. */
static struct prefix_list list_of(const char *text)
{
    struct prefix_list list = {.count = 0};
    for (const char *at = text; *at != '\0';) {
        size_t size = strcspn(at, " ");
        assert_int_equal(address_prefix_parse(span_of(at, size), &list.items[list.count++]), 0);
        at += size + (at[size] == ' ');
    }
    return list;
}

static struct guard_access *access_of(const struct prefix_list *allow, const struct prefix_list *deny)
{
    struct guard_access *access;
    assert_int_equal(guard_access_build(allow->items, allow->count, deny->items, deny->count, &access), 0);
    return access;
}

static bool allows(const char *allow, const char *deny, const char *client)
{
    struct prefix_list allowed = list_of(allow), denied = list_of(deny);
    struct guard_access *access = access_of(&allowed, &denied);
    struct address address = address_of(client);
    bool result = guard_access_allows(access, &address);
    guard_access_free(access);
    return result;
}

static void an_empty_list_allows_nobody(void **state)
{
    (void)state;
    assert_false(allows("", "", "127.0.0.1"));
    assert_false(allows("", "", "::1"));
    assert_true(allows("127.0.0.0/8", "", "127.0.0.1"));
    guard_access_free(NULL);
}

static void the_bounds_of_a_prefix_are_exact(void **state)
{
    (void)state;
    assert_true(allows("192.0.2.64/26", "", "192.0.2.64"));
    assert_true(allows("192.0.2.64/26", "", "192.0.2.127"));
    assert_false(allows("192.0.2.64/26", "", "192.0.2.63"));
    assert_false(allows("192.0.2.64/26", "", "192.0.2.128"));
    assert_true(allows("192.0.2.1/32", "", "192.0.2.1"));
    assert_false(allows("192.0.2.1/32", "", "192.0.2.0"));
    assert_true(allows("2001:db8::1/128", "", "2001:db8::1"));
    assert_false(allows("2001:db8::1/128", "", "2001:db8::"));
    assert_true(allows("2001:db8::/33", "", "2001:db8:7fff:ffff::"));
    assert_false(allows("2001:db8::/33", "", "2001:db8:8000::"));
}

static void everybody_of_one_family_is_nobody_of_the_other(void **state)
{
    (void)state;
    assert_true(allows("0.0.0.0/0", "", "255.255.255.255"));
    assert_true(allows("0.0.0.0/0", "", "0.0.0.0"));
    assert_false(allows("0.0.0.0/0", "", "::"));
    assert_true(allows("::/0", "", "ffff::"));
    assert_false(allows("::/0", "", "127.0.0.1"));
    assert_true(allows("0.0.0.0/0", "", "::ffff:192.0.2.1"));
}

static void nested_and_overlapping_prefixes_are_one_set(void **state)
{
    (void)state;
    const char *nested = "10.1.0.0/16 10.0.0.0/8 10.1.2.0/24 10.0.0.0/8 10.255.0.0/16 11.0.0.0/32";
    assert_true(allows(nested, "", "10.200.0.1"));
    assert_true(allows(nested, "", "10.1.2.3"));
    assert_true(allows(nested, "", "10.255.255.255"));
    assert_true(allows(nested, "", "11.0.0.0"));
    assert_false(allows(nested, "", "11.0.0.1"));
    assert_false(allows(nested, "", "9.255.255.255"));
}

/* Shows: pain 16 */
static void a_denied_prefix_wins_whatever_is_allowed(void **state)
{
    (void)state;
    assert_false(allows("0.0.0.0/0", "192.0.2.0/24", "192.0.2.1"));
    assert_false(allows("192.0.2.1/32", "192.0.2.0/24", "192.0.2.1"));
    assert_true(allows("0.0.0.0/0", "192.0.2.0/24", "192.0.3.1"));
    assert_false(allows("0.0.0.0/0 ::/0", "0.0.0.0/0", "192.0.2.1"));
    assert_true(allows("0.0.0.0/0 ::/0", "0.0.0.0/0", "2001:db8::1"));
}

/* A port says nothing about who it is. */
static void the_port_does_not_matter(void **state)
{
    (void)state;
    struct prefix_list allow = list_of("192.0.2.1/32"), deny = list_of("");
    struct guard_access *access = access_of(&allow, &deny);
    struct address address = address_of("192.0.2.1:65535");
    assert_true(guard_access_allows(access, &address));
    guard_access_free(access);
}

/* ---- against a model ---- */

/* Addresses from few bits, so that prefixes nest, touch and repeat. */
static struct address random_address(struct random *random)
{
    struct address address = {.family = random_below(random, 2) ? AF_INET6 : AF_INET};
    size_t last = address.family == AF_INET ? 3 : 15;
    address.bytes[0] = (uint8_t)(random_below(random, 2) << 7);
    address.bytes[1] = (uint8_t)(random_below(random, 4) << 6);
    address.bytes[last] = (uint8_t)random_below(random, 8);
    return address;
}

static struct prefix_list random_list(struct random *random)
{
    struct prefix_list list = {.count = random_below(random, 12)};
    for (size_t i = 0; i < list.count; i++) {
        struct address address = random_address(random);
        uint8_t length = (uint8_t)random_below(random, address_bits(&address) + 1);
        if (random_below(random, 2)) {
            length = (uint8_t)random_below(random, 12);
        }
        list.items[i] = address_prefix_of(&address, length);
    }
    return list;
}

static bool model_contains(const struct prefix_list *list, const struct address *address)
{
    for (size_t i = 0; i < list->count; i++) {
        if (address_prefix_contains(&list->items[i], address)) {
            return true;
        }
    }
    return false;
}

static void lists_agree_with_a_linear_search(void **state)
{
    (void)state;
    struct random random;
    random_init_repeatable(&random, 7);
    unsigned allowed = 0;
    for (unsigned round = 0; round < 2000; round++) {
        struct prefix_list allow = random_list(&random), deny = random_list(&random);
        struct guard_access *access = access_of(&allow, &deny);
        for (unsigned i = 0; i < 32; i++) {
            struct address address = random_address(&random);
            bool expected = model_contains(&allow, &address) && !model_contains(&deny, &address);
            assert_int_equal(guard_access_allows(access, &address), expected);
            allowed += expected;
        }
        guard_access_free(access);
    }
    assert_in_range(allowed, 1000, 63000);
}

/* ---- connections ---- */

static const struct hash_key key = {{1, 2}};

static struct guard_connections *connections_of(unsigned most, unsigned most_per_client)
{
    struct guard_connections *connections;
    assert_int_equal(guard_connections_open(key, most, most_per_client, &connections), 0);
    return connections;
}

/* Shows: T08 */
static void a_client_is_stopped_at_its_own_limit(void **state)
{
    (void)state;
    struct guard_connections *connections = connections_of(100, 3);
    struct address one = address_of("192.0.2.1:1000"), other = address_of("192.0.2.2:1000");
    for (unsigned i = 0; i < 3; i++) {
        one.port++;
        assert_int_equal(guard_connections_enter(connections, &one), GUARD_ENTER);
    }
    assert_int_equal(guard_connections_enter(connections, &one), GUARD_CLIENT_FULL);
    assert_int_equal(guard_connections_enter(connections, &other), GUARD_ENTER);
    guard_connections_leave(connections, &one);
    assert_int_equal(guard_connections_enter(connections, &one), GUARD_ENTER);
    assert_int_equal(guard_connections_enter(connections, &one), GUARD_CLIENT_FULL);
    guard_connections_close(connections);
}

/* Shows: T08 */
static void all_clients_together_are_stopped_at_the_limit(void **state)
{
    (void)state;
    struct guard_connections *connections = connections_of(4, 3);
    struct address clients[5];
    for (unsigned i = 0; i < 5; i++) {
        clients[i] = address_of("192.0.2.1");
        clients[i].bytes[3] = (uint8_t)i;
        assert_int_equal(guard_connections_enter(connections, &clients[i]), i < 4 ? GUARD_ENTER : GUARD_FULL);
    }
    /* Who was refused was not counted. */
    guard_connections_leave(connections, &clients[0]);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(guard_connections_enter(connections, &clients[4]), GUARD_ENTER);
        assert_int_equal(guard_connections_enter(connections, &clients[4]), GUARD_FULL);
        guard_connections_leave(connections, &clients[4]);
    }
    guard_connections_close(connections);
}

static void refusals_of_one_client_take_no_place_of_others(void **state)
{
    (void)state;
    struct guard_connections *connections = connections_of(2, 1);
    struct address one = address_of("2001:db8::1"), other = address_of("2001:db8::2");
    assert_int_equal(guard_connections_enter(connections, &one), GUARD_ENTER);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(guard_connections_enter(connections, &one), GUARD_CLIENT_FULL);
    }
    assert_int_equal(guard_connections_enter(connections, &other), GUARD_ENTER);
    guard_connections_close(connections);
}

enum { THREADS = 4, ROUNDS = 20000, MOST = 3 };

struct crowd {
    struct guard_connections *connections;
    atomic_uint inside, most_inside, entered;
};

static void come_and_go(struct crowd *crowd, const struct address *client)
{
    if (guard_connections_enter(crowd->connections, client) != GUARD_ENTER) {
        return;
    }
    unsigned inside = atomic_fetch_add(&crowd->inside, 1) + 1;
    unsigned most = atomic_load(&crowd->most_inside);
    while (inside > most && !atomic_compare_exchange_weak(&crowd->most_inside, &most, inside)) {}
    atomic_fetch_add(&crowd->entered, 1);
    atomic_fetch_sub(&crowd->inside, 1);
    guard_connections_leave(crowd->connections, client);
}

static void *visit(void *argument)
{
    struct crowd *crowd = argument;
    struct random random;
    random_init(&random);
    struct address client = address_of("192.0.2.0");
    for (unsigned i = 0; i < ROUNDS; i++) {
        client.bytes[3] = (uint8_t)random_below(&random, 8);
        come_and_go(crowd, &client);
    }
    return NULL;
}

static void threads_never_pass_the_limit_and_leave_nothing(void **state)
{
    (void)state;
    struct crowd crowd = {.connections = connections_of(MOST, 2)};
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, visit, &crowd), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_in_range(atomic_load(&crowd.most_inside), 1, MOST);
    assert_true(atomic_load(&crowd.entered) > 0);
    struct address client = address_of("192.0.2.9");
    assert_int_equal(guard_connections_enter(crowd.connections, &client), GUARD_ENTER);
    assert_int_equal(guard_connections_enter(crowd.connections, &client), GUARD_ENTER);
    assert_int_equal(guard_connections_enter(crowd.connections, &client), GUARD_CLIENT_FULL);
    client.bytes[3] = 10;
    assert_int_equal(guard_connections_enter(crowd.connections, &client), GUARD_ENTER);
    client.bytes[3] = 11;
    assert_int_equal(guard_connections_enter(crowd.connections, &client), GUARD_FULL);
    guard_connections_close(crowd.connections);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_list_allows_nobody),
        cmocka_unit_test(the_bounds_of_a_prefix_are_exact),
        cmocka_unit_test(everybody_of_one_family_is_nobody_of_the_other),
        cmocka_unit_test(nested_and_overlapping_prefixes_are_one_set),
        cmocka_unit_test(a_denied_prefix_wins_whatever_is_allowed),
        cmocka_unit_test(the_port_does_not_matter),
        cmocka_unit_test(lists_agree_with_a_linear_search),
        cmocka_unit_test(a_client_is_stopped_at_its_own_limit),
        cmocka_unit_test(all_clients_together_are_stopped_at_the_limit),
        cmocka_unit_test(refusals_of_one_client_take_no_place_of_others),
        cmocka_unit_test(threads_never_pass_the_limit_and_leave_nothing),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
