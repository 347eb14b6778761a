/* The tls room against OpenSSL's own server side: who is believed, who is not, and with which words. */
#include "tls_test.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

struct fixture_certificate authority, middle, good;
struct tls_trust *trust;

const struct tls_identity by_name = {.name = "dns.test.example"};

static int set_up(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    fixture_issue(&authority,
                  &(struct fixture_wish){.common_name = "authority", .basic = "critical,CA:TRUE"});
    fixture_issue(&middle, &(struct fixture_wish){
                               .issuer = &authority, .common_name = "middle", .basic = "critical,CA:TRUE"});
    fixture_issue(&good, &(struct fixture_wish){.issuer = &middle,
                                                .names = "DNS:dns.test.example,IP:192.0.2.1,IP:2001:db8::1",
                                                .usage = "serverAuth"});
    trust = fixture_trust(&authority);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_trust_free(trust);
    fixture_discard(&good);
    fixture_discard(&middle);
    fixture_discard(&authority);
    return 0;
}

struct tls_client *client_for(const struct tls_identity *identity)
{
    struct tls_client *client = NULL;
    assert_int_equal(tls_client_build(identity, trust, &client), 0);
    return client;
}

/* Whether the server read a byte of the application before the end. */
static bool server_heard(SSL *server)
{
    uint8_t byte;
    return SSL_read(server, &byte, 1) > 0;
}

void expect(const struct tls_identity *identity, SSL_CTX *server, enum tls_reason reason)
{
    struct tls_client *client = client_for(identity);
    struct fixture_pair pair;
    int result = fixture_meet(&pair, client, server, FIXTURE_NOW);
    const char *word = tls_reason_word(tls_session_failure(pair.client)->reason);
    assert_string_equal(word, tls_reason_word(reason));
    assert_int_equal(result, reason == TLS_REASON_NONE ? 0 : ERROR_TLS);
    if (reason != TLS_REASON_NONE) {
        assert_true(tls_session_failure(pair.client)->detail[0] != '\0');
        assert_false(server_heard(pair.server));
    }
    fixture_part(&pair);
    tls_client_free(client);
}

/* A server with a certificate as wished; `with` is sent along. */
static void expect_certificate(const struct fixture_wish *wish, const struct fixture_certificate *with,
                               const struct tls_identity *identity, enum tls_reason reason)
{
    struct fixture_certificate certificate;
    fixture_issue(&certificate, wish);
    SSL_CTX *server = fixture_server(&certificate, with);
    expect(identity, server, reason);
    SSL_CTX_free(server);
    fixture_discard(&certificate);
}

/* Shows: I6, L03 */
static void good_chain_is_believed(void **state)
{
    (void)state;
    SSL_CTX *server = fixture_server(&good, &middle);
    struct tls_client *client = client_for(&by_name);
    struct fixture_pair pair;
    assert_int_equal(fixture_meet(&pair, client, server, FIXTURE_NOW), 0);
    assert_string_equal(tls_session_version(pair.client), "TLSv1.3");
    assert_string_equal(SSL_get_servername(pair.server, TLSEXT_NAMETYPE_host_name), "dns.test.example");
    assert_int_equal(tls_session_failure(pair.client)->reason, TLS_REASON_NONE);
    fixture_part(&pair);
    tls_client_free(client);
    SSL_CTX_free(server);
}

/* Shows: RFC8310-8, L01 */
static void names_are_found_in_the_san_alone(void **state)
{
    (void)state;
    static const struct {
        const char *common_name, *names;
        enum tls_reason reason;
    } rows[] = {
        {"x", "DNS:dns.test.example", TLS_REASON_NONE},
        {"x", "DNS:*.test.example", TLS_REASON_NONE},
        {"x", "DNS:other.test.example", TLS_REASON_WRONG_NAME},
        {"dns.test.example", NULL, TLS_REASON_WRONG_NAME},
        {"dns.test.example", "DNS:other.example", TLS_REASON_WRONG_NAME},
        {"x", "DNS:*", TLS_REASON_WRONG_NAME},
        {"x", "DNS:*.example", TLS_REASON_WRONG_NAME},
        {"x", "DNS:d*.test.example", TLS_REASON_WRONG_NAME},
        {"x", "DNS:dns.*.example", TLS_REASON_WRONG_NAME},
        {"x", "DNS:test.example", TLS_REASON_WRONG_NAME},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect_certificate(&(struct fixture_wish){.issuer = &authority,
                                                  .common_name = rows[i].common_name,
                                                  .names = rows[i].names},
                           NULL, &by_name, rows[i].reason);
    }
}

