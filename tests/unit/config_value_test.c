/* Every option with its least and greatest value, the values just outside, and texts that are none. */
#include <stdio.h>

#include "base/clock.h"

#include "config_support.h"

#define FIELD(path) offsetof(struct config, path)
#define MS          CLOCK_MILLISECOND
#define S           CLOCK_SECOND

/* A number: its limits as text and as what they mean, and the nearest texts outside. "" where there is none.
 */
struct number_case {
    const char *section, *key;
    size_t offset;
    const char *least, *most, *below, *above;
    uint64_t least_value, most_value;
};

static const struct number_case durations[] = {
    {"limits", "query_timeout", FIELD(limits.query_timeout), "100ms", "1m", "99ms", "60001ms", 100 * MS,
     60 * S},
    {"limits", "tcp_idle", FIELD(limits.tcp_idle), "100ms", "1h", "99ms", "61m", 100 * MS, 3600 * S},
    {"limits", "tcp_message_timeout", FIELD(limits.tcp_message_timeout), "100ms", "5m", "99ms", "301s",
     100 * MS, 300 * S},
    {"limits", "tcp_write_timeout", FIELD(limits.tcp_write_timeout), "100ms", "5m", "99ms", "301s", 100 * MS,
     300 * S},
    {"limits", "drain_delay", FIELD(limits.drain_delay), "0s", "10m", "", "601s", 0, 600 * S},
    {"limits", "drain_timeout", FIELD(limits.drain_timeout), "0ms", "10m", "", "601s", 0, 600 * S},
    {"cache", "file_interval", FIELD(cache.file_interval), "1s", "24h", "999ms", "86401s", S, 86400 * S},
    {"upstream", "attempt_timeout", FIELD(upstream.attempt_timeout), "50ms", "1m", "49ms", "61s", 50 * MS,
     60 * S},
    {"upstream", "connect_timeout", FIELD(upstream.connect_timeout), "50ms", "1m", "49ms", "61s", 50 * MS,
     60 * S},
    {"upstream", "handshake_timeout", FIELD(upstream.handshake_timeout), "50ms", "1m", "49ms", "61s", 50 * MS,
     60 * S},
    {"upstream", "refused_retry", FIELD(upstream.refused_retry), "10ms", "1m", "9ms", "61s", 10 * MS, 60 * S},
    {"upstream", "backoff_min", FIELD(upstream.backoff_min), "10ms", "1h", "9ms", "3601s", 10 * MS, 3600 * S},
    {"upstream", "backoff_max", FIELD(upstream.backoff_max), "10ms", "1h", "9ms", "3601s", 10 * MS, 3600 * S},
    {"limits", "udp_discard", FIELD(limits.udp_discard), "100ms", "1m", "99ms", "60001ms", 100 * MS, 60 * S},
    {"cache", "stale_client_timeout", FIELD(cache.stale_client_timeout), "0s", "1m", "", "60001ms", 0,
     60 * S},
};

static const struct number_case others[] = {
    {"limits", "tcp_output", FIELD(limits.tcp_output), "128KiB", "16MiB", "131071", "16777217", 131072,
     16777216},
    {"cache", "min_ttl", FIELD(cache.min_ttl), "0", "86400", "", "86401", 0, 86400},
    {"cache", "max_ttl", FIELD(cache.max_ttl), "1", "604800", "0", "604801", 1, 604800},
    {"cache", "negative_max_ttl", FIELD(cache.negative_max_ttl), "0", "604800", "", "604801", 0, 604800},
    {"cache", "failure_ttl", FIELD(cache.failure_ttl), "0", "300", "", "301", 0, 300},
    {"cache", "stale_max", FIELD(cache.stale_max), "1", "604800", "0", "604801", 1, 604800},
    {"limits", "memory", FIELD(limits.memory), "1MiB", "1024GiB", "1048575", "1025GiB", 1 << 20,
     INT64_C(1) << 40},
    {"limits", "tcp_connections", FIELD(limits.tcp_connections), "1", "1000000", "0", "1000001", 1, 1000000},
    {"limits", "tcp_connections_per_client", FIELD(limits.tcp_connections_per_client), "1", "1000000", "0",
     "1000001", 1, 1000000},
    {"limits", "pending_per_client", FIELD(limits.pending_per_client), "1", "65535", "0", "65536", 1, 65535},
    {"limits", "pending", FIELD(limits.pending), "1", "1000000", "0", "1000001", 1, 1000000},
    {"upstream", "handshakes_per_second", FIELD(upstream.handshakes_per_second), "1", "1000", "0", "1001", 1,
     1000},
    {"upstream", "in_flight", FIELD(upstream.in_flight), "1", "4096", "0", "4097", 1, 4096},
    {"tls", "padding", FIELD(tls.padding), "0", "512", "", "513", 0, 512},
};

