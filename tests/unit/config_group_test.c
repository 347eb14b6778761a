/* Groups of upstreams, the names that go to them, and the listeners that ask them. */
#include <stdio.h>

#include "config_support.h"

static void assert_route(const struct config *config, size_t index, const char *name, unsigned group)
{
    assert_true(index < config->route_count);
    assert_string_equal(config->routes[index].name, name);
    assert_int_equal(config->routes[index].group, group);
}

static void test_one_group_by_default(void **state)
{
    (void)state;
    struct config *config = built_from_file("");
    assert_int_equal(config->group_count, 1);
    assert_string_equal(config->groups[0].name, "default");
    assert_int_equal(config->groups[0].policy, CONFIG_FASTEST);
    assert_int_equal(config->route_count, 0);
    assert_int_equal(config->listen[0].group, 0);
    assert_int_equal(config->upstreams[0].weight, 1);
    assert_string_equal(config->upstreams[0].label, config->upstreams[0].url);
    config_free(config);
}

static void test_groups(void **state)
{
    (void)state;
    struct config *config = built_from_file(
        "upstreams:\n"
        "  - {url: \"tls://192.0.2.1#a.test\", group: office, weight: 100}\n"
        "  - \"tls://192.0.2.2#b.test\"\n"
        "  - \"office=tls://192.0.2.2#b.test\"\n"
        "  - {url: quad9, group: big}\n"
        "groups: {office: {policy: random}, big: {policy: round-robin, hedge: false}, default: {}}\n"
        "routes: {Cluster.Local: office, 10.in-addr.arpa.: big}\n"
        "listen:\n"
        "  - 127.0.0.1:5301\n"
        "  - {address: 127.0.0.1:5302, transport: [udp], upstreams: big}\n");
    assert_int_equal(config->group_count, 3);
    assert_string_equal(config->groups[0].name, "office");
    assert_int_equal(config->groups[0].policy, CONFIG_RANDOM);
    assert_string_equal(config->groups[1].name, "default");
    assert_int_equal(config->groups[1].policy, CONFIG_FASTEST);
    assert_string_equal(config->groups[2].name, "big");
    assert_int_equal(config->groups[2].policy, CONFIG_ROUND_ROBIN);
    assert_true(config->groups[0].hedge && config->groups[1].hedge);
    assert_false(config->groups[2].hedge);
    assert_upstream(config, 0, "office/tls://192.0.2.1:853#a.test", "a.test");
    assert_int_equal(config->upstreams[0].weight, 100);
    assert_upstream(config, 1, "tls://192.0.2.2:853#b.test", "b.test");
    assert_upstream(config, 2, "office/tls://192.0.2.2:853#b.test", "b.test");
    assert_int_equal(config->upstreams[2].group, 0);
    assert_int_equal(config->upstreams[3].group, 2);
    assert_route(config, 0, "Cluster.Local", 0);
    assert_route(config, 1, "10.in-addr.arpa.", 2);
    assert_int_equal(config->listen[0].group, 1);
    assert_int_equal(config->listen[1].group, 2);
    config_free(config);
}

/* Copies would show names to servers that have another part of them. */
static uint8_t partition_of(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->group_count; i++) {
        if (strcmp(config->groups[i].name, name) == 0) {
            return config->groups[i].partition;
        }
    }
    fail_msg("no group %s", name);
    return 0;
}

/* A group keeps its part of the cache when others come before it, and shares it with none. */
static void test_partitions(void **state)
{
    (void)state;
    char text[8192], routes[4096] = "";
    bool taken[CONFIG_PARTITIONS] = {false};
    size_t size = (size_t)snprintf(text, sizeof text, "upstreams:\n");
    for (unsigned i = 0; i < CONFIG_GROUPS_MAX; i++) {
        size += (size_t)snprintf(text + size, sizeof text - size, "  - \"g%u=tls://192.0.2.1#a.test\"\n", i);
        size_t used = strlen(routes);
        snprintf(routes + used, sizeof routes - used, "%s\"%u.test\": g%u", i > 0 ? ", " : "", i, i);
    }
    snprintf(text + size, sizeof text - size, "routes: {%s, \".\": g0}\n", routes);
    struct config *many = built_from_file(text);
    assert_int_equal(many->group_count, CONFIG_GROUPS_MAX);
    for (size_t i = 0; i < many->group_count; i++) {
        assert_in_range(many->groups[i].partition, 0, CONFIG_PARTITIONS - 1);
        assert_false(taken[many->groups[i].partition]);
        taken[many->groups[i].partition] = true;
    }
    struct config *one = built_from_file("upstreams: [\"g0=quad9\"]\nroutes: {\".\": g0}\n");
    struct config *two = built_from_file(
        "upstreams: [\"other=quad9\", \"g0=quad9\"]\nroutes: {\".\": g0, \"x.test\": other}\n");
    assert_int_equal(partition_of(one, "g0"), partition_of(many, "g0"));
    assert_int_equal(partition_of(two, "g0"), partition_of(many, "g0"));
    assert_int_not_equal(partition_of(two, "other"), partition_of(two, "g0"));
    config_free(many);
    config_free(one);
    config_free(two);
}