/* Shows: RFC8310-8, L01 */
static void a_wildcard_of_one_label_is_too_broad(void **state)
{
    (void)state;
    expect_certificate(&(struct fixture_wish){.issuer = &authority, .names = "DNS:*.test"}, NULL,
                       &(struct tls_identity){.name = "dns.test"}, TLS_REASON_WRONG_NAME);
}

/* Shows: L01, W2, pain 16 */
static void bad_certificates_are_refused(void **state)
{
    (void)state;
    struct fixture_certificate stranger, no_authority, narrow;
    fixture_issue(&stranger, &(struct fixture_wish){.common_name = "stranger", .basic = "critical,CA:TRUE"});
    fixture_issue(
        &no_authority,
        &(struct fixture_wish){.issuer = &authority, .common_name = "no authority", .basic = "CA:FALSE"});
    fixture_issue(&narrow, &(struct fixture_wish){.issuer = &authority,
                                                  .common_name = "narrow",
                                                  .basic = "critical,CA:TRUE",
                                                  .constraints = "critical,permitted;DNS:elsewhere.example"});
    const struct {
        struct fixture_wish wish;
        const struct fixture_certificate *with;
        enum tls_reason reason;
    } rows[] = {
        {{.issuer = &authority, .to = FIXTURE_NOW - 1}, NULL, TLS_REASON_EXPIRED},
        {{.issuer = &authority, .from = FIXTURE_NOW + 1}, NULL, TLS_REASON_NOT_YET_VALID},
        {{.issuer = NULL}, NULL, TLS_REASON_SELF_SIGNED},
        {{.issuer = &stranger}, NULL, TLS_REASON_UNKNOWN_CA},
        {{.issuer = &stranger}, &stranger, TLS_REASON_UNKNOWN_CA},
        {{.issuer = &middle}, NULL, TLS_REASON_UNKNOWN_CA},
        {{.issuer = &no_authority}, &no_authority, TLS_REASON_BAD_CHAIN},
        {{.issuer = &narrow}, &narrow, TLS_REASON_BAD_CHAIN},
        {{.issuer = &authority, .usage = "clientAuth"}, NULL, TLS_REASON_PURPOSE},
        {{.issuer = &authority, .rsa_bits = 1024}, NULL, TLS_REASON_WEAK},
        {{.issuer = &authority, .sha1 = true}, NULL, TLS_REASON_WEAK},
        {{.issuer = &authority, .rsa_bits = 2048}, NULL, TLS_REASON_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture_wish wish = rows[i].wish;
        wish.names = "DNS:dns.test.example";
        expect_certificate(&wish, rows[i].with, &by_name, rows[i].reason);
    }
    fixture_discard(&narrow);
    fixture_discard(&no_authority);
    fixture_discard(&stranger);
}

static void a_failure_names_the_certificate(void **state)
{
    (void)state;
    struct fixture_certificate expired;
    fixture_issue(&expired, &(struct fixture_wish){.issuer = &authority,
                                                   .common_name = "ex\xc3\xa4\npired",
                                                   .names = "DNS:dns.test.example",
                                                   .to = FIXTURE_NOW - 60});
    SSL_CTX *server = fixture_server(&expired, NULL);
    struct tls_client *client = client_for(&by_name);
    struct fixture_pair pair;
    assert_int_equal(fixture_meet(&pair, client, server, FIXTURE_NOW), ERROR_TLS);
    const struct tls_failure *failure = tls_session_failure(pair.client);
    assert_string_equal(failure->detail, "certificate has expired");
    assert_string_equal(failure->subject, "CN=ex\\C3\\A4\\0Apired");
    assert_int_equal(failure->not_after, FIXTURE_NOW - 60);
    assert_int_equal(failure->not_before, FIXTURE_NOW - FIXTURE_DAY);
    fixture_part(&pair);
    tls_client_free(client);
    SSL_CTX_free(server);
    fixture_discard(&expired);
}

/* Shows: RFC8310-8, W9 */
static void an_address_must_be_in_the_certificate(void **state)
{
    (void)state;
    static const struct {
        struct address address;
        enum tls_reason reason;
    } rows[] = {
        {{.family = AF_INET, .bytes = {192, 0, 2, 1}}, TLS_REASON_NONE},
        {{.family = AF_INET, .bytes = {192, 0, 2, 2}}, TLS_REASON_WRONG_NAME},
        {{.family = AF_INET6, .bytes = {0x20, 1, 0xd, 0xb8, [15] = 1}}, TLS_REASON_NONE},
        {{.family = AF_INET6, .bytes = {0x20, 1, 0xd, 0xb8, [15] = 2}}, TLS_REASON_WRONG_NAME},
    };
    SSL_CTX *server = fixture_server(&good, &middle);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect(&(struct tls_identity){.address = &rows[i].address}, server, rows[i].reason);
    }
    SSL_CTX_free(server);
}

