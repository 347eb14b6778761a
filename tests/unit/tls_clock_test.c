/* Servers seen by a clock that cannot be right: what is refused and under which name, and what pins allow. */
#include "base/error.h"

#include "tls_test.h"

enum { IN_1970 = 12 };

static uint8_t pins[1][TLS_PIN_SIZE];

static struct tls_identity identity_of(const char *name, bool without_clock)
{
    fixture_pin(&good, pins[0]);
    return (struct tls_identity){
        .name = name,
        .pins = (const uint8_t(*)[TLS_PIN_SIZE])pins,
        .pin_count = 1,
        .clock_least = FIXTURE_NOW - 10 * FIXTURE_DAY,
        .without_clock = without_clock,
    };
}

/* Whether the server was believed, with the word for why not. */
static void expect_at(const struct tls_identity *identity, SSL_CTX *server, int64_t wall, const char *word)
{
    struct tls_client *client = client_for(identity);
    struct fixture_pair pair;
    int result = fixture_meet(&pair, client, server, wall);
    assert_string_equal(tls_reason_word(tls_session_failure(pair.client)->reason), word);
    assert_int_equal(result, strcmp(word, "none") == 0 ? 0 : ERROR_TLS);
    fixture_part(&pair);
    tls_client_free(client);
}

/* Shows: pain 19 */
void a_wrong_clock_is_named(void **state)
{
    (void)state;
    SSL_CTX *server = fixture_server(&good, &middle);
    struct tls_identity identity = identity_of("dns.test.example", false);
    expect_at(&identity, server, IN_1970, "wrong_clock");
    expect_at(&identity, server, identity.clock_least - 1, "wrong_clock");
    expect_at(&identity, server, identity.clock_least, "not_yet_valid");
    expect_at(&identity, server, FIXTURE_NOW, "none");
    struct tls_client *client = client_for(&identity);
    struct fixture_pair pair;
    assert_int_equal(fixture_meet(&pair, client, server, IN_1970), ERROR_TLS);
    const struct tls_failure *failure = tls_session_failure(pair.client);
    assert_string_equal(failure->detail,
                        "this machine's clock says 1970-01-01T00:00:12Z, and this program was "
                        "made after 2023-11-04T22:13:20Z");
    assert_true(failure->not_before > 0);
    fixture_part(&pair);
    tls_client_free(client);
    SSL_CTX_free(server);
}

/* Who has expired by a clock that is behind has expired: setting it would not help.
 * Shows: pain 19, L01 */
void a_clock_behind_excuses_no_end(void **state)
{
    (void)state;
    struct fixture_certificate early, root;
    fixture_issue(&root, &(struct fixture_wish){.common_name = "root",
                                                .basic = "critical,CA:TRUE",
                                                .from = FIXTURE_NOW - 40 * FIXTURE_DAY});
    fixture_issue(&early, &(struct fixture_wish){.issuer = &root,
                                                 .names = "DNS:dns.test.example",
                                                 .from = FIXTURE_NOW - 30 * FIXTURE_DAY,
                                                 .to = FIXTURE_NOW - 20 * FIXTURE_DAY});
    struct tls_trust *own = fixture_trust(&root);
    struct tls_identity identity = {.name = "dns.test.example", .clock_least = FIXTURE_NOW};
    struct tls_client *client = NULL;
    assert_int_equal(tls_client_build(&identity, own, &client), 0);
    SSL_CTX *server = fixture_server(&early, NULL);
    struct fixture_pair pair;
    assert_int_equal(fixture_meet(&pair, client, server, FIXTURE_NOW - 15 * FIXTURE_DAY), ERROR_TLS);
    assert_int_equal(tls_session_failure(pair.client)->reason, TLS_REASON_EXPIRED);
    fixture_part(&pair);
    tls_client_free(client);
    SSL_CTX_free(server);
    tls_trust_free(own);
    fixture_discard(&early);
    fixture_discard(&root);
}

/* Shows: pain 19, W9 */
void pins_are_believed_without_a_clock(void **state)
{
    (void)state;
    SSL_CTX *server = fixture_server(&good, &middle);
    struct tls_identity identity = identity_of("dns.test.example", true);
    struct tls_client *client = client_for(&identity);
    struct fixture_pair pair;
    assert_int_equal(fixture_meet(&pair, client, server, IN_1970), 0);
    assert_true(tls_session_is_undated(pair.client));
    fixture_part(&pair);
    assert_int_equal(fixture_meet(&pair, client, server, FIXTURE_NOW), 0);
    assert_false(tls_session_is_undated(pair.client));
    fixture_part(&pair);
    assert_int_equal(fixture_meet(&pair, client, server, FIXTURE_NOW + 2 * FIXTURE_DAY), ERROR_TLS);
    assert_int_equal(tls_session_failure(pair.client)->reason, TLS_REASON_EXPIRED);
    fixture_part(&pair);
    tls_client_free(client);
    SSL_CTX_free(server);
}

/* Shows: pain 19, L01, RFC7858-4.2 */
void without_a_clock_all_but_dates_is_checked(void **state)
{
    (void)state;
    SSL_CTX *server = fixture_server(&good, &middle);
    struct tls_identity identity = identity_of("other.test.example", true);
    expect_at(&identity, server, IN_1970, "wrong_name");
    identity = identity_of("dns.test.example", true);
    pins[0][0] ^= 1;
    expect_at(&identity, server, IN_1970, "pin");
    SSL_CTX_free(server);
    struct fixture_certificate stranger, theirs;
    fixture_issue(&stranger, &(struct fixture_wish){.common_name = "stranger", .basic = "critical,CA:TRUE"});
    fixture_issue(&theirs, &(struct fixture_wish){.issuer = &stranger, .names = "DNS:dns.test.example"});
    server = fixture_server(&theirs, &stranger);
    identity = identity_of("dns.test.example", true);
    fixture_pin(&theirs, pins[0]);
    expect_at(&identity, server, IN_1970, "unknown_ca");
    SSL_CTX_free(server);
    fixture_discard(&theirs);
    fixture_discard(&stranger);
    struct tls_client *client;
    struct tls_identity unpinned = {.name = "dns.test.example", .without_clock = true};
    assert_int_equal(tls_client_build(&unpinned, trust, &client), ERROR_INVALID);
}