/* What stands beside the option, so that the values that must keep an order do. */
static void write_file(const struct number_case *number, const char *value, char out[512])
{
    static const struct {
        const char *key, *low, *high;
    } partners[] = {
        {"tcp_connections_per_client", NULL, "tcp_connections: 1000000"},
        {"tcp_connections", "tcp_connections_per_client: 1", NULL},
        {"backoff_min", NULL, "backoff_max: 1h"},
        {"backoff_max", "backoff_min: 10ms", NULL},
    };
    char beside[64] = "", elsewhere[64] = "";
    for (size_t i = 0; i < sizeof partners / sizeof partners[0]; i++) {
        if (strcmp(partners[i].key, number->key) == 0) {
            snprintf(beside, sizeof beside, ", %s", partners[i].low ? partners[i].low : partners[i].high);
        }
    }
    if (strcmp(number->key, "query_timeout") == 0) {
        snprintf(elsewhere, sizeof elsewhere, "upstream: {attempt_timeout: 50ms}\n");
    } else if (strcmp(number->key, "attempt_timeout") == 0) {
        snprintf(elsewhere, sizeof elsewhere, "limits: {query_timeout: 1m}\n");
    } else if (strcmp(number->key, "memory") == 0) {
        snprintf(elsewhere, sizeof elsewhere, "cache: {size: 0}\n");
    }
    snprintf(out, 512, "%s: {%s: %s%s}\n%s", number->section, number->key, value, beside, elsewhere);
}

static void check_accepted(const struct number_case *number, const char *text, uint64_t expected)
{
    char file[512];
    write_file(number, text, file);
    struct config *config = built_from_file(file);
    assert_int_equal(*(const uint64_t *)(const void *)((const char *)config + number->offset), expected);
    config_free(config);
}

static void check_refused(const struct number_case *number, const char *text, const char *reason)
{
    char file[512], expected[512];
    write_file(number, text, file);
    snprintf(expected, sizeof expected, "t.yaml:1:%zu: %s.%s: \"%s\": %s\n",
             strlen(number->section) + strlen(number->key) + 6, number->section, number->key, text, reason);
    assert_file_refused(file, expected);
}

static void check_number(const struct number_case *number, const char *least, const char *expected)
{
    char range[128];
    check_accepted(number, number->least, number->least_value);
    check_accepted(number, number->most, number->most_value);
    snprintf(range, sizeof range, "must be from %s to %s", least, number->most);
    if (number->below[0] != '\0') {
        check_refused(number, number->below, range);
    }
    check_refused(number, number->above, range);
    static const char *const wrong[] = {"-1",
                                        "1.5",
                                        "+1",
                                        "1 s",
                                        "10x",
                                        "0x10",
                                        "01",
                                        "ten",
                                        "1_000",
                                        "99999999999999999999",
                                        "18446744073709551616h"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        check_refused(number, wrong[i], expected);
    }
}

static void test_durations(void **state)
{
    (void)state;
    static const char expected[] = "expected a duration with its unit (ms, s, m, h), such as 500ms";
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        const char *least = durations[i].least_value == 0 ? "0s" : durations[i].least;
        check_number(&durations[i], least, expected);
        check_refused(&durations[i], "10", expected);
        check_refused(&durations[i], "0", expected);
        check_refused(&durations[i], "10S", expected);
        check_refused(&durations[i], "s", expected);
        check_refused(&durations[i], "5124095577h", expected);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        bool is_size = others[i].most[strlen(others[i].most) - 1] == 'B';
        check_number(&others[i], others[i].least,
                     is_size ? "expected a size in bytes or with its unit (KiB, MiB, GiB), such as 64KiB"
                             : "expected a whole number");
    }
}

