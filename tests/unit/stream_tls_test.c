/* Streams over TLS, against OpenSSL's own server side over the loopback. */
#include <fcntl.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "stream_test.h"
#include "tls_fixture.h"

/* A server with one connection, and the client's side of it. */
struct far_end {
    struct fixture_certificate authority, leaf;
    struct tls_trust *trust;
    struct tls_client *client;
    SSL_CTX *context;
    SSL *server;
    struct address address;
    int listener, descriptor;
};

static uint8_t sent[1 << 18], got[1 << 22];

static uint64_t fixture_wall(void)
{
    return (uint64_t)FIXTURE_NOW * CLOCK_SECOND;
}

static void raise_server(struct far_end *far, const char *name)
{
    *far = (struct far_end){0};
    far->listener = listen_local(&far->address);
    fixture_issue(&far->authority,
                  &(struct fixture_wish){.common_name = "authority", .basic = "critical,CA:TRUE"});
    fixture_issue(&far->leaf,
                  &(struct fixture_wish){.issuer = &far->authority, .names = "DNS:dns.test.example"});
    far->trust = fixture_trust(&far->authority);
    assert_int_equal(tls_client_build(&(struct tls_identity){.name = name}, far->trust, &far->client), 0);
    far->context = fixture_server(&far->leaf, NULL);
    SSL_CTX_set_mode(far->context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    shop.wall = fixture_wall;
}

static void begin_connection(struct far_end *far, struct watched *watched)
{
    assert_int_equal(stream_connect(&watched->stream, &shop, &far->address, far->client, &handler), 0);
    far->descriptor = accept4(far->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    far->server = SSL_new(far->context);
    SSL_set_accept_state(far->server);
    SSL_set_fd(far->server, far->descriptor);
}

static void finish_connection(struct far_end *far, struct watched *watched)
{
    for (unsigned i = 0; i < 20 && watched->opened + watched->closed == 0; i++) {
        turn(1);
        SSL_do_handshake(far->server);
        ERR_clear_error();
    }
}

static void meet(struct far_end *far, struct watched *watched)
{
    begin_connection(far, watched);
    finish_connection(far, watched);
}

static void part(struct far_end *far, struct watched *watched)
{
    stream_close(&watched->stream);
    SSL_set_shutdown(far->server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(far->server);
    close(far->descriptor);
}

static void raze_server(struct far_end *far)
{
    tls_client_free(far->client);
    tls_trust_free(far->trust);
    SSL_CTX_free(far->context);
    fixture_discard(&far->leaf);
    fixture_discard(&far->authority);
    close(far->listener);
}

/* Reads on behind `at` until `wanted` bytes are there or nothing comes any more; how many there are. */
static size_t hear(struct far_end *far, size_t at, size_t wanted)
{
    struct pollfd readable = {.fd = far->descriptor, .events = POLLIN};
    do {
        int count;
        while ((count = SSL_read(far->server, got + at, (int)(sizeof got - at))) > 0) {
            at += (size_t)count;
        }
        ERR_clear_error();
    } while (at < wanted && SSL_get_shutdown(far->server) == 0 && poll(&readable, 1, 20) == 1);
    return at;
}

static void say(struct far_end *far, size_t from, size_t size)
{
    assert_int_equal(SSL_write(far->server, sent + from, (int)size), (int)size);
}

/* Shows: RFC7766-8 */
void messages_leave_in_one_record(void **state)
{
    (void)state;
    struct far_end far;
    struct watched watched = {.send_at_open = true};
    raise_server(&far, "dns.test.example");
    begin_connection(&far, &watched);
    make_message(sent, 100);
    assert_int_equal(stream_send(&watched.stream, span_of(sent, 100)), 0);
    finish_connection(&far, &watched);
    turn(1);
    assert_int_equal(watched.opened, 1);
    assert_string_equal(stream_version(&watched.stream), "TLSv1.3");
    assert_int_equal(watched.stream.records, 1);
    assert_int_equal(hear(&far, 0, 204), 204);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(stream_send(&watched.stream, span_of(sent, 100)), 0);
    }
    turn(1);
    assert_int_equal(watched.stream.records, 2);
    assert_int_equal(hear(&far, 0, 20 * 102), 20 * 102);
    part(&far, &watched);
    raze_server(&far);
}

void a_big_message_passes_tls_both_ways(void **state)
{
    (void)state;
    struct far_end far;
    struct watched watched = {.echo = true};
    raise_server(&far, "dns.test.example");
    meet(&far, &watched);
    size_t total = make_frame(sent, MESSAGE_MAX), said = 0, heard = 0;
    for (unsigned i = 0; i < 1000 && heard < total; i++) {
        int count = said < total ? SSL_write(far.server, sent + said, (int)(total - said)) : 0;
        said += count > 0 ? (size_t)count : 0;
        turn(1);
        heard = hear(&far, heard, 0);
    }
    assert_int_equal(heard, total);
    assert_memory_equal(sent, got, total);
    assert_int_equal(watched.stream.records, 5);
    part(&far, &watched);
    raze_server(&far);
}

/* Shows: W2, L01, RFC8446-8, RFC7858-3.1 */
void a_stranger_hears_nothing(void **state)
{
    (void)state;
    struct far_end far;
    struct watched watched = {0};
    raise_server(&far, "other.test.example");
    begin_connection(&far, &watched);
    make_message(sent, 100);
    assert_int_equal(stream_send(&watched.stream, span_of(sent, 100)), 0);
    finish_connection(&far, &watched);
    turn(2);
    assert_int_equal(watched.opened, 0);
    assert_int_equal(watched.closed, 1);
    assert_int_equal(watched.error, ERROR_TLS);
    assert_int_equal(watched.reason, TLS_REASON_WRONG_NAME);
    assert_int_equal(hear(&far, 0, 1), 0);
    part(&far, &watched);
    raze_server(&far);
}

/* Shows: RFC7858-3.4 */
void resumption_is_told(void **state)
{
    (void)state;
    struct far_end far;
    raise_server(&far, "dns.test.example");
    for (unsigned i = 0; i < 3; i++) {
        struct watched watched = {0};
        meet(&far, &watched);
        turn(2);
        assert_int_equal(watched.opened, 1);
        assert_int_equal(stream_resumed(&watched.stream), i > 0);
        part(&far, &watched);
    }
    raze_server(&far);
}

void many_records_are_read_over_turns(void **state)
{
    (void)state;
    struct far_end far;
    struct watched watched = {0};
    raise_server(&far, "dns.test.example");
    meet(&far, &watched);
    turn(2);
    for (unsigned i = 0; i < 300; i++) {
        say(&far, 0, make_frame(sent, 20));
    }
    while (watched.messages == 0) {
        turn(1);
    }
    assert_true(watched.messages < 100);
    turn_until(&watched.messages, 300);
    assert_false(watched.wrong);
    part(&far, &watched);
    raze_server(&far);
}

void a_close_notify_is_an_end(void **state)
{
    (void)state;
    struct far_end far;
    struct watched watched = {0};
    raise_server(&far, "dns.test.example");
    meet(&far, &watched);
    say(&far, 0, make_frame(sent, 20));
    SSL_shutdown(far.server);
    turn_until(&watched.ended, 1);
    assert_int_equal(watched.messages, 1);
    make_message(sent, 30);
    assert_int_equal(stream_send(&watched.stream, span_of(sent, 30)), 0);
    turn(1);
    assert_int_equal(watched.closed, 0);
    assert_int_equal(hear(&far, 0, 32), 32);
    part(&far, &watched);
    raze_server(&far);
}

void a_bare_end_is_an_error(void **state)
{
    (void)state;
    struct far_end far;
    struct watched watched = {0};
    raise_server(&far, "dns.test.example");
    meet(&far, &watched);
    say(&far, 0, make_frame(sent, 20));
    shutdown(far.descriptor, SHUT_WR);
    turn_until(&watched.closed, 1);
    assert_int_equal(watched.messages, 1);
    assert_int_equal(watched.ended, 0);
    assert_int_equal(watched.error, ERROR_CLOSED);
    part(&far, &watched);
    raze_server(&far);
}

void a_slow_tls_reader_is_written_later(void **state)
{
    (void)state;
    struct far_end far;
    struct watched watched = {0};
    raise_server(&far, "dns.test.example");
    meet(&far, &watched);
    stream_limit_output(&watched.stream, SIZE_MAX);
    int small = 16384;
    setsockopt(watched.stream.descriptor, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    size_t total = 0, heard = 0;
    while (watched.stream.write_size == 0) {
        make_message(sent, 20000);
        assert_int_equal(stream_send(&watched.stream, span_of(sent, 20000)), 0);
        total += 20002;
        turn(1);
    }
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(stream_send(&watched.stream, span_of(sent, 20000)), 0);
        total += 20002;
    }
    assert_int_not_equal(watched.stream.blocked_at, 0);
    for (unsigned i = 0; i < 1000 && heard < total; i++) {
        heard = hear(&far, heard, 0);
        turn(1);
    }
    assert_int_equal(heard, total);
    make_frame(sent, 20000);
    for (size_t at = 0; at < total; at += 20002) {
        assert_memory_equal(got + at, sent, 20002);
    }
    assert_int_equal(watched.stream.output_size, 0);
    assert_int_equal(watched.stream.blocked_at, 0);
    part(&far, &watched);
    raze_server(&far);
}

void tls_messages_are_cut_at_every_byte(void **state)
{
    (void)state;
    struct far_end far;
    struct watched watched = {0};
    raise_server(&far, "dns.test.example");
    meet(&far, &watched);
    size_t total = make_frame(sent, 12);
    total += make_frame(sent + total, 60);
    for (size_t cut = 1; cut < total; cut++) {
        say(&far, 0, cut);
        turn(1);
        say(&far, cut, total - cut);
        turn_until(&watched.messages, 2 * (unsigned)cut);
    }
    assert_false(watched.wrong);
    part(&far, &watched);
    raze_server(&far);
}

void a_stream_may_close_when_it_opens(void **state)
{
    (void)state;
    struct far_end far;
    struct watched watched = {.send_at_open = true, .close_at_open = true};
    raise_server(&far, "dns.test.example");
    meet(&far, &watched);
    turn(2);
    assert_int_equal(watched.opened, 1);
    assert_int_equal(watched.closed, 0);
    SSL_do_handshake(far.server);
    assert_int_equal(hear(&far, 0, 103), 102);
    assert_int_equal(SSL_get_shutdown(far.server), SSL_RECEIVED_SHUTDOWN);
    part(&far, &watched);
    raze_server(&far);
}

/* Shows: L02, RFC7858-3.1 */
void garbage_ends_the_handshake(void **state)
{
    (void)state;
    struct far_end far;
    struct watched watched = {0};
    raise_server(&far, "dns.test.example");
    begin_connection(&far, &watched);
    assert_int_equal(send(far.descriptor, "220 mail.example ready\r\n", 24, MSG_NOSIGNAL), 24);
    turn(3);
    assert_int_equal(watched.opened, 0);
    assert_int_equal(watched.closed, 1);
    assert_int_equal(watched.error, ERROR_TLS);
    assert_int_equal(watched.reason, TLS_REASON_NOT_TLS);
    part(&far, &watched);
    raze_server(&far);
}

void a_pause_holds_what_the_library_holds(void **state)
{
    (void)state;
    struct far_end far;
    struct watched watched = {.pause = true};
    raise_server(&far, "dns.test.example");
    meet(&far, &watched);
    turn(2);
    for (unsigned i = 0; i < 5; i++) {
        say(&far, 0, make_frame(sent, 20));
    }
    for (unsigned i = 1; i <= 5; i++) {
        turn_until(&watched.messages, i);
        turn(1);
        assert_int_equal(watched.messages, i);
        stream_resume(&watched.stream);
    }
    part(&far, &watched);
    raze_server(&far);
}
