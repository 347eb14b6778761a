/* The lists: where to listen, whom to ask and under which identity, who may ask. */
#include <stdio.h>

#include "base/clock.h"

#include "config_support.h"

#define PIN_OF_A   "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define PIN_OF_B   "sha256/AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
#define NOT_A_NAME "the name of the certificate is not a valid host name (letters, digits, hyphens and dots)"
#define NEEDS_ADDRESS                                                                                   \
    "expected an address or a host name, as in tls://192.0.2.1:853#NAME, tls://[2001:db8::1]:853#NAME " \
    "or tls://NAME:853"

static void test_listen_entries(void **state)
{
    (void)state;
    struct config *config = built_from_file("listen:\n"
                                            "  - 127.0.0.1:5300\n"
                                            "  - {address: \"[::1]:5300\", transport: [tcp]}\n"
                                            "  - {address: 0.0.0.0:5353, transport: [udp]}\n"
                                            "  - {address: 127.0.0.2:53}\n"
                                            "  - {address: 0.0.0.0:5353, transport: [tcp]}\n"
                                            "  - \"[::ffff:127.0.0.9]:53\"\n");
    assert_int_equal(config->listen_count, 6);
    assert_listens(config, 0, "127.0.0.1:5300", true, true);
    assert_listens(config, 1, "[::1]:5300", false, true);
    assert_listens(config, 2, "0.0.0.0:5353", true, false);
    assert_listens(config, 3, "127.0.0.2:53", true, true);
    assert_listens(config, 4, "0.0.0.0:5353", false, true);
    assert_listens(config, 5, "127.0.0.9:53", true, true);
    config_free(config);
}

static void test_listen_errors(void **state)
{
    (void)state;
    assert_file_refused(
        "listen:\n"
        "  - 127.0.0.1\n"
        "  - ::1\n"
        "  - 127.0.0.1:0\n"
        "  - 127.0.0.1:65536\n"
        "  - localhost:53\n"
        "  - 127.0.0.1:853\n"
        "  - [127.0.0.1:53]\n"
        "  -\n"
        "  - {transport: [udp]}\n"
        "  - {address: 127.0.0.1:53, transport: udp}\n"
        "  - {address: 127.0.0.1:53, transport: []}\n"
        "  - {address: 127.0.0.1:53, transport: [tls]}\n"
        "  - {addrezz: 127.0.0.1:53}\n",
        "t.yaml:2:5: listen[0]: \"127.0.0.1\": the port is missing, as in 127.0.0.1:53 or [::1]:53\n"
        "t.yaml:3:5: listen[1]: \"::1\": the port is missing, as in 127.0.0.1:53 or [::1]:53\n"
        "t.yaml:4:5: listen[2]: \"127.0.0.1:0\": the port is missing, as in 127.0.0.1:53 or [::1]:53\n"
        "t.yaml:5:5: listen[3]: \"127.0.0.1:65536\": expected a port from 1 to 65535\n"
        "t.yaml:6:5: listen[4]: \"localhost:53\": expected an address and a port, such as 127.0.0.1:53 or "
        "[::1]:53\n"
        "t.yaml:7:5: listen[5]: \"127.0.0.1:853\": port 853 is for DNS over TLS; clear text is never served "
        "there "
        "(RFC 7858, section 3.1)\n"
        "t.yaml:8:5: listen[6]: expected one value, not a list\n"
        "t.yaml:9:4: listen[7]: has no value; an empty text is written as \"\"\n"
        "t.yaml:10:5: listen[8]: the address is missing\n"
        "t.yaml:11:40: listen[9].transport: expected a list; an empty one is written as []\n"
        "t.yaml:12:40: listen[10].transport: expected udp, tcp or both\n"
        "t.yaml:13:41: listen[11].transport[0]: \"tls\": expected udp or tcp\n"
        "t.yaml:14:6: listen[12].addrezz: unknown key; did you mean address?\n"
        "t.yaml:14:5: listen[12]: the address is missing\n");
    assert_file_refused("listen: []\n", "t.yaml:1:9: listen: at least one address is needed\n");
    assert_file_refused(
        "listen: [224.0.0.251:5353, \"255.255.255.255:53\", \"[ff02::fb]:5353\"]\n",
        "t.yaml:1:10: listen[0]: \"224.0.0.251:5353\": nobody can be answered from this address\n"
        "t.yaml:1:28: listen[1]: \"255.255.255.255:53\": nobody can be answered from this address\n"
        "t.yaml:1:50: listen[2]: \"[ff02::fb]:5353\": nobody can be answered from this address\n");
    assert_file_refused("listen: [127.0.0.1:53, \"127.0.0.1:53\"]\n",
                        "t.yaml:1:24: listen[1]: 127.0.0.1:53 stands here twice\n");
    assert_file_refused("listen: [127.0.0.1:53, {address: 127.0.0.1:53, transport: [tcp]}]\n",
                        "t.yaml:1:24: listen[1]: 127.0.0.1:53 stands here twice: each transport may be at "
                        "one entry, and an entry that names none is for both\n");
}