static void test_size_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {{"131072", 131072}, {"128KiB", 131072}, {"1MiB", 1048576}, {"200001", 200001}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_accepted(&others[0], cases[i].text, cases[i].bytes);
    }
    check_refused(&others[0], "1GiB", "must be from 128KiB to 16MiB");
    check_refused(&others[0], "0", "must be from 128KiB to 16MiB");
    check_refused(&others[0], "1MB",
                  "expected a size in bytes or with its unit (KiB, MiB, GiB), such as 64KiB");
    check_refused(&others[0], "1k",
                  "expected a size in bytes or with its unit (KiB, MiB, GiB), such as 64KiB");
    check_refused(&others[0], "17179869184GiB",
                  "expected a size in bytes or with its unit (KiB, MiB, GiB), such as 64KiB");
}

static void test_duration_units(void **state)
{
    (void)state;
    check_accepted(&durations[1], "1500ms", 1500 * MS);
    check_accepted(&durations[1], "30s", 30 * S);
    check_accepted(&durations[1], "2m", 120 * S);
    check_accepted(&durations[1], "1h", 3600 * S);
    check_accepted(&durations[1], "'30s'", 30 * S);
    check_accepted(&durations[1], "\"30s\"", 30 * S);
}

static void test_workers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t workers;
    } cases[] = {
        {"workers: auto\n", 0}, {"workers: 1\n", 1}, {"workers: 128\n", 128}, {"workers: \"4\"\n", 4}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *config = built_from_file(cases[i].text);
        assert_int_equal(config->workers, cases[i].workers);
        config_free(config);
    }
    assert_file_refused("workers: 0\n", "t.yaml:1:10: workers: \"0\": must be from 1 to 128\n");
    assert_file_refused("workers: 129\n", "t.yaml:1:10: workers: \"129\": must be from 1 to 128\n");
    assert_file_refused("workers: Auto\n",
                        "t.yaml:1:10: workers: \"Auto\": expected auto or a whole number\n");
}

static void test_words(void **state)
{
    (void)state;
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    static const char *const queries[] = {"off", "anonymous", "full"};
    char text[128];
    for (unsigned i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "log: {level: %s, queries: %s, format: %s}\n", levels[i], queries[i % 3],
                 i % 2 ? "json" : "text");
        struct config *config = built_from_file(text);
        assert_int_equal(config->log.level, i);
        assert_int_equal(config->log.queries, i % 3);
        assert_int_equal(config->log.format, i % 2 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
        config_free(config);
    }
    assert_file_refused("log: {format: yaml}\n",
                        "t.yaml:1:15: log.format: \"yaml\": expected text or json\n");
    assert_file_refused("log: {queries: no}\n",
                        "t.yaml:1:16: log.queries: \"no\": expected off, anonymous or full\n");
    assert_file_refused("log: {level: Info}\n",
                        "t.yaml:1:14: log.level: \"Info\": expected error, warning, info or debug\n");
}

static void test_switches(void **state)
{
    (void)state;
    struct config *config =
        built_from_file("tls: {min_version: 1.3}\nprivacy: {strip_client_subnet: false}\n");
    assert_true(config->tls.require_1_3);
    assert_false(config->privacy.strip_client_subnet);
    config_free(config);
    config = built_from_file("tls: {min_version: \"1.2\"}\nprivacy: {strip_client_subnet: true}\n");
    assert_false(config->tls.require_1_3);
    assert_true(config->privacy.strip_client_subnet);
    config_free(config);
    assert_file_refused("tls: {min_version: 1.1}\n",
                        "t.yaml:1:20: tls.min_version: \"1.1\": expected 1.2 or 1.3\n");
    assert_file_refused("privacy: {strip_client_subnet: no}\n",
                        "t.yaml:1:32: privacy.strip_client_subnet: \"no\": expected false or true\n");
}