/* Shows: RFC7858-4.2, W9 */
static void pins_are_checked(void **state)
{
    (void)state;
    enum { LEAF, MIDDLE, ROOT, NOBODY, PINS };
    uint8_t pins[PINS][TLS_PIN_SIZE] = {{0}};
    fixture_pin(&good, pins[LEAF]);
    fixture_pin(&middle, pins[MIDDLE]);
    fixture_pin(&authority, pins[ROOT]);
    uint8_t backup[2][TLS_PIN_SIZE] = {{0}};
    fixture_pin(&good, backup[1]);
#define PIN(i) .pins = (const uint8_t(*)[TLS_PIN_SIZE]) & pins[i], .pin_count = 1
#define BACKUP .pins = (const uint8_t(*)[TLS_PIN_SIZE])backup, .pin_count = 2
    const struct {
        struct tls_identity identity;
        enum tls_reason reason;
    } rows[] = {
        {{.name = "dns.test.example", PIN(LEAF)}, TLS_REASON_NONE},
        {{.name = "dns.test.example", PIN(MIDDLE)}, TLS_REASON_NONE},
        {{.name = "dns.test.example", PIN(ROOT)}, TLS_REASON_NONE},
        {{.name = "dns.test.example", PIN(NOBODY)}, TLS_REASON_PIN},
        {{.name = "dns.test.example", BACKUP}, TLS_REASON_NONE},
        {{.name = "other.test.example", PIN(LEAF)}, TLS_REASON_WRONG_NAME},
        {{PIN(LEAF)}, TLS_REASON_NONE},
        {{PIN(MIDDLE)}, TLS_REASON_PIN},
        {{PIN(NOBODY)}, TLS_REASON_PIN},
        {{BACKUP}, TLS_REASON_NONE},
    };
    SSL_CTX *server = fixture_server(&good, &middle);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect(&rows[i].identity, server, rows[i].reason);
    }
    SSL_CTX_free(server);
}

/* Shows: RFC7858-4.2, W9 */
static void a_pin_alone_needs_no_authority(void **state)
{
    (void)state;
    struct fixture_certificate own;
    fixture_issue(&own, &(struct fixture_wish){.common_name = "own", .to = FIXTURE_NOW - 1});
    uint8_t pin[1][TLS_PIN_SIZE];
    fixture_pin(&own, pin[0]);
    SSL_CTX *server = fixture_server(&own, NULL);
    expect(&(struct tls_identity){.pins = (const uint8_t(*)[TLS_PIN_SIZE])pin, .pin_count = 1}, server,
           TLS_REASON_NONE);
    SSL_CTX_free(server);
    fixture_discard(&own);
}

