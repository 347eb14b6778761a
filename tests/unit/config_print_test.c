/* What is printed: the configuration in force, which reads as itself again, the manual, and the JSON Schema.
 */
#include <stdio.h>
#include <stdlib.h>

#include "config_support.h"

#define PIN "sha256/AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="

static char *printed(const struct config *config)
{
    struct text *text = text_open();
    config_print(config, &text->sink);
    return (char *)memmove(text, text->bytes, text->size + 1);
}

static void assert_same_upstreams(const struct config *a, const struct config *b)
{
    assert_int_equal(a->upstream_count, b->upstream_count);
    for (size_t i = 0; i < a->upstream_count; i++) {
        const struct config_upstream *left = &a->upstreams[i], *right = &b->upstreams[i];
        assert_upstream(b, i, left->label, left->name);
        assert_true(address_equal(&left->address, &right->address));
        assert_int_equal(left->optional, right->optional);
        assert_int_equal(left->group, right->group);
        assert_int_equal(left->weight, right->weight);
        assert_int_equal(left->pin_count, right->pin_count);
        for (size_t j = 0; j < left->pin_count; j++) {
            assert_memory_equal(left->pins[j], right->pins[j], TLS_PIN_SIZE);
        }
    }
}

static void assert_same_prefixes(const struct config_prefixes *a, const struct config_prefixes *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_true(address_equal(&a->items[i].address, &b->items[i].address));
        assert_int_equal(a->items[i].length, b->items[i].length);
    }
}

static void assert_same_groups(const struct config *a, const struct config *b)
{
    assert_int_equal(a->group_count, b->group_count);
    for (size_t i = 0; i < a->group_count; i++) {
        assert_string_equal(a->groups[i].name, b->groups[i].name);
        assert_int_equal(a->groups[i].policy, b->groups[i].policy);
        assert_int_equal(a->groups[i].hedge, b->groups[i].hedge);
    }
    assert_int_equal(a->route_count, b->route_count);
    for (size_t i = 0; i < a->route_count; i++) {
        assert_string_equal(a->routes[i].name, b->routes[i].name);
        assert_int_equal(a->routes[i].group, b->routes[i].group);
    }
}

static void assert_same(const struct config *a, const struct config *b)
{
    assert_int_equal(a->listen_count, b->listen_count);
    for (size_t i = 0; i < a->listen_count; i++) {
        assert_true(address_equal(&a->listen[i].address, &b->listen[i].address));
        assert_int_equal(a->listen[i].udp, b->listen[i].udp);
        assert_int_equal(a->listen[i].tcp, b->listen[i].tcp);
        assert_int_equal(a->listen[i].group, b->listen[i].group);
    }
    assert_same_groups(a, b);
    assert_same_upstreams(a, b);
    assert_same_prefixes(&a->access.allow, &b->access.allow);
    assert_same_prefixes(&a->access.deny, &b->access.deny);
    assert_memory_equal(&a->limits, &b->limits, sizeof a->limits);
    assert_memory_equal(&a->upstream, &b->upstream, sizeof a->upstream);
    assert_string_equal(a->tls.ca, b->tls.ca);
    assert_int_equal(a->tls.require_1_3, b->tls.require_1_3);
    assert_int_equal(a->tls.padding, b->tls.padding);
    assert_int_equal(a->privacy.strip_client_subnet, b->privacy.strip_client_subnet);
    assert_int_equal(a->log.level, b->log.level);
    assert_int_equal(a->log.format, b->log.format);
    assert_string_equal(a->log.target, b->log.target);
    assert_int_equal(a->log.queries, b->log.queries);
    assert_string_equal(a->control.socket, b->control.socket);
    assert_int_equal(a->workers, b->workers);
    assert_string_equal(a->user, b->user);
    assert_int_equal(a->sandbox, b->sandbox);
}