static void test_texts(void **state)
{
    (void)state;
    struct config *config = built_from_file("tls: {ca: certificates/ca.pem}\n"
                                            "log: {target: /var/log/dnseal.log}\n"
                                            "control: {socket: \"\"}\n"
                                            "user: _dns-eal.1\n");
    assert_string_equal(config->tls.ca, "certificates/ca.pem");
    assert_string_equal(config->log.target, "/var/log/dnseal.log");
    assert_string_equal(config->control.socket, "");
    assert_string_equal(config->user, "_dns-eal.1");
    config_free(config);
    config = built_from_file("user: ''\nlog: {target: stdout}\ncontrol: {socket: /run/d/\xc3\xbc.sock}\n");
    assert_string_equal(config->user, "");
    assert_string_equal(config->log.target, "stdout");
    assert_string_equal(config->control.socket, "/run/d/\xc3\xbc.sock");
    config_free(config);
    assert_file_refused("tls: {ca: \"\"}\n", "t.yaml:1:11: tls.ca: \"\": expected the path of a file\n");
    assert_file_refused("log: {target: stdrr}\n",
                        "t.yaml:1:15: log.target: \"stdrr\": expected an absolute path, stderr or stdout\n");
    assert_file_refused("control: {socket: run/x}\n",
                        "t.yaml:1:19: control.socket: \"run/x\": expected an absolute path\n");
    assert_file_refused("user: 0day\n", "t.yaml:1:7: user: \"0day\": is not the name of a user\n");
    assert_file_refused("user: a b\n", "t.yaml:1:7: user: \"a b\": is not the name of a user\n");
}

/* The kernel takes 107 bytes of a socket's path and a terminator. */
static void test_text_limits(void **state)
{
    (void)state;
    char path[256], file[512], expected[512];
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[107] = '\0';
    snprintf(file, sizeof file, "control: {socket: %s}\n", path);
    struct config *config = built_from_file(file);
    assert_string_equal(config->control.socket, path);
    config_free(config);
    path[107] = 'x';
    path[108] = '\0';
    snprintf(file, sizeof file, "control: {socket: %s}\n", path);
    snprintf(expected, sizeof expected, "t.yaml:1:19: control.socket: \"%.80s\": is too long\n", path);
    assert_file_refused(file, expected);
}

/* Lists of texts, each judged as what it is for. */
static void test_text_lists(void **state)
{
    (void)state;
    struct config *config =
        built_from_file("local: {records: ['nas.lan A 192.0.2.1', 'nas.lan TXT \"a, b\"'], "
                        "forward: [in-addr.arpa, corp.home.arpa], hosts: [h]}\n");
    assert_int_equal(config->local.records.count, 2);
    assert_string_equal(config->local.records.items[1], "nas.lan TXT \"a, b\"");
    assert_int_equal(config->local.forward.count, 2);
    assert_string_equal(config->local.hosts.items[0], "h");
    assert_int_equal(config->local.block.count, 0);
    config_free(config);
    assert_file_refused(
        "local: {records: ['nas.lan A 192.0.2.1', 'nas.lan A x']}\n",
        "t.yaml:1:42: local.records[1]: \"nas.lan A x\": expected an IPv4 address behind A\n");
    assert_file_refused(
        "local: {forward: [example.com]}\n",
        "t.yaml:1:19: local.forward[0]: \"example.com\": is forwarded anyway: it is no name of "
        "special use\n");
    assert_file_refused("local: {forward: [home.arpa, .]}\n",
                        "t.yaml:1:30: local.forward[1]: \".\": stands for every name: switch "
                        "local.special_use off instead\n");
    assert_file_refused("local: {block: ['']}\n",
                        "t.yaml:1:17: local.block[0]: \"\": expected the path of a file\n");
    assert_file_refused("local: {block: list}\n",
                        "t.yaml:1:16: local.block: expected a list; an empty one is written as []\n");
    assert_file_refused("local: {hosts: [{a: b}]}\n",
                        "t.yaml:1:17: local.hosts[0]: expected one value, not a mapping\n");
}

const struct CMUnitTest config_value_tests[] = {
    cmocka_unit_test(test_text_lists),  cmocka_unit_test(test_durations),      cmocka_unit_test(test_numbers),
    cmocka_unit_test(test_size_units),  cmocka_unit_test(test_duration_units), cmocka_unit_test(test_workers),
    cmocka_unit_test(test_words),       cmocka_unit_test(test_switches),       cmocka_unit_test(test_texts),
    cmocka_unit_test(test_text_limits),
};
const size_t config_value_count = sizeof config_value_tests / sizeof config_value_tests[0];