static void test_listen_twice(void **state)
{
    (void)state;
    static const char *const transports[][2] = {{"udp", "udp"}, {"tcp", "tcp"}, {"udp, tcp", "tcp, udp"}};
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "listen:\n- {address: \"[::1]:53\", transport: [%s]}\n- {address: \"[::1]:53\", transport: "
                 "[%s]}\n",
                 transports[i][0], transports[i][1]);
        assert_file_refused(text, "t.yaml:3:3: listen[1]: [::1]:53 stands here twice\n");
    }
}

static void test_listen_most(void **state)
{
    (void)state;
    char text[65 * 20 + 20];
    size_t size = (size_t)snprintf(text, sizeof text, "listen:\n");
    for (unsigned i = 0; i < 64; i++) {
        size += (size_t)snprintf(text + size, sizeof text - size, "- 127.0.0.1:%u\n", 1000 + i);
    }
    struct config *config = built_from_file(text);
    assert_int_equal(config->listen_count, 64);
    config_free(config);
    snprintf(text + size, sizeof text - size, "- 127.0.0.1:99\n");
    assert_file_refused(text, "t.yaml:2:1: listen: holds 65 entries; the most is 64\n");
}

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *label, *name;
    } cases[] = {
        {"tls://192.0.2.1", "tls://192.0.2.1:853", NULL},
        {"tls://192.0.2.1:8853", "tls://192.0.2.1:8853", NULL},
        {"tls://192.0.2.1#dns.example", "tls://192.0.2.1:853#dns.example", "dns.example"},
        {"tls://192.0.2.1:853#DNS.Example", "tls://192.0.2.1:853#dns.example", "dns.example"},
        {"tls://[2001:db8::1]", "tls://[2001:db8::1]:853", NULL},
        {"tls://[2001:DB8:0::1]:8853#x", "tls://[2001:db8::1]:8853#x", "x"},
        {"tls://192.0.2.1#xn--bcher-kva.example", "tls://192.0.2.1:853#xn--bcher-kva.example",
         "xn--bcher-kva.example"},
        {"tls://192.0.2.1#1dns.example", "tls://192.0.2.1:853#1dns.example", "1dns.example"},
        {"tls://127.0.0.1:8853#a-b", "tls://127.0.0.1:8853#a-b", "a-b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *config = built_from_upstream(cases[i].url);
        assert_int_equal(config->upstream_count, 1);
        assert_upstream(config, 0, cases[i].label, cases[i].name);
        assert_false(config->upstreams[0].optional);
        assert_int_equal(config->upstreams[0].pin_count, 0);
        config_free(config);
    }
}