static void check_round_trip(const char *file)
{
    struct config *config = built_from_file(file);
    char *text = printed(config);
    struct config *again = built_from_file(text);
    assert_same(config, again);
    char *text_again = printed(again);
    assert_string_equal(text, text_again);
    free(text);
    free(text_again);
    config_free(config);
    config_free(again);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const char *const files[] = {
        "",
        "upstreams: [quad9, \"tls://192.0.2.1#a.example\", google]\n",
        "upstreams: [{url: cloudflare, pins: [" PIN "]}, {url: \"tls://192.0.2.1\", pins: [" PIN ", " PIN
        "]}]\n",
        /* A preset's servers by hand are not optional. */
        "upstreams: [\"tls://9.9.9.9#dns.quad9.net\", \"tls://149.112.112.112#dns.quad9.net\", "
        "\"tls://[2620:fe::fe]#dns.quad9.net\", \"tls://[2620:fe::9]#dns.quad9.net\"]\n",
        "upstreams: [\"tls://9.9.9.9#dns.quad9.net\"]\n",
        "listen: [{address: 127.0.0.1:53, transport: [udp]}, {address: \"[::]:53\", transport: [tcp]}]\n",
        "access: {allow: [any], deny: [10.0.0.0/8, \"2001:db8::1\"]}\n",
        "limits: {query_timeout: 4567ms, tcp_idle: 90s, tcp_output: 200001, drain_delay: 2m, pending: 7}\n",
        "tls: {ca: \"a \\\"b\\\" \\\\ \xc3\xbc \\u2028 \xf0\x9f\x92\xa9: #\", min_version: 1.3, padding: "
        "0}\n",
        "log: {level: debug, format: json, queries: full, target: /x}\ncontrol: {socket: \"\"}\nuser: \"\"\n",
        "local: {special_use: false, forward: [home.arpa], hosts: [/etc/hosts, b], block: [c], block_answer: "
        "null,\n"
        "  records: ['nas.lan 60 TXT \"a, b\" c']}\n",
        "upstreams: [{url: quad9, group: a, weight: 7}, {url: \"tls://192.0.2.1\", pins: [" PIN
        "], weight: 2}, "
        "\"1=google\"]\ngroups: {a: {policy: ordered, hedge: false}}\nroutes: {.: a, \"x\\\\.y\": \"1\", z: "
        "default}\n"
        "listen: [{address: 127.0.0.1:53, upstreams: \"1\"}, 127.0.0.1:54]\n",
        "workers: 7\nprivacy: {strip_client_subnet: false}\nuser: 'null'\n"
        "sandbox: strict\n",
        "sandbox: off\n",
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        check_round_trip(files[i]);
    }
}

static void test_printed_defaults(void **state)
{
    (void)state;
    struct config_sources nothing = {0};
    struct config *config = built(&nothing);
    char *text = printed(config);
    assert_string_equal(text,
                        "listen:\n"
                        "  - {address: \"127.0.0.1:53\", transport: [udp, tcp]}\n"
                        "  - {address: \"[::1]:53\", transport: [udp, tcp]}\n"
                        "upstreams:\n"
                        "  - \"cloudflare\"\n"
                        "bootstrap: []\n"
                        "groups: {\"default\": {policy: fastest, hedge: true}}\n"
                        "routes: {}\n"
                        "access:\n"
                        "  allow: [\"127.0.0.0/8\", \"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\", "
                        "\"169.254.0.0/16\", \"::1/128\", \"fe80::/10\", \"fc00::/7\"]\n"
                        "  deny: []\n"
                        "limits:\n"
                        "  memory: 256MiB\n"
                        "  query_timeout: 4500ms\n"
                        "  udp_discard: 1900ms\n"
                        "  tcp_idle: 10s\n"
                        "  tcp_message_timeout: 5s\n"
                        "  tcp_write_timeout: 10s\n"
                        "  tcp_output: 256KiB\n"
                        "  tcp_connections: 1000\n"
                        "  tcp_connections_per_client: 50\n"
                        "  pending: 16384\n"
                        "  pending_per_client: 1000\n"
                        "  drain_delay: 0s\n"
                        "  drain_timeout: 5s\n"
                        "upstream:\n"
                        "  attempt_timeout: 1500ms\n"
                        "  connect_timeout: 1500ms\n"
                        "  handshake_timeout: 2500ms\n"
                        "  refused_retry: 250ms\n"
                        "  backoff_min: 250ms\n"
                        "  backoff_max: 30s\n"
                        "  handshakes_per_second: 5\n"
                        "  links: 4\n"
                        "  max_age: 10m\n"
                        "  warm: 10m\n"
                        "  in_flight: 512\n"
                        "  addresses_file: \"\"\n"
                        "cache:\n"
                        "  size: 64MiB\n"
                        "  min_ttl: 0\n"
                        "  max_ttl: 86400\n"
                        "  negative_max_ttl: 3600\n"
                        "  failure_ttl: 5\n"
                        "  serve_stale: true\n"
                        "  stale_max: 86400\n"
                        "  stale_client_timeout: 1800ms\n"
                        "  prefetch: true\n"
                        "  file: \"\"\n"
                        "  file_interval: 5m\n"
                        "local:\n"
                        "  special_use: true\n"
                        "  forward: []\n"
                        "  hosts: []\n"
                        "  records: []\n"
                        "  block: []\n"
                        "  block_answer: nxdomain\n"
                        "tls:\n"
                        "  ca: \"/etc/ssl/certs/ca-certificates.crt\"\n"
                        "  min_version: \"1.2\"\n"
                        "  padding: 128\n"
                        "privacy:\n"
                        "  strip_client_subnet: true\n"
                        "log:\n"
                        "  level: info\n"
                        "  format: text\n"
                        "  target: \"stderr\"\n"
                        "  queries: \"off\"\n"
                        "control:\n"
                        "  socket: \"/run/dnseal/control.socket\"\n"
                        "workers: auto\n"
                        "user: \"auto\"\n"
                        "sandbox: auto\n");
    free(text);
    config_free(config);
}

