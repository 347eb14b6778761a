/* Upstreams that are named by host, and who is asked for their addresses. */
#include <stdlib.h>
#include <string.h>

#include "config_support.h"

static void assert_host(const struct config *config, size_t index, const char *label, const char *host)
{
    const struct config_upstream *upstream = &config->upstreams[index];
    assert_true(index < config->upstream_count);
    assert_string_equal(upstream->label, label);
    assert_string_equal(upstream->host, host);
    assert_int_equal(upstream->address.family, AF_UNSPEC);
}

static void test_hosts(void **state)
{
    (void)state;
    struct config *config = built_from_file("upstreams:\n"
                                            "  - tls://DNS.example\n"
                                            "  - tls://dns.example:8853\n"
                                            "  - tls://dns.example#Other.example\n"
                                            "  - office=tls://resolver\n"
                                            "  - tls://192.0.2.1#dns.example\n"
                                            "routes: {lan: office}\n"
                                            "bootstrap: [\"tls://192.0.2.53#boot.example\"]\n");
    assert_int_equal(config->upstream_count, 5);
    assert_host(config, 0, "tls://dns.example:853", "dns.example");
    assert_string_equal(config->upstreams[0].name, "dns.example");
    assert_int_equal(config->upstreams[0].address.port, 853);
    assert_host(config, 1, "tls://dns.example:8853", "dns.example");
    assert_int_equal(config->upstreams[1].address.port, 8853);
    assert_host(config, 2, "tls://dns.example:853#other.example", "dns.example");
    assert_string_equal(config->upstreams[2].name, "other.example");
    assert_host(config, 3, "office/tls://resolver:853", "resolver");
    assert_null(config->upstreams[4].host);
    assert_int_equal(config->bootstrap_count, 1);
    assert_string_equal(config->bootstrap[0].url, "tls://192.0.2.53:853#boot.example");
    assert_string_equal(config->bootstrap[0].label, "bootstrap:tls://192.0.2.53:853#boot.example");
    config_free(config);
}

/* Shows: M7 */
static void test_clear_text(void **state)
{
    (void)state;
    struct config *config = built_from_file("upstreams:\n"
                                            "  - office=udp://DNS.corp.example\n"
                                            "  - office=tcp://dns.corp.example\n"
                                            "  - lab=udp://dns.corp.example:5353\n"
                                            "routes: {\".\": office, lan: lab}\n"
                                            "bootstrap: [\"udp://192.0.2.53\", \"tcp://192.0.2.53\"]\n");
    assert_host(config, 0, "office/udp://dns.corp.example:53", "dns.corp.example");
    assert_int_equal(config->upstreams[0].transport, CONFIG_UDP);
    assert_null(config->upstreams[0].name);
    assert_host(config, 1, "office/tcp://dns.corp.example:53", "dns.corp.example");
    assert_int_equal(config->upstreams[1].transport, CONFIG_TCP);
    assert_host(config, 2, "lab/udp://dns.corp.example:5353", "dns.corp.example");
    assert_true(config->groups[0].is_plain);
    assert_int_equal(config->bootstrap_count, 2);
    assert_string_equal(config->bootstrap[0].label, "bootstrap:udp://192.0.2.53:53");
    assert_int_equal(config->bootstrap[0].transport, CONFIG_UDP);
    assert_string_equal(config->bootstrap[1].url, "tcp://192.0.2.53:53");
    assert_false(config_needs_authorities(config));
    config_free(config);
    config = built_from_file("upstreams: [\"udp://dns.example\"]\n"
                             "bootstrap: [\"udp://192.0.2.53\", \"tls://192.0.2.53\"]\n");
    assert_true(config_needs_authorities(config));
    config_free(config);
    config = built_from_file("upstreams: [\"udp://192.0.2.1\"]\n"
                             "bootstrap: [\"tls://192.0.2.53\"]\n");
    assert_false(config_needs_authorities(config));
    config_free(config);
    assert_file_refused("upstreams: [\"udp://dns.example\", \"tls://dns.example\"]\n"
                        "bootstrap: [quad9]\n",
                        "t.yaml:1:34: upstreams[1]: tls://dns.example:853 is encrypted, and others of the "
                        "group default are not: give it a group of its own\n");
}

static void test_presets(void **state)
{
    (void)state;
    struct config *config = built_from_environment(
        NAMES("DNSEAL_UPSTREAMS=tls://dns.example", "DNSEAL_BOOTSTRAP=quad9,cloudflare",
              "DNSEAL_UPSTREAM_ADDRESSES_FILE=/var/lib/dnseal/addresses"));
    assert_int_equal(config->bootstrap_count, 8);
    assert_string_equal(config->bootstrap[0].url, "tls://9.9.9.9:853#dns.quad9.net");
    assert_false(config->bootstrap[1].optional);
    assert_true(config->bootstrap[2].optional);
    assert_string_equal(config->addresses_file, "/var/lib/dnseal/addresses");
    struct text *text = text_open();
    config_print(config, &text->sink);
    assert_non_null(strstr(text->bytes, "\nbootstrap: [\"quad9\", \"cloudflare\"]\n"));
    assert_non_null(strstr(text->bytes, "\n  - \"tls://dns.example:853\"\n"));
    struct config *again = built_from_file(text->bytes);
    assert_int_equal(again->bootstrap_count, 8);
    assert_string_equal(again->upstreams[0].host, "dns.example");
    config_free(again);
    config_free(config);
    free(text);
}

