/* Connections that have met: resumption, bytes, ends. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

#include "tls_test.h"

/* Reads as long as the socket announces something, which a loop does. */
static int read_bytes(struct fixture_pair *pair, uint8_t *out, size_t size)
{
    int result;
    struct pollfd socket = {.fd = pair->descriptor[0], .events = POLLIN};
    do {
        result = tls_session_read(pair->client, out, size);
    } while (result == ERROR_AGAIN && poll(&socket, 1, 0) == 1);
    return result;
}

static int read_byte(struct fixture_pair *pair)
{
    uint8_t byte;
    return read_bytes(pair, &byte, 1);
}

/* Reads whatever waits, so that tickets are taken in. */
static void take_in(struct fixture_pair *pair)
{
    assert_int_equal(read_byte(pair), ERROR_AGAIN);
    assert_false(tls_session_has_pending(pair->client));
}

static bool meet_resumed(struct tls_client *client, SSL_CTX *server, int64_t wall)
{
    struct fixture_pair pair;
    assert_int_equal(fixture_meet(&pair, client, server, wall), 0);
    take_in(&pair);
    bool resumed = tls_session_resumed(pair.client);
    assert_int_equal(resumed, SSL_session_reused(pair.server));
    fixture_part(&pair);
    return resumed;
}

/* Shows: pain 18, regression 11, RFC7858-3.4 */
void sessions_are_resumed_by_their_own_identity_alone(void **state)
{
    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *server = fixture_server(&good, &middle);
        SSL_CTX_set_max_proto_version(server, version);
        struct tls_client *one = client_for(&by_name);
        struct tls_client *other = client_for(
            &(struct tls_identity){.address = &(struct address){.family = AF_INET, .bytes = {192, 0, 2, 1}}});
        assert_false(meet_resumed(one, server, FIXTURE_NOW));
        for (int i = 0; i < 6; i++) {
            assert_true(meet_resumed(one, server, FIXTURE_NOW));
        }
        assert_false(meet_resumed(other, server, FIXTURE_NOW));
        assert_true(meet_resumed(other, server, FIXTURE_NOW));
        tls_client_free(one);
        tls_client_free(other);
        expect(&(struct tls_identity){.name = "other.test.example"}, server, TLS_REASON_WRONG_NAME);
        SSL_CTX_free(server);
    }
}

/* Shows: pain 18 */
void a_resumption_ends_with_the_certificates(void **state)
{
    (void)state;
    SSL_CTX *server = fixture_server(&good, &middle);
    for (int side = -1; side <= 1; side += 2) {
        struct tls_client *client = client_for(&by_name);
        assert_false(meet_resumed(client, server, FIXTURE_NOW));
        struct fixture_pair pair;
        int64_t wall = FIXTURE_NOW + side * (FIXTURE_DAY + 1);
        assert_int_equal(fixture_meet(&pair, client, server, wall), ERROR_TLS);
        assert_int_equal(tls_session_failure(pair.client)->reason,
                         side > 0 ? TLS_REASON_EXPIRED : TLS_REASON_NOT_YET_VALID);
        fixture_part(&pair);
        tls_client_free(client);
    }
    SSL_CTX_free(server);
}

void tickets_of_a_cut_connection_are_good(void **state)
{
    (void)state;
    SSL_CTX *server = fixture_server(&good, &middle);
    SSL_CTX_set_num_tickets(server, 1);
    struct tls_client *client = client_for(&by_name);
    struct fixture_pair pair;
    assert_int_equal(fixture_meet(&pair, client, server, FIXTURE_NOW), 0);
    take_in(&pair);
    shutdown(pair.descriptor[1], SHUT_WR);
    assert_int_equal(read_byte(&pair), ERROR_CLOSED);
    fixture_part(&pair);
    assert_true(meet_resumed(client, server, FIXTURE_NOW));
    tls_client_free(client);
    SSL_CTX_free(server);
}

/* Shows: pain 18, L01 */
void nothing_is_kept_of_a_refused_server(void **state)
{
    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *server = fixture_server(&good, &middle);
        SSL_CTX_set_max_proto_version(server, version);
        fixture_choose_protocol(server, "\2h2");
        struct tls_client *client = client_for(&by_name);
        struct fixture_pair pair;
        assert_int_equal(fixture_meet(&pair, client, server, FIXTURE_NOW), ERROR_TLS);
        fixture_part(&pair);
        fixture_choose_protocol(server, "\3dot");
        assert_false(meet_resumed(client, server, FIXTURE_NOW));
        tls_client_free(client);
        SSL_CTX_free(server);
    }
}

static void open_pair(struct fixture_pair *pair, struct tls_client **client, SSL_CTX **server)
{
    *server = fixture_server(&good, &middle);
    *client = client_for(&by_name);
    assert_int_equal(fixture_meet(pair, *client, *server, FIXTURE_NOW), 0);
}