static void assert_holds(const struct text *text, const char *wanted)
{
    if (strstr(text->bytes, wanted) == NULL) {
        fail_msg("does not hold: %s", wanted);
    }
}

static void test_manual(void **state)
{
    (void)state;
    struct text *text = text_open();
    config_print_manual(&text->sink);
    assert_holds(text, "### `limits.tcp_idle`\n");
    assert_holds(text,
                 "- Values: `100ms` to `1h`\n- Default: `10s`\n- Environment: `DNSEAL_LIMITS_TCP_IDLE`\n");
    assert_holds(text, "- Values: `auto`, or `1` to `128`\n");
    assert_holds(text, "- Values: `off`, `anonymous`, `full`\n");
    assert_holds(text, "- Environment: `DNSEAL_UPSTREAMS`\n");
    assert_holds(text, "| `quad9` | dns.quad9.net | 9.9.9.9, 149.112.112.112, 2620:fe::fe, 2620:fe::9 |\n");
    assert_holds(text, "| `DNS_SERVER_IP` |");
    free(text);
}

/* The example of the manual works as it stands. */
static void test_manual_example(void **state)
{
    (void)state;
    struct text *text = text_open();
    config_print_manual(&text->sink);
    char *start = strstr(text->bytes, "```yaml\n");
    assert_non_null(start);
    start += strlen("```yaml\n");
    char *end = strstr(start, "```");
    assert_non_null(end);
    *end = '\0';
    config_free(built_from_file(start));
    free(text);
}

static void test_roff(void **state)
{
    (void)state;
    struct text *text = text_open();
    config_print_roff(&text->sink);
    assert_holds(text, ".SH OPTIONS\n.TP\n.B listen\n");
    assert_holds(text, ".TP\n.B tls.padding\n");
    assert_holds(text, "Default: \\fB127.0.0.1:53, [::1]:53\\fR.\n");
    assert_holds(text, "\\fBstderr\\fR");
    assert_null(strchr(text->bytes, '`'));
    free(text);
}

/* Brackets and quotes close, and nothing stands in a text that JSON forbids. */
static void test_schema(void **state)
{
    (void)state;
    struct text *text = text_open();
    config_print_schema(&text->sink);
    char open[32];
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text->size; i++) {
        char byte = text->bytes[i];
        if (quoted && byte == '\\') {
            i++;
        } else if (byte == '"') {
            quoted = !quoted;
        } else if (quoted) {
            assert_true((uint8_t)byte >= 0x20);
        } else if (byte == '{' || byte == '[') {
            assert_true(depth < sizeof open);
            open[depth++] = byte;
        } else if (byte == '}' || byte == ']') {
            assert_true(depth > 0);
            assert_int_equal(open[--depth], byte == '}' ? '{' : '[');
        }
    }
    assert_false(quoted);
    assert_int_equal(depth, 0);
    assert_holds(text, "\"$schema\": \"https://json-schema.org/draft/2020-12/schema\"");
    assert_holds(text, "\"enum\": [\"1.2\", 1.2, \"1.3\", 1.3]");
    assert_holds(text, "\"enum\": [\"false\", false, \"true\", true]");
    assert_holds(text, "\"enum\": [\"nxdomain\", \"null\", null, \"refused\"]");
    assert_holds(text, "\"anyOf\": [{\"enum\": [\"0\", 0]}, {\"type\": \"integer\", \"minimum\": 1048576, ");
    assert_holds(text, "\"maxProperties\": 16384, \"additionalProperties\": {\"type\": \"string\"}");
    assert_holds(text,
                 "\"anyOf\": [{\"enum\": [\"auto\"]}, {\"type\": \"integer\", \"minimum\": 1, \"maximum\": "
                 "128}]");
    free(text);
}

const struct CMUnitTest config_print_tests[] = {
    cmocka_unit_test(test_round_trip), cmocka_unit_test(test_printed_defaults),
    cmocka_unit_test(test_manual),     cmocka_unit_test(test_manual_example),
    cmocka_unit_test(test_roff),       cmocka_unit_test(test_schema),
};
const size_t config_print_count = sizeof config_print_tests / sizeof config_print_tests[0];