static void test_hash_goes_without_copies(void **state)
{
    (void)state;
    struct config *config = built_from_file("upstreams: [quad9, \"a=quad9\", \"b=quad9\"]\n"
                                            "groups: {default: hash, a: {policy: hash}, "
                                            "b: {hedge: true, policy: hash}}\n"
                                            "routes: {a: a, b: b}\n");
    assert_false(config->groups[0].hedge);
    assert_false(config->groups[1].hedge);
    assert_true(config->groups[2].hedge);
    config_free(config);
}

static void test_the_rest_goes_elsewhere(void **state)
{
    (void)state;
    struct config *config = built_from_file("upstreams: [\"home=quad9\", \"tls://192.0.2.2#b.test\"]\n"
                                            "routes: {.: home, consul: default}\n");
    assert_int_equal(config->route_count, 1);
    assert_route(config, 0, "consul", 1);
    assert_int_equal(config->listen[0].group, 0);
    assert_int_equal(config->listen[1].group, 0);
    config_free(config);
}

static void test_environment(void **state)
{
    (void)state;
    struct config *config =
        built_from_environment(NAMES("DNSEAL_UPSTREAMS=quad9, office=tls://192.0.2.1#a.test",
                                     "DNSEAL_ROUTES=consul=office, lan=office", "DNSEAL_GROUPS=office=hash"));
    assert_int_equal(config->group_count, 2);
    assert_int_equal(config->groups[1].policy, CONFIG_HASH);
    assert_route(config, 0, "consul", 1);
    assert_route(config, 1, "lan", 1);
    config_free(config);
}

static void test_groups_errors(void **state)
{
    (void)state;
    assert_file_refused(
        "upstreams:\n"
        "  - {url: quad9, group: \"my office\"}\n"
        "  - {url: quad9, weight: 0}\n"
        "  - {url: quad9, group: a, weight: 101}\n"
        "  - \"=quad9\"\n"
        "  - \"b=nonsense\"\n"
        "groups: {a: {policy: best}, \"b c\": {}, d: {speed: 1}}\n",
        "t.yaml:2:25: upstreams[0].group: \"my office\": expected the name of a group: letters, "
        "digits, - and _\n"
        "t.yaml:3:26: upstreams[1].weight: \"0\": expected a weight from 1 to 100\n"
        "t.yaml:4:36: upstreams[2].weight: \"101\": expected a weight from 1 to 100\n"
        "t.yaml:5:5: upstreams[3]: \"\": expected the name of a group: letters, digits, - and _\n"
        "t.yaml:6:5: upstreams[4]: \"nonsense\": expected tls://ADDRESS[:PORT][#NAME], udp://ADDRESS[:PORT], "
        "tcp://ADDRESS[:PORT], or one of "
        "cloudflare, google, quad9 and adguard\n"
        "t.yaml:7:22: groups.a.policy: \"best\": expected fastest, round-robin, random, ordered or "
        "hash\n"
        "t.yaml:7:29: groups.b c: \"b c\": expected the name of a group: letters, digits, - and _\n"
        "t.yaml:7:44: groups.d.speed: unknown key; here stand policy and hedge\n");
}

static void test_routes_errors(void **state)
{
    (void)state;
    assert_file_refused(
        "routes: {a..b: default, consul: \"of fice\"}\n",
        "t.yaml:1:10: routes.a..b: \"a..b\": is no name: a label has 1 to 63 bytes, a name at most 255\n"
        "t.yaml:1:33: routes.consul: \"of fice\": expected the name of a group: letters, digits, - "
        "and _\n");
    assert_file_refused("routes: [{name: consul, group: default}]\n",
                        "t.yaml:1:10: routes[0]: expected NAME=VALUE, or instead of the list one mapping of "
                        "NAME: VALUE\n");
    assert_environment_refused(NAMES("DNSEAL_UPSTREAMS=a=quad9,b=google", "DNSEAL_ROUTES=.=a,.=b"),
                               "environment: DNSEAL_ROUTES: \".\": stands here twice\n");
    assert_environment_refused(NAMES("DNSEAL_ROUTES=consul"),
                               "environment: DNSEAL_ROUTES: \"consul\": expected NAME=VALUE\n");
}