/* Shows: RFC7858-4.2 */
static void pins_are_read(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "sha256/",
        "AAAA",
        "sha1/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=",
        " AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
    };
    uint8_t pin[TLS_PIN_SIZE];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(tls_pin_parse(span_text(bad[i]), pin), ERROR_INVALID);
    }
    assert_int_equal(tls_pin_parse(span_text("sha256//wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAF="), pin),
                     ERROR_INVALID);
    assert_int_equal(tls_pin_parse(span_text("sha256//wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="), pin), 0);
    char text[TLS_PIN_TEXT_SIZE];
    tls_pin_format(pin, text);
    assert_string_equal(text, "sha256//wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=");
    assert_int_equal(pin[0], 255);
    assert_int_equal(pin[31], 1);
    assert_int_equal(tls_pin_parse(span_text("/wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI="), pin), 0);
    assert_int_equal(pin[31], 2);
}

/* Shows: pain 16, W2 */
static void nobody_is_believed_without_an_identity(void **state)
{
    (void)state;
    struct tls_client *client = NULL;
    assert_int_equal(tls_client_build(&(struct tls_identity){0}, trust, &client), ERROR_INVALID);
    assert_int_equal(tls_client_build(&(struct tls_identity){.name = ""}, trust, &client), ERROR_INVALID);
    assert_int_equal(tls_client_build(&(struct tls_identity){.name = ".example"}, trust, &client),
                     ERROR_INVALID);
    assert_int_equal(tls_client_build(&by_name, NULL, &client), ERROR_INVALID);
    assert_null(client);
}

/* Shows: regression 12 */
static void trust_is_read(void **state)
{
    (void)state;
    struct tls_trust *none = NULL;
    assert_int_equal(tls_trust_build(span_text(""), &none), ERROR_NOT_FOUND);
    assert_int_equal(tls_trust_build(span_text("nothing here\n"), &none), ERROR_NOT_FOUND);
    assert_int_equal(
        tls_trust_build(span_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), &none),
        ERROR_MALFORMED);
    assert_int_equal(tls_trust_build(span_text("-----BEGIN CERTIFICATE-----\nAAAA\n"), &none),
                     ERROR_MALFORMED);
    assert_null(none);
}

/* Shows: L03, RFC9325, I6 */
static void old_versions_and_ciphers_are_refused(void **state)
{
    (void)state;
    SSL_CTX *server = fixture_server(&good, &middle);
    SSL_CTX_set_max_proto_version(server, TLS1_2_VERSION);
    expect(&by_name, server, TLS_REASON_NONE);
    expect(&(struct tls_identity){.name = by_name.name, .require_1_3 = true}, server, TLS_REASON_VERSION);
    assert_int_equal(SSL_CTX_set_cipher_list(server, "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA"), 1);
    expect(&by_name, server, TLS_REASON_CIPHER);
    SSL_CTX_set_cipher_list(server, "ALL:@SECLEVEL=0");
    SSL_CTX_set_max_proto_version(server, TLS1_1_VERSION);
    SSL_CTX_set_min_proto_version(server, TLS1_VERSION);
    expect(&by_name, server, TLS_REASON_VERSION);
    SSL_CTX_free(server);
}

/* Shows: L03, RFC7301 */
static void another_protocol_is_refused(void **state)
{
    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *server = fixture_server(&good, &middle);
        SSL_CTX_set_max_proto_version(server, version);
        fixture_choose_protocol(server, "\3dot");
        expect(&by_name, server, TLS_REASON_NONE);
        fixture_choose_protocol(server, "\2h2");
        expect(&by_name, server, TLS_REASON_ALPN);
        SSL_CTX_free(server);
    }
}

