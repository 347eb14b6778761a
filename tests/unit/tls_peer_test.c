/* What is told of a peer: its chain, believed or refused, and what was agreed on with it. */
#include "base/error.h"

#include "tls_test.h"

enum { CHAIN_MOST = 8 };

static struct tls_certificate chain[CHAIN_MOST];

static size_t chain_of(const struct tls_identity *identity, SSL_CTX *server, int expected)
{
    struct tls_client *client = client_for(identity);
    struct fixture_pair pair;
    assert_int_equal(fixture_meet(&pair, client, server, FIXTURE_NOW), expected);
    size_t count = tls_session_chain(pair.client, chain, CHAIN_MOST);
    fixture_part(&pair);
    tls_client_free(client);
    return count;
}

/* Shows: I6 */
void a_verified_chain_is_told(void **state)
{
    (void)state;
    SSL_CTX *server = fixture_server(&good, &middle);
    uint8_t pins[1][TLS_PIN_SIZE], pin[TLS_PIN_SIZE];
    fixture_pin(&middle, pins[0]);
    fixture_pin(&good, pin);
    struct tls_identity identity = by_name;
    identity.pins = (const uint8_t(*)[TLS_PIN_SIZE])pins;
    identity.pin_count = 1;
    assert_int_equal(chain_of(&identity, server, 0), 3);
    assert_string_equal(chain[0].subject, "CN=server");
    assert_string_equal(chain[0].issuer, "CN=middle");
    assert_string_equal(chain[0].names, "dns.test.example, 192.0.2.1, 2001:db8::1");
    assert_int_equal(chain[0].not_before, FIXTURE_NOW - FIXTURE_DAY);
    assert_int_equal(chain[0].not_after, FIXTURE_NOW + FIXTURE_DAY);
    assert_true(chain[0].has_pin);
    assert_memory_equal(chain[0].pin, pin, sizeof pin);
    assert_false(chain[0].is_pinned);
    assert_true(chain[1].is_pinned);
    assert_string_equal(chain[2].subject, "CN=authority");
    assert_string_equal(chain[2].names, "");
    SSL_CTX_free(server);
}

/* Shows: I6, L01 */
void a_refused_chain_is_told(void **state)
{
    (void)state;
    SSL_CTX *server = fixture_server(&good, &middle);
    assert_int_equal(chain_of(&(struct tls_identity){.name = "other.example"}, server, ERROR_TLS), 3);
    assert_string_equal(chain[0].names, "dns.test.example, 192.0.2.1, 2001:db8::1");
    uint8_t pins[1][TLS_PIN_SIZE] = {{0}};
    struct tls_identity pinned = {.pins = (const uint8_t(*)[TLS_PIN_SIZE])pins, .pin_count = 1};
    assert_int_equal(chain_of(&pinned, server, ERROR_TLS), 2);
    assert_string_equal(chain[0].subject, "CN=server");
    assert_false(chain[0].is_pinned);
    assert_int_equal(chain_of(&by_name, server, 0), 3);
    SSL_CTX_free(server);
    server = fixture_server(&good, NULL);
    assert_int_equal(chain_of(&by_name, server, ERROR_TLS), 1);
    SSL_CTX_free(server);
}

/* Shows: I6 */
void names_of_strangers_are_printable_and_bounded(void **state)
{
    (void)state;
    static char names[4096] = "DNS:dns.test.example";
    size_t size = strlen(names);
    for (int i = 0; i < 60; i++) {
        size += (size_t)snprintf(names + size, sizeof names - size, ",DNS:n%d.test.example", i);
    }
    struct fixture_certificate many;
    fixture_issue(&many,
                  &(struct fixture_wish){.issuer = &authority, .names = names, .common_name = "a\033[1m"});
    SSL_CTX *server = fixture_server(&many, NULL);
    assert_int_equal(chain_of(&by_name, server, 0), 2);
    assert_null(strchr(chain[0].subject, '\033'));
    size = strlen(chain[0].names);
    assert_true(size < sizeof chain[0].names);
    assert_string_equal(chain[0].names + size - 3, "...");
    SSL_CTX_free(server);
    fixture_discard(&many);
}

/* Shows: I6 */
void what_was_agreed_on_is_told(void **state)
{
    (void)state;
    SSL_CTX *server = fixture_server(&good, &middle);
    struct tls_client *client = client_for(&by_name);
    struct fixture_pair pair;
    assert_int_equal(fixture_meet(&pair, client, server, FIXTURE_NOW), 0);
    assert_string_equal(tls_session_cipher(pair.client), "TLS_AES_128_GCM_SHA256");
    assert_string_not_equal(tls_session_group(pair.client), ""); /* whatever this library prefers */
    assert_false(tls_session_chose_protocol(pair.client));
    fixture_part(&pair);
    SSL_CTX_set1_groups_list(server, "X25519");
    assert_int_equal(fixture_meet(&pair, client, server, FIXTURE_NOW), 0);
    assert_string_equal(tls_session_group(pair.client), "X25519");
    fixture_part(&pair);
    fixture_choose_protocol(server, "\3dot");
    SSL_CTX_set_max_proto_version(server, TLS1_2_VERSION);
    SSL_CTX_set1_groups_list(server, "P-256");
    assert_int_equal(fixture_meet(&pair, client, server, FIXTURE_NOW), 0);
    assert_string_equal(tls_session_cipher(pair.client), "ECDHE-ECDSA-AES128-GCM-SHA256");
    assert_string_equal(tls_session_group(pair.client), "P-256");
    assert_true(tls_session_chose_protocol(pair.client));
    fixture_part(&pair);
    assert_int_equal(fixture_meet(&pair, client, server, FIXTURE_NOW), 0);
    assert_true(tls_session_resumed(pair.client));
    assert_int_equal(tls_session_chain(pair.client, chain, CHAIN_MOST), 0);
    fixture_part(&pair);
    tls_client_free(client);
    SSL_CTX_free(server);
}