/* Shows: W2, P02, RFC7858-3.1 */
static void test_url_errors(void **state)
{
    (void)state;
    static const char port[] = "expected a port from 1 to 65535";
    static const char scheme[] =
        "expected tls://ADDRESS[:PORT][#NAME], udp://ADDRESS[:PORT], tcp://ADDRESS[:PORT], or one of "
        "cloudflare, google, quad9 and adguard";
    static const char bare[] = "is it to be asked over TLS (tls://ADDRESS[:PORT][#NAME]), or in clear text "
                               "(udp://ADDRESS[:PORT])?";
    static const char clear[] =
        "port 53 is for clear text; DNS over TLS never uses it (RFC 7858, section 3.1)";
    static const char server[] = "no server can have this address";
    static const struct {
        const char *url, *reason;
    } cases[] = {
        {"", scheme},
        {"Cloudflare", scheme},
        {"192.0.2.1", bare},
        {"192.0.2.1@853#dns.example", bare},
        {"[2001:db8::1]:853", bare},
        {"tls:/192.0.2.1", scheme},
        {"TLS://192.0.2.1", scheme},
        {"UDP://192.0.2.1", scheme},
        {"https://dns.example/dns-query", "DNS over TLS is spoken (tls://), and clear text (udp://, tcp://)"},
        {"quic://192.0.2.1", "DNS over TLS is spoken (tls://), and clear text (udp://, tcp://)"},
        {"tls://", "the address is missing"},
        {"tls://#name", "the address is missing"},
        {"tls://:853", "the address is missing"},
        {"tls://[]", "the address is missing"},
        {"tls://1.1.1", NEEDS_ADDRESS},
        {"tls://1.1.1.256", NEEDS_ADDRESS},
        {"tls://user@1.1.1.1", NEEDS_ADDRESS},
        {"tls://1.1.1.1/", NEEDS_ADDRESS},
        {"tls:// 1.1.1.1", NEEDS_ADDRESS},
        {"tls://[1.1.1.1]", NEEDS_ADDRESS},
        {"tls://[dns.google]", NEEDS_ADDRESS},
        {"tls://[2001:db8::1", "the bracket of the address is not closed"},
        {"tls://[2001:db8::1]853", "expected a colon and a port behind the bracket"},
        {"tls://2001:db8::1", "an IPv6 address stands in brackets, such as tls://[2001:db8::1]:853"},
        {"tls://1.1.1.1:", port},
        {"tls://1.1.1.1:0", port},
        {"tls://1.1.1.1:65536", port},
        {"tls://1.1.1.1:0853", port},
        {"tls://1.1.1.1:853/", port},
        {"tls://[2001:db8::1]:x", port},
        {"tls://1.1.1.1:53", clear},
        {"tls://[2001:db8::1]:53#a.example", clear},
        {"tls://0.0.0.0", server},
        {"tls://[::]", server},
        {"tls://224.0.0.251", server},
        {"tls://[ff02::fb]", server},
        {"tls://255.255.255.255", server},
        {"tls://1.1.1.1#", "the name behind # is missing"},
        {"tls://1.1.1.1#1.1.1.1",
         "an address is no name: leave the name out, and the certificate must bear the server's address"},
        {"tls://1.1.1.1#a..b", NOT_A_NAME},
        {"tls://1.1.1.1#.a", NOT_A_NAME},
        {"tls://1.1.1.1#a.", NOT_A_NAME},
        {"tls://1.1.1.1#-a.example", NOT_A_NAME},
        {"tls://1.1.1.1#a-.example", NOT_A_NAME},
        {"tls://1.1.1.1#a_b.example", NOT_A_NAME},
        {"tls://1.1.1.1#*.example", NOT_A_NAME},
        {"tls://1.1.1.1#a b", NOT_A_NAME},
        {"tls://1.1.1.1#a#b", NOT_A_NAME},
        {"tls://1.1.1.1#a012345678901234567890123456789012345678901234567890123456789012", NOT_A_NAME},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_upstream_refused(cases[i].url, cases[i].reason);
    }
}

