/* What a person is told of a server, from what was found out about it; and what servers are asked. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <stdio.h>

#include "base/clock.h"

#include "probe/internal.h"

enum { NOW = 1700000000, DAY = 86400 };

static char told[8192];
static size_t told_size;

static void keep(struct probe_sink *sink, struct span text)
{
    (void)sink;
    assert_true(told_size + text.size < sizeof told);
    memcpy(told + told_size, text.data, text.size);
    told_size += text.size;
    told[told_size] = '\0';
}

static struct probe_sink sink = {.write = keep};

static struct probe_page page_of(bool is_coloured)
{
    told_size = 0;
    return (struct probe_page){.sink = &sink,
                               .is_coloured = is_coloured,
                               .wall = NOW,
                               .authorities = "/ca.pem",
                               .asks_for_padding = true};
}

static const struct config_upstream upstream = {
    .address = {.family = AF_INET, .port = 853, .bytes = {192, 0, 2, 1}},
    .label = (char *)(uintptr_t) "tls://192.0.2.1:853#a.test",
    .name = (char *)(uintptr_t) "a.test",
};

static struct probe_result result_of(const char *reason)
{
    return (struct probe_result){
        .upstream = &upstream,
        .reason = reason,
        .is_connected = true,
        .connect_time = 2 * CLOCK_MILLISECOND,
        .round_trip = 1500 * CLOCK_MICROSECOND,
        .chain_count = 1,
        .chain = {{.subject = "CN=server",
                   .issuer = "CN=root",
                   .names = "b.test, 192.0.2.9",
                   .not_before = NOW - DAY,
                   .not_after = NOW + 40 * DAY,
                   .has_pin = true}},
        .keepalive = -1,
    };
}

static struct probe_result good_result(void)
{
    struct probe_result result = result_of(NULL);
    result.is_secured = true;
    result.handshake_time = 12340 * CLOCK_MICROSECOND;
    result.version = "TLSv1.3";
    result.cipher = "TLS_AES_128_GCM_SHA256";
    result.group = "X25519";
    result.has_protocol = true;
    result.chain[0].is_pinned = true;
    result.answered = PROBE_SINGLE;
    for (unsigned i = 0; i < PROBE_SINGLE; i++) {
        result.latency[i] = (9 - i) * CLOCK_MILLISECOND;
    }
    result.keepalive = 305;
    result.is_padded = true;
    result.answer_size = 468;
    result.answered_together = PROBE_TOGETHER;
    result.together_time = 20 * CLOCK_MILLISECOND;
    result.resumption = PROBE_RESUMED;
    return result;
}

/* Shows: I6 */
static void a_good_server_is_told_whole(void **state)
{
    (void)state;
    struct probe_page page = page_of(true);
    struct probe_result result = good_result();
    probe_report(&result, &page);
    assert_string_equal(
        told, "tls://192.0.2.1:853#a.test: works\n"
              "    address      192.0.2.1:853, TCP in 2.0 ms (round trip 1.5 ms)\n"
              "    tls          in 12.3 ms, TLSv1.3, TLS_AES_128_GCM_SHA256, X25519, ALPN dot\n"
              "    identity     a.test, which the certificate bears\n"
              "    certificate  CN=server, 2023-11-13T22:13:20Z to 2023-12-24T22:13:20Z, 40 days left\n"
              "    names        b.test, 192.0.2.9\n"
              "    pin          sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=, which is pinned\n"
              "    issuer       CN=root, which was not seen\n"
              "    resumption   a second connection resumed the session\n"
              "    keepalive    idle connections are kept for 30.5 s\n"
              "    padding      answers are padded to a multiple of 468 bytes\n"
              "    pipelining   8 queries at once, all answered in 20.0 ms, in the order of the queries\n"
              "    latency      7.0 ms (the middle of 5, 5.0 to 9.0 ms)\n");
}