static void close_pair(struct fixture_pair *pair, struct tls_client *client, SSL_CTX *server)
{
    fixture_part(pair);
    tls_client_free(client);
    SSL_CTX_free(server);
}

void bytes_pass_both_ways(void **state)
{
    (void)state;
    struct fixture_pair pair;
    struct tls_client *client;
    SSL_CTX *server;
    open_pair(&pair, &client, &server);
    static uint8_t sent[TLS_RECORD_MAX], got[TLS_RECORD_MAX];
    memset(sent, 7, sizeof sent);
    assert_int_equal(tls_session_write(pair.client, sent, sizeof sent), sizeof sent);
    assert_int_equal(SSL_read(pair.server, got, sizeof got), sizeof got);
    assert_memory_equal(sent, got, sizeof got);
    assert_int_equal(SSL_write(pair.server, "abc", 3), 3);
    assert_int_equal(SSL_write(pair.server, "def", 3), 3);
    assert_int_equal(read_bytes(&pair, got, sizeof got), 3);
    assert_true(tls_session_has_pending(pair.client));
    assert_int_equal(read_bytes(&pair, got, sizeof got), 3);
    assert_memory_equal(got, "def", 3);
    assert_false(tls_session_has_pending(pair.client));
    SSL_shutdown(pair.server);
    assert_int_equal(read_bytes(&pair, got, sizeof got), 0);
    close_pair(&pair, client, server);
}

void a_write_that_waits_is_given_again(void **state)
{
    (void)state;
    struct fixture_pair pair;
    struct tls_client *client;
    SSL_CTX *server;
    open_pair(&pair, &client, &server);
    static uint8_t first[TLS_RECORD_MAX], moved[TLS_RECORD_MAX], got[TLS_RECORD_MAX];
    int written;
    size_t records = 0;
    while ((written = tls_session_write(pair.client, first, sizeof first)) > 0) {
        assert_int_equal(written, sizeof first);
        records++;
    }
    assert_int_equal(written, ERROR_AGAIN);
    assert_int_equal(tls_session_want(pair.client), TLS_WANT_WRITE);
    size_t received = 0;
    int count;
    while ((count = SSL_read(pair.server, got, sizeof got)) > 0) {
        received += (size_t)count;
    }
    assert_int_equal(tls_session_write(pair.client, moved, sizeof moved), sizeof moved);
    while ((count = SSL_read(pair.server, got, sizeof got)) > 0) {
        received += (size_t)count;
    }
    assert_int_equal(received, (records + 1) * sizeof first);
    close_pair(&pair, client, server);
}

void the_ends_are_told_apart(void **state)
{
    (void)state;
    struct fixture_pair pair;
    struct tls_client *client;
    SSL_CTX *server;
    uint8_t byte;
    open_pair(&pair, &client, &server);
    shutdown(pair.descriptor[1], SHUT_WR);
    assert_int_equal(read_bytes(&pair, &byte, 1), ERROR_CLOSED);
    close_pair(&pair, client, server);

    open_pair(&pair, &client, &server);
    shutdown(pair.descriptor[0], SHUT_WR);
    assert_int_equal(tls_session_write(pair.client, (const uint8_t *)"x", 1), ERROR_RESET);
    close_pair(&pair, client, server);

    open_pair(&pair, &client, &server);
    take_in(&pair);
    static const uint8_t junk[] = {23, 3, 3, 0, 32, [36] = 1};
    assert_int_equal(send(pair.descriptor[1], junk, sizeof junk, 0), sizeof junk);
    assert_int_equal(read_bytes(&pair, &byte, 1), ERROR_TLS);
    assert_int_equal(tls_session_failure(pair.client)->reason, TLS_REASON_OTHER);
    close_pair(&pair, client, server);
}

/* Shows: L03, RFC9325 */
void renegotiation_is_not_taken_part_in(void **state)
{
    (void)state;
    SSL_CTX *server = fixture_server(&good, &middle);
    SSL_CTX_set_max_proto_version(server, TLS1_2_VERSION);
    struct tls_client *client = client_for(&by_name);
    struct fixture_pair pair;
    assert_int_equal(fixture_meet(&pair, client, server, FIXTURE_NOW), 0);
    assert_int_equal(SSL_renegotiate(pair.server), 1);
    SSL_do_handshake(pair.server);
    uint8_t byte;
    assert_int_equal(read_bytes(&pair, &byte, 1), ERROR_AGAIN);
    assert_int_equal(SSL_read(pair.server, &byte, 1), -1);
    assert_int_equal(ERR_GET_REASON(ERR_get_error()), SSL_R_NO_RENEGOTIATION);
    fixture_part(&pair);
    tls_client_free(client);
    SSL_CTX_free(server);
}

