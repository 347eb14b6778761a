/* Upstreams that are asked in clear text: only where they are written so, and never beside encrypted ones. */
#include <stdio.h>

#include "config_support.h"

static void assert_transport(const struct config *config, size_t index, enum config_transport transport)
{
    assert_int_equal(config->upstreams[index].transport, transport);
}

/* Shows: M7 */
static void test_plain_urls(void **state)
{
    (void)state;
    struct config *config = built_from_file("upstreams:\n"
                                            "  - udp://192.0.2.1\n"
                                            "  - tcp://192.0.2.1\n"
                                            "  - udp://192.0.2.1:5353\n"
                                            "  - \"tcp://[2001:db8::1]:54\"\n"
                                            "  - {url: \"udp://[fd00::1]\", weight: 2, pins: []}\n"
                                            "  - office=tls://192.0.2.1\n"
                                            "routes: {office.example: office}\n");
    assert_int_equal(config->upstream_count, 6);
    assert_upstream(config, 0, "udp://192.0.2.1:53", NULL);
    assert_transport(config, 0, CONFIG_UDP);
    assert_upstream(config, 1, "tcp://192.0.2.1:53", NULL);
    assert_transport(config, 1, CONFIG_TCP);
    assert_upstream(config, 2, "udp://192.0.2.1:5353", NULL);
    assert_upstream(config, 3, "tcp://[2001:db8::1]:54", NULL);
    assert_upstream(config, 4, "udp://[fd00::1]:53", NULL);
    assert_transport(config, 5, CONFIG_TLS);
    assert_true(config->groups[0].is_plain);
    assert_false(config->groups[1].is_plain);
    config_free(config);
    config = built_from_file("");
    assert_false(config->groups[0].is_plain);
    config_free(config);
}

/* Shows: M7, RFC7858-3.1 */
static void test_plain_url_errors(void **state)
{
    (void)state;
    static const char name[] =
        "in clear text there is no certificate that could bear a name: leave out # and the name";
    static const char address[] = "expected an address or a host name, as in udp://192.0.2.1, "
                                  "tcp://[2001:db8::1]:53 or udp://NAME";
    static const char port[] =
        "port 853 is for DNS over TLS; clear text is never sent there (RFC 7858, section 3.1)";
    assert_upstream_refused("udp://192.0.2.1#dns.example", name);
    assert_upstream_refused("tcp://192.0.2.1:53#", name);
    assert_upstream_refused("udp://dns.example#dns.example", name);
    assert_upstream_refused("udp://dns.example:853", port);
    assert_upstream_refused("udp://192.0.2", address);
    assert_upstream_refused("tcp://", "the address is missing");
    assert_upstream_refused("udp://192.0.2.1:853", port);
    assert_upstream_refused("tcp://[2001:db8::1]:853", port);
    assert_upstream_refused("udp://0.0.0.0", "no server can have this address");
    assert_upstream_refused("udp://[fe80::1]",
                            "a link-local address needs its interface, as in [fe80::1%eth0]");
    assert_upstream_refused(
        "udp:/192.0.2.1",
        "expected tls://ADDRESS[:PORT][#NAME], udp://ADDRESS[:PORT], tcp://ADDRESS[:PORT], or one of "
        "cloudflare, google, quad9 and adguard");
    assert_file_refused(
        "upstreams:\n"
        "  - {url: \"udp://192.0.2.1\", pins: [\"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]}\n",
        "t.yaml:2:11: upstreams[0].url: \"udp://192.0.2.1\": in clear text there is no key that could be "
        "pinned: leave out the pins\n");
    assert_file_refused("upstreams: [{url: \"udp://192.0.2.1\", without_clock: true}]\n",
                        "t.yaml:1:19: upstreams[0].url: udp://192.0.2.1:53: in clear text there is no "
                        "certificate, and without_clock has no use: leave it out\n");
    assert_file_refused("upstreams: [\"udp://192.0.2.1\", \"udp://192.0.2.1:53\"]\n",
                        "t.yaml:1:32: upstreams[1]: udp://192.0.2.1:53 stands here twice\n");
}

/* Shows: M7, V01 */
static void test_groups_do_not_mix(void **state)
{
    (void)state;
    assert_file_refused(
        "upstreams:\n"
        "  - tls://192.0.2.1\n"
        "  - udp://192.0.2.2\n"
        "  - tls://192.0.2.3\n",
        "t.yaml:3:5: upstreams[1]: udp://192.0.2.2:53 is asked in clear text, and others of the "
        "group default are not: give it a group of its own\n");
    assert_file_refused(
        "upstreams: [\"office=tcp://192.0.2.1\", \"office=quad9\"]\n"
        "routes: {.: office}\n",
        "t.yaml:1:39: upstreams[1]: tls://9.9.9.9:853#dns.quad9.net is encrypted, and others of the "
        "group office are not: give it a group of its own\n"
        "t.yaml:1:39: upstreams[1]: tls://149.112.112.112:853#dns.quad9.net is encrypted, and "
        "others of the group office are not: give it a group of its own\n"
        "t.yaml:1:39: upstreams[1]: tls://[2620:fe::fe]:853#dns.quad9.net is encrypted, and "
        "others of the group office are not: give it a group of its own\n"
        "t.yaml:1:39: upstreams[1]: tls://[2620:fe::9]:853#dns.quad9.net is encrypted, and others "
        "of the group office are not: give it a group of its own\n");
}

/* Shows: P02 */
static void test_loops(void **state)
{
    (void)state;
    static const char listen[] = "listen: [{address: \"127.0.0.1:5301\", transport: [udp]}, "
                                 "{address: \"127.0.0.1:5302\", transport: [tcp]}]\n";
    static const struct {
        const char *url;
        bool is_loop;
    } cases[] = {{"udp://127.0.0.1:5301", true},  {"tcp://127.0.0.1:5301", false},
                 {"tls://127.0.0.1:5301", false}, {"udp://127.0.0.1:5302", true},
                 {"tcp://127.0.0.1:5302", true},  {"udp://127.0.0.1:5303", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512], expected[512];
        snprintf(text, sizeof text, "%supstreams: [\"%s\"]\n", listen, cases[i].url);
        if (cases[i].is_loop) {
            snprintf(
                expected, sizeof expected,
                "t.yaml:2:13: upstreams[0]: %s is where this program listens itself (%s): queries would go "
                "round in a loop\n",
                cases[i].url, cases[i].url + strlen("udp://"));
            assert_file_refused(text, expected);
        } else {
            config_free(built_from_file(text));
        }
    }
}

const struct CMUnitTest config_plain_tests[] = {
    cmocka_unit_test(test_plain_urls),
    cmocka_unit_test(test_plain_url_errors),
    cmocka_unit_test(test_groups_do_not_mix),
    cmocka_unit_test(test_loops),
};
const size_t config_plain_count = sizeof config_plain_tests / sizeof config_plain_tests[0];