/* Shows: I6 */
static void what_is_not_known_is_not_claimed(void **state)
{
    (void)state;
    struct probe_page page = page_of(false);
    struct probe_result result = good_result();
    result.answered = 1;
    result.answered_together = 0;
    result.resumption = PROBE_NOT_TRIED;
    result.keepalive = -1;
    result.answer_size = 128;
    result.group = "";
    result.has_protocol = false;
    result.is_undated = true;
    probe_report(&result, &page);
    assert_non_null(strstr(told, "TLS_AES_128_GCM_SHA256, no protocol chosen (ALPN)\n"));
    assert_non_null(strstr(told, "clock        this machine's clock is wrong"));
    assert_non_null(strstr(told, "resumption   not known"));
    assert_non_null(strstr(told, "keepalive    not told"));
    assert_non_null(strstr(told, "padding      answers are padded (128 bytes), not to a multiple of 468"));
    assert_non_null(strstr(told, "pipelining   not known: the server closed after 1 answer\n"));
    assert_non_null(strstr(told, "latency      9.0 ms (the middle of 1, 9.0 to 9.0 ms)\n"));
    page = page_of(false);
    result = good_result();
    result.answered_together = 3;
    result.resumption = PROBE_NOT_RESUMED;
    result.is_padded = false;
    probe_report(&result, &page);
    assert_non_null(strstr(told, "3 of 8 queries at once were answered"));
    assert_non_null(strstr(told, "resumption   none"));
    assert_non_null(strstr(told, "answers are not padded"));
}

/* Shows: I6, M7 */
static void a_server_in_clear_text_is_told_without_tls(void **state)
{
    (void)state;
    struct config_upstream plain = {.transport = CONFIG_TCP,
                                    .address = upstream.address,
                                    .label = (char *)(uintptr_t) "tcp://192.0.2.1:853"};
    struct probe_page page = page_of(false);
    struct probe_result result = good_result();
    result.upstream = &plain;
    result.is_secured = false;
    result.chain_count = 0;
    probe_report(&result, &page);
    assert_string_equal(
        told, "tcp://192.0.2.1:853: works\n"
              "    address      192.0.2.1:853, TCP in 2.0 ms (round trip 1.5 ms)\n"
              "    clear text   whoever is on the way can read and change queries and answers\n"
              "    keepalive    idle connections are kept for 30.5 s\n"
              "    pipelining   8 queries at once, all answered in 20.0 ms, in the order of the queries\n"
              "    latency      7.0 ms (the middle of 5, 5.0 to 9.0 ms)\n");
    page = page_of(false);
    plain.transport = CONFIG_UDP;
    plain.label = (char *)(uintptr_t) "udp://192.0.2.1:853";
    probe_report(&result, &page);
    assert_string_equal(told,
                        "udp://192.0.2.1:853: works\n"
                        "    address      192.0.2.1:853, UDP\n"
                        "    clear text   whoever is on the way can read and change queries and answers\n"
                        "    tcp          in 2.0 ms (round trip 1.5 ms), for what no datagram carries\n"
                        "    latency      7.0 ms (the middle of 5, 5.0 to 9.0 ms)\n");
    page = page_of(false);
    result.stream_reason = "refused";
    probe_report(&result, &page);
    assert_non_null(strstr(told, "tcp          fails (refused): what no datagram carries"));
}

static void expect_told(const struct probe_result *result, const char *sentence, const char *way_out)
{
    char text[512];
    struct probe_page page = page_of(false);
    probe_explain(result, &page, text, sizeof text);
    assert_string_equal(text, sentence);
    probe_way_out(result, text, sizeof text);
    if (way_out != NULL) {
        assert_string_equal(text, way_out);
    }
    assert_true(text[0] != '\0');
}