static void test_presets(void **state)
{
    (void)state;
    static const struct {
        const char *word, *name, *labels[4];
    } cases[] = {
        {"cloudflare",
         "cloudflare-dns.com",
         {"tls://1.1.1.1:853#cloudflare-dns.com", "tls://1.0.0.1:853#cloudflare-dns.com",
          "tls://[2606:4700:4700::1111]:853#cloudflare-dns.com",
          "tls://[2606:4700:4700::1001]:853#cloudflare-dns.com"}},
        {"google",
         "dns.google",
         {"tls://8.8.8.8:853#dns.google", "tls://8.8.4.4:853#dns.google",
          "tls://[2001:4860:4860::8888]:853#dns.google", "tls://[2001:4860:4860::8844]:853#dns.google"}},
        {"quad9",
         "dns.quad9.net",
         {"tls://9.9.9.9:853#dns.quad9.net", "tls://149.112.112.112:853#dns.quad9.net",
          "tls://[2620:fe::fe]:853#dns.quad9.net", "tls://[2620:fe::9]:853#dns.quad9.net"}},
        {"adguard",
         "dns.adguard-dns.com",
         {"tls://94.140.14.14:853#dns.adguard-dns.com", "tls://94.140.15.15:853#dns.adguard-dns.com",
          "tls://[2a10:50c0::ad1:ff]:853#dns.adguard-dns.com",
          "tls://[2a10:50c0::ad2:ff]:853#dns.adguard-dns.com"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *config = built_from_upstream(cases[i].word);
        assert_int_equal(config->upstream_count, 4);
        for (size_t j = 0; j < 4; j++) {
            assert_upstream(config, j, cases[i].labels[j], cases[i].name);
            assert_int_equal(config->upstreams[j].optional, j >= 2);
        }
        config_free(config);
    }
}

/* Shows: W9 */
/* Shows: pain 19 */
static void test_without_clock(void **state)
{
    (void)state;
    struct config *config = built_from_file(
        "upstreams:\n"
        "  - {url: \"tls://192.0.2.1#a.example\", pins: [" PIN_OF_B "], without_clock: true}\n"
        "  - {url: \"tls://192.0.2.2#a.example\", pins: [" PIN_OF_B "], without_clock: false}\n"
        "  - {url: \"tls://192.0.2.3#a.example\"}\n");
    struct tls_identity identity = config_upstream_identity(config, &config->upstreams[0]);
    assert_true(identity.without_clock);
    assert_int_equal(identity.clock_least, clock_source_date());
    assert_false(config_upstream_identity(config, &config->upstreams[1]).without_clock);
    assert_false(config_upstream_identity(config, &config->upstreams[2]).without_clock);
    config_free(config);
    assert_file_refused("upstreams:\n"
                        "  - {url: \"tls://192.0.2.1#a.example\", without_clock: true}\n"
                        "  - {url: \"tls://192.0.2.2\", pins: [" PIN_OF_B "], without_clock: true}\n"
                        "  - {url: quad9, without_clock: soon}\n",
                        "t.yaml:2:11: upstreams[0].url: tls://192.0.2.1:853#a.example: without_clock needs "
                        "pins: without a clock "
                        "they are what the server is believed by\n"
                        "t.yaml:3:11: upstreams[1].url: tls://192.0.2.2:853: without_clock has no use: pins "
                        "without a name are "
                        "believed whatever the clock says\n"
                        "t.yaml:4:33: upstreams[2].without_clock: \"soon\": expected true or false\n");
}

static void test_pins(void **state)
{
    (void)state;
    struct config *config =
        built_from_file("upstreams:\n"
                        "  - {url: \"tls://192.0.2.1\", pins: [\"" PIN_OF_A "\", " PIN_OF_B "]}\n"
                        "  - {pins: [" PIN_OF_B "], url: \"tls://192.0.2.2#a.example\"}\n"
                        "  - {url: \"tls://192.0.2.3\"}\n"
                        "  - {url: \"tls://192.0.2.4\", pins: []}\n"
                        "  - {url: quad9, pins: [" PIN_OF_B "]}\n");
    static const uint8_t a[TLS_PIN_SIZE] = {0};
    uint8_t b[TLS_PIN_SIZE];
    memset(b, 1, sizeof b);
    assert_int_equal(config->upstream_count, 8);
    assert_null(config->upstreams[0].name);
    assert_int_equal(config->upstreams[0].pin_count, 2);
    assert_memory_equal(config->upstreams[0].pins[0], a, TLS_PIN_SIZE);
    assert_memory_equal(config->upstreams[0].pins[1], b, TLS_PIN_SIZE);
    assert_int_equal(config->upstreams[1].pin_count, 1);
    assert_string_equal(config->upstreams[1].name, "a.example");
    assert_int_equal(config->upstreams[2].pin_count, 0);
    assert_int_equal(config->upstreams[3].pin_count, 0);
    assert_int_equal(config->upstreams[7].pin_count, 1);
    assert_memory_equal(config->upstreams[7].pins[0], b, TLS_PIN_SIZE);
    config_free(config);
}

static void test_upstream_errors(void **state)
{
    (void)state;
    assert_file_refused(
        "upstreams:\n"
        "  - {url: \"tls://192.0.2.1\", pins: [\"sha256/AAAA\"]}\n"
        "  - {url: \"tls://192.0.2.2\", pins: " PIN_OF_A "}\n"
        "  - {pins: [" PIN_OF_A "]}\n"
        "  - {url: quad9, pin: []}\n"
        "  - {url: [quad9]}\n"
        "  - [quad9]\n",
        "t.yaml:2:37: upstreams[0].pins[0]: \"sha256/AAAA\": expected sha256/ and the Base64 of the "
        "SHA-256 of a public key, as --check --connect prints it\n"
        "t.yaml:3:36: upstreams[1].pins: expected a list; an empty one is written as []\n"
        "t.yaml:4:5: upstreams[2]: the url is missing\n"
        "t.yaml:5:18: upstreams[3].pin: unknown key; did you mean pins?\n"
        "t.yaml:6:11: upstreams[4].url: expected one value, not a list\n"
        "t.yaml:7:5: upstreams[5]: expected one value, not a list\n");
    assert_file_refused("upstreams: []\n", "t.yaml:1:12: upstreams: at least one upstream is needed\n");
    assert_file_refused("upstreams: [\"tls://192.0.2.1\", \"tls://192.0.2.1:853\"]\n",
                        "t.yaml:1:32: upstreams[1]: tls://192.0.2.1:853 stands here twice\n");
    assert_file_refused("upstreams: [quad9, \"tls://9.9.9.9#dns.quad9.net\"]\n",
                        "t.yaml:1:20: upstreams[1]: tls://9.9.9.9:853#dns.quad9.net stands here twice\n");
    /* Another name is another identity. */
    struct config *config = built_from_file("upstreams: [\"tls://192.0.2.1#a\", \"tls://192.0.2.1#b\", "
                                            "\"tls://192.0.2.1\", \"tls://192.0.2.1:8853\"]\n");
    assert_int_equal(config->upstream_count, 4);
    config_free(config);
}

static void test_upstreams_most(void **state)
{
    (void)state;
    char text[34 * 32];
    size_t size = (size_t)snprintf(text, sizeof text, "upstreams:\n");
    for (unsigned i = 0; i < 32; i++) {
        size += (size_t)snprintf(text + size, sizeof text - size, "- tls://192.0.2.%u\n", i);
    }
    struct config *config = built_from_file(text);
    assert_int_equal(config->upstream_count, 32);
    config_free(config);
    snprintf(text + size, sizeof text - size, "- tls://192.0.2.99\n");
    assert_file_refused(text, "t.yaml:34:3: upstreams[32]: there are more than 32 upstreams\n");
    char pins[17 * 64 + 64];
    size = (size_t)snprintf(pins, sizeof pins, "upstreams: [{url: quad9, pins: [");
    for (unsigned i = 0; i < 17; i++) {
        size += (size_t)snprintf(pins + size, sizeof pins - size, "%s%s", i > 0 ? ", " : "", PIN_OF_A);
    }
    snprintf(pins + size, sizeof pins - size, "]}]\n");
    assert_file_refused(pins, "t.yaml:1:32: upstreams[0].pins: holds 17 entries; the most is 16\n");
}

/* Shows: A07 */
static void test_loops(void **state)
{
    (void)state;
    assert_file_refused(
        "listen: [127.0.0.1:8853]\nupstreams: [quad9, \"tls://127.0.0.1:8853#a\"]\n",
        "t.yaml:2:20: upstreams[1]: tls://127.0.0.1:8853#a is where this program listens itself "
        "(127.0.0.1:8853): queries would go round in a loop\n");
    assert_file_refused(
        "listen: [0.0.0.0:8853]\nupstreams: [\"tls://127.0.0.2:8853\"]\n",
        "t.yaml:2:13: upstreams[0]: tls://127.0.0.2:8853 is where this program listens itself "
        "(0.0.0.0:8853): queries would go round in a loop\n");
    assert_file_refused("listen: [\"[::]:8853\"]\nupstreams: [\"tls://[::1]:8853\"]\n",
                        "t.yaml:2:13: upstreams[0]: tls://[::1]:8853 is where this program listens itself "
                        "([::]:8853): queries would go round in a loop\n");
    assert_file_refused(
        "listen: [192.0.2.1:8853]\nupstreams: [\"tls://192.0.2.1:8853\"]\n",
        "t.yaml:2:13: upstreams[0]: tls://192.0.2.1:8853 is where this program listens itself "
        "(192.0.2.1:8853): queries would go round in a loop\n");
    struct config_sources sources = with_environment(NAMES("DNSEAL_UPSTREAMS=tls://127.0.0.1:8853"));
    sources.listen = NAMES("127.0.0.1:8853");
    sources.listen_count = 1;
    assert_refused(&sources,
                   "environment: DNSEAL_UPSTREAMS: tls://127.0.0.1:8853 is where this program listens "
                   "itself (127.0.0.1:8853): queries would go round in a loop\n");
    static const char *const fine[] = {
        "listen: [127.0.0.1:8854]\nupstreams: [\"tls://127.0.0.1:8853\"]\n",
        "listen: [0.0.0.0:8853]\nupstreams: [\"tls://192.0.2.1:8853\"]\n",
        "listen: [\"[::]:8853\"]\nupstreams: [\"tls://127.0.0.1:8853\"]\n",
        "listen: [{address: 127.0.0.1:8853, transport: [udp]}]\nupstreams: [\"tls://127.0.0.1:8853\"]\n",
    };
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        config_free(built_from_file(fine[i]));
    }
}

static bool contains(const struct config_prefixes *prefixes, const char *text)
{
    struct address address;
    assert_int_equal(address_parse(span_text(text), 0, &address), 0);
    for (size_t i = 0; i < prefixes->count; i++) {
        if (address_prefix_contains(&prefixes->items[i], &address)) {
            return true;
        }
    }
    return false;
}

/* Shows: W6 */
static void test_access(void **state)
{
    (void)state;
    struct config *config =
        built_from_file("access: {allow: [private, 203.0.113.0/24, \"2001:db8::/32\"], deny: "
                        "[10.0.0.1]}\n");
    static const char *const inside[] = {"127.0.0.1",      "127.255.255.255", "10.0.0.1",    "172.16.0.1",
                                         "172.31.255.255", "192.168.9.9",     "169.254.1.1", "::1",
                                         "fe80::1",        "febf::1",         "fd00::1",     "203.0.113.255",
                                         "2001:db8::9"};
    static const char *const outside[] = {"126.255.255.255", "172.32.0.1", "172.15.255.255",
                                          "192.169.0.1",     "8.8.8.8",    "::2",
                                          "fec0::1",         "fe00::1",    "2001:db9::1"};
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
        assert_true(contains(&config->access.allow, inside[i]));
    }
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        assert_false(contains(&config->access.allow, outside[i]));
    }
    assert_int_equal(config->access.deny.count, 1);
    assert_true(contains(&config->access.deny, "10.0.0.1"));
    assert_false(contains(&config->access.deny, "10.0.0.2"));
    config_free(config);
    config = built_from_file("access: {allow: [any], deny: [private]}\n");
    assert_true(contains(&config->access.allow, "8.8.8.8"));
    assert_true(contains(&config->access.allow, "2001:db9::1"));
    assert_int_equal(config->access.deny.count, 8);
    config_free(config);
    config = built_from_file("access: {allow: []}\n");
    assert_int_equal(config->access.allow.count, 0);
    config_free(config);
}