/* Shows: P02 */
static void test_routes_twice(void **state)
{
    (void)state;
    assert_file_refused(
        "routes:\n  b: default\n  a.b: default\n  B.: default\n  x.b: default\n  b: default\n",
        "t.yaml:4:7: routes.B.: \"B\": stands here twice\n"
        "t.yaml:6:6: routes.b: \"b\": stands here twice\n");
    assert_environment_refused(NAMES("DNSEAL_ROUTES=b=default,b=default"),
                               "environment: DNSEAL_ROUTES: \"b\": stands here twice\n");
    config_free(built_from_file("routes: {b: default, a.b: default, ab: default, .: default}\n"));
}

/* Shows: P02 */
static void test_routes_in_the_form_of_others(void **state)
{
    (void)state;
    static const char asterisk[] = "a route is for the name and for all below it: leave out the asterisk";
    static const char number[] =
        "an address is no name: the reverse names of 10.0.0.0/8 are 10.in-addr.arpa and all below it";
    static const struct {
        const char *name, *reason;
    } cases[] = {
        {"*.cluster.local", asterisk},
        {"*", asterisk},
        {"/cluster.local/", "a name stands here without slashes"},
        {"10.0.0.0/8", number},
        {"192.168/16", number},
        {"192.0.2.1", number},
        {"fd00::/8", number},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256], expected[256];
        snprintf(text, sizeof text, "routes:\n  \"%s\": default\n", cases[i].name);
        snprintf(expected, sizeof expected, "t.yaml:2:3: routes.%s: \"%s\": %s\n", cases[i].name,
                 cases[i].name, cases[i].reason);
        assert_file_refused(text, expected);
    }
    config_free(
        built_from_file("routes: {0/25.2.0.192.in-addr.arpa: default, a.*.b: default, 1e100: default}\n"));
}

static void test_nobody_is_forgotten(void **state)
{
    (void)state;
    assert_file_refused(
        "routes: {consul: office}\n"
        "groups: {home: {policy: hash}}\n"
        "listen: [{address: 127.0.0.1:53, upstreams: attic}]\n",
        "t.yaml:2:10: groups.home: no upstream is in the group home: write group: home at "
        "those that belong to it\n"
        "t.yaml:1:18: routes.consul: no upstream is in the group office: write group: office at "
        "those that belong to it\n"
        "t.yaml:3:10: listen[0]: no upstream is in the group attic: write group: attic at "
        "those that belong to it\n");
    assert_file_refused(
        "upstreams: [quad9, \"cluster=udp://192.0.2.1\"]\nroutes: {cluster.local: clutser}\n",
        "t.yaml:2:25: routes.cluster.local: no upstream is in the group clutser; did you mean "
        "cluster?\n");
    assert_file_refused(
        "upstreams: [\"home=quad9\", google]\n",
        "t.yaml:1:13: upstreams[0]: nobody asks the group home: name it in routes, or at a listener\n");
    assert_file_refused(
        "upstreams: [\"home=quad9\"]\nlisten: [127.0.0.1:53]\n",
        "t.yaml:2:10: listen[0]: no upstream is in the group default: name a group here, or for "
        "\".\" in routes\n");
}

const struct CMUnitTest config_group_tests[] = {
    cmocka_unit_test(test_one_group_by_default),
    cmocka_unit_test(test_groups),
    cmocka_unit_test(test_partitions),
    cmocka_unit_test(test_hash_goes_without_copies),
    cmocka_unit_test(test_the_rest_goes_elsewhere),
    cmocka_unit_test(test_environment),
    cmocka_unit_test(test_groups_errors),
    cmocka_unit_test(test_routes_twice),
    cmocka_unit_test(test_routes_in_the_form_of_others),
    cmocka_unit_test(test_routes_errors),
    cmocka_unit_test(test_nobody_is_forgotten),
};
const size_t config_group_count = sizeof config_group_tests / sizeof config_group_tests[0];