/* What a peer that is no TLS server sends, then silence or the end. */
static void expect_bytes(struct span bytes, bool end, int error, enum tls_reason reason)
{
    struct tls_client *client = client_for(&by_name);
    struct tls_session *session;
    int descriptor[2];
    fixture_sockets(descriptor);
    assert_int_equal(tls_session_connect(client, descriptor[0], FIXTURE_NOW, &session), 0);
    assert_int_equal(tls_session_handshake(session), ERROR_AGAIN);
    assert_int_equal(tls_session_want(session), TLS_WANT_READ);
    assert_int_equal(send(descriptor[1], bytes.data, bytes.size, MSG_NOSIGNAL), bytes.size);
    if (end) {
        uint8_t hello[4096];
        assert_true(recv(descriptor[1], hello, sizeof hello, 0) > 0);
        close(descriptor[1]);
    }
    assert_int_equal(tls_session_handshake(session), error);
    assert_string_equal(tls_reason_word(tls_session_failure(session)->reason), tls_reason_word(reason));
    tls_session_close(session);
    tls_client_free(client);
    close(descriptor[0]);
    if (!end) {
        close(descriptor[1]);
    }
}

/* Shows: L02, RFC7858-3.1 */
static void what_is_no_tls_is_refused(void **state)
{
    (void)state;
    static const uint8_t dns[] = {0, 29, 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3};
    expect_bytes(span_of(dns, sizeof dns), false, ERROR_TLS, TLS_REASON_NOT_TLS);
    expect_bytes(span_text("HTTP/1.1 400 Bad Request\r\n\r\n"), false, ERROR_TLS, TLS_REASON_NOT_TLS);
    expect_bytes(span_text("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), false, ERROR_TLS, TLS_REASON_NOT_TLS);
    expect_bytes(span_text(""), true, ERROR_CLOSED, TLS_REASON_CLOSED);
    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 80};
    expect_bytes(span_of(alert, sizeof alert), false, ERROR_TLS, TLS_REASON_ALERT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_chain_is_believed),
        cmocka_unit_test(names_are_found_in_the_san_alone),
        cmocka_unit_test(a_wildcard_of_one_label_is_too_broad),
        cmocka_unit_test(bad_certificates_are_refused),
        cmocka_unit_test(a_failure_names_the_certificate),
        cmocka_unit_test(an_address_must_be_in_the_certificate),
        cmocka_unit_test(pins_are_checked),
        cmocka_unit_test(a_pin_alone_needs_no_authority),
        cmocka_unit_test(a_verified_chain_is_told),
        cmocka_unit_test(a_refused_chain_is_told),
        cmocka_unit_test(names_of_strangers_are_printable_and_bounded),
        cmocka_unit_test(what_was_agreed_on_is_told),
        cmocka_unit_test(pins_are_read),
        cmocka_unit_test(a_wrong_clock_is_named),
        cmocka_unit_test(a_clock_behind_excuses_no_end),
        cmocka_unit_test(pins_are_believed_without_a_clock),
        cmocka_unit_test(without_a_clock_all_but_dates_is_checked),
        cmocka_unit_test(nobody_is_believed_without_an_identity),
        cmocka_unit_test(trust_is_read),
        cmocka_unit_test(old_versions_and_ciphers_are_refused),
        cmocka_unit_test(another_protocol_is_refused),
        cmocka_unit_test(what_is_no_tls_is_refused),
        cmocka_unit_test(sessions_are_resumed_by_their_own_identity_alone),
        cmocka_unit_test(a_resumption_ends_with_the_certificates),
        cmocka_unit_test(tickets_of_a_cut_connection_are_good),
        cmocka_unit_test(nothing_is_kept_of_a_refused_server),
        cmocka_unit_test(an_emptied_socket_is_not_read_again),
        cmocka_unit_test(connections_take_the_memory_they_say),
        cmocka_unit_test(authorities_take_the_memory_they_say),
        cmocka_unit_test(bytes_pass_both_ways),
        cmocka_unit_test(a_write_that_waits_is_given_again),
        cmocka_unit_test(the_ends_are_told_apart),
        cmocka_unit_test(renegotiation_is_not_taken_part_in),
        cmocka_unit_test(a_flood_without_data_ends_the_connection),
    };
    return cmocka_run_group_tests_name("tls", tests, set_up, tear_down);
}