/* Shows: pain 30 */
static void test_nobody_to_ask(void **state)
{
    (void)state;
    assert_file_refused(
        "upstreams:\n"
        "  - quad9\n"
        "  - tls://dns.example#other.example\n",
        "t.yaml:3:5: upstreams[1]: tls://dns.example:853#other.example is a host name, and nobody "
        "is named that is asked for its address: set bootstrap, for example to quad9, or give the "
        "address, as in tls://ADDRESS#other.example\n");
    assert_file_refused("upstreams: [\"tcp://dns.example\"]\n",
                        "t.yaml:1:13: upstreams[0]: tcp://dns.example:53 is a host name, and nobody is named "
                        "that is asked for its address: set bootstrap, for example to quad9, or give the "
                        "address, as in udp://ADDRESS\n");
}

/* Shows: pain 30 */
static void test_circles(void **state)
{
    (void)state;
    assert_file_refused(
        "listen: [\"127.0.0.1:8853\", \"[::]:8854\"]\n"
        "upstreams: [\"tls://dns.example\"]\n"
        "bootstrap:\n"
        "  - tls://127.0.0.1:8853#a.test\n"
        "  - tls://[::1]:8854#a.test\n"
        "  - tls://dns.example\n",
        "t.yaml:6:5: bootstrap[2]: \"tls://dns.example\": who is asked for addresses needs one itself, as in "
        "tls://ADDRESS#NAME or udp://ADDRESS\n");
    assert_file_refused(
        "listen: [\"127.0.0.1:8853\", \"[::]:8854\"]\n"
        "upstreams: [\"tls://dns.example\"]\n"
        "bootstrap:\n"
        "  - tls://127.0.0.1:8853#a.test\n"
        "  - tls://[::1]:8854#a.test\n",
        "t.yaml:4:5: bootstrap[0]: tls://127.0.0.1:8853#a.test is where this program listens itself "
        "(127.0.0.1:8853): queries would go round in a loop\n"
        "t.yaml:5:5: bootstrap[1]: tls://[::1]:8854#a.test is where this program listens itself ([::]:8854): "
        "queries would go round in a loop\n");
}

static void test_errors(void **state)
{
    (void)state;
    assert_upstream_refused("tls://dns.example:53",
                            "port 53 is for clear text; DNS over TLS never uses it (RFC 7858, section 3.1)");
    assert_upstream_refused("tls://dns.example:0", "expected a port from 1 to 65535");
    assert_file_refused(
        "upstreams: [\"tls://dns.example\", \"tls://DNS.example:853\", \"tls://192.0.2.1\"]\n"
        "bootstrap: [quad9, {url: quad9}, \"udp://192.0.2.1:853\", nonsense, "
        "\"tls://9.9.9.9#dns.quad9.net\", "
        "google, adguard]\n",
        "t.yaml:1:34: upstreams[1]: tls://dns.example:853 stands here twice\n"
        "t.yaml:2:20: bootstrap[1]: expected one value, not a mapping\n"
        "t.yaml:2:34: bootstrap[2]: \"udp://192.0.2.1:853\": port 853 is for DNS over TLS; clear text is "
        "never sent there (RFC 7858, section 3.1)\n"
        "t.yaml:2:57: bootstrap[3]: \"nonsense\": expected tls://ADDRESS[:PORT][#NAME], "
        "udp://ADDRESS[:PORT], "
        "tcp://ADDRESS[:PORT], or one of cloudflare, google, quad9 and adguard\n"
        "t.yaml:2:67: bootstrap[4]: tls://9.9.9.9:853#dns.quad9.net stands here twice\n"
        "t.yaml:2:106: bootstrap[6]: there are more than 8 servers\n"
        "t.yaml:2:106: bootstrap[6]: there are more than 8 servers\n"
        "t.yaml:2:106: bootstrap[6]: there are more than 8 servers\n"
        "t.yaml:2:106: bootstrap[6]: there are more than 8 servers\n");
}

/* Shows: pain 30 */
static void test_own_addresses(void **state)
{
    (void)state;
    struct config *config = built_from_file("listen: [\"127.0.0.1:8853\", \"[::]:8854\", "
                                            "{address: \"127.0.0.2:8853\", transport: [udp]}]\n");
    static const struct {
        const char *address;
        enum config_transport transport;
        bool is_own;
    } cases[] = {{"127.0.0.1:8853", CONFIG_TLS, true},  {"127.0.0.1:853", CONFIG_TLS, false},
                 {"127.0.0.2:8853", CONFIG_TLS, false}, {"127.0.0.2:8853", CONFIG_TCP, false},
                 {"127.0.0.2:8853", CONFIG_UDP, true},  {"127.0.0.1:8853", CONFIG_UDP, true},
                 {"[::1]:8854", CONFIG_TLS, true},      {"127.0.0.1:8854", CONFIG_TLS, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address address;
        assert_int_equal(address_parse(span_text(cases[i].address), 0, &address), 0);
        assert_int_equal(config_is_own(config, cases[i].transport, &address), cases[i].is_own);
    }
    config_free(config);
}

const struct CMUnitTest config_bootstrap_tests[] = {
    cmocka_unit_test(test_hosts),         cmocka_unit_test(test_clear_text), cmocka_unit_test(test_presets),
    cmocka_unit_test(test_nobody_to_ask), cmocka_unit_test(test_circles),    cmocka_unit_test(test_errors),
    cmocka_unit_test(test_own_addresses),
};
const size_t config_bootstrap_count = sizeof config_bootstrap_tests / sizeof config_bootstrap_tests[0];