/* Shows: L01 */
static void failures_are_explained_by_what_was_seen(void **state)
{
    (void)state;
    struct probe_result result = result_of("wrong_name");
    expect_told(&result, "the certificate bears b.test, 192.0.2.9, and not a.test",
                "if that is whom you mean, write tls://192.0.2.1:853#b.test");
    snprintf(result.chain[0].names, sizeof result.chain[0].names, "%s", "192.0.2.9, b.test");
    expect_told(&result, "the certificate bears 192.0.2.9, b.test, and not a.test",
                "if that is whom you mean, write tls://192.0.2.1:853#b.test");
    snprintf(result.chain[0].names, sizeof result.chain[0].names, "%s", "*.b.test, 192.0.2.1");
    expect_told(&result, "the certificate bears *.b.test, 192.0.2.1, and not a.test",
                "the certificate bears the address: without a name, as tls://192.0.2.1:853, that is enough");
    snprintf(result.chain[0].names, sizeof result.chain[0].names, "%s", "192.0.2.9, *.b.test");
    expect_told(&result, "the certificate bears 192.0.2.9, *.b.test, and not a.test",
                stream_reason_hint("wrong_name"));
    static const char *const useless[] = {"$(reboot).test", "*.b.test", "a_b.test", "b.exam..."};
    for (size_t i = 0; i < sizeof useless / sizeof useless[0]; i++) {
        char sentence[512];
        snprintf(result.chain[0].names, sizeof result.chain[0].names, "%s", useless[i]);
        snprintf(sentence, sizeof sentence, "the certificate bears %s, and not a.test", useless[i]);
        expect_told(&result, sentence, stream_reason_hint("wrong_name"));
    }
    result.chain[0].names[0] = '\0';
    expect_told(&result, "the certificate bears no name at all (its subject does not count), and not a.test",
                NULL);
    result = result_of("expired");
    result.chain[0].not_after = NOW - 3 * DAY;
    expect_told(&result,
                "the certificate of CN=server ended 2023-11-11T22:13:20Z, 3 days ago by this machine's clock "
                "(2023-11-14T22:13:20Z)",
                NULL);
    result = result_of("unknown_ca");
    expect_told(
        &result, "the chain lacks CN=root, which the server did not send and which is not in /ca.pem",
        "if CN=root is an authority that you trust, add it to tls.ca; else the server has to send its "
        "certificate: tell its operator");
    snprintf(result.chain[0].subject, sizeof result.chain[0].subject, "%s", "CN=root");
    expect_told(&result, "the chain ends at CN=root, which is not in /ca.pem",
                stream_reason_hint("unknown_ca"));
    result = result_of("rcode");
    result.rcode = DNS_RCODE_REFUSED;
    expect_told(&result, "TLS is fine, but it answers REFUSED to a harmless query", NULL);
    result = result_of("pin");
    expect_told(&result,
                "none of the pinned keys is there; the server's own is "
                "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                NULL);
    result = result_of("other");
    snprintf(result.failure.detail, sizeof result.failure.detail, "%s", "internal error");
    expect_told(&result, "internal error", NULL);
}

/* Shows: L01, M7 */
static void failures_in_clear_text_do_not_speak_of_tls(void **state)
{
    (void)state;
    struct config_upstream plain = {.transport = CONFIG_TCP, .address = upstream.address};
    struct probe_result result = {.upstream = &plain, .reason = "no_answer"};
    expect_told(&result, "TCP connects, but no answer to a DNS query comes", NULL);
    result.reason = "refused";
    expect_told(&result, "nothing listens there: the connection was refused", NULL);
    plain.transport = CONFIG_UDP;
    expect_told(&result, "nothing listens there: a message of the network (ICMP) says so", NULL);
    result.reason = "malformed";
    expect_told(&result, "what comes is no DNS answer", NULL);
    result.reason = "rcode";
    result.rcode = DNS_RCODE_REFUSED;
    expect_told(&result, "it answers REFUSED to a harmless query", NULL);
}

/* Shows: L01 */
static void another_certificate_of_the_chain_may_have_ended(void **state)
{
    (void)state;
    struct probe_result result = result_of("expired");
    result.chain[1] = (struct tls_certificate){
        .subject = "CN=middle", .not_before = NOW - 9 * DAY, .not_after = NOW - 90 * 60};
    result.chain_count = 2;
    expect_told(&result,
                "the certificate of CN=middle ended 2023-11-14T20:43:20Z, 90 minutes ago by this machine's "
                "clock (2023-11-14T22:13:20Z)",
                NULL);
}

/* Shows: L01 */
static void red_is_for_failures_and_for_terminals(void **state)
{
    (void)state;
    struct probe_result result = result_of("refused");
    result.is_connected = false;
    result.chain_count = 0;
    struct probe_page page = page_of(true);
    probe_report(&result, &page);
    assert_string_equal(told,
                        "\033[31mtls://192.0.2.1:853#a.test: FAILS: refused: nothing listens there: the "
                        "connection was refused\033[0m\n"
                        "    way out      nothing listens at this address and port: check both\n"
                        "    address      192.0.2.1:853\n");
    page = page_of(false);
    probe_report(&result, &page);
    assert_null(strchr(told, '\033'));
}

/* ---- where servers are ---- */

/* Shows: I6, pain 30 */
static void who_was_asked_for_an_address_is_told(void **state)
{
    (void)state;
    struct config_upstream named = {.label = (char *)(uintptr_t) "tls://dns.example:853",
                                    .host = (char *)(uintptr_t) "dns.example"};
    struct config_upstream asked[] = {{.url = (char *)(uintptr_t) "tls://192.0.2.53:853#a.test"},
                                      {.url = (char *)(uintptr_t) "udp://192.0.2.54:53"}};
    struct config who = {.bootstrap = asked, .bootstrap_count = 2};
    struct address_list one = {1, {upstream.address}};
    struct probe_lookup lookup = {.upstream = &named, .said = {{.reason = "expired"}, {.reason = "denied"}}};
    struct probe_page page = page_of(true);
    probe_report_lookup(&lookup, &who, &page);
    assert_string_equal(
        told,
        "\033[31mtls://dns.example:853: FAILS: unresolved: nobody who was asked told an address of "
        "dns.example: tls://192.0.2.53:853#a.test (expired), udp://192.0.2.54:53 (denied)\033[0m\n"
        "    way out      see below; or name others in bootstrap, or the server by its address "
        "(tls://ADDRESS#NAME)\n"
        "    asked        tls://192.0.2.53:853#a.test: fails: expired: the certificate has expired: tell its "
        "operator, or check the clock of this machine\n"
        "    asked        udp://192.0.2.54:53: fails: denied: there is no such name: check the host name in "
        "the upstream's URL\n");
    lookup.addresses = one;
    lookup.said[1] = (struct probe_said){.addresses = one, .time = 3 * CLOCK_MILLISECOND};
    page = page_of(true);
    probe_report_lookup(&lookup, &who, &page);
    assert_non_null(strstr(told, "tls://dns.example:853: is at 192.0.2.1\n"));
    assert_non_null(strstr(told, "asked        udp://192.0.2.54:53: 192.0.2.1, in 3.0 ms\n"));
    assert_null(strchr(told, '\033'));
}

/* ---- what is asked ---- */

static struct config_listen listens[] = {{.group = 0}};
static struct config_route routes[] = {
    {.name = (char *)(uintptr_t) "other.test", .group = 2},
    {.name = (char *)(uintptr_t) "office.test", .group = 1},
};
static const struct config config = {
    .listen = listens, .listen_count = 1, .routes = routes, .route_count = 2};

static const char *asked(unsigned group, unsigned index, uint16_t *type)
{
    static char text[DNS_NAME_TEXT_SIZE];
    struct probe_theme theme;
    uint8_t question[PROBE_NAME_MAX];
    probe_theme_choose(&config, group, 26, &theme);
    size_t size = probe_question(&theme, index, question);
    *type = bytes_get_u16(question + size - 4);
    assert_int_equal(bytes_get_u16(question + size - 2), DNS_CLASS_IN);
    dns_name_to_text(question, text);
    return text;
}

/* Shows: I6 */
static void a_server_is_asked_for_what_it_is_there_for(void **state)
{
    (void)state;
    uint16_t type;
    assert_string_equal(asked(0, 0, &type), ".");
    assert_int_equal(type, DNS_TYPE_NS);
    assert_string_equal(asked(0, PROBE_SINGLE, &type), "abaaaaaaaaaa.example.com.");
    assert_int_equal(type, DNS_TYPE_A);
    assert_string_equal(asked(0, PROBE_SINGLE + 2, &type), ".");
    assert_int_equal(type, DNS_TYPE_AAAA);
    assert_string_equal(asked(1, 0, &type), "office.test.");
    assert_string_equal(asked(1, PROBE_SINGLE, &type), "abaaaaaaaaaa.office.test.");
    for (unsigned i = PROBE_SINGLE + 1; i < PROBE_QUESTIONS; i++) {
        uint16_t other;
        asked(1, i, &type);
        for (unsigned j = i + 1; j < PROBE_QUESTIONS; j++) {
            asked(1, j, &other);
            assert_int_not_equal(type, other);
        }
    }
}

/* Shows: I6 */
static void distances_are_told_in_the_unit_that_fits(void **state)
{
    (void)state;
    char text[PROBE_MOMENT_SIZE];
    assert_string_equal(probe_distance(0, text), "0 minutes");
    assert_string_equal(probe_distance(7199, text), "119 minutes");
    assert_string_equal(probe_distance(7200, text), "2 hours");
    assert_string_equal(probe_distance(2 * DAY, text), "2 days");
    assert_string_equal(probe_moment(0, text), "1970-01-01T00:00:00Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_server_is_told_whole),
        cmocka_unit_test(what_is_not_known_is_not_claimed),
        cmocka_unit_test(a_server_in_clear_text_is_told_without_tls),
        cmocka_unit_test(failures_are_explained_by_what_was_seen),
        cmocka_unit_test(failures_in_clear_text_do_not_speak_of_tls),
        cmocka_unit_test(another_certificate_of_the_chain_may_have_ended),
        cmocka_unit_test(red_is_for_failures_and_for_terminals),
        cmocka_unit_test(who_was_asked_for_an_address_is_told),
        cmocka_unit_test(a_server_is_asked_for_what_it_is_there_for),
        cmocka_unit_test(distances_are_told_in_the_unit_that_fits),
    };
    return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