static void test_access_errors(void **state)
{
    (void)state;
    static const char expected[] =
        "expected an address, a prefix without host bits such as 192.0.2.0/24, private or "
        "any";
    static const char *const wrong[] = {"10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/",     "10.0.0",
                                        "all",        "localhost",   "10.0.0.0/8:53", "10.0.0.1:53"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[128], complaint[256];
        snprintf(text, sizeof text, "access:\n  deny:\n    - %s\n", wrong[i]);
        snprintf(complaint, sizeof complaint, "t.yaml:3:7: access.deny[0]: \"%s\": %s\n", wrong[i], expected);
        assert_file_refused(text, complaint);
    }
}

/* A word counts for the prefixes that it stands for. */
static void test_access_most(void **state)
{
    (void)state;
    char text[513 * 9 + 32];
    size_t size = (size_t)snprintf(text, sizeof text, "access: {deny: [private");
    for (unsigned i = 1; i < 512; i++) {
        size += (size_t)snprintf(text + size, sizeof text - size, ",private");
    }
    snprintf(text + size, sizeof text - size, "]}\n");
    struct config *config = built_from_file(text);
    assert_int_equal(config->access.deny.count, 4096);
    config_free(config);
    snprintf(text + size, sizeof text - size, ",10.0.0.1]}\n");
    assert_file_refused(text, "t.yaml:1:16: access.deny: stands for 4097 prefixes; the most is 4096\n");
}

const struct CMUnitTest config_upstream_tests[] = {
    cmocka_unit_test(test_listen_entries), cmocka_unit_test(test_listen_errors),
    cmocka_unit_test(test_listen_most),    cmocka_unit_test(test_listen_twice),
    cmocka_unit_test(test_urls),           cmocka_unit_test(test_url_errors),
    cmocka_unit_test(test_presets),        cmocka_unit_test(test_pins),
    cmocka_unit_test(test_without_clock),  cmocka_unit_test(test_upstream_errors),
    cmocka_unit_test(test_upstreams_most), cmocka_unit_test(test_loops),
    cmocka_unit_test(test_access),         cmocka_unit_test(test_access_errors),
    cmocka_unit_test(test_access_most),
};
const size_t config_upstream_count = sizeof config_upstream_tests / sizeof config_upstream_tests[0];