/* A server that has tickets or new keys to give and never an answer. */
static int send_without_data(SSL *server, bool keys)
{
    bool made =
        keys ? SSL_key_update(server, SSL_KEY_UPDATE_REQUESTED) == 1 : SSL_new_session_ticket(server) == 1;
    return made ? SSL_do_handshake(server) : 0;
}

void a_flood_without_data_ends_the_connection(void **state)
{
    (void)state;
    for (int keys = 0; keys <= 1; keys++) {
        struct fixture_pair pair;
        struct tls_client *client;
        SSL_CTX *server;
        uint8_t byte;
        open_pair(&pair, &client, &server);
        take_in(&pair);
        for (int i = 0; i < 20; i++) {
            assert_int_equal(send_without_data(pair.server, keys), 1);
        }
        take_in(&pair);
        assert_int_equal(SSL_write(pair.server, "a", 1), 1);
        assert_int_equal(read_byte(&pair), 1);
        int result = ERROR_AGAIN;
        for (int i = 0; i < 4000 && result == ERROR_AGAIN; i++) {
            assert_int_equal(send_without_data(pair.server, keys), 1);
            result = read_bytes(&pair, &byte, 1);
            SSL_read(pair.server, &byte, 1);
        }
        assert_int_equal(result, ERROR_TLS);
        assert_string_equal(tls_session_failure(pair.client)->detail, "too many messages without data");
        close_pair(&pair, client, server);
    }
}

void an_emptied_socket_is_not_read_again(void **state)
{
    (void)state;
    struct fixture_pair pair;
    struct tls_client *client;
    SSL_CTX *server;
    uint8_t byte;
    open_pair(&pair, &client, &server);
    take_in(&pair);
    assert_int_equal(SSL_write(pair.server, "a", 1), 1);
    assert_int_equal(read_byte(&pair), 1);
    assert_int_equal(SSL_write(pair.server, "b", 1), 1);
    assert_int_equal(tls_session_read(pair.client, &byte, 1), ERROR_AGAIN); /* without a look at the socket */
    assert_int_equal(tls_session_read(pair.client, &byte, 1), 1);
    assert_int_equal(byte, 'b');
    close_pair(&pair, client, server);
}

enum { CROWD = 32 };

/* The server's halves share the heap, and go first. */
static void fill_buffers(struct fixture_pair *pair)
{
    static const uint8_t record[TLS_RECORD_MAX];
    assert_int_equal(SSL_write(pair->server, record, sizeof record), sizeof record);
    assert_int_equal(read_byte(pair), 1);
    while (tls_session_write(pair->client, record, sizeof record) > 0) {}
    SSL_free(pair->server);
    pair->server = NULL;
}

/* Shows: W5, pain 26 */
void connections_take_the_memory_they_say(void **state)
{
    (void)state;
    struct fixture_certificate large;
    fixture_issue(&large, &(struct fixture_wish){
                              .issuer = &authority, .names = "DNS:dns.test.example", .rsa_bits = 4096});
    SSL_CTX *server = fixture_server(&large, NULL);
    size_t before = fixture_heap();
    struct tls_client *client = client_for(&by_name);
    struct fixture_pair crowd[CROWD];
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(fixture_meet(&crowd[i], client, server, FIXTURE_NOW), 0);
        fill_buffers(&crowd[i]);
    }
    size_t taken = fixture_heap() - before;
    assert_in_range(taken, CROWD * TLS_SESSION_MEMORY / 4, CROWD * TLS_SESSION_MEMORY + TLS_CLIENT_MEMORY);
    for (size_t i = 0; i < CROWD; i++) {
        tls_session_close(crowd[i].client);
        close(crowd[i].descriptor[0]);
        close(crowd[i].descriptor[1]);
    }
    assert_in_range(fixture_heap() - before, 1, TLS_CLIENT_MEMORY);
    tls_client_free(client);
    SSL_CTX_free(server);
    fixture_discard(&large);
}

/* Shows: W5 */
void authorities_take_the_memory_they_say(void **state)
{
    (void)state;
    BIO *text = BIO_new(BIO_s_mem());
    for (int i = 0; i < 100; i++) {
        struct fixture_certificate another;
        fixture_issue(&another,
                      &(struct fixture_wish){.common_name = "another", .basic = "critical,CA:TRUE"});
        PEM_write_bio_X509(text, another.certificate);
        fixture_discard(&another);
    }
    char *pem;
    size_t size = (size_t)BIO_get_mem_data(text, &pem);
    size_t before = fixture_heap();
    struct tls_trust *many;
    assert_int_equal(tls_trust_build(span_of((uint8_t *)pem, size), &many), 0);
    assert_in_range(fixture_heap() - before + size, size, tls_trust_memory(size));
    tls_trust_free(many);
    BIO_free(text);
}
